//! `zeta init`: creates the state directory, and reports what was found.

use clap::{Args, Command};

use super::unit::units_of_machine;
use super::{Call, Noun};
use zeta_os::error::{Error, Kind, Result};
use zeta_state::context::Context;
use zeta_state::directory::tree::Tree;
use zeta_state::upkeep::init::{GroupOptions, init, init_group};
use zeta_state::upkeep::report::{init_json, init_text};

pub(super) const NOUN: Noun = Noun {
    name: "init",
    about: "Create the state directory, and check what zeta depends on",
    build,
    verbs: &[],
    run,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Without --group the directory is yours alone (mode 0700), as on first use. With --group, as root,
the members of the group share it; it is complete before any other process sees it, and the systemd
files that preserve it are written. Repeating either call is safe.

Examples:
  zeta init
  zeta init --group zeta             # as root
  zeta init --group zeta --replace   # as root; an existing directory is moved aside")]
struct InitArgs {
    /// Create a directory that the members of this group share; as root
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Move an existing directory aside, unchanged; overwrite systemd files that differ
    #[arg(long, requires = "group")]
    replace: bool,
    /// Do not write systemd files, which 'zeta unit install --system' writes, too
    #[arg(long, requires = "group")]
    no_install: bool,
}

fn build(verb: Command) -> Command {
    InitArgs::augment_args(verb)
}

fn run(call: &Call) -> Result<u8> {
    let args: InitArgs = call.args()?;
    let ctx = call.context()?;
    refuse_other_node(&ctx)?;
    let report = match args.group {
        None => init(&ctx)?,
        Some(group) => {
            let (replace, install) = (args.replace, !args.no_install);
            let options = GroupOptions { group, replace, install, units: units_of_machine()? };
            init_group(&ctx, &options)?
        }
    };
    call.out.either(|| init_json(&report), || init_text(&report))?;
    Ok(0)
}

/// Refuses a name that is not that of this machine: `init` gives it none.
fn refuse_other_node(ctx: &Context) -> Result<()> {
    let Some(named) = &ctx.node else { return Ok(()) };
    let tree = Tree::open(&ctx.state_dir)?;
    let own = tree.map(|tree| tree.read_local_node()).transpose()?.flatten();
    match own.as_ref() == Some(named) {
        true => Ok(()),
        false => Err(Error::new(
            Kind::Unsafe,
            format!("'zeta init' gives this machine no name, so it cannot become {named}"),
        )
        .hint("leave out --node, and ZETA_NODE in the environment: a machine keeps its name")),
    }
}
