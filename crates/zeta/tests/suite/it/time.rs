//! Clocks: the wall clock, file times and time namespaces must not take a lease from a live holder.

use std::fs::FileTimes;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::{Sandbox, can, is_root, run, skip, test_name};

fn set_mtime(path: &Path, mtime: SystemTime) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(mtime)).unwrap();
}

fn day() -> Duration {
    Duration::from_secs(86_400)
}

#[test]
fn the_wall_clock_decides_nothing_on_the_same_boot() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["job"]).to_string();
    for text in ["\"2000-01-01T00:00:00.000000Z\"", "\"2099-01-01T00:00:00.000000Z\"", "\"soon\""] {
        let keys = ["timestamp", "acquired_at", "renewed_at", "expires_at"];
        sandbox.forge_keys("job", &keys.map(|key| (key, Some(text))));
        sandbox.refused(&["lease", "acquire", "job"], 3);
        sandbox.ok(&["lease", "check", "job", "--token", &token]);
    }
    for mtime in [SystemTime::UNIX_EPOCH, SystemTime::now() + day(), SystemTime::now() - day()] {
        set_mtime(&sandbox.lock("job"), mtime);
        sandbox.refused(&["lease", "acquire", "job"], 3);
        sandbox.ok(&["lease", "check", "job", "--token", &token]);
    }
    sandbox.ok(&["lease", "renew", "job", "--token", &token]);
}

#[test]
fn a_wall_clock_that_jumps_changes_no_lease() {
    if !zeta_os::clock::HAS_SEAM {
        return skip(test_name!(), "a build without the seam");
    }
    let sandbox = Sandbox::new();
    let clock = sandbox.dir.join("clock");
    let set = |days: i64| {
        std::fs::write(&clock, (days * 86_400 * 1_000_000_000).to_ne_bytes()).unwrap();
    };
    let zeta = |args: &[&str]| run(sandbox.cmd(args).env("ZETA_TEST_CLOCK", &clock));
    set(0);
    let mut token = zeta(&["lease", "acquire", "job", "--ttl", "1m"]).out.trim().to_owned();
    for days in [30, -30, 0, 400, -400] {
        set(days);
        assert_eq!(zeta(&["lease", "acquire", "job"]).status, 3, "{days} days");
        assert_eq!(zeta(&["lease", "check", "job", "--token", &token]).status, 0, "{days} days");
        assert_eq!(zeta(&["clean"]).status, 0, "{days} days");
        assert_eq!(zeta(&["lease", "renew", "job", "--token", &token]).status, 0, "{days} days");
        assert_eq!(zeta(&["lease", "release", "job", "--token", &token]).status, 0, "{days} days");
        let out = zeta(&["lease", "acquire", "job", "--ttl", "1m"]);
        let next = out.out.trim().to_owned();
        assert!(next.parse::<u64>().unwrap() > token.parse().unwrap(), "{days} days: {out:?}");
        token = next;
    }
    // It was that clock that was read: the highest token is 400 days ahead.
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!(u128::from(token.parse::<u64>().unwrap()) > (wall + 399 * day()).as_micros());
}

#[test]
fn a_shifted_boot_clock_robs_nobody() {
    for offset in ["100000", "-60"] {
        let shift = ["--time", "--boottime", offset];
        if !is_root() || !can("unshare", &[&shift[..], &["true"]].concat()) {
            return skip(test_name!(), "needs root and unshare --time");
        }
        let sandbox = Sandbox::new();
        let token = sandbox.acquire(&["job", "--ttl", "1m"]).to_string();
        let mut shifted = sandbox.other("unshare", &shift);
        shifted.args([env!("CARGO_BIN_EXE_zeta"), "lease", "acquire", "job"]);
        let out = run(&mut shifted);
        assert_eq!(out.status, 3, "offset {offset}: {out:?}");
        sandbox.ok(&["lease", "release", "job", "--token", &token]);
        // And the other way round: a record from in there, judged out here.
        let out = run(&mut shifted);
        assert_eq!(out.status, 0, "offset {offset}: {out:?}");
        sandbox.refused(&["lease", "acquire", "job"], 3);
    }
}

#[test]
fn a_time_namespace_under_an_old_number_robs_nobody() {
    let warp = |offset: &str| ["--time", "--boottime", offset].map(str::to_owned);
    if !is_root() || !can("unshare", &["--time", "--boottime", "1", "true"]) {
        return skip(test_name!(), "needs root and unshare --time");
    }
    let sandbox = Sandbox::new();
    let zeta = |offset: &str, args: &[&str]| {
        let warp = warp(offset);
        let mut warped = sandbox.other("unshare", &warp.each_ref().map(String::as_str));
        run(warped.arg(env!("CARGO_BIN_EXE_zeta")).args(args))
    };
    // Each namespace ends with its process, and the kernel gives its number to the next.
    let out = zeta("1", &["lease", "acquire", "job", "--ttl", "1m"]);
    assert_eq!(out.status, 0, "{out:?}");
    let token = out.out.trim().to_owned();
    for offset in ["100000", "60", "-60"] {
        let out = zeta(offset, &["lease", "acquire", "job"]);
        assert_eq!(out.status, 3, "offset {offset}: {out:?}");
    }
    assert_eq!(zeta("0", &["lease", "renew", "job", "--token", &token, "--ttl", "1m"]).status, 0);
    assert_eq!(zeta("0", &["lease", "check", "job", "--token", &token]).status, 0);
    // A holder that sees an older clock than it wrote stops too early rather than too late. Another
    // test may have got the number of the namespace; then the wall clock counts.
    let check = ["lease", "check", "job", "--token", &token];
    assert!((0..50).any(|_| zeta("100000", &check).status == 5));
}

#[test]
fn a_file_s_time_that_lags_robs_nobody() {
    let shift = ["--time", "--boottime", "1000"];
    if !is_root() || !can("unshare", &[&shift[..], &["true"]].concat()) {
        return skip(test_name!(), "needs root and unshare --time");
    }
    let sandbox = Sandbox::new();
    let renewed_ns = || -> u64 {
        let text = std::fs::read_to_string(sandbox.lock("job")).unwrap();
        let of = |line: &str| line.strip_prefix("renewed_boot_ns: ")?.parse().ok();
        text.lines().find_map(of).unwrap()
    };
    for round in 0..8 {
        sandbox.acquire(&["job", "--ttl", "100ms"]);
        let before_ns = renewed_ns();
        let mut shifted = sandbox.other("unshare", &shift);
        shifted.args([env!("CARGO_BIN_EXE_zeta"), "lease", "acquire", "job", "--wait", "5s", "-q"]);
        let out = run(&mut shifted);
        assert_eq!(out.status, 0, "{out:?}");
        let waited_ns = renewed_ns() - 1_000_000_000_000 - before_ns;
        assert!(waited_ns > 100_000_000, "round {round}: granted after {waited_ns} ns");
        sandbox.ok(&["lease", "release", "job", "--token", out.out.trim()]);
    }
}

#[test]
fn a_foreign_record_is_judged_by_its_age() {
    let sandbox = Sandbox::new();
    let first = sandbox.acquire(&["job"]);
    sandbox.ok(&["lease", "release", "job", "--token", &first.to_string()]);
    let path = sandbox.lock("job");
    let hour = Duration::from_secs(3600);
    for (text, mtime, status) in [
        ("pid: 1\n", SystemTime::now(), 3),
        ("", SystemTime::now(), 3),
        // In the future: the kernel's own ctime says that it is fresh.
        ("pid: 1\n", SystemTime::now() + day(), 3),
        ("pid: 1\nttl: 2h\n", SystemTime::now() - hour, 3),
        ("pid: 1\n", SystemTime::now() - hour, 0),
        ("pid: 1\n", SystemTime::UNIX_EPOCH, 0),
        ("pid: 1\nttl: \"30s\"\n", SystemTime::now() - Duration::from_secs(60), 0),
        ("12345\n", SystemTime::now() - hour, 0),
    ] {
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        set_mtime(&path, mtime);
        let out = sandbox.zeta(&["lease", "acquire", "job"]);
        assert_eq!(out.status, status, "{text:?} of {mtime:?}: {out:?}");
        match status {
            0 => assert!(out.out.trim().parse::<u64>().unwrap() > first),
            _ => assert_eq!(std::fs::read_to_string(&path).unwrap(), text),
        }
    }
}

#[test]
fn a_late_renewal_stands_if_nobody_was_in_between() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["job", "--ttl", "200ms"]).to_string();
    std::thread::sleep(Duration::from_millis(300));
    let out = sandbox.refused(&["lease", "check", "job", "--token", &token], 5);
    assert!(out.err.contains("renew"), "{out:?}");
    let effect = sandbox.dir.join("effect");
    let fenced = ["lease", "exec", "job", "--fenced", "--token", &token, "--", "touch"];
    assert_eq!(run(sandbox.cmd(&fenced).arg(&effect)).status, 5);
    assert!(!effect.exists());
    let out = sandbox.zeta(&["lease", "renew", "job", "--token", &token, "--ttl", "5m"]);
    assert!(out.status == 0 && out.err.contains("had been expired"), "{out:?}");
    sandbox.ok(&["lease", "check", "job", "--token", &token]);
    // The record's TTL counts, not the asker's.
    sandbox.refused(&["lease", "acquire", "job", "--ttl", "100ms"], 3);
}

#[test]
fn tokens_grow_past_everything_that_is_known() {
    let sandbox = Sandbox::new();
    let mut last = sandbox.acquire(&["job"]);
    let ahead = last + 1_000_000_000_000;
    sandbox.ok(&["lease", "release", "job", "--token", &last.to_string()]);
    // The wall clock was set back: the token file knows better.
    std::fs::write(sandbox.guard("job").join("fencing_token"), format!("{ahead:020}\n")).unwrap();
    assert_eq!(sandbox.acquire(&["job"]), ahead + 1);
    // The token file is gone or garbage: the record knows better.
    std::fs::write(sandbox.guard("job").join("fencing_token"), "garbage\n").unwrap();
    sandbox.forge_keys("job", &[("ttl_ms", Some("1"))]);
    std::thread::sleep(Duration::from_millis(10));
    last = sandbox.acquire(&["job"]);
    assert_eq!(last, ahead + 2);
    // The record was deleted by hand: the token file knows.
    std::fs::remove_file(sandbox.lock("job")).unwrap();
    assert_eq!(sandbox.acquire(&["job"]), last + 1);
    for verb in ["renew", "release", "check"] {
        sandbox.refused(&["lease", verb, "job", "--token", &last.to_string()], 5);
    }
    // Record and guard were deleted by hand: the clock still goes on.
    let token = sandbox.acquire(&["other"]);
    std::fs::remove_file(sandbox.lock("other")).unwrap();
    std::fs::remove_dir_all(sandbox.guard("other")).unwrap();
    sandbox.refused(&["lease", "renew", "other", "--token", &token.to_string()], 5);
    assert!(sandbox.acquire(&["other"]) > token);
    // No number is left: an error, never a token that repeats.
    let end = (1_u64 << 53) - 1;
    std::fs::write(sandbox.guard("job").join("fencing_token"), format!("{end:020}\n")).unwrap();
    std::fs::remove_file(sandbox.lock("job")).unwrap();
    let out = sandbox.refused(&["lease", "acquire", "job"], 7);
    assert!(out.err.contains("no fencing token is left"), "{out:?}");
}
