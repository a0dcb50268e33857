//! One bounded configuration of the protocol as a searchable model: who is in it, what may happen.

use stateright::{Model, Property};
use zeta_core::name::{Label, RecordName};

use super::bridge::is_good;
use super::claim;
use super::mutant::Mutant;
use super::world::{Fault, Faults, Kind, Meddling, Op, Outcome, Pc, Plan, Proc, TTL_TICKS, World};

/// Who takes part and how much may happen.
#[derive(Clone, Debug)]
pub struct Protocol {
    pub kinds: Vec<Kind>,
    /// Session and first lease id of each.
    pub sessions: Vec<u8>,
    pub ids: Vec<u8>,
    /// The boot id that each one sees.
    pub boots: Vec<u8>,
    pub ops: Vec<Op>,
    pub calls: u8,
    pub ticks: u8,
    pub crashes: u8,
    pub meddling: Vec<Meddling>,
    pub meddlings: u8,
    /// Holders also check outside of the guard and then write to a resource that checks nothing.
    pub unfenced: bool,
    /// What is not promised, to show that it can happen.
    pub limit: Option<Fault>,
    /// A call that was told status 7 is repeated under the same lease id.
    pub repeats_unsafe: bool,
    /// An acquire is repeated in the session of a holder whose processes have ended.
    pub repeats_dead: bool,
    /// Steps that only read, or only tell, are one with the step before: fewer states.
    pub coarse: bool,
    pub mutant: Option<Mutant>,
    pub name: RecordName,
    pub agent: Label,
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Start(usize, Op),
    Step(usize, Pc),
    /// SIGKILL of a process; its child, if it has one at work, lives on.
    Crash(usize),
    ChildEnds(usize),
    Restart(usize),
    CheckOutside(usize),
    WriteUnfenced(usize),
    Meddle(Meddling),
    Tick,
}

impl Protocol {
    /// Processes of these kinds that acquire, renew and release; nobody crashes or meddles.
    pub fn of(kinds: &[Kind]) -> Protocol {
        let count = kinds.len() as u8;
        Protocol {
            kinds: kinds.to_vec(),
            sessions: (0..count).collect(),
            ids: (0..count).map(|at| at * 10).collect(),
            boots: vec![0; kinds.len()],
            ops: vec![Op::Acquire, Op::Renew, Op::Release],
            calls: 1,
            ticks: TTL_TICKS + 2,
            crashes: 0,
            meddling: Vec::new(),
            meddlings: 0,
            unfenced: false,
            limit: None,
            repeats_unsafe: false,
            repeats_dead: false,
            coarse: false,
            mutant: None,
            name: RecordName::new("lease", "l").expect("it is a name"),
            agent: Label::new("agent", "a").expect("it is a name"),
        }
    }

    fn start(&self, world: &World, at: usize, op: Op) -> Option<World> {
        let me = &world.procs[at];
        let allowed = match op {
            Op::Acquire => me.belief.is_none_or(|belief| !is_good(belief.renewed, world.tick)),
            // Also with a token that was lost since.
            Op::Renew | Op::Release | Op::Fenced => me.token > 0,
        };
        if me.pc != Pc::Idle || me.calls_left == 0 || !allowed {
            return None;
        }
        let mut world = world.clone();
        let me = &mut world.procs[at];
        me.calls_left -= 1;
        (me.op, me.pc) = (op, Pc::Open);
        if op == Op::Release {
            // The belief goes first, and the child has ended before.
            (me.belief, me.child_alive) = (None, false);
        }
        self.step(&mut world, at).then_some(world)
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let proc = |id: &u8| Proc {
            pc: Pc::Idle,
            op: Op::Acquire,
            guard: None,
            kept: false,
            entered: 0,
            seen: None,
            now: None,
            plan: Plan::Nothing,
            outcome: Outcome::Refused,
            committed: None,
            belief: None,
            token: 0,
            id: *id,
            incarnation: 1,
            alive: true,
            child_alive: false,
            calls_left: self.calls,
        };
        vec![World {
            tick: 0,
            wall_back: false,
            tokens_made: 0,
            guards: Vec::new(),
            named: None,
            lease: None,
            procs: self.ids.iter().map(proc).collect(),
            crashes_left: self.crashes,
            meddling_left: self.meddlings,
            memory_lost: false,
            record_deleted: false,
            meddled: false,
            highest_grant: 0,
            fenced: 0,
            unfenced: 0,
            faults: Faults::default(),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (at, proc) in world.procs.iter().enumerate() {
            match proc.pc {
                Pc::Idle => actions.extend(self.ops.iter().map(|op| Action::Start(at, *op))),
                Pc::Dead => actions.push(Action::Restart(at)),
                Pc::WillWrite => actions.push(Action::WriteUnfenced(at)),
                pc => actions.push(Action::Step(at, pc)),
            }
            if self.unfenced && proc.pc == Pc::Idle {
                actions.push(Action::CheckOutside(at));
            }
            actions.push(Action::Crash(at));
            actions.push(Action::ChildEnds(at));
        }
        actions.extend(self.meddling.iter().map(|meddling| Action::Meddle(*meddling)));
        actions.push(Action::Tick);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        match action {
            Action::Start(at, op) => self.start(world, at, op),
            Action::Step(at, _) => {
                let mut next = world.clone();
                self.step(&mut next, at).then_some(next)
            }
            Action::Crash(at) => self.crash(world, at),
            Action::ChildEnds(at) => self.child_ends(world, at),
            Action::Restart(at) => self.restart(world, at),
            Action::CheckOutside(at) => self.check_outside(world, at),
            Action::WriteUnfenced(at) => self.write_unfenced(world, at),
            Action::Meddle(meddling) => self.meddle(world, meddling),
            Action::Tick => {
                (world.tick < self.ticks).then(|| World { tick: world.tick + 1, ..world.clone() })
            }
        }
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        claim::all()
    }
}
