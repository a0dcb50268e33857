//! `zeta creds`: credentials that survive re-imaging, in a sealed file on the stick's ESP.
//!
//! Flags and exit numbers are those of the original's commands, so that scripts keep working.

mod args;
mod boot;
mod pick;

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
use zeta_creds::verbs::collect::Owner;
use zeta_creds::verbs::factor::Factor;
use zeta_creds::verbs::open::Opened;
use zeta_creds::verbs::restore::Restored;
use zeta_creds::verbs::{ARGUMENTS, BUNDLE, Exit, INPUT, Outcome, POLICY, WithExitNumber};
use zeta_os::error::{Error, Result};
use zeta_os::hardening;

pub(super) const NOUN: Noun = Noun {
    name: "creds",
    about: "Credentials that survive re-imaging, sealed on the stick",
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
        Err(Exit { number, mut error }) => {
            if error.hints.is_empty() {
                error = error.hint(format!("see zeta creds {} --help", call.verb()));
            }
            call.out.error_with(&error, number, None);
            Ok(number)
        }
    }
}

/// Reads the arguments.
fn begin<T: clap::FromArgMatches>(call: &Call) -> Outcome<T> {
    call.args().number(ARGUMENTS)
}

fn persist(call: &Call) -> Outcome<u8> {
    let args: KeepArgs = begin(call)?;
    let secret = args.passphrase()?;
    let (mut bundle, owner) = (args.starting_bundle(call, &secret)?, args.owner());
    let ids = args.bake(call, &mut bundle, &owner)?;
    if args.would_empty(&bundle) {
        let text = format!("nothing was baked, and {} holds a blob", args.output.display());
        let hint = "--update keeps its contents; to start again, remove it first";
        let error = Error::new(zeta_os::error::Kind::Refused, text).hint(hint);
        return Err(Exit { number: INPUT, error });
    }
    save(call, &args, &bundle, &secret, &ids)
}

/// Seals and saves; with --verify it also opens and compares the saved blob.
fn save(
    call: &Call,
    args: &KeepArgs,
    bundle: &Bundle,
    secret: &Secret,
    ids: &[String],
) -> Outcome<u8> {
    let factor = args.lock.factor()?;
    let kept = ops::save::keep(bundle, &args.output, &factor, secret, args.format.into())?;
    if args.verify {
        let opened = ops::open::open(&args.output, &factor, secret, false);
        let opened = opened.map_err(|failed| Exit { number: ops::NO_MATCH, ..failed })?;
        if opened.bundle != *bundle {
            let text = "the saved blob does not hold the given credentials";
            let error = Error::new(zeta_os::error::Kind::Fault, text);
            return Err(Exit { number: ops::NO_MATCH, error });
        }
    }
    report::save_notes(&kept).iter().for_each(|note| call.out.note(note));
    let (path, verified) = (&args.output, args.verify);
    let object = || report::saved(path, &kept, ids, verified);
    let printed = call.out.either(object, || report::saved_text(path, &kept, ids, verified));
    printed.number(ops::FRAME)?;
    Ok(0)
}

fn restore(call: &Call) -> Outcome<u8> {
    let args: RestoreArgs = begin(call)?;
    if args.at_boot {
        return boot::restore(call, &args);
    }
    let factor = args.lock.factor()?;
    let secret = args.lock.passphrase.find(false)?;
    restore_with(call, &args, &factor, &secret)
}

fn restore_with(call: &Call, args: &RestoreArgs, factor: &Factor, secret: &Secret) -> Outcome<u8> {
    let opened = ops::open::open(args.input(), factor, secret, args.accept_older)?;
    let manifest = ops::manifest::manifest(ops::manifest::ADDED.as_ref()).number(ARGUMENTS)?;
    let options = args.options().number(ARGUMENTS)?;
    let restored = ops::restore::restore(&opened, &manifest, &options)?;
    print_restored(call, &opened, &restored, args.dry_run).number(ops::FRAME)?;
    // Also if a path was refused: a link that an attacker put there must not hide a rollback.
    if !args.dry_run {
        ops::open::remember(factor, &opened)?;
    }
    Ok(if restored.refused() { POLICY } else { 0 })
}

fn print_restored(call: &Call, opened: &Opened, restored: &Restored, dry: bool) -> Result<()> {
    note_backup(call, opened);
    match report::refused(restored).filter(|_| call.out.json) {
        Some(Exit { number, error }) => {
            call.out.error_with(&error, number, Some(report::restored(opened, restored, dry)));
        }
        None => {
            let object = || report::restored(opened, restored, dry);
            call.out.either(object, || report::restored_text(restored, dry))?;
        }
    }
    report::missing_note(restored).into_iter().for_each(|note| call.out.note(&note));
    Ok(())
}

/// Prints a note if the backup was used.
fn note_backup(call: &Call, opened: &Opened) {
    report::backup_note(opened).into_iter().for_each(|note| call.out.note(&note));
}

fn verify(call: &Call) -> Outcome<u8> {
    let args: VerifyArgs = begin(call)?;
    let factor = args.lock.factor()?;
    let secret = args.lock.passphrase.find(false)?;
    let opened = ops::open::open(&args.input, &factor, &secret, args.accept_older)?;
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
        let opened = ops::open::open(&args.input, &args.lock.factor()?, &secret, true)?;
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
        self.lock.factor()?.material().number(ARGUMENTS)?;
        let new = !self.update || ops::open::is_missing(&self.output)?;
        self.lock.passphrase.find(new)
    }

    /// Returns the bundle to start with: an empty one, or that of the existing blob or its backup.
    fn starting_bundle(&self, call: &Call, secret: &Secret) -> Outcome<Bundle> {
        if !self.update || ops::open::is_missing(&self.output)? {
            return Ok(Bundle::default());
        }
        let (factor, older) = (self.lock.factor()?, self.accept_older);
        let opened = ops::open::open(&self.output, &factor, secret, older)?;
        note_backup(call, &opened);
        Ok(opened.bundle)
    }

    /// Reports whether an empty blob would replace one that may hold credentials.
    fn would_empty(&self, bundle: &Bundle) -> bool {
        let empty = bundle.global.is_empty() && bundle.personas().next().is_none();
        empty && !self.update && ops::open::candidate(&self.output).is_ok()
    }

    /// Bakes the credentials that the arguments name; returns their ids.
    fn bake(&self, call: &Call, bundle: &mut Bundle, owner: &Owner) -> Outcome<Vec<String>> {
        let manifest = ops::manifest::manifest(ops::manifest::ADDED.as_ref()).number(INPUT)?;
        let mut ids = Vec::new();
        if self.bake_found {
            ids = collect::found(bundle, &manifest, owner).number(INPUT)?;
        }
        for given in &self.bakes {
            if is_literal(given) {
                call.out.note(
                    "every user of this machine can read a value in an argument while this command \
                     runs; use id=@FILE, id=env:NAME or 'zeta creds pick'",
                );
            }
            ids.push(collect::bake(bundle, &manifest, owner, given).number(INPUT)?);
        }
        ids.dedup();
        Ok(ids)
    }
}
