//! `zeta cluster bridge`: the process that connects the state directory of this machine with the
//! store.

use clap::Args;
use zeta_cluster::bridge::{self, Level, Options};
use zeta_os::error::Result;

use super::super::{Call, Verb};
use super::args::ServerArgs;
use crate::environment;

pub(super) const VERB: Verb = Verb {
    name: "bridge",
    about: "Send the records of this machine to the store, and keep copies of the others'",
    args: BridgeArgs::augment_args,
    run,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Runs until it is ended (Ctrl-C, SIGTERM). One is enough for a state directory, and a second one ends
with 6. The records of other machines become files below nodes/ that can be read and not changed.
Without the bridge, or without a server, everything on this machine works as before.

As a service: systemctl enable --now zeta-cluster-bridge.service

Examples:
  zeta cluster bridge
  zeta cluster bridge --follow node-a,node-b
  zeta cluster bridge --verbose --server nats://hub.lan:4222")]
struct BridgeArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// What is followed of other machines: all, records (cards are read every 10 min), or names
    /// of nodes with commas [default: cluster_follow in the configuration, or all]
    #[arg(long, value_name = "WHAT")]
    follow: Option<String>,
    /// Log also what needs no attention
    #[arg(long)]
    verbose: bool,
}

fn run(call: &Call) -> Result<u8> {
    let BridgeArgs { server, follow, verbose } = call.args()?;
    let setting = server.setting(call.config()?)?;
    let dir = environment::cluster_dir(call.config()?)?;
    let follow = environment::follow(follow, call.config()?)?;
    let ctx = call.context()?;
    // The journal reads how much a line matters from its first characters.
    let in_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let log = |level: Level, line: &str| {
        if level == Level::Debug && !verbose {
            return;
        }
        let number = match level {
            Level::Error => "<3>",
            Level::Warning => "<4>",
            Level::Notice => "<5>",
            Level::Info => "<6>",
            Level::Debug => "<7>",
        };
        call.out.log(if in_journal { number } else { "" }, line);
    };
    bridge::run(Options { ctx: &ctx, setting, dir, follow, log: &log })?;
    Ok(0)
}
