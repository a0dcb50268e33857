//! A user who exchanges his directories while root's child is on its way through them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use zeta_creds::file_writer::{Options, Outcome, plant};

use super::plant::{file, for_user, options};
use super::sandbox::{Sandbox, USER, names, own, skipped_without_root};
use crate::support::test_name;

#[test]
fn a_directory_that_changes_under_way_never_leads_to_the_victim() {
    if skipped_without_root(test_name!()) {
        return;
    }
    let place = Sandbox::new();
    let home = place.dir("home", USER, 0o755);
    let victim = place.dir("victim", USER, 0o755);
    fs::create_dir(home.join("d")).unwrap();
    own(&home.join("d"), USER);
    symlink(&victim, home.join("link")).unwrap();
    let stop = AtomicBool::new(false);
    let swap = || {
        let (real, link) = (home.join("d"), home.join("link"));
        while !stop.load(Ordering::Relaxed) {
            renameat_with(CWD, &real, CWD, &link, RenameFlags::EXCHANGE).unwrap();
        }
    };
    let (rounds, refused) = std::thread::scope(|scope| {
        scope.spawn(swap);
        let done = std::panic::catch_unwind(|| plant_again_and_again(&home, &victim));
        stop.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    assert!(rounds > 20 && refused > 0, "{refused} of {rounds} refused: that was no race");
    assert!(refused < rounds, "all refused: that was no race");
}

/// For some seconds, and on a busy machine until both outcomes were seen; returns how often, and
/// how often it was refused.
fn plant_again_and_again(home: &Path, victim: &Path) -> (usize, usize) {
    let started = Instant::now();
    let (mut rounds, mut refused) = (0, 0);
    let enough = |rounds, refused| rounds > 20 && refused > 0 && refused < rounds;
    while started.elapsed() < Duration::from_secs(3)
        || started.elapsed() < Duration::from_secs(60) && !enough(rounds, refused)
    {
        rounds += 1;
        let orders = for_user(home, vec![file("d/x", &format!("secret {rounds}"), 0o600)]);
        let options = Options { overwrite: true, ..options() };
        // A fault is as good: what counts is where the bytes went.
        if let Ok(outcomes) = plant(&orders, &options) {
            refused += usize::from(matches!(outcomes[0][0], Outcome::Refused(_)));
        }
        assert_eq!(names(victim), [""; 0], "round {rounds}");
    }
    (rounds, refused)
}
