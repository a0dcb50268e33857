//! Claims on paths: a grant of the joint lease of a repository for up to 16 patterns.

mod announce;
pub mod report;

use zeta_core::bus::grant::key;
use zeta_core::evidence::Processes;
use zeta_core::lease::joint::Joint;
use zeta_core::lease::{FencingToken, Observed, Record, Standing, Successor};
use zeta_core::name::Label;
use zeta_core::pattern::PathClaim;

use super::default_ttl_ms;
use super::message::{set, unset};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_state::context::{Context, NodeHandle};
use zeta_state::directory::guard::ENTER_LIMIT;
use zeta_state::lease::acquire::{NAMED_MAX, OnWait, Outcome, WaitOptions, new_request};
use zeta_state::lease::session;
use zeta_state::lease::space::Space;
use zeta_state::lease::{HolderResult, LeaseView, LostTo, Renewal};

pub use self::announce::announce_end;
use self::announce::{Announcement, announce_release, remove_void};

/// Most characters of the paths that a record repeats for people.
const PURPOSE_MAX: usize = 200;

/// A call about claims on paths.
#[derive(Debug, Clone)]
pub struct PathRequest {
    /// The repository.
    pub space: Space,
    /// The paths.
    pub claim: PathClaim,
    /// The TTL; `None` is the default.
    pub ttl_ms: Option<u64>,
    /// How long to wait; `None` tries once.
    pub limit_ms: Option<u64>,
    /// The fencing token of the caller's claim.
    pub token: Option<FencingToken>,
}

/// Claims paths. A claim of the same paths that the caller's session has is renewed.
pub fn acquire(ctx: &Context, request: &PathRequest, on_wait: &mut OnWait<'_>) -> Result<Outcome> {
    let handle = ctx.open()?;
    let lease = &request.space.lease;
    if let Some(own) = own(&handle, request)?
        && let Some(record) = acquire_again(&handle, request, &own)?
    {
        return Ok(Outcome::Granted { record, cause: None, from: None });
    }
    let ttl_ms = request.ttl_ms.unwrap_or_else(|| default_ttl_ms(ctx));
    let mut asked = new_request(ctx, lease.clone(), ttl_ms)?;
    asked.purpose = Some(report::paths(&request.claim).chars().take(PURPOSE_MAX).collect());
    asked.joint = Some(Joint::Paths(request.claim.clone()));
    let mut wait = WaitOptions { limit_ms: request.limit_ms, on_wait };
    let mut announcement = Announcement::default();
    // Announced before the grant is there, as the claim of an item is.
    let outcome = handle.acquire(&asked, &mut wait, &mut |record| {
        announcement.publish(&handle, record);
        Ok(())
    });
    if !matches!(outcome, Ok(Outcome::Granted { .. })) {
        announcement.withdraw_unless_there(&handle, lease);
    }
    outcome
}

/// Releases the caller's claim; `None` if it has none, or does not show that it has it.
pub fn release(ctx: &Context, request: &PathRequest) -> Result<Option<(Box<Record>, bool)>> {
    let Some(handle) = ctx.find()? else { return Ok(None) };
    let lease = &request.space.lease;
    let Some(own) = own(&handle, request)? else {
        remove_void(&handle, lease, &request.claim);
        return Ok(None);
    };
    match handle.release(lease, own.fencing_token)? {
        Ok(stood) => {
            announce_release(&handle, &own);
            Ok(Some((own, stood)))
        }
        Err(_) => Ok(None),
    }
}

/// Renews the caller's claim; `None` as for [`release`].
pub fn renew(ctx: &Context, request: &PathRequest) -> Result<Option<HolderResult<Renewal>>> {
    let Some(handle) = ctx.find()? else { return Ok(None) };
    let Some(own) = own(&handle, request)? else { return Ok(None) };
    Ok(renew_own(&handle, request, &own)?.map(Ok))
}

/// Acquires a claim that the caller has: the token stays, unless it was handed over to the caller
/// and moves into its session. `None` if it has ended meanwhile.
fn acquire_again(
    handle: &NodeHandle<'_>,
    request: &PathRequest,
    own: &Record,
) -> Result<Option<Box<Record>>> {
    let ctx = handle.ctx;
    if ctx.session.is_none() || !is_handed_over(own) {
        let renewed = renew_own(handle, request, own)?;
        return Ok(renewed.and_then(std::result::Result::ok).map(|(record, _)| record));
    }
    let successor = Successor {
        lease_id: host::random_hex()?,
        agent: ctx.agent.clone(),
        session: ctx.session.clone(),
        processes: session::processes(handle)?,
        ttl_ms: Some(request.ttl_ms.unwrap_or_else(|| default_ttl_ms(ctx))),
    };
    pass_on(handle, own, successor, false).map(std::result::Result::ok)
}

/// Hands the caller's claim over to another agent, without a moment in which it is free; `None` as
/// for [`release`]. The new holder binds it to its own session by acquiring the same paths.
pub fn hand_over(
    ctx: &Context,
    request: &PathRequest,
    to: &Label,
) -> Result<Option<HolderResult<Box<Record>>>> {
    let Some(handle) = ctx.find()? else { return Ok(None) };
    let Some(own) = own(&handle, request)? else { return Ok(None) };
    let successor = Successor {
        lease_id: host::random_hex()?,
        agent: to.clone(),
        session: None,
        processes: Processes::default(),
        ttl_ms: request.ttl_ms,
    };
    Ok(Some(pass_on(&handle, &own, successor, true)))
}

fn pass_on(
    handle: &NodeHandle<'_>,
    own: &Record,
    successor: Successor,
    handed_over: bool,
) -> HolderResult<Box<Record>> {
    let lost = || LostTo::no_holder(&own.lease);
    let entered = handle.enter_as_holder(&own.lease, own.fencing_token, ENTER_LIMIT)?;
    let Some(holder) = entered else { return Ok(Err(lost())) };
    let mut announcement = Announcement::default();
    let passed = holder.pass_on(successor, &mut |record| {
        unset(record, key::HANDED_OVER);
        if handed_over {
            set(record, key::HANDED_OVER, "true".to_owned());
        }
        announcement.publish(handle, record);
        Ok(())
    });
    drop(holder);
    match &passed {
        // The new claim first: the original sees two holders for a moment, and never none.
        Ok(Ok(record)) if record.agent != own.agent => announce_release(handle, own),
        Ok(Ok(_)) => {}
        _ => announcement.withdraw_unless_there(handle, &own.lease),
    }
    passed
}

fn is_handed_over(record: &Record) -> bool {
    record.extra.iter().any(|(known, value)| known == key::HANDED_OVER && value == "true")
}

/// Renews a claim and announces it again, so that the original counts it for another day; `None` if
/// its node is gone.
fn renew_own(
    handle: &NodeHandle<'_>,
    request: &PathRequest,
    own: &Record,
) -> Result<Option<std::result::Result<Renewal, LostTo>>> {
    let entered = handle.enter_as_holder(&own.lease, own.fencing_token, ENTER_LIMIT)?;
    let Some(holder) = entered else { return Ok(None) };
    let mut announcement = Announcement::default();
    let renewed = holder.renew(request.ttl_ms, &mut |record| {
        announcement.publish(handle, record);
        Ok(())
    });
    if !matches!(renewed, Ok(Ok(_))) {
        announcement.withdraw_unless_there(handle, &own.lease);
    }
    renewed.map(Some)
}

/// Who has the paths.
#[derive(Debug, Clone, Default)]
pub struct PathHolders {
    /// The claims of others that a claim of these paths must wait for, at most [`NAMED_MAX`].
    pub others: Vec<LeaseView>,
    /// The caller's own claims that share a path with them.
    pub own: Vec<LeaseView>,
}

/// Returns who has the paths of a request, without taking any lock.
pub fn holders(ctx: &Context, request: &PathRequest) -> Result<PathHolders> {
    let Some(handle) = ctx.find()? else { return Ok(PathHolders::default()) };
    let is_held = |view: &LeaseView| !matches!(view.standing, Standing::Grantable(_));
    // A question about everything may have thousands of answers.
    let counts = |view: &LeaseView| is_held(view) && !is_own(ctx, request, view);
    let (lease, claim) = (&request.space.lease, &request.claim);
    let mut views = handle.excluded_claims(lease, claim, NAMED_MAX, counts)?;
    views.retain(is_held);
    let (own, others) = views.into_iter().partition(|view| is_own(ctx, request, view));
    Ok(PathHolders { others, own })
}

/// Returns whether the claim with the token of a request has ended.
pub fn is_lost(ctx: &Context, request: &PathRequest) -> Result<bool> {
    let (Some(token), Some(handle)) = (request.token, ctx.find()?) else {
        return Ok(request.token.is_some());
    };
    let view = handle.view_of(&request.space.lease, token)?;
    Ok(view.is_none_or(|view| matches!(view.standing, Standing::Grantable(_))))
}

/// Returns whether a claim is the caller's: by its token, or by the session. A name is no proof,
/// but for a claim that was handed over to it.
fn is_own(ctx: &Context, request: &PathRequest, view: &LeaseView) -> bool {
    let Observed::Ours(record, ..) = &view.observed else { return false };
    request.token == Some(record.fencing_token) || is_of(ctx, record)
}

fn is_of(ctx: &Context, record: &Record) -> bool {
    (ctx.session.is_some() && ctx.session == record.session)
        || (is_handed_over(record) && record.session.is_none() && record.agent == ctx.agent)
}

/// Finds the caller's claim: that with its token, or that of its session on the same paths.
fn own(handle: &NodeHandle<'_>, request: &PathRequest) -> Result<Option<Box<Record>>> {
    let lease = &request.space.lease;
    if let Some(token) = request.token {
        let found = handle.record(lease, token)?;
        let fits = |record: &Record| PathClaim::of(&record.extra) == request.claim;
        return match found {
            Some(record) if !request.claim.patterns.is_empty() && !fits(&record) => {
                let paths = report::paths(&PathClaim::of(&record.extra));
                let text = format!("token {token} is of a claim on other paths: {paths}");
                Err(Error::new(Kind::Usage, text)
                    .hint("name these paths, or call it without a token"))
            }
            found => Ok(found),
        };
    }
    let own = handle.claims_naming(lease, &request.claim)?.into_iter().find_map(|view| {
        let Observed::Ours(record, ..) = view.observed else { return None };
        let same = PathClaim::of(&record.extra) == request.claim;
        (same && is_of(handle.ctx, &record)).then_some(record)
    });
    Ok(own)
}
