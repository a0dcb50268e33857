//! `zeta claim` with `--path`: who edits which files of a repository.

use std::path::Path;

use clap::Args;
use zeta_core::lease::{Held, Observed, Record, Standing};
use zeta_core::name::Label;
use zeta_core::pattern::{Mode, PATTERNS_MAX, PathClaim, Pattern};
use zeta_core::time::{format_utc, parse_duration, parse_ttl};

use super::{AcquireArgs, HandoverArgs, ReleaseArgs, RenewArgs, Subject};
use crate::cli::Call;
use crate::cli::lease::print_lost;
use crate::cli::lease::scope::is_cluster;
use crate::config::Scope;
use zeta_bus::claim::paths::{self as ops, PathHolders, PathRequest, report};
use zeta_os::error::{Error, Result};
use zeta_state::context::Context;
use zeta_state::lease::LeaseView;
use zeta_state::lease::acquire::Outcome;
use zeta_state::lease::report as lease_report;
use zeta_state::lease::space::Space;

// No documentation comment: the help would print it as the description of the whole verb.
#[derive(Debug, Args)]
pub(super) struct PathArgs {
    /// Path or pattern in the repository, instead of an item; may be given up to 16 times, with
    /// about 1.8 KiB of text in all
    #[arg(
        id = "paths",
        long = "path",
        value_name = "PATTERN",
        conflicts_with_all = ["item", "named_item", "branch", "worktree", "from"]
    )]
    paths: Vec<String>,
    /// With --path: beside other shared claims, not exclusive
    #[arg(long, requires = "paths", conflicts_with_all = ["item", "named_item"])]
    shared: bool,
    /// With --path: among the agents of this worktree only, not of all worktrees of the repository
    #[arg(long, requires = "paths", conflicts_with_all = ["item", "named_item"])]
    this_worktree: bool,
}

impl Subject {
    /// Whether the call is about paths. The token of a claim on paths names it without them.
    pub(super) fn is_of_paths(&self) -> bool {
        let has_item = self.item.item.is_some() || self.item.named_item.is_some();
        !self.paths.paths.is_empty() || !has_item
    }
}

/// The request of a call, and the caller with the name that it was given.
fn request_of(subject: &Subject) -> Result<PathRequest> {
    let PathArgs { paths, shared, this_worktree } = &subject.paths;
    if paths.len() > PATTERNS_MAX {
        let text = format!("{} patterns are more than a claim has: {PATTERNS_MAX}", paths.len());
        return Err(Error::usage(text).hint("claim a directory, or make two claims"));
    }
    let here = std::env::current_dir().map_err(|error| {
        Error::usage(format!("the directory of this call is gone: {error}"))
            .hint("change into the repository")
    })?;
    let space = Space::find(&here)?;
    let patterns: Result<Vec<Pattern>> = paths.iter().map(|text| space.pattern(text)).collect();
    let mode = if *shared { Mode::Shared } else { Mode::Exclusive };
    let worktree = this_worktree.then(|| space.worktree().into_owned());
    Ok(PathRequest {
        space,
        claim: PathClaim { worktree, ..PathClaim::new(mode, patterns?) },
        ttl_ms: None,
        limit_ms: None,
        token: subject.token.as_deref().map(crate::cli::lease::token).transpose()?,
    })
}

/// As [`request_of`], of a claim that the caller has: its token is enough.
fn own_request(ctx: &Context, subject: &Subject) -> Result<PathRequest> {
    let mut request = request_of(subject)?;
    ops::complete(ctx, &mut request)?;
    Ok(request)
}

/// The caller, with the bus of the call.
fn context_of(call: &Call, subject: &Subject) -> Result<Context> {
    Ok(Context { bus_dir: subject.place.dir(), ..call.context()? })
}

pub(super) fn acquire(call: &Call, args: &AcquireArgs) -> Result<u8> {
    if is_cluster(args.scope.as_deref(), None)? {
        return Err(Error::usage("claims on paths are of one node: no --scope cluster")
            .hint("claim the work as an item: zeta claim acquire ITEM --scope cluster"));
    }
    if call.config()?.claim_scope == Some(Scope::Cluster) {
        call.out.note("claims on paths are of this node alone, whatever claim_scope says");
    }
    let ctx = context_of(call, &args.subject)?;
    let mut request = request_of(&args.subject)?;
    if request.claim.patterns.is_empty() {
        return Err(Error::usage("acquire has no item and no path to claim")
            .hint("give an item, or --path PATTERN")
            .hint("to renew a claim by its token: zeta claim renew --token N"));
    }
    request.ttl_ms = args.ttl.as_deref().map(parse_ttl).transpose()?;
    request.limit_ms = args.wait.as_deref().map(|text| parse_duration("wait", text)).transpose()?;
    let out = call.out;
    let mut on_wait =
        |observed: &Observed, held: &Held| out.note(&lease_report::waiting(observed, held));
    let mut on_moved = |record: &Record| out.note(&report::moved(record));
    match ops::acquire(&ctx, &request, &mut on_wait, &mut on_moved)? {
        Outcome::Granted { record, cause, from } => {
            let token = record.fencing_token;
            if from.is_some() {
                out.note(&lease_report::granted(&record, cause, from.as_deref()));
            }
            if let (Some(old), Some(_)) = (request.token, cause) {
                out.note(&format!("the claim with token {old} had ended; this one is new"));
            }
            if !report::is_announced(&record) {
                out.note("the claim is not announced on the bus: 'zeta doctor' looks at the bus");
            }
            let object = || report::granted(&request, &record, cause.is_none());
            let printed = out.either(object, || token.to_string());
            printed.map_err(|error| error.hint(format!("it was granted, with token {token}")))?;
            Ok(0)
        }
        Outcome::Refused(refusal) => {
            let now = ctx.now();
            let error = report::refused(&request, &refusal, &now);
            // Who has them is what was decided on; a second look could show other holders.
            let others = refusal.views(&request.space.lease, &now);
            let holders = PathHolders { others, ..ops::holders(&ctx, &request)? };
            out.error(&error, Some(report::holders(&request, &holders, &now)));
            Ok(error.kind.status())
        }
    }
}

pub(super) fn check(call: &Call, subject: &Subject) -> Result<u8> {
    let ctx = context_of(call, subject)?;
    let request = own_request(&ctx, subject)?;
    // What a token names was of this repository when it was claimed.
    if !subject.paths.paths.is_empty() {
        request.check_inside()?;
    }
    // A question about a token is a question whether its claim lasts.
    let lasts = |view: LeaseView| !matches!(view.standing, Standing::Grantable(_));
    if request.token.is_some() && !ops::of_its_token(&ctx, &request)?.is_some_and(lasts) {
        return not_yours(call, &ctx, &request);
    }
    let holders = ops::holders(&ctx, &request)?;
    let now = ctx.now();
    let object = || report::holders(&request, &holders, &now);
    if !holders.others.is_empty() {
        let error = report::held(&request, &holders.others, &now);
        call.out.error(&error, Some(object()));
        return Ok(error.kind.status());
    }
    let is_asked = |token| {
        let of_it = |view: &LeaseView| match &view.observed {
            Observed::Ours(record, ..) => record.fencing_token == token,
            _ => false,
        };
        holders.own.iter().any(of_it)
    };
    if request.token.is_some_and(|token| !is_asked(token)) {
        return not_yours(call, &ctx, &request);
    }
    call.out.either(object, || report::own_text(&holders, &now)).map(|()| 0)
}

pub(super) fn release(call: &Call, args: &ReleaseArgs) -> Result<u8> {
    refuse_note(args.note.as_deref())?;
    let ctx = context_of(call, &args.subject)?;
    let request = own_request(&ctx, &args.subject)?;
    match ops::release(&ctx, &request)? {
        Some((record, stood)) => {
            let object = || report::released(&request, &record, stood);
            call.out.either(object, String::new).map(|()| 0)
        }
        None => not_yours(call, &ctx, &request),
    }
}

pub(super) fn renew(call: &Call, args: &RenewArgs) -> Result<u8> {
    let ctx = context_of(call, &args.subject)?;
    let mut request = own_request(&ctx, &args.subject)?;
    request.ttl_ms = args.ttl.as_deref().map(parse_ttl).transpose()?;
    match ops::renew(&ctx, &request)? {
        Some(renewed) => match renewed? {
            Ok((record, _)) => {
                let until = record.expires_us(record.renewed.wall_us.unwrap_or(0));
                let object = || report::granted(&request, &record, true);
                call.out.either(object, || format_utc(until)).map(|()| 0)
            }
            Err(lost) => Ok(print_lost(call.out, &lost, &ctx)),
        },
        None => not_yours(call, &ctx, &request),
    }
}

pub(super) fn hand_over(call: &Call, args: &HandoverArgs) -> Result<u8> {
    refuse_note(args.note.as_deref())?;
    let ctx = context_of(call, &args.subject)?;
    let request = own_request(&ctx, &args.subject)?;
    let to = Label::new("new holder", &args.to)?;
    match ops::hand_over(&ctx, &request, &to)? {
        Some(Ok(Ok(record))) => {
            let token = record.fencing_token;
            let object = || report::handed_over(&request, &ctx.agent, &record);
            call.out.either(object, || token.to_string()).map(|()| 0)
        }
        Some(Ok(Err(lost))) => Ok(print_lost(call.out, &lost, &ctx)),
        Some(Err(error)) => Err(error),
        None => not_yours(call, &ctx, &request),
    }
}

fn refuse_note(note: Option<&Path>) -> Result<()> {
    match note {
        None => Ok(()),
        Some(_) => Err(Error::usage("a note goes with an item, and not with paths")
            .hint("send it to the next holder: zeta bus send WHO TEXT")),
    }
}

/// Reports that the caller does not have the claim; returns the exit status.
fn not_yours(call: &Call, ctx: &Context, request: &PathRequest) -> Result<u8> {
    let holders = ops::holders(ctx, request)?;
    let ended = ops::of_its_token(ctx, request)?;
    let ended = ended.filter(|view| matches!(view.standing, Standing::Grantable(_)));
    let now = ctx.now();
    let error = report::not_yours(request, &holders, ended.as_ref(), &now);
    let object = || report::holders(request, &holders, &now);
    call.out.error(&error, (!request.claim.patterns.is_empty()).then(object));
    Ok(error.kind.status())
}
