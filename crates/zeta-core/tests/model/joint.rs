//! Joint leases: each change on disk is a step, and a process may be killed before any of them. The
//! decisions are the core's own; what stands here is the order of the changes.

use stateright::{Checker, Model, Property};
use zeta_core::evidence::{FileTimes, Process, ProcessState, Processes};
use zeta_core::lease::joint::decide::{
    Joined, Member, decide_join, has_ended, is_in_the_way, may_stay,
};
use zeta_core::lease::joint::{Joint, SLOTS};
use zeta_core::lease::{
    AcquireRequest, Checked, FencingToken, Observed, Policy, Reassigned, Record, Released, Renewed,
    Standing, Successor, decide_check, decide_reassign, decide_release, decide_renew, judge,
};
use zeta_core::name::{Label, RecordName};
use zeta_core::pattern::PathClaim;
use zeta_core::time::{Host, NS_PER_MS, Now, Reading};

use super::bridge::{host, is_good};
use super::world::{GRACE_TICKS, TICK_MS, TTL_TICKS};

/// A rule that is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dropped {
    /// A handover adds a file, and then removes the old one.
    OneRename,
    /// A reader does not look again at a grant that is gone.
    LookAgain,
    /// A grant is found by its name alone.
    FoundByToken,
    /// Grants of a lease that was broken stay when it is taken anew.
    RemoveBroken,
    /// A release takes the record that stands for the grants with it, whoever is left.
    StandsForAll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Op {
    Acquire,
    Renew,
    Release,
    HandOver,
}

/// A grant: its record, but for what all have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Grant {
    token: u64,
    owner: u8,
    incarnation: u8,
    renewed: u8,
    /// A receiver has no processes in the record yet.
    handed_over: bool,
}

/// A change on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Change {
    Remember(u64),
    Stand,
    StandNoMore,
    Put(u64, Grant),
    Take(u64),
    Rename(u64, u64),
}

/// The token of a grant that a process may act upon, and when it was renewed.
type Belief = (u64, u8);

/// What a process in the guard has left to do, and what it may believe then.
type Left = (Vec<Change>, Option<Belief>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Proc {
    alive: bool,
    incarnation: u8,
    belief: Option<Belief>,
    calls_left: u8,
    /// It is in the guard.
    inside: Option<Left>,
}

/// A reader without the guard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Reader {
    names: Vec<u64>,
    looks: u8,
    /// A grant has counted at every moment since it began.
    held_all_the_time: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    tick: u8,
    token_file: u64,
    stands: bool,
    /// The name of each file, and its record.
    grants: Vec<(u64, Grant)>,
    procs: Vec<Proc>,
    crashes_left: u8,
    breaks_left: u8,
    /// Tokens up to this one were broken.
    broken: u64,
    highest: u64,
    reader: Option<Reader>,
    faults: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Start(usize, Op),
    Step(usize),
    Crash(usize),
    Restart(usize),
    /// The receiver of a handover learns its token from the record.
    Bind(usize),
    /// A program that knows no joint leases removes the record that stands.
    BreakByOld,
    Look,
    Read,
    Tick,
}

#[derive(Clone, Debug)]
struct JointLease {
    procs: u8,
    /// Whether each one's processes are in its records.
    recorded: Vec<bool>,
    /// Slots of a counted lease; `None` is an exclusive claim on one path.
    slots: Option<u32>,
    ops: Vec<Op>,
    calls: u8,
    crashes: u8,
    breaks: u8,
    ticks: u8,
    reader: bool,
    dropped: Option<Dropped>,
}

const MORE_THAN_MAY: &str = "more holders than may stand side by side";
const ROBBED: &str = "a living holder in its time has lost its grant";
const BACK: &str = "a grant that was broken counts again";
const CALLED_FREE: &str = "a reader was told free, and it was held all the time";
const CALLED_LOST: &str = "a holder was told lost, and its grant is there";
const TOKEN: &str = "a token is not larger than one before";
const NO_REASON: &str = "refused, and there was room";

fn at(tick: u8) -> Reading {
    let boot_ns = u64::from(tick) * TICK_MS * NS_PER_MS;
    Reading { boot_ns, awake_ns: boot_ns, wall_us: i64::from(tick) + 1 }
}

impl JointLease {
    fn of(recorded: &[bool], slots: Option<u32>) -> JointLease {
        JointLease {
            procs: recorded.len() as u8,
            recorded: recorded.to_vec(),
            slots,
            ops: vec![Op::Acquire, Op::Renew, Op::Release, Op::HandOver],
            calls: 2,
            crashes: 1,
            breaks: 0,
            ticks: TTL_TICKS + 2,
            reader: false,
            dropped: None,
        }
    }

    fn most(&self) -> usize {
        self.slots.unwrap_or(1) as usize
    }

    fn joint(&self) -> Joint {
        let pattern = || "src/**".parse().expect("it is a pattern");
        let paths = || PathClaim::new(Default::default(), vec![pattern()]);
        self.slots.map_or_else(|| Joint::Paths(paths()), Joint::Slots)
    }

    fn processes(&self, owner: u8, incarnation: u8) -> Processes {
        let own = Process {
            pid: u32::from(owner) + 1,
            start_ticks: None,
            pidfs_ino: Some(incarnation.into()),
        };
        let recorded = self.recorded[usize::from(owner)];
        Processes { own: recorded.then_some(own), child: None, pid_ns: Some(1) }
    }

    fn ask(&self, owner: u8, incarnation: u8) -> AcquireRequest {
        AcquireRequest {
            lease: RecordName::new("lease", "l").expect("it is a name"),
            lease_id: format!("{owner}-{incarnation}"),
            agent: Label::new("agent", &format!("a{owner}")).expect("it is a name"),
            session: Some(format!("{owner}-{incarnation}")),
            processes: self.processes(owner, incarnation),
            pr: None,
            uid: 1,
            ttl_ms: u64::from(TTL_TICKS) * TICK_MS,
            grace_ms: Some(u64::from(GRACE_TICKS) * TICK_MS),
            policy: Policy::Reclaim,
            purpose: None,
            joint: Some(self.joint()),
            in_cluster: false,
        }
    }

    fn record(&self, grant: &Grant, host: &Host) -> Record {
        let ask = self.ask(grant.owner, grant.incarnation);
        let none = (&[][..], 0, 0, false);
        let now = Now { reading: at(grant.renewed), host };
        let Joined::Grant { record, .. } = decide_join(none.0, &ask, none.1, none.2, none.3, &now)
        else {
            panic!("nothing is in the way");
        };
        let mut record = *record;
        record.fencing_token = FencingToken::new(grant.token).expect("it is small");
        if grant.handed_over {
            (record.processes, record.session) = (Processes::default(), None);
        }
        assert_eq!(record.extra.iter().any(|(key, _)| key == SLOTS), self.slots.is_some());
        record
    }

    fn observed(&self, world: &World, grant: &Grant) -> Observed {
        let owner = &world.procs[usize::from(grant.owner)];
        let lives = owner.alive && owner.incarnation == grant.incarnation;
        let life = match (self.recorded[usize::from(grant.owner)], lives) {
            (false, _) => ProcessState::Unknown,
            _ if grant.handed_over => ProcessState::Unknown,
            (true, true) => ProcessState::Alive,
            (true, false) => ProcessState::Dead,
        };
        let record = Box::new(self.record(grant, &host(0)));
        Observed::Ours(record, FileTimes::default(), life)
    }

    /// The grants that hold a place to any reader.
    fn counted<'w>(&self, world: &'w World) -> Vec<&'w Grant> {
        let host = host(0);
        let now = Now { reading: at(world.tick), host: &host };
        let grants = world.grants.iter().map(|(_, grant)| grant).filter(|_| world.stands);
        let held = |grant: &&Grant| {
            !matches!(judge(&self.observed(world, grant), &now), Standing::Grantable(_))
        };
        grants.filter(held).collect()
    }

    /// The file of a grant, for its holder.
    fn find(&self, world: &World, token: u64) -> Option<(u64, Grant)> {
        let by_name = |(name, grant): &&(u64, Grant)| *name == token && grant.token == token;
        let by_token = |(_, grant): &&(u64, Grant)| grant.token == token;
        if !world.stands {
            return None;
        }
        let found = world.grants.iter().find(by_name);
        if self.dropped == Some(Dropped::FoundByToken) {
            return found.copied();
        }
        found.or_else(|| world.grants.iter().find(by_token)).copied()
    }

    /// What a holder finds that checks before it acts.
    fn may_act(&self, world: &World, who: usize) -> bool {
        let proc = &world.procs[who];
        let Some((token, _)) = proc.belief.filter(|_| proc.alive && proc.inside.is_none()) else {
            return false;
        };
        let named =
            world.grants.iter().find(|(name, grant)| *name == token && grant.token == token);
        let Some((_, grant)) = named.filter(|_| world.stands) else { return false };
        let host = host(0);
        let now = Now { reading: at(world.tick), host: &host };
        let token = FencingToken::new(token).expect("it is small");
        matches!(decide_check(&self.observed(world, grant), token, &now), Checked::Good { .. })
    }

    fn start(&self, world: &mut World, who: usize, op: Op) -> Option<()> {
        let free = world.procs.iter().all(|proc| proc.inside.is_none());
        let me = world.procs[who].clone();
        let fits = (op == Op::Acquire) == me.belief.is_none();
        if !free || !me.alive || me.calls_left == 0 || !fits {
            return None;
        }
        let host = host(0);
        let now = Now { reading: at(world.tick), host: &host };
        let inside = match (op, me.belief) {
            (Op::Acquire, _) => self.acquire(world, who, &now)?,
            (_, Some((token, _))) => self.hold(world, op, (who, token), &now),
            _ => return None,
        };
        let me = &mut world.procs[who];
        me.calls_left -= 1;
        me.inside = Some(inside);
        Some(())
    }

    /// The changes of an acquire, as `lease/acquire/joint.rs` makes them.
    fn acquire(&self, world: &mut World, who: usize, now: &Now) -> Option<Left> {
        let incarnation = world.procs[who].incarnation;
        let ask = self.ask(who as u8, incarnation);
        let there: Vec<(u64, Grant)> =
            world.grants.iter().filter(|_| world.stands).copied().collect();
        let seen: Vec<Observed> =
            there.iter().map(|(_, grant)| self.observed(world, grant)).collect();
        let members: Vec<Member<'_>> = seen
            .iter()
            .map(|observed| Member { observed, in_the_way: is_in_the_way(&ask, observed) })
            .collect();
        let stay = self.slots.map_or(0, |slots| may_stay(&members, slots, now));
        let answer = decide_join(&members, &ask, stay, world.token_file, false, now);
        let (record, void) = match answer {
            Joined::Grant { record, void, .. } => (record, void),
            Joined::Held { .. } => {
                if self.counted(world).len() < self.most() {
                    world.faults.push(NO_REASON);
                }
                return None;
            }
            _ => return None,
        };
        let decided = record.fencing_token.get();
        let token = if world.stands { decided } else { decided + 1 };
        let mut changes = vec![Change::Remember(token)];
        changes.extend(void.iter().map(|at| Change::Take(there[*at].0)));
        if !world.stands {
            if self.dropped != Some(Dropped::RemoveBroken) {
                changes.extend(world.grants.iter().map(|(name, _)| Change::Take(*name)));
            }
            changes.push(Change::Stand);
        }
        let owner = who as u8;
        let grant = Grant { token, owner, incarnation, renewed: world.tick, handed_over: false };
        changes.push(Change::Put(token, grant));
        Some((changes, Some((token, world.tick))))
    }

    /// The changes of a holder's call, as `lease/joint/mod.rs` makes them.
    fn hold(&self, world: &mut World, op: Op, (who, token): (usize, u64), now: &Now) -> Left {
        let lost = (Vec::new(), None);
        let there = world.grants.iter().any(|(_, grant)| grant.token == token) && world.stands;
        let Some((file, grant)) = self.find(world, token) else {
            if there {
                world.faults.push(CALLED_LOST);
            }
            return lost;
        };
        let (observed, number) = (self.observed(world, &grant), token);
        let Some(token) = FencingToken::new(token) else { return lost };
        // A receiver binds the claim to its own session with its first call.
        let mine = Grant {
            incarnation: world.procs[who].incarnation,
            renewed: world.tick,
            handed_over: false,
            ..grant
        };
        match op {
            Op::Acquire => lost,
            Op::Renew => match decide_renew(&observed, token, None, now) {
                Renewed::Write { .. } => {
                    let named =
                        if file == number { None } else { Some(Change::Rename(file, number)) };
                    let put = Change::Put(number, mine);
                    (named.into_iter().chain([put]).collect(), Some((number, world.tick)))
                }
                Renewed::Lost(_) => lost,
            },
            Op::Release => match decide_release(&observed, token, world.token_file, false) {
                Released::Remove => (self.release(world, file, now), None),
                _ => lost,
            },
            Op::HandOver => {
                let to = (who + 1) % usize::from(self.procs);
                let successor = Successor {
                    lease_id: "h".to_owned(),
                    agent: self.ask(to as u8, 0).agent,
                    session: None,
                    processes: Processes::default(),
                    ttl_ms: None,
                    extra: Vec::new(),
                };
                match decide_reassign(&observed, token, world.token_file, successor, now) {
                    Reassigned::Write(record) => {
                        let next = record.fencing_token.get();
                        let incarnation = world.procs[to].incarnation;
                        let (owner, handed_over, renewed) = (to as u8, true, world.tick);
                        let new = Grant { token: next, owner, incarnation, renewed, handed_over };
                        let changes = match self.dropped {
                            Some(Dropped::OneRename) => {
                                [Change::Put(next, new), Change::Take(file)]
                            }
                            _ => [Change::Put(file, new), Change::Rename(file, next)],
                        };
                        ([Change::Remember(next)].into_iter().chain(changes).collect(), None)
                    }
                    _ => lost,
                }
            }
        }
    }

    fn release(&self, world: &World, file: u64, now: &Now) -> Vec<Change> {
        let left = world.grants.iter().filter(|(name, _)| *name != file);
        let left: Vec<(u64, bool)> = left
            .map(|(name, grant)| (*name, has_ended(&judge(&self.observed(world, grant), now))))
            .collect();
        let mut changes = vec![Change::Take(file)];
        if left.iter().all(|(_, ended)| *ended) || self.dropped == Some(Dropped::StandsForAll) {
            let ended = left.iter().filter(|(_, ended)| *ended);
            changes.extend(ended.map(|(name, _)| Change::Take(*name)));
            changes.push(Change::StandNoMore);
        }
        changes
    }

    fn change(&self, world: &mut World, change: Change) {
        match change {
            Change::Remember(token) => world.token_file = token,
            Change::Stand => world.stands = true,
            Change::StandNoMore => world.stands = false,
            Change::Take(name) => world.grants.retain(|(other, _)| *other != name),
            Change::Put(name, grant) => {
                let is_new = !world.grants.iter().any(|(_, other)| other.token == grant.token);
                if is_new && grant.token <= world.highest {
                    world.faults.push(TOKEN);
                }
                world.highest = world.highest.max(grant.token);
                world.grants.retain(|(other, _)| *other != name);
                world.grants.push((name, grant));
            }
            Change::Rename(from, to) => {
                world.grants.iter_mut().filter(|(name, _)| *name == from).for_each(|file| {
                    file.0 = to;
                });
            }
        }
        world.grants.sort_by_key(|(name, _)| *name);
    }

    fn read(&self, world: &mut World) -> Option<()> {
        let reading = world.reader.take()?;
        let of = |name: &u64| world.grants.iter().find(|(other, _)| other == name);
        let was_gone = reading.names.iter().any(|name| of(name).is_none());
        let looks_again = self.dropped != Some(Dropped::LookAgain);
        if was_gone && reading.looks < 4 && looks_again {
            let names = world.grants.iter().map(|(name, _)| *name).collect();
            world.reader = Some(Reader { names, looks: reading.looks + 1, ..reading });
            return Some(());
        }
        let counted = self.counted(world);
        let seen = reading.names.iter().filter_map(of);
        let mut held = seen.filter(|(_, grant)| counted.contains(&grant));
        let is_free = held.next().is_none();
        if is_free && reading.held_all_the_time {
            world.faults.push(CALLED_FREE);
        }
        Some(())
    }

    fn after(&self, world: &mut World) {
        let counted = self.counted(world);
        let (count, held) = (counted.len(), !counted.is_empty());
        let back = counted.iter().any(|grant| grant.token <= world.broken);
        let acting = (0..world.procs.len()).filter(|who| self.may_act(world, *who)).count();
        if count.max(acting) > self.most() {
            world.faults.push(MORE_THAN_MAY);
        }
        if back {
            world.faults.push(BACK);
        }
        let robbed = world.procs.iter().any(|proc| {
            let believes = |(token, renewed): (u64, u8)| {
                let there = || world.grants.iter().any(|(_, grant)| grant.token == token);
                token > world.broken && is_good(renewed, world.tick) && !(world.stands && there())
            };
            proc.alive && proc.inside.is_none() && proc.belief.is_some_and(believes)
        });
        if robbed {
            world.faults.push(ROBBED);
        }
        if let Some(reader) = &mut world.reader {
            reader.held_all_the_time &= held;
        }
    }
}

impl Model for JointLease {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let proc = |_| Proc {
            alive: true,
            incarnation: 1,
            belief: None,
            calls_left: self.calls,
            inside: None,
        };
        vec![World {
            tick: 0,
            token_file: 0,
            stands: false,
            grants: Vec::new(),
            procs: (0..self.procs).map(proc).collect(),
            crashes_left: self.crashes,
            breaks_left: self.breaks,
            broken: 0,
            highest: 0,
            reader: None,
            faults: Vec::new(),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for who in 0..world.procs.len() {
            actions.extend(self.ops.iter().map(|op| Action::Start(who, *op)));
            actions.push(Action::Step(who));
            actions.extend([Action::Crash(who), Action::Restart(who), Action::Bind(who)]);
        }
        actions.extend([Action::BreakByOld, Action::Tick]);
        if self.reader {
            actions.extend([Action::Look, Action::Read]);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut world = world.clone();
        match action {
            Action::Start(who, op) => self.start(&mut world, who, op)?,
            Action::Step(who) => {
                let (changes, belief) = world.procs[who].inside.as_mut()?;
                if changes.is_empty() {
                    let belief = *belief;
                    (world.procs[who].belief, world.procs[who].inside) = (belief, None);
                } else {
                    let change = changes.remove(0);
                    self.change(&mut world, change);
                }
            }
            Action::Crash(who) => {
                let me = &mut world.procs[who];
                let may = me.alive && world.crashes_left > 0;
                (may).then_some(())?;
                (me.alive, me.belief, me.inside) = (false, None, None);
                world.crashes_left -= 1;
            }
            Action::Restart(who) => {
                let me = &mut world.procs[who];
                (!me.alive).then_some(())?;
                (me.alive, me.incarnation) = (true, me.incarnation + 1);
            }
            Action::Bind(who) => {
                let given = world.grants.iter().find(|(_, grant)| {
                    grant.handed_over && usize::from(grant.owner) == who && world.stands
                });
                let (token, renewed) = given.map(|(_, grant)| (grant.token, grant.renewed))?;
                let me = &mut world.procs[who];
                let may = me.alive && me.belief.is_none() && me.inside.is_none();
                (may && is_good(renewed, world.tick)).then_some(())?;
                me.belief = Some((token, renewed));
            }
            Action::BreakByOld => {
                let free = world.procs.iter().all(|proc| proc.inside.is_none());
                (free && world.stands && world.breaks_left > 0).then_some(())?;
                world.breaks_left -= 1;
                (world.stands, world.broken) = (false, world.highest);
            }
            Action::Look => {
                (world.reader.is_none() && world.stands).then_some(())?;
                let names = world.grants.iter().map(|(name, _)| *name).collect();
                let held_all_the_time = !self.counted(&world).is_empty();
                world.reader = Some(Reader { names, looks: 1, held_all_the_time });
            }
            Action::Read => self.read(&mut world)?,
            Action::Tick => {
                (world.tick < self.ticks).then_some(())?;
                world.tick += 1;
            }
        }
        self.after(&mut world);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<JointLease>> {
        vec![Property::always("nothing went wrong", |_, world: &World| world.faults.is_empty())]
    }
}

/// Searches a configuration: the number of states, and what went wrong first, with its trace.
fn search(lease: JointLease) -> (usize, Option<(&'static str, String)>) {
    let checker = lease.checker().threads(1).spawn_bfs().join();
    let wrong = checker.discovery("nothing went wrong").map(|path| {
        let fault = path.last_state().faults[0];
        (fault, path.into_actions().iter().map(|action| format!("  {action:?}\n")).collect())
    });
    (checker.unique_state_count(), wrong)
}

fn must_hold(name: &str, lease: JointLease) {
    let (states, wrong) = search(lease);
    println!("{states:>9} states  {name}");
    if let Some((fault, trace)) = wrong {
        panic!("{name}: {fault}\n{trace}");
    }
}

#[test]
fn joint_leases_hold_through_kills_at_every_step() {
    for (slots, crashes) in [(None, 2), (Some(2), 1)] {
        for recorded in [[true, false], [true, true]] {
            let lease = JointLease { crashes, ..JointLease::of(&recorded, slots) };
            must_hold(&format!("two, slots {slots:?}, recorded {recorded:?}"), lease);
        }
    }
}

#[test]
fn a_reader_of_a_joint_lease_is_never_told_free_while_it_is_handed_over() {
    let reader = JointLease { reader: true, calls: 2, ..JointLease::of(&[true, false], None) };
    must_hold("two and a reader", reader);
}

#[test]
fn what_an_old_program_breaks_of_a_joint_lease_stays_broken() {
    let lease = JointLease { breaks: 1, ..JointLease::of(&[true, false], Some(2)) };
    must_hold("two, broken by an old program", lease);
}

#[test]
fn three_hold_a_joint_lease_through_a_kill() {
    for slots in [None, Some(2)] {
        let three = JointLease::of(&[true, false, true], slots);
        let ops = vec![Op::Acquire, Op::Release, Op::HandOver];
        let lease = JointLease { ops, ticks: 0, ..three };
        must_hold(&format!("three, slots {slots:?}"), lease);
    }
}

#[test]
fn every_dropped_rule_of_joint_leases_is_missed() {
    use Dropped::*;
    let paths = JointLease::of(&[false, false], None);
    let two = JointLease::of(&[false, false], Some(2));
    let table = [
        (OneRename, MORE_THAN_MAY, paths.clone()),
        (LookAgain, CALLED_FREE, JointLease { reader: true, ..paths.clone() }),
        (FoundByToken, CALLED_LOST, paths),
        (RemoveBroken, BACK, JointLease { breaks: 1, ..two.clone() }),
        (StandsForAll, ROBBED, two),
    ];
    for (dropped, wanted, lease) in table {
        let (states, wrong) = search(JointLease { dropped: Some(dropped), ..lease });
        let (fault, trace) = wrong.unwrap_or_else(|| panic!("{dropped:?} is not noticed"));
        println!("{dropped:?} -> {fault} after {states} states\n{trace}");
        assert_eq!(fault, wanted, "{dropped:?}");
    }
}
