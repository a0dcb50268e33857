//! Restoring at boot: a missing blob is fine; anything else that is missing is an error.

use std::path::Path;

use super::restore_with;
use crate::cli::Call;
use crate::cli::creds::args::RestoreArgs;
use zeta_creds::passphrase::remove_staged;
use zeta_creds::report;
use zeta_creds::verbs as ops;
use zeta_creds::verbs::{Exit, INPUT, NO_MATCH, Outcome, WithExitNumber};
use zeta_os::error::Kind;

/// How many times a person is asked.
const ASKED: usize = 3;

/// Restores, with several attempts. The staged passphrase is removed after a success and after the
/// last attempt, never in between, so that each attempt fails for the same reason.
pub(super) fn restore(call: &Call, args: &RestoreArgs) -> Outcome<u8> {
    let staged = args.lock.passphrase.passphrase_file.as_deref();
    let done = attempts(call, args, staged);
    let Some(path) = staged.filter(|path| path.exists() && !args.dry_run) else { return done };
    match remove_staged(path) {
        Ok(true) => call.out.note("the staged passphrase was removed"),
        Ok(false) => call.out.note("the passphrase was kept: it is not a plain file of this boot"),
        // Another number says more about the restore than this one.
        Err(error) if !matches!(done, Ok(0)) => call.out.warn(&error),
        Err(error) => return Err(error).number(ops::AFTERWARDS),
    }
    done
}

fn attempts(call: &Call, args: &RestoreArgs, staged: Option<&Path>) -> Outcome<u8> {
    // Errors of the call or the machine are reported before the person is asked.
    match ops::open::candidate(args.input()) {
        Err(failed) if is_nothing(&failed, args.input()) => {
            call.out.note(&format!("nothing to restore: {}", failed.error.text));
            if call.out.json {
                let object = report::nothing_to_restore(args.input());
                call.out.data(&object.done()).number(ops::FRAME)?;
            }
            return Ok(0);
        }
        found => found.map(drop)?,
    }
    let factors = args.lock.factors()?;
    factors.to_open(args.input()).number(ops::ARGUMENTS)?;
    for attempt in 1.. {
        let (secret, asked) = args.lock.passphrase.find_at_boot(staged)?;
        match restore_with(call, args, &factors, &secret) {
            Err(failed) if asked && failed.number == NO_MATCH && attempt < ASKED => {
                call.out.warn(&failed.error);
            }
            done => return done,
        }
    }
    Ok(NO_MATCH)
}

/// Reports whether the blob is missing and its directory exists. Without the directory it is not
/// known whether there is a blob.
fn is_nothing(failed: &Exit, blob: &Path) -> bool {
    let here = |dir: &Path| dir.as_os_str().is_empty() || dir.is_dir();
    let absent = failed.number == INPUT && failed.error.kind == Kind::NotFound;
    absent && blob.parent().is_some_and(here)
}
