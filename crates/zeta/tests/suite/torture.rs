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
    // On a busy machine too little happens in eight seconds to mean anything.
    for seconds in [8, 24, 48] {
        options.length = Duration::from_secs(seconds);
        let came = program::run(&options).unwrap();
        assert_eq!(came.violations, 0, "see the table; the seed is in its first line");
        let enough = came.enough && came.refusals > 0 && came.warped != Some(0);
        if !enough && seconds < 48 {
            continue;
        }
        assert!(enough, "{came:?}");
        // Builds without a seam say so in the table, and so does a place that permits no
        // namespaces.
        assert!(came.jumped || !zeta_os::clock::HAS_SEAM, "{came:?}");
        return;
    }
}

#[test]
fn the_judge_convicts_workers_that_skip_the_lease() {
    let mut options = options();
    options.broken = true;
    // On a busy machine the workers may not have begun after two seconds.
    let mut lengths = [2, 8, 24].map(Duration::from_secs).into_iter();
    let convicted = lengths.any(|length| {
        options.length = length;
        program::run(&options).unwrap().violations > 0
    });
    assert!(convicted, "no worker took the lease, and the judge did not notice");
}
