//! `zeta cluster compact`: removes from the streams what nobody needs.
//!
//! First the record of the cluster gets the highest token that will be gone as its floor, and the
//! numbers up to which values may be gone. Then every program has to have read that record. Only
//! then single messages are removed, by their numbers: what was written meanwhile has another one.
//! A call that is killed at any moment leaves a store that is right, and the next one goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use zeta_core::cluster::compact::{Asked, Plan, Refusal, Value, What, decide_compact};
use zeta_core::cluster::lease::Entry;
use zeta_core::cluster::subject::{Item, Stream, Subject};
use zeta_core::name::Label;
use zeta_core::time::format_duration;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;

use crate::account::Account;
use crate::api::Stored;
use crate::connection::Connection;
use crate::lease::FRESH;
use crate::member::Member;
use crate::meta::Meta;
use crate::setting::Setting;
use crate::signer::Signer;

/// What is older goes, if a caller names no other time, in ms.
pub const OLDER_DEFAULT_MS: u64 = 7 * 86_400_000;
/// How often the record of the cluster is written again, after another program was faster.
const TRIES: usize = 8;
/// The streams from which something is removed, cards before what they vouch for.
const STREAMS: [Stream; 2] = [Stream::State, Stream::Lease];

/// What a caller is told between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The record of the cluster was written, and so long is waited.
    Waiting(Duration),
    /// So many of all values were removed.
    Removed(usize, usize),
}

/// What was found and removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compacted {
    /// Nothing was changed.
    pub dry_run: bool,
    /// How many values the two streams had.
    pub found: usize,
    /// What was to be removed.
    pub plan: Plan,
    /// How many of them were removed by this call.
    pub removed: usize,
    /// How many were not there any more: another value had taken their place.
    pub changed: usize,
    /// The record of the cluster, as it stands now.
    pub meta: Meta,
}

/// Removes what nobody needs. The machine in `dir` has joined; the login is the administrator's.
///
/// # Errors
/// The login may not remove; a node that is to be forgotten is not there, or works; the time is too
/// short; the servers refuse or do not answer.
pub fn compact(
    setting: &Setting,
    dir: &std::path::Path,
    asked: &Asked,
    dry_run: bool,
    tell: &mut dyn FnMut(Progress),
) -> Result<Compacted> {
    let mut member = Member::open(setting, dir)?;
    expect_administrator(&member, dry_run)?;
    let (values, last) = read_values(&member)?;
    let max_ttl_ms = member.meta().0.held.max_ttl_ms;
    let plan = decide_compact(&values, &last, max_ttl_ms, asked).map_err(|r| refused(&r))?;
    let mut done = Compacted {
        dry_run,
        found: values.len(),
        plan,
        removed: 0,
        changed: 0,
        meta: member.meta().0.clone(),
    };
    if dry_run || done.plan.values.is_empty() {
        return Ok(done);
    }
    raise_meta(&mut member, &done.plan)?;
    // Also if it stood: a call that was killed may have written it a moment ago.
    let wait = FRESH + Duration::from_secs(1);
    tell(Progress::Waiting(wait));
    std::thread::sleep(wait);
    done.meta = member.meta().0.clone();
    let all = done.plan.values.len();
    for (at, value) in done.plan.values.iter().enumerate() {
        let (stream, sequence) = (value.subject.stream().name(), value.sequence);
        let removed = member.store().block(|connection| connection.remove(stream, sequence))?;
        let doing = || format!("cannot remove {} ({at} of {all} are removed)", value.subject);
        match removed.map_err(|trouble| trouble.explain(&doing()))? {
            true => done.removed += 1,
            false => done.changed += 1,
        }
        tell(Progress::Removed(at + 1, all));
    }
    Ok(done)
}

/// The account of a node has no right to remove anything. It could still raise the floor, so it is
/// asked before.
fn expect_administrator(member: &Member, dry_run: bool) -> Result<()> {
    let account = member.store().block(|connection| connection.account())?;
    let account = account.map_err(|trouble| trouble.explain("cannot use JetStream"))?;
    match account {
        Account::Node if !dry_run => Err(Error::new(
            Kind::Unsafe,
            "the account of a node may remove nothing from the streams",
        )
        .hint("name the login of the administrator: --credentials FILE")
        .hint("'zeta cluster config' has made it: admin.nk, on the machine of the operator")),
        Account::Node | Account::Store => Ok(()),
    }
}

fn refused(refusal: &Refusal) -> Error {
    match refusal {
        Refusal::TooYoung { least_ms } => {
            let least = format_duration(*least_ms);
            Error::usage(format!(
                "the longest TTL of a lease in this cluster is {least}, and nothing younger may go"
            ))
            .hint(format!("--older-than {least}, or more"))
        }
        Refusal::NotThere(node) => {
            Error::new(Kind::NotFound, format!("the store has nothing of a node {node}"))
                .hint("'zeta cluster status' lists the nodes")
        }
        Refusal::NotSilent { node, age_ms } => {
            let ago = format_duration(*age_ms);
            Error::new(Kind::Refused, format!("{node} works: it wrote {ago} ago"))
                .hint("end its bridge, and repeat the call 40 s later")
        }
    }
}

/// Reads all values of the two streams, and the last number of each.
fn read_values(member: &Member) -> Result<(Vec<Value>, BTreeMap<Stream, u64>)> {
    let (mut values, mut last) = (Vec::new(), BTreeMap::new());
    for stream in STREAMS {
        let read = member.store().block(|connection| read_stream(connection, stream))?;
        let (mut stored, number, server_us) = read?;
        last.insert(stream, number);
        // The cards first: they have the keys by which the others are believed.
        stored.sort_by_key(|stored| !stored.subject.ends_with(".card.self"));
        for stored in stored {
            values.extend(value_of(member.signer(), stored, server_us)?);
        }
    }
    Ok((values, last))
}

async fn read_stream(connection: &Connection, stream: Stream) -> Result<(Vec<Stored>, u64, i64)> {
    let name = stream.name();
    let doing = || format!("cannot read the stream {name}");
    let info = connection.info(name).await.map_err(|trouble| trouble.explain(&doing()))?;
    let info = info.ok_or_else(|| {
        Error::new(Kind::Unsafe, format!("the stream {name} is missing: it was lost"))
            .hint(crate::init::RESTORE)
    })?;
    let listed = connection.list(name, stream.pattern()).await;
    let stored = listed.map_err(|trouble| trouble.explain(&doing()))?;
    Ok((stored, info.last_sequence, info.server_us().unwrap_or_else(host::wall_us)))
}

/// What a value is; none if it is not one of zeta, which stays.
fn value_of(signer: &Signer, stored: Stored, server_us: i64) -> Result<Option<Value>> {
    let since_us = stored.stored_us().map_or(0, |then_us| server_us.saturating_sub(then_us));
    let age_ms = u64::try_from(since_us).unwrap_or(0) / 1000;
    let (subject, sequence) = (Subject::parse(&stored.subject), stored.sequence);
    let Ok(subject) = subject else { return Ok(None) };
    let opened = signer.open(stored)?.ok();
    let (what, token) = match (&subject, &opened) {
        (Subject::Lease { name, .. }, Some(value)) if value.trust.is_verified() => {
            let entry = Entry::read(&value.body, name, &value.envelope.node);
            let token = entry.fencing_token().map_or(0, |token| token.get());
            (if matches!(entry, Entry::End(_)) { What::End } else { What::Grant }, token)
        }
        (Subject::Lease { .. }, _) => (What::Grant, 0),
        (_, Some(value)) if value.envelope.gone.is_some() => (What::Gone, 0),
        _ => (What::Record, 0),
    };
    Ok(Some(Value { subject, sequence, age_ms, what, token }))
}

/// Writes the record of the cluster that must stand before anything is removed.
fn raise_meta(member: &mut Member, plan: &Plan) -> Result<()> {
    for _ in 0..TRIES {
        let (meta, revision) = member.meta();
        let Some(held) = plan.meta(&meta.held) else { return Ok(()) };
        let body = Meta { held, ..meta.clone() }.render();
        member.write(&Subject::Meta, revision, body.as_bytes(), None)?;
        // Whatever became of the write: what stands there says it.
        member.read_meta()?;
    }
    Err(Error::new(Kind::Busy, "the record of the cluster changes all the time")
        .hint("repeat the call: it looks first"))
}

impl Compacted {
    /// How many values go, by what they are: words of records that are gone, ends of leases and
    /// what stands below them, and records of silent nodes.
    pub fn counts(&self) -> [(&'static str, usize); 3] {
        let of = |what: fn(&Value) -> bool| self.plan.values.iter().filter(|v| what(v)).count();
        [
            ("gone", of(|v| v.subject.stream() == Stream::State && v.what == What::Gone)),
            ("leases", of(|v| v.subject.stream() == Stream::Lease)),
            ("records", of(|v| v.subject.stream() == Stream::State && v.what != What::Gone)),
        ]
    }

    /// The nodes whose card goes.
    pub fn forgotten(&self) -> BTreeSet<Label> {
        let card = |value: &Value| match &value.subject {
            Subject::State { node, item: Item::Card } => Some(node.clone()),
            _ => None,
        };
        self.plan.values.iter().filter_map(card).collect()
    }
}
