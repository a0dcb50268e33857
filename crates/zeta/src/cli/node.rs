//! `zeta node`: how this machine joins and leaves a cluster's repository.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use zeta_core::name::Label;
use zeta_core::record::printable;
use zeta_core::registration::expiry::Expiry;
use zeta_core::registration::node::{About, DEFAULT_ROLE};
use zeta_core::registration::receipt::Receipt;
use zeta_core::registration::{From, Pull, Stop};
use zeta_core::time::{format_utc, parse_duration};

use super::lease::words as lease_words;
use super::{Call, Noun, Verb};
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::ops::node as ops;
use crate::ops::node::leave::{self, Left};
use crate::ops::node::place::{self, Place, Ready};
use crate::ops::node::register::{self, Asked, Came};
use crate::ops::node::steward::{self, Tick};
use crate::output::Object;

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

#[derive(Debug, Args)]
struct PlaceArgs {
    /// Repository on GitHub [env: ZETA_SELF_REGISTER_REPO_SLUG]
    #[arg(long, value_name = "OWNER/NAME")]
    repo: Option<String>,
    /// Address of the repository for git; alone, a branch is pushed and that is all
    #[arg(long, value_name = "URL")]
    remote: Option<String>,
    /// Fork that branches are pushed to, for an account without write access
    #[arg(long, value_name = "OWNER/NAME")]
    fork: Option<String>,
    /// Address of the fork for git
    #[arg(long, value_name = "URL")]
    fork_remote: Option<String>,
    /// Address of the API, for a server of your own
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    /// Branch that nodes are registered on [default: the default branch]
    #[arg(long, value_name = "BRANCH")]
    base: Option<String>,
    /// File that holds the token [default: GH_TOKEN, GITHUB_TOKEN, or that of gh]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl PlaceArgs {
    /// Does the call itself name a place?
    fn is_said(&self) -> bool {
        let PlaceArgs { repo, remote, fork, fork_remote, api, base, token_file: _ } = self;
        [repo, remote, fork, fork_remote, api, base].iter().any(|part| part.is_some())
    }

    fn place(self) -> Place {
        let slug = std::env::var("ZETA_SELF_REGISTER_REPO_SLUG").ok().filter(|s| !s.is_empty());
        // Who names a remote alone means that, whatever the environment says.
        let repo = match (&self.repo, &self.remote) {
            (None, Some(_)) => None,
            _ => self.repo.or(slug),
        };
        Place {
            repo,
            remote: self.remote,
            fork: self.fork,
            fork_remote: self.fork_remote,
            api: self.api,
            base: self.base,
            token_file: self.token_file,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Looks first: is the node on the default branch, is a pull request open, by whomever? Only if both
were answered with no is one opened. It can be run at every boot, by every agent, and by a timer.

Examples:
  zeta node register --repo acme/cluster --maintainer ace
  zeta node register --remote /srv/cluster.git --maintainer ace   # no forge: a branch
  zeta node register --repo acme/cluster --fork ace/cluster --maintainer ace
  zeta node register --repo acme/cluster --maintainer ace --intent   # an agent does it later
  zeta node register --repo acme/cluster --maintainer ace --dry-run")]
struct RegisterArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The forge's user that the node belongs to
    #[arg(long, value_name = "USER")]
    maintainer: String,
    /// What the node is for; may be given more than once [default: worker]
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// Name it after the host [default: the opaque name of the node]
    #[arg(long)]
    host_name: bool,
    /// Commit of the configuration that it was installed from
    #[arg(long, value_name = "COMMIT")]
    flake_commit: Option<String>,
    /// Name of that configuration
    #[arg(long, value_name = "NAME")]
    flake_host: Option<String>,
    /// End of the registration without a sign of life, as in 30d [default: none]
    #[arg(long, value_name = "DURATION")]
    expires: Option<String>,
    /// Open another one after a pull request that was closed
    #[arg(long)]
    reopen: bool,
    /// Least time between attempts
    #[arg(long, value_name = "DURATION", default_value = "1d")]
    min_interval: String,
    /// Only write down what is wanted, for 'zeta node steward'
    #[arg(long)]
    intent: bool,
    /// Print the file, and do nothing
    #[arg(long)]
    dry_run: bool,
}

fn words_about(ctx: &Context, args: &RegisterArgs, node: &Label) -> Result<About> {
    place::check_maintainer(&args.maintainer)?;
    let now_us = ctx.now().reading.wall_us;
    let expires = args.expires.as_deref().map(|text| parse_duration("expiry", text)).transpose()?;
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
        call.out.talk("written down; 'zeta node steward' opens the pull request");
        return Ok(0);
    }
    let ready = args.place.place().ready()?;
    let asked = Asked {
        node,
        maintainer: about.maintainer.clone(),
        file: place::compose_here(&about),
        site: &ready,
        author: place::author(&about.maintainer),
        reopen: args.reopen,
        min_interval_s: i64::try_from(min_interval_ms / 1000).unwrap_or(i64::MAX),
        receipt: ops::receipt_path(),
    };
    let (came, receipt) = register::register(&ctx, &asked)?;
    tell(call, &ctx, &came, &receipt)
}

/// Says how a registration stands; its exit status.
fn tell(call: &Call, ctx: &Context, came: &Came, receipt: &Receipt) -> Result<u8> {
    let object = || receipt_object(receipt);
    let wait = |pull: &Pull| match pull.from {
        From::Ours => format!("waits for {}", pull.url),
        _ => format!("waits for {}: {}", pull.url, receipt.detail),
    };
    let (kind, text) = match came {
        Came::Registered => (None, format!("registered: {}", receipt.node_path)),
        Came::Waiting(pull) => (None, wait(pull)),
        Came::Opened(pull) => (None, format!("opened {}", pull.url)),
        Came::InFlight(refusal) => {
            let lease = zeta_core::name::RecordName::new("lease", ops::IN_FLIGHT)?;
            let (error, object) = lease_words::refused(&lease, refusal, &ctx.now());
            call.out.error(&error, Some(object));
            return Ok(error.kind.status());
        }
        Came::Stopped(stop) => match stop {
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
                format!("the last attempt failed; the next one may be made in {s} s"),
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
            let error = Error::new(Kind::NotFound, text).hint("look: zeta node register");
            call.out.error(&error, None);
            Ok(error.kind.status())
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
One steward of a node at a time. Each tick looks before it does anything, so one that was killed is
taken up by the next, whoever runs it. In a tree of a group, where an intent may be anybody's, the
call has to name the same repository as the intent: the token is yours.

Examples:
  zeta node steward                        # one tick
  zeta node steward --every 5m             # until the node is registered
  zeta node steward --repo acme/cluster    # in a tree of a group")]
struct StewardArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Tick again and again, until the node is registered
    #[arg(long, value_name = "DURATION")]
    every: Option<String>,
    /// Stop after this long
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
}

fn run_steward(call: &Call) -> Result<u8> {
    let args: StewardArgs = call.args()?;
    let ctx = call.context()?;
    let ms = |what, text: &Option<String>| {
        text.as_deref().map(|text| parse_duration(what, text)).transpose()
    };
    let every = ms("interval", &args.every)?.map(Duration::from_millis);
    let limit = ms("timeout", &args.timeout)?.map(Duration::from_millis);
    let (said, own) = (args.place.is_said(), args.place.place());
    let ready = std::cell::OnceCell::new();
    let tick = || {
        steward::tick(&ctx, |intent| {
            let (about, place, reopen) = ops::wanted(&ctx, intent, (&own, said))?;
            let made: Ready = place.ready()?;
            let ready = ready.get_or_init(|| made);
            Ok(Asked {
                node: Label::new("node", &about.node)?,
                maintainer: about.maintainer.clone(),
                file: place::compose_here(&about),
                site: ready,
                author: place::author(&about.maintainer),
                reopen,
                min_interval_s: 86_400,
                receipt: ops::receipt_path(),
            })
        })
    };
    let limit = if every.is_none() { Some(Duration::ZERO) } else { limit };
    let last = steward::watch(every.unwrap_or_default(), limit, tick, |_| ())?;
    match last {
        Tick::Nothing => {
            call.out.talk("there is no intent: nothing to do");
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

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zeta node list --repo acme/cluster")]
struct ListArgs {
    #[command(flatten)]
    place: PlaceArgs,
}

fn run_list(call: &Call) -> Result<u8> {
    let args: ListArgs = call.args()?;
    let ready = args.place.place().ready()?;
    let nodes = leave::list(&ready)?;
    let object = || {
        let mut object = Object::new();
        object.objects("nodes", &nodes, |object, listed| {
            object.text("path", &listed.path).flag("dead", listed.expiry == Some(Expiry::Dead));
            match &listed.node {
                Ok(node) => {
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
        let line = |listed: &leave::Listed| match &listed.node {
            Ok(node) => format!(
                "{:<20} {:<16} {}{}",
                node.metadata.name,
                node.spec.registration.maintainer,
                node.spec.roles.join(","),
                match listed.expiry {
                    Some(Expiry::Dead) => "  (dead: its end is over)",
                    Some(Expiry::Due) => "  (its end is near)",
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

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta node deregister node-1a2b3c --repo acme/cluster --maintainer ace --reason 'sold'
  zeta node deregister --dead --repo acme/cluster   # each node whose end is over by three days")]
struct DeregisterArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The node [default: this one]
    #[arg(conflicts_with = "dead")]
    node: Option<String>,
    /// All nodes whose end is over by more than the grace of three days
    #[arg(long, conflicts_with = "maintainer")]
    dead: bool,
    /// The forge's user that the node belongs to
    #[arg(long, value_name = "USER", required_unless_present = "dead")]
    maintainer: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", required_unless_present = "dead")]
    reason: Option<String>,
}

fn run_deregister(call: &Call) -> Result<u8> {
    let args: DeregisterArgs = call.args()?;
    let ctx = call.context()?;
    let reason = args.reason.as_deref().unwrap_or("its end is over, and it gave no sign of life");
    let ready = args.place.place().ready()?;
    let mut gone: Vec<(String, Left)> = Vec::new();
    if args.dead {
        let nodes = leave::list(&ready)?;
        let dead = nodes.iter().filter(|listed| listed.expiry == Some(Expiry::Dead));
        for (maintainer, node) in dead.filter_map(leave::Listed::named) {
            let left = leave::deregister(&ready, (maintainer, node), reason, false)?;
            gone.push((node.to_owned(), left));
        }
    } else {
        let maintainer = args.maintainer.as_deref().unwrap_or_default();
        place::check_maintainer(maintainer)?;
        let node = match &args.node {
            Some(node) => Label::new("node", node)?,
            None => ops::name(&ctx, false)?,
        };
        let left = leave::deregister(&ready, (maintainer, node.as_str()), reason, true)?;
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
