//! What can be done with a lease that stands: look, renew, release, check, break.

pub mod acquire;
pub mod exec;
pub mod queue;
pub mod session;

use std::time::Duration;

use rustix::process::getuid;
use zeta_core::evidence::{FileTimes, ProcessState, Processes};
use zeta_core::layout;
use zeta_core::lease::{
    Checked, FencingToken, Loss, Lost, Observed, Record, Released, Renewed, Standing, decide_break,
    decide_check, decide_loss, decide_release, decide_renew, judge,
};
use zeta_core::name::RecordName;
use zeta_core::record::{Damage, Fields, Text, parse};
use zeta_core::time::{Host, Now, format_utc, parse_duration};

use self::queue::Queue;
use crate::context::Context;
use crate::directory::guard;
use crate::directory::guard::{ENTER_LIMIT, Section};
use crate::directory::listing;
use crate::directory::tree::{Bytes, Node, Tree};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::{host, process};

/// Reads what the bytes of a lease's file say, with evidence about its processes.
pub fn observe(bytes: Option<Bytes>, lease: &RecordName, host: &Host) -> Observed {
    let Some(Bytes { bytes, times }) = bytes else { return Observed::Absent };
    let life = |processes: &Processes| process::life(processes, host);
    observe_text(&parse(&bytes, layout::RECORD_MAX), times, lease, host, life)
}

/// As [`observe`], for text that is parsed already; `life` asks about the recorded processes.
pub fn observe_text(
    text: &std::result::Result<Text<'_>, Damage>,
    times: FileTimes,
    lease: &RecordName,
    host: &Host,
    life: impl FnOnce(&Processes) -> ProcessState,
) -> Observed {
    let fields = match text {
        Err(damage) => return Observed::Damaged(damage.clone(), times),
        Ok(Text::Foreign(fields)) => {
            let ttl_ms = fields.text("ttl").and_then(|t| parse_duration("ttl", &t).ok());
            let who = fields.text("agent").or(fields.text("pid")).map(|t| t.into_owned());
            return Observed::Foreign { ttl_ms, who, times };
        }
        Ok(Text::Own(fields)) => fields,
    };
    match Record::from_fields(fields, lease) {
        Err(damage) => Observed::Damaged(damage, times),
        Ok(record) => {
            let life = match record.renewed.boot_id == host.boot_id {
                true => life(&record.processes),
                false => ProcessState::Unknown,
            };
            Observed::Ours(Box::new(record), times, life)
        }
    }
}

/// A lease as it stands, with the judgement on it.
#[derive(Debug, Clone)]
pub struct LeaseView {
    /// Its name.
    pub lease: RecordName,
    /// What stands there.
    pub observed: Observed,
    /// What that means.
    pub standing: Standing,
}

/// Looks at a lease without taking any lock; `None` if it is free.
pub fn show(ctx: &Context, lease: &RecordName) -> Result<Option<LeaseView>> {
    let Some((tree, node)) = ctx.find()? else { return Ok(None) };
    let bytes = node.read(&tree.base, &layout::lease_file(lease), layout::RECORD_MAX)?;
    let look = view(bytes, lease, &ctx.now());
    Ok((look.observed != Observed::Absent).then_some(look))
}

/// Judges the bytes of a lease's file.
pub fn view(bytes: Option<Bytes>, lease: &RecordName, now: &Now) -> LeaseView {
    let observed = observe(bytes, lease, now.host);
    let standing = judge(&observed, now);
    LeaseView { lease: lease.clone(), observed, standing }
}

/// All leases of the node, and the files that could not be read with the reason.
pub fn list(ctx: &Context) -> Result<(Vec<LeaseView>, Vec<Error>)> {
    let mut looks = Vec::new();
    let mut findings = Vec::new();
    let Some((tree, node)) = ctx.find()? else { return Ok((looks, findings)) };
    let now = ctx.now();
    let listing = node.list()?;
    findings.extend(listing::findings(&node, &listing, |kind| match kind {
        layout::Kind::Lease(name) => Some(RecordName::new("lease", name).is_ok()),
        _ => None,
    }));
    for file in listing.names {
        let layout::Kind::Lease(name) = layout::kind_of(&file) else { continue };
        let Ok(name) = RecordName::new("lease", name) else { continue };
        match node.read(&tree.base, &file, layout::RECORD_MAX) {
            Ok(None) => {}
            Ok(bytes) => looks.push(view(bytes, &name, &now)),
            Err(error) => findings.push(error),
        }
    }
    Ok((looks, findings))
}

/// The lease was lost: who stands there now, and who broke it, if somebody did.
#[derive(Debug, Clone)]
pub struct LostTo {
    /// The name of the lease.
    pub lease: RecordName,
    /// What the core says.
    pub lost: Lost,
    /// The note of a break by force.
    pub broken: Option<Fields<'static>>,
}

/// A holder's right to go on, or whom it lost it to.
pub type HolderResult<T> = Result<std::result::Result<T, LostTo>>;
/// The renewed record, and for how long it had been expired.
pub type Renewal = (Box<Record>, Option<u64>);

/// Renews a lease.
pub fn renew(
    ctx: &Context,
    lease: &RecordName,
    token: FencingToken,
    ttl_ms: Option<u64>,
) -> HolderResult<Renewal> {
    refuse_if_fenced(ctx, lease)?;
    let Some((tree, node)) = ctx.find()? else { return Ok(Err(lost_to_nobody(lease))) };
    renew_in(ctx, &tree, &node, lease, token, ttl_ms, ENTER_LIMIT)
}

/// As [`renew`], in a tree that is open, with a bound on entering the guard.
pub fn renew_in(
    ctx: &Context,
    tree: &Tree,
    node: &Node,
    lease: &RecordName,
    token: FencingToken,
    ttl_ms: Option<u64>,
    limit: Duration,
) -> HolderResult<Renewal> {
    let file = layout::lease_file(lease);
    let Some(section) = enter_as_holder(tree, node, &file, lease, token, limit)? else {
        return Ok(Err(lost_to_nobody(lease)));
    };
    renew_inside(ctx, &section, lease, token, ttl_ms)
}

/// As [`renew`], inside the guard.
pub fn renew_inside(
    ctx: &Context,
    section: &Section<'_>,
    lease: &RecordName,
    token: FencingToken,
    ttl_ms: Option<u64>,
) -> HolderResult<Renewal> {
    renew_with(ctx, section, lease, token, ttl_ms, &mut |_| Ok(()))
}

/// As [`renew_inside`], with something to do before the commit.
pub fn renew_with(
    ctx: &Context,
    section: &Section<'_>,
    lease: &RecordName,
    token: FencingToken,
    ttl_ms: Option<u64>,
    before_commit: &mut dyn FnMut(&mut Record) -> Result<()>,
) -> HolderResult<Renewal> {
    let seen = observe_unjudged(section, lease)?;
    match decide_renew(&seen, token, ttl_ms, &ctx.at(host::reading())) {
        Renewed::Write { mut record, gap_ms } => {
            before_commit(&mut record)?;
            publish(section, &record, true, 0)?;
            Ok(Ok((record, gap_ms)))
        }
        Renewed::Lost(lost) => Ok(Err(lost_to(section, lease, token, lost))),
    }
}

/// Takes the processes of a session that has ended out of its last grant, which would be free at
/// once otherwise.
pub fn detach_session(
    tree: &Tree,
    node: &Node,
    lease: &RecordName,
    token: FencingToken,
) -> Result<()> {
    let file = layout::lease_file(lease);
    let section = guard::enter(&tree.base, node, &file, ENTER_LIMIT)?;
    match observe_unjudged(&section, lease)? {
        Observed::Ours(record, ..) if record.fencing_token == token => {
            let record = Record { processes: Processes::default(), ..*record };
            publish(&section, &record, true, 0)
        }
        _ => Err(Error::new(
            Kind::Lost,
            format!("lease {lease}: your session ended, and its grant with it"),
        )
        .hint(format!("take it again outside of the session: zeta lease acquire {lease}"))),
    }
}

/// Room that a grant leaves in its record for what renewals may add to it.
pub const RENEWAL_ROOM: usize = 64;

/// Writes a lease record, if it is one that readers will believe, with `room` to spare.
pub fn publish(section: &Section<'_>, record: &Record, replaces: bool, room: usize) -> Result<()> {
    let text = record.to_fields().render();
    match text.len() + room <= layout::RECORD_MAX {
        true => section.publish(&text, replaces),
        false => Err(Error::usage(format!(
            "lease {}: its record would be {} bytes long, and may have {}: nothing was changed",
            record.lease,
            text.len() + room,
            layout::RECORD_MAX
        ))
        .hint("say less in --purpose or --lease-id")),
    }
}

/// Releases a lease; true if it stood, false if it was gone already and nobody was granted since.
pub fn release(ctx: &Context, lease: &RecordName, token: FencingToken) -> HolderResult<bool> {
    refuse_if_fenced(ctx, lease)?;
    let Some((tree, node)) = ctx.find()? else { return Ok(Err(lost_to_nobody(lease))) };
    release_in(&tree, &node, lease, token)
}

/// As [`release`], in a tree that is open.
pub fn release_in(
    tree: &Tree,
    node: &Node,
    lease: &RecordName,
    token: FencingToken,
) -> HolderResult<bool> {
    let file = layout::lease_file(lease);
    let Some(section) = enter_as_holder(tree, node, &file, lease, token, ENTER_LIMIT)? else {
        return Ok(Err(lost_to_nobody(lease)));
    };
    release_inside(&section, lease, token, false)
}

/// Enters the guard for somebody who says that it holds the lease. A guard that was removed under a
/// record that stands is made anew; where the node is gone, the lease is, too (`None`).
pub fn enter_as_holder<'a>(
    tree: &'a Tree,
    node: &'a Node,
    file: &'a str,
    lease: &RecordName,
    token: FencingToken,
    limit: Duration,
) -> Result<Option<Section<'a>>> {
    match guard::try_enter(&tree.base, node, file, limit) {
        Ok(Some(section)) => return Ok(Some(section)),
        Ok(None) => {}
        Err(error) if error.kind == Kind::Unsafe && node.is_gone() => return Ok(None),
        Err(error) => return Err(error),
    }
    match read_only(node.read(&tree.base, file, layout::RECORD_MAX)?, lease) {
        Observed::Ours(record, ..) if record.fencing_token == token && !node.is_gone() => {
            guard::enter(&tree.base, node, file, limit).map(Some)
        }
        _ => Ok(None),
    }
}

/// As [`release`], inside the guard; `by_stand` if the holder's own ticket was given back already.
pub fn release_inside(
    section: &Section<'_>,
    lease: &RecordName,
    token: FencingToken,
    by_stand: bool,
) -> HolderResult<bool> {
    let seen = observe_unjudged(section, lease)?;
    let highest = match seen {
        Observed::Absent => section.highest_token()?,
        _ => 0,
    };
    match decide_release(&seen, token, highest) {
        Released::Remove => {
            section.remove()?;
            // Whoever releases for a holder that waited: its ticket would stay at the head.
            if let Observed::Ours(record, ..) = &seen
                && !by_stand
            {
                Queue::dismiss(section, &record.processes);
            }
            Ok(Ok(true))
        }
        Released::Already => Ok(Ok(false)),
        Released::Lost(lost) => Ok(Err(lost_to(section, lease, token, lost))),
    }
}

/// Checks that a lease is still the caller's, without taking any lock.
pub fn check(ctx: &Context, lease: &RecordName, token: FencingToken) -> HolderResult<Checked> {
    let Some((tree, node)) = ctx.find()? else { return Ok(Err(lost_to_nobody(lease))) };
    let bytes = node.read(&tree.base, &layout::lease_file(lease), layout::RECORD_MAX)?;
    let seen = read_only(bytes, lease);
    match decide_check(&seen, token, &ctx.now()) {
        Checked::Lost(lost) => Ok(Err(LostTo { lease: lease.clone(), lost, broken: None })),
        checked => Ok(Ok(checked)),
    }
}

/// Removes by force the grant with token `expected`, or an unreadable record if `None`.
///
/// Leaves a note in the guard, so that the old holder's next renew can say what happened.
pub fn break_lease(
    ctx: &Context,
    lease: &RecordName,
    expected: Option<FencingToken>,
    reason: &str,
) -> HolderResult<bool> {
    let Some((tree, node)) = ctx.find()? else { return Ok(Ok(false)) };
    let file = layout::lease_file(lease);
    // Where nothing stands, nothing is made either.
    if node.read(&tree.base, &file, layout::RECORD_MAX)?.is_none() {
        return Ok(Ok(false));
    }
    // A record by another hand has no guard yet.
    let section = guard::enter(&tree.base, &node, &file, ENTER_LIMIT)?;
    let seen = observe_unjudged(&section, lease)?;
    match decide_break(&seen, expected) {
        Released::Remove => {
            // Best effort: on a full disk the lease must still be freed.
            let _ = section.note_break(&break_note(ctx, lease, expected, reason).render());
            section.remove()?;
            if let Observed::Ours(record, ..) = &seen {
                Queue::dismiss(&section, &record.processes);
                (ctx.lease_ended)(record);
            }
            Ok(Ok(true))
        }
        Released::Already => Ok(Ok(false)),
        Released::Lost(lost) => Ok(Err(LostTo { lease: lease.clone(), lost, broken: None })),
    }
}

fn break_note(
    ctx: &Context,
    lease: &RecordName,
    token: Option<FencingToken>,
    reason: &str,
) -> Fields<'static> {
    let mut note = Fields::new("break");
    note.push_text("lease", lease.as_str());
    note.push_number("fencing_token", token.map_or(0, FencingToken::get));
    note.push_text("agent", ctx.agent.as_str());
    note.push_number("uid", getuid().as_raw().into());
    note.push_text("broken_at", &format_utc(host::reading().wall_us));
    note.push_text("reason", reason);
    note
}

/// Reads the record inside the guard; evidence is not asked, because renew and release go by token.
fn observe_unjudged(section: &Section<'_>, lease: &RecordName) -> Result<Observed> {
    Ok(read_only(section.read(layout::RECORD_MAX)?, lease))
}

/// As [`observe`], for those who go by the token: no process is asked.
pub fn read_only(bytes: Option<Bytes>, lease: &RecordName) -> Observed {
    let Some(Bytes { bytes, times }) = bytes else { return Observed::Absent };
    let unasked = |_: &Processes| ProcessState::Unknown;
    let text = parse(&bytes, layout::RECORD_MAX);
    observe_text(&text, times, lease, &Host::default(), unasked)
}

pub(super) fn lost_to_nobody(lease: &RecordName) -> LostTo {
    LostTo { lease: lease.clone(), lost: Lost { by: None }, broken: None }
}

fn lost_to(section: &Section<'_>, lease: &RecordName, token: FencingToken, lost: Lost) -> LostTo {
    let broken = note_of(section.read_break_note().ok().flatten(), token);
    LostTo { lease: lease.clone(), lost, broken }
}

/// The note of a break, if it is about this grant.
fn note_of(note: Option<Bytes>, token: FencingToken) -> Option<Fields<'static>> {
    match parse(&note?.bytes, layout::RECORD_MAX) {
        Ok(Text::Own(fields)) if fields.number("fencing_token") == Some(token.get()) => {
            Some(fields.into_owned())
        }
        _ => None,
    }
}

/// What became of a grant that a keeper saw last with a TTL until `until_ns`; no lock is taken.
pub fn find_loss(
    ctx: &Context,
    (tree, node): (&Tree, &Node),
    lease: &RecordName,
    token: FencingToken,
    until_ns: u64,
) -> HolderResult<Loss> {
    let file = layout::lease_file(lease);
    let seen = read_only(node.read(&tree.base, &file, layout::RECORD_MAX)?, lease);
    let (highest, note) = guard::peek(&tree.base, node, &file)?;
    let broken = note_of(note, token);
    let now = ctx.now();
    match decide_loss(&seen, token, until_ns, highest, broken.is_some(), &now) {
        Loss::Lost(lost) => Ok(Err(LostTo { lease: lease.clone(), lost, broken })),
        fate => Ok(Ok(fate)),
    }
}

/// Inside `lease exec --fenced` the wrapper holds the guard: waiting for it would never end.
pub fn refuse_if_fenced(ctx: &Context, lease: &RecordName) -> Result<()> {
    match ctx.fenced.as_deref() {
        Some(names) if names.split(',').any(|name| name == lease.as_str()) => Err(Error::new(
            Kind::Busy,
            format!("lease {lease}: this command runs inside its guard ('lease exec --fenced')"),
        )
        .hint("nobody else can be granted it until this command ends; renew and release after")),
        _ => Ok(()),
    }
}
