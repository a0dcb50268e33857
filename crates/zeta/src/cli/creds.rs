//! `zeta creds`: credentials that survive re-imaging, in a sealed file on the stick's ESP.
//!
//! Flags and exit numbers are those of the original's commands, so that scripts keep working.

mod args;
mod boot;
mod guard;
mod pick;
mod watch;

pub(super) use self::args::{FormatArg, PassphraseArgs};

use clap::Args;
use zeta_core::creds::bake::{self, Source};
use zeta_core::creds::bundle::Bundle;

use self::args::{InspectArgs, KeepArgs, RestoreArgs, VerifyArgs};
use super::{Call, Noun, Verb};
use zeta_creds::file_writer;
use zeta_creds::report;
use zeta_creds::report::{Outside, Verified};
use zeta_creds::secret::Secret;
use zeta_creds::verbs as ops;
use zeta_creds::verbs::collect;
use zeta_creds::verbs::collect::{Baked, Owner};
use zeta_creds::verbs::factor::Factors;
use zeta_creds::verbs::open::Opened;
use zeta_creds::verbs::restore::Restored;
use zeta_creds::verbs::save::Wish;
use zeta_creds::verbs::{
    AFTERWARDS, ARGUMENTS, BUNDLE, Exit, INPUT, Outcome, POLICY, WithExitNumber,
};
use zeta_os::error::{Error, Result};
use zeta_os::hardening;

pub(super) const NOUN: Noun = Noun {
    name: "creds",
    about: "Keep logins in a sealed file, so that they survive a new installation",
    build: |noun| super::needs_verb(noun).after_help(args::EXAMPLES),
    verbs: VERBS,
    run: |call| {
        // The process is closed to others before any secret comes into it.
        hardening::harden();
        super::run_verb(call, VERBS)
    },
};

const VERBS: &[Verb] = &[
    Verb {
        name: "pick",
        about: "Ask about each credential, and save the blob",
        args: pick::PickArgs::augment_args,
        run: |call| ended(call, pick::run(call)),
    },
    Verb {
        name: "persist",
        about: "Save credentials in a sealed blob, without asking",
        args: KeepArgs::augment_args,
        run: |call| ended(call, persist(call)),
    },
    Verb {
        name: "restore",
        about: "Write the credentials of a blob to their files, as the user they belong to",
        args: RestoreArgs::augment_args,
        run: |call| ended(call, restore(call)),
    },
    Verb {
        name: "verify",
        about: "Open a blob and check that it can be restored; nothing is written",
        args: VerifyArgs::augment_args,
        run: |call| ended(call, verify(call)),
    },
    Verb {
        name: "inspect",
        about: "Show the format of a blob, and with its passphrase the contents, without values",
        args: InspectArgs::augment_args,
        run: |call| ended(call, inspect(call)),
    },
    Verb {
        name: "guard",
        about: "Let one of many processes refresh a login, and renew its copy in the blob",
        args: guard::GuardArgs::augment_args,
        run: run_guard,
    },
    Verb {
        name: "passphrase",
        about: "Make a passphrase of six syllable groups, 96 bits",
        args: |verb| verb.after_help("Example:\n  zeta creds passphrase > stick.txt"),
        run: make_passphrase,
    },
];

/// Reports whether the call's noun is `creds`; flags may come before the noun.
pub(super) fn is_called(args: &[std::ffi::OsString]) -> bool {
    let is_noun = |arg: &&std::ffi::OsString| super::NOUNS.iter().any(|noun| **arg == *noun.name);
    args.iter().skip(1).find(is_noun).is_some_and(|arg| *arg == *NOUN.name)
}

/// Makes the error of a wrong call, without the arguments: only flags with a plain form are shown.
pub(super) fn usage_error(error: &clap::Error) -> Error {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let named = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    };
    let flag = |text: &String| {
        let flag: String = text.split(['=', ' ']).next().unwrap_or_default().to_owned();
        let plain = |c: char| c.is_ascii_lowercase() || c == '-';
        (flag.starts_with("--") && flag.len() < 24 && flag.chars().all(plain)).then_some(flag)
    };
    let flags: Vec<String> = named.iter().filter_map(flag).collect();
    let what = match error.kind() {
        ErrorKind::UnknownArgument => "an argument is not known",
        ErrorKind::MissingRequiredArgument => "an argument is missing",
        ErrorKind::ArgumentConflict => "arguments exclude each other",
        ErrorKind::InvalidSubcommand | ErrorKind::MissingSubcommand => "no such verb",
        _ => "an argument is not valid, or has no value",
    };
    let of = if flags.is_empty() { String::new() } else { format!(": {}", flags.join(", ")) };
    Error::usage(format!("creds: {what}{of}"))
        .hint("see the same call with --help (the arguments are not shown)")
}

/// Runs the child of a restore that writes as another user; only zeta itself starts it.
pub(super) fn plant_as() -> u8 {
    use std::os::fd::AsFd as _;
    file_writer::child_main(std::io::stdin().as_fd(), std::io::stdout().as_fd())
}

/// Prints a failure; returns its number.
fn ended(call: &Call, done: Outcome<u8>) -> Result<u8> {
    match done {
        Ok(status) => Ok(status),
        Err(Exit { number, error }) => {
            call.out.error_with(&with_hint(call, error), number, None);
            Ok(number)
        }
    }
}

/// As [`ended`], for the verb whose stdout belongs to its command.
fn run_guard(call: &Call) -> Result<u8> {
    match guard::run(call) {
        Ok(status) => Ok(status),
        Err(Exit { number, error }) => {
            call.out.error_on_stderr(&with_hint(call, error), number, None);
            Ok(number)
        }
    }
}

fn with_hint(call: &Call, error: Error) -> Error {
    match error.hints.is_empty() {
        true => error.hint(format!("see zeta creds {} --help", call.verb())),
        false => error,
    }
}

/// Reads the arguments.
fn begin<T: clap::FromArgMatches>(call: &Call) -> Outcome<T> {
    call.args().number(ARGUMENTS)
}

fn persist(call: &Call) -> Outcome<u8> {
    let args: KeepArgs = begin(call)?;
    let secret = args.passphrase()?;
    let mut bundle = Bundle::default();
    let baked = args.bake(call, &mut bundle, &args.owner())?;
    if args.would_empty(&bundle) {
        let text = format!("nothing was baked, and {} holds a blob", args.output.display());
        let hint = "--update keeps its contents; to start again, save to another --output";
        let error = Error::new(zeta_os::error::Kind::Refused, text).hint(hint);
        return Err(Exit { number: INPUT, error });
    }
    save(call, &args, bundle, &secret, &baked)
}

/// Seals and saves; with --verify also opens and compares the saved blob.
fn save(
    call: &Call,
    args: &KeepArgs,
    bundle: Bundle,
    secret: &Secret,
    baked: &Baked,
) -> Outcome<u8> {
    let factors = args.lock.factors()?;
    let wish = Wish {
        path: &args.output,
        factors: &factors,
        secret,
        format: args.format.into(),
        update: args.update,
        accept_older: args.accept_older,
        verify: args.verify,
    };
    let kept = ops::save::keep(bundle, &wish)?;
    report::save_notes(&kept).iter().for_each(|note| call.out.note(note));
    let object = || report::saved(&args.output, &kept, baked, args.verify);
    if let Some(Exit { number, error }) = &kept.failed_afterwards {
        if !call.out.json {
            let text = report::saved_text(&args.output, &kept, baked, args.verify);
            call.out.data(&text).number(AFTERWARDS)?;
        }
        call.out.error_with(error, *number, Some(object()));
        return Ok(*number);
    }
    let text = || report::saved_text(&args.output, &kept, baked, args.verify);
    call.out.either(object, text).number(AFTERWARDS)?;
    Ok(0)
}

fn restore(call: &Call) -> Outcome<u8> {
    let args: RestoreArgs = begin(call)?;
    if args.at_boot {
        return boot::restore(call, &args);
    }
    let factors = args.lock.factors()?;
    let secret = args.lock.passphrase.find(false)?;
    restore_with(call, &args, &factors, &secret)
}

fn restore_with(
    call: &Call,
    args: &RestoreArgs,
    factors: &Factors,
    secret: &Secret,
) -> Outcome<u8> {
    let opened = ops::open::open(args.input(), factors, secret, args.accept_older)?;
    let manifest = ops::manifest::manifest(ops::manifest::ADDED.as_ref()).number(ARGUMENTS)?;
    let options = args.options().number(ARGUMENTS)?;
    let restored = ops::restore::restore(&opened, &manifest, &options)?;
    // Also if a path was refused: a link that an attacker put there must not hide a rollback.
    let remembered = match args.dry_run {
        true => Ok(()),
        false => ops::open::remember(&opened, args.accept_older),
    };
    print_restored(call, &opened, &restored, (args.dry_run, remembered.err())).number(AFTERWARDS)
}

/// Prints what came of a restore; returns its number. A refused place counts more than a save that
/// could not be remembered.
fn print_restored(
    call: &Call,
    opened: &Opened,
    restored: &Restored,
    (dry, failed): (bool, Option<Exit>),
) -> Result<u8> {
    note_backup(call, opened);
    report::missing_note(restored).into_iter().for_each(|note| call.out.note(&note));
    let object = || report::restored(opened, restored, dry);
    let refused = report::refused(restored);
    if let (Some(_), Some(failed)) = (&refused, &failed) {
        call.out.warn(&failed.error);
    }
    if !call.out.json {
        call.out.data(&report::restored_text(restored, dry))?;
    }
    match refused.or(failed) {
        // In words, the finding of each refused place stands above.
        Some(Exit { number: POLICY, .. }) if !call.out.json => Ok(POLICY),
        Some(Exit { number, error }) => {
            call.out.error_with(&error, number, Some(object()));
            Ok(number)
        }
        None if call.out.json => call.out.data(&object().done()).map(|()| 0),
        None => Ok(0),
    }
}

/// Prints a note if the backup was used.
fn note_backup(call: &Call, opened: &Opened) {
    let note = report::backup_note(&opened.path, opened.instead.as_deref());
    note.into_iter().for_each(|note| call.out.note(&note));
}

fn verify(call: &Call) -> Outcome<u8> {
    let args: VerifyArgs = begin(call)?;
    let factors = args.lock.factors()?;
    let secret = args.lock.passphrase.find(false)?;
    let opened = ops::open::open(&args.input, &factors, &secret, args.accept_older)?;
    let manifest = ops::manifest::manifest(ops::manifest::ADDED.as_ref()).number(ARGUMENTS)?;
    note_backup(call, &opened);
    let verified = Verified::of(&opened.bundle, &manifest, args.persona.as_deref());
    match verified.refused().filter(|_| call.out.json) {
        Some(Exit { number, error }) => {
            call.out.error_with(&error, number, Some(verified.object(&opened)));
            return Ok(number);
        }
        None => {
            let printed = call.out.either(|| verified.object(&opened), || verified.text(&opened));
            printed.number(BUNDLE)?;
        }
    }
    Ok(verified.refused().map_or(0, |refused| refused.number))
}

fn inspect(call: &Call) -> Outcome<u8> {
    let args: InspectArgs = begin(call)?;
    if args.lock.is_named() {
        let secret = args.lock.passphrase.find(false)?;
        let opened = ops::open::open(&args.input, &args.lock.factors()?, &secret, true)?;
        note_backup(call, &opened);
        let text = || report::contents_text(&opened);
        call.out.either(|| report::contents(&opened), text).number(INPUT)?;
        return Ok(0);
    }
    let found = ops::open::candidate(&args.input)?;
    let outside = Outside::of(&found);
    call.out.either(|| outside.object(), || outside.text()).number(INPUT)?;
    Ok(0)
}

fn make_passphrase(call: &Call) -> Result<u8> {
    let made = ops::new_passphrase()?;
    call.out.either(|| report::passphrase(&made), || made.to_string())?;
    call.out.note(&report::passphrase_note());
    Ok(0)
}

/// Reports whether the argument contains the value itself.
fn is_literal(given: &str) -> bool {
    matches!(bake::parse(given), Ok(given) if matches!(given.source, Source::Literal(_)))
}

impl KeepArgs {
    /// Returns the owner of the credentials.
    fn owner(&self) -> Owner {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(Into::into);
        Owner { home, persona: self.persona.clone() }
    }

    /// Gets the passphrase: that of the blob that is updated, or a new one. Errors of the call are
    /// reported before the person is asked.
    fn passphrase(&self) -> Outcome<Secret> {
        let factors = self.lock.factors()?;
        match self.updates()? {
            true => factors.to_open(&self.output).number(ARGUMENTS).map(drop)?,
            false => factors.to_seal().number(ARGUMENTS).map(drop)?,
        }
        self.lock.passphrase.find(!self.updates()?)
    }

    /// Reports whether the call updates a blob that is there.
    fn updates(&self) -> Outcome<bool> {
        Ok(self.update && !ops::open::is_missing(&self.output)?)
    }

    /// Reports whether an empty blob would replace one that may hold credentials.
    fn would_empty(&self, bundle: &Bundle) -> bool {
        bundle.is_empty() && !self.update && ops::open::candidate(&self.output).is_ok()
    }

    /// Bakes the credentials that the arguments name.
    fn bake(&self, call: &Call, bundle: &mut Bundle, owner: &Owner) -> Outcome<Baked> {
        let manifest = ops::manifest::manifest(ops::manifest::ADDED.as_ref()).number(INPUT)?;
        let mut baked = Baked::default();
        if self.bake_found {
            baked = collect::found(bundle, &manifest, owner).number(INPUT)?;
            baked.left_out.iter().for_each(|finding| call.out.note_finding(&finding.error));
        }
        for given in &self.bakes {
            if is_literal(given) {
                call.out.note(
                    "every user of this machine can read a value in an argument while this command \
                     runs; use id=@FILE, id=env:NAME or 'zeta creds pick'",
                );
            }
            let id = collect::bake(bundle, &manifest, owner, given).number(INPUT)?;
            baked.left_out.retain(|left_out| left_out.id != id);
            baked.ids.push(id);
        }
        baked.ids.dedup();
        Ok(baked)
    }
}
