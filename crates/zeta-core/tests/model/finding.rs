//! What the search found. Two faults were mended in the core, and their worlds must hold now; two
//! are limits that `docs/concurrency.md` names, and a test of those fails when one is closed.

use super::protocol::Protocol;
use super::world::{Kind, Meddling, Op};
use super::{must_break, must_hold};

fn two(kinds: [Kind; 2]) -> Protocol {
    Protocol { ops: vec![Op::Acquire], coarse: true, ..Protocol::of(&kinds) }
}

/// The processes in the record have ended: a repeated attempt that was answered *again* got a lease
/// that anybody else was granted in the same moment. It gets a grant of its own now.
#[test]
fn an_attempt_repeated_for_a_dead_holder_gets_a_grant_of_its_own() {
    let protocol = two([Kind::Process, Kind::Session]);
    let protocol = Protocol { repeats_dead: true, crashes: 1, calls: 2, ..protocol };
    must_hold("a repeat after the recorded process was killed", protocol);
}

fn repeated_after_status_7(meddling: &[Meddling]) -> Protocol {
    Protocol {
        repeats_unsafe: true,
        calls: 3,
        meddling: meddling.to_vec(),
        meddlings: meddling.len() as u8,
        ..two([Kind::Session, Kind::Session])
    }
}

/// The guard was moved away between decision and commit: status 7, and a void record stands over
/// the one of the successor. The repeat under the same lease id took it for a grant; the token file
/// of the guard with the name knows a higher number.
#[test]
fn an_attempt_repeated_after_status_7_gets_no_void_record() {
    let protocol = repeated_after_status_7(&[Meddling::MoveGuard]);
    must_hold("a void record, and a repeat", protocol);
}

/// As before, and the wall clock was set back: both guards counted on from the same record, so both
/// sessions have the same token, and no resource can tell them apart.
#[test]
fn an_attempt_repeated_after_status_7_may_get_the_token_of_its_successor() {
    let protocol = repeated_after_status_7(&[Meddling::MoveGuard, Meddling::SetWallBack]);
    let claim = "at most one believer passes a check";
    must_break("a void record has the token of a grant", claim, protocol);
}

/// A container sees another boot id over the same kernel, and the wall clock is set by more than
/// 5 s: the moment of booting seems to have moved, and a holder in time is taken for one of another
/// boot.
#[test]
fn another_boot_id_and_a_step_of_the_wall_clock_rob_a_holder() {
    let protocol = Protocol {
        boots: vec![0, 1],
        meddling: vec![Meddling::SetWallBack],
        meddlings: 1,
        ..two([Kind::Process, Kind::Process])
    };
    let claim = "this boot is not another one";
    must_break("another boot id, and the wall clock is set back", claim, protocol);
}
