//! What the session of the agent holds: read anew for each answer, renewed in between, and missed
//! when it is lost.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use zeta_core::bus::grant::ClaimRecord;
use zeta_core::bus::item::space_of;
use zeta_core::cluster::lease::{News, Scope, Told, decide_news};
use zeta_core::lease::{FencingToken, Loss, Record};
use zeta_core::mcp::{Ending, Gone, Known, judge_gone, named};
use zeta_core::name::RecordName;
use zeta_core::pattern::PathClaim;
use zeta_core::record::printable;
use zeta_core::time::{NS_PER_MS, format_utc};
use zeta_os::error::Error;
use zeta_os::host;
use zeta_state::context::NodeHandle;
use zeta_state::directory::guard::RENEWER_LIMIT;
use zeta_state::lease::cluster::deadline_of;
use zeta_state::lease::report;
use zeta_state::presence::session_leases;

/// Grants that are older than this are not renewed any more, as by `zeta run`.
const HOLD_MAX_MS: u64 = 12 * 60 * 60 * 1000;
/// A renewal that the servers of the cluster did not answer is repeated so many times before the
/// next one would be due.
const RETRIES: u32 = 3;
/// How many holdings the last line of an answer names.
const NAMED_MAX: usize = 10;

/// A grant.
pub type Key = (RecordName, FencingToken);

/// A grant of the session, as it was read last.
#[derive(Debug)]
struct Holding {
    record: Box<Record>,
    /// When it is to be renewed.
    due: Instant,
    /// No call has asked for it, and it is given back then unless one does.
    unasked_until: Option<Instant>,
    /// This server acquired it.
    is_own: bool,
    /// How many answers said that it is the caller's.
    answers: usize,
    /// An answer that was taken listed it.
    is_listed: bool,
    /// What was said of the cluster, which did not answer.
    told: Told,
}

impl Holding {
    /// Returns what is to be said of an attempt to renew a lease of the cluster.
    fn say(&mut self, renewed: std::result::Result<(), &Error>) -> Option<String> {
        deadline_of(&self.record)?;
        let age_ns = host::reading().boot_ns.saturating_sub(self.record.renewed.boot_ns);
        let (age_ms, ttl_ms) = (age_ns / NS_PER_MS, self.record.ttl_ms);
        match (decide_news(&mut self.told, renewed.is_ok(), age_ms, ttl_ms)?, renewed) {
            (News::Unrenewed, Err(error)) => Some(printable(&error.text).into_owned()),
            _ => Some(report::renewed_again(&self.record.lease)),
        }
    }
}

/// What the session holds.
#[derive(Debug, Default)]
pub struct Holdings {
    held: BTreeMap<Key, Holding>,
}

impl Holdings {
    /// Reads what the session holds. Returns what became of grants that are gone: `by_call` says
    /// that a call of this server gave some back, which is no news.
    pub fn read(&mut self, at: &NodeHandle<'_>, number: &str, by_call: bool) -> Vec<String> {
        let now = session_leases::of(at, |record| record.session.as_deref() == Some(number));
        let is_there = |key: &Key| {
            now.iter().any(|record| record.lease == key.0 && record.fencing_token == key.1)
        };
        let gone: Vec<Key> = self.held.keys().filter(|key| !is_there(key)).cloned().collect();
        let mut notices = Vec::new();
        for key in gone {
            let Some(holding) = self.held.remove(&key) else { continue };
            match what_became(at, &holding.record, number, by_call) {
                (Gone::Stands, _) => drop(self.held.insert(key, holding)),
                (_, notice) => notices.extend(notice),
            }
        }
        now.into_iter().for_each(|record| self.keep(Box::new(record)));
        notices
    }

    /// Adds a grant, or what a renewal made of it.
    pub fn keep(&mut self, record: Box<Record>) {
        let age = host::reading().boot_ns.saturating_sub(record.renewed.boot_ns);
        let quarter = Duration::from_millis((record.ttl_ms / 4).max(1));
        let due = Instant::now() + quarter.saturating_sub(Duration::from_nanos(age));
        match self.held.entry((record.lease.clone(), record.fencing_token)) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                (known.record, known.due) = (record, due);
            }
            Entry::Vacant(place) => {
                place.insert(Holding {
                    record,
                    due,
                    unasked_until: None,
                    is_own: false,
                    answers: 0,
                    is_listed: false,
                    told: Told::default(),
                });
            }
        }
    }

    /// Marks a grant that this server acquired.
    pub fn mark_own(&mut self, key: &Key) {
        self.held.get_mut(key).into_iter().for_each(|holding| holding.is_own = true);
    }

    /// Returns whether a grant is held, as far as was read.
    pub fn has(&self, key: &Key) -> bool {
        self.held.contains_key(key)
    }

    /// Returns the record of a grant by the lease's name, or by the item that it claims.
    pub fn find(&self, name: &str) -> Option<&Record> {
        let records = self.held.values().map(|holding| &*holding.record);
        records.into_iter().find(|record| {
            record.lease.as_str() == name || ClaimRecord::of(record).is_some_and(|c| c.item == name)
        })
    }

    /// Marks a grant that no call asked for.
    pub fn mark_unasked(&mut self, key: &Key, until: Instant) {
        if let Some(holding) = self.held.get_mut(key) {
            holding.unasked_until = Some(until);
        }
    }

    /// The minute of a grant that no call asked for begins when the client was told of it.
    pub fn put_off_unasked(&mut self, lease: &RecordName, until: Instant) {
        for ((name, _), holding) in &mut self.held {
            if name == lease && holding.unasked_until.is_some() {
                holding.unasked_until = Some(until);
            }
        }
    }

    /// Counts an answer by which a grant is the caller's: it is kept.
    pub fn count_answer(&mut self, key: &Key) {
        if let Some(holding) = self.held.get_mut(key) {
            (holding.unasked_until, holding.answers) = (None, holding.answers + 1);
        }
    }

    /// Takes back [`Holdings::count_answer`]; returns whether this server acquired the grant.
    pub fn uncount_answer(&mut self, key: &Key) -> bool {
        let Some(holding) = self.held.get_mut(key) else { return false };
        holding.answers = holding.answers.saturating_sub(1);
        holding.is_own
    }

    /// Marks grants that an answer listed.
    pub fn mark_listed(&mut self, keys: &[Key]) {
        for key in keys {
            self.held.get_mut(key).into_iter().for_each(|holding| holding.is_listed = true);
        }
    }

    /// Returns what the client knows of a grant by answers that it took.
    pub fn known(&self, key: &Key) -> Known {
        match self.held.get(key) {
            Some(holding) if holding.answers > 0 => Known::Answered,
            Some(holding) if holding.is_listed => Known::Listed,
            _ => Known::Nothing,
        }
    }

    /// Returns all grants.
    pub fn keys(&self) -> Vec<Key> {
        self.held.keys().cloned().collect()
    }

    /// Returns the grants that no call asked for, all or those whose time is over.
    pub fn unasked(&self, over_at: Option<Instant>) -> Vec<Key> {
        let is_over = |until: &Instant| over_at.is_none_or(|now| *until <= now);
        let unasked = |holding: &Holding| holding.unasked_until.filter(is_over).is_some();
        self.held.iter().filter(|(_, held)| unasked(held)).map(|(key, _)| key.clone()).collect()
    }

    /// Forgets a grant that this server gave back.
    pub fn forget(&mut self, key: &Key) {
        self.held.remove(key);
    }

    /// Returns whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Returns when the next grant is to be renewed or given back.
    pub fn next(&self) -> Option<Instant> {
        let times =
            |held: &Holding| held.unasked_until.map_or(held.due, |until| until.min(held.due));
        self.held.values().map(times).min()
    }

    /// Renews what is due; returns what was lost.
    pub fn renew_due(&mut self, at: &NodeHandle<'_>) -> Vec<String> {
        let now = Instant::now();
        let due: Vec<Key> = self
            .held
            .iter()
            .filter(|(_, held)| held.due <= now)
            .map(|(key, _)| key.clone())
            .collect();
        let mut notices = Vec::new();
        for key in due {
            let Some(holding) = self.held.get_mut(&key) else { continue };
            let quarter = Duration::from_millis((holding.record.ttl_ms / 4).max(1));
            holding.due = now + quarter;
            let held_ns = host::reading().boot_ns.saturating_sub(holding.record.acquired_boot_ns);
            if held_ns / NS_PER_MS > HOLD_MAX_MS {
                continue;
            }
            match at.renew(&key.0, key.1, None, RENEWER_LIMIT) {
                Ok(Ok((record, _))) => {
                    notices.extend(holding.say(Ok(())));
                    self.keep(record);
                }
                Ok(Err(_)) => {
                    let Some(holding) = self.held.remove(&key) else { continue };
                    let number = holding.record.session.as_deref().unwrap_or_default();
                    notices.extend(what_became(at, &holding.record, number, false).1);
                }
                // A fault of the disk, or servers that do not answer, is no loss: the next round
                // tries again.
                Err(error) => {
                    if deadline_of(&holding.record).is_some() {
                        holding.due = now + quarter / RETRIES;
                    }
                    notices.extend(holding.say(Err(&error)));
                }
            }
        }
        notices
    }

    /// The holdings in words, for the last line of an answer.
    pub fn words(&self) -> String {
        let mut words: Vec<String> =
            self.held.values().take(NAMED_MAX).map(|held| described(&held.record)).collect();
        match self.held.len().saturating_sub(NAMED_MAX) {
            0 => {}
            more => words.push(format!("{more} more: call check")),
        }
        if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
    }

    /// The holdings as lines.
    pub fn lines(&self) -> String {
        let line = |held: &Holding| {
            let until =
                held.record.renewed.wall_us.map(|us| format_utc(held.record.expires_us(us)));
            let until =
                until.as_deref().and_then(|text| text.split_once('.')).map_or("", |(t, _)| t);
            format!("{}, until {until}Z, and renewed before that", described(&held.record))
        };
        self.held.values().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The holdings for programs.
    pub fn objects(&self) -> Vec<Value> {
        self.held.values().map(|held| object(&held.record)).collect()
    }
}

/// A grant in a few words: what it is of, and its token.
fn described(record: &Record) -> String {
    let token = record.fencing_token;
    match (ClaimRecord::of(record), space_of(record.lease.as_str())) {
        (Some(claim), _) => {
            format!("item {}{} (token {token})", named(&claim.item), of_cluster(record))
        }
        (None, Some(space)) => {
            let claim = PathClaim::of(&record.extra);
            let paths: Vec<String> = claim.patterns.iter().map(ToString::to_string).collect();
            let paths = printable(&paths.join(" ")).into_owned();
            format!("paths {paths} in {} ({}, token {token})", printable(space), claim.mode.word())
        }
        (None, None) => format!("lease {}{} (token {token})", record.lease, of_cluster(record)),
    }
}

/// Says of a grant that no agent of another machine has it, either.
pub fn of_cluster(record: &Record) -> &'static str {
    Scope::of(record).map_or("", |_| " of the cluster")
}

fn object(record: &Record) -> Value {
    let mut object = Map::new();
    object.insert("lease".to_owned(), record.lease.as_str().into());
    if let Some(claim) = ClaimRecord::of(record) {
        object.insert("item_id".to_owned(), claim.item.into());
    } else if let Some(space) = space_of(record.lease.as_str()) {
        let claim = PathClaim::of(&record.extra);
        let paths: Vec<Value> = claim.patterns.iter().map(|path| path.to_string().into()).collect();
        object.insert("space".to_owned(), space.into());
        object.insert("paths".to_owned(), paths.into());
        object.insert("mode".to_owned(), claim.mode.word().into());
    }
    object.insert("fencing_token".to_owned(), record.fencing_token.get().into());
    if Scope::of(record).is_some() {
        object.insert("scope".to_owned(), "cluster".into());
    }
    Value::Object(object)
}

/// Finds out what became of a grant that is not found any more, and what the agent is told of it;
/// `number` is that of the session.
fn what_became(
    at: &NodeHandle<'_>,
    record: &Record,
    number: &str,
    by_call: bool,
) -> (Gone, Option<String>) {
    let found = at.find_loss(&record.lease, record.fencing_token, record.expires_boot_ns(), false);
    let ending = match &found {
        Ok(Err(_)) => Ending::Lost,
        Ok(Ok(Loss::GivenBack)) => Ending::GivenBack,
        Ok(Ok(_)) | Err(_) => Ending::NotSeen,
    };
    let what = described(record);
    let gone = judge_gone(ending, by_call, record.session.as_deref() == Some(number));
    let notice = match gone {
        Gone::Stands | Gone::Untold => None,
        Gone::Lost => {
            let lost = found.ok().and_then(Result::err);
            let why = lost.map(|lost| report::lost(&lost, at.ctx).text).unwrap_or_default();
            Some(format!("You have LOST {what}: stop that work. {}.", printable(&why)))
        }
        Gone::ReleasedElsewhere => {
            Some(format!("{what} is not yours any more: it was released elsewhere."))
        }
        Gone::OfBefore => {
            Some(format!("{what} was held by your session before this one, which has ended."))
        }
    };
    (gone, notice)
}
