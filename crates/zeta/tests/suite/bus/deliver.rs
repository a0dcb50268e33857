//! Delivery and the directory: who can be addressed, what a delivery costs, a directory that moves
//! away under a watcher, and disks that take nothing any more.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::Signal;
use zeta_bus::messages::NewMessage;
use zeta_bus::messages::follow::deliver;
use zeta_core::bus::Address;

use super::place::Place;
use crate::support::{
    LIMIT, Out, can, finish, is_root, run, signal, skip, test_name, wait, with_unusual_signals,
    with_usual_signals,
};

const BEAT: [&str; 6] =
    ["bus", "publish", "--topic", "heartbeat", "--payload", r#"{"status":"idle"}"#];

#[test]
fn every_address_that_the_bus_accepts_can_subscribe() {
    let place = Place::new();
    let publish = |to: &str| {
        let life = ["--topic", "note", "--topic-ttl", "1s", "--payload", "1"];
        place.zeta(&[&["bus", "publish", "--from", "a", "--to", to], &life[..]].concat())
    };
    let long = format!("{}/cli", "a.".repeat(60));
    let all = ["otto", "otto-cli", "otto/cli", "otto/cli/2@node-1a.lan", "my.agent", "1", &long];
    for to in all {
        assert_eq!(publish(to).status, 0, "{to}");
        let subscribe = ["bus", "subscribe", "--surface", to];
        assert!(place.ends(0, &subscribe).out.contains(&format!("-> {to} ")), "{to}");
        assert_eq!(place.ends(0, &subscribe).out, "", "{to}: once");
        // It is known by whom a message was taken.
        let id = publish(to).out.trim().to_owned();
        place.ends(0, &subscribe);
        assert_eq!(place.json(0, &["bus", "status", &id])["at"][0]["surface"], to);
        assert_eq!(publish(to).status, 0);
    }
    for bad in ["Otto", "otto/", "*/cli", "otto@n", "../x", ""] {
        assert_eq!(publish(bad).status, 2, "{bad}");
        place.ends(2, &["bus", "subscribe", "--surface", bad]);
    }
    // A message of another program to a recipient that nobody can be is not lost either.
    let text = std::fs::read_to_string(place.bus.join(&place.files()[0])).unwrap();
    let id = place.files()[0].trim_end_matches(".json").to_owned();
    let to = serde_json::from_str::<serde_json::Value>(&text).unwrap()["to"].to_string();
    std::fs::write(
        place.bus.join("odd.json"),
        text.replace(&id, "odd").replace(&format!("\"to\": {to}"), "\"to\": \"Ü ber\""),
    )
    .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    place.ends(0, &["bus", "clean", "--expired"]);
    let dead = place.json(0, &["bus", "list", "--dead"]).to_string();
    for to in all.iter().chain(&["Ü ber"]) {
        assert_eq!(dead.matches(&format!("\"to\":\"{to}\"")).count(), 1, "{to}: {dead}");
    }
}

/// Publishes broadcasts.
fn fill(place: &Place, count: usize) {
    let draft = NewMessage {
        from: Address::new("otto-cli").unwrap(),
        to: zeta_core::bus::Recipient::All,
        topic: "shadow-catch".to_owned(),
        payload: serde_json::json!({ "content": "x" }),
        life_ms: None,
        unchecked: false,
        reply: None,
    };
    (0..count).for_each(|_| _ = zeta_bus::messages::publish(&place.bus, &draft).unwrap());
}

#[test]
fn a_delivery_writes_one_line_however_many_there_are() {
    const COUNT: usize = 3000;
    let place = Place::new();
    fill(&place, COUNT);
    // So that the index is built before.
    place.ends(0, &["bus", "list"]);
    let written = || {
        let text = std::fs::read_to_string("/proc/thread-self/io").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
        line.parse::<usize>().unwrap()
    };
    let before = written();
    let (deliveries, _) = deliver(&place.bus, "vera", None, |_| Ok(true)).unwrap();
    assert_eq!(deliveries.len(), COUNT);
    let each = (written() - before) / COUNT;
    assert!(each < 120, "{each} bytes for each delivery");
    let (deliveries, _) = deliver(&place.bus, "vera", None, |_| Ok(true)).unwrap();
    assert_eq!(deliveries.len(), 0);
    // The original's file has them all.
    let seen = std::fs::read(place.bus.join("seen-vera.json")).unwrap();
    let seen: Vec<String> = serde_json::from_slice(&seen).unwrap();
    assert_eq!(seen.len(), COUNT);
}

#[test]
fn a_subscriber_that_is_killed_loses_nothing_and_repeats_one_message_at_most() {
    const COUNT: usize = 400;
    let place = Place::new();
    fill(&place, COUNT);
    let mut got: Vec<String> = Vec::new();
    let mut kills = 0;
    let mut dice = fastrand::Rng::with_seed(7);
    loop {
        // Its handler writes down each message; the subscriber dies in the midst of them.
        let handler = ["sh", "-c", "echo $ZETA_MESSAGE_ID"];
        let args = [&["bus", "subscribe", "--surface", "vera", "--"], &handler[..]].concat();
        let mut child = place.cmd(&args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let until = dice.usize(20..60);
        let mut count = 0;
        for line in lines {
            got.push(line.unwrap());
            count += 1;
            if count == until {
                signal(child.id(), Signal::KILL);
            }
        }
        if wait(&mut child, LIMIT) == 0 {
            break;
        }
        kills += 1;
        // A kill within the write of a line leaves half of it.
        if kills % 3 == 0 {
            let log = place.bus.join(".zeta/seen/vera");
            let bytes = std::fs::read(&log).unwrap();
            std::fs::write(&log, &bytes[..bytes.len() - 5]).unwrap();
        }
    }
    let all = got.len();
    got.sort();
    got.dedup();
    assert_eq!(got.len(), COUNT, "a message was lost");
    assert!(kills > 3, "{kills}");
    // A handler that runs when its subscriber is killed, and a torn line.
    assert!(all - COUNT <= 3 * kills, "{} repeated by {kills} kills", all - COUNT);
}

fn watch(place: &Place) -> Child {
    let args = ["bus", "watch", "--from-start", "--interval", "100ms", "--timeout", "15s"];
    let mut command = place.cmd(&args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The message that is there shows that it looks.
    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("heartbeat"), "{line}");
    child
}

#[test]
fn a_watcher_notices_that_its_directory_is_another_one() {
    let started = std::time::Instant::now();
    let away = |place: &Place| {
        let away = place.sandbox.dir.join("away");
        std::fs::rename(&place.bus, &away).unwrap();
        away
    };
    type Change = fn(&Place, &dyn Fn(&Place) -> std::path::PathBuf);
    let changes: [(&[&str], Change); 3] = [
        (&["moved away or removed"], |place, away| _ = away(place)),
        // It may meet the removal while it reads.
        (&["moved away or removed", "removed while it was in use"], |place, _| {
            std::fs::remove_dir_all(&place.bus).unwrap();
        }),
        (&["another directory"], |place, _| {
            let other = place.sandbox.dir.join("other");
            std::fs::create_dir(&other).unwrap();
            renameat_with(CWD, &other, CWD, &place.bus, RenameFlags::EXCHANGE).unwrap();
        }),
    ];
    for (words, change) in changes {
        let place = Place::new();
        place.ends(0, &BEAT);
        let watcher = watch(&place);
        change(&place, &away);
        let out = finish(watcher, started, LIMIT);
        assert_eq!(out.status, 7, "{out:?}");
        assert!(words.iter().any(|words| out.err.contains(words)), "{out:?}");
        assert!(!out.err.contains("state directory"), "{out:?}");
        assert!(out.err.contains(&place.bus.display().to_string()), "{out:?}");
    }
    // A subscriber whose handler moves the directory away.
    let place = Place::new();
    (0..2).for_each(|_| _ = place.ends(0, &BEAT));
    let script = "mv \"$ZETA_BUS_DIR\" \"$ZETA_BUS_DIR.old\"";
    let subscribe = ["bus", "subscribe", "--surface", "otto", "--", "sh", "-c", script];
    let out = place.ends(7, &subscribe);
    assert!(out.err.contains("moved away or removed"), "{out:?}");
}

/// Runs a shell in a mount namespace of its own.
fn in_namespace(place: &Place, script: &str) -> Command {
    let mut command = place.sandbox.other("unshare", &["-m", "sh", "-c", script]);
    command.env("Z", env!("CARGO_BIN_EXE_zeta")).env("ZETA_BUS_DIR", &place.bus);
    command
}

fn may_mount() -> bool {
    is_root() && can("unshare", &["-m", "sh", "-c", "mount -t tmpfs none /mnt"])
}

#[test]
fn a_watcher_notices_a_mount_over_its_directory() {
    if !may_mount() {
        return skip(test_name!(), "needs root and mounts");
    }
    let place = Place::new();
    place.ends(0, &BEAT);
    let script = "\"$Z\" bus watch --from-start --interval 100ms --timeout 15s & pid=$!
        sleep 0.5; mount -t tmpfs none \"$ZETA_BUS_DIR\" || exit 99; wait $pid";
    let out = run(&mut in_namespace(&place, script));
    assert_eq!(out.status, 7, "{out:?}");
    assert!(out.err.contains("another file system was mounted there"), "{out:?}");
}

/// Fills a small file system with messages, expired ones too, and calls `then`.
fn on_full_disk(place: &Place, options: &str, then: &str) -> crate::support::Out {
    std::fs::create_dir(&place.bus).unwrap();
    let script = format!(
        "mount -t tmpfs -o mode=0700,{options} none \"$ZETA_BUS_DIR\" || exit 99
        token=$(\"$Z\" claim acquire --from otto-cli --item B-1) || exit 98
        n=0; while \"$Z\" bus publish --topic note --topic-ttl 1ms --payload '\"{}\"'; do
            n=$((n + 1)); [ $n -lt 400 ] || exit 97; done >\"$ZETA_STATE_DIR/../filling\" 2>&1
        while echo x >\"$ZETA_BUS_DIR/.fill$n\"; do n=$((n + 1)); [ $n -lt 800 ] || exit 96; done
        {then}",
        "x".repeat(3000)
    );
    run(&mut in_namespace(place, &script))
}

#[test]
fn a_full_disk_can_be_listed_and_cleaned_and_a_claim_released() {
    if !may_mount() {
        return skip(test_name!(), "needs root and mounts");
    }
    let releases = "\"$Z\" claim release --from otto-cli --item B-1 --token $token || exit 11
        \"$Z\" claim check --item B-1 || exit 12";
    let cleans = "\"$Z\" bus list --include-expired >/dev/null || exit 21
        \"$Z\" bus clean --expired || exit 22
        \"$Z\" bus publish --topic note --topic-ttl 1h --payload '1' || exit 23
        \"$Z\" bus list | grep -c note";
    for options in ["size=128k", "size=16m,nr_inodes=60"] {
        for index in ["", "rm -rf \"$ZETA_BUS_DIR/.zeta/index\"; echo y >\"$ZETA_BUS_DIR/.y\";"] {
            let place = Place::new();
            let out = on_full_disk(&place, options, &format!("{index}{cleans}\n{releases}"));
            assert_eq!(out.status, 0, "{options}: {index}: {out:?}");
            let removed = out.out.lines().find_map(|line| line.strip_prefix("removed ")).unwrap();
            assert!(removed.parse::<usize>().unwrap() > 10, "{out:?}");
            let place = Place::new();
            let out = on_full_disk(&place, options, &format!("{index}{releases}"));
            assert_eq!(out.status, 0, "{options}: {index}: {out:?}");
        }
    }
}

#[test]
fn a_handover_that_has_no_room_for_its_last_message_says_that_it_was_done() {
    if !may_mount() {
        return skip(test_name!(), "needs root and mounts");
    }
    // One inode: for the new claim, and not for the release of the old one.
    let hands_over = "rm \"$(grep -L B-1 \"$ZETA_BUS_DIR\"/*.json | head -n 1)\"
        \"$Z\" claim handover B-1 --from otto-cli --to vera --token $token || exit 11
        \"$Z\" claim check B-1 --from otto-cli --token $token; [ $? = 5 ] || exit 12
        grep -l otto-cli \"$ZETA_BUS_DIR\"/*.json && exit 13
        exit 0";
    let place = Place::new();
    let out = on_full_disk(&place, "size=16m,nr_inodes=60", hands_over);
    assert_eq!(out.status, 0, "{out:?}");
}

#[test]
fn a_read_only_file_system_is_listed() {
    if !may_mount() {
        return skip(test_name!(), "needs root and mounts");
    }
    for before in ["true", "rm -rf \"$ZETA_BUS_DIR/.zeta\"", "rm -rf \"$ZETA_BUS_DIR/.zeta/index\""]
    {
        let place = Place::new();
        place.ends(0, &BEAT);
        place.original_publish("vera", "claim", "B-1");
        let script = format!(
            "mount --bind \"$ZETA_BUS_DIR\" \"$ZETA_BUS_DIR\" || exit 99
            {before}; \"$Z\" lease list >/dev/null
            mount -o remount,bind,ro \"$ZETA_BUS_DIR\" || exit 98
            \"$Z\" bus list || exit 11; \"$Z\" bus list --dead || exit 12
            \"$Z\" bus status || exit 13; \"$Z\" bus watch --from-start --timeout 1ms || exit 14
            \"$Z\" claim check --item B-2 || exit 15
            \"$Z\" claim check --item B-1; [ $? = 3 ] || exit 16
            \"$Z\" bus publish --topic note --topic-ttl 1h --payload 1; [ $? = 7 ] || exit 17"
        );
        let out = run(&mut in_namespace(&place, &script));
        assert_eq!(out.status, 0, "{before}: {out:?}");
        assert_eq!(out.out.matches("heartbeat]").count(), 2, "{out:?}");
    }
}

#[test]
fn an_error_names_its_file_once() {
    let place = Place::new();
    place.ends(0, &BEAT);
    std::fs::create_dir(place.bus.join("dir.json")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.bus.join("link.json")).unwrap();
    let out = place.ends(0, &["bus", "list"]);
    for name in ["dir.json", "link.json"] {
        assert_eq!(out.err.matches(name).count(), 1, "{out:?}");
    }
    assert!(Path::new(&place.bus).exists());
}

#[test]
fn a_handler_inherits_the_dispositions_of_its_subscriber() {
    let script = "cat >&2; grep ^SigIgn: /proc/self/status";
    for dress in [with_usual_signals, with_unusual_signals] {
        let place = Place::new();
        place.ends(0, &["bus", "send", "vera", "hello"]);
        let bare = run(dress(&mut place.sandbox.other("sh", &["-c", script])));
        let words = ["bus", "subscribe", "--surface", "vera", "--", "sh", "-c", script];
        let out = run(dress(&mut place.cmd(&words)));
        // Without the signals that a C library keeps for its own threads: 32 and 33.
        let ignored = |out: &Out| {
            let mask = out.out.strip_prefix("SigIgn:").unwrap().trim();
            u64::from_str_radix(mask, 16).unwrap() & !(3 << 31)
        };
        assert_eq!((out.status, ignored(&out)), (0, ignored(&bare)), "{out:?}");
    }
}
