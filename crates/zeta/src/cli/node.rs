//! `zeta node`: registers this machine in a cluster's repository, and removes it.

mod args;

use std::time::Duration;

use clap::Args;
use zeta_core::name::{Label, RecordName};
use zeta_core::registration::expiry::Expiry;
use zeta_core::registration::node::{About, DEFAULT_ROLE};
use zeta_core::registration::receipt::Receipt;
use zeta_core::time::{format_utc, parse_duration};

use self::args::{DeregisterArgs, ListArgs, RegisterArgs, StewardArgs};
use super::{Call, Noun, Verb};
use crate::environment;
use zeta_cluster::identity::Identity;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::hardening;
use zeta_registration::node as ops;
use zeta_registration::node::deregister;
use zeta_registration::node::deregister::Left;
use zeta_registration::node::register;
use zeta_registration::node::repository;
use zeta_registration::node::repository::Connection;
use zeta_registration::node::request::{RegisterOutcome, RegisterRequest};
use zeta_registration::node::steward;
use zeta_registration::node::steward::Tick;
use zeta_registration::report;
use zeta_registration::report::Standing;
use zeta_state::context::Context;
use zeta_state::lease::acquire::Refusal;
use zeta_state::lease::report as lease_report;

pub(super) const NOUN: Noun = Noun {
    name: "node",
    about: "Register this machine in a cluster's repository, or remove it",
    build: |noun| super::needs_verb(noun).after_help(args::EXAMPLES),
    verbs: VERBS,
    run: |call| {
        // A token may come into the memory of each verb.
        hardening::harden();
        super::run_verb(call, VERBS)
    },
};

const VERBS: &[Verb] = &[
    Verb {
        name: "register",
        about: "Register this node with one pull request, never with a second one",
        args: RegisterArgs::augment_args,
        run: run_register,
    },
    Verb {
        name: "steward",
        about: "Carry out an intent: open or adopt the pull request, watch until it is merged",
        args: StewardArgs::augment_args,
        run: run_steward,
    },
    Verb {
        name: "show",
        about: "Show this node's registration, as it was at the last check",
        args: |verb| verb.after_help("Example:\n  zeta node show --json"),
        run: run_show,
    },
    Verb {
        name: "list",
        about: "List the nodes of the repository",
        args: ListArgs::augment_args,
        run: run_list,
    },
    Verb {
        name: "deregister",
        about: "Open a pull request that removes a node",
        args: DeregisterArgs::augment_args,
        run: run_deregister,
    },
];

/// The shortest expiry, in ms.
const SHORTEST_MS: u64 = 8 * 86_400_000;

fn registration_of(
    ctx: &Context,
    args: &RegisterArgs,
    node: &Label,
    cluster_key: Option<String>,
) -> Result<About> {
    repository::check_maintainer(&args.maintainer)?;
    let now_us = ctx.now().reading.wall_us;
    let expires = args.expires.as_deref().map(|text| parse_duration("expiry", text)).transpose()?;
    // A shorter one could pass before a daily run extends it.
    if expires.is_some_and(|ms| ms < SHORTEST_MS) {
        return Err(Error::usage(
            "an expiry is at least 8d, because it is extended when 7d are left",
        ));
    }
    let until = |ms: u64| format_utc(now_us.saturating_add_unsigned(ms.saturating_mul(1000)));
    let roles = match args.roles.as_slice() {
        [] => vec![DEFAULT_ROLE.to_owned()],
        roles => roles.to_vec(),
    };
    Ok(About {
        node: node.to_string(),
        maintainer: args.maintainer.clone(),
        roles,
        timestamp: format_utc(now_us),
        expires_at: expires.map(until),
        flake_commit: args.flake_commit.clone(),
        flake_host: args.flake_host.clone(),
        cluster_key,
    })
}

fn run_register(call: &Call) -> Result<u8> {
    let args: RegisterArgs = call.args()?;
    let ctx = call.context()?;
    let node = ops::name(&ctx, args.host_name)?;
    let about = registration_of(&ctx, &args, &node, cluster_key(call, node.as_str()))?;
    let min_interval_ms = parse_duration("interval", &args.min_interval)?;
    if args.dry_run {
        let yaml = ops::preview(&about)?;
        let text = || yaml.trim_end().to_owned();
        return call.out.either(|| report::preview(&about, &yaml), text).map(|()| 0);
    }
    if args.intent {
        ops::intend(&ctx, &about, &args.place.place(), args.reopen)?;
        let text = report::intended_text;
        return call.out.either(|| report::intended(&about), text).map(|()| 0);
    }
    let receipt = ops::receipt_path();
    let ready = args.place.place().ready().or_else(|error| {
        if error.kind == Kind::Unsafe {
            ops::note_logged_out(&ctx, &receipt, &about, &error)?;
        }
        Err(error)
    })?;
    let request = RegisterRequest {
        node,
        maintainer: about.maintainer.clone(),
        file: repository::compose_here(&about),
        site: &ready,
        author: repository::author(&about.maintainer),
        reopen: args.reopen,
        min_interval_s: i64::try_from(min_interval_ms / 1000).unwrap_or(i64::MAX),
        receipt,
    };
    let (outcome, receipt) = register::register(&ctx, &request)?;
    print_standing(call, &ctx, &outcome, &receipt)
}

/// Reports the state of a registration; returns the exit status.
fn print_standing(
    call: &Call,
    ctx: &Context,
    outcome: &RegisterOutcome,
    receipt: &Receipt,
) -> Result<u8> {
    match report::standing(outcome, receipt) {
        Standing::Good(object, text) => call.out.either(|| object, || text).map(|()| 0),
        Standing::Refused(error, object) => {
            call.out.error(&error, Some(object));
            Ok(error.kind.status())
        }
        Standing::Taken(refusal) => refuse(call, ctx, ops::IN_FLIGHT, refusal),
    }
}

/// Reports that another agent of this node holds a lease; returns the exit status.
fn refuse(call: &Call, ctx: &Context, lease: &str, refusal: &Refusal) -> Result<u8> {
    let lease = RecordName::new("lease", lease)?;
    let (error, object) = lease_report::refused(&lease, refusal, &ctx.now());
    call.out.error(&error, Some(object));
    Ok(error.kind.status())
}

fn run_show(call: &Call) -> Result<u8> {
    let path = ops::receipt_path();
    let Some(receipt) = ops::read_receipt(&path)? else {
        if path.exists() {
            return Err(report::foreign_receipt(&path));
        }
        let intended = steward::intent(&call.context()?)?.is_some();
        return Err(report::no_receipt(&path, intended));
    };
    let key = cluster_key(call, &receipt.node);
    call.out.either(
        || report::receipt(&receipt, key.as_deref()),
        || report::receipt_text(&receipt, &path, key.as_deref()),
    )?;
    Ok(0)
}

/// Returns the public key of a node in its cluster of machines, if this machine has joined one as
/// that node. A registration does not need it, so what is wrong with the identity is only said.
fn cluster_key(call: &Call, node: &str) -> Option<String> {
    let dir = call.config().and_then(environment::cluster_dir).ok()?;
    let identity = Identity::find(&dir).unwrap_or_else(|error| {
        call.out.note(&format!("the file of this node gets no cluster key: {}", error.text));
        None
    });
    identity.filter(|found| found.node.as_str() == node).map(|found| found.public_key())
}

fn run_steward(call: &Call) -> Result<u8> {
    let args: StewardArgs = call.args()?;
    let ctx = call.context()?;
    let ms = |what, text: &Option<String>| {
        text.as_deref().map(|text| parse_duration(what, text)).transpose()
    };
    let every = ms("interval", &args.every)?.map(Duration::from_millis);
    let limit = ms("timeout", &args.timeout)?.map(Duration::from_millis);
    let min_interval_ms = parse_duration("interval", &args.min_interval)?;
    let min_interval_s = i64::try_from(min_interval_ms / 1000).unwrap_or(i64::MAX);
    let (is_given, own) = (args.place.is_given(), args.place.place());
    let ready = std::cell::OnceCell::new();
    let tick = || {
        steward::tick(&ctx, |intent| {
            let (about, place, reopen) = ops::wanted(&ctx, intent, (&own, is_given))?;
            let made: Connection = place.ready()?;
            let ready = ready.get_or_init(|| made);
            Ok(RegisterRequest {
                node: Label::new("node", &about.node)?,
                maintainer: about.maintainer.clone(),
                file: repository::compose_here(&about),
                site: ready,
                author: repository::author(&about.maintainer),
                reopen,
                min_interval_s,
                receipt: ops::receipt_path(),
            })
        })
    };
    let limit = if every.is_none() { Some(Duration::ZERO) } else { limit };
    let mut printed = String::new();
    let print_change = |tick: &Tick| {
        if let (Some(_), Tick::Stands(_, receipt)) = (every, tick)
            && receipt.detail != printed
        {
            printed.clone_from(&receipt.detail);
            call.out.note(&format!("{}: {printed}", receipt.state.word()));
        }
    };
    let last = steward::watch(every.unwrap_or_default(), limit, tick, print_change)?;
    match last {
        Tick::Nothing => {
            call.out.either(report::no_intent, report::no_intent_text)?;
            Ok(0)
        }
        Tick::Taken(refusal) => refuse(call, &ctx, steward::STEWARD, &refusal),
        Tick::Stands(outcome, receipt) => print_standing(call, &ctx, &outcome, &receipt),
    }
}

fn run_list(call: &Call) -> Result<u8> {
    let args: ListArgs = call.args()?;
    let ready = args.place.place().ready()?;
    let nodes = deregister::list(&ready)?;
    call.out.either(|| report::nodes(&nodes), || report::nodes_text(&nodes))?;
    Ok(0)
}

fn run_deregister(call: &Call) -> Result<u8> {
    let args: DeregisterArgs = call.args()?;
    let ctx = call.context()?;
    let reason =
        args.reason.as_deref().unwrap_or("its registration expired, and it gave no sign of life");
    let ready = args.place.place().ready()?;
    let mut gone: Vec<(String, Left)> = Vec::new();
    if args.dead {
        let nodes = deregister::list(&ready)?;
        let dead = nodes.iter().filter(|listed| listed.expiry == Some(Expiry::Dead));
        for (maintainer, node) in dead.filter_map(deregister::Listed::named) {
            let left = deregister::deregister(&ctx, &ready, (maintainer, node), (reason, false))?;
            gone.push((node.to_owned(), left));
        }
    } else {
        let maintainer = args.maintainer.as_deref().unwrap_or_default();
        repository::check_maintainer(maintainer)?;
        let node = match &args.node {
            Some(node) => Label::new("node", node)?,
            None => ops::name(&ctx, false)?,
        };
        let named = (maintainer, node.as_str());
        let left = deregister::deregister(&ctx, &ready, named, (reason, true))?;
        match left {
            Left::Gone => return Err(report::no_such_node(maintainer, node.as_str())),
            Left::InFlight(refusal) => return refuse(call, &ctx, ops::IN_FLIGHT, &refusal),
            _ => {}
        }
        gone.push((node.to_string(), left));
    }
    call.out.either(|| report::deregistered(&gone), || report::deregistered_text(&gone))?;
    Ok(0)
}
