//! The fault suite: every system call of a verb fails once and is once the last of its process.
//!
//! A clean run is recorded with strace; then each of its calls is made to fail, or the process is
//! killed on entering it, in a fresh copy of the same state. Whatever happens, the record is the
//! old or the new one, the answer is true, and the next call goes through at once. The short form
//! takes EIO, ENOSPC and SIGKILL; `ZETA_FAULTS=all` takes all of [`fault::ALL`], and a second time
//! without `openat2`. `ZETA_FAULTS_DIR` puts the state on another file system than that in memory.
//!
//! Read `scene` for what is called, `trace` for how a fault is made, `verdict` for who judges.

mod bus;
pub mod fault;
mod handover;
mod hooks;
mod joint;
mod moment;
mod note;
mod sandbox;
mod scene;
pub mod trace;
mod tree;
mod verdict;

use crate::support::test_name;
use bus::Part;
use scene::{Scene, play};

#[test]
fn a_fault_at_any_call_of_acquire_grants_all_or_nothing() {
    play(test_name!(), &[Scene::acquire_first(), Scene::acquire_free(), Scene::acquire_over()]);
}

#[test]
fn a_fault_at_any_call_of_renew_leaves_the_old_or_the_new_term() {
    play(test_name!(), &[Scene::renew()]);
}

#[test]
fn a_fault_at_any_call_of_release_leaves_the_lease_or_nothing() {
    play(test_name!(), &[Scene::release()]);
}

#[test]
fn a_fault_at_any_call_of_marker_set_leaves_the_old_or_the_new_marker() {
    play(test_name!(), &[Scene::marker_new(), Scene::marker_over()]);
}

#[test]
fn a_fault_at_any_call_of_persona_set_leaves_the_old_or_the_new_persona() {
    play(test_name!(), &[Scene::persona_new(), Scene::persona_over()]);
}

#[test]
fn a_fault_at_any_call_of_heartbeat_leaves_the_old_or_the_new_beat() {
    play(test_name!(), &[Scene::beat_new(), Scene::beat_over()]);
}

/// Settings with a hook of another program.
const SETTINGS: &str = "{\n\t\"hooks\": {\"Stop\": [{\"hooks\": []}]}, \"n\": 1.0e5\n}\n";

#[test]
fn a_fault_at_any_call_of_hook_install_leaves_the_old_or_the_new_settings() {
    hooks::play(test_name!(), Some(SETTINGS), true);
}

#[test]
fn a_fault_at_any_call_of_the_first_hook_install_leaves_no_file_or_the_new_one() {
    hooks::play(test_name!(), None, true);
}

#[test]
fn a_fault_at_any_call_of_hook_uninstall_leaves_the_old_or_the_new_settings() {
    hooks::play(test_name!(), Some(SETTINGS), false);
}

#[test]
fn a_fault_at_any_call_of_bus_publish_stores_the_message_or_nothing() {
    bus::play(test_name!(), &bus::Scene::publish(), Part::All);
}

#[test]
fn a_fault_at_any_call_of_the_first_bus_publish_stores_the_message_or_nothing() {
    bus::play(test_name!(), &bus::Scene::publish_first(), Part::All);
}

#[test]
fn a_fault_early_in_claim_acquire_grants_and_tells_or_does_nothing() {
    bus::play(test_name!(), &bus::Scene::acquire(), Part::Early);
}

#[test]
fn a_fault_late_in_claim_acquire_grants_and_tells_or_does_nothing() {
    bus::play(test_name!(), &bus::Scene::acquire(), Part::Late);
}

#[test]
fn a_fault_early_in_claim_acquire_again_keeps_the_claim() {
    bus::play(test_name!(), &bus::Scene::acquire_again(), Part::Early);
}

#[test]
fn a_fault_late_in_claim_acquire_again_keeps_the_claim() {
    bus::play(test_name!(), &bus::Scene::acquire_again(), Part::Late);
}

#[test]
fn a_fault_at_any_call_of_claim_acquire_never_takes_what_another_has() {
    bus::play(test_name!(), &bus::Scene::acquire_taken(), Part::All);
}

#[test]
fn a_claim_of_the_original_right_before_our_lock_is_seen() {
    bus::claim_before_lock(test_name!());
}

#[test]
fn a_fault_at_any_call_of_claim_release_leaves_the_claim_or_nothing() {
    bus::play(test_name!(), &bus::Scene::release(), Part::All);
}

#[test]
fn a_fault_at_any_call_of_a_handover_shows_its_note_to_the_new_holder_or_to_none() {
    note::play(test_name!(), &["handover", "--to", "vera"]);
}

#[test]
fn a_fault_at_any_call_of_a_release_with_a_note_shows_it_once_the_item_is_free() {
    note::play(test_name!(), &["release"]);
}

#[test]
fn a_fault_at_any_call_of_the_acquire_of_the_last_slot_grants_it_or_not() {
    joint::play(test_name!(), &joint::Scene::last_slot());
}

#[test]
fn a_fault_at_any_call_of_a_release_of_one_slot_frees_it_or_not() {
    joint::play(test_name!(), &joint::Scene::release());
}

#[test]
fn a_fault_at_any_call_of_a_break_of_one_slot_frees_it_or_not() {
    joint::play(test_name!(), &joint::Scene::break_one());
}

#[test]
fn a_fault_at_any_call_of_a_claim_on_paths_grants_and_announces_it_or_not() {
    joint::play(test_name!(), &joint::Scene::claim());
}

#[test]
fn a_fault_at_any_call_of_a_release_of_paths_leaves_the_claim_or_nothing() {
    joint::play(test_name!(), &joint::Scene::unclaim());
}

#[test]
fn a_fault_at_any_call_of_a_handover_of_paths_leaves_one_holder() {
    handover::play(test_name!());
}
