//! `zeta clean`: remove what is provably dead, and say what and why.

use clap::{Args, Command};

use super::{Call, Noun};
use zeta_os::error::Result;
use zeta_state::upkeep::clean::clean;
use zeta_state::upkeep::report::{clean_json, clean_text, clean_total};

pub(super) const NOUN: Noun = Noun {
    name: "clean",
    about: "Remove only what is provably dead, or expired and past its grace",
    build,
    verbs: &[],
    run,
};

#[derive(Debug, Args)]
#[command(after_help = "\
What goes, on every node of the tree (or only on --node):
  leases        the holder's processes have ended, or the record is of an earlier boot; TTL and
                grace are over and nobody can be shown alive; by another hand and older than its
                ttl (10m if it names none); damaged for 20m
  personas      the agent ended more than 24h ago
  temps, tickets  of processes that were killed, in a guard that nobody is inside
  unpublished directories and temps that are more than 1h old
What stays: guards, markers, last-seen.iso, whatever breaks a rule of the directory, odd names,
records of a later schema, and every holder that may be alive.

Examples:
  zeta clean --dry-run
  zeta clean --json")]
struct CleanArgs {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

fn build(verb: Command) -> Command {
    CleanArgs::augment_args(verb)
}

fn run(call: &Call) -> Result<u8> {
    let args: CleanArgs = call.args()?;
    let ctx = call.context()?;
    let cleaned = clean(&ctx, args.dry_run)?;
    let dry = args.dry_run;
    call.out.either(|| clean_json(&cleaned, dry), || clean_text(&cleaned, dry))?;
    if !call.out.json {
        call.out.note(&clean_total(&cleaned, dry));
    }
    Ok(0)
}
