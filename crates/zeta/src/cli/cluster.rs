//! `zeta cluster`: what nodes share, on servers of NATS JetStream.

mod args;
mod bridge;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args as _;
use zeta_cluster::bridge::report as bridge_report;
use zeta_cluster::compact::{self, OLDER_DEFAULT_MS, Progress};
use zeta_cluster::identity::{Identity, find_or_make_key};
use zeta_cluster::join::{self, Joined};
use zeta_cluster::keys::{Keys, is_public_key};
use zeta_cluster::server_config::{self, Wanted};
use zeta_cluster::{after_loss, init, is_of_operator, report, status};
use zeta_core::cluster::compact::Asked;
use zeta_core::cluster::lease::TTL_MIN_MS;
use zeta_core::name::Label;
use zeta_core::time::parse_duration;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::given_path;

use self::args::{CompactArgs, ConfigArgs, InitArgs, JoinArgs, StatusArgs};
use super::{Call, Noun, Verb, needs_verb, run_verb};
use crate::environment;

pub(super) const NOUN: Noun = Noun {
    name: "cluster",
    about: "Make and examine the store that nodes share, on servers of NATS JetStream",
    build: |noun| needs_verb(noun).after_help(EXAMPLES),
    verbs: VERBS,
    run: |call| run_verb(call, VERBS),
};

/// The key of the administrator of the servers, in the directory of the identity.
const ADMIN_FILE: &str = "admin.nk";

/// How often the progress of a long call is printed.
const TELL: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  zeta cluster init --server nats://hub.lan:4222
  zeta cluster join --server nats://hub.lan:4222
  zeta cluster bridge
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
        name: "join",
        about: "Make this machine a node of a cluster, with a key of its own",
        args: JoinArgs::augment_args,
        run: run_join,
    },
    Verb {
        name: "config",
        about: "Print the configuration of the servers, with an account for each node",
        args: ConfigArgs::augment_args,
        run: run_config,
    },
    Verb {
        name: "compact",
        about: "Remove from the streams what nobody needs: an administrator's call",
        args: CompactArgs::augment_args,
        run: run_compact,
    },
    Verb {
        name: "status",
        about: "Show the servers, the streams, the record of the cluster, and what is wrong",
        args: StatusArgs::augment_args,
        run: run_status,
    },
];

/// The bounds of `--max-ttl`, in ms: the shortest TTL of a lease, and a day.
const MAX_TTL_MS: std::ops::RangeInclusive<u64> = TTL_MIN_MS..=86_400_000;

fn max_ttl(text: &str) -> Result<u64> {
    let ms = parse_duration("--max-ttl", text)?;
    match MAX_TTL_MS.contains(&ms) {
        true => Ok(ms),
        false => Err(Error::usage(format!("--max-ttl {text:?} is not between 30s and 1d"))),
    }
}

fn run_init(call: &Call) -> Result<u8> {
    let args: InitArgs = call.args()?;
    let max_ttl_ms = args.max_ttl.as_deref().map(max_ttl).transpose()?;
    let store = args.server.open(call)?;
    let dir = environment::cluster_dir(call.config()?)?;
    let member_of = Identity::find(&dir)?.map(|identity| identity.cluster);
    let asked = init::Asked { replicas: args.replicas, max_ttl_ms, member_of };
    let done = match args.after_loss {
        true => after_loss::restore(&store, &dir, asked)?,
        false => init::init(&store, asked)?,
    };
    call.out.either(|| report::initialized(&done), || report::initialized_text(&done))?;
    Ok(0)
}

fn run_status(call: &Call) -> Result<u8> {
    let args: StatusArgs = call.args()?;
    let monitors = environment::monitors(args.monitor, call.config()?)?;
    let store = args.server.open(call)?;
    let mut seen = status::status(&store, &monitors)?;
    // An identity that cannot be read is a matter of the calls that need it.
    if let Ok(Some(identity)) = Identity::find(&environment::cluster_dir(call.config()?)?) {
        seen.seen_by_member(&identity.cluster);
    }
    let ctx = call.context()?;
    let here = bridge_report::look(&ctx)?;
    let object = || {
        let mut object = report::status(&seen);
        bridge_report::add(&mut object, &here, &seen, &ctx);
        object
    };
    let text = || report::status_text(&seen) + &bridge_report::text(&here, &seen, &ctx);
    call.out.either(object, text)?;
    Ok(seen.exit_status())
}

fn run_compact(call: &Call) -> Result<u8> {
    let args: CompactArgs = call.args()?;
    let older_ms = match &args.older_than {
        Some(text) => parse_duration("--older-than", text)?,
        None => OLDER_DEFAULT_MS,
    };
    let forget: Result<Vec<Label>> =
        args.forget.iter().map(|name| Ok(Label::new("node", name)?)).collect();
    let asked = Asked { older_ms, forget: forget? };
    let config = call.config()?;
    let dir = environment::cluster_dir(config)?;
    let setting = args.server.setting(config)?;
    let mut told = Instant::now();
    let mut tell = |progress| match progress {
        Progress::Waiting(wait) => {
            let seconds = wait.as_secs();
            call.out
                .note(&format!("the floor of the tokens is raised; nodes read it: {seconds} s"));
        }
        Progress::Removed(at, all) if told.elapsed() >= TELL && at < all => {
            told = Instant::now();
            call.out.note(&format!("{at} of {all} removed"));
        }
        Progress::Removed(..) => {}
    };
    let done = compact::compact(&setting, &dir, &asked, args.dry_run, &mut tell)?;
    call.out.either(|| report::compacted(&done), || report::compacted_text(&done))?;
    Ok(0)
}

fn run_join(call: &Call) -> Result<u8> {
    let args: JoinArgs = call.args()?;
    let node = own_node(call)?;
    let config = call.config()?;
    let dir = environment::cluster_dir(config)?;
    let key = join::key(&dir, &node)?;
    if args.key_only {
        call.out.either(|| report::joined(&key, None), || key.line())?;
        return Ok(0);
    }
    let joined = join::join(&args.server.setting(config)?, &dir, &key, args.new_key)?;
    call.out.either(
        || report::joined(&key, Some(&joined)),
        || report::joined_text(&key, &joined, config.cluster_server.is_none()),
    )?;
    Ok(match joined {
        Joined::Yes { .. } => 0,
        Joined::Waits { .. } => Kind::Busy.status(),
    })
}

/// Returns the name of this machine's own node: no other one can join from here.
fn own_node(call: &Call) -> Result<Label> {
    let mut ctx = call.context()?;
    let named = ctx.node.take();
    let own = ctx.open()?.node.name.clone();
    match named.filter(|named| *named != own) {
        None => Ok(own),
        Some(other) => Err(Error::new(
            Kind::Unsafe,
            format!("this machine is the node {own}, and cannot join as {other}"),
        )
        .hint("leave out --node, and ZETA_NODE in the environment: a machine has one name")),
    }
}

/// A server with an operator takes no account from its configuration.
fn refuse_operator(call: &Call) -> Result<()> {
    let login = environment::cluster_credentials(call.config()?);
    let Some(path) = login.filter(|path| is_of_operator(path)) else { return Ok(()) };
    let shown = given_path::shown(&path);
    let text = format!(
        "{shown} is the login of a server in operator mode, which takes no accounts from its \
         configuration: its operator signs them"
    );
    Err(Error::new(Kind::Unsafe, text)
        .hint("what that means for the nodes: docs/use/cluster.md, 'Operator mode'")
        .hint("to print a configuration for servers without an operator, name no such login"))
}

fn run_config(call: &Call) -> Result<u8> {
    let args: ConfigArgs = call.args()?;
    let mut nodes = match &args.nodes {
        Some(path) => Keys::read(path)?,
        None => Keys::default(),
    };
    for member in &args.members {
        let line = member.replacen('=', " ", 1);
        nodes.add(&line).ok_or_else(|| {
            Error::usage(format!("{member:?} is no NODE=KEY of a node that is not there yet"))
        })?;
    }
    server_config::check_nodes(&nodes)?;
    refuse_operator(call)?;
    let admin = match args.admin {
        Some(key) if is_public_key(&key) => key,
        file => {
            let path = match file {
                Some(path) => PathBuf::from(path),
                None => environment::cluster_dir(call.config()?)?.join(ADMIN_FILE),
            };
            let key = find_or_make_key(&path)?.public_key();
            let shown = path.display();
            call.out.note(&format!("the login of the administrator: --credentials {shown}"));
            key
        }
    };
    let tls = args.tls_cert.zip(args.tls_key).zip(args.tls_ca);
    let wanted = Wanted {
        admin,
        server_name: args.server_name,
        listen: args.listen,
        monitor: args.monitor_listen,
        store_dir: args.store_dir,
        tls: tls.map(|((cert, key), ca)| [cert, key, ca]),
        routes_listen: args.routes_listen,
        routes: args.routes,
        version: args.server_version,
    };
    let text = server_config::render(&wanted, &nodes)?;
    call.out.either(
        || report::server_config(&wanted.admin, &nodes, &text),
        || text.trim_end().to_owned(),
    )?;
    Ok(0)
}
