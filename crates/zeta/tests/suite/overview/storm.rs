//! While others change everything at once, the follower follows; when they rest, it shows what a
//! fresh look shows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{check, follow};
use crate::support::{LIMIT, Sandbox, wait};

/// How often everything rests.
const ROUNDS: u64 = 6;
/// How long a round is.
const ROUND: Duration = Duration::from_millis(250);

/// Puts a file into a directory by a rename, as the standard asks.
fn put(dir: &Path, name: &str, text: &str) {
    let temp = dir.join(format!(".tmp-{name}"));
    let _ = fs::write(&temp, text).and_then(|()| fs::rename(&temp, dir.join(name)));
}

/// The directory of a node, under the name that it has at the moment.
fn node(state: &Path) -> Option<PathBuf> {
    let nodes = fs::read_dir(state.join("nodes")).ok()?;
    nodes.flatten().map(|entry| entry.path()).min()
}

/// Writes, changes and removes the records of a node.
fn change_records(state: &Path, random: &mut fastrand::Rng) {
    let Some(node) = node(state) else { return };
    let number = random.u16(0..400);
    let name = [format!("l{number}.lock"), format!("persona-p{number}.state")];
    let name = name[random.usize(0..2)].as_str();
    match random.u8(0..4) {
        0 => _ = fs::remove_file(node.join(name)),
        1 => _ = fs::write(node.join(name), format!("agent: a\npid: {number}\n")),
        _ => put(&node, name, &format!("agent: a{}\npid: 7\nttl: 1h\n", random.u8(..))),
    }
}

/// Writes and removes messages, and the marks of unread ones.
fn change_messages(bus: &Path, random: &mut fastrand::Rng) {
    let id = format!("00000000-0000-4000-8000-{:012}", random.u16(0..300));
    let text = serde_json::json!({
        "id": id, "topic": "text", "from": "a", "to": "b", "payload": random.u8(..),
        "timestamp": "2026-11-28T20:52:54.686Z", "expiresAt": "2199-11-28T20:52:54.686Z",
    });
    let text = text.to_string();
    let mark = bus.join(".zeta/inbox").join(format!("b,{},{id}", i64::MAX));
    match random.u8(0..3) {
        0 => _ = fs::remove_file(bus.join(format!("{id}.json"))).and(fs::remove_file(mark)),
        _ => {
            put(bus, &format!("{id}.json"), &text);
            let _ = fs::write(mark, "");
        }
    }
}

/// Moves whole directories, away and back as well as to another name.
fn move_directories(sandbox: &Sandbox, random: &mut fastrand::Rng) {
    let (state, bus) = (&sandbox.state, sandbox.dir.join("bus"));
    let away_and_back = |path: &Path| {
        let away = sandbox.dir.join("away");
        let _ = fs::rename(path, &away).and_then(|()| fs::rename(&away, path));
    };
    match random.u8(0..8) {
        0 => away_and_back(state),
        1 => away_and_back(&state.join("nodes")),
        2 => away_and_back(&bus),
        3 => away_and_back(&bus.join(".zeta/inbox")),
        _ => {
            let Some(node) = node(state) else { return };
            let _ = fs::rename(&node, node.with_file_name(format!("n{}", random.u8(0..3))));
        }
    }
    std::thread::sleep(Duration::from_micros(random.u64(0..3_000)));
}

/// Starts a shell that acquires and releases leases, and sends messages, again and again.
fn start(sandbox: &Sandbox, name: &str) -> Child {
    let script = format!(
        "for i in 1 2 3 4 5 6; do
             \"$0\" lease acquire {name}-$i --as {name}; \"$0\" lease acquire all --wait 9ms \
         --as {name}; \"$0\" bus send b hi --as {name}; \"$0\" clean
         done >/dev/null 2>&1"
    );
    let mut shell = sandbox.other("sh", &["-c", &script, env!("CARGO_BIN_EXE_zeta")]);
    shell.stdin(Stdio::null()).spawn().unwrap()
}

#[test]
fn what_is_followed_through_a_storm_is_what_a_fresh_look_shows() {
    let seed = match std::env::var("ZETA_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => fastrand::u64(..),
    };
    println!("ZETA_SEED={seed}");
    let sandbox = Sandbox::new();
    sandbox.ok(&["heartbeat", "--as", "otto"]);
    sandbox.ok(&["bus", "send", "otto", "hi", "--as", "ann"]);
    let mut follower = follow(&sandbox);
    let mut old = follower.overview().clone();
    let changes = AtomicUsize::new(0);
    for round in 0..ROUNDS {
        let children = ["a", "b"].map(|name| start(&sandbox, name));
        let end = Instant::now() + ROUND;
        let (sandbox, changes) = (&sandbox, &changes);
        let work = |number: u64, mut change: Box<dyn FnMut(&mut fastrand::Rng) + Send>| {
            let mut random = fastrand::Rng::with_seed(seed ^ (round * 8 + number));
            move || {
                while Instant::now() < end {
                    change(&mut random);
                    changes.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let (state, bus) = (sandbox.state.clone(), sandbox.dir.join("bus"));
        std::thread::scope(|scope| {
            let records = work(0, Box::new(move |random| change_records(&state, random)));
            let messages = work(1, Box::new(move |random| change_messages(&bus, random)));
            // Each move has whole directories read again.
            let moves = work(2, Box::new(|random| move_directories(sandbox, random)));
            scope.spawn(records);
            scope.spawn(messages);
            if round % 3 == 0 {
                scope.spawn(moves);
            }
            while Instant::now() < end {
                follower.wait(Duration::from_millis(5), &[]);
            }
        });
        for mut child in children {
            wait(&mut child, LIMIT);
        }
        println!("round {round}: {} changes", changes.load(Ordering::Relaxed));
        check(&mut follower, &mut old, sandbox);
    }
}

#[test]
fn a_tree_that_is_made_while_it_is_looked_at_is_shown_whole() {
    for _ in 0..20 {
        let sandbox = Sandbox::new();
        let script =
            "\"$0\" bus send otto hi --as ann & \"$0\" lease acquire deploy --as otto; wait";
        let mut shell = sandbox.other("sh", &["-c", script, env!("CARGO_BIN_EXE_zeta")]);
        let mut shell = shell.stdout(Stdio::null()).spawn().unwrap();
        let mut follower = follow(&sandbox);
        let mut old = follower.overview().clone();
        while shell.try_wait().unwrap().is_none() {
            follower.refresh();
        }
        check(&mut follower, &mut old, &sandbox);
        assert_eq!((old.leases.len(), old.messages.len()), (1, 1), "{old:#?}");
    }
}
