//! What the model remembers of the world: guards, the record, the processes, and what went wrong.
//!
//! Everything is small and copied often; the bridge makes real records of it for each decision.

use std::fmt;

/// Milliseconds of one tick of the model's clock.
pub const TICK_MS: u64 = 1000;
/// TTL of every lease: a check is good at age 0 and 1, too late at 2; from 3 on it is expired.
pub const TTL_TICKS: u8 = 2;
/// Grace of every lease: a living holder is overdue at age 4.
pub const GRACE_TICKS: u8 = 1;
/// How far the wall clock lies ahead of the boot clock until somebody sets it back to it.
pub const WALL_AHEAD_S: i64 = 1000;

/// Who takes part, and what its record tells about processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Calls by hand: no process is recorded, each call opens the guard anew.
    Session,
    /// A program that is recorded and keeps its guard open.
    Process,
    /// A wrapper and the child that works under it.
    Wrapper,
}

/// Both clocks as they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clock {
    pub tick: u8,
    pub wall_us: i64,
}

/// A lease record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    pub token: u64,
    pub owner: u8,
    pub id: u8,
    pub incarnation: u8,
    pub renewed: Clock,
    /// For the judge only: when its writer had taken the flock.
    pub entered: u8,
    /// For the judge only: it was committed in a guard that had its name.
    pub valid: bool,
}

/// A guard directory, whether it has its name or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Guard {
    /// False once it was removed: nothing can be made in it or moved out of it.
    pub exists: bool,
    pub token_file: Option<u64>,
    pub locked_by: Option<u8>,
}

/// What a call wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Acquire,
    Renew,
    Release,
    Fenced,
}

/// The next step of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pc {
    Idle,
    Open,
    Flock,
    Identify,
    Read,
    Clock,
    Decide,
    Remember,
    Commit,
    IdentifyAgain,
    /// A fenced command runs.
    Effect,
    /// Only the order of a mutant: the token is remembered after the commit.
    RememberLate,
    Unlock,
    Answer,
    /// It checked that its lease is good, outside of the guard, and will write.
    WillWrite,
    /// Its wrapper was killed; the fenced command runs on and keeps the flock.
    Orphan,
    Dead,
}

/// What stands there, as it was read, with the evidence of that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    pub lease: Option<Lease>,
    pub life: Life,
}

/// The core's `Life`, which cannot be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    Alive,
    Dead,
    Unknown,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plan {
    Nothing,
    Grant(Lease),
    Renew(Lease),
    Remove,
}

/// What the caller will be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// No answer yet, or a refusal.
    Refused,
    Granted(Lease),
    Again(Lease),
    Renewed(Lease),
    Released,
    Lost,
    /// Status 7: the guard was not the one with the name.
    Unsafe,
}

/// What a holder was told: it may act until its TTL less the margin, reckoned from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Belief {
    pub token: u64,
    pub renewed: u8,
}

/// One participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Proc {
    pub pc: Pc,
    pub op: Op,
    pub guard: Option<u8>,
    /// The guard was opened by an earlier call and is entered again.
    pub kept: bool,
    pub entered: u8,
    pub seen: Option<Seen>,
    pub now: Option<Clock>,
    pub plan: Plan,
    pub outcome: Outcome,
    /// It committed, and its guard had the name then (for the judge only).
    pub committed: Option<bool>,
    pub belief: Option<Belief>,
    /// The last token that it was told, kept after it was lost.
    pub token: u64,
    pub id: u8,
    pub incarnation: u8,
    pub alive: bool,
    pub child_alive: bool,
    pub calls_left: u8,
}

/// Something that must never happen, as bits, because it is seen in the moment that it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    TokenNotLarger,
    FencedOutOfOrder,
    UnfencedOutOfOrder,
    RobbedEarly,
    LivingCalledDead,
    OtherBootOnThisBoot,
    NotTheHoldersChange,
    NamelessGuardGrants,
    OldTokenAgain,
    /// Not a fault but a documented limit: guard and record were lost and the clock was set back.
    LimitOfTokens,
    /// As before, but the record was not lost: its holder released it.
    LimitOfTokensAfterRelease,
    /// Not a fault: a guard that was moved away cost a successor its record.
    LimitOfMovedGuard,
    /// Not a fault: a fenced command ran in a guard that was taken away from under it.
    LimitOfFence,
}

/// The set of faults that happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Faults(u16);

impl Faults {
    pub fn add(&mut self, fault: Fault) {
        self.0 |= 1 << fault as u16;
    }

    pub fn has(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u16) != 0
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#b}", self.0)
    }
}

/// What outsiders do to the files and clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meddling {
    RemoveGuard,
    MoveGuard,
    LoseTokenFile,
    DeleteRecord,
    SetWallBack,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub tick: u8,
    pub wall_back: bool,
    /// How many tokens were made: the wall clock runs faster than that.
    pub tokens_made: u8,
    pub guards: Vec<Guard>,
    /// The guard that has the name.
    pub named: Option<u8>,
    pub lease: Option<Lease>,
    pub procs: Vec<Proc>,
    pub crashes_left: u8,
    pub meddling_left: u8,
    /// The token file of some guard was lost.
    pub memory_lost: bool,
    pub record_deleted: bool,
    /// An outsider took a record from under its holder, or a guard from under a writer.
    pub meddled: bool,
    pub highest_grant: u64,
    pub fenced: u64,
    pub unfenced: u64,
    pub faults: Faults,
}

impl World {
    pub fn clock(&self) -> Clock {
        let ahead_s = if self.wall_back { 0 } else { WALL_AHEAD_S };
        let us = (ahead_s + i64::from(self.tick)) * 1_000_000 + 2 * i64::from(self.tokens_made);
        Clock { tick: self.tick, wall_us: us }
    }

    /// Does the guard that `at` opened have the name now?
    pub fn is_named(&self, at: usize) -> bool {
        self.procs[at].guard.is_some() && self.procs[at].guard == self.named
    }

    /// The guard that `at` opened.
    pub fn guard(&mut self, at: usize) -> &mut Guard {
        let guard = self.procs[at].guard.expect("a process inside has opened a guard");
        &mut self.guards[usize::from(guard)]
    }

    /// The kernel's part of an end: the flock is free.
    pub fn unlock(&mut self, at: usize) {
        for guard in &mut self.guards {
            if guard.locked_by == Some(at as u8) {
                guard.locked_by = None;
            }
        }
    }
}
