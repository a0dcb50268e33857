//! `zeta cluster`: what nodes share, on servers of NATS JetStream.

mod bridge;

use std::path::PathBuf;

use clap::Args;
use zeta_cluster::bridge::report as bridge_report;
use zeta_cluster::store::Store;
use zeta_cluster::{init, report, status};
use zeta_core::cluster::lease::TTL_MIN_MS;
use zeta_core::time::parse_duration;
use zeta_os::error::{Error, Result};

use super::{Call, Noun, Verb, needs_verb, run_verb};
use crate::environment;

pub(super) const NOUN: Noun = Noun {
    name: "cluster",
    about: "Make and examine the store that nodes share, on servers of NATS JetStream",
    build: |noun| needs_verb(noun).after_help(EXAMPLES),
    verbs: VERBS,
    run: |call| run_verb(call, VERBS),
};

const EXAMPLES: &str = "\
Examples:
  zeta cluster init --server nats://hub.lan:4222
  zeta cluster status";

const VERBS: &[Verb] = &[
    Verb {
        name: "init",
        about: "Make the streams of a cluster and its record, once",
        args: InitArgs::augment_args,
        run: run_init,
    },
    bridge::VERB,
    Verb {
        name: "status",
        about: "Show the servers, the streams, the record of the cluster, and what is wrong",
        args: StatusArgs::augment_args,
        run: run_status,
    },
];

#[derive(Debug, Args)]
struct ServerArgs {
    /// Servers, several with commas [default: cluster_server in the configuration]
    #[arg(long, value_name = "ADDRESS")]
    server: Option<String>,
    /// File with the login [default: cluster_credentials in the configuration]
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
}

impl ServerArgs {
    fn open(self, call: &Call) -> Result<Store> {
        let setting = environment::cluster(self.server, self.credentials, call.config()?)?;
        Store::open(&setting)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Any number of callers may run it, also at once: all of them end with the same cluster. It first
lets eight writers race on a scratch stream, and refuses a server that lets two of them win. It
changes no stream that is there with other settings, and makes no new cluster over the rest of an
old one.

Examples:
  zeta cluster init --server nats://hub.lan:4222
  zeta cluster init --server nats://a.lan:4222,nats://b.lan:4222 --replicas 3 --json")]
struct InitArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// How many servers keep each stream: 1, 3 or 5 [default: as it is there, or 1]
    #[arg(long, value_name = "N", value_parser = replicas)]
    replicas: Option<u64>,
    /// Longest TTL of a lease; after a loss of data nobody is granted a lease for as long
    /// [default: 15m]
    #[arg(long, value_name = "TIME")]
    max_ttl: Option<String>,
}

/// The bounds of `--max-ttl`, in ms: the shortest TTL of a lease, and a day.
const MAX_TTL_MS: std::ops::RangeInclusive<u64> = TTL_MIN_MS..=86_400_000;

fn max_ttl(text: &str) -> Result<u64> {
    let ms = parse_duration("--max-ttl", text)?;
    match MAX_TTL_MS.contains(&ms) {
        true => Ok(ms),
        false => Err(Error::usage(format!("--max-ttl {text:?} is not between 30s and 1d"))),
    }
}

fn replicas(text: &str) -> std::result::Result<u64, &'static str> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err("give 1, 3 or 5: of an even number no more servers may fail than of one less"),
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 if the cluster can be used, 6 if no server is reached or a stream has no leader, 7 if
something else is wrong.

Examples:
  zeta cluster status
  zeta cluster status --server nats://hub.lan:4222 --json
  zeta cluster status --monitor http://hub.lan:8222     # is it safe when the power fails?")]
struct StatusArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Monitoring ports of the servers [default: cluster_monitor in the configuration]
    #[arg(long, value_name = "ADDRESS")]
    monitor: Option<String>,
}

fn run_init(call: &Call) -> Result<u8> {
    let args: InitArgs = call.args()?;
    let max_ttl_ms = args.max_ttl.as_deref().map(max_ttl).transpose()?;
    let store = args.server.open(call)?;
    let done = init::init(&store, init::Asked { replicas: args.replicas, max_ttl_ms })?;
    call.out.either(|| report::initialized(&done), || report::initialized_text(&done))?;
    Ok(0)
}

fn run_status(call: &Call) -> Result<u8> {
    let args: StatusArgs = call.args()?;
    let monitors = environment::monitors(args.monitor, call.config()?)?;
    let store = args.server.open(call)?;
    let seen = status::status(&store, &monitors)?;
    let ctx = call.context()?;
    let here = bridge_report::look(&ctx)?;
    let object = || {
        let mut object = report::status(&seen);
        bridge_report::add(&mut object, &here, &ctx);
        object
    };
    let text = || report::status_text(&seen) + &bridge_report::text(&here, &ctx);
    call.out.either(object, text)?;
    Ok(seen.exit_status())
}
