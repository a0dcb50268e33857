//! Counted leases: at most N holders at once, each with a token of its own, in a fair line.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Sandbox, finish, one_is_faster, signal, until, wait, wait_for};

const SOON: Duration = Duration::from_secs(10);

fn files(sandbox: &Sandbox, dir: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(sandbox.node().join(dir)) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn grants(sandbox: &Sandbox) -> usize {
    files(sandbox, "job.grants").len()
}

fn tickets(sandbox: &Sandbox) -> usize {
    files(sandbox, ".guard/job.lock/queue").len()
}

fn private() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o700)
}

fn acquire(sandbox: &Sandbox, slots: &str, agent: &str) -> String {
    sandbox.ok(&["lease", "acquire", "job", "--slots", slots, "--ttl", "5m", "--as", agent])
}

/// A wrapper whose command runs for a minute.
fn holder(sandbox: &Sandbox, more: &[&str]) -> Child {
    let args = [&["lease", "exec", "job", "--wait", "30s"], more, &["--", "sleep", "60"]].concat();
    sandbox.cmd(&args).stderr(Stdio::null()).spawn().unwrap()
}

/// A call that waits in the line behind `before` others.
fn waiter(sandbox: &Sandbox, before: usize, more: &[&str]) -> Child {
    let args = [&["lease", "acquire", "job", "--wait", "30s"], more].concat();
    let call = sandbox.cmd(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(until(SOON, || tickets(sandbox) > before), "it does not queue");
    call
}

fn end(mut child: Child) {
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let children = std::fs::read_to_string(children).unwrap_or_default();
    child.kill().unwrap();
    child.wait().unwrap();
    for pid in children.split_whitespace() {
        signal(pid.parse().unwrap(), Signal::KILL);
    }
}

#[test]
fn eight_processes_race_and_never_are_more_at_work_than_there_are_slots() {
    let sandbox = Sandbox::new();
    let at_work = sandbox.dir.join("at-work");
    std::fs::create_dir(&at_work).unwrap();
    let log = sandbox.dir.join("log");
    // What an oracle outside of zeta sees: the files of those that are at work.
    let work = format!(
        "touch {at}/$$; ls {at} | wc -l >> {log}; sleep 0.02; ls {at} | wc -l >> {log}; rm {at}/$$",
        at = at_work.display(),
        log = log.display()
    );
    let each = "for i in 1 2 3 4 5; do \"$ZETA\" lease exec job --slots 3 -w 60 -- sh -c \"$WORK\" \
                || exit 1; done";
    let racer = || {
        let mut racer = sandbox.other("sh", &["-c", each]);
        racer.env("ZETA", env!("CARGO_BIN_EXE_zeta")).env("WORK", &work).spawn().unwrap()
    };
    let racers: Vec<Child> = (0..8).map(|_| racer()).collect();
    for mut racer in racers {
        assert_eq!(wait(&mut racer, Duration::from_secs(100)), 0);
    }
    let seen = std::fs::read_to_string(&log).unwrap();
    let seen: Vec<u32> = seen.lines().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!(seen.len(), 80);
    assert_eq!(seen.iter().max(), Some(&3), "{seen:?}");
    assert!(!sandbox.lock("job").exists() && grants(&sandbox) == 0 && tickets(&sandbox) == 0);
}

#[test]
fn each_holder_has_a_token_and_an_end_of_its_own() {
    let sandbox = Sandbox::new();
    let [one, two, three] = ["ann", "bob", "cat"].map(|agent| acquire(&sandbox, "3", agent));
    assert!(one.parse::<u64>().unwrap() < two.parse().unwrap() && two < three);
    let refused = sandbox.refused(&["lease", "acquire", "job", "--slots", "3"], 3);
    assert!(refused.err.contains("ann") && refused.err.contains("2 other holders"), "{refused:?}");
    sandbox.refused(&["lease", "acquire", "job"], 3);
    let verb = |verb, token: &str, status| {
        let out = sandbox.zeta(&["lease", verb, "job", "--token", token]);
        assert_eq!(out.status, status, "{verb} {token}: {out:?}");
    };
    verb("check", &one, 0);
    verb("renew", &two, 0);
    verb("release", &two, 0);
    verb("check", &two, 5);
    verb("renew", &two, 5);
    for token in [&one, &three] {
        verb("check", token, 0);
    }
    let why = ["--reason", "why"];
    sandbox.ok(&[&["lease", "break", "job", "--expect", &one], &why[..]].concat());
    let lost = sandbox.refused(&["lease", "renew", "job", "--token", &one], 5);
    assert!(lost.err.contains("why"), "{lost:?}");
    let again =
        sandbox.refused(&[&["lease", "break", "job", "--expect", &one], &why[..]].concat(), 3);
    assert!(!again.err.contains("is free") && again.err.contains("lease show"), "{again:?}");
    let four = acquire(&sandbox, "3", "dan");
    let listed = sandbox.ok(&["lease", "list"]);
    assert!(listed.contains("cat") && listed.contains("dan") && !listed.contains("ann"));
    verb("release", &three, 0);
    assert!(sandbox.lock("job").exists(), "a holder is left");
    verb("release", &four, 0);
    verb("release", &four, 0);
    let left: Vec<String> =
        files(&sandbox, "").into_iter().filter(|name| name.starts_with("job")).collect();
    assert_eq!(left, [""; 0], "it leaves no name in the node's directory");
    sandbox.refused(&["lease", "show", "job"], 4);
    assert!(sandbox.acquire(&["job"]) > four.parse().unwrap());
}

#[test]
fn the_lowest_number_that_a_holder_was_promised_counts() {
    let sandbox = Sandbox::new();
    let one = acquire(&sandbox, "2", "ann");
    acquire(&sandbox, "5", "bob");
    sandbox.refused(&["lease", "acquire", "job", "--slots", "5"], 3);
    sandbox.ok(&["lease", "release", "job", "--token", &one]);
    acquire(&sandbox, "5", "cat");
    sandbox.refused(&["lease", "acquire", "job", "--slots", "2"], 3);
    acquire(&sandbox, "5", "dan");
    for bad in ["0", "1025", "-1", "x"] {
        sandbox.refused(&["lease", "acquire", "job", &format!("--slots={bad}")], 2);
    }
}

#[test]
fn a_refusal_names_what_decided_it_and_asks_for_what_was_asked() {
    let sandbox = Sandbox::new();
    let held = ["ann", "bob"].map(|agent| acquire(&sandbox, "3", agent));
    let refused = |status, more: &[&str]| {
        sandbox.refused(&[&["lease", "acquire", "job"], more].concat(), status)
    };
    let alone = refused(3, &[]);
    assert!(alone.err.contains("acquire job --wait"), "it wanted the lease alone: {alone:?}");
    let two = refused(3, &["--slots", "2"]);
    assert!(two.err.contains("--slots 2 --wait"), "{two:?}");
    // Another one waits for more room than there is, and this one behind it.
    let first = waiter(&sandbox, 0, &["--slots", "2", "--as", "cat"]);
    let behind = refused(6, &["--slots", "3", "--wait", "300ms"]);
    for said in ["ann", "another holder", "ahead in the queue", "acquire job --slots 3 --wait"] {
        assert!(behind.err.contains(said), "{said}: {behind:?}");
    }
    for never in ["several-holders", "lease break"] {
        assert!(!behind.err.contains(never), "{never}: {behind:?}");
    }
    sandbox.ok(&["lease", "release", "job", "--token", &held[0]]);
    assert_eq!(finish(first, Instant::now(), SOON).status, 0);
    // The others do not have what it had.
    let lost = sandbox.refused(&["lease", "release", "job", "--token", &held[0]], 5);
    assert!(!lost.err.contains("holds it") && lost.err.contains("options of before"), "{lost:?}");
}

#[test]
fn one_attempt_gets_one_grant_and_not_another_one() {
    let sandbox = Sandbox::new();
    let attempt = |slots| {
        let args = ["lease", "acquire", "job", "--lease-id", "x", "--as", "ann", "--slots", slots];
        sandbox.zeta(&args)
    };
    let first = attempt("3");
    acquire(&sandbox, "3", "bob");
    let again = attempt("3");
    assert_eq!((again.status, again.out), (0, first.out));
    assert_eq!(attempt("2").status, 2);
    let alone = sandbox.zeta(&["lease", "acquire", "job", "--lease-id", "x", "--as", "ann"]);
    assert_eq!(alone.status, 2, "{alone:?}");
    assert_eq!(grants(&sandbox), 2);
}

#[test]
fn a_plain_lease_and_a_counted_one_exclude_each_other() {
    let sandbox = Sandbox::new();
    let plain = sandbox.acquire(&["job", "--ttl", "5m"]).to_string();
    sandbox.refused(&["lease", "acquire", "job", "--slots", "3"], 3);
    sandbox.ok(&["lease", "release", "job", "--token", &plain]);
    let counted = acquire(&sandbox, "3", "ann");
    let waiting = waiter(&sandbox, 0, &[]);
    let released = Instant::now();
    sandbox.ok(&["lease", "release", "job", "--token", &counted]);
    let out = finish(waiting, released, SOON);
    assert_eq!(out.status, 0, "{out:?}");
    assert!(!std::fs::read_to_string(sandbox.lock("job")).unwrap().contains("joint"));
    sandbox.refused(&["lease", "acquire", "job", "--slots", "3"], 3);
    // The holder of a plain lease that ended makes room for counted ones.
    sandbox.forge_keys(
        "job",
        &[("boot_id", Some("\"old\"")), ("renewed_boot_ns", Some("8000000000000000"))],
    );
    acquire(&sandbox, "3", "bob");
    acquire(&sandbox, "3", "cat");
}

#[test]
fn a_killed_holder_makes_room_at_once() {
    // The next check would make it late each time.
    one_is_faster(Duration::from_millis(900), || {
        let sandbox = Sandbox::new();
        acquire(&sandbox, "2", "ann");
        let child = holder(&sandbox, &["--slots", "2", "--ttl", "5m"]);
        wait_for("it holds", || grants(&sandbox) == 2);
        let waiting = waiter(&sandbox, 0, &["--slots", "2"]);
        let killed = Instant::now();
        end(child);
        let out = finish(waiting, killed, SOON);
        assert_eq!(out.status, 0, "{out:?}");
        assert_eq!(grants(&sandbox), 2);
        out.took
    });
}

#[test]
fn the_last_release_removes_what_dead_holders_left_and_so_does_clean() {
    let sandbox = Sandbox::new();
    for by_clean in [false, true] {
        let one = acquire(&sandbox, "3", "ann");
        let child = holder(&sandbox, &["--slots", "3", "--ttl", "5m"]);
        wait_for("it holds", || grants(&sandbox) == 2);
        let dead = || sandbox.ok(&["lease", "show", "job"]).contains("holder_dead");
        if by_clean {
            sandbox.ok(&["lease", "release", "job", "--token", &one]);
            end(child);
            // Its command dies by a signal of the kernel, a moment later.
            wait_for("its command has died, too", dead);
            let dry = sandbox.ok(&["clean", "--dry-run", "--json"]);
            assert!(dry.contains("holder_dead") && dry.contains("no_grant"), "{dry}");
            assert!(sandbox.lock("job").exists() && grants(&sandbox) == 1);
            sandbox.ok(&["clean"]);
            // A killed release leaves an empty directory.
            std::fs::create_dir(sandbox.node().join("job.grants")).unwrap();
            std::fs::set_permissions(sandbox.node().join("job.grants"), private()).unwrap();
            let cleaned = sandbox.ok(&["clean"]);
            assert!(cleaned.contains("job.grants"), "{cleaned}");
        } else {
            end(child);
            wait_for("its command has died, too", dead);
            sandbox.ok(&["lease", "release", "job", "--token", &one]);
        }
        assert!(!sandbox.lock("job").exists(), "{by_clean}");
        assert!(!sandbox.node().join("job.grants").exists(), "{by_clean}");
        assert!(!sandbox.zeta(&["doctor"]).out.contains("odd_name"));
    }
}

#[test]
fn the_line_is_fair_and_nobody_passes_a_waiter_that_needs_more_room() {
    let sandbox = Sandbox::new();
    let one = acquire(&sandbox, "2", "ann");
    let two = acquire(&sandbox, "2", "bob");
    // The first in line wants to be alone, so the second place that is free is not the other's.
    let alone = waiter(&sandbox, 0, &["--as", "cat"]);
    let beside = waiter(&sandbox, 1, &["--slots", "2", "--as", "dan"]);
    sandbox.ok(&["lease", "release", "job", "--token", &one]);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!((tickets(&sandbox), grants(&sandbox)), (2, 1), "one has passed the other");
    let released = Instant::now();
    sandbox.ok(&["lease", "release", "job", "--token", &two]);
    let out = finish(alone, released, SOON);
    assert_eq!(out.status, 0, "{out:?}");
    let token = out.out.trim().to_owned();
    sandbox.ok(&["lease", "release", "job", "--token", &token]);
    let out = finish(beside, released, SOON);
    assert_eq!(out.status, 0, "{out:?}");
    assert_eq!(tickets(&sandbox), 0);
}

#[test]
fn two_places_that_become_free_wake_two_waiters() {
    // The next check would make one of them late each time.
    one_is_faster(Duration::from_millis(900), || {
        let sandbox = Sandbox::new();
        let held = ["ann", "bob"].map(|agent| acquire(&sandbox, "2", agent));
        let waiting = [0, 1].map(|before| waiter(&sandbox, before, &["--slots", "2"]));
        let released = Instant::now();
        for token in &held {
            sandbox.ok(&["lease", "release", "job", "--token", token]);
        }
        let took = waiting.map(|waiting| {
            let out = finish(waiting, released, SOON);
            assert_eq!(out.status, 0, "{out:?}");
            out.took
        });
        assert_eq!((tickets(&sandbox), grants(&sandbox)), (0, 2));
        took[0].max(took[1])
    });
}

#[test]
fn what_an_old_program_breaks_is_broken_for_every_holder_and_stays_so() {
    let sandbox = Sandbox::new();
    let tokens = ["ann", "bob"].map(|agent| acquire(&sandbox, "2", agent));
    // An older program finds the lease held by one record, and removes that.
    let record = std::fs::read_to_string(sandbox.lock("job")).unwrap();
    assert!(record.contains("\nttl_ms: ") && !record.contains("\npid: "), "{record}");
    std::fs::remove_file(sandbox.lock("job")).unwrap();
    let plain = sandbox.acquire(&["job", "--ttl", "5m"]).to_string();
    for token in &tokens {
        for verb in ["check", "renew"] {
            sandbox.refused(&["lease", verb, "job", "--token", token], 5);
        }
    }
    sandbox.ok(&["lease", "release", "job", "--token", &plain]);
    acquire(&sandbox, "2", "cat");
    for token in &tokens {
        sandbox.refused(&["lease", "check", "job", "--token", token], 5);
    }
    assert_eq!(grants(&sandbox), 1, "the broken grants hold no place");
}

#[test]
fn a_session_keeps_all_its_places_and_gives_them_back() {
    let sandbox = Sandbox::new();
    let held = sandbox.dir.join("held");
    let work = format!(
        "for i in 1 2; do \"$ZETA\" lease acquire job --slots 3 --ttl 800ms || exit 9; done; \
         sleep 2; \"$ZETA\" lease list > {}",
        held.display()
    );
    let mut run = sandbox.cmd(&["run", "--as", "otto", "--", "sh", "-c", &work]);
    let run = run.env("ZETA", env!("CARGO_BIN_EXE_zeta"));
    let out = crate::support::run(run);
    assert_eq!(out.status, 0, "{out:?}");
    let held = std::fs::read_to_string(&held).unwrap();
    assert_eq!(held.matches("held ").count(), 2, "it must be renewed: {held}");
    assert!(!sandbox.lock("job").exists() && grants(&sandbox) == 0);
}

#[test]
fn a_wait_ends_when_the_last_holder_has_gone() {
    let sandbox = Sandbox::new();
    let tokens = ["ann", "bob"].map(|agent| acquire(&sandbox, "2", agent));
    let mut call = sandbox.cmd(&["lease", "wait", "job", "--timeout", "20s"]);
    let mut call = call.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    sandbox.ok(&["lease", "release", "job", "--token", &tokens[0]]);
    std::thread::sleep(Duration::from_millis(300));
    assert!(call.try_wait().unwrap().is_none(), "one holder is left");
    let released = Instant::now();
    sandbox.ok(&["lease", "release", "job", "--token", &tokens[1]]);
    assert_eq!(finish(call, released, SOON).status, 0);
}

#[test]
fn killed_processes_leave_nothing_that_holds_a_place_for_ever() {
    let sandbox = Sandbox::new();
    acquire(&sandbox, "2", "ann");
    for round in 0..40u64 {
        let args =
            ["lease", "exec", "job", "--slots", "2", "--ttl", "5m", "-w", "20", "--", "true"];
        let mut child = sandbox.cmd(&args).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(round * 700));
        let _ = child.kill();
        child.wait().unwrap();
    }
    // The processes of the last round may still end.
    let last = sandbox.ok(&["lease", "acquire", "job", "--slots", "2", "--wait", "10s"]);
    sandbox.ok(&["lease", "check", "job", "--token", &last]);
    sandbox.refused(&["lease", "acquire", "job", "--slots", "2"], 3);
    assert_eq!(grants(&sandbox), 2);
}
