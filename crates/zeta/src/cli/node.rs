//! `zeta node`: how this machine joins and leaves a cluster's repository.

mod args;

use std::time::Duration;

use clap::Args;
use zeta_core::name::Label;
use zeta_core::record::printable;
use zeta_core::registration::expiry::Expiry;
use zeta_core::registration::node::{About, DEFAULT_ROLE, EXPIRES_AT};
use zeta_core::registration::receipt::Receipt;
use zeta_core::registration::{From, Pull, Stop};
use zeta_core::time::{format_utc, parse_duration};

use self::args::{DeregisterArgs, ListArgs, RegisterArgs, StewardArgs};
use super::{Call, Noun, Verb};
use crate::cli::lease::words as lease_words;
use zeta_core::json::Object;
use zeta_os::error::{Error, Kind, Result};
use zeta_registration::node as ops;
use zeta_registration::node::deregister;
use zeta_registration::node::deregister::Left;
use zeta_registration::node::register;
use zeta_registration::node::repository;
use zeta_registration::node::repository::Connection;
use zeta_registration::node::request::{RegisterOutcome, RegisterRequest};
use zeta_registration::node::steward;
use zeta_registration::node::steward::Tick;
use zeta_state::context::Context;

pub(super) const NOUN: Noun = Noun {
    name: "node",
    about: "How this machine joins and leaves a cluster's repository",
    build: super::needs_verb,
    verbs: VERBS,
    run: |call| super::run_verb(call, VERBS),
};

const VERBS: &[Verb] = &[
    Verb {
        name: "register",
        about: "Register this node: one pull request, and never a second one",
        args: RegisterArgs::augment_args,
        run: run_register,
    },
    Verb {
        name: "steward",
        about: "Carry an intent across: open or adopt, let it be merged, watch",
        args: StewardArgs::augment_args,
        run: run_steward,
    },
    Verb {
        name: "show",
        about: "How this node's registration stood when somebody looked last",
        args: |verb| verb.after_help("Example:\n  zeta node show --json"),
        run: run_show,
    },
    Verb {
        name: "list",
        about: "The nodes of the repository",
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

fn words_about(ctx: &Context, args: &RegisterArgs, node: &Label) -> Result<About> {
    repository::check_maintainer(&args.maintainer)?;
    let now_us = ctx.now().reading.wall_us;
    let expires = args.expires.as_deref().map(|text| parse_duration("expiry", text)).transpose()?;
    // One that is shorter would be over before a run a day can move it.
    if expires.is_some_and(|ms| ms < SHORTEST_MS) {
        return Err(Error::usage("an expiry is at least 8d: it is moved when 7d are left"));
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
    })
}

fn run_register(call: &Call) -> Result<u8> {
    let args: RegisterArgs = call.args()?;
    let ctx = call.context()?;
    let node = ops::name(&ctx, args.host_name)?;
    let about = words_about(&ctx, &args, &node)?;
    let min_interval_ms = parse_duration("interval", &args.min_interval)?;
    if args.dry_run {
        return call.out.data(ops::preview(&about)?.trim_end()).map(|()| 0);
    }
    if args.intent {
        ops::intend(&ctx, &about, &args.place.place(), args.reopen)?;
        let object = || {
            let mut object = Object::new();
            object.text("node", &about.node).text("outcome", "intended");
            object
        };
        let text = || "written down; 'zeta node steward' opens the pull request".to_owned();
        return call.out.either(object, text).map(|()| 0);
    }
    let receipt = ops::receipt_path();
    let ready = args.place.place().ready().or_else(|error| {
        if error.kind == Kind::Unsafe {
            ops::note_logged_out(&ctx, &receipt, &about, &error)?;
        }
        Err(error)
    })?;
    let asked = RegisterRequest {
        node,
        maintainer: about.maintainer.clone(),
        file: repository::compose_here(&about),
        site: &ready,
        author: repository::author(&about.maintainer),
        reopen: args.reopen,
        min_interval_s: i64::try_from(min_interval_ms / 1000).unwrap_or(i64::MAX),
        receipt,
    };
    let (came, receipt) = register::register(&ctx, &asked)?;
    tell(call, &ctx, &came, &receipt)
}

/// Says how a registration stands; its exit status.
fn tell(call: &Call, ctx: &Context, came: &RegisterOutcome, receipt: &Receipt) -> Result<u8> {
    let object = || receipt_object(receipt);
    let wait = |pull: &Pull| match pull.from {
        From::Ours => format!("waits for {}", pull.url),
        _ => format!("waits for {}: {}", pull.url, receipt.detail),
    };
    let (kind, text) = match came {
        RegisterOutcome::Registered => (None, format!("registered: {}", receipt.node_path)),
        RegisterOutcome::Waiting(pull) => (None, wait(pull)),
        RegisterOutcome::Opened(pull) => (None, format!("opened {}", pull.url)),
        RegisterOutcome::InFlight(refusal) => {
            let lease = zeta_core::name::RecordName::new("lease", ops::IN_FLIGHT)?;
            let (error, object) = lease_words::refused(&lease, refusal, &ctx.now());
            call.out.error(&error, Some(object));
            return Ok(error.kind.status());
        }
        RegisterOutcome::Stopped(stop) => match stop {
            Stop::CouldNotAsk(why) => (
                Some((Kind::Fault, "nothing is done before it is known; try again")),
                format!("could not ask: {why}"),
            ),
            Stop::Merging(pull) => (None, format!("{} was merged a moment ago", pull.url)),
            Stop::Closed(pull) => (
                Some((Kind::Refused, "a person said no; to ask again: --reopen")),
                format!("{} was closed", pull.url),
            ),
            Stop::Removed(pull) => (
                Some((Kind::Refused, "to join again: --reopen")),
                format!("{} was merged, and the node was removed since", pull.url),
            ),
            Stop::Throttled(s) => (
                Some((
                    Kind::Busy,
                    "put right what failed ('zeta node show'), then: --min-interval 0s",
                )),
                format!(
                    "one attempt a day: the next one may be made in {s} s ({})",
                    receipt.detail
                ),
            ),
        },
    };
    match kind {
        None => {
            call.out.either(object, || printable(&text).into_owned())?;
            Ok(0)
        }
        Some((kind, hint)) => {
            let error = Error::new(kind, text).hint(hint);
            call.out.error(&error, Some(object()));
            Ok(error.kind.status())
        }
    }
}

fn receipt_object(receipt: &Receipt) -> Object {
    let mut object = Object::new();
    object.text("node", &receipt.node).text("state", receipt.state.word());
    object.text("node_path", &receipt.node_path);
    for (key, value) in [("pr_url", &receipt.pr_url), ("branch", &receipt.branch)] {
        if let Some(value) = value {
            object.text(key, value);
        }
    }
    object.text("observed_at", &format_utc(receipt.observed_us));
    object.text("detail", &receipt.detail);
    object
}

fn run_show(call: &Call) -> Result<u8> {
    let path = ops::receipt_path();
    match ops::read_receipt(&path)? {
        Some(receipt) => {
            let text = || {
                let url = receipt.pr_url.as_deref().unwrap_or("-");
                let lines = [
                    format!("{}: {} ({})", receipt.node, receipt.state.word(), receipt.detail),
                    format!("  pull request {url}"),
                    format!("  observed at {}", format_utc(receipt.observed_us)),
                    format!("  receipt {}", path.display()),
                ];
                lines.map(|line| printable(&line).into_owned()).join("\n")
            };
            call.out.either(|| receipt_object(&receipt), text)?;
            Ok(0)
        }
        None => {
            let text = format!("{}: there is no receipt: nobody looked yet", path.display());
            let error =
                Error::new(Kind::NotFound, text).hint(match steward::intent(&call.context()?)? {
                    Some(_) => "an intent waits for its steward: zeta node steward",
                    None => "look: zeta node register --repo OWNER/NAME --maintainer USER",
                });
            call.out.error(&error, None);
            Ok(error.kind.status())
        }
    }
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
    let (said, own) = (args.place.is_said(), args.place.place());
    let ready = std::cell::OnceCell::new();
    let tick = || {
        steward::tick(&ctx, |intent| {
            let (about, place, reopen) = ops::wanted(&ctx, intent, (&own, said))?;
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
    let mut told = String::new();
    let tell_change = |tick: &Tick| {
        if let (Some(_), Tick::Stands(_, receipt)) = (every, tick)
            && receipt.detail != told
        {
            told.clone_from(&receipt.detail);
            call.out.note(&format!("{}: {told}", receipt.state.word()));
        }
    };
    let last = steward::watch(every.unwrap_or_default(), limit, tick, tell_change)?;
    match last {
        Tick::Nothing => {
            let object = || {
                let mut object = Object::new();
                object.text("outcome", "no_intent");
                object
            };
            call.out.either(object, || "there is no intent: nothing to do".to_owned())?;
            Ok(0)
        }
        Tick::Taken(refusal) => {
            let lease = zeta_core::name::RecordName::new("lease", steward::STEWARD)?;
            let (error, object) = lease_words::refused(&lease, &refusal, &ctx.now());
            call.out.error(&error, Some(object));
            Ok(error.kind.status())
        }
        Tick::Stands(came, receipt) => tell(call, &ctx, &came, &receipt),
    }
}

fn run_list(call: &Call) -> Result<u8> {
    let args: ListArgs = call.args()?;
    let ready = args.place.place().ready()?;
    let nodes = deregister::list(&ready)?;
    let object = || {
        let mut object = Object::new();
        object.objects("nodes", &nodes, |object, listed| {
            object.text("path", &listed.path).flag("dead", listed.expiry == Some(Expiry::Dead));
            match &listed.node {
                Ok(node) => {
                    if let Some(end) = node.metadata.annotations.get(EXPIRES_AT) {
                        object.text("expires_at", end);
                    }
                    object.text("node", &node.metadata.name);
                    object.text("maintainer", &node.spec.registration.maintainer);
                    let roles = node.spec.roles.iter().map(|r| zeta_core::record::quote(r));
                    object.list("roles", roles);
                }
                Err(why) => _ = object.text("damage", why),
            }
        });
        object
    };
    let text = || {
        let line = |listed: &deregister::Listed| match &listed.node {
            Ok(node) => format!(
                "{:<20} {:<16} {}{}",
                node.metadata.name,
                node.spec.registration.maintainer,
                node.spec.roles.join(","),
                match listed.expiry {
                    Some(Expiry::Dead) => "  (dead: its end is over)",
                    Some(Expiry::Due) => "  (its end is near, or over by less than three days)",
                    Some(Expiry::Unreadable) => "  (its end cannot be read)",
                    _ => "",
                }
            ),
            Err(why) => format!("{}: {why}", listed.path),
        };
        let lines = nodes.iter().map(|listed| printable(&line(listed)).into_owned());
        lines.collect::<Vec<_>>().join("\n")
    };
    call.out.either(object, text)?;
    Ok(0)
}

fn run_deregister(call: &Call) -> Result<u8> {
    let args: DeregisterArgs = call.args()?;
    let ctx = call.context()?;
    let reason = args.reason.as_deref().unwrap_or("its end is over, and it gave no sign of life");
    let ready = args.place.place().ready()?;
    let mut gone: Vec<(String, Left)> = Vec::new();
    if args.dead {
        let nodes = deregister::list(&ready)?;
        let dead = nodes.iter().filter(|listed| listed.expiry == Some(Expiry::Dead));
        for (maintainer, node) in dead.filter_map(deregister::Listed::named) {
            let left = deregister::deregister(&ready, (maintainer, node), reason, false)?;
            gone.push((node.to_owned(), left));
        }
    } else {
        let maintainer = args.maintainer.as_deref().unwrap_or_default();
        repository::check_maintainer(maintainer)?;
        let node = match &args.node {
            Some(node) => Label::new("node", node)?,
            None => ops::name(&ctx, false)?,
        };
        let left = deregister::deregister(&ready, (maintainer, node.as_str()), reason, true)?;
        if matches!(left, Left::Gone) {
            let text = format!("maintainer {maintainer} has no node {node} there");
            return Err(Error::new(Kind::NotFound, text)
                .hint("whose it is, if it is there: zeta node list, with the same repository"));
        }
        gone.push((node.to_string(), left));
    }
    let object = || {
        let mut object = Object::new();
        object.objects("nodes", &gone, |object, (node, left)| {
            let (word, pull) = match left {
                Left::Gone => ("gone", None),
                Left::Opened(pull) => ("opened", Some(pull)),
                Left::Waiting(pull) => ("waiting", Some(pull)),
                Left::Stays(pull) => ("stays", Some(pull)),
            };
            object.text("node", node).text("outcome", word);
            if let Some(pull) = pull {
                object.text("pr_url", &pull.url);
            }
        });
        object
    };
    let text = || {
        let line = |(node, left): &(String, Left)| match left {
            Left::Gone => format!("{node} is not registered"),
            Left::Opened(pull) => format!("{node}: opened {}", pull.url),
            Left::Waiting(pull) => format!("{node}: {} removes it, and waits already", pull.url),
            Left::Stays(pull) => format!("{node} stays: {} was closed", pull.url),
        };
        match gone.as_slice() {
            [] => "no node is dead".to_owned(),
            gone => {
                let lines = gone.iter().map(|left| printable(&line(left)).into_owned());
                lines.collect::<Vec<_>>().join("\n")
            }
        }
    };
    call.out.either(object, text)?;
    Ok(0)
}
