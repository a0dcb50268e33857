//! A short run of the torture, and the same with a seeded bug: its judge must convict that.

use std::process::ExitCode;
use std::time::Duration;

#[path = "../../../../testing/src/bin/torture/main.rs"]
mod program;

use program::Options;

fn options() -> Options {
    let mut options = Options::new().unwrap();
    options.zeta = env!("CARGO_BIN_EXE_zeta").into();
    // This test binary again, in its other part.
    options.own_args = "--exact torture::plays_a_part --nocapture --test-threads=1".to_owned();
    options
}

#[test]
fn plays_a_part() {
    if program::has_part() {
        // The harness would make 101 of any failure.
        std::process::exit(i32::from(program::main() != ExitCode::SUCCESS));
    }
}

#[test]
fn eight_seconds_of_torture_break_nothing() {
    let mut options = options();
    options.length = Duration::from_secs(8);
    let came = program::run(&options).unwrap();
    assert_eq!(came.violations, 0, "see the table; the seed is in its first line");
    assert!(came.enough, "{came:?}");
    assert!(came.refusals > 0 && came.warped != Some(0), "{came:?}");
    // Builds without a seam say so in the table, and so does a place that permits no namespaces.
    assert!(came.jumped || !zeta_os::clock::HAS_SEAM, "{came:?}");
}

#[test]
fn the_judge_convicts_workers_that_skip_the_lease() {
    let mut options = options();
    options.length = Duration::from_secs(2);
    options.broken = true;
    let came = program::run(&options).unwrap();
    assert!(came.violations > 0, "nobody took the lease, and nobody noticed");
}
