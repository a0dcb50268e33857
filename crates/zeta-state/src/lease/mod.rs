//! Leases. This file views, checks and breaks them; `holder` renews and releases, `acquire`
//! acquires, `exec` holds a lease while a command runs.

pub mod acquire;
pub mod cluster;
pub mod exec;
mod holder;
pub mod joint;
pub mod path_claims;
pub mod queue;
pub mod report;
pub mod session;
pub mod space;
pub mod wait;

use rustix::process::getuid;
use zeta_core::evidence::{FileTimes, Process, ProcessState, Processes, is_same_boot};
use zeta_core::history::Event;
use zeta_core::layout;
use zeta_core::lease::{
    Checked, FencingToken, Loss, Lost, Observed, Past, Record, Released, Said, Standing,
    decide_break, decide_loss, judge, judge_past,
};
use zeta_core::name::RecordName;
use zeta_core::record::{Damage, Fields, Text, parse};
use zeta_core::time::{Host, Now, format_utc, parse_duration};

use self::cluster::CopyOf;
pub use self::holder::{HolderSection, Renewal};
use self::joint::index::named_outside;
use self::joint::{Found, Grant, Grants, find_outside, look_again, standing_of};
use self::queue::Queue;
use crate::context::{Context, NodeHandle};
use crate::directory::guard::{ENTER_LIMIT, Section};
use crate::directory::tree::{Bytes, Node};
use crate::directory::trusted_dir::TrustedDir;
use crate::directory::{guard, listing};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::{host, process};

/// Parses the bytes of a lease's file, with evidence about the recorded processes.
pub fn observe(bytes: Option<Bytes>, lease: &RecordName, host: &Host) -> Observed {
    let Some(Bytes { bytes, times, .. }) = bytes else { return Observed::Absent };
    let life = |processes: &Processes| process::life(processes, host);
    observe_text(&parse(&bytes, layout::RECORD_MAX), times, lease, host, life)
}

/// As [`observe`], for text that is parsed already; `life` gives the state of the recorded
/// processes.
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
            let said = Box::new(Said::from_fields(fields));
            return Observed::Foreign { ttl_ms, said, times };
        }
        Ok(Text::Own(fields)) => fields,
    };
    match Record::from_fields(fields, lease) {
        Err(damage) => Observed::Damaged(damage, times),
        Ok(record) => {
            let life = if is_same_boot(&record.renewed.boot_id, host) {
                life(&record.processes)
            } else {
                ProcessState::Unknown
            };
            Observed::Ours(Box::new(record), times, life)
        }
    }
}

/// A lease as it was read, with the judgement on it.
#[derive(Debug, Clone)]
pub struct LeaseView {
    /// The name of the lease.
    pub lease: RecordName,
    /// The record that was found.
    pub observed: Observed,
    /// The judgement.
    pub standing: Standing,
    /// What is known of it as the copy of another machine's record, where a verb shows that.
    pub copy: Option<Box<CopyOf>>,
}

/// Judges the bytes of a lease's file.
pub fn view(bytes: Option<Bytes>, lease: &RecordName, now: &Now) -> LeaseView {
    let observed = observe(bytes, lease, now.host);
    let standing = judge(&observed, now);
    LeaseView { lease: lease.clone(), observed, standing, copy: None }
}

/// The loss of a lease: which holder has it now, and the note of a break, if it was broken.
#[derive(Debug, Clone)]
pub struct LostTo {
    /// The name of the lease.
    pub lease: RecordName,
    /// The loss, as the core judged it.
    pub lost: Lost,
    /// The note of a break by force, or of a loss in the cluster.
    pub broken: Option<Fields<'static>>,
    /// What is known of the grant.
    pub past: Past,
    /// Its token, where it is known: its own record may still stand.
    pub token: Option<FencingToken>,
}

impl LostTo {
    /// Makes a loss about which the guard keeps no note.
    pub fn new(lease: &RecordName, lost: Lost) -> LostTo {
        LostTo { lease: lease.clone(), lost, broken: None, past: Past::Granted, token: None }
    }

    /// Makes the loss of a lease in a tree, or a node, that is not there.
    pub fn no_tree(lease: &RecordName) -> LostTo {
        LostTo { past: Past::NoGrant, ..LostTo::no_holder(lease) }
    }

    /// The note of a person's break; none if the note is about a loss in the cluster.
    pub fn by_person(&self) -> Option<&Fields<'static>> {
        self.broken.as_ref().filter(|note| note.raw(cluster::OF_CLUSTER).is_none())
    }

    /// Makes the loss of a lease without a known holder, as when its tree or node is gone.
    pub fn no_holder(lease: &RecordName) -> LostTo {
        LostTo::new(lease, Lost { by: None })
    }
}

/// The result of a holder's call, or the loss of its lease.
pub type HolderResult<T> = Result<std::result::Result<T, LostTo>>;
/// Called with a record right before it is committed, inside the guard.
pub type BeforeCommit<'a> = dyn FnMut(&mut Record) -> Result<()> + 'a;

/// Bytes that a grant leaves free in its record for what renewals may add.
pub const RENEWAL_RESERVE: usize = 64;

/// Writes a lease record, if it is no longer than readers accept, with `reserve` bytes to spare.
pub fn publish(
    section: &Section<'_>,
    record: &Record,
    replaces: bool,
    reserve: usize,
) -> Result<()> {
    section.publish(&render(record, reserve)?, replaces)
}

/// Renders a lease record, if it is no longer than readers accept, with `reserve` bytes to spare.
fn render(record: &Record, reserve: usize) -> Result<String> {
    let text = record.to_fields().render();
    let len = text.len() + reserve;
    if len > layout::RECORD_MAX {
        return Err(Error::usage(format!(
            "lease {}: its record would be {len} bytes long, and may have {}: nothing was changed",
            record.lease,
            layout::RECORD_MAX
        ))
        .hint("use a shorter --purpose or --lease-id"));
    }
    Ok(text)
}

impl NodeHandle<'_> {
    /// Reads and judges a lease without taking any lock; `None` if there is no record. Of a joint
    /// lease, one of the grants.
    pub fn view(&self, lease: &RecordName) -> Result<Option<LeaseView>> {
        Ok(self.views(lease)?.into_iter().next())
    }

    /// As [`NodeHandle::view`]: all grants of a joint lease.
    pub fn views(&self, lease: &RecordName) -> Result<Vec<LeaseView>> {
        let bytes = self.read(&layout::lease_file(lease), layout::RECORD_MAX)?;
        self.judged(bytes, lease, &self.ctx.now())
    }

    /// As [`NodeHandle::view`]; of a joint lease, the grant `token`.
    pub fn view_of(&self, lease: &RecordName, token: FencingToken) -> Result<Option<LeaseView>> {
        let now = self.ctx.now();
        let bytes = self.read(&layout::lease_file(lease), layout::RECORD_MAX)?;
        let one = view(bytes, lease, &now);
        if standing_of(&one.observed).is_none() {
            return Ok((one.observed != Observed::Absent).then_some(one));
        }
        let base = &self.tree.base;
        let Some(grants) = Grants::open(base, &self.node, lease)? else { return Ok(None) };
        let is_damaged = |view: &LeaseView| !matches!(view.observed, Observed::Ours(..));
        Ok(match grants.find(base, lease, token)? {
            Some((_, bytes, _)) => Some(view(Some(bytes), lease, &now)),
            None => {
                let bytes = grants.read(base, &layout::grant_file(token.get()))?;
                bytes.map(|bytes| view(Some(bytes), lease, &now)).filter(is_damaged)
            }
        })
    }

    /// Returns the records of a lease's grants, with no evidence about their processes. Of a joint
    /// lease, those in files whose names come after `after`, which becomes the last one.
    pub fn records(&self, lease: &RecordName, after: &mut String) -> Result<Vec<Box<Record>>> {
        let observed = read_only(self.read(&layout::lease_file(lease), layout::RECORD_MAX)?, lease);
        let all = match standing_of(&observed) {
            None => vec![Grant { file: None, observed }],
            Some(_) => match Grants::open(&self.tree.base, &self.node, lease)? {
                Some(grants) => {
                    let known = after.strip_suffix(".lock").unwrap_or(after);
                    let (base, host) = (&self.tree.base, &self.ctx.host);
                    let mut files = match known {
                        "" => grants.files()?,
                        _ => named_outside(base, &self.node, &grants, lease, host, |index| {
                            index.after(known)
                        })?,
                    };
                    files.retain(|file| file > after);
                    files.sort_unstable();
                    files.last().iter().for_each(|last| after.clone_from(last));
                    grants.read_some(&self.tree.base, files, |bytes| read_only(bytes, lease))?
                }
                None => Vec::new(),
            },
        };
        let record = |grant: Grant| match grant.observed {
            Observed::Ours(record, ..) => Some(record),
            _ => None,
        };
        Ok(all.into_iter().filter_map(record).collect())
    }

    /// Returns the record of the grant `token`, with no evidence about its processes.
    pub fn record(&self, lease: &RecordName, token: FencingToken) -> Result<Option<Box<Record>>> {
        let bytes = self.read(&layout::lease_file(lease), layout::RECORD_MAX)?;
        Ok(match find_outside(&self.tree.base, &self.node, lease, token, bytes)? {
            Observed::Ours(record, ..) if record.fencing_token == token => Some(record),
            _ => None,
        })
    }

    fn judged(
        &self,
        bytes: Option<Bytes>,
        lease: &RecordName,
        now: &Now,
    ) -> Result<Vec<LeaseView>> {
        let one = view(bytes, lease, now);
        if standing_of(&one.observed).is_none() {
            return Ok(Vec::from_iter((one.observed != Observed::Absent).then_some(one)));
        }
        let base = &self.tree.base;
        let Some(grants) = Grants::open(base, &self.node, lease)? else { return Ok(Vec::new()) };
        let grants = look_again(|| {
            let files = grants.files()?;
            let named = files.len();
            let read = grants.read_some(base, files, |bytes| observe(bytes, lease, now.host))?;
            let was_gone = read.len() < named;
            Ok((read, was_gone))
        })?;
        let judged = grants.into_iter().map(|grant| LeaseView {
            lease: lease.clone(),
            standing: judge(&grant.observed, now),
            observed: grant.observed,
            copy: None,
        });
        Ok(judged.collect())
    }

    /// Returns all leases of the node, and for each file that could not be read the reason.
    pub fn leases(&self) -> Result<(Vec<LeaseView>, Vec<Error>)> {
        let now = self.ctx.now();
        let listing = self.node.list()?;
        let mut findings = listing::findings(&self.node, &listing, |kind| match kind {
            layout::Kind::Lease(name) => Some(RecordName::new("lease", name).is_ok()),
            _ => None,
        });
        let mut views = Vec::new();
        for file in listing.names {
            let layout::Kind::Lease(name) = layout::kind_of(&file) else { continue };
            let Ok(name) = RecordName::new("lease", name) else { continue };
            let read = self.read(&file, layout::RECORD_MAX);
            match read.and_then(|bytes| self.judged(bytes, &name, &now)) {
                Ok(found) => views.extend(found),
                Err(error) => findings.push(error),
            }
        }
        Ok((views, findings))
    }

    /// Checks that a lease is still the caller's, without taking any lock.
    pub fn check(&self, lease: &RecordName, token: FencingToken) -> HolderResult<Checked> {
        let bytes = self.read(&layout::lease_file(lease), layout::RECORD_MAX)?;
        let seen = find_outside(&self.tree.base, &self.node, lease, token, bytes)?;
        match cluster::check(&seen, token, &self.ctx.now()) {
            Checked::Lost(lost) => {
                Ok(Err(lost_to(&self.tree.base, &self.node, lease, token, lost)))
            }
            checked => Ok(Ok(checked)),
        }
    }

    /// As [`Self::check`], and renews the lease: that of the cluster counts in its store.
    pub fn check_strongly(&self, lease: &RecordName, token: FencingToken) -> HolderResult<Checked> {
        match self.renew(lease, token, None, ENTER_LIMIT)? {
            Ok(_) => self.check(lease, token),
            Err(lost) => Ok(Err(lost)),
        }
    }

    /// Returns what became of a grant whose TTL ran until `until_ns` when its renewer saw it last;
    /// `deleted` says that a record of the lease was deleted since. No lock is taken.
    pub fn find_loss(
        &self,
        lease: &RecordName,
        token: FencingToken,
        until_ns: u64,
        deleted: bool,
    ) -> HolderResult<Loss> {
        let file = layout::lease_file(lease);
        let bytes = self.read(&file, layout::RECORD_MAX)?;
        let seen = find_outside(&self.tree.base, &self.node, lease, token, bytes)?;
        let (highest, note) = guard::peek(&self.tree.base, &self.node, &file)?;
        let broken = note_of(note, token);
        let now = self.ctx.now();
        let by_force = deleted || broken.is_some();
        match decide_loss(&seen, token, until_ns, highest, by_force, &now) {
            Loss::Lost(lost) => Ok(Err(LostTo { broken, ..LostTo::new(lease, lost) })),
            loss => Ok(Ok(loss)),
        }
    }

    /// Returns the leases that have a guard, whether they are held or not.
    pub fn guarded_leases(&self) -> Result<Vec<RecordName>> {
        let files = guard::guarded(&self.tree.base, &self.node)?;
        Ok(files.into_iter().filter_map(|file| layout::into_lease(file).ok()).collect())
    }

    /// Returns the loss of a grant that was broken before its renewer saw it: one of this session,
    /// kept by this process, with a token above `seen`.
    pub fn find_unseen_break(
        &self,
        lease: &RecordName,
        session: &str,
        keeper: &Process,
        seen: u64,
    ) -> Result<Option<LostTo>> {
        let (_, note) = guard::peek(&self.tree.base, &self.node, &layout::lease_file(lease))?;
        let ours = |note: &Fields<'_>| {
            note.text("session").as_deref() == Some(session)
                && note.number("pid").is_none_or(|pid| pid == u64::from(keeper.pid))
                && note.number("fencing_token").is_some_and(|token| token > seen)
        };
        let broken = note.and_then(fields_of_note).filter(ours);
        Ok(broken.map(|note| LostTo { broken: Some(note), ..LostTo::no_holder(lease) }))
    }

    /// Removes by force the grant with token `expected`, or an unreadable record if `None`; false
    /// if there is no record.
    ///
    /// Writes a note into the guard, so that the old holder's next renew can say what happened.
    pub fn break_lease(
        &self,
        lease: &RecordName,
        expected: Option<FencingToken>,
        reason: &str,
    ) -> HolderResult<bool> {
        let file = layout::lease_file(lease);
        // Where there is no record, no guard is created either.
        if self.read(&file, layout::RECORD_MAX)?.is_none() {
            return Ok(Ok(false));
        }
        // A record that another program wrote may have no guard yet.
        let section = self.enter(&file, ENTER_LIMIT)?;
        let found = match expected {
            Some(token) => Found::find(&section, lease, token, &self.ctx.host)?,
            None => Found::find_damaged(&section, lease)?,
        };
        let seen = &found.observed;
        match decide_break(seen, expected) {
            Released::Remove => {
                // Best effort: on a full disk the lease must still be freed.
                let note = break_note(self.ctx, lease, seen, reason);
                let _ = section.note_break(&note.render());
                let entry = found.entry(&section, Event::Broken, lease);
                let entry = entry.by(self.ctx.agent.as_str()).with_reason(reason);
                let far = cluster::of_cluster(seen).map(|record| {
                    let place = (&self.tree.base, &self.node);
                    cluster::give_back(self.ctx, place, record, cluster::CALL_LIMIT)
                });
                found.remove(&section, self.ctx, &self.ctx.now(), &entry)?;
                if let Observed::Ours(record, ..) = seen {
                    Queue::remove_tickets_of(&section, &record.processes);
                    (self.ctx.lease_ended)(self.ctx, record);
                }
                match far {
                    Some(Err(error)) => Err(cluster::broken_here_only(lease, &error)),
                    _ => Ok(Ok(true)),
                }
            }
            // The lease is not free because one of its grants is not there.
            Released::Already if found.is_joint() => Ok(Err(LostTo::no_holder(lease))),
            Released::Already => Ok(Ok(false)),
            Released::Lost(lost) => Ok(Err(LostTo::new(lease, lost))),
        }
    }
}

fn break_note(
    ctx: &Context,
    lease: &RecordName,
    broken: &Observed,
    reason: &str,
) -> Fields<'static> {
    let record = match broken {
        Observed::Ours(record, ..) => Some(record),
        _ => None,
    };
    let mut note = Fields::new("break");
    note.push_text("lease", lease.as_str());
    note.push_number("fencing_token", record.map_or(0, |record| record.fencing_token.get()));
    if let Some(record) = record {
        note.push_text("holder", record.agent.as_str());
        record.session.iter().for_each(|session| note.push_text("session", session));
        let own = record.processes.own;
        own.iter().for_each(|own| note.push_number("pid", own.pid.into()));
    }
    note.push_text("agent", ctx.agent.as_str());
    note.push_number("uid", getuid().as_raw().into());
    note.push_text("broken_at", &format_utc(host::reading().wall_us));
    note.push_text("reason", reason);
    note
}

/// As [`observe`], for callers that go by the token: the state of the processes is not read.
pub fn read_only(bytes: Option<Bytes>, lease: &RecordName) -> Observed {
    let Some(Bytes { bytes, times, .. }) = bytes else { return Observed::Absent };
    let unknown = |_: &Processes| ProcessState::Unknown;
    let text = parse(&bytes, layout::RECORD_MAX);
    observe_text(&text, times, lease, &Host::default(), unknown)
}

/// Adds to a loss what the guard remembers of the grant.
fn lost_to(
    base: &TrustedDir,
    node: &Node,
    lease: &RecordName,
    token: FencingToken,
    lost: Lost,
) -> LostTo {
    let peeked = guard::peek(base, node, &layout::lease_file(lease));
    let (highest, note) = peeked.unwrap_or_default();
    let past = judge_past(&lost, token, highest);
    LostTo { lease: lease.clone(), lost, broken: note_of(note, token), past, token: Some(token) }
}

/// Parses the note of a break, if it is about this grant.
fn note_of(note: Option<Bytes>, token: FencingToken) -> Option<Fields<'static>> {
    let note = fields_of_note(note?)?;
    (note.number("fencing_token") == Some(token.get())).then_some(note)
}

fn fields_of_note(note: Bytes) -> Option<Fields<'static>> {
    match parse(&note.bytes, layout::RECORD_MAX) {
        Ok(Text::Own(fields)) => Some(fields.into_owned()),
        _ => None,
    }
}

/// Refuses a call inside `lease exec --fenced`: the wrapper holds the guard, so waiting for it
/// would never end.
pub fn refuse_if_fenced(ctx: &Context, lease: &RecordName) -> Result<()> {
    match ctx.fenced.as_deref() {
        Some(names) if names.split(',').any(|name| name == lease.as_str()) => Err(Error::new(
            Kind::Busy,
            format!("lease {lease}: this command runs inside its guard ('lease exec --fenced')"),
        )
        .hint("no other process can be granted it until this command ends: renew or release then")),
        _ => Ok(()),
    }
}
