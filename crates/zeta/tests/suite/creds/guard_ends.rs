//! `zeta creds guard` when something ends in the middle: a signal, a tool that dies between two
//! writes, a slow writer, a link that a tool replaces.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use super::cli::LOCK;
use super::guard::{BLOB, Place, SEAL, answer};
use super::issuer::{login, token_of};
use super::sandbox::names;
use crate::support::{LIMIT, finish, run_within, signal, wait_for};

/// Runs a guard whose tool is a script of a shell; the login is `$1`, and `$2` is the next one.
fn scripted(place: &Place, args: &[&str], script: &str) -> (i32, Value) {
    let mut command = place.command(&[&["guard", "claude", "--json", "--force"], args].concat());
    command.args(["--", "sh", "-c", script, "tool"]).arg(place.login()).arg(login("r1", 1));
    let (status, said) = answer(&run_within(&mut command, Duration::from_secs(60)));
    (status, said)
}

fn outcome(said: &Value) -> &str {
    said["outcome"].as_str().unwrap_or_default()
}

/// Starts a guard that leads a process group.
fn start_in_group(place: &Place, args: &[&str], how: &str) -> (Child, Pid) {
    let mut command = place.guard(args, how);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn().unwrap();
    let pid = Pid::from_child(&child);
    (child, pid)
}

#[test]
fn a_signal_waits_until_the_refresh_has_come_to_its_end() {
    for number in [Signal::TERM, Signal::INT, Signal::HUP] {
        for to_group in [false, true] {
            let place = Place::new();
            let (guard, pid) = start_in_group(&place, &["--force"], "asked");
            place.reaches("asked");
            match to_group {
                true => kill_process_group(pid, number).unwrap(),
                false => signal(guard.id(), number),
            }
            std::thread::sleep(Duration::from_millis(50));
            place.go();
            let out = finish(guard, Instant::now(), LIMIT);
            assert!(out.err.contains("comes to its end first"), "{number:?} {out:?}");
            let (status, said) = answer(&out);
            assert_eq!((status, outcome(&said)), (0, "refreshed"), "{number:?} {to_group}");
            place.is_alive();
        }
    }
    // Only this one ends it in the middle, and then the answer is to call again.
    let place = Place::new();
    let (guard, _) = start_in_group(&place, &["--force"], "before");
    place.reaches("before");
    signal(guard.id(), Signal::QUIT);
    let (status, said) = answer(&finish(guard, Instant::now(), LIMIT));
    assert_eq!((status, outcome(&said)), (5, "not_renewed"), "{said}");
    assert!(said["hints"][0].as_str().unwrap().contains("call again"), "{said}");
}

#[test]
fn a_quit_ends_all_of_the_command_before_another_call_begins() {
    // A process below the command; one that does not heed the signal; one in a group of its own.
    for (how, prefix) in [("below", ""), ("deaf", "trap '' QUIT; "), ("group", "timeout 60 ")] {
        let place = Place::new();
        let started = place.desk.path("started");
        let late = "echo >\"$3\"; i=0; while [ $i -lt 25 ]; do sleep 0.1; i=$((i+1)); done; \
                    printf %s \"$2\" >\"$1\"";
        let inner = format!("{prefix}sh -c '{late}' x \"$1\" \"$2\" \"$3\"; true");
        let script =
            format!("sh -c '{}' x \"$1\" \"$2\" \"$3\"; true", inner.replace('\'', "'\\''"));
        let mut command = place.command(&["guard", "claude", "--json", "--force"]);
        command.args(["--", "sh", "-c", &script, "tool"]).arg(place.login());
        command.arg(login("late", 9)).arg(&started);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let guard = command.spawn().unwrap();
        wait_for("the inner process", || started.exists());
        signal(guard.id(), Signal::QUIT);
        let (status, said) = answer(&finish(guard, Instant::now(), LIMIT));
        assert_eq!((status, outcome(&said)), (5, "not_renewed"), "{how} {said}");
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(token_of(&place.login()).as_deref(), Some("r0"), "{how}: it lived on");
    }
}

#[test]
fn a_watch_that_is_ended_waits_for_its_refresh() {
    for to_group in [false, true] {
        let place = Place::new();
        let (watch, pid) = start_in_group(&place, &["--watch", "--margin", "40000d"], "asked");
        place.reaches("asked");
        match to_group {
            true => kill_process_group(pid, Signal::TERM).unwrap(),
            false => signal(watch.id(), Signal::TERM),
        }
        std::thread::sleep(Duration::from_millis(50));
        place.go();
        let out = finish(watch, Instant::now(), LIMIT);
        assert_eq!(out.status, 128 + 15, "{out:?}");
        place.is_alive();
        assert_eq!(place.issuer.seen().refreshes, 1);
    }
}

#[test]
fn a_watch_whose_margin_is_longer_than_the_logins_live_says_so() {
    let place = Place::new();
    // Its logins are good until 2096.
    let watch = place.start(&["--watch", "--margin", "40000d"], "plain");
    wait_for("it refreshes", || token_of(&place.login()).as_deref() == Some("r1"));
    std::thread::sleep(Duration::from_millis(300));
    signal(watch.id(), Signal::TERM);
    let out = finish(watch, Instant::now(), LIMIT);
    assert!(out.err.contains("less than the margin of 3456000000 s"), "{out:?}");
}

#[test]
fn a_tool_that_dies_between_two_writes_loses_no_login() {
    let place = Place::new();
    for (script, came) in [
        ("rm \"$1\"; kill -9 $$", "broken"),
        ("rm \"$1\"; exit 1", "broken"),
        (": >\"$1\"; kill -9 $$", "broken"),
        ("rm \"$1\"; printf %s \"$2\" >\"$1\"; exit 1", "refreshed"),
        ("rm \"$1\"", "removed"),
    ] {
        fs::write(place.login(), login("r0", 0)).unwrap();
        let (status, said) = scripted(&place, &[], script);
        assert_eq!((outcome(&said), status == 0), (came, came == "refreshed"), "{script} {said}");
        let token = token_of(&place.login());
        match came {
            "broken" => assert_eq!(token.as_deref(), Some("r0"), "{script}"),
            "removed" => assert!(!place.login().exists(), "a logout is not undone"),
            _ => assert_eq!(token.as_deref(), Some("r1"), "{script}"),
        }
    }
}

#[test]
fn a_writer_that_is_slow_is_waited_for() {
    let place = Place::new();
    let script = "exec 9>\"$1\"; ( sleep 3; printf %s \"$2\" >&9 ) >/dev/null 2>&1 &";
    let (status, said) = scripted(&place, &[], script);
    assert_eq!((status, outcome(&said)), (0, "refreshed"), "{said}");
    assert_eq!(token_of(&place.login()).as_deref(), Some("r1"));
}

#[test]
fn what_a_tool_left_broken_is_kept_under_a_name_that_is_free() {
    let place = Place::new();
    let broken = format!("{}.zeta-broken", place.login().display());
    // An empty file, too: a process that has it open may write to it yet.
    assert_eq!(outcome(&scripted(&place, &[], ": >\"$1\"").1), "broken");
    assert_eq!(fs::read(&broken).unwrap(), b"");
    fs::remove_file(&broken).unwrap();
    fs::create_dir(&broken).unwrap();
    let (status, said) = scripted(&place, &[], "printf '{' >\"$1\"");
    assert_eq!((status, outcome(&said)), (5, "broken"), "{said}");
    assert!(said["message"].as_str().unwrap().contains("in place again"), "{said}");
    let hint = said["hints"][0].as_str().unwrap();
    let kept = hint.strip_prefix("what it left: ").unwrap();
    assert_eq!(fs::read(kept).unwrap(), b"{");
    assert_eq!(token_of(&place.login()).as_deref(), Some("r0"));
}

/// A guard that was killed, with its tool, after the tool did `script`.
fn killed_after(place: &Place, script: &str) {
    let mut command = place.command(&["guard", "claude", "--force", "--", "sh", "-c"]);
    let script = format!("{script}; kill -9 $PPID; kill -9 $$");
    command.arg(script).arg("tool").arg(place.login());
    assert_eq!(run_within(&mut command, LIMIT).status, 128 + 9);
}

fn copies(place: &Place) -> usize {
    let names = names(place.login().parent().unwrap());
    names.iter().filter(|name| name.starts_with(".zeta-guard-")).count()
}

#[test]
fn the_copy_of_a_guard_that_was_killed_is_used() {
    for broken in ["", "{\"claudeAiOauth"] {
        let place = Place::new();
        // Its guard saw it in this state.
        killed_after(&place, &format!("printf '{broken}' >\"$1\"; sleep 1"));
        assert_eq!((copies(&place), token_of(&place.login())), (1, None));
        let (status, said) = place.run(&[], "plain");
        assert_eq!((status, outcome(&said)), (0, "still_valid"), "{said}");
        assert_eq!((copies(&place), token_of(&place.login()).as_deref()), (0, Some("r0")));
        let (status, said) = place.run(&["--force"], "plain");
        assert_eq!((status, outcome(&said)), (0, "refreshed"), "{said}");
        place.is_alive();
    }
    // A whole login is not replaced by it.
    let place = Place::new();
    killed_after(&place, ":");
    fs::write(place.login(), login("later", 9)).unwrap();
    assert_eq!(place.run(&[], "plain").0, 0);
    assert_eq!((copies(&place), token_of(&place.login()).as_deref()), (0, Some("later")));
    // The command of a guard that was killed came to its end; later another program cut the file.
    let place = Place::new();
    killed_after(&place, "sleep 1");
    fs::write(place.login(), login("r1", 1)).unwrap();
    fs::write(place.login(), "").unwrap();
    let ran = place.desk.path("ran");
    let script = format!("echo >'{}'", ran.display());
    let (status, said) = scripted(&place, &[], &script);
    assert_eq!((status, said["error"].as_str()), (3, Some("not_found")), "{said}");
    assert!(said["hints"][1].as_str().unwrap().contains("/.zeta-guard-claude-"), "{said}");
    assert!(!ran.exists(), "its token was spent");
    assert_eq!((copies(&place), fs::read(place.login()).unwrap()), (1, Vec::new()));
    // Without a file it may be a logout: the copy is named, and nothing is put back.
    let place = Place::new();
    killed_after(&place, "rm \"$1\"");
    let (status, said) = place.run(&[], "plain");
    assert_eq!((status, said["error"].as_str()), (3, Some("not_found")), "{said}");
    assert!(said["hints"][1].as_str().unwrap().contains("/.zeta-guard-claude-"), "{said}");
    assert_eq!(copies(&place), 1);
    // What another file is, however it is named, stays.
    let place = Place::new();
    fs::write(place.login(), "").unwrap();
    let odd = place.login().with_file_name(format!(".zeta-guard-claude-{}", "0".repeat(31)));
    fs::write(&odd, login("r7", 7)).unwrap();
    assert_eq!(place.run(&[], "plain").0, 3);
    assert!(odd.exists());
}

#[test]
fn a_tool_may_put_a_file_in_the_place_of_a_link() {
    let place = Place::new();
    let real = place.desk.path("home/kept/.credentials.json");
    let link = |token: &str| {
        let _ = fs::remove_file(place.login());
        fs::create_dir_all(real.parent().unwrap()).unwrap();
        fs::write(&real, login(token, 0)).unwrap();
        symlink(&real, place.login()).unwrap();
    };
    link("r0");
    let renames = "printf %s \"$2\" >\"$1.new\"; sleep 2; mv \"$1.new\" \"$1\"";
    let others: Vec<(i32, Value)> = std::thread::scope(|scope| {
        let call = || scripted(&place, &[], renames);
        let calls: Vec<_> = (0..3).map(|_| scope.spawn(call)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    // All of them began with the lease of the file that the link led to.
    let mut outcomes: Vec<&str> = others.iter().map(|(_, said)| outcome(said)).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["refreshed", "renewed_by_another", "renewed_by_another"], "{others:?}");
    assert_eq!(token_of(&place.login()).as_deref(), Some("r1"));
    assert_eq!(token_of(&real).as_deref(), Some("r0"));
    link("r0");
    let (status, said) = scripted(&place, &[], "rm \"$1\"; printf '{' >\"$1\"");
    assert_eq!((status, outcome(&said)), (5, "broken"), "{said}");
    let hint = said["hints"][0].as_str().unwrap();
    assert!(hint.ends_with(&real.display().to_string()), "{said}");
    assert_eq!(token_of(&real).as_deref(), Some("r0"));
}

#[test]
fn a_restore_waits_with_a_login_that_is_refreshed_now() {
    let place = Place::new();
    place.seal();
    let restore = || {
        let args = ["restore", "--input", BLOB, "--persona", "otto", "--json"];
        let out = run_within(&mut place.command(&[&args[..], &LOCK].concat()), LIMIT * 3);
        let said: Value = serde_json::from_str(&out.out).unwrap();
        (out.status, said["files"][0].clone())
    };
    let guard = place.start(&["--force"], "half");
    place.reaches("half");
    let (status, file) = restore();
    assert_eq!((status, file["outcome"].as_str()), (8, Some("refused")), "{file}");
    assert!(file.to_string().contains("a guard refreshes this login now"), "{file}");
    place.go();
    assert_eq!(answer(&finish(guard, Instant::now(), LIMIT)).0, 0);
    place.is_alive();
    assert_eq!(restore().1["outcome"], "kept_newer");
}

#[test]
fn a_blob_keeps_the_login_of_another_account() {
    let place = Place::new();
    let file = place.desk.path("home/.codex/auth.json");
    fs::create_dir(file.parent().unwrap()).unwrap();
    let text = |token: &str, account: &str, day: u32| {
        let tokens = serde_json::json!({"access_token": format!("a{token}"),
            "refresh_token": token, "account_id": account});
        let last = format!("2026-11-{day}T00:00:00Z");
        serde_json::json!({"tokens": tokens, "last_refresh": last}).to_string()
    };
    fs::write(&file, text("w1", "work", 10)).unwrap();
    place.seal();
    fs::write(&file, text("p1", "private", 11)).unwrap();
    let tool = |next: String| {
        let args = [&["guard", "codex", "--json"], &SEAL[..]].concat();
        let mut command = place.command(&args);
        command.args(["--", "sh", "-c", "printf %s \"$2\" >\"$1\"", "tool"]);
        command.arg(Path::new(&file)).arg(next);
        answer(&run_within(&mut command, LIMIT * 3))
    };
    let (status, said) = tool(text("p2", "private", 12));
    assert_eq!((status, said["copy"].as_str()), (0, Some("kept_account")), "{said}");
    fs::write(&file, text("w2", "work", 13)).unwrap();
    let (status, said) = tool(text("w3", "work", 14));
    assert_eq!((status, said["copy"].as_str()), (0, Some("renewed")), "{said}");
}
