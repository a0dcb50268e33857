//! A store in memory, whose answers can be lost, as a cable and a killed server lose them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use zeta_core::cluster::lease::{Answer, Entry, Terms, Write};
use zeta_core::name::{Label, RecordName};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_state::lease::cluster::Store;

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is written, and the answer is lost.
    WrittenUnanswered,
    /// It is not written, and no answer says so.
    Lost,
    /// The store is not reached.
    Unreached,
}

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    leases: BTreeMap<RecordName, (u64, Entry)>,
    /// What becomes of the next writes.
    fates: VecDeque<Fate>,
    is_down: bool,
    no_grant_before_us: i64,
}

/// The store that all nodes share.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    kept: Arc<(Mutex<Kept>, Condvar)>,
}

impl Memory {
    /// The store as a node sees it.
    pub fn of(&self, node: &Label) -> Box<dyn Store> {
        Box::new(View { memory: self.clone(), node: node.clone() })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        let changed = change(&mut self.kept.0.lock().unwrap());
        self.kept.1.notify_all();
        changed
    }

    pub fn fates(&self, fates: &[Fate]) {
        self.change(|kept| kept.fates.extend(fates));
    }

    pub fn set_down(&self, is_down: bool) {
        self.change(|kept| kept.is_down = is_down);
    }

    pub fn no_grant_before(&self, us: i64) {
        self.change(|kept| kept.no_grant_before_us = us);
    }
}

#[derive(Debug)]
struct View {
    memory: Memory,
    node: Label,
}

impl View {
    fn reach(&self) -> Result<()> {
        match self.memory.change(|kept| kept.is_down) {
            true => Err(Error::new(Kind::Busy, "the store in memory is not reached")),
            false => Ok(()),
        }
    }
}

impl Store for View {
    fn terms(&mut self, _: Duration) -> Result<Terms> {
        self.reach()?;
        Ok(Terms {
            node: self.node.clone(),
            tree: String::new(),
            epoch: 1,
            floor: 0,
            no_grant_before_us: self.memory.change(|kept| kept.no_grant_before_us),
            max_ttl_ms: 600_000,
            removed_up_to: 0,
            server_us: host::wall_us(),
        })
    }

    fn read(&mut self, lease: &RecordName, _: Duration) -> Result<(u64, Entry)> {
        self.reach()?;
        let found = self.memory.change(|kept| kept.leases.get(lease).cloned());
        Ok(found.unwrap_or((0, Entry::Absent)))
    }

    fn write(&mut self, lease: &RecordName, write: &Write, _: Duration) -> Result<Answer> {
        self.reach()?;
        self.memory.change(|kept| {
            let fate = kept.fates.pop_front();
            match fate {
                Some(Fate::Unreached) => return Err(Error::new(Kind::Busy, "not reached")),
                Some(Fate::Lost) => return Ok(Answer::Unknown),
                _ => {}
            }
            let last = kept.leases.get(lease).map_or(0, |(revision, _)| *revision);
            if last != write.expected {
                return Ok(Answer::Refused);
            }
            kept.last += 1;
            let revision = kept.last;
            kept.leases.insert(lease.clone(), (revision, write.entry.clone()));
            Ok(match fate {
                Some(_) => Answer::Unknown,
                None => Answer::Accepted { revision },
            })
        })
    }

    fn wait(&mut self, lease: &RecordName, revision: u64, limit: Duration) -> Result<bool> {
        self.reach()?;
        let (kept, changed) = &*self.memory.kept;
        let is_same = |kept: &mut Kept| {
            kept.leases.get(lease).map_or(0, |(revision, _)| *revision) == revision
        };
        let waited = changed.wait_timeout_while(kept.lock().unwrap(), limit, is_same).unwrap();
        Ok(!waited.1.timed_out())
    }
}
