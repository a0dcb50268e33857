//! From the model's small world to the core's own decisions and back: no rule is written here.
//!
//! A mutant is made by what the core is told, so that the code that decides is the one that ships.

use zeta_core::evidence::{self, FileTimes, Found, Process, Processes, join, judge_process};
use zeta_core::lease::{
    AcquireRequest, Acquired, Cause, Checked, FencingToken, Observed, Policy, Record, Released,
    Renewed, Standing, check_margin_ms, decide_acquire, decide_check, decide_release, decide_renew,
    judge,
};
use zeta_core::time::{Host, NS_PER_MS, Now, Reading};

use super::mutant::Mutant;
use super::protocol::Protocol;
use super::world::{Clock, GRACE_TICKS, Kind, Lease, Life, Seen, TICK_MS, TTL_TICKS, World};

const TTL_MS: u64 = TTL_TICKS as u64 * TICK_MS;
const GRACE_MS: u64 = GRACE_TICKS as u64 * TICK_MS;

/// The answer to an acquire, in the model's words.
pub enum Answer {
    Grant(Lease, Cause),
    Again(Lease),
    Refused,
}

/// A host: one kernel, but `boot` may differ, as in a container.
pub fn host(boot: u8) -> Host {
    Host {
        boot_id: boot.to_string(),
        machine_id: Some("m".into()),
        pid_ns: Some(1),
        time_ns: Some(zeta_core::evidence::FIRST_TIME_NS),
    }
}

fn reading(clock: Clock) -> Reading {
    let boot_ns = u64::from(clock.tick) * TICK_MS * NS_PER_MS;
    Reading { boot_ns, awake_ns: boot_ns, wall_us: clock.wall_us }
}

/// Is a lease that was renewed at `renewed` good by its holder's own reckoning?
pub fn is_good(renewed: u8, tick: u8) -> bool {
    u64::from(tick - renewed) * TICK_MS < TTL_MS - check_margin_ms(TTL_MS)
}

fn process(pid: u32, incarnation: u8) -> Process {
    Process { pid, start_ticks: None, pidfs_ino: Some(incarnation.into()) }
}

impl Protocol {
    fn processes(&self, owner: u8, incarnation: u8) -> Processes {
        let kind = self.kinds[usize::from(owner)];
        let pid = u32::from(owner) + 1;
        Processes {
            own: (kind != Kind::Session).then(|| process(pid, incarnation)),
            child: (kind == Kind::Wrapper).then(|| process(pid + 100, incarnation)),
            pid_ns: Some(1),
        }
    }

    /// Asks the processes of a record, as the reader at `at` finds them.
    pub fn life(&self, world: &World, lease: &Lease, at: usize) -> Life {
        let owner = &world.procs[usize::from(lease.owner)];
        if self.boots[usize::from(lease.owner)] != self.boots[at] {
            return Life::Unknown;
        }
        let found = |alive| match alive {
            true => Found::Something {
                ended: false,
                pidfs_ino: Some(owner.incarnation.into()),
                start_ticks: None,
            },
            false => Found::Nothing,
        };
        let recorded = self.processes(lease.owner, lease.incarnation);
        let own = recorded.own.map(|own| judge_process(&own, found(owner.alive)));
        let child = match self.mutant {
            Some(Mutant::WrapperAlone) => None,
            _ => recorded.child.map(|child| judge_process(&child, found(owner.child_alive))),
        };
        match join(own.into_iter().chain(child)) {
            evidence::ProcessState::Alive => Life::Alive,
            evidence::ProcessState::Dead => Life::Dead,
            evidence::ProcessState::Unknown => Life::Unknown,
        }
    }

    fn record(&self, lease: &Lease) -> Record {
        let owner = usize::from(lease.owner);
        let stamp = evidence::Stamp {
            boot_id: self.boots[owner].to_string(),
            machine_id: Some("m".into()),
            time_ns: Some(zeta_core::evidence::FIRST_TIME_NS),
            boot_ns: reading(lease.renewed).boot_ns,
            wall_us: Some(lease.renewed.wall_us),
        };
        Record {
            lease: self.name.clone(),
            fencing_token: FencingToken::new(lease.token).expect("tokens of the model are small"),
            lease_id: lease.id.to_string(),
            agent: self.agent.clone(),
            session: Some(self.sessions[owner].to_string()),
            processes: self.processes(lease.owner, lease.incarnation),
            pr: None,
            uid: None,
            acquired_boot_ns: stamp.boot_ns,
            renewed: stamp,
            acquired_us: None,
            ttl_ms: TTL_MS,
            grace_ms: if self.mutant == Some(Mutant::NoGrace) { 0 } else { GRACE_MS },
            policy: Policy::Reclaim,
            renew_seq: 0,
            purpose: None,
            extra: Vec::new(),
        }
    }

    fn observed(&self, seen: &Seen) -> Observed {
        let Some(lease) = &seen.lease else { return Observed::Absent };
        let life = match seen.life {
            Life::Unknown if self.mutant == Some(Mutant::UnknownIsDead) => {
                evidence::ProcessState::Dead
            }
            Life::Unknown => evidence::ProcessState::Unknown,
            Life::Alive => evidence::ProcessState::Alive,
            Life::Dead => evidence::ProcessState::Dead,
        };
        let changed_us = lease.renewed.wall_us;
        let times = FileTimes { mtime_us: changed_us, ctime_us: changed_us };
        Observed::Ours(Box::new(self.record(lease)), times, life)
    }

    /// The observed thing as mutants would have it seen before an acquire.
    fn distorted(&self, seen: &Seen, at: usize, ask: &AcquireRequest) -> Observed {
        let mut observed = self.observed(seen);
        if let Observed::Ours(record, ..) = &mut observed {
            if self.mutant == Some(Mutant::LeaseIdWithoutSession) {
                record.session = ask.session.clone();
            }
            let elsewhere = record.renewed.boot_id != self.boots[at].to_string();
            if self.mutant == Some(Mutant::BootIdAlone) && elsewhere {
                record.renewed.boot_ns = i64::MAX as u64;
            }
        }
        observed
    }

    /// Decides an acquire of `at`.
    pub fn acquire(&self, world: &World, at: usize, seen: &Seen, clock: Clock) -> Answer {
        let me = &world.procs[at];
        let host = host(self.boots[at]);
        let now = Now { reading: reading(clock), host: &host };
        let ask = AcquireRequest {
            lease: self.name.clone(),
            lease_id: me.id.to_string(),
            agent: self.agent.clone(),
            session: Some(self.sessions[at].to_string()),
            processes: self.processes(at as u8, me.incarnation),
            pr: None,
            uid: 1,
            ttl_ms: TTL_MS,
            grace_ms: Some(GRACE_MS),
            policy: Policy::Reclaim,
            purpose: None,
            joint: None,
            in_cluster: false,
        };
        let guard = me.guard.map(|guard| &world.guards[usize::from(guard)]);
        let in_file = guard.and_then(|guard| guard.token_file).unwrap_or(0);
        let highest = if self.mutant == Some(Mutant::TokenWithoutFile) { 0 } else { in_file };
        match decide_acquire(&self.distorted(seen, at, &ask), &ask, highest, false, &now) {
            Acquired::Again(_) => seen.lease.map_or(Answer::Refused, Answer::Again),
            Acquired::Grant(record, cause) => {
                let token = match self.mutant {
                    Some(Mutant::TokenWithoutRecord) => {
                        FencingToken::after(highest, None, clock.wall_us)
                    }
                    _ => Some(record.fencing_token),
                };
                let lease = Lease {
                    token: token.expect("the range is not used up").get(),
                    owner: at as u8,
                    id: me.id,
                    incarnation: me.incarnation,
                    renewed: clock,
                    entered: me.entered,
                    valid: false,
                };
                Answer::Grant(lease, cause)
            }
            _ => Answer::Refused,
        }
    }

    /// Decides a renewal by `at`; `None` if the lease is lost.
    pub fn renew(&self, world: &World, at: usize, seen: &Seen, clock: Clock) -> Option<Lease> {
        let host = host(self.boots[at]);
        let now = Now { reading: reading(clock), host: &host };
        let token = FencingToken::new(world.procs[at].token)?;
        match decide_renew(&self.observed(seen), token, None, &now) {
            Renewed::Write { .. } => {
                let entered = world.procs[at].entered;
                seen.lease.map(|lease| Lease { renewed: clock, entered, ..lease })
            }
            Renewed::Lost(_) => None,
        }
    }

    /// Decides a release by `at`.
    pub fn release(&self, world: &World, at: usize, seen: &Seen) -> Option<Released> {
        let me = &world.procs[at];
        let guard = me.guard.map(|guard| &world.guards[usize::from(guard)]);
        let highest = guard.and_then(|guard| guard.token_file).unwrap_or(0);
        let token = FencingToken::new(me.token)?;
        Some(decide_release(&self.observed(seen), token, highest, false))
    }

    /// Does the lease of `at` pass a check?
    pub fn passes_check(&self, at: usize, token: u64, seen: &Seen, clock: Clock) -> bool {
        let host = host(self.boots[at]);
        let now = Now { reading: reading(clock), host: &host };
        let Some(token) = FencingToken::new(token) else { return false };
        matches!(decide_check(&self.observed(seen), token, &now), Checked::Good { .. })
    }

    /// May a stranger be granted what stands there at `clock`?
    pub fn is_grantable(&self, world: &World, clock: Clock, lease: Lease) -> bool {
        let stranger = usize::from(lease.owner);
        let host = host(self.boots[stranger]);
        let now = Now { reading: reading(clock), host: &host };
        let seen = Seen { lease: Some(lease), life: self.life(world, &lease, stranger) };
        matches!(judge(&self.observed(&seen), &now), Standing::Grantable(_))
    }
}
