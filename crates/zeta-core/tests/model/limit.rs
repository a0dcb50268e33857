//! What the protocol does not promise, each shown to happen, so that nobody comes to rely on it.

use super::must_break;
use super::protocol::Protocol;
use super::world::{Fault, Kind, Meddling, Op};

const LIMIT: &str = "a documented limit";

fn two(kinds: [Kind; 2], ops: &[Op]) -> Protocol {
    Protocol { ops: ops.to_vec(), coarse: true, ..Protocol::of(&kinds) }
}

fn sessions(limit: Fault, ops: &[Op], meddling: &[Meddling]) -> Protocol {
    Protocol {
        calls: 2,
        limit: Some(limit),
        meddling: meddling.to_vec(),
        meddlings: meddling.len() as u8,
        ..two([Kind::Session, Kind::Session], ops)
    }
}

#[test]
fn a_resource_that_checks_nothing_is_not_protected() {
    let limit = sessions(Fault::UnfencedOutOfOrder, &[Op::Acquire], &[]);
    must_break("checked, paused, written", LIMIT, Protocol { unfenced: true, ..limit });
}

#[test]
fn tokens_begin_anew_when_files_and_clock_are_lost_together() {
    let lost = [Meddling::RemoveGuard, Meddling::DeleteRecord, Meddling::SetWallBack];
    let limit = sessions(Fault::LimitOfTokens, &[Op::Acquire], &lost);
    must_break("guard and record deleted, clock set back", LIMIT, limit);
    let lost = [Meddling::LoseTokenFile, Meddling::SetWallBack];
    let limit = sessions(Fault::LimitOfTokensAfterRelease, &[Op::Acquire, Op::Release], &lost);
    must_break("token file deleted, lease released, clock set back", LIMIT, limit);
}

#[test]
fn a_guard_that_is_moved_from_under_a_writer_may_cost_a_successor_its_record() {
    let ops = [Op::Acquire, Op::Release];
    let limit = sessions(Fault::LimitOfMovedGuard, &ops, &[Meddling::MoveGuard]);
    must_break("a change in a guard that was moved", LIMIT, limit);
}

#[test]
fn a_guard_that_is_taken_away_ends_the_fence() {
    let ops = [Op::Acquire, Op::Fenced];
    let limit = sessions(Fault::LimitOfFence, &ops, &[Meddling::RemoveGuard]);
    must_break("a fenced command in a guard that was removed", LIMIT, limit);
}
