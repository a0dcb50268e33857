//! What can be done with a lease that stands. Here: look, check and break; `holder` renews and
//! releases, `acquire` takes, `exec` holds one while a command runs.

pub mod acquire;
pub mod exec;
mod holder;
pub mod queue;
pub mod report;
pub mod session;

use rustix::process::getuid;
use zeta_core::evidence::{FileTimes, ProcessState, Processes};
use zeta_core::layout;
use zeta_core::lease::{
    Checked, FencingToken, Loss, Lost, Observed, Record, Released, Standing, decide_break,
    decide_check, decide_loss, judge,
};
use zeta_core::name::RecordName;
use zeta_core::record::{Damage, Fields, Text, parse};
use zeta_core::time::{Host, Now, format_utc, parse_duration};

pub use self::holder::{HolderSection, Renewal};
use self::queue::Queue;
use crate::context::{Context, NodeHandle};
use crate::directory::guard::{ENTER_LIMIT, Section};
use crate::directory::tree::Bytes;
use crate::directory::{guard, listing};
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
            let life = if record.renewed.boot_id == host.boot_id {
                life(&record.processes)
            } else {
                ProcessState::Unknown
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

/// Judges the bytes of a lease's file.
pub fn view(bytes: Option<Bytes>, lease: &RecordName, now: &Now) -> LeaseView {
    let observed = observe(bytes, lease, now.host);
    let standing = judge(&observed, now);
    LeaseView { lease: lease.clone(), observed, standing }
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

impl LostTo {
    /// A loss about which the guard keeps no note.
    pub fn new(lease: &RecordName, lost: Lost) -> LostTo {
        LostTo { lease: lease.clone(), lost, broken: None }
    }

    /// The loss of a lease that no holder is known of, as where its tree or node is gone.
    pub fn no_holder(lease: &RecordName) -> LostTo {
        LostTo::new(lease, Lost { by: None })
    }
}

/// What a holder asked for, or to whom it lost the lease.
pub type HolderResult<T> = Result<std::result::Result<T, LostTo>>;
/// Called with a record right before it is committed, inside the guard.
pub type BeforeCommit<'a> = dyn FnMut(&mut Record) -> Result<()> + 'a;

/// Room that a grant leaves in its record for what renewals may add to it.
pub const RENEWAL_ROOM: usize = 64;

/// Writes a lease record, if it is one that readers will believe, with `room` to spare.
pub fn publish(section: &Section<'_>, record: &Record, replaces: bool, room: usize) -> Result<()> {
    let text = record.to_fields().render();
    let len = text.len() + room;
    if len > layout::RECORD_MAX {
        return Err(Error::usage(format!(
            "lease {}: its record would be {len} bytes long, and may have {}: nothing was changed",
            record.lease,
            layout::RECORD_MAX
        ))
        .hint("say less in --purpose or --lease-id"));
    }
    section.publish(&text, replaces)
}

impl NodeHandle<'_> {
    /// Looks at a lease without taking any lock; `None` if it is free.
    pub fn view(&self, lease: &RecordName) -> Result<Option<LeaseView>> {
        let bytes = self.read(&layout::lease_file(lease), layout::RECORD_MAX)?;
        let look = view(bytes, lease, &self.ctx.now());
        Ok((look.observed != Observed::Absent).then_some(look))
    }

    /// All leases of the node, and the files that could not be read with the reason.
    pub fn leases(&self) -> Result<(Vec<LeaseView>, Vec<Error>)> {
        let now = self.ctx.now();
        let listing = self.node.list()?;
        let mut findings = listing::findings(&self.node, &listing, |kind| match kind {
            layout::Kind::Lease(name) => Some(RecordName::new("lease", name).is_ok()),
            _ => None,
        });
        let mut looks = Vec::new();
        for file in listing.names {
            let layout::Kind::Lease(name) = layout::kind_of(&file) else { continue };
            let Ok(name) = RecordName::new("lease", name) else { continue };
            match self.read(&file, layout::RECORD_MAX) {
                Ok(None) => {}
                Ok(bytes) => looks.push(view(bytes, &name, &now)),
                Err(error) => findings.push(error),
            }
        }
        Ok((looks, findings))
    }

    /// Checks that a lease is still the caller's, without taking any lock.
    pub fn check(&self, lease: &RecordName, token: FencingToken) -> HolderResult<Checked> {
        let bytes = self.read(&layout::lease_file(lease), layout::RECORD_MAX)?;
        let seen = read_only(bytes, lease);
        match decide_check(&seen, token, &self.ctx.now()) {
            Checked::Lost(lost) => Ok(Err(LostTo::new(lease, lost))),
            checked => Ok(Ok(checked)),
        }
    }

    /// What became of a grant whose TTL ran until `until_ns` when its keeper saw it last; no lock
    /// is taken.
    pub fn find_loss(
        &self,
        lease: &RecordName,
        token: FencingToken,
        until_ns: u64,
    ) -> HolderResult<Loss> {
        let file = layout::lease_file(lease);
        let seen = read_only(self.read(&file, layout::RECORD_MAX)?, lease);
        let (highest, note) = guard::peek(&self.tree.base, &self.node, &file)?;
        let broken = note_of(note, token);
        let now = self.ctx.now();
        match decide_loss(&seen, token, until_ns, highest, broken.is_some(), &now) {
            Loss::Lost(lost) => Ok(Err(LostTo { lease: lease.clone(), lost, broken })),
            loss => Ok(Ok(loss)),
        }
    }

    /// Removes by force the grant with token `expected`, or an unreadable record if `None`; false
    /// if nothing stands there.
    ///
    /// Leaves a note in the guard, so that the old holder's next renew can say what happened.
    pub fn break_lease(
        &self,
        lease: &RecordName,
        expected: Option<FencingToken>,
        reason: &str,
    ) -> HolderResult<bool> {
        let file = layout::lease_file(lease);
        // Where nothing stands, nothing is made either.
        if self.read(&file, layout::RECORD_MAX)?.is_none() {
            return Ok(Ok(false));
        }
        // A record by another hand has no guard yet.
        let section = self.enter(&file, ENTER_LIMIT)?;
        let seen = observe_unjudged(&section, lease)?;
        match decide_break(&seen, expected) {
            Released::Remove => {
                // Best effort: on a full disk the lease must still be freed.
                let note = break_note(self.ctx, lease, expected, reason);
                let _ = section.note_break(&note.render());
                section.remove()?;
                if let Observed::Ours(record, ..) = &seen {
                    Queue::dismiss(&section, &record.processes);
                    (self.ctx.lease_ended)(self.ctx, record);
                }
                Ok(Ok(true))
            }
            Released::Already => Ok(Ok(false)),
            Released::Lost(lost) => Ok(Err(LostTo::new(lease, lost))),
        }
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
