//! `zeta init`: make the tree, and say what was found.

use clap::{Args, Command};

use super::{Call, Noun};
use zeta_os::error::Result;
use zeta_state::upkeep::init::{GroupOptions, init, init_group};
use zeta_state::upkeep::report::{init_json, init_text};

pub(super) const NOUN: Noun = Noun {
    name: "init",
    about: "Make the state directory, and say what is there",
    build,
    verbs: &[],
    run,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Without --group it makes a tree of your own (mode 0700), as first use does, and tries out what zeta
depends on. With --group, as root, it makes one that the members of the group share, complete
before anybody sees it, and writes the files of systemd that keep it. Repeating either is safe.

Examples:
  zeta init
  zeta init --group zeta             # as root
  zeta init --group zeta --replace   # as root; what stands there is moved aside, untouched")]
struct InitArgs {
    /// Make the tree that the members of this group share; as root
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Move aside what stands in its place, untouched; overwrite files of systemd that differ
    #[arg(long, requires = "group")]
    replace: bool,
    /// Do not write the files of systemd (sysusers.d, tmpfiles.d, zeta-clean.service and .timer)
    #[arg(long, requires = "group")]
    no_install: bool,
}

fn build(verb: Command) -> Command {
    InitArgs::augment_args(verb)
}

fn run(call: &Call) -> Result<u8> {
    let args: InitArgs = call.args()?;
    let ctx = call.context()?;
    let report = match args.group {
        None => init(&ctx)?,
        Some(group) => {
            let ask = GroupOptions { group, replace: args.replace, install: !args.no_install };
            init_group(&ctx, &ask)?
        }
    };
    call.out.either(|| init_json(&report), || init_text(&report))?;
    Ok(0)
}
