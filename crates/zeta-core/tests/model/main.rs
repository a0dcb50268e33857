//! Searches every order of steps of the lease protocol, with kills, other hands and slow clocks.
//!
//! The steps are those of the hands, the decisions are the core's own. Each rule that the protocol
//! rests on is dropped once, and the search must notice. What is not promised is shown to happen.
#![expect(clippy::expect_used, reason = "a step that cannot be done is a fault of the model")]

mod around;
mod bridge;
mod claim;
mod finding;
mod joint;
mod limit;
mod mutant;
mod protocol;
mod step;
mod world;

use stateright::{Checker, HasDiscoveries, Model};

use mutant::Mutant;
use protocol::{Action, Protocol};
use world::{Kind, Meddling, Op};

const ALL_OPS: [Op; 4] = [Op::Acquire, Op::Renew, Op::Release, Op::Fenced];

type Broken = Vec<(&'static str, Vec<Action>)>;

/// Searches a configuration: the number of states, and the broken claims with their traces.
fn search(protocol: Protocol, until: HasDiscoveries) -> (usize, Broken) {
    // One thread, so that a short trace is found, and the same one each time.
    let checker = protocol.checker().threads(1).finish_when(until).spawn_bfs().join();
    let broken = checker.discoveries().into_iter();
    let mut broken: Broken = broken.map(|(claim, path)| (claim, path.into_actions())).collect();
    broken.sort_by_key(|(claim, trace)| (trace.len(), *claim));
    (checker.unique_state_count(), broken)
}

fn told(trace: &[Action]) -> String {
    trace.iter().map(|action| format!("  {action:?}\n")).collect()
}

/// The protocol as it is must keep every claim in every state of this configuration.
fn must_hold(name: &str, protocol: Protocol) {
    let (states, broken) = search(protocol, HasDiscoveries::AnyFailures);
    println!("{states:>9} states  {name}");
    if let Some((claim, trace)) = broken.first() {
        panic!("{name}: not true: {claim}\n{}", told(trace));
    }
}

/// This configuration must break `claim`: it is beyond what is promised.
fn must_break(name: &str, claim: &'static str, protocol: Protocol) {
    let (states, broken) = search(protocol, HasDiscoveries::AnyOf([claim].into()));
    match broken.iter().find(|(found, _)| *found == claim) {
        Some((_, trace)) => println!("{name}: '{claim}' after {states} states:\n{}", told(trace)),
        None => panic!("{name}: it does not happen any more ({states} states)"),
    }
}

#[test]
fn two_hold_through_kills_at_every_step() {
    for kinds in [[Kind::Wrapper, Kind::Session], [Kind::Process, Kind::Process]] {
        let protocol = Protocol { ops: ALL_OPS.to_vec(), crashes: 1, ..Protocol::of(&kinds) };
        must_hold(&format!("fine steps, one kill, {kinds:?}"), protocol);
        let ops = ALL_OPS.to_vec();
        let protocol = Protocol { ops, crashes: 2, calls: 2, coarse: true, ..Protocol::of(&kinds) };
        must_hold(&format!("two calls, two kills, {kinds:?}"), protocol);
    }
}

fn guards_are_taken_away(kinds: [Kind; 2]) {
    let protocol = Protocol {
        ops: ALL_OPS.to_vec(),
        calls: 2,
        ticks: 3,
        coarse: true,
        meddling: vec![Meddling::RemoveGuard, Meddling::MoveGuard],
        meddlings: 2,
        ..Protocol::of(&kinds)
    };
    must_hold(&format!("guards are removed and moved, {kinds:?}"), protocol);
}

#[test]
fn a_guard_that_is_taken_away_grants_nothing() {
    guards_are_taken_away([Kind::Session, Kind::Session]);
}

#[test]
fn a_guard_that_is_kept_open_and_taken_away_grants_nothing() {
    guards_are_taken_away([Kind::Process, Kind::Session]);
}

#[test]
fn tokens_grow_whatever_is_lost_but_all_at_once() {
    let protocol = Protocol {
        ops: vec![Op::Acquire, Op::Release],
        calls: 2,
        ticks: 3,
        coarse: true,
        meddling: vec![
            Meddling::LoseTokenFile,
            Meddling::DeleteRecord,
            Meddling::RemoveGuard,
            Meddling::SetWallBack,
        ],
        meddlings: 3,
        ..Protocol::of(&[Kind::Session, Kind::Session])
    };
    must_hold("files are lost and the clock is set back", protocol);
}

#[test]
fn another_boot_id_robs_nobody() {
    let protocol = Protocol {
        ops: ALL_OPS.to_vec(),
        boots: vec![0, 1],
        calls: 2,
        crashes: 1,
        coarse: true,
        ..Protocol::of(&[Kind::Process, Kind::Session])
    };
    must_hold("one of them sees another boot id", protocol);
}

#[test]
fn a_repeated_attempt_is_one_holder_and_another_session_another() {
    for sessions in [[0, 0], [0, 1]] {
        let protocol = Protocol {
            sessions: sessions.to_vec(),
            ids: vec![0, 0],
            ops: vec![Op::Acquire, Op::Release, Op::Fenced],
            calls: 2,
            crashes: 2,
            coarse: true,
            ..Protocol::of(&[Kind::Session, Kind::Session])
        };
        must_hold(&format!("the same lease id, sessions {sessions:?}"), protocol);
    }
}

#[test]
fn three_hold_through_kills_and_lost_guards() {
    let kinds = [Kind::Wrapper, Kind::Session, Kind::Process];
    let three = Protocol { coarse: true, crashes: 1, ..Protocol::of(&kinds) };
    must_hold("three, one kill", Protocol { ops: ALL_OPS.to_vec(), ..three.clone() });
    let meddling = vec![Meddling::RemoveGuard, Meddling::MoveGuard];
    must_hold("three, one guard lost", Protocol { meddling, meddlings: 1, ..three });
}

/// A small world in which dropping the rule does harm.
fn world_of(mutant: Mutant) -> Protocol {
    use Mutant::*;
    let two = Protocol { coarse: true, ..Protocol::of(&[Kind::Session, Kind::Session]) };
    let acquire = vec![Op::Acquire];
    let give_back = vec![Op::Acquire, Op::Release];
    let meddled = |meddling: &[Meddling]| Protocol {
        meddling: meddling.to_vec(),
        meddlings: meddling.len() as u8,
        ..two.clone()
    };
    match mutant {
        NoFlock | NoReadInside => Protocol { ops: acquire, calls: 2, ticks: 3, ..two },
        GuardIsAFile => Protocol { ops: acquire, ..meddled(&[Meddling::RemoveGuard]) },
        NoIdentityAfterCommit => {
            Protocol { ops: acquire, calls: 2, ..meddled(&[Meddling::MoveGuard]) }
        }
        RetryAfterMismatch => {
            let meddling = [Meddling::MoveGuard, Meddling::SetWallBack];
            Protocol { ops: acquire, calls: 2, ticks: 3, ..meddled(&meddling) }
        }
        ClockBeforeFlock | UnknownIsDead => Protocol { ops: acquire, ..two },
        ReleaseByUnlink => {
            Protocol { ops: give_back, calls: 2, ..meddled(&[Meddling::RemoveGuard]) }
        }
        TokenAfterCommit => {
            let meddling = [Meddling::DeleteRecord, Meddling::SetWallBack];
            Protocol { ops: acquire, crashes: 1, ticks: 0, ..meddled(&meddling) }
        }
        TokenWithoutRecord => {
            let meddling = [Meddling::LoseTokenFile, Meddling::SetWallBack];
            Protocol { ops: acquire, ..meddled(&meddling) }
        }
        TokenWithoutFile => {
            Protocol { ops: give_back, calls: 2, ticks: 0, ..meddled(&[Meddling::SetWallBack]) }
        }
        BootIdAlone => Protocol { boots: vec![0, 1], ..two },
        LeaseIdWithoutSession => Protocol { ids: vec![0, 0], ..two },
        WrapperAlone => Protocol {
            ops: acquire,
            crashes: 1,
            coarse: true,
            ..Protocol::of(&[Kind::Wrapper, Kind::Session])
        },
        FencedWithoutCheck => Protocol { ops: vec![Op::Acquire, Op::Fenced], calls: 2, ..two },
        NoGrace => {
            Protocol { ops: acquire, coarse: true, ..Protocol::of(&[Kind::Process, Kind::Session]) }
        }
    }
}

#[test]
fn every_dropped_rule_is_missed() {
    let mut unnoticed = Vec::new();
    for mutant in Mutant::ALL {
        let (states, broken) = search(world_of(mutant), HasDiscoveries::AnyFailures);
        assert_eq!(broken, [], "as it is, in the world of {mutant:?}, after {states} states");
        let dropped = Protocol { mutant: Some(mutant), ..world_of(mutant) };
        let (states, broken) = search(dropped, HasDiscoveries::AnyFailures);
        let claims: Vec<&str> = broken.iter().map(|(claim, _)| *claim).collect();
        println!("{:<21} -> {} after {states} states", format!("{mutant:?}"), claims.join(", "));
        if claims.is_empty() {
            unnoticed.push(mutant);
        }
    }
    assert!(unnoticed.is_empty(), "nothing is missed without {unnoticed:?}");
}
