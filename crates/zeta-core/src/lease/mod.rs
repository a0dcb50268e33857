//! The lease: a time-limited exclusive right, granted once per fencing token.
//!
//! This file is the record as it stands on disk; `decide.rs`, `joint` and `loss.rs` hold
//! every rule about it.

mod decide;
mod foreign;
pub mod joint;
mod loss;

pub use decide::{
    AcquireRequest, Acquired, Cause, Checked, DAMAGED_TTL_MS, FOREIGN_TTL_MS, Held, HeldWhy, Lost,
    Observed, Reassigned, Released, Renewed, Standing, Successor, check_margin_ms, decide_acquire,
    decide_break, decide_check, decide_reassign, decide_release, decide_renew, judge,
};
pub(crate) use decide::{aged, granted, is_repeated};
pub use foreign::Said;
pub use loss::{Loss, Past, decide_loss, is_kept_by, judge_past};

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::cluster::copy;
use crate::evidence::{Process, Processes, Stamp};
use crate::name::{Label, RecordName};
use crate::record::{Damage, Fields, KeyTable, is_same, number_of, unquote};
use crate::time::{Host, NS_PER_MS, Reading, format_utc, parse_utc};

/// The `kind` of a lease record.
pub const KIND: &str = "lease";
/// TTL of a lease that an agent takes by hand.
pub const TTL_SESSION_MS: u64 = 10 * 60 * 1000;
/// TTL of a lease that a process holds and renews.
pub const TTL_PROCESS_MS: u64 = 60 * 1000;

/// The number of a grant. It only grows; a protected resource compares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(u64);

impl FencingToken {
    /// Tokens stay below 2^53, so that every JSON reader keeps them whole.
    pub const LIMIT: u64 = 1 << 53;

    /// A token, if it is in range (1 to 2^53 - 1).
    pub fn new(number: u64) -> Option<FencingToken> {
        (1..FencingToken::LIMIT).contains(&number).then_some(FencingToken(number))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The token after every one that is known: the highest of the token file's, the record's and
    /// the wall clock in µs, plus one. `None` when the range is used up.
    pub fn after(highest: u64, record: Option<FencingToken>, wall_us: i64) -> Option<FencingToken> {
        let clock = u64::try_from(wall_us).unwrap_or(0);
        FencingToken::new(highest.max(record.map_or(0, |t| t.0)).max(clock).checked_add(1)?)
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for FencingToken {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<FencingToken, &'static str> {
        text.parse().ok().and_then(FencingToken::new).ok_or(
            "a fencing token is a whole number from 1 to 9007199254740991, as printed by \
             'zeta lease acquire'",
        )
    }
}

/// What to do about a holder that is alive after TTL and grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Grant to the next one; the old holder is fenced.
    #[default]
    Reclaim,
    /// End the holder's processes first.
    Kill,
    /// Leave it; only a person breaks the lease.
    Never,
}

impl Policy {
    /// The word on disk and in the CLI.
    pub fn word(self) -> &'static str {
        match self {
            Policy::Reclaim => "reclaim",
            Policy::Kill => "kill",
            Policy::Never => "never",
        }
    }
}

impl FromStr for Policy {
    type Err = &'static str;
    fn from_str(word: &str) -> Result<Policy, &'static str> {
        match word {
            "reclaim" => Ok(Policy::Reclaim),
            "kill" => Ok(Policy::Kill),
            "never" => Ok(Policy::Never),
            _ => Err("a policy is reclaim, kill or never"),
        }
    }
}

/// A lease record: present means granted and not yet released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Name of the lease.
    pub lease: RecordName,
    /// Number of this grant.
    pub fencing_token: FencingToken,
    /// The caller's or a random id, by which a repeated acquire is known.
    pub lease_id: String,
    /// Who holds it.
    pub agent: Label,
    /// The holder's session, if it runs under one.
    pub session: Option<String>,
    /// The processes whose death frees it.
    pub processes: Processes,
    /// Pull request that it is about.
    pub pr: Option<u64>,
    /// User id of the holder.
    pub uid: Option<u32>,
    /// Clocks of the last renewal.
    pub renewed: Stamp,
    /// Boot clock at the grant.
    pub acquired_boot_ns: u64,
    /// Wall clock at the grant, for people.
    pub acquired_us: Option<i64>,
    /// Life without renewal.
    pub ttl_ms: u64,
    /// Further time for a holder that is alive after its TTL.
    pub grace_ms: u64,
    /// What happens after both.
    pub policy: Policy,
    /// Number of renewals.
    pub renew_seq: u64,
    /// What it is for, in the holder's words.
    pub purpose: Option<String>,
    /// Keys that this program does not know, kept when it rewrites the record.
    pub extra: Vec<(String, String)>,
}

pub(crate) const KNOWN_KEYS: [&str; 31] = [
    "schema",
    "kind",
    "lease",
    "fencing_token",
    "lease_id",
    "agent",
    "session",
    "pid",
    "timestamp",
    "pr",
    "uid",
    "pid_start_ticks",
    "pidfs_ino",
    "pid_ns",
    "child_pid",
    "child_pid_start_ticks",
    "child_pidfs_ino",
    "boot_id",
    "machine_id",
    "time_ns",
    "acquired_boot_ns",
    "renewed_boot_ns",
    "ttl_ms",
    "grace_ms",
    "policy",
    "renew_seq",
    "acquired_at",
    "renewed_at",
    "expires_at",
    "purpose",
    "end",
];
const KNOWN_TABLE: KeyTable = KeyTable::of(&KNOWN_KEYS);

impl Record {
    /// Reads a record of the lease that its file is named after.
    pub fn from_fields(fields: &Fields, lease: &RecordName) -> Result<Record, Damage> {
        fields.expect_kind(KIND)?;
        let extra = unknown_entries(fields);
        if !is_same(need_text(fields, "lease")?.as_bytes(), lease.as_str().as_bytes()) {
            return Err(Damage::BadKey("lease"));
        }
        let token = FencingToken::new(need_number(fields, "fencing_token")?);
        let lease_id = need_text(fields, "lease_id")?.into_owned();
        let agent = Label::new("agent", &need_text(fields, "agent")?);
        let session = optional_text(fields, "session")?;
        let pr = optional_number(fields, "pr")?;
        let uid = optional_number(fields, "uid")?.and_then(|n| n.try_into().ok());
        let processes = read_processes(fields)?;
        let renewed = read_stamp(fields, "renewed_boot_ns", "renewed_at")?;
        let acquired_boot_ns = read_boot_ns(fields, "acquired_boot_ns")?;
        let ttl_ms = need_number(fields, "ttl_ms")?;
        if ttl_ms == 0 || ttl_ms > crate::time::TTL_MAX_MS {
            return Err(Damage::BadKey("ttl_ms"));
        }
        let grace_ms = optional_number(fields, "grace_ms")?.unwrap_or(ttl_ms);
        let policy = match fields.raw("policy").map(unquote) {
            None => Policy::default(),
            Some(word) => {
                let word = word.ok_or(Damage::BadKey("policy"))?;
                word.parse().map_err(|_| Damage::BadKey("policy"))?
            }
        };
        Ok(Record {
            lease: lease.clone(),
            fencing_token: token.ok_or(Damage::BadKey("fencing_token"))?,
            lease_id,
            agent: agent.map_err(|_| Damage::BadKey("agent"))?,
            session,
            processes,
            pr,
            uid,
            renewed,
            acquired_boot_ns,
            renew_seq: read_renew_seq(fields)?,
            acquired_us: fields.text("acquired_at").and_then(|t| parse_utc(&t).ok()),
            ttl_ms,
            grace_ms: grace_ms.min(crate::time::TTL_MAX_MS),
            policy,
            purpose: optional_text(fields, "purpose")?,
            extra,
        })
    }

    /// The record as it is written.
    pub fn to_fields(&self) -> Fields<'static> {
        let mut fields = Fields::new(KIND);
        fields.push_text("lease", self.lease.as_str());
        fields.push_number("fencing_token", self.fencing_token.get());
        fields.push_text("lease_id", &self.lease_id);
        fields.push_text("agent", self.agent.as_str());
        push_some_text(&mut fields, "session", self.session.as_deref());
        push_some_number(&mut fields, "pid", self.processes.own.map(|p| p.pid.into()));
        let acquired_at = self.acquired_us.map(format_utc);
        push_some_text(&mut fields, "timestamp", acquired_at.as_deref());
        push_some_number(&mut fields, "pr", self.pr);
        push_some_number(&mut fields, "uid", self.uid.map(u64::from));
        push_evidence(&mut fields, &self.processes);
        push_some_text(&mut fields, "boot_id", Some(&self.renewed.boot_id));
        push_some_text(&mut fields, "machine_id", self.renewed.machine_id.as_deref());
        push_some_number(&mut fields, "time_ns", self.renewed.time_ns);
        fields.push_number("acquired_boot_ns", self.acquired_boot_ns);
        fields.push_number("renewed_boot_ns", self.renewed.boot_ns);
        fields.push_number("ttl_ms", self.ttl_ms);
        fields.push_number("grace_ms", self.grace_ms);
        fields.push_text("policy", self.policy.word());
        fields.push_number("renew_seq", self.renew_seq);
        push_some_text(&mut fields, "acquired_at", acquired_at.as_deref());
        if let Some(renewed_us) = self.renewed.wall_us {
            fields.push_text("renewed_at", &format_utc(renewed_us));
            fields.push_text("expires_at", &format_utc(self.expires_us(renewed_us)));
        }
        push_some_text(&mut fields, "purpose", self.purpose.as_deref());
        for (key, value) in &self.extra {
            fields.push_raw(key, value);
        }
        fields
    }

    /// Boot clock at which the TTL ends.
    pub fn expires_boot_ns(&self) -> u64 {
        self.renewed.boot_ns.saturating_add(self.ttl_ms.saturating_mul(NS_PER_MS))
    }

    /// Wall clock at which the TTL ends, for people.
    pub fn expires_us(&self, renewed_us: i64) -> i64 {
        renewed_us.saturating_add_unsigned(self.ttl_ms.saturating_mul(1000))
    }
}

/// The stamp of a change that is made now.
pub fn stamp_now(reading: Reading, host: &Host) -> Stamp {
    Stamp {
        boot_id: host.boot_id.clone(),
        machine_id: host.machine_id.clone(),
        time_ns: host.time_ns,
        boot_ns: reading.boot_ns,
        wall_us: Some(reading.wall_us),
    }
}

// Functions that get the name of a key are inlined, so that its hash is known to the compiler: a
// status reads thirty keys of each of hundreds of records.

#[inline(always)]
fn need_text<'f>(fields: &'f Fields<'_>, key: &'static str) -> Result<Cow<'f, str>, Damage> {
    fields.text(key).ok_or(Damage::BadKey(key))
}

#[inline(always)]
fn need_number(fields: &Fields<'_>, key: &'static str) -> Result<u64, Damage> {
    fields.number(key).ok_or(Damage::BadKey(key))
}

/// Reads the clock stamp of a lease or persona record.
#[inline(always)]
pub(crate) fn read_stamp(
    fields: &Fields<'_>,
    boot_ns: &'static str,
    wall: &'static str,
) -> Result<Stamp, Damage> {
    if copy::is_copy(fields) {
        return copy::stamp_of(fields);
    }
    Ok(Stamp {
        boot_id: need_text(fields, "boot_id")?.into_owned(),
        machine_id: optional_text(fields, "machine_id")?,
        time_ns: optional_number(fields, "time_ns")?,
        boot_ns: read_boot_ns(fields, boot_ns)?,
        wall_us: fields.text(wall).and_then(|t| parse_utc(&t).ok()),
    })
}

/// A boot clock that leaves room for every TTL and grace to be added; no machine runs 292 years.
#[inline(always)]
fn read_boot_ns(fields: &Fields<'_>, key: &'static str) -> Result<u64, Damage> {
    let number = need_number(fields, key)?;
    if number <= i64::MAX as u64 { Ok(number) } else { Err(Damage::BadKey(key)) }
}

fn read_renew_seq(fields: &Fields<'_>) -> Result<u64, Damage> {
    match optional_number(fields, "renew_seq")?.unwrap_or(0) {
        seq if seq <= FencingToken::LIMIT => Ok(seq),
        _ => Err(Damage::BadKey("renew_seq")),
    }
}

/// Reads the recorded processes of a lease or persona record.
pub(crate) fn read_processes(fields: &Fields<'_>) -> Result<Processes, Damage> {
    let read = |pid, ticks, ino| -> Result<Option<Process>, Damage> {
        let Some(number) = optional_number(fields, pid)? else { return Ok(None) };
        Ok(Some(Process {
            pid: u32::try_from(number).map_err(|_| Damage::BadKey(pid))?,
            start_ticks: optional_number(fields, ticks)?,
            pidfs_ino: optional_number(fields, ino)?,
        }))
    };
    // The numbers of another machine's processes are those of others here.
    if copy::is_copy(fields) {
        return Ok(Processes::default());
    }
    let own = read("pid", "pid_start_ticks", "pidfs_ino")?;
    let child = read("child_pid", "child_pid_start_ticks", "child_pidfs_ino")?;
    let pid_ns = optional_number(fields, "pid_ns")?;
    // A namespace of no process says nothing.
    Ok(Processes { own, child, pid_ns: own.or(child).and(pid_ns) })
}

/// Writes what identifies the recorded processes, all but `pid` itself.
pub(crate) fn push_evidence(fields: &mut Fields, processes: &Processes) {
    let own = processes.own.unwrap_or_default();
    push_some_number(fields, "pid_start_ticks", own.start_ticks);
    push_some_number(fields, "pidfs_ino", own.pidfs_ino);
    push_some_number(fields, "pid_ns", processes.own.or(processes.child).and(processes.pid_ns));
    let child = processes.child.unwrap_or_default();
    push_some_number(fields, "child_pid", processes.child.map(|p| p.pid.into()));
    push_some_number(fields, "child_pid_start_ticks", child.start_ticks);
    push_some_number(fields, "child_pidfs_ino", child.pidfs_ino);
}

#[inline(always)]
fn optional_text(fields: &Fields<'_>, key: &'static str) -> Result<Option<String>, Damage> {
    match fields.raw(key) {
        None => Ok(None),
        Some(value) => Ok(Some(unquote(value).ok_or(Damage::BadKey(key))?.into_owned())),
    }
}

#[inline(always)]
pub(crate) fn optional_number(
    fields: &Fields<'_>,
    key: &'static str,
) -> Result<Option<u64>, Damage> {
    match fields.raw(key) {
        None => Ok(None),
        Some(value) => Ok(Some(number_of(value).ok_or(Damage::BadKey(key))?)),
    }
}

fn unknown_entries(fields: &Fields<'_>) -> Vec<(String, String)> {
    let unknown = fields.not_in(&KNOWN_KEYS, &KNOWN_TABLE);
    unknown.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn push_some_text(fields: &mut Fields, key: &'static str, value: Option<&str>) {
    if let Some(value) = value {
        fields.push_text(key, value);
    }
}

fn push_some_number(fields: &mut Fields, key: &'static str, value: Option<u64>) {
    if let Some(value) = value {
        fields.push_number(key, value);
    }
}

#[cfg(test)]
pub(crate) mod tests;
