//! What may happen next in a cluster, and what it does.

use zeta_core::cluster::epoch::{Remembered, Seen as StoreSeen, Verdict, judge_store};
use zeta_core::cluster::lease::{
    Answer, Call, Entry, Grant, Observed, Op, Outcome, Scope, Step, deadline_ns,
};
use zeta_core::cluster::subject::Stream;
use zeta_core::evidence::{Age, ProcessState};
use zeta_core::time::{NS_PER_MS, Now};

use super::mutant::Mutant;
use super::world::{Belief, Flight, World, record_of};

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Tick(u64),
    Acquire(usize),
    Renew(usize),
    Release(usize),
    /// A bridge ends what its dead hold, and what is over.
    End(usize),
    /// A call reads: the last value, or one so many writes before it.
    Read(usize, usize),
    /// A bridge reads all leases.
    Watch(usize),
    Arrive(usize),
    /// A write is refused although it expects the right revision, as three replicas do under load.
    Refuse(usize),
    Drop(usize),
    Answer(usize),
    /// A process waits no longer.
    Timeout(usize),
    GiveUp(usize),
    Crash(usize),
    Reboot(usize),
    /// The store loses its last values.
    Lose(usize),
    /// A bridge compares the store with what it remembers.
    Look(usize),
    /// The server's clock is set.
    Jump(i64),
}

/// Each action that is possible, with these lengths of time.
pub fn actions(world: &World, ticks: &[u64]) -> Vec<Action> {
    let mut actions = Vec::new();
    let budget = world.budget;
    if budget.ticks > 0 {
        actions.extend(ticks.iter().map(|ms| Action::Tick(*ms)));
    }
    for (at, proc) in world.procs.iter().enumerate() {
        match (&proc.call, proc.waits) {
            (Some(_), Some(_)) if budget.timeouts > 0 => actions.push(Action::Timeout(at)),
            (Some(_), Some(_)) => {}
            (Some(_), None) => {
                actions.push(Action::GiveUp(at));
                if world.next_number >= budget.writes {
                    continue;
                }
                actions.push(Action::Read(at, 0));
                if budget.stale > 0 {
                    actions.extend((1..3).map(|back| Action::Read(at, back)));
                }
            }
            (None, _) if budget.calls == 0 || world.next_number >= budget.writes => {}
            (None, _) if proc.belief.is_some() => {
                actions.extend([Action::Renew(at), Action::Release(at)]);
            }
            (None, _) => {
                if proc.attempts < budget.attempts || proc.unknown.is_some() {
                    actions.push(Action::Acquire(at));
                }
                actions.push(Action::End(at));
            }
        }
    }
    if budget.crashes > 0 {
        actions.extend((0..world.procs.len()).map(Action::Crash));
    }
    for (at, flight) in world.flights.iter().enumerate() {
        if flight.answer.is_none() {
            actions.push(Action::Arrive(at));
            if budget.stale > 0 {
                actions.push(Action::Refuse(at));
            }
        } else {
            actions.push(Action::Answer(at));
        }
        actions.push(Action::Drop(at));
    }
    for node in 0..world.nodes.len() {
        actions.push(Action::Watch(node));
        if world.nodes[node].last_sequence != world.sequence()
            || world.nodes[node].meta != world.meta
        {
            actions.push(Action::Look(node));
        }
        if budget.reboots > 0 {
            actions.push(Action::Reboot(node));
        }
    }
    if budget.losses > 0 {
        actions.extend((1..4.min(world.log.len() + 1)).map(Action::Lose));
    }
    if budget.jumps > 0 {
        actions.extend([-40_000, 25_000].map(Action::Jump));
    }
    actions
}

/// Does it. Actions that change nothing are allowed.
pub fn apply(world: &mut World, action: Action) {
    match action {
        Action::Tick(ms) => {
            world.budget.ticks -= 1;
            world.true_ms += ms;
        }
        Action::Acquire(at) => acquire(world, at),
        Action::Renew(at) => {
            if let Some(belief) = world.procs[at].belief.clone() {
                let token = belief.grant.record.fencing_token;
                let known = of_belief(world, at, &belief);
                start(world, at, Op::Renew { token, ttl_ms: None }, known);
            }
        }
        Action::Release(at) => {
            // The belief goes first.
            if let Some(belief) = world.procs[at].belief.take() {
                let token = belief.grant.record.fencing_token;
                let known = of_belief(world, at, &belief);
                start(world, at, Op::Release { token }, known);
            }
        }
        Action::End(at) => {
            let known = world.observed(world.procs[at].node, world.procs[at].lease);
            start(world, at, Op::End, known);
        }
        Action::Read(at, back) => read(world, at, back),
        Action::Watch(node) => (0..world.highest.len()).for_each(|lease| watch(world, node, lease)),
        Action::Arrive(at) => world.land(at),
        Action::Refuse(at) => {
            world.budget.stale -= 1;
            world.flights[at].answer = Some(Answer::Refused);
        }
        Action::Drop(at) => {
            world.flights.remove(at);
        }
        Action::Answer(at) => answer(world, at),
        Action::Timeout(at) => {
            world.budget.timeouts -= 1;
            world.procs[at].waits = None;
            let silence =
                if world.is(Mutant::SilenceIsRefusal) { Answer::Refused } else { Answer::Unknown };
            let terms = world.terms(world.procs[at].node);
            with_call(world, at, |call, now| call.answer(silence, &terms, now));
        }
        Action::GiveUp(at) => {
            if let Some(outcome) = world.procs[at].call.as_ref().map(Call::give_up) {
                // A holder that gives up at its deadline is not told that its grant is gone.
                world.procs[at].op.take_if(|op| matches!(op, Op::Renew { .. }));
                finish(world, at, outcome);
            }
        }
        Action::Crash(at) => {
            world.budget.crashes -= 1;
            end_process(world, at);
        }
        Action::Reboot(node) => reboot(world, node),
        Action::Lose(count) => {
            world.budget.losses -= 1;
            let kept = world.log.len() - count;
            world.log.truncate(kept);
            world.lost_in_epoch = Some(world.meta.epoch);
        }
        Action::Look(node) => look(world, node),
        Action::Jump(ms) => {
            world.budget.jumps -= 1;
            world.server_offset_ms += ms;
        }
    }
}

fn of_belief(world: &World, at: usize, belief: &Belief) -> Observed {
    let node = world.procs[at].node;
    let scope = Scope { epoch: belief.epoch, ..world.terms(node).scope() };
    Observed {
        epoch: belief.epoch,
        revision: belief.grant.revision,
        entry: Entry::Grant(belief.grant.record.clone(), scope),
        unchanged: Age::Unclear,
        life: ProcessState::Alive,
    }
}

fn start(world: &mut World, at: usize, op: Op, known: Observed) {
    world.budget.calls -= 1;
    world.procs[at].op = Some(op.clone());
    world.procs[at].call = Some(Call::new(op));
    let terms = world.terms(world.procs[at].node);
    with_call(world, at, |call, now| call.observe(&known, &terms, now));
}

fn acquire(world: &mut World, at: usize) {
    if world.procs[at].unknown.is_none() {
        world.procs[at].attempts += 1;
    }
    let ask = world.ask(at);
    let (node, lease) = (world.procs[at].node, world.procs[at].lease);
    let known = world.observed(node, lease);
    start(world, at, Op::Acquire(Box::new(ask)), known);
}

/// Lets a call decide, and does what it says.
fn with_call(world: &mut World, at: usize, decide: impl FnOnce(&mut Call, &Now) -> Step) {
    let node = world.procs[at].node;
    let host = world.host(node);
    let now = Now { reading: world.reading(node), host: &host };
    let Some(call) = &mut world.procs[at].call else { return };
    match decide(call, &now) {
        Step::Read => {}
        Step::Write(write) => {
            let number = world.next_number;
            world.next_number += 1;
            let pid = world.procs[at].pid;
            world.procs[at].waits = Some(number);
            let (answer, unaware) = (None, false);
            let epoch = world.nodes[node].meta.epoch;
            world.flights.push(Flight { number, proc: at, pid, epoch, write, answer, unaware });
        }
        Step::Done(outcome) => finish(world, at, outcome),
    }
}

fn watch(world: &mut World, node: usize, lease: usize) {
    if let Some(value) = world.last(lease, 0).cloned() {
        let epoch = world.nodes[node].meta.epoch;
        world.see(node, lease, (epoch, value.revision), value.entry);
    }
}

fn read(world: &mut World, at: usize, back: usize) {
    if back > 0 {
        world.budget.stale -= 1;
    }
    let (node, lease) = (world.procs[at].node, world.procs[at].lease);
    let terms = world.terms(node);
    let shown = match world.last(lease, back).cloned() {
        Some(value) => value,
        // There is nothing, or a server that is cut off does not know of anything yet.
        None => {
            let nothing = Observed::nothing(terms.epoch);
            return with_call(world, at, |call, now| call.observe(&nothing, &terms, now));
        }
    };
    world.see(node, lease, (terms.epoch, shown.revision), shown.entry.clone());
    let mut observed = world.observed(node, lease);
    if observed.revision != shown.revision {
        // The bridge knows better, but this call was shown the old one.
        observed = Observed { revision: shown.revision, entry: shown.entry, ..observed };
        observed.unchanged = Age::Ms(0);
    }
    if world.is(Mutant::ReadingGrants)
        && let (Some(record), Some(Op::Acquire(ask))) =
            (record_of(&observed.entry), &world.procs[at].op)
        && record.lease_id == ask.lease_id
    {
        let grant = Grant {
            record: Box::new(record.clone()),
            revision: observed.revision,
            deadline_ns: deadline_ns(record),
        };
        return finish(world, at, Outcome::Again(grant));
    }
    with_call(world, at, |call, now| call.observe(&observed, &terms, now));
}

fn answer(world: &mut World, at: usize) {
    let flight = world.flights.remove(at);
    let proc = &mut world.procs[flight.proc];
    let Some(answer) = flight.answer else { return };
    if proc.pid != flight.pid || proc.waits != Some(flight.number) {
        return;
    }
    proc.waits = None;
    let is_renew = matches!(proc.op, Some(Op::Renew { .. }));
    if answer == Answer::Refused && is_renew && world.is(Mutant::RenewRecreates) {
        let lease = world.procs[flight.proc].lease;
        let mut again = Flight { answer: None, ..flight };
        again.write.expected = world.last(lease, 0).map_or(0, |value| value.revision);
        world.procs[again.proc].waits = Some(again.number);
        return world.flights.push(again);
    }
    let (node, lease) = (world.procs[flight.proc].node, world.procs[flight.proc].lease);
    if let Answer::Accepted { revision } = answer {
        world.see(node, lease, (flight.epoch, revision), flight.write.entry.clone());
    }
    let terms = world.terms(node);
    with_call(world, flight.proc, |call, now| call.answer(answer, &terms, now));
    // A node that has learned of the loss since is no excuse.
    let is_unaware = world.lost_in_epoch.is_some_and(|lost| world.nodes[node].meta.epoch <= lost);
    if let Some(belief) = &mut world.procs[flight.proc].belief {
        belief.unaware |= flight.unaware && is_unaware;
    }
    if matches!(answer, Answer::Accepted { .. }) && world.believes(flight.proc) {
        world.judge_belief(flight.proc);
    }
}

fn finish(world: &mut World, at: usize, outcome: Outcome) {
    let node = world.procs[at].node;
    let (now_ns, epoch) = (world.boot_ns(node), world.nodes[node].meta.epoch);
    let (by_answer, no_margin) = (world.is(Mutant::DeadlineFromAnswer), world.is(Mutant::NoMargin));
    let op = world.procs[at].op.take();
    world.procs[at].call = None;
    match outcome {
        Outcome::Granted(mut grant, _)
        | Outcome::Again(mut grant)
        | Outcome::Renewed { mut grant, .. } => {
            let life_ns = grant.deadline_ns - grant.record.renewed.boot_ns;
            if by_answer {
                grant.deadline_ns = now_ns + life_ns;
            }
            if no_margin {
                grant.deadline_ns = grant.record.renewed.boot_ns + grant.record.ttl_ms * NS_PER_MS;
            }
            let proc = &mut world.procs[at];
            proc.unknown = None;
            proc.belief = Some(Belief { grant, epoch, unaware: false });
            if world.is(Mutant::ReadingGrants) {
                world.judge_belief(at);
            }
        }
        Outcome::Lost(_) => {
            judge_loss(world, at, op.as_ref());
            world.procs[at].belief = None;
        }
        Outcome::Unknown => {
            if let Some(Op::Acquire(ask)) = op {
                world.procs[at].unknown = Some(ask.lease_id);
            }
        }
        Outcome::Held(_) | Outcome::Quarantine { .. } | Outcome::TimedOut => {
            if let Some(Op::Acquire(ask)) = op {
                // What was unknown before may stand; nobody acts on it, and its TTL ends it.
                if world.procs[at].unknown.take().is_none() {
                    world.refused.push(ask.lease_id);
                }
            }
        }
        Outcome::Released
        | Outcome::Ended(_)
        | Outcome::Stands
        | Outcome::TtlTooLong { .. }
        | Outcome::Unsupported
        | Outcome::NoTokenLeft => {}
    }
}

/// The judge's part: a holder that could go on was not told that it lost.
fn judge_loss(world: &mut World, at: usize, op: Option<&Op>) {
    let Some(Op::Renew { token, .. }) = op else { return };
    let stands = world.last(world.procs[at].lease, 0).is_some_and(|value| {
        record_of(&value.entry).is_some_and(|record| record.fencing_token == *token)
    });
    if stands && world.lost_in_epoch.is_none() {
        world.fault("no holder whose grant stands is told that it lost it");
    }
}

fn end_process(world: &mut World, at: usize) {
    let pid = world.next_pid;
    world.next_pid += 1;
    let proc = &mut world.procs[at];
    (proc.pid, proc.call, proc.op, proc.waits) = (pid, None, None, None);
    (proc.belief, proc.unknown) = (None, None);
}

fn reboot(world: &mut World, node: usize) {
    world.budget.reboots -= 1;
    let of_node = |at: &usize| world.procs[*at].node == node;
    let procs: Vec<usize> = (0..world.procs.len()).filter(of_node).collect();
    procs.into_iter().for_each(|at| end_process(world, at));
    // It takes a while, so that the moment of booting is another one.
    world.true_ms += 20_000;
    let booted_ms = world.true_ms;
    let node = &mut world.nodes[node];
    (node.boot, node.booted_ms) = (node.boot + 1, booted_ms);
    node.seen.iter_mut().for_each(|seen| *seen = None);
}

/// A bridge compares the store with what it remembers, and writes what follows.
fn look(world: &mut World, node: usize) {
    let streams = |last: u64| Stream::ALL.map(|stream| (stream, "then".to_owned(), last)).to_vec();
    let Some(remembers) = world.nodes.get(node) else { return };
    let remembered = Remembered {
        meta: remembers.meta.clone(),
        streams: streams(remembers.last_sequence),
        highest_token: remembers.highest_token,
        card: None,
        counter_sent: 0,
    };
    let seen = StoreSeen {
        streams: streams(world.sequence()),
        meta: Some((world.meta.clone(), world.meta_revision)),
        card: None,
        went_back: (0..world.highest.len()).any(|lease| {
            let last = world.last(lease, 0).map_or(0, |value| value.revision);
            let (epoch, copied) = remembers.copies[lease];
            epoch == remembers.meta.epoch && last < copied
        }),
        server_us: world.server_us(),
    };
    let judged = judge_store(Some(&remembered), &seen);
    if let Some((meta, _)) = judged.write {
        world.meta = meta;
        world.meta_revision += 1;
    }
    let (meta, last_sequence) = (world.meta.clone(), world.sequence());
    let node = &mut world.nodes[node];
    (node.meta, node.last_sequence) = (meta, last_sequence);
    if matches!(judged.verdict, Verdict::Renewed | Verdict::RolledBack) {
        node.seen.iter_mut().for_each(|seen| *seen = None);
    }
}
