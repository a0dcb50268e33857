//! What happens to a process from outside of its call: death, a new start, other hands, the clock.

use super::protocol::Protocol;
use super::world::{Belief, Fault, Kind, Life, Meddling, Pc, Plan, Seen, World};

impl Protocol {
    /// SIGKILL. A session goes on after a call of it was killed; a process does not.
    pub fn crash(&self, world: &World, at: usize) -> Option<World> {
        let me = &world.procs[at];
        let by_hand = self.kinds[at] == Kind::Session;
        let at_rest = me.pc == Pc::Idle && by_hand;
        if world.crashes_left == 0 || at_rest || matches!(me.pc, Pc::Dead | Pc::Orphan) {
            return None;
        }
        let mut world = world.clone();
        world.crashes_left -= 1;
        if world.procs[at].committed == Some(false) {
            // As after a mismatch: its void record may stand where another one stood.
            world.meddled = true;
        }
        let orphan = world.procs[at].pc == Pc::Effect;
        if !orphan {
            world.unlock(at);
        }
        let me = &mut world.procs[at];
        let at_gate = matches!(me.plan, Plan::Grant(_));
        if at_gate {
            me.child_alive = false;
        }
        if !by_hand {
            me.alive = false;
            if !me.child_alive {
                me.belief = None;
            }
        }
        if orphan {
            me.pc = Pc::Orphan;
            return Some(world);
        }
        let pc = if by_hand { Pc::Idle } else { Pc::Dead };
        me.pc = pc;
        me.guard = None;
        self.forget_call(&mut world, at);
        Some(world)
    }

    /// A child of a killed wrapper ends.
    pub fn child_ends(&self, world: &World, at: usize) -> Option<World> {
        let me = &world.procs[at];
        if !me.child_alive || me.alive {
            return None;
        }
        let mut world = world.clone();
        let me = &mut world.procs[at];
        (me.child_alive, me.belief) = (false, None);
        Some(world)
    }

    /// A new process, which got the number of the dead one, or a session's next call.
    pub fn restart(&self, world: &World, at: usize) -> Option<World> {
        if world.procs[at].child_alive {
            return None;
        }
        let mut world = world.clone();
        let me = &mut world.procs[at];
        me.pc = Pc::Idle;
        if self.kinds[at] != Kind::Session {
            (me.alive, me.token) = (true, 0);
            me.incarnation += 1;
            if !self.repeats_dead {
                me.id += 1;
            }
        }
        Some(world)
    }

    /// `check`, without the guard; the caller goes on to write.
    pub fn check_outside(&self, world: &World, at: usize) -> Option<World> {
        let Belief { token, .. } = world.procs[at].belief?;
        let seen = Seen { lease: world.lease, life: Life::Unknown };
        if !self.passes_check(at, token, &seen, world.clock()) {
            return None;
        }
        let mut world = world.clone();
        world.procs[at].pc = Pc::WillWrite;
        Some(world)
    }

    /// The write that followed a check, however long afterwards.
    pub fn write_unfenced(&self, world: &World, at: usize) -> Option<World> {
        let mut world = world.clone();
        let token = world.procs[at].token;
        if token < world.unfenced {
            world.faults.add(Fault::UnfencedOutOfOrder);
        }
        world.unfenced = world.unfenced.max(token);
        world.procs[at].pc = Pc::Idle;
        Some(world)
    }

    /// Something outside of the protocol touches its files or sets the wall clock.
    pub fn meddle(&self, world: &World, meddling: Meddling) -> Option<World> {
        if world.meddling_left == 0 {
            return None;
        }
        let mut next = world.clone();
        next.meddling_left -= 1;
        match meddling {
            Meddling::RemoveGuard => {
                let guard = &mut next.guards[usize::from(world.named?)];
                (guard.exists, guard.token_file) = (false, None);
                (next.named, next.memory_lost) = (None, true);
            }
            Meddling::MoveGuard => {
                world.named?;
                (next.named, next.memory_lost) = (None, true);
            }
            Meddling::LoseTokenFile => {
                let guard = &mut next.guards[usize::from(world.named?)];
                guard.token_file.take()?;
                next.memory_lost = true;
            }
            Meddling::DeleteRecord => {
                next.lease.take()?;
                (next.record_deleted, next.meddled) = (true, true);
            }
            Meddling::SetWallBack => {
                if world.wall_back {
                    return None;
                }
                next.wall_back = true;
            }
        }
        Some(next)
    }
}
