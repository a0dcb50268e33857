//! Searches every order of steps of the lease protocol, with kills, other hands and slow clocks.
//!
//! The steps are those of the hands, the decisions are the core's own. Each rule that the protocol
//! rests on is dropped once, and the search must notice.
#![expect(clippy::expect_used, reason = "a step that cannot be done is a fault of the model")]

mod around;
mod bridge;
mod claim;
mod mutant;
mod protocol;
mod step;
mod world;

use stateright::{Checker, HasDiscoveries, Model};

use mutant::Mutant;
use protocol::{Action, Protocol};
use world::{Kind, Meddling, Op};

const ALL_OPS: [Op; 4] = [Op::Acquire, Op::Renew, Op::Release, Op::Fenced];

/// Searches a configuration: the number of states, and the first broken claim with its trace.
fn search(protocol: Protocol) -> (usize, Option<(&'static str, Vec<Action>)>) {
    let found = HasDiscoveries::AnyFailures;
    let checker = protocol.checker().threads(2).finish_when(found).spawn_bfs().join();
    let broken = checker.discoveries().into_iter().next();
    let broken = broken.map(|(claim, path)| (claim, path.into_actions()));
    (checker.unique_state_count(), broken)
}

fn told(trace: &[Action]) -> String {
    trace.iter().map(|action| format!("  {action:?}\n")).collect()
}

/// The protocol as it is must keep every claim in every state of this configuration.
fn must_hold(name: &str, protocol: Protocol) {
    let (states, broken) = search(protocol);
    println!("{states:>9} states  {name}");
    if let Some((claim, trace)) = broken {
        panic!("{name}: not true: {claim}\n{}", told(&trace));
    }
}

#[test]
fn a_wrapper_and_a_session_hold_through_kills() {
    let kinds = [Kind::Wrapper, Kind::Session];
    let protocol = Protocol {
        ops: ALL_OPS.to_vec(),
        crashes: 1,
        calls: 2,
        coarse: true,
        ..Protocol::of(&kinds)
    };
    must_hold("a wrapper and a session, with kills", protocol);
}

#[test]
fn guards_that_are_taken_away_grant_nothing() {
    for kinds in [[Kind::Session, Kind::Session], [Kind::Process, Kind::Session]] {
        let protocol = Protocol {
            ops: vec![Op::Acquire, Op::Renew, Op::Release],
            calls: 2,
            ticks: 3,
            coarse: true,
            meddling: vec![Meddling::RemoveGuard, Meddling::MoveGuard],
            meddlings: 1,
            ..Protocol::of(&kinds)
        };
        must_hold(&format!("a guard is removed or moved, {kinds:?}"), protocol);
    }
}

/// A small world in which dropping the rule does harm.
fn world_of(mutant: Mutant) -> Protocol {
    use Mutant::*;
    let two = Protocol { coarse: true, ..Protocol::of(&[Kind::Session, Kind::Session]) };
    let acquire = vec![Op::Acquire];
    let give_back = vec![Op::Acquire, Op::Release];
    match mutant {
        NoFlock | NoReadInside => Protocol { ops: acquire, calls: 2, ticks: 3, ..two },
        GuardIsAFile => {
            let meddling = vec![Meddling::RemoveGuard];
            Protocol { ops: acquire, meddling, meddlings: 1, ..two }
        }
        NoIdentityAfterCommit | RetryAfterMismatch => {
            let meddling = vec![Meddling::MoveGuard];
            Protocol { ops: acquire, calls: 2, meddling, meddlings: 1, ..two }
        }
        ClockBeforeFlock => Protocol { ops: acquire, ..two },
        ReleaseByUnlink => {
            let meddling = vec![Meddling::RemoveGuard];
            Protocol { ops: give_back, calls: 2, meddling, meddlings: 1, ..two }
        }
        TokenAfterCommit => {
            let meddling = vec![Meddling::SetWallBack];
            Protocol {
                ops: give_back,
                calls: 3,
                crashes: 1,
                meddling,
                meddlings: 1,
                ticks: 0,
                ..two
            }
        }
        TokenWithoutRecord => {
            let meddling = vec![Meddling::LoseTokenFile, Meddling::SetWallBack];
            Protocol { ops: acquire, meddling, meddlings: 2, ..two }
        }
        TokenWithoutFile => {
            let meddling = vec![Meddling::SetWallBack];
            Protocol { ops: give_back, calls: 2, meddling, meddlings: 1, ticks: 0, ..two }
        }
        BootIdAlone => Protocol { boots: vec![0, 1], ..two },
        LeaseIdWithoutSession => Protocol { ids: vec![0, 0], ..two },
        UnknownIsDead => Protocol { ops: acquire, ..two },
        WrapperAlone => {
            let kinds = [Kind::Wrapper, Kind::Session];
            Protocol { ops: acquire, crashes: 1, ..Protocol::of(&kinds) }
        }
        FencedWithoutCheck => Protocol { ops: vec![Op::Acquire, Op::Fenced], calls: 2, ..two },
        NoGrace => Protocol { ops: acquire, ..Protocol::of(&[Kind::Process, Kind::Session]) },
    }
}

#[test]
fn every_dropped_rule_is_missed() {
    let mut unnoticed = Vec::new();
    for mutant in Mutant::ALL {
        must_hold(&format!("as it is, where {mutant:?} would harm"), world_of(mutant));
        let (states, broken) = search(Protocol { mutant: Some(mutant), ..world_of(mutant) });
        match broken {
            Some((claim, _)) => println!("{mutant:?} -> caught by '{claim}' after {states} states"),
            None => unnoticed.push(mutant),
        }
    }
    assert!(unnoticed.is_empty(), "nothing is missed without {unnoticed:?}");
}
