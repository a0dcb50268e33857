//! `zeta claim`: who works on which item, with branch and worktree.

use std::path::Path;

use clap::Args;
use zeta_core::bus::item::Item;
use zeta_core::lease::{FencingToken, Held, Observed};
use zeta_core::time::{parse_duration, parse_ttl};

use super::{Call, Noun, Verb};
use crate::cli::bus::{Place, address};
use crate::cli::lease::print_lost;
use crate::environment::bus_shape;
use zeta_bus::claim as ops;
use zeta_bus::claim::{Acquired, ClaimRequest, Claimant, Granted, Holders, report};
use zeta_bus::report::Shape;
use zeta_core::json::Object;
use zeta_os::error::{Error, Result};
use zeta_state::context::Context;
use zeta_state::lease::report as lease_report;

pub(super) const NOUN: Noun = Noun {
    name: "claim",
    about: "Claim work items: who works on what, on which branch, in which worktree",
    build: |noun| super::needs_verb_unless_original(noun).after_help(EXAMPLES),
    verbs: VERBS,
    run: |call| super::run_verb_or_help(call, &NOUN),
};

const EXAMPLES: &str = "\
Examples:
  zeta claim acquire --from otto-cli --item B-0856 --branch feat/x --worktree /home/zeta/wt-1
  zeta claim check --item B-0856     # exit 0: free; exit 3: claimed
  zeta claim list
  zeta claim release --from otto-cli --item B-0856";

const VERBS: &[Verb] = &[
    Verb {
        name: "acquire",
        about: "Claim an item; prints its fencing token. Exit 3 if it is claimed already",
        args: AcquireArgs::augment_args,
        run: acquire,
    },
    Verb {
        name: "release",
        about: "Release a claim",
        args: ReleaseArgs::augment_args,
        run: release,
    },
    Verb {
        name: "check",
        about: "Exit 0 if an item is free, 3 if it is claimed",
        args: CheckArgs::augment_args,
        run: check,
    },
    Verb {
        name: "list",
        about: "List all claims: item, holder, branch, worktree",
        args: ListArgs::augment_args,
        run: list,
    },
    Verb {
        name: "renew",
        about: "Restart the TTL of a claim, and publish the claim again",
        args: RenewArgs::augment_args,
        run: renew,
    },
    Verb {
        name: "handover",
        about: "Give a claim to another holder; the item is never free in between",
        args: HandoverArgs::augment_args,
        run: handover,
    },
];

// No documentation comment: the help would print it as the description of the whole verb.
#[derive(Debug, Args)]
struct Subject {
    #[command(flatten)]
    place: Place,
    /// Holder [default: your agent name]
    #[arg(long, value_name = "WHO")]
    from: Option<String>,
    /// Work item: any text
    #[arg(long, value_name = "ITEM")]
    item: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A claim belongs to the session ('zeta run') that acquires it, and is free at once when that session
ends. Without a session the claim lasts for 24 h.

Examples:
  zeta claim acquire --from otto-cli --item B-0856
  zeta claim acquire --from otto-cli --item B-0856 --branch feat/x --worktree /home/zeta/wt-1
  zeta claim acquire --from otto-cli --item B-0856 --wait 10m")]
struct AcquireArgs {
    #[command(flatten)]
    subject: Subject,
    /// Branch of the work
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// Worktree of the work
    #[arg(long, value_name = "PATH")]
    worktree: Option<String>,
    /// Let other surfaces of the persona claim it too, if they also give --shareable
    #[arg(long)]
    shareable: bool,
    /// Time to live without renewal [default: 10m in a session, which renews it; else 24h]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// Wait for at most this long [default: try once]
    #[arg(long, value_name = "DURATION")]
    wait: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta claim release --from otto-cli --item B-0856
  zeta claim release --from otto-cli --item B-0856 --token 1779000000000001")]
struct ReleaseArgs {
    #[command(flatten)]
    subject: Subject,
    /// Fencing token that acquire printed; required for a claim of another session
    #[arg(long, value_name = "N")]
    token: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zeta claim check --item B-0856 --json")]
struct CheckArgs {
    #[command(flatten)]
    place: Place,
    /// Work item
    #[arg(long, value_name = "ITEM")]
    item: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zeta claim list --json")]
struct ListArgs {
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zeta claim renew --from otto-cli --item B-0856")]
struct RenewArgs {
    #[command(flatten)]
    subject: Subject,
    /// Fencing token that acquire printed
    #[arg(long, value_name = "N")]
    token: Option<String>,
    /// New time to live without renewal [default: as before]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
To move the claim into its own session, the new holder calls 'zeta claim acquire'.

Example:
  zeta claim handover --from otto-cli --to vera-codex --item B-0856")]
struct HandoverArgs {
    #[command(flatten)]
    subject: Subject,
    /// New holder
    #[arg(long, value_name = "WHO")]
    to: String,
    /// Fencing token that acquire printed; required for a claim of another session
    #[arg(long, value_name = "N")]
    token: Option<String>,
}

fn item(text: &str) -> Result<Item> {
    Item::new(text).map_err(|error| Error::usage(error.to_string()))
}

fn token(text: Option<&str>) -> Result<Option<FencingToken>> {
    text.map(crate::cli::lease::token).transpose()
}

fn new_request(ctx: &Context, subject: &Subject) -> Result<ClaimRequest> {
    let from = subject.from.as_deref().unwrap_or(ctx.agent.as_str());
    Ok(ClaimRequest {
        from: address("sender", from)?,
        item: item(&subject.item)?,
        branch: None,
        worktree: None,
        shareable: false,
        ttl_ms: None,
        limit_ms: None,
    })
}

fn acquire(call: &Call) -> Result<u8> {
    let args: AcquireArgs = call.args()?;
    let ctx = call.context()?;
    let request = ClaimRequest {
        branch: args.branch,
        worktree: args.worktree,
        shareable: args.shareable,
        ttl_ms: args.ttl.as_deref().map(parse_ttl).transpose()?,
        limit_ms: args.wait.as_deref().map(|text| parse_duration("wait", text)).transpose()?,
        ..new_request(&ctx, &args.subject)?
    };
    let out = call.out;
    let mut on_wait =
        |observed: &Observed, held: &Held| out.note(&lease_report::waiting(observed, held));
    match ops::acquire(&ctx, &args.subject.place.dir(), &request, &mut on_wait)? {
        Acquired::Granted(granted) => {
            let (item, worktree) = (request.item.as_str(), request.worktree.as_deref());
            let object = || report::granted(item, worktree, &granted);
            print_granted(call, &granted, || bus_shape().of(object(), report::GRANTED_CAMEL))
        }
        Acquired::Taken(claimants) => Ok(refuse(call, &request, &claimants)),
    }
}

/// Prints a grant: its token, or the object.
fn print_granted(call: &Call, granted: &Granted, object: impl FnOnce() -> Object) -> Result<u8> {
    report::taken_over(granted).into_iter().for_each(|text| call.out.note(&text));
    granted.findings.iter().for_each(|finding| call.out.warn(finding));
    let token = granted.record.fencing_token;
    let printed = call.out.either(object, || token.to_string());
    printed.map_err(|error| error.hint(format!("the claim was granted, with token {token}")))?;
    Ok(0)
}

/// Reports that others hold the item; returns the exit status.
fn refuse(call: &Call, request: &ClaimRequest, claimants: &[Claimant]) -> u8 {
    let item = request.item.as_str();
    let error = report::taken(item, claimants);
    let object = report::taken_object(item, claimants);
    let object = bus_shape().of(object, report::CLAIMS_CAMEL);
    call.out.error(&error, Some(object));
    error.kind.status()
}

fn check(call: &Call) -> Result<u8> {
    let args: CheckArgs = call.args()?;
    let ctx = call.context()?;
    let item = item(&args.item)?;
    let Holders { claimants, findings } = ops::holders(&ctx, &args.place.dir(), Some(&item))?;
    findings.iter().for_each(|finding| call.out.warn(finding));
    let object = || report::check(item.as_str(), &claimants);
    let error = report::taken(item.as_str(), &claimants);
    let status = if claimants.is_empty() { 0 } else { error.kind.status() };
    let shape = bus_shape();
    match shape {
        Shape::Original if call.out.json => {
            call.out.data(&shape.text_of(object(), report::CLAIMS_CAMEL))?;
        }
        _ if claimants.is_empty() => call.out.either(object, || "free".to_owned())?,
        _ => call.out.error(&error, Some(object())),
    }
    Ok(status)
}

fn list(call: &Call) -> Result<u8> {
    let args: ListArgs = call.args()?;
    let ctx = call.context()?;
    let Holders { claimants, findings } = ops::holders(&ctx, &args.place.dir(), None)?;
    findings.iter().for_each(|finding| call.out.warn(finding));
    let text = match call.out.json {
        true => bus_shape().text_of(report::list(&claimants), report::CLAIMS_CAMEL),
        false if claimants.is_empty() => return Ok(0),
        false => report::list_text(&claimants),
    };
    call.out.data(&text).map(|()| 0)
}

fn release(call: &Call) -> Result<u8> {
    let args: ReleaseArgs = call.args()?;
    let ctx = call.context()?;
    let request = new_request(&ctx, &args.subject)?;
    let token = token(args.token.as_deref())?;
    let (dir, item) = (args.subject.place.dir(), request.item.as_str());
    match ops::release(&ctx, &dir, &request.from, &request.item, token)? {
        Ok(released) => {
            if !released.stood {
                let claimants = ops::check(&ctx, &dir, &request.item).ok();
                let from = request.from.as_str();
                call.out.note(&report::not_released(from, item, claimants.as_deref()));
            }
            let object = || {
                let object = report::released(item, &released);
                bus_shape().of(object, report::GRANTED_CAMEL)
            };
            call.out.either(object, String::new).map(|()| 0)
        }
        Err(lost) => Ok(print_lost(call.out, &lost, &ctx)),
    }
}

fn renew(call: &Call) -> Result<u8> {
    let args: RenewArgs = call.args()?;
    let ctx = call.context()?;
    let mut request = new_request(&ctx, &args.subject)?;
    request.ttl_ms = args.ttl.as_deref().map(parse_ttl).transpose()?;
    let token = token(args.token.as_deref())?;
    let dir = args.subject.place.dir();
    match ops::renew(&ctx, &dir, &request, token)? {
        Some(Acquired::Granted(granted)) => {
            print_granted(call, &granted, || report::renewed(request.item.as_str(), &granted))
        }
        Some(Acquired::Taken(claimants)) => Ok(refuse(call, &request, &claimants)),
        None => Ok(not_held(call, &ctx, &dir, &request)),
    }
}

/// Reports that the caller does not hold the item; returns the exit status.
fn not_held(call: &Call, ctx: &Context, dir: &Path, request: &ClaimRequest) -> u8 {
    // Without an answer the refusal is the same, and does not name the holder.
    let claimants = ops::check(ctx, dir, &request.item).ok();
    let (item, claimants) = (request.item.as_str(), claimants.as_deref());
    let error = report::not_held(request.from.as_str(), item, claimants);
    call.out.error(&error, Some(report::not_held_object(item, claimants)));
    error.kind.status()
}

fn handover(call: &Call) -> Result<u8> {
    let args: HandoverArgs = call.args()?;
    let ctx = call.context()?;
    let request = new_request(&ctx, &args.subject)?;
    let to = address("new holder", &args.to)?;
    let token = token(args.token.as_deref())?;
    let dir = args.subject.place.dir();
    match ops::hand_over(&ctx, &dir, &request, &to, token)? {
        Ok(Some(granted)) => print_granted(call, &granted, || {
            report::handed_over(request.item.as_str(), request.from.as_str(), to.as_str(), &granted)
        }),
        Ok(None) => Ok(not_held(call, &ctx, &dir, &request)),
        Err(lost) => Ok(print_lost(call.out, &lost, &ctx)),
    }
}
