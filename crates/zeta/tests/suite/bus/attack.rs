//! What was found by attacking the bus, each once more: claims that outlive their messages, an
//! index that is removed under a watcher, names that go in the wrong moment.

use std::io::Read as _;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::Value;
use zeta_bus::directory::index::{Cursor, INDEX_LIMIT, Index};

use super::place::Place;
use crate::support::{LIMIT, finish, until, wait};

const BEAT: [&str; 6] =
    ["bus", "publish", "--topic", "heartbeat", "--payload", r#"{"status":"idle"}"#];

/// Runs a shell in a session of otto-cli until it has written `got`, and leaves it alone then.
fn session(place: &Place, script: &str) -> std::process::Child {
    let script = format!("{script}; echo done >\"$ZETA_STATE_DIR/../got\"; exec sleep 60");
    let mut command = place.cmd(&["run", "--as", "otto-cli", "--", "sh", "-c", &script]);
    command.env("ZETA", env!("CARGO_BIN_EXE_zeta")).stdout(Stdio::null());
    let child = command.process_group(0).spawn().unwrap();
    let got = place.sandbox.dir.join("got");
    assert!(until(LIMIT, || std::fs::read_to_string(&got).is_ok_and(|text| !text.is_empty())));
    child
}

fn kill_all(mut session: std::process::Child) {
    let group = rustix::process::Pid::from_raw(session.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process_group(group, Signal::KILL).unwrap();
    wait(&mut session, LIMIT);
    // Its command ends a moment later on a busy machine.
    assert!(until(LIMIT, || rustix::process::test_kill_process_group(group).is_err()));
}

#[test]
fn a_claim_that_moved_into_a_session_is_told_with_its_new_token() {
    let place = Place::new();
    place.acquire(0, "otto-cli", "B-1");
    let token = place.token("otto-cli", "B-1");
    let acquire = format!("\"$ZETA\" claim acquire --from otto-cli --item B-1 --token {token}");
    let holder = session(&place, &format!("{acquire}; \"$ZETA\" bus clean --expired"));
    assert_eq!(place.original_holders("B-1"), ["otto-cli"]);
    let check = place.json(3, &["claim", "check", "--item", "B-1"]);
    assert_eq!(check["claims"].as_array().unwrap().len(), 1, "{check}");
    kill_all(holder);
    place.acquire(0, "vera", "B-1");
    assert_eq!(place.original_holders("B-1"), ["vera"]);
}

#[test]
fn nothing_that_a_dead_holder_told_outlives_the_next_claim() {
    let place = Place::new();
    let again = "for n in 1 2 3; do \"$ZETA\" claim acquire --item B-1; done";
    kill_all(session(&place, again));
    place.acquire(0, "vera", "B-1");
    assert_eq!(place.original_holders("B-1"), ["vera"]);
    // A grant that ended without a word.
    let listed = place.json(0, &["lease", "list"]).to_string();
    let lease = listed.split('"').find(|word| word.starts_with("claim.b-1.")).unwrap().to_owned();
    let check = place.json(3, &["claim", "check", "--item", "B-1"]);
    let token = check["claims"][0]["fencing_token"].to_string();
    place.ends(0, &["lease", "break", &lease, "--reason", "a test", "--expect", &token]);
    assert_eq!(place.json(0, &["claim", "check", "--item", "B-1"])["claimed"], false);
    place.acquire(0, "lior", "B-1");
    assert_eq!(place.original_holders("B-1"), ["lior"]);
}

#[test]
fn a_claim_that_is_shared_stands_when_its_messages_are_cleaned_away() {
    let place = Place::new();
    let share = |status: i32, from: &str| place.acquire_with(status, from, "S/1", &["--shareable"]);
    share(0, "otto-cli");
    share(0, "otto-desktop");
    place.ends(0, &["bus", "clean"]);
    let check = place.json(3, &["claim", "check", "--item", "S/1"]);
    assert_eq!(check["claims"].as_array().unwrap().len(), 2, "{check}");
    assert_eq!(place.acquire(3, "vera", "S/1")["claimed_by"].as_array().unwrap().len(), 2);
    share(3, "vera");
    share(0, "otto-vscode");
    share(3, "otto-cli");
    let token = place.token("otto-cli", "S/1");
    place.acquire_with(0, "otto-cli", "S/1", &["--shareable", "--token", &token]);
    for from in ["otto-cli", "otto-desktop", "otto-vscode"] {
        place.acquire(3, "vera", "S/1");
        place.release(0, from, "S/1");
    }
    place.acquire(0, "vera", "S/1");
}

#[test]
fn a_watcher_misses_nothing_when_the_index_is_removed() {
    let place = Place::new();
    (0..6).for_each(|_| _ = place.ends(0, &BEAT));
    place.ends(0, &["bus", "list"]);
    let started = std::time::Instant::now();
    let mut command = place.cmd(&["bus", "watch", "--json", "--interval", "50", "--timeout", "8"]);
    let watcher = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It has looked when it has made its mark on the index.
    let state = place.bus.join(".zeta/index/state");
    let before = std::fs::read(&state).unwrap();
    std::fs::write(&state, "").unwrap();
    assert!(until(LIMIT, || std::fs::read(&state).is_ok_and(|now| now.len() == before.len())));
    std::thread::sleep(std::time::Duration::from_millis(200));
    let mut ids = Vec::new();
    for _ in 0..8 {
        // The watcher may write into it just now.
        let index = place.bus.join(".zeta/index");
        assert!(until(LIMIT, || std::fs::remove_dir_all(&index).is_ok() || !index.exists()));
        ids.push(place.ends(0, &BEAT).out.trim().to_owned());
        std::thread::sleep(std::time::Duration::from_millis(120));
    }
    let out = finish(watcher, started, LIMIT);
    let printed: Vec<String> = out
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(printed, ids, "{out:?}");
}

#[test]
fn a_message_that_goes_while_another_comes_is_listed_no_more() {
    let place = Place::new();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..150).for_each(|_| _ = place.ends(0, &BEAT));
            ended.store(true, Ordering::Relaxed);
        });
        while !ended.load(Ordering::Relaxed) {
            let files = place.files();
            for name in files.iter().filter(|name| name.ends_with(".json")).take(files.len() / 2) {
                std::fs::remove_file(place.bus.join(name)).unwrap();
            }
        }
    });
    let listed = place.json(0, &["bus", "list"]);
    let mut listed: Vec<String> = listed["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| format!("{}.json", message["id"].as_str().unwrap()))
        .collect();
    listed.sort();
    assert_eq!(listed, place.files());
}

#[test]
fn a_claim_that_cannot_be_read_yet_is_not_forgotten() {
    let place = Place::new();
    place.ends(0, &BEAT);
    // With a second link, as while it is moved from elsewhere.
    let id = place.original_publish("lior", "claim", "B-1");
    let file = place.bus.join(format!("{id}.json"));
    let second = place.sandbox.dir.join("second");
    std::fs::hard_link(&file, &second).unwrap();
    place.ends(0, &["claim", "check", "--item", "B-1"]);
    std::fs::remove_file(&second).unwrap();
    place.acquire(3, "vera", "B-1");
    // Half of it, which ends in the midst of a letter.
    let id = place.original_publish("lior", "claim", "B-ü");
    let file = place.bus.join(format!("{id}.json"));
    let mut whole = Vec::new();
    std::fs::File::open(&file).unwrap().read_to_end(&mut whole).unwrap();
    let cut = whole.iter().position(|byte| *byte == 0xc3).unwrap() + 1;
    std::fs::write(&file, &whole[..cut]).unwrap();
    place.ends(0, &["claim", "check", "--item", "B-ü"]);
    std::fs::write(&file, &whole).unwrap();
    place.acquire(3, "vera", "B-ü");
}

#[test]
fn a_handler_may_read_its_message_by_its_own_name() {
    let place = Place::new();
    let payload = r#"{"artifact":"docs/x.md"}"#;
    let to = ["--to", "lior", "--topic", "review-request", "--payload", payload];
    let args: Vec<&str> = ["bus", "publish", "--from", "vera"].into_iter().chain(to).collect();
    let id = place.ends(0, &args).out.trim().to_owned();
    let script = format!("\"{}\" bus read --as lior {id}", env!("CARGO_BIN_EXE_zeta"));
    let out = place.ends(0, &["bus", "subscribe", "--surface", "lior", "--", "sh", "-c", &script]);
    assert!(out.out.contains("docs/x.md"), "{out:?}");
    let status = place.json(0, &["bus", "status", &id]).to_string();
    assert!(status.contains("delivered"), "{status}");
}

#[test]
fn changes_are_told_once_by_many_at_once() {
    let place = Place::new();
    place.ends(0, &["marker", "set", "hello", "to=world"]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| place.ends(0, &["bus", "publish", "--from", "otto", "--from-state"]));
        }
    });
    assert_eq!(place.json(0, &["bus", "list"])["messages"].as_array().unwrap().len(), 1);
}

#[test]
fn what_a_killed_call_left_among_the_notes_is_no_item() {
    let place = Place::new();
    place.ends(0, &BEAT);
    place.original_publish("lior", "claim", "B-1");
    place.ends(3, &["claim", "check", "--item", "B-1"]);
    let index = place.bus.join(".zeta/index");
    std::fs::copy(index.join("names"), index.join(".tmp-0")).unwrap();
    assert_eq!(place.json(0, &["claim", "list"])["claims"].as_array().unwrap().len(), 1);
}

/// The hash of the index, written down a second time.
fn hash(bytes: &[u8]) -> u64 {
    let step =
        |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(27);
    let words = bytes.chunks_exact(8);
    let rest = words.remainder();
    let whole = |word: &[u8]| u64::from_le_bytes(word.try_into().unwrap());
    let sum = words.fold(bytes.len() as u64, |sum, word| step(sum, whole(word)));
    let sum = rest.iter().fold(sum, |sum, byte| step(sum, u64::from(*byte) + 1));
    step(sum ^ (sum >> 32), 1)
}

/// Fills a bus up to the most messages that it may have: names in the directory, and lines of the
/// index that know them, so that no call has to read them. Returns one of them.
fn fill(place: &Place, count: usize) -> std::path::PathBuf {
    let index = place.bus.join(".zeta/index");
    let mut lines = std::fs::read_to_string(index.join("names")).unwrap();
    let text = std::fs::read_to_string(index.join("state")).unwrap();
    let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    assert_eq!(words.len(), 11, "{text}");
    let hex = |word: &str| u64::from_str_radix(word, 16).unwrap();
    let (mut sum, mut set) = (hex(&words[3]), hex(&words[6]));
    // Links are made faster than files; a file system may allow 65,000 to one file.
    let files = [0, 1].map(|at| place.sandbox.dir.join(format!("empty-{at}")));
    files.iter().for_each(|file| std::fs::write(file, "").unwrap());
    let mut file = place.bus.clone();
    for at in 0..100_000 - count {
        let name = format!("{at:08x}-0000-4000-8000-000000000000.json");
        let line = format!("{name} 0 1 0 0 -\n");
        let one = sum.rotate_left(5) ^ hash(line.as_bytes());
        sum = one.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        set = set.wrapping_add(hash(name.as_bytes()));
        lines += &line;
        file = place.bus.join(name);
        std::fs::hard_link(&files[at % 2], &file).unwrap();
    }
    std::fs::write(index.join("names"), &lines).unwrap();
    words[2] = format!("{:015}", lines.len());
    words[3] = format!("{sum:016x}");
    words[6] = format!("{set:016x}");
    (words[5], words[7]) = ("0000100000".to_owned(), "0000100000".to_owned());
    let body = words[..10].join(" ");
    std::fs::write(index.join("state"), format!("{body} {:016x}\n", hash(body.as_bytes())))
        .unwrap();
    file
}

#[test]
fn a_full_bus_takes_messages_again_when_it_was_cleaned() {
    let place = Place::new();
    let id = place.ends(0, &BEAT).out.trim().to_owned();
    place.acquire(0, "otto-cli", "B-1");
    let other = fill(&place, place.files().len());
    let out = place.ends(3, &BEAT);
    assert!(out.err.contains("clean --expired"), "{out:?}");
    // Claims come and go all the same.
    place.release(0, "otto-cli", "B-1");
    assert_eq!(place.json(0, &["claim", "check", "--item", "B-1"])["claimed"], false);
    std::fs::remove_file(other).unwrap();
    let out = place.ends(3, &BEAT);
    assert!(out.err.contains("100000 messages"), "{out:?}");
    std::fs::remove_file(place.bus.join(format!("{id}.json"))).unwrap();
    place.ends(0, &BEAT);
    place.ends(3, &BEAT);
}

/// Returns what is left of the file `names`; `None` if it is removed.
fn left_of_names(loss: &str, whole: &[u8]) -> Option<Vec<u8>> {
    match loss {
        "removed" => None,
        "empty" => Some(Vec::new()),
        "cut" => Some(whole[..whole.len() / 2].to_vec()),
        "zeros" => Some(vec![0; whole.len()]),
        "a line without an end" => Some(vec![b'x'; whole.len()]),
        "places before the pack" => {
            let text = std::str::from_utf8(whole).unwrap();
            let line = |line: &str| format!("{} -1 9 0\n", line.split(' ').next().unwrap());
            let mut lines = text.lines().map(line).collect::<String>();
            // The state beside it still says how long it was.
            lines += &"\n".repeat(text.len() - lines.len());
            Some(lines.into_bytes())
        }
        other => panic!("{other}"),
    }
}

#[test]
fn names_that_the_index_lost_are_listed_and_read_again() {
    let place = Place::new();
    let listed = || place.json(0, &["bus", "list"])["messages"].as_array().unwrap().len();
    (0..3).for_each(|_| _ = place.ends(0, &BEAT));
    assert_eq!(listed(), 3);
    let names = place.bus.join(".zeta/index/names");
    let losses =
        ["removed", "empty", "cut", "zeros", "a line without an end", "places before the pack"];
    for (count, loss) in (3..).zip(losses) {
        match left_of_names(loss, &std::fs::read(&names).unwrap()) {
            Some(left) => std::fs::write(&names, left).unwrap(),
            None => std::fs::remove_file(&names).unwrap(),
        }
        assert_eq!(listed(), count, "{loss}");
        place.ends(0, &BEAT);
        assert_eq!(listed(), count + 1, "{loss}, and one more");
    }
}

#[test]
fn an_index_that_is_lost_during_a_call_costs_its_answer_nothing() {
    let place = Place::new();
    (0..3).for_each(|_| _ = place.ends(0, &BEAT));
    let bus = zeta_bus::directory::Bus::open(&place.bus).unwrap().unwrap();
    let mut index = Index::enter_or_fail(&bus, INDEX_LIMIT).unwrap();
    index.refresh().unwrap();
    let shown = |index: &Index<'_>| index.snapshot(&mut Cursor::default()).messages().0.len();
    assert_eq!(shown(&index), 3);
    std::fs::write(place.bus.join(".zeta/index/names"), "").unwrap();
    assert_eq!(shown(&index), 3);
    std::fs::remove_dir_all(place.bus.join(".zeta/index")).unwrap();
    assert_eq!(shown(&index), 3);
    index.refresh().unwrap();
    assert_eq!(shown(&index), 3);
    std::fs::remove_dir_all(place.bus.join(".zeta")).unwrap();
    index.refresh().unwrap();
    assert_eq!(shown(&index), 3);
}

#[test]
fn a_fifo_in_the_place_of_a_note_blocks_no_call() {
    let place = Place::new();
    place.ends(0, &BEAT);
    for note in ["names", "pack", "state"] {
        place.ends(0, &["bus", "list"]);
        let path = place.bus.join(".zeta/index").join(note);
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        // The message is published; no process can remember it.
        place.ends(0, &BEAT);
        std::fs::remove_file(&path).unwrap();
    }
    assert_eq!(place.json(0, &["bus", "list"])["messages"].as_array().unwrap().len(), 4);
}

#[test]
fn a_message_that_goes_in_the_moment_after_another_came_is_listed_no_more() {
    let place = Place::new();
    place.ends(0, &BEAT);
    let draft = zeta_bus::messages::NewMessage {
        from: zeta_core::bus::Address::new("otto-cli").unwrap(),
        to: zeta_core::bus::Recipient::All,
        topic: "shadow-catch".to_owned(),
        payload: serde_json::json!({ "content": "x" }),
        life_ms: None,
        unchecked: false,
        reply: None,
    };
    for round in 0..500 {
        let id = zeta_bus::messages::publish(&place.bus, &draft).unwrap().id;
        std::fs::remove_file(place.bus.join(format!("{id}.json"))).unwrap();
        let listed =
            zeta_bus::messages::list(&place.bus, &zeta_bus::messages::Filter::default()).unwrap();
        assert_eq!(listed.messages.len(), 1, "round {round}");
    }
}
