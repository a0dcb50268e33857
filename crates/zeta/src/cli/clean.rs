//! `zeta clean`: removes what is provably dead, and reports what and why.

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
What is removed, on every node of the state directory (with --node: on that node only):
  leases     whose holder's processes have ended, or that are from an earlier boot; whose TTL and
             grace are over, if no process of the holder is known to live; that another tool wrote
             and that are older than their ttl (10m if they have none); damaged for 20m
  personas   of agents that ended more than 24h ago
  temporary files and queue tickets of killed processes, in a guard that no process is inside
  unpublished directories and temporary files older than 1h
  directories in TMPDIR in which a killed 'zeta node' call of this user worked with git
What stays: guards, markers, last-seen.iso, every file that breaks a rule of the directory, unknown
names, records of a later schema, and the leases of every holder that may be alive.

Examples:
  zeta clean --dry-run
  zeta clean --json")]
struct CleanArgs {
    /// Only print what would be removed
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
        call.out.note_lines(&clean_total(&cleaned, dry));
    }
    Ok(0)
}
