//! Claims on paths: a grant of the joint lease of a repository for up to 16 patterns.

mod announce;
pub mod report;

use zeta_core::bus::grant::{is_handed_over, key};
use zeta_core::evidence::Processes;
use zeta_core::lease::joint::Joint;
use zeta_core::lease::{FencingToken, Observed, Record, Standing, Successor};
use zeta_core::name::{Label, RecordName};
use zeta_core::pattern::{CLAIM_MAX, Mode, PathClaim};

use super::default_ttl_ms;
use super::message::{set, unset};
use zeta_os::error::{Error, Result};
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

impl PathRequest {
    /// Makes sure that all its patterns begin in its repository, and not in one within it.
    pub fn check_inside(&self) -> Result<()> {
        self.claim.patterns.iter().try_for_each(|pattern| self.space.check_inside(pattern))
    }
}

/// Claims paths. A claim of the same paths that the caller's session has is renewed, and what was
/// handed over to the caller moves into its session.
///
/// `on_moved` gets each such claim, which stays with the session also if the request is refused.
pub fn acquire(
    ctx: &Context,
    request: &PathRequest,
    on_wait: &mut OnWait<'_>,
    on_moved: &mut dyn FnMut(&Record),
) -> Result<Outcome> {
    if request.claim.is_too_long() {
        let text = format!(
            "these paths are too long for one claim: its record has {CLAIM_MAX} bytes for them and \
             their keys"
        );
        return Err(Error::usage(text).hint("make two claims, or claim a directory"));
    }
    let handle = ctx.open()?;
    let lease = &request.space.lease;
    let (own, given) = match request.token {
        Some(token) => (of_token(&handle, request, token)?, Vec::new()),
        None => {
            let mut own = known_own(&handle, request)?;
            let same = |own: &Record| PathClaim::of(&own.extra).includes(&request.claim);
            let same = own.iter().position(same);
            (same.map(|at| Box::new(own.swap_remove(at))), own)
        }
    };
    if let Some(own) = own {
        let claim = PathClaim::of(&own.extra);
        if claim.includes(&request.claim) {
            if let Some(record) = acquire_again(&handle, request, &own)? {
                return Ok(Outcome::Granted { record, cause: None, from: None });
            }
        } else if let Some(token) = request.token {
            let text = format!("token {token} is of another claim: {}", report::named(&claim));
            return Err(Error::usage(text).hint("release that one first"));
        }
    }
    request.check_inside()?;
    bind(&handle, request, given, on_moved)?;
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
    if ctx.session.is_none() || !is_handed_over(&own.extra) {
        let renewed = renew_own(handle, request, own)?;
        return Ok(renewed.and_then(std::result::Result::ok).map(|(record, _)| record));
    }
    let ttl_ms = request.ttl_ms.unwrap_or_else(|| default_ttl_ms(ctx));
    pass_on(handle, own, own_session(handle, Some(ttl_ms))?, false).map(std::result::Result::ok)
}

/// Moves claims that were handed over to the caller, and share a path with what it asks for, into
/// its session, with the TTL that they have: claims of one session do not exclude each other.
fn bind(
    handle: &NodeHandle<'_>,
    request: &PathRequest,
    own: Vec<Record>,
    on_moved: &mut dyn FnMut(&Record),
) -> Result<()> {
    // A shared one moves also where another shared one could stand beside it.
    let all = PathClaim { mode: Mode::Exclusive, ..request.claim.clone() };
    for record in own {
        let claim = PathClaim::of(&record.extra);
        if !is_handed_over(&record.extra) || !all.excludes(&claim) {
            continue;
        }
        let view = handle.view_of(&record.lease, record.fencing_token)?;
        if view.is_none_or(|view| matches!(view.standing, Standing::Grantable(_))) {
            continue;
        }
        if handle.ctx.session.is_none() {
            if !request.claim.excludes(&claim) {
                continue;
            }
            return Err(report::handed_over_to_you(request, &record));
        }
        // One that has ended meanwhile is in no one's way.
        if let Ok(moved) = pass_on(handle, &record, own_session(handle, None)?, false)? {
            on_moved(&moved);
        }
    }
    Ok(())
}

/// The caller as the next holder of a claim; without a TTL, that of the claim stays.
fn own_session(handle: &NodeHandle<'_>, ttl_ms: Option<u64>) -> Result<Successor> {
    let ctx = handle.ctx;
    Ok(Successor {
        lease_id: host::random_hex()?,
        agent: ctx.agent.clone(),
        session: ctx.session.clone(),
        processes: session::processes(handle)?,
        ttl_ms,
        extra: Vec::new(),
    })
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
        extra: Vec::new(),
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
    let claim = &request.claim;
    let is_held = |view: &LeaseView| !matches!(view.standing, Standing::Grantable(_));
    let is_own = |view: &LeaseView| is_own(ctx, request, view);
    let excludes = |view: &LeaseView| match &view.observed {
        Observed::Ours(record, ..) => claim.excludes(&PathClaim::of(&record.extra)),
        _ => true,
    };
    // A question about everything may have thousands of answers.
    let counts = |view: &LeaseView| is_held(view) && !is_own(view) && excludes(view);
    // The caller's own one is looked for also where a shared claim does not exclude it.
    let all = PathClaim { mode: Mode::Exclusive, ..claim.clone() };
    let views = handle.excluded_claims(&request.space.lease, &all, NAMED_MAX, counts)?;
    let views = views.into_iter().filter(is_held);
    let (own, mut others): (Vec<_>, Vec<_>) = views.partition(is_own);
    others.retain(excludes);
    Ok(PathHolders { others, own })
}

/// Returns the claim with the token of a request; `None` if no record of it is left.
pub fn of_its_token(ctx: &Context, request: &PathRequest) -> Result<Option<LeaseView>> {
    match (request.token, ctx.find()?) {
        (Some(token), Some(handle)) => handle.view_of(&request.space.lease, token),
        _ => Ok(None),
    }
}

/// Returns whether a claim is the caller's: by its token, or by the session. A name is no proof,
/// but for a claim that was handed over to it.
fn is_own(ctx: &Context, request: &PathRequest, view: &LeaseView) -> bool {
    let Observed::Ours(record, ..) = &view.observed else { return false };
    request.token == Some(record.fencing_token) || is_of(ctx, record)
}

fn is_of(ctx: &Context, record: &Record) -> bool {
    (ctx.session.is_some() && ctx.session == record.session)
        || (is_handed_over(&record.extra) && record.session.is_none() && record.agent == ctx.agent)
}

/// Names the claim of a request that has no paths by its token.
pub fn complete(ctx: &Context, request: &mut PathRequest) -> Result<()> {
    if let (true, Some(token)) = (request.claim.patterns.is_empty(), request.token)
        && let Some(handle) = ctx.find()?
        && let Some(record) = handle.record(&request.space.lease, token)?
    {
        request.claim = PathClaim::of(&record.extra);
    }
    Ok(())
}

/// Finds the caller's claim: that with its token, or that of its session on the same paths, where
/// one of another mode will do, but none of another worktree than that of the call.
fn own(handle: &NodeHandle<'_>, request: &PathRequest) -> Result<Option<Box<Record>>> {
    match request.token {
        Some(token) => of_token(handle, request, token),
        None => {
            let claim = |own: &Record| PathClaim::of(&own.extra);
            let mut own = known_own(handle, request)?;
            let here = request.space.worktree();
            let is_here = |own: &Record| claim(own).worktree.is_none_or(|top| top == here);
            own.retain(|own| is_here(own) && claim(own).is_named_as(&request.claim));
            Ok(own.into_iter().min_by_key(|own| claim(own) != request.claim).map(Box::new))
        }
    }
}

fn of_token(
    handle: &NodeHandle<'_>,
    request: &PathRequest,
    token: FencingToken,
) -> Result<Option<Box<Record>>> {
    let found = handle.record(&request.space.lease, token)?;
    let claim = found.as_ref().map(|record| PathClaim::of(&record.extra));
    let is_other = |claim: &PathClaim| !claim.is_named_as(&request.claim);
    match claim.filter(is_other) {
        Some(claim) => {
            let paths = report::paths(&claim);
            let text = format!("token {token} is of a claim on other paths: {paths}");
            Err(Error::usage(text).hint("name these paths, or give the token without paths"))
        }
        None => Ok(found),
    }
}

/// The claims that are shown to be the caller's without a token, and that have one of the paths of
/// the request or were handed over.
fn known_own(handle: &NodeHandle<'_>, request: &PathRequest) -> Result<Vec<Record>> {
    let views = handle.claims_naming(&request.space.lease, &request.claim)?.into_iter();
    let own = views.filter_map(|view| match view.observed {
        Observed::Ours(record, ..) if is_of(handle.ctx, &record) => Some(*record),
        _ => None,
    });
    Ok(own.collect())
}

/// Returns the claims on paths of a space that were handed over to the caller, and that it has not
/// acquired yet.
pub fn handed_over(handle: &NodeHandle<'_>, lease: &RecordName) -> Result<Vec<Record>> {
    let none = PathClaim::new(Mode::Exclusive, Vec::new());
    let views = handle.claims_naming(lease, &none)?.into_iter();
    let own = views.filter_map(|view| match (view.standing, view.observed) {
        (Standing::Grantable(_), _) => None,
        (_, Observed::Ours(record, ..)) => (record.agent == handle.ctx.agent).then_some(*record),
        _ => None,
    });
    Ok(own.collect())
}
