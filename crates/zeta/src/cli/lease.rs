//! `zeta lease`: the verbs acquire, renew, release, check, show, list, wait, break and exec.

use std::time::Duration;

use clap::Args;
use zeta_core::bus::item::{is_claim_lease, space_of};
use zeta_core::lease::joint::Joint;
use zeta_core::lease::{
    Checked, FencingToken, Held, Observed, Policy, TTL_PROCESS_MS, TTL_SESSION_MS,
};
use zeta_core::name::RecordName;
use zeta_core::shell::quote_word;
use zeta_core::time::{format_utc, parse_duration, parse_ttl};

use super::{Call, Noun, Verb};
use crate::output::Output;
use zeta_os::error::{Error, Kind, Result};
use zeta_state::context::Context;
use zeta_state::directory::guard::ENTER_LIMIT;
use zeta_state::lease::LostTo;
use zeta_state::lease::acquire::{Outcome, WaitOptions, new_request};
use zeta_state::lease::cluster::wait_in_cluster;
use zeta_state::lease::exec;
use zeta_state::lease::exec::OnLost;
use zeta_state::lease::report;
use zeta_state::lease::report::json;
use zeta_state::lease::wait::{Waited, wait};

mod args;
pub(super) mod scope;

use args::{
    AcquireArgs, BreakArgs, CheckArgs, ExecArgs, RenewArgs, ShowArgs, TokenArgs, WaitArgs,
    list_args,
};

pub(super) const NOUN: Noun = Noun {
    name: "lease",
    about: "Acquire, keep and release exclusive rights with a time limit",
    build: |noun| super::needs_verb(noun).after_help(args::EXAMPLES),
    verbs: VERBS,
    run: |call| super::run_verb(call, VERBS),
};

const VERBS: &[Verb] = &[
    Verb {
        name: "acquire",
        about: "Acquire a lease; prints its fencing token",
        args: AcquireArgs::augment_args,
        run: run_acquire,
    },
    Verb {
        name: "renew",
        about: "Restart the TTL of a lease",
        args: RenewArgs::augment_args,
        run: run_renew,
    },
    Verb {
        name: "release",
        about: "Release a lease",
        args: TokenArgs::augment_release,
        run: run_release,
    },
    Verb {
        name: "check",
        about: "Check that you still hold a lease; exit 5 if not",
        args: TokenArgs::augment_check,
        run: run_check,
    },
    Verb {
        name: "show",
        about: "Show who holds a lease, since when, until when, and why",
        args: ShowArgs::augment_args,
        run: run_show,
    },
    Verb { name: "list", about: "List all leases of the node", args: list_args, run: run_list },
    Verb {
        name: "wait",
        about: "Wait until a lease is free, without taking it",
        args: WaitArgs::augment_args,
        run: run_wait,
    },
    Verb {
        name: "break",
        about: "Take a lease away from its holder, as an operator",
        args: BreakArgs::augment_args,
        run: run_break,
    },
    Verb {
        name: "exec",
        about: "Hold a lease while a command runs, like flock(1)",
        args: ExecArgs::augment_args,
        run: run_exec,
    },
];

fn lease_name(name: &str) -> Result<RecordName> {
    RecordName::new("lease", name).map_err(|error| {
        let claim = format!("a claim takes any text: zeta claim acquire {}", quote_word(name));
        Error::from(error).hint(claim)
    })
}

/// As [`lease_name`], for a verb that would change a claim without its messages: the item would be
/// neither free nor held.
fn own_lease_name(name: &str) -> Result<RecordName> {
    let lease = lease_name(name)?;
    if is_claim_lease(lease.as_str()) {
        return Err(Error::usage(format!("lease {lease} is the lease of a claim"))
            .hint("'zeta claim' has the same verbs for its item, which 'zeta claim list' names"));
    }
    if space_of(lease.as_str()).is_some() {
        return Err(Error::usage(format!("lease {lease} is that of claims on paths"))
            .hint("'zeta claim' has the same verbs for paths: zeta claim acquire --path PATTERN"));
    }
    Ok(lease)
}

/// Returns the given token, or that of the environment, which is about one lease only.
fn token_of(lease: &RecordName, given: Option<String>) -> Result<FencingToken> {
    if let Some(text) = given {
        return token(&text);
    }
    let text = std::env::var("ZETA_FENCING_TOKEN").map_err(|_| {
        Error::usage("the fencing token is missing: give --token N, or set ZETA_FENCING_TOKEN")
    })?;
    match std::env::var("ZETA_LEASE") {
        Ok(other) if !other.is_empty() && other != lease.as_str() => Err(Error::usage(format!(
            "ZETA_FENCING_TOKEN is of lease {other:?} (ZETA_LEASE), not of {lease}"
        ))
        .hint("give --token N")),
        _ => token(&text),
    }
}

pub(super) fn token(text: &str) -> Result<FencingToken> {
    text.parse().map_err(|rule| Error::usage(format!("token {text:?} is not valid: {rule}")))
}

fn policy(word: &str) -> Result<Policy> {
    word.parse().map_err(|rule| Error::usage(format!("policy {word:?} is not valid: {rule}")))
}

fn optional_grace(text: Option<&str>) -> Result<Option<u64>> {
    Ok(text.map(|text| parse_duration("grace", text)).transpose()?)
}

fn optional_ttl(text: Option<&str>, default_ms: u64) -> Result<u64> {
    Ok(text.map(parse_ttl).transpose()?.unwrap_or(default_ms))
}

/// Reports that a lease was lost; returns the exit status.
pub(super) fn print_lost(out: Output, lost: &LostTo, ctx: &Context) -> u8 {
    let (error, object) = report::lost_with_json(lost, ctx);
    out.error(&error, Some(object));
    error.kind.status()
}

fn run_acquire(call: &Call) -> Result<u8> {
    let args: AcquireArgs = call.args()?;
    let config = call.config()?;
    let in_cluster = scope::is_cluster(args.scope.as_deref(), config.lease_scope)?;
    let ttl_ms = match in_cluster {
        true => scope::ttl_ms(args.ttl.as_deref(), None)?,
        false => optional_ttl(args.ttl.as_deref(), config.ttl_ms.unwrap_or(TTL_SESSION_MS))?,
    };
    let lease = own_lease_name(&args.name)?;
    let policy = policy(&args.policy)?;
    let limit_ms = args.wait.as_deref().map(|text| parse_duration("wait", text)).transpose()?;
    let grace_ms = optional_grace(args.grace.as_deref())?;
    let ctx = call.context()?;
    let mut request = new_request(&ctx, lease, ttl_ms)?;
    request.grace_ms = grace_ms;
    request.policy = policy;
    request.joint = args.slots.map(Joint::Slots);
    request.in_cluster = in_cluster;
    scope::check(&request)?;
    request.pr = args.pr;
    request.purpose = args.purpose;
    if let Some(id) = args.lease_id {
        request.lease_id = id;
    }
    let out = call.out;
    let mut on_wait = |observed: &Observed, held: &Held| out.note(&report::waiting(observed, held));
    let mut wait = WaitOptions { limit_ms, on_wait: &mut on_wait };
    let (outcome, node) = ctx.open().and_then(|handle| {
        let outcome = handle.acquire(&request, &mut wait, &mut |_| Ok(()))?;
        Ok((outcome, handle.node.name))
    })?;
    match outcome {
        Outcome::Granted { record, cause, from } => {
            let token = record.fencing_token;
            out.note(&report::granted(&record, cause, from.as_deref()));
            let object = || json::granted(&record, cause);
            let printed = out.either(object, || match args.export {
                false => token.to_string(),
                true => format!(
                    "export ZETA_LEASE='{}' ZETA_FENCING_TOKEN='{token}' ZETA_NODE='{}'",
                    record.lease, node
                ),
            });
            // Without its token no caller could use or release the lease until its TTL ends.
            printed.map_err(|error| report::token_not_printed(&record, &error))?;
            Ok(0)
        }
        Outcome::Refused(refusal) => {
            let (error, object) = report::refused(&request.lease, &refusal, &ctx.now());
            out.error(&error, Some(object));
            Ok(error.kind.status())
        }
    }
}

fn run_renew(call: &Call) -> Result<u8> {
    let args: RenewArgs = call.args()?;
    let lease = own_lease_name(&args.name)?;
    let token = token_of(&lease, args.token)?;
    let ttl_ms = args.ttl.as_deref().map(parse_ttl).transpose()?;
    let ctx = call.context()?;
    match ctx.as_holder(&lease, |handle| handle.renew(&lease, token, ttl_ms, ENTER_LIMIT))? {
        Ok((record, gap_ms)) => {
            if let Some(gap_ms) = gap_ms {
                call.out.note(&report::renewed_late(&lease, gap_ms));
            }
            let expires_us = record.expires_us(record.renewed.wall_us.unwrap_or(0));
            call.out.either(|| json::renewed(&record, gap_ms), || format_utc(expires_us))?;
            Ok(0)
        }
        Err(lost) => Ok(print_lost(call.out, &lost, &ctx)),
    }
}

fn run_release(call: &Call) -> Result<u8> {
    let args: TokenArgs = call.args()?;
    let lease = own_lease_name(&args.name)?;
    let token = token_of(&lease, args.token)?;
    let ctx = call.context()?;
    match ctx.as_holder(&lease, |handle| handle.release(&lease, token))? {
        Ok(stood) => {
            if !stood {
                call.out.note(&format!("lease {lease} was already released or removed"));
            }
            if call.out.json {
                call.out.data(&json::released(&lease, token, stood).done())?;
            }
            Ok(0)
        }
        Err(lost) => Ok(print_lost(call.out, &lost, &ctx)),
    }
}

fn run_check(call: &Call) -> Result<u8> {
    let CheckArgs { token: args, strong }: CheckArgs = call.args()?;
    let lease = lease_name(&args.name)?;
    let token = token_of(&lease, args.token)?;
    let ctx = call.context()?;
    let checked = match ctx.find()? {
        Some(handle) if strong => handle.check_strongly(&lease, token)?,
        Some(handle) => handle.check(&lease, token)?,
        None => Err(LostTo::no_tree(&lease)),
    };
    match checked {
        Ok(Checked::Good { rest_ms }) => {
            let object = || json::checked(&lease, token, rest_ms);
            call.out.either(object, || report::checked(rest_ms))?;
            Ok(0)
        }
        Ok(_) => Err(report::too_late(&lease, token)),
        Err(lost) => Ok(print_lost(call.out, &lost, &ctx)),
    }
}

fn run_show(call: &Call) -> Result<u8> {
    let args: ShowArgs = call.args()?;
    let lease = lease_name(&args.name)?;
    let ctx = call.context()?;
    let views = ctx.find()?.map(|handle| handle.shown(&lease)).transpose()?.unwrap_or_default();
    let now = ctx.now();
    if views.is_empty() {
        return Err(report::free(&lease));
    }
    call.out.either(|| json::shown(&views, &now), || report::views_text(&views, &now))?;
    Ok(0)
}

fn run_list(call: &Call) -> Result<u8> {
    let ctx = call.context()?;
    let found = ctx.find()?;
    let (views, findings) = found.map(|handle| handle.all_shown()).transpose()?.unwrap_or_default();
    let now = ctx.now();
    call.out.either(|| json::list(&views, &findings, &now), || report::list_text(&views, &now))?;
    if !call.out.json {
        findings.iter().for_each(|finding| call.out.error(finding, None));
    }
    Ok(if findings.is_empty() { 0 } else { Kind::Unsafe.status() })
}

fn run_wait(call: &Call) -> Result<u8> {
    let args: WaitArgs = call.args()?;
    let lease = lease_name(&args.name)?;
    let limit_ms = parse_duration("timeout", &args.timeout)?;
    let ctx = call.context()?;
    let mut on_wait =
        |observed: &Observed, held: &Held| call.out.note(&report::waiting(observed, held));
    let waited = match scope::is_cluster(args.scope.as_deref(), call.config()?.lease_scope)? {
        true => wait_in_cluster(&ctx, &lease, limit_ms, &mut on_wait),
        false => wait(&ctx, &lease, limit_ms, &mut on_wait),
    };
    match waited? {
        Waited::Free(standing, waited_ms) => {
            let object = || json::waited(&lease, &standing, waited_ms);
            call.out.either(object, || report::waited(&lease, &standing, waited_ms))?;
            Ok(0)
        }
        Waited::Held(refusal) => {
            let (error, object) = report::refused(&lease, &refusal, &ctx.now());
            call.out.error(&error, Some(object));
            Ok(error.kind.status())
        }
    }
}

fn run_break(call: &Call) -> Result<u8> {
    let args: BreakArgs = call.args()?;
    let lease = lease_name(&args.name)?;
    let expected = match args.expect {
        Some(text) => Some(token(&text)?),
        None => None,
    };
    let ctx = call.context()?;
    let broken = match ctx.find()? {
        Some(handle) => handle.break_lease(&lease, expected, &args.reason)?,
        None => Ok(false),
    };
    match broken {
        Ok(true) => {
            call.out.note(&report::broken(&lease));
            if call.out.json {
                call.out.data(&json::broken(&lease).done())?;
            }
            Ok(0)
        }
        Ok(false) => Err(report::nothing_to_break(&lease)),
        Err(lost) => Err(report::other_grant(&lost)),
    }
}

fn run_exec(call: &Call) -> Result<u8> {
    let args: ExecArgs = call.args()?;
    let lease = own_lease_name(&args.name)?;
    let in_cluster = scope::is_cluster(args.scope.as_deref(), call.config()?.lease_scope)?;
    let policy = policy(&args.policy)?;
    let on_lost = super::on_lost(&args.on_lost)?;
    let fence_ms = parse_duration("fence timeout", &args.fence_timeout)?;
    let ttl_ms = match in_cluster {
        true => scope::ttl_ms(args.ttl.as_deref(), args.fenced.then_some(fence_ms))?,
        false => optional_ttl(args.ttl.as_deref(), TTL_PROCESS_MS)?,
    };
    let limit_ms = match (&args.wait, args.nonblock) {
        (_, true) => None,
        (Some(text), false) => Some(parse_duration("wait", text)?),
        (None, false) => Some(3_600_000),
    };
    let grace_ms = optional_grace(args.grace.as_deref())?;
    let ctx = call.context()?;
    let fence = args.fenced.then(|| Duration::from_millis(fence_ms));
    let token = args.token.as_deref().map(token).transpose()?;
    let held = match (token, fence) {
        (Some(token), Some(limit)) => exec::run_fenced(&ctx, &lease, token, &args.command, limit),
        _ => {
            let mut request = new_request(&ctx, lease.clone(), ttl_ms)?;
            request.grace_ms = grace_ms;
            request.policy = policy;
            request.joint = args.slots.map(Joint::Slots);
            request.in_cluster = in_cluster;
            scope::check(&request)?;
            request.purpose = args.purpose.or_else(|| Some(report::command_line(&args.command)));
            let out = call.out;
            let mut on_wait =
                |observed: &Observed, held: &Held| out.note(&report::waiting(observed, held));
            let mut wait = WaitOptions { limit_ms, on_wait: &mut on_wait };
            let mut on_event = |event: exec::Event<'_>| say(out, &ctx, &lease, &event);
            match fence {
                None => exec::hold(&ctx, request, &args.command, &mut wait, on_lost, &mut on_event),
                Some(limit) => {
                    let command = &args.command;
                    exec::hold_fenced(&ctx, request, command, &mut wait, limit, &mut on_event)
                }
            }
        }
    };
    Ok(match held {
        Ok(held) => ended(call.out, &ctx, &lease, held, (args.conflict_status, on_lost)),
        Err(error) => {
            call.out.error_on_stderr(&error, error.kind.status(), None);
            error.kind.status()
        }
    })
}

/// Says what happens to a lease while its command runs. Stdout belongs to the command.
pub(super) fn say(out: Output, ctx: &Context, lease: &RecordName, event: &exec::Event<'_>) {
    match event {
        exec::Event::Lost(lost) => out.warn(&report::lost(lost, ctx)),
        exec::Event::Unrenewed(error) => out.warn(error),
        exec::Event::Renewed => out.note(&report::renewed_again(lease)),
    }
}

/// Reports how the command ended; returns the exit status. Stdout belongs to the command, even if
/// it did not start, so errors go to stderr.
fn ended(
    out: Output,
    ctx: &Context,
    lease: &RecordName,
    held: exec::ExecOutcome,
    (conflict_status, on_lost): (Option<u8>, OnLost),
) -> u8 {
    match held {
        exec::ExecOutcome::Ran { lost: Some(_), .. } if on_lost != OnLost::Warn => {
            Kind::Lost.status()
        }
        exec::ExecOutcome::Ran { ended, trouble, .. } => {
            trouble.iter().for_each(|error| out.warn(error));
            ended.status()
        }
        exec::ExecOutcome::NotWanted => 0,
        exec::ExecOutcome::NotStarted(status, error) => {
            out.error_on_stderr(&error, status, None);
            status
        }
        exec::ExecOutcome::Refused(refusal) => {
            let (error, object) = report::refused(lease, &refusal, &ctx.now());
            let status = conflict_status.unwrap_or(error.kind.status());
            out.error_on_stderr(&error, status, Some(object));
            status
        }
        exec::ExecOutcome::Lost(lost) => {
            let (error, object) = report::lost_with_json(&lost, ctx);
            out.error_on_stderr(&error, error.kind.status(), Some(object));
            error.kind.status()
        }
    }
}
