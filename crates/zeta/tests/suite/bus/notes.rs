//! The note that a holder of a claim leaves for the next one.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::place::Place;
use crate::support::{Out, can, is_root, run, skip, test_name};

/// A file with a note; its path.
fn note(place: &Place, text: &[u8]) -> String {
    let file = place.sandbox.dir.join("words");
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

/// The note that stands beside the record of an item.
fn kept(place: &Place, lease: &Value) -> PathBuf {
    let lock = place.sandbox.lock(lease.as_str().unwrap());
    lock.with_file_name(format!("{}.note", lease.as_str().unwrap()))
}

fn hand_over(place: &Place, status: i32, from: &str, to: &str, note: &str) -> Value {
    let token = place.token(from, "B-1");
    let args = ["claim", "handover", "B-1", "--from", from, "--to", to, "--token", &token];
    place.json(status, &[&args[..], &["--note", note]].concat())
}

fn release(place: &Place, status: i32, from: &str, more: &[&str]) -> Value {
    let token = place.token(from, "B-1");
    let args = ["claim", "release", "B-1", "--from", from, "--token", &token];
    place.json(status, &[&args[..], more].concat())
}

fn text_of(answer: &Value) -> Option<&str> {
    answer["note"]["text"].as_str()
}

#[test]
fn who_gets_a_claim_by_handover_reads_the_note_and_no_one_before() {
    let place = Place::new();
    let words = note(&place, "done: the parser\r\nnext:\tits tests\n".as_bytes());
    let at = ["--branch", "feat/x", "--worktree", "/w/1"];
    assert_eq!(place.acquire_with(0, "otto", "B-1", &at).get("note"), None);
    let handed = hand_over(&place, 0, "otto", "vera", &words);
    assert_eq!(text_of(&handed), Some("done: the parser\nnext:\tits tests"));
    // cat shows it.
    let file = std::fs::read_to_string(kept(&place, &handed["lease"])).unwrap();
    assert!(file.ends_with("\nend: true\n\ndone: the parser\nnext:\tits tests\n"), "{file}");
    let seen = place.acquire(0, "vera", "B-1");
    let from = ["from", "to", "branch", "worktree"].map(|key| seen["note"][key].as_str().unwrap());
    assert_eq!(from, ["otto", "vera", "feat/x", "/w/1"]);
    assert_eq!(text_of(&seen), Some("done: the parser\nnext:\tits tests"));
    // It is said once, and can be read again.
    assert_eq!(text_of(&place.again(0, "vera", "B-1")), None);
    let token = place.token("vera", "B-1");
    let check = ["claim", "check", "B-1", "--from", "vera", "--token", &token];
    assert_eq!(text_of(&place.json(0, &check)), Some("done: the parser\nnext:\tits tests"));
    let out = place.ends(0, &check);
    assert!(out.err.contains("  | done: the parser\n  | next:    its tests\n"), "{out:?}");
    assert!(out.err.contains("no instruction to you"), "{out:?}");
    assert!(out.out.starts_with("yours: "), "{out:?}");
    // Its work done, the note goes.
    release(&place, 0, "vera", &[]);
    assert!(!kept(&place, &handed["lease"]).exists());
    assert_eq!(text_of(&place.acquire(0, "lior", "B-1")), None);
}

#[test]
fn a_release_leaves_a_note_for_whichever_agent_comes_next() {
    let place = Place::new();
    let lease = place.acquire(0, "otto", "B-1")["lease"].clone();
    let words = note(&place, b"half of it is done");
    let released = release(&place, 0, "otto", &["--note", &words]);
    assert_eq!(released["note_file"], kept(&place, &lease).display().to_string());
    let free = place.json(0, &["claim", "check", "B-1"]);
    assert_eq!((&free["claimed"], text_of(&free)), (&false.into(), Some("half of it is done")));
    let out = place.ends(0, &["claim", "acquire", "B-1", "--from", "vera"]);
    assert!(out.err.contains("note of otto about \"B-1\""), "{out:?}");
    assert!(out.err.contains("  | half of it is done"), "{out:?}");
    assert!(out.out.trim().parse::<u64>().is_ok(), "only the token: {out:?}");
    // Another item, and the same item on another bus, have none.
    assert_eq!(text_of(&place.acquire(0, "vera", "B-2")), None);
    // A holder that dies leaves the note that it got.
    let token = out.out.trim();
    let reason = ["lease", "break", lease.as_str().unwrap(), "--expect", token, "--reason", "x"];
    place.ends(0, &reason);
    assert_eq!(text_of(&place.acquire(0, "lior", "B-1")), Some("half of it is done"));
    // And a newer note replaces it.
    let words = note(&place, b"almost");
    release(&place, 0, "lior", &["--note", &words]);
    assert_eq!(text_of(&place.acquire(0, "ann", "B-1")), Some("almost"));
}

#[test]
fn a_note_names_the_branch_and_its_last_commit_as_git_keeps_them() {
    if !can("git", &["--version"]) {
        return skip(test_name!(), "needs git");
    }
    let place = Place::new();
    let top = place.sandbox.dir.join("r");
    let git = |dir: &Path, args: &[&str]| {
        let config = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"];
        let out = run(place.sandbox.other("git", &config).args(args).current_dir(dir));
        assert_eq!(out.status, 0, "git {args:?}: {out:?}");
        out.out.trim().to_owned()
    };
    std::fs::create_dir(&top).unwrap();
    git(&top, &["init", "-q"]);
    git(&top, &["commit", "-q", "--allow-empty", "-m", "one"]);
    git(&top, &["worktree", "add", "-q", "-b", "feat/x", "../w"]);
    let worktree = place.sandbox.dir.join("w");
    git(&worktree, &["commit", "-q", "--allow-empty", "-m", "two"]);
    let words = note(&place, b"x");
    let left = |dir: &Path, claim: &[&str]| {
        place.acquire_with(0, "otto", "B-1", claim);
        let token = place.token("otto", "B-1");
        let args = ["claim", "release", "B-1", "--from", "otto", "--note", &words];
        let out = run(place.cmd(&args).args(["--token", &token]).current_dir(dir));
        assert_eq!(out.status, 0, "{out:?}");
        let note = place.json(0, &["claim", "check", "B-1"])["note"].clone();
        let text = |key: &str| note[key].as_str().map(str::to_owned);
        (text("branch"), text("commit"))
    };
    let two = git(&worktree, &["rev-parse", "HEAD"]);
    let feat = || (Some("feat/x".to_owned()), Some(two.clone()));
    assert_eq!(left(&worktree, &[]), feat());
    assert_eq!(left(&worktree, &["--branch", "feat/x"]), feat());
    git(&top, &["pack-refs", "--all"]);
    assert_eq!(left(&worktree, &[]), feat(), "packed");
    // What is checked out here is not the branch of the claim.
    assert_eq!(left(&top, &["--branch", "feat/x"]), (Some("feat/x".to_owned()), None));
    git(&worktree, &["checkout", "-q", "--detach"]);
    assert_eq!(left(&worktree, &[]), (None, Some(two.clone())), "no branch");
    assert_eq!(left(&place.sandbox.dir, &[]), (None, None), "no repository");
    std::fs::write(top.join(".git/HEAD"), "ref: refs/heads/../../../secret\n").unwrap();
    std::fs::write(place.sandbox.dir.join("secret"), "not a commit\n").unwrap();
    assert_eq!(left(&top, &[]).1, None, "a ref that leads elsewhere");
}

#[test]
fn a_note_that_cannot_be_one_changes_nothing() {
    let place = Place::new();
    place.acquire(0, "otto", "B-1");
    let refused = |out: &Out, why: &str| {
        assert_eq!(out.status, 2, "{out:?}");
        assert!(out.err.contains(why) && out.err.contains("nothing was changed"), "{out:?}");
    };
    let token = place.token("otto", "B-1");
    let holder = ["claim", "check", "B-1", "--from", "otto", "--token", &token];
    let fifo = place.sandbox.dir.join("fifo");
    assert!(can("mkfifo", &[fifo.to_str().unwrap()]));
    let big = note(&place, &vec![b'a'; 1_000_000]);
    for verb in [&["release"][..], &["handover", "--to", "vera"]] {
        let with = |file: &str| {
            let args = ["--from", "otto", "--token", &token, "B-1", "--note", file];
            place.zeta(&[&["claim"], verb, &args[..]].concat())
        };
        refused(&with(&big), "more than 8192 bytes");
        refused(&with(fifo.to_str().unwrap()), "not a regular file");
        refused(&with("/nowhere/at-all"), "No such file");
        refused(&with("/"), "not a regular file");
        for (bytes, why) in [(&b"\n \n"[..], "it is empty"), (b"abc\xff", "byte 3")] {
            let file = place.sandbox.dir.join("bad");
            std::fs::write(&file, bytes).unwrap();
            refused(&with(file.to_str().unwrap()), why);
        }
        place.ends(0, &holder);
    }
    // More than a note may have is not read from standard input, either: this one has no end.
    let args = ["claim", "release", "B-1", "--from", "otto", "--note", "-"];
    let mut endless = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
    let out = run(place.cmd(&args).stdin(endless.stdout.take().unwrap()));
    endless.kill().unwrap();
    endless.wait().unwrap();
    refused(&out, "more than 8192 bytes");
    place.ends(0, &holder);
    // Claims on paths have no note, and shared ones no next holder that is alone.
    let out = place.ends(2, &["claim", "release", "--path", "a", "--note", &big]);
    assert!(out.err.contains("not with paths"), "{out:?}");
    let words = note(&place, b"x");
    place.acquire_with(0, "otto-cli", "B-3", &["--shareable"]);
    let token = place.token("otto-cli", "B-3");
    let shared = ["claim", "release", "B-3", "--from", "otto-cli", "--token", &token];
    refused(&place.zeta(&[&shared[..], &["--note", &words]].concat()), "exclusive grant");
    assert_eq!(place.json(3, &["claim", "check", "B-3"])["claimed"], true);
    // A claim that only the original made has no grant.
    place.original_publish("otto-cli", "claim", "B-4");
    let args = ["claim", "release", "B-4", "--from", "otto-cli", "--note", &words];
    let original = run(place.cmd(&args).env("ZETA_BUS_IDS", "original"));
    refused(&original, "exclusive grant");
    assert_eq!(place.original_holders("B-4"), ["otto-cli"]);
}

#[test]
fn who_does_not_hold_the_item_leaves_no_note_and_removes_none() {
    let place = Place::new();
    let words = note(&place, b"of otto");
    let lease = place.acquire(0, "otto", "B-1")["lease"].clone();
    hand_over(&place, 0, "otto", "vera", &words);
    let late = note(&place, b"too late");
    // The giver, whose grant has ended, and one that never had one.
    hand_over(&place, 5, "otto", "lior", &late);
    release(&place, 5, "otto", &["--note", &late]);
    release(&place, 5, "otto", &[]);
    place.ends(5, &["claim", "release", "B-1", "--from", "lior", "--note", &late]);
    place.ends(4, &["claim", "release", "B-9", "--from", "lior", "--note", &late]);
    assert_eq!(text_of(&place.acquire(0, "vera", "B-1")), Some("of otto"));
    assert!(!kept(&place, &lease).with_file_name("claim.b-9").exists());
}

#[test]
fn a_forged_or_broken_note_stops_no_claim_and_doctor_names_it() {
    let place = Place::new();
    let lease = place.acquire(0, "otto", "B-1")["lease"].clone();
    release(&place, 0, "otto", &["--note", &note(&place, b"x")]);
    let file = kept(&place, &lease);
    let whole = std::fs::read_to_string(&file).unwrap();
    let acquires = |text: Option<&str>, what: &str| {
        let seen = place.acquire(0, "otto", "B-1");
        assert_eq!(text_of(&seen), text, "{what}");
        release(&place, 0, "otto", &[]);
    };
    std::fs::write(&file, whole.replace("\nx\n", "\n\u{1b}]0;owned\u{7}\u{202e}\r\n")).unwrap();
    acquires(Some("\u{fffd}]0;owned\u{fffd}\u{fffd}"), "wild text");
    let bad: [(&str, Vec<u8>); 5] = [
        ("empty", Vec::new()),
        ("torn", whole.as_bytes()[..whole.len() / 2].to_vec()),
        ("of another item", whole.replace("B-1", "B-2").into_bytes()),
        ("no text", vec![0xff; 3000]),
        ("too long", format!("{whole}{}", "a".repeat(20_000)).into_bytes()),
    ];
    for (what, bytes) in bad {
        std::fs::write(&file, bytes).unwrap();
        if what != "of another item" {
            let doctor = place.zeta(&["doctor"]);
            assert!(doctor.out.contains(".note"), "{what}: {doctor:?}");
        }
        acquires(None, what);
        let _ = std::fs::remove_file(&file);
    }
    // What is no file of zeta's stays where it is; a note is refused, and the claim is kept.
    type Make = fn(&Path);
    let make: [(&str, Make); 3] = [
        ("a symbolic link", |file| symlink("/etc/passwd", file).unwrap()),
        ("a directory", |file| std::fs::create_dir(file).unwrap()),
        ("a FIFO", |file| assert!(can("mkfifo", &[file.to_str().unwrap()]))),
    ];
    for (what, make) in make {
        make(&file);
        assert_eq!(text_of(&place.acquire(0, "otto", "B-1")), None, "{what}");
        let refused = release(&place, 7, "otto", &["--note", &note(&place, b"y")]);
        assert!(refused["message"].as_str().unwrap().contains(what), "{refused}");
        release(&place, 0, "otto", &[]);
        assert!(file.symlink_metadata().is_ok(), "{what}");
        let removed = std::fs::remove_file(&file).or_else(|_| std::fs::remove_dir(&file));
        removed.unwrap();
    }
}

#[test]
fn a_note_that_no_agent_took_up_goes_after_a_week_and_not_before() {
    let place = Place::new();
    let lease = place.acquire(0, "otto", "B-1")["lease"].clone();
    release(&place, 0, "otto", &["--note", &note(&place, b"x")]);
    let file = kept(&place, &lease);
    let reason = || {
        let cleaned = place.json(0, &["clean"]);
        let of = |key: &str| {
            let all = cleaned[key].as_array().unwrap();
            all.iter().find(|one| one["what"] == "note").map(|one| one["reason"].clone())
        };
        of("removed").or(of("kept")).unwrap()
    };
    assert_eq!(reason(), "young");
    // A time that was set proves nothing: the file was changed a moment ago.
    let week = SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(week).unwrap();
    assert_eq!(reason(), "young");
    place.acquire(0, "vera", "B-1");
    assert_eq!(reason(), "held");
    assert!(file.exists());
}

#[test]
fn another_user_cannot_put_a_note_before_an_agent() {
    if !is_root() {
        return skip(test_name!(), "needs root");
    }
    let place = Place::new();
    let lease = place.acquire(0, "otto", "B-1")["lease"].clone();
    release(&place, 0, "otto", &["--note", &note(&place, b"x")]);
    let file = kept(&place, &lease);
    std::os::unix::fs::chown(&file, Some(12_345), None).unwrap();
    assert_eq!(text_of(&place.acquire(0, "vera", "B-1")), None);
    assert!(file.exists());
}

#[test]
fn on_a_full_disk_the_claim_is_handed_over_without_its_note_never() {
    if !is_root() || !can("unshare", &["-m", "sh", "-c", "mount -t tmpfs none /mnt"]) {
        return skip(test_name!(), "needs root and mounts");
    }
    let place = Place::new();
    let words = note(&place, &[b'a'; 8000]);
    let script = format!(
        "D=$ZETA_STATE_DIR.d; mkdir \"$D\"
        mount -t tmpfs -o mode=0700,size=256k none \"$D\" || exit 99
        export ZETA_STATE_DIR=\"$D/state\"
        t=$(\"$Z\" claim acquire --from otto B-1) || exit 98
        n=0; while head -c 4096 /dev/zero >\"$D/fill$n\"; do n=$((n + 1)); done
        \"$Z\" claim handover B-1 --from otto --to vera --token $t --note {words}
        [ $? = 7 ] || exit 11
        \"$Z\" claim check B-1 --from otto --token $t || exit 12
        \"$Z\" claim release B-1 --from otto --token $t --note {words}; [ $? = 7 ] || exit 13
        \"$Z\" claim check B-1 --from otto --token $t || exit 14
        find \"$ZETA_STATE_DIR\" -name '*.note' | grep . && exit 15
        \"$Z\" claim release B-1 --from otto --token $t || exit 16"
    );
    let mut command = place.sandbox.other("unshare", &["-m", "sh", "-c", &script]);
    command.env("Z", env!("CARGO_BIN_EXE_zeta")).env("ZETA_BUS_DIR", &place.bus);
    let out = run(&mut command);
    assert_eq!(out.status, 0, "{out:?}");
    assert!(out.err.contains("the note cannot be kept"), "{out:?}");
}
