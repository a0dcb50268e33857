//! The steps of a call, one per moment at which somebody may come between or a kill may strike.

use zeta_core::lease::{Cause, Released};

use super::bridge::Answer;
use super::mutant::Mutant;
use super::protocol::Protocol;
use super::world::{
    Belief, Fault, GRACE_TICKS, Guard, Kind, Lease, Life, Op, Outcome, Pc, Plan, Seen, TTL_TICKS,
    World,
};

impl Protocol {
    /// Does the next step of `at`; false if it cannot be done now.
    pub fn step(&self, world: &mut World, at: usize) -> bool {
        if !self.one_step(world, at) {
            return false;
        }
        while self.coarse && is_private(world.procs[at].pc) {
            self.one_step(world, at);
        }
        true
    }

    fn one_step(&self, world: &mut World, at: usize) -> bool {
        let next = match world.procs[at].pc {
            Pc::Open => self.open(world, at),
            Pc::Flock => match self.flock(world, at) {
                Some(next) => next,
                None => return false,
            },
            Pc::Identify => self.identify(world, at),
            Pc::Read => {
                if self.mutant != Some(Mutant::NoReadInside) {
                    self.read(world, at);
                }
                Pc::Clock
            }
            Pc::Clock => {
                if self.mutant != Some(Mutant::ClockBeforeFlock) {
                    world.procs[at].now = Some(world.clock());
                }
                Pc::Decide
            }
            Pc::Decide => self.decide(world, at),
            Pc::Remember => self.remember(world, at),
            Pc::Commit => self.commit(world, at),
            Pc::IdentifyAgain => self.identify_again(world, at),
            Pc::RememberLate => match self.remember(world, at) {
                Pc::Commit => Pc::Unlock,
                failed => failed,
            },
            Pc::Effect => self.effect(world, at),
            Pc::Orphan => {
                self.effect(world, at);
                world.unlock(at);
                world.procs[at].guard = None;
                Pc::Dead
            }
            Pc::Unlock => {
                world.unlock(at);
                Pc::Answer
            }
            Pc::Answer => self.answer(world, at),
            Pc::Idle | Pc::Dead | Pc::WillWrite => return false,
        };
        world.procs[at].pc = next;
        if next == Pc::Idle {
            self.forget_call(world, at);
        }
        true
    }

    /// What a call kept in its memory is gone; a guard that is kept open stays.
    pub fn forget_call(&self, world: &mut World, at: usize) {
        let me = &mut world.procs[at];
        (me.seen, me.now, me.committed, me.entered) = (None, None, None, 0);
        (me.plan, me.outcome, me.op) = (Plan::Nothing, Outcome::Refused, Op::Acquire);
        if self.kinds[at] == Kind::Session {
            me.guard = None;
        }
        me.kept = me.guard.is_some();
    }

    fn open(&self, world: &mut World, at: usize) -> Pc {
        // By hand, nothing is made in order to renew or release.
        let makes = world.procs[at].op == Op::Acquire
            || self.kinds[at] != Kind::Session && world.procs[at].op != Op::Fenced;
        if world.procs[at].guard.is_none() {
            if world.named.is_none() {
                if !makes {
                    world.procs[at].outcome = Outcome::Lost;
                    return Pc::Answer;
                }
                world.guards.push(Guard { exists: true, token_file: None, locked_by: None });
                world.named = Some(world.guards.len() as u8 - 1);
            }
            world.procs[at].guard = world.named;
        }
        match self.mutant {
            Some(Mutant::NoReadInside) => self.read(world, at),
            Some(Mutant::ClockBeforeFlock) => world.procs[at].now = Some(world.clock()),
            _ => {}
        }
        Pc::Flock
    }

    fn flock(&self, world: &mut World, at: usize) -> Option<Pc> {
        world.procs[at].entered = world.tick;
        if self.mutant == Some(Mutant::NoFlock) {
            return Some(Pc::Identify);
        }
        let guard = world.guard(at);
        if guard.locked_by.is_some() {
            return None;
        }
        guard.locked_by = Some(at as u8);
        Some(Pc::Identify)
    }

    fn identify(&self, world: &mut World, at: usize) -> Pc {
        if world.is_named(at) {
            return Pc::Read;
        }
        world.unlock(at);
        let me = &mut world.procs[at];
        me.guard = None;
        if me.kept {
            // Opened anew, once.
            me.kept = false;
            return Pc::Open;
        }
        me.outcome = Outcome::Unsafe;
        Pc::Answer
    }

    fn read(&self, world: &mut World, at: usize) {
        let life = world.lease.as_ref().map(|lease| self.life(world, lease, at));
        let seen = Seen { lease: world.lease, life: life.unwrap_or(Life::Unknown) };
        world.procs[at].seen = Some(seen);
    }

    fn decide(&self, world: &mut World, at: usize) -> Pc {
        let me = &world.procs[at];
        let (seen, now) = (me.seen.expect("it was read"), me.now.expect("it was read"));
        match me.op {
            Op::Acquire => match self.acquire(world, at, &seen, now) {
                Answer::Grant(lease, cause) => {
                    self.judge_grant(world, at, cause);
                    world.tokens_made += 1;
                    world.procs[at].plan = Plan::Grant(lease);
                    match self.mutant {
                        Some(Mutant::TokenAfterCommit) => Pc::Commit,
                        _ => Pc::Remember,
                    }
                }
                // A wrapper says: this attempt holds the lease already.
                Answer::Again(lease) if self.kinds[at] != Kind::Wrapper => {
                    if lease.token < world.highest_grant {
                        world.faults.add(Fault::OldTokenAgain);
                    }
                    world.highest_grant = world.highest_grant.max(lease.token);
                    world.procs[at].outcome = Outcome::Again(lease);
                    Pc::Unlock
                }
                Answer::Again(_) | Answer::Refused => Pc::Unlock,
            },
            Op::Renew => match self.renew(world, at, &seen, now) {
                Some(lease) => {
                    world.procs[at].plan = Plan::Renew(lease);
                    Pc::Commit
                }
                None => lost(world, at),
            },
            Op::Release => match self.release(world, at, &seen) {
                Some(Released::Remove) => {
                    world.procs[at].plan = Plan::Remove;
                    Pc::Commit
                }
                Some(Released::Already) => {
                    world.procs[at].outcome = Outcome::Released;
                    Pc::Unlock
                }
                _ => lost(world, at),
            },
            Op::Fenced => {
                let unchecked = self.mutant == Some(Mutant::FencedWithoutCheck);
                match unchecked || self.passes_check(at, me.token, &seen, now) {
                    true => Pc::Effect,
                    false => lost(world, at),
                }
            }
        }
    }

    /// Looks at the world, as no process can, whether a takeover was right.
    fn judge_grant(&self, world: &mut World, at: usize, cause: Cause) {
        let me = &world.procs[at];
        let (seen, now) = (me.seen.expect("it was read"), me.now.expect("it was read"));
        let Some(lease) = seen.lease else { return };
        let owner = &world.procs[usize::from(lease.owner)];
        let kind = self.kinds[usize::from(lease.owner)];
        let same = owner.incarnation == lease.incarnation;
        let lives = kind == Kind::Session || same && (owner.alive || owner.child_alive);
        let provable = kind != Kind::Session
            && self.boots[usize::from(lease.owner)] == self.boots[at]
            && seen.life == Life::Alive;
        let bound = if provable { TTL_TICKS + GRACE_TICKS } else { TTL_TICKS };
        let fault = match cause {
            Cause::HolderDead if lives => Fault::LivingCalledDead,
            Cause::OtherBoot => Fault::OtherBootOnThisBoot,
            Cause::Expired | Cause::Overdue if now.tick.saturating_sub(lease.entered) <= bound => {
                Fault::RobbedEarly
            }
            _ => return,
        };
        world.faults.add(fault);
    }

    fn remember(&self, world: &mut World, at: usize) -> Pc {
        let Plan::Grant(lease) = world.procs[at].plan else { return Pc::Commit };
        if self.kinds[at] == Kind::Wrapper {
            // Forked before the commit, and held at its gate until the answer.
            world.procs[at].child_alive = true;
        }
        let guard = world.guard(at);
        // A token file that was opened before can be written to after it was removed.
        if !guard.exists && guard.token_file.is_none() && self.mutant != Some(Mutant::GuardIsAFile)
        {
            return mismatch(world, at);
        }
        guard.token_file = Some(lease.token);
        Pc::Commit
    }

    fn commit(&self, world: &mut World, at: usize) -> Pc {
        let plan = world.procs[at].plan;
        let is_file = self.mutant == Some(Mutant::GuardIsAFile);
        let by_name =
            is_file || plan == Plan::Remove && self.mutant == Some(Mutant::ReleaseByUnlink);
        if !world.guard(at).exists && !by_name {
            return mismatch(world, at);
        }
        let token = world.procs[at].token;
        let seen = world.procs[at].seen.and_then(|seen| seen.lease);
        let stands = world.lease;
        match plan {
            Plan::Grant(_) if seen.is_none() && stands.is_some() => {
                // RENAME_NOREPLACE.
                return mismatch(world, at);
            }
            Plan::Grant(lease) => self.commit_grant(world, at, lease),
            Plan::Renew(lease) => {
                world.lease = Some(Lease { valid: world.is_named(at), ..lease });
            }
            Plan::Remove => world.lease = None,
            Plan::Nothing => {}
        }
        let named = world.is_named(at);
        let moved = world.guard(at).exists && !named;
        if !matches!(plan, Plan::Grant(_))
            && stands.is_some_and(|lease| lease.valid && lease.token != token)
        {
            match moved {
                true => world.faults.add(Fault::LimitOfMovedGuard),
                false => world.faults.add(Fault::NotTheHoldersChange),
            }
            world.meddled |= moved;
        }
        world.procs[at].committed = Some(named);
        match self.mutant {
            Some(Mutant::GuardIsAFile | Mutant::NoIdentityAfterCommit) => self.done(world, at),
            _ => Pc::IdentifyAgain,
        }
    }

    fn commit_grant(&self, world: &mut World, at: usize, lease: Lease) {
        let seen = world.procs[at].seen.and_then(|seen| seen.lease);
        let record_gone = seen.is_none();
        let valid = world.is_named(at);
        if !valid && world.lease.is_some_and(|stands| Some(stands) != seen) {
            world.faults.add(Fault::LimitOfMovedGuard);
        }
        world.lease = Some(Lease { valid, ..lease });
        if !valid {
            return;
        }
        if lease.token <= world.highest_grant {
            let limit = world.wall_back && world.memory_lost && record_gone;
            let fault = match (limit, world.record_deleted) {
                (true, true) => Fault::LimitOfTokens,
                (true, false) => Fault::LimitOfTokensAfterRelease,
                (false, _) => Fault::TokenNotLarger,
            };
            world.faults.add(fault);
            // From here on the numbers begin anew.
            (world.fenced, world.unfenced) = (0, 0);
        }
        world.highest_grant = lease.token;
    }

    fn identify_again(&self, world: &mut World, at: usize) -> Pc {
        if world.is_named(at) {
            return self.done(world, at);
        }
        let retries = self.mutant == Some(Mutant::RetryAfterMismatch);
        if world.procs[at].committed == Some(false) && !retries && !self.repeats_unsafe {
            // What it wrote grants nothing, but it may have cost somebody a record.
            world.meddled = true;
        }
        if retries {
            world.unlock(at);
            let me = &mut world.procs[at];
            (me.guard, me.kept, me.plan, me.committed) = (None, false, Plan::Nothing, None);
            (me.seen, me.now) = (None, None);
            return Pc::Open;
        }
        mismatch(world, at)
    }

    fn done(&self, world: &mut World, at: usize) -> Pc {
        let me = &mut world.procs[at];
        me.outcome = match me.plan {
            Plan::Grant(lease) => Outcome::Granted(lease),
            Plan::Renew(lease) => Outcome::Renewed(lease),
            Plan::Remove => Outcome::Released,
            Plan::Nothing => Outcome::Refused,
        };
        match (self.mutant, me.plan) {
            (Some(Mutant::TokenAfterCommit), Plan::Grant(_)) => Pc::RememberLate,
            _ => Pc::Unlock,
        }
    }

    fn effect(&self, world: &mut World, at: usize) -> Pc {
        let token = world.procs[at].token;
        if token < world.fenced {
            world.faults.add(match world.is_named(at) {
                true => Fault::FencedOutOfOrder,
                false => Fault::LimitOfFence,
            });
        }
        world.fenced = world.fenced.max(token);
        Pc::Unlock
    }

    fn answer(&self, world: &mut World, at: usize) -> Pc {
        let told = world.procs[at].outcome;
        let granted = matches!(told, Outcome::Granted(_));
        if granted && world.procs[at].committed != Some(true) {
            world.faults.add(Fault::NamelessGuardGrants);
        }
        let me = &mut world.procs[at];
        match told {
            Outcome::Granted(lease) | Outcome::Again(lease) | Outcome::Renewed(lease) => {
                me.token = lease.token;
                me.belief = Some(Belief { token: lease.token, renewed: lease.renewed.tick });
            }
            Outcome::Lost => me.belief = None,
            Outcome::Unsafe if me.op == Op::Acquire && !self.repeats_unsafe => me.id += 1,
            Outcome::Refused | Outcome::Released | Outcome::Unsafe => {}
        }
        if me.op == Op::Acquire && !matches!(told, Outcome::Granted(_)) {
            // It never left its gate.
            me.child_alive = false;
        }
        Pc::Idle
    }
}

/// Steps that only read what nobody may change meanwhile, or only tell.
fn is_private(pc: Pc) -> bool {
    matches!(pc, Pc::Identify | Pc::Read | Pc::Clock | Pc::Decide | Pc::Unlock | Pc::Answer)
}

fn lost(world: &mut World, at: usize) -> Pc {
    world.procs[at].outcome = Outcome::Lost;
    Pc::Unlock
}

fn mismatch(world: &mut World, at: usize) -> Pc {
    world.procs[at].outcome = Outcome::Unsafe;
    Pc::Unlock
}
