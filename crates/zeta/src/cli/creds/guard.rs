//! `zeta creds guard`: of many processes with one login, one refreshes it.
//!
//! The lease is that of `zeta-state`, the login and its copy are those of `zeta-creds`; neither
//! package knows the other, so they meet here (docs/decisions/0026-*).

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use zeta_core::creds::login::{Ask, Next};
use zeta_core::lease::{Held, Observed, TTL_PROCESS_MS};
use zeta_core::name::RecordName;
use zeta_core::time::parse_duration;

use super::args::LockArgs;
use super::{begin, watch};
use crate::cli::Call;
use crate::cli::lease::say;
use zeta_creds::report::guard as report;
use zeta_creds::report::guard::{Answer, Came, judged};
use zeta_creds::report::save_notes;
use zeta_creds::secret::Secret;
use zeta_creds::verbs as ops;
use zeta_creds::verbs::collect::Owner;
use zeta_creds::verbs::factor::Factors;
use zeta_creds::verbs::guard::{
    Decided, Judged, LoginFile, Sealed, check_persona, find, is_behind, number_of, seal,
};
use zeta_creds::verbs::{
    AFTERWARDS, ARGUMENTS, BUSY, Exit, INPUT, NOT_RENEWED, Outcome, WithExitNumber,
};
use zeta_os::error::{Error, Kind};
use zeta_os::host;
use zeta_os::spawn::ExitOutcome;
use zeta_state::context::Context;
use zeta_state::lease::LostTo;
use zeta_state::lease::acquire::{WaitOptions, new_request};
use zeta_state::lease::exec::{self, Around, ExecOutcome, OnLost};
use zeta_state::lease::report as lease_report;

#[derive(Debug, Args)]
#[command(after_help = "\
The command is the refresh of the tool itself, such as a short call of it. It runs under a lease of
the login file. If another process has refreshed the login since the call began, or if the login is
good for longer than the margin, the command does not run. A file that the command leaves cut off
gets its content of before back. A signal does not end a refresh in the middle; Ctrl-\\ does. With
--output the copy in the blob is renewed, too.

Exit status: 0 the login is good: refreshed here, by another process, or not due; 2 wrong call; 3 no
login is there; 4 fault; 5 the command did not renew the login; 6 another process refreshed for as
long as --wait says; 7 the state directory is not safe; 9 the login is good, and its copy in the
blob could not be renewed.

Examples:
  zeta creds guard claude -- claude auth status
  zeta creds guard claude --persona otto --output c.enc --usb-uuid 4F2A-91C7 \
--passphrase-file pp -- claude auth status
  zeta creds guard claude --watch -- claude auth status")]
pub(super) struct GuardArgs {
    /// Id of the login, as in claude, codex, gemini
    #[arg(value_name = "ID")]
    id: String,
    /// Blob whose copy of the login is renewed after a refresh
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    lock: LockArgs,
    /// Persona whose copy in the blob is renewed
    #[arg(long, value_name = "NAME")]
    persona: Option<String>,
    /// A login that is good for longer is not refreshed
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    margin: String,
    /// Refresh a login that is good for longer, too: its issuer refused it, say
    #[arg(long)]
    force: bool,
    /// How long to wait while another process refreshes
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    wait: String,
    /// Stay, and refresh before each end of the login; try again later if that fails
    #[arg(long, conflicts_with = "force")]
    watch: bool,
    /// The command that refreshes, after --
    #[arg(value_name = "COMMAND", last = true, required = true)]
    command: Vec<OsString>,
}

/// The blob whose copy is renewed. A passphrase that cannot be had keeps no login from its refresh.
struct Copy {
    path: PathBuf,
    factors: Factors,
    secret: Outcome<Secret>,
}

/// A guard of one login.
struct Guard<'c> {
    call: &'c Call,
    args: &'c GuardArgs,
    owner: Owner,
    file: LoginFile,
    copy: Option<Copy>,
}

/// What the calls before and after the command found.
#[derive(Default)]
struct Seen {
    decided: Option<Decided>,
    /// Why nothing was decided.
    failed: Option<Exit>,
    judged: Option<Judged>,
}

pub(super) fn run(call: &Call) -> Outcome<u8> {
    let args: GuardArgs = begin(call)?;
    let manifest = ops::manifest::manifest(ops::manifest::ADDED.as_ref()).number(ARGUMENTS)?;
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(Into::into);
    let owner = Owner { home, persona: args.persona.clone() };
    let file = find(&manifest, &owner, &args.id)?;
    args.check(&file, &owner)?;
    if args.watch {
        return watch::run(call, args.margin_ms()?, &file);
    }
    let copy = args.copy()?;
    Guard { call, args: &args, owner, file, copy }.refresh()
}

impl GuardArgs {
    fn check(&self, file: &LoginFile, owner: &Owner) -> Outcome<()> {
        let wrong = |text: &str, hint: &str| Err(Error::usage(text).hint(hint)).number(ARGUMENTS);
        if self.output.is_none() && self.lock.is_named() {
            return wrong("a factor is given, and no blob", "name the blob: --output FILE");
        }
        if self.lock.passphrase.is_variable() {
            let text = "--passphrase-env: the command would find the passphrase in its environment";
            return wrong(text, "give --passphrase-file FILE or --passphrase-fd N");
        }
        if self.watch && self.lock.passphrase.is_read_once() {
            let text = "--watch needs the passphrase more than once";
            return wrong(text, "give --passphrase-file FILE");
        }
        match self.output {
            Some(_) => check_persona(file, owner),
            None => Ok(()),
        }
    }

    fn copy(&self) -> Outcome<Option<Copy>> {
        let Some(path) = self.output.clone() else { return Ok(None) };
        let factors = self.lock.factors()?;
        Ok(Some(Copy { path, factors, secret: self.lock.passphrase.find(false) }))
    }

    fn margin_ms(&self) -> Outcome<u64> {
        parse_duration("margin", &self.margin).map_err(Error::from).number(ARGUMENTS)
    }
}

impl Guard<'_> {
    fn refresh(&self) -> Outcome<u8> {
        let limit_ms = parse_duration("wait", &self.args.wait).map_err(Error::from);
        let limit_ms = limit_ms.number(ARGUMENTS)?;
        let margin_ms = self.args.margin_ms()?;
        // What is there now: another process that waits with this one may be faster.
        let before = match self.file.read() {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind == Kind::Unsafe => return Err(error).number(INPUT),
            Err(_) => None,
        };
        let ctx = self.call.context().map_err(number_of)?;
        let lease = RecordName::new("lease", &self.file.lease()).map_err(Error::from);
        let lease = lease.number(ARGUMENTS)?;
        let mut request = new_request(&ctx, lease.clone(), TTL_PROCESS_MS).map_err(number_of)?;
        request.purpose = Some(format!("refresh of the login {}", self.file.id()));
        let seen = std::cell::RefCell::new(Seen::default());
        let out = self.call.out;
        let mut wanted = || {
            let ask = Ask { now_us: host::wall_us(), margin_ms, force: self.args.force };
            let mut seen = seen.borrow_mut();
            match self.file.decide(before.as_ref(), &ask) {
                Ok(decided) => {
                    if decided.mended {
                        out.note(&report::mended(&self.file));
                    }
                    seen.decided = Some(decided);
                }
                Err(failed) => seen.failed = Some(failed),
            }
            Ok(seen.decided.as_ref().is_some_and(|decided| decided.next == Next::Refresh))
        };
        let mut ended = |ended: ExitOutcome, lost: Option<&LostTo>| {
            let mut seen = seen.borrow_mut();
            let judge = |decided| self.file.judge(decided, ended, lost.is_none());
            seen.judged = seen.decided.as_mut().map(judge);
        };
        let mut on_wait =
            |observed: &Observed, held: &Held| out.note(&lease_report::waiting(observed, held));
        let mut wait = WaitOptions { limit_ms: Some(limit_ms), on_wait: &mut on_wait };
        let mut on_event = |event: exec::Event<'_>| say(out, &ctx, &lease, &event);
        let loss: (OnLost, &mut exec::OnEvent<'_>) = (OnLost::Warn, &mut on_event);
        // A refresh that is ended in the middle may lose the login.
        let mut asked = || out.note(report::FINISHES);
        let asked_to_end: Option<&mut dyn FnMut()> = Some(&mut asked);
        let around = Around { wanted: &mut wanted, ended: &mut ended, asked_to_end };
        let command = &self.args.command;
        let held = exec::hold_around(&ctx, request, command, &mut wait, loss, around);
        self.answer(&ctx, &lease, held.map_err(number_of)?, seen.into_inner())
    }

    fn answer(
        &self,
        ctx: &Context,
        lease: &RecordName,
        held: ExecOutcome,
        seen: Seen,
    ) -> Outcome<u8> {
        if let Some(failed) = seen.failed {
            return Err(failed);
        }
        let out = self.call.out;
        let (came, status, error) =
            match (held, seen.decided.as_ref().map(|decided| decided.next), &seen.judged) {
                (ExecOutcome::Refused(refusal), ..) => {
                    let (error, object) = lease_report::refused(lease, &refusal, &ctx.now());
                    out.error_on_stderr(&error, BUSY, Some(object));
                    return Ok(BUSY);
                }
                (ExecOutcome::Ran { ended, trouble, .. }, _, Some(what)) => {
                    trouble.iter().for_each(|error| out.warn(error));
                    let (came, error) = judged(&self.file, what, ended);
                    (came, Some(ended.status()), error)
                }
                (ExecOutcome::NotStarted(_, error), ..) => (Came::NotStarted, None, Some(error)),
                (_, Some(Next::Renewed), _) => (Came::RenewedByAnother, None, None),
                (_, Some(Next::Valid(_)), _) => (Came::StillValid, None, None),
                _ => {
                    let error =
                        Error::new(Kind::Fault, "the lease was granted, and nothing was done");
                    return Err(number_of(error));
                }
            };
        let before = seen.decided.map(|decided| decided.bytes);
        let content = seen.judged.and_then(|judged| judged.after).or(before);
        let expires_us = content.and_then(|bytes| self.file.expires_us(&bytes));
        let mut answer =
            Answer { file: &self.file, came, expires_us, command_status: status, sealed: None };
        if let Some(error) = error {
            out.error_on_stderr(&error, NOT_RENEWED, Some(answer.object()));
            return Ok(NOT_RENEWED);
        }
        let sealed = self.seal(came).transpose();
        if let Ok(sealed) = &sealed {
            answer.sealed = sealed.as_ref();
        }
        let failed = match &sealed {
            Ok(Some(Sealed::Renewed(kept))) => {
                save_notes(kept).iter().for_each(|note| out.note(note));
                kept.failed_afterwards.as_ref()
            }
            Ok(_) => None,
            Err(failed) => Some(failed),
        };
        match failed {
            Some(Exit { error, .. }) => {
                let text = format!("{}, but not its copy: {}", answer.text(), error.text);
                let error = Error { text, ..error.clone() };
                out.error_on_stderr(&error, AFTERWARDS, Some(answer.object()));
                Ok(AFTERWARDS)
            }
            None => {
                out.answer_on_stderr(|| answer.object(), || answer.text());
                Ok(0)
            }
        }
    }

    /// Renews the copy after a refresh, or if a guard that was killed has not done it.
    fn seal(&self, came: Came) -> Option<Outcome<Sealed>> {
        let copy = self.copy.as_ref()?;
        if came != Came::Refreshed && !is_behind(&copy.path, &self.file) {
            return None;
        }
        let secret = match &copy.secret {
            Ok(secret) => secret,
            Err(failed) => return Some(Err(failed.clone())),
        };
        Some(seal(&self.file, &self.owner, &copy.path, (&copy.factors, secret)))
    }
}
