//! The history of a node: each change of a holder has its entry, whoever is killed or writes beside
//! it; no verb fails because of it; and `zeta log` says what the entries say.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use zeta_core::history::{Entry, Event, LOG_MAX, render};
use zeta_core::name::RecordName;
use zeta_state::history::reader::{Entries, Reader};
use zeta_state::lease::acquire::{LeaseHandle, Outcome, WaitOptions};

use super::worker::{ask, context};
use crate::support::{
    LIMIT, Sandbox, can, is_root, signal, skip, test_name, until, wait, wait_for,
};

const JOB: &str = "ZETA_IT_HISTORY_ROUNDS";
const TEST: [&str; 4] = ["--exact", "it::history::works", "--nocapture", "--test-threads=1"];

fn file(sandbox: &Sandbox) -> PathBuf {
    sandbox.node().join("history.log")
}

fn text(sandbox: &Sandbox) -> String {
    fs::read_to_string(file(sandbox)).unwrap()
}

/// The answer of `zeta log --json`.
fn log(sandbox: &Sandbox, more: &[&str]) -> Value {
    let out = sandbox.ok(&[&["log", "--json"], more].concat());
    serde_json::from_str(&out).unwrap()
}

/// The spans in short: `LEASE AGENT END`, with what is known of the end.
fn spans(log: &Value) -> Vec<String> {
    let tell = |span: &Value| {
        let word = |key: &str| span[key].as_str().map(str::to_owned);
        let keys = ["subject", "agent", "ended", "to_agent", "ended_by", "ended_cause"];
        let words: Vec<String> = keys.iter().filter_map(|key| word(key)).collect();
        words.join(" ")
    };
    log["spans"].as_array().unwrap().iter().map(tell).collect()
}

#[test]
fn each_change_of_a_holder_is_in_the_history() {
    let sandbox = Sandbox::new();
    let short = ["--ttl", "100ms", "--grace", "0s"];
    let pause = || std::thread::sleep(Duration::from_millis(150));
    let acquire = |args: &[&str]| sandbox.acquire(args).to_string();
    // Released, also by another user of the token.
    let token = acquire(&["a", "--as", "otto", "--purpose", "the \"first\"\n"]);
    sandbox.ok(&["lease", "renew", "a", "--token", &token]);
    sandbox.ok(&["lease", "release", "a", "--token", &token, "--as", "otto"]);
    sandbox.ok(&["lease", "release", "a", "--token", &token, "--as", "otto"]);
    // Taken over, broken, and removed by a cleaning.
    acquire(&[&["b", "--as", "otto"], &short[..]].concat());
    pause();
    let token = acquire(&["b", "--as", "vera"]);
    let why = ["--reason", "it hangs", "--as", "max"];
    sandbox.ok(&[&["lease", "break", "b", "--expect", &token], &why[..]].concat());
    acquire(&[&["c", "--as", "lior"], &short[..]].concat());
    pause();
    sandbox.ok(&["clean", "--as", "max"]);
    // A claim that is handed over.
    let token = sandbox.ok(&["claim", "acquire", "B-1", "--as", "otto", "--branch", "fix"]);
    let token = token.trim();
    sandbox.ok(&["claim", "handover", "B-1", "--to", "vera", "--as", "otto", "--token", token]);
    let log = log(&sandbox, &[]);
    let wanted = [
        "a otto released",
        "b otto taken_over vera expired",
        "b vera broken max",
        "c lior removed max expired",
        "B-1 otto handed_over vera",
        "B-1 vera",
    ];
    assert_eq!(spans(&log), wanted, "{}", text(&sandbox));
    let first = &log["spans"][0];
    assert_eq!(first["purpose"], "the \"first\"\n");
    assert_eq!(log["spans"][2]["ended_reason"], "it hangs");
    let claim = &log["spans"][4];
    assert_eq!((&claim["kind"], &claim["branch"]), (&json!("claim"), &json!("fix")));
    assert_eq!(log["spans"][5]["lease_state"], "held");
    assert_eq!((&log["unread_lines"], &log["findings"]), (&json!(0), &json!([])));
    // What cat shows is what the standard says.
    let lines = text(&sandbox);
    let line = lines.lines().nth(2).unwrap();
    assert!(line.get(..2) == Some("20") && line[27..].starts_with(" acquired b fencing_token="));
    let meta = fs::metadata(file(&sandbox)).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o600);
}

#[test]
fn grants_of_a_joint_lease_have_entries_of_their_own() {
    let sandbox = Sandbox::new();
    let slots = |agent| ["s", "--slots", "2", "--as", agent];
    let one = sandbox.acquire(&slots("otto")).to_string();
    sandbox.acquire(&[&slots("vera")[..], &["--ttl", "100ms", "--grace", "0s"]].concat());
    std::thread::sleep(Duration::from_millis(150));
    sandbox.acquire(&slots("lior"));
    sandbox.ok(&["lease", "release", "s", "--token", &one, "--as", "otto"]);
    if !can("git", &["--version"]) {
        return skip(test_name!(), "there is no git here");
    }
    let repo = sandbox.dir.join("repo");
    assert!(can("git", &["init", "-q", repo.to_str().unwrap()]));
    let claim = |args: &[&str]| {
        let mut command = sandbox.cmd(&[&["claim"], args].concat());
        let out = crate::support::run(command.current_dir(&repo));
        assert_eq!(out.status, 0, "{out:?}");
        out.out.trim().to_owned()
    };
    let paths = ["--path", "src/", "--path", "a b.md", "--as", "otto"];
    let token = claim(&[&["acquire"], &paths[..]].concat());
    claim(&[&["handover", "--to", "vera", "--token", &token], &paths[..]].concat());
    let log = log(&sandbox, &[]);
    let wanted = [
        "s otto released",
        "s vera removed lior expired",
        "s lior",
        "a b.md/ src/ otto handed_over vera",
        "a b.md/ src/ vera",
    ];
    assert_eq!(spans(&log), wanted, "{}", text(&sandbox));
    let kinds: Vec<&str> =
        log["spans"].as_array().unwrap().iter().map(|s| s["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["slot", "slot", "slot", "paths", "paths"]);
}

#[test]
fn a_holder_that_was_killed_is_taken_over_from_a_dead_one() {
    let sandbox = Sandbox::new();
    let ready = sandbox.dir.join("ready");
    let script = format!("touch {}; exec sleep 60", ready.display());
    let exec = ["lease", "exec", "job", "--as", "otto", "--", "sh", "-c", &script];
    let mut child = sandbox.cmd(&exec).spawn().unwrap();
    wait_for("the command", || ready.exists());
    signal(child.id(), Signal::KILL);
    wait(&mut child, LIMIT);
    let dead = || sandbox.zeta(&["lease", "acquire", "job", "--as", "vera"]).status == 0;
    let record = fs::read_to_string(sandbox.lock("job")).unwrap();
    let pid = record.lines().find_map(|line| line.strip_prefix("child_pid: ")).unwrap();
    signal(pid.parse().unwrap(), Signal::KILL);
    assert!(until(LIMIT, dead));
    let wanted = ["job otto taken_over vera holder_dead", "job vera"];
    assert_eq!(spans(&log(&sandbox, &[])), wanted);
}

#[test]
fn what_another_program_ends_is_closed_by_the_next_grant_and_by_a_look_at_the_tree() {
    let sandbox = Sandbox::new();
    sandbox.acquire(&["job", "--as", "otto"]);
    fs::remove_file(sandbox.lock("job")).unwrap();
    let spans_now = || spans(&log(&sandbox, &[]));
    assert_eq!(spans_now(), ["job otto unrecorded"]);
    sandbox.acquire(&["job", "--as", "vera"]);
    assert_eq!(spans_now(), ["job otto unrecorded", "job vera"]);
    // A record that cannot be read has no token: it was that of the only holder.
    fs::write(sandbox.lock("job"), "schema: 1\nkind: \"lease\"\n").unwrap();
    let lasts = |log: &Value| {
        assert_eq!(spans(log), ["job otto unrecorded", "job vera"]);
        assert_eq!(log["spans"][1]["lease_state"], "damaged");
    };
    lasts(&log(&sandbox, &[]));
    let second = sandbox.dir.join("second");
    fs::hard_link(sandbox.lock("job"), &second).unwrap();
    let out = sandbox.zeta(&["log", "--json"]);
    assert_eq!(out.status, 7, "{out:?}");
    lasts(&serde_json::from_str(&out.out).unwrap());
    fs::remove_file(second).unwrap();
    sandbox.ok(&["lease", "break", "job", "--damaged", "--reason", "torn", "--as", "max"]);
    assert_eq!(spans_now(), ["job otto unrecorded", "job vera broken max"]);
}

/// Puts something where the log belongs; returns what must stay as it is.
type Trap = fn(&Path, &Path) -> PathBuf;

#[test]
fn a_log_that_is_no_file_of_the_tree_is_not_written_and_fails_no_verb() {
    let traps: [(&str, Trap); 5] = [
        ("a link", |log, other| {
            symlink(other, log).unwrap();
            other.to_owned()
        }),
        ("a hard link", |log, other| {
            fs::hard_link(other, log).unwrap();
            other.to_owned()
        }),
        ("a directory", |log, other| {
            fs::create_dir(log).unwrap();
            other.to_owned()
        }),
        ("a FIFO", |log, other| {
            assert!(can("mkfifo", &[log.to_str().unwrap()]));
            other.to_owned()
        }),
        ("a file of all", |log, _| {
            fs::write(log, "x\n").unwrap();
            fs::set_permissions(log, fs::Permissions::from_mode(0o666)).unwrap();
            log.to_owned()
        }),
    ];
    for (name, trap) in traps {
        let sandbox = Sandbox::new();
        sandbox.ok(&["heartbeat"]);
        let other = sandbox.dir.join("other");
        fs::write(&other, "x\n").unwrap();
        let stays = trap(&file(&sandbox), &other);
        let token = sandbox.acquire(&["job", "--as", "otto"]).to_string();
        let renewed = sandbox.zeta(&["lease", "renew", "job", "--token", &token]);
        assert_eq!(renewed.status, 0, "{name}");
        let released = sandbox.zeta(&["lease", "release", "job", "--token", &token]);
        assert_eq!((released.status, released.err.as_str()), (0, ""), "{name}");
        assert_eq!(fs::read_to_string(&stays).unwrap(), "x\n", "{name}");
        let log = sandbox.refused(&["log"], 7);
        assert!(log.err.contains("history.log"), "{name}: {log:?}");
        let doctor = sandbox.zeta(&["doctor"]);
        assert!(doctor.out.contains("history.log"), "{name}: {doctor:?}");
    }
}

#[test]
fn a_log_of_another_user_is_neither_written_nor_read() {
    if !is_root() {
        return skip(test_name!(), "not root");
    }
    let sandbox = Sandbox::new();
    sandbox.ok(&["heartbeat"]);
    fs::write(file(&sandbox), "x\n").unwrap();
    std::os::unix::fs::chown(file(&sandbox), Some(64_999), None).unwrap();
    sandbox.acquire(&["job"]);
    assert_eq!(text(&sandbox), "x\n");
    assert!(sandbox.refused(&["log"], 7).err.contains("belongs to"));
}

#[test]
fn a_first_entry_on_a_full_disk_is_left_out_and_the_next_one_begins_the_log() {
    let sandbox = Sandbox::new();
    let dir = sandbox.dir.join("small");
    fs::create_dir(&dir).unwrap();
    let mount = "mount -t tmpfs -o size=64k,mode=0700 none";
    let probe = format!("{mount} {}", dir.display());
    if !can("unshare", &["--mount", "sh", "-c", &probe]) {
        return skip(test_name!(), "needs to mount");
    }
    // All but a page is full: the record still has room, and nothing else does.
    let script = format!(
        "{mount} {dir} && export ZETA_STATE_DIR={dir}/state && zeta=$0 && cd {dir} &&
         $zeta heartbeat && t=$($zeta lease acquire job) && $zeta lease release job --token $t &&
         cp state/nodes/*/history.log before && dd if=/dev/zero of=fill bs=4k 2>/dev/null;
         for try in 1 2 3; do
             t=$($zeta lease acquire job) && $zeta lease release job --token $t
             echo status $?
         done
         rm fill && t=$($zeta lease acquire job --as last) && $zeta log --json | tail -c 4000",
        dir = dir.display()
    );
    let args = ["--mount", "sh", "-c", &script, env!("CARGO_BIN_EXE_zeta")];
    let out = crate::support::run(&mut sandbox.other("unshare", &args));
    assert_eq!(out.status, 0, "{out:?}");
    let log: Value = serde_json::from_str(out.out.lines().last().unwrap()).unwrap();
    let last = log["spans"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["agent"], &last["ended"]), (&json!("last"), &Value::Null), "{out:?}");
    // The disk has refused records, and never an entry alone.
    assert!(!out.err.contains("history"), "{out:?}");
}

#[test]
fn a_full_log_stays_beside_the_new_one() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["heartbeat"]);
    let old = filler(LOG_MAX);
    fs::write(file(&sandbox), &old).unwrap();
    sandbox.acquire(&["job", "--as", "otto"]);
    let full = sandbox.node().join("history.1.log");
    assert_eq!(fs::read_to_string(&full).unwrap(), old);
    assert_eq!(text(&sandbox).lines().count(), 1);
    let log = log(&sandbox, &[]);
    let entries = log["entries"].as_array().unwrap();
    assert_eq!(entries.len(), old.lines().count() + 1);
    assert_eq!(entries.last().unwrap()["lease"], "job");
    // The second full one takes the place of the first.
    fs::write(file(&sandbox), &old).unwrap();
    sandbox.acquire(&["job-2"]);
    assert_eq!(fs::read_to_string(&full).unwrap(), old);
    assert_eq!(text(&sandbox).lines().count(), 1);
    let doctor = sandbox.ok(&["doctor"]);
    assert!(!doctor.contains("odd_name") && !doctor.contains("history"), "{doctor}");
    let status = sandbox.ok(&["status"]);
    assert!(!status.contains("WRONG"), "{status}");
    sandbox.ok(&["clean"]);
    assert!(full.exists() && file(&sandbox).exists());
}

#[test]
fn a_log_in_the_place_of_another_is_read_from_its_start() {
    let sandbox = Sandbox::new();
    sandbox.acquire(&["job", "--as", "otto"]);
    let ctx = context(&sandbox.state);
    let handle = ctx.find().unwrap().unwrap();
    let mut reader = Reader::default();
    let mut read = || {
        let read = reader.read(&handle.tree.base, &handle.node);
        let Entries { entries, unread } = read.unwrap();
        assert_eq!(unread, 0);
        entries.len()
    };
    assert_eq!((read(), read()), (1, 0));
    // The same file with another text, as where the number of a removed file is given again.
    let other = filler(LOG_MAX);
    fs::write(file(&sandbox), &other).unwrap();
    assert_eq!((read(), read()), (other.lines().count(), 0));
    // Of what is too much, the end is read, and the line in which it begins is not counted.
    fs::write(file(&sandbox), "odd\n".to_owned() + &filler(5 * LOG_MAX)).unwrap();
    assert!(read() > other.lines().count());
    assert_eq!(read(), 0);
}

#[test]
fn a_status_calls_no_file_of_the_standard_odd() {
    let sandbox = Sandbox::new();
    let note = sandbox.dir.join("note");
    fs::write(&note, "next: the tests\n").unwrap();
    let token = sandbox.ok(&["claim", "acquire", "B-1", "--as", "otto"]);
    let release = ["claim", "release", "B-1", "--as", "otto", "--token", token.trim(), "--note"];
    sandbox.ok(&[&release[..], &[note.to_str().unwrap()]].concat());
    sandbox.acquire(&["s", "--slots", "2"]);
    sandbox.ok(&["heartbeat"]);
    sandbox.ok(&["marker", "set", "done"]);
    let files = fs::read_dir(sandbox.node()).unwrap().count();
    assert_eq!(files, 7);
    let status = sandbox.ok(&["status"]);
    assert!(!status.contains("WRONG"), "{status}");
    let doctor = sandbox.ok(&["doctor"]);
    assert!(!doctor.contains("odd_name"), "{doctor}");
}

/// Entries of more than so many bytes, from a second in the past on.
fn filler(bytes: usize) -> String {
    let mut text = String::new();
    let mut at_us = 1_795_342_272_123_456;
    while text.len() < bytes {
        at_us += 1;
        let entry = Entry::new("n", Event::Released, "filler", at_us);
        let purpose = Some("a text of some length, as people write it".to_owned());
        text += &render(&Entry { fencing_token: Some(at_us as u64), purpose, ..entry });
    }
    text
}

/// A process that acquires and releases a lease of its own, again and again.
#[test]
fn works() {
    let Ok(rounds) = std::env::var(JOB) else { return };
    let ctx = context(Path::new(&std::env::var_os("ZETA_STATE_DIR").unwrap()));
    let handle = ctx.open().unwrap();
    let name = format!("own-{}", std::process::id());
    let lease = RecordName::new("lease", &name).unwrap();
    for _ in 0..rounds.parse::<u64>().unwrap() {
        let mut patience = WaitOptions { limit_ms: None, on_wait: &mut |_, _| {} };
        let mut stand = LeaseHandle::new(&handle, &lease);
        let outcome = stand.acquire(&ask(&name), &mut patience, &mut |_| Ok(())).unwrap();
        let Outcome::Granted { record, .. } = outcome else { panic!("{outcome:?}") };
        assert!(stand.release(record.fencing_token).unwrap().is_ok());
    }
}

fn start(sandbox: &Sandbox, rounds: usize) -> Child {
    let mut command = sandbox.other(std::env::current_exe().unwrap().to_str().unwrap(), &TEST);
    command.env(JOB, rounds.to_string()).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn eight_processes_mix_no_entries_and_lose_none_while_the_log_begins_anew() {
    let rounds = std::env::var("ZETA_HISTORY_LONG").ok().and_then(|text| text.parse().ok());
    let rounds: usize = rounds.unwrap_or(150);
    let sandbox = Sandbox::new();
    sandbox.ok(&["heartbeat"]);
    // It is full in the middle of the run.
    fs::write(file(&sandbox), filler(LOG_MAX - 100 * 8 * rounds.min(1000))).unwrap();
    let ctx = context(&sandbox.state);
    let handle = ctx.find().unwrap().unwrap();
    let mut reader = Reader::default();
    let (mut entries, mut unread) = (Vec::new(), 0);
    let mut read = || {
        let Entries { entries: more, unread: odd } =
            reader.read(&handle.tree.base, &handle.node).unwrap();
        entries.extend(more.into_iter().filter(|entry| entry.lease.starts_with("own-")));
        unread += odd;
    };
    read();
    let mut children: Vec<Child> = (0..8).map(|_| start(&sandbox, rounds)).collect();
    let limit = LIMIT * (1 + rounds as u32 / 500);
    let done = until(limit, || {
        read();
        children.iter_mut().all(|child| child.try_wait().unwrap().is_some())
    });
    assert!(done, "the others did not end");
    children.into_iter().for_each(|mut child| assert!(child.wait().unwrap().success()));
    read();
    assert_eq!(unread, 0);
    assert!(sandbox.node().join("history.1.log").exists(), "the log did not begin anew");
    let mut of_lease: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    entries.iter().for_each(|entry| of_lease.entry(&entry.lease).or_default().push(entry));
    assert_eq!(of_lease.len(), 8);
    for (lease, entries) in of_lease {
        assert_eq!(entries.len(), 2 * rounds, "{lease}");
        let mut last = 0;
        for pair in entries.chunks(2) {
            let tokens = [pair[0], pair[1]].map(|entry| entry.fencing_token.unwrap());
            assert_eq!((pair[0].event, pair[1].event), (Event::Acquired, Event::Released));
            assert!(tokens[0] == tokens[1] && tokens[0] > last, "{lease}: {tokens:?} {last}");
            last = tokens[0];
        }
    }
    // Beside the two logs there is nothing but the guard under which one was moved.
    let files: usize = fs::read_dir(sandbox.node())
        .unwrap()
        .filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().contains("history"))
        .count();
    assert_eq!(files, 2);
}

#[test]
fn a_follower_prints_each_change_as_it_comes_also_when_the_log_begins_anew() {
    let sandbox = Sandbox::new();
    sandbox.acquire(&["before", "--as", "otto"]);
    let out = sandbox.dir.join("out");
    let mut command = sandbox.cmd(&["log", "--follow"]);
    let mut child = command.stdout(fs::File::create(&out).unwrap()).spawn().unwrap();
    let said = || fs::read_to_string(&out).unwrap();
    let mut all = 0;
    // It may not follow yet at the first change.
    wait_for("the first line", || {
        all += 1;
        sandbox.acquire(&[&format!("job-{all}"), "--as", "otto"]);
        until(Duration::from_millis(200), || said().contains(&format!("otto acquired job-{all}\n")))
    });
    let mut full = fs::OpenOptions::new().append(true).open(file(&sandbox)).unwrap();
    std::io::Write::write_all(&mut full, filler(LOG_MAX).as_bytes()).unwrap();
    let token = sandbox.acquire(&["last", "--as", "vera"]).to_string();
    sandbox.ok(&["lease", "release", "last", "--token", &token, "--as", "vera"]);
    wait_for("the last line", || said().ends_with("Z  vera released last\n"));
    let text = said();
    assert!(!text.contains("before"), "{text}");
    assert_eq!(text.matches("vera acquired last\n").count(), 1);
    // A node that was moved away is followed no more.
    fs::rename(sandbox.node(), sandbox.state.join("nodes/away")).unwrap();
    assert_eq!(wait(&mut child, LIMIT), 7);
}

#[test]
fn a_log_is_shown_as_a_table_with_what_was_asked_for() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.ok(&["log"]), "");
    assert_eq!(sandbox.refused(&["log", "--follow"], 4).status, 4);
    let token = sandbox.acquire(&["deploy", "--as", "otto", "--purpose", "1.2"]).to_string();
    sandbox.ok(&["lease", "release", "deploy", "--token", &token, "--as", "otto"]);
    let token = sandbox.acquire(&["deploy", "--as", "vera"]).to_string();
    let why = ["--reason", "it hangs", "--as", "max"];
    sandbox.ok(&[&["lease", "break", "deploy", "--expect", &token], &why[..]].concat());
    sandbox.acquire(&["other", "--as", "lior"]);
    let rows = |args: &[&str]| {
        let table = sandbox.ok(&[&["log"], args].concat());
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        table.lines().skip(1).map(words).collect::<Vec<_>>()
    };
    let all = rows(&[]);
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all[0].ends_with("otto deploy released 1.2"), "{all:?}");
    assert!(all[1].ends_with("vera deploy broken by max it hangs"), "{all:?}");
    assert!(all[2].ends_with("lior other holds it -"), "{all:?}");
    assert_eq!(rows(&["--lease", "deploy"]).len(), 2);
    assert_eq!(rows(&["--agent", "max"]).len(), 1);
    assert!(rows(&["--limit", "1"])[0].ends_with("lior other holds it -"));
    assert_eq!(rows(&["--since", "1h"]).len(), 3);
    // A grant that lasts is of any time.
    assert_eq!(rows(&["--since", "2199-01-01T00:00:00Z"]).len(), 1);
    let more = sandbox.zeta(&["log", "--limit", "1"]);
    assert!(more.err.contains("2 more before these: --limit 3"), "{more:?}");
    for wrong in [&["--since", "yesterday"][..], &["--limit", "x"], &["--limit", "1", "--follow"]] {
        sandbox.refused(&[&["log"], wrong].concat(), 2);
    }
}

#[test]
fn what_is_forged_into_a_log_moves_no_cursor_and_stops_no_reader() {
    let sandbox = Sandbox::new();
    sandbox.acquire(&["job", "--as", "otto"]);
    let time = "2026-11-29T18:00:00.000000Z";
    let mut forged =
        format!("{time} acquired evil fencing_token=7 agent=\"x\" item=\"\u{1b}[2J\"\n");
    forged += &format!("{time} broken evil fencing_token=7 by=\"y\" reason=\"\u{202e}\u{7}\"\n");
    forged += "\0\u{1b}]0;title\n\n";
    let mut bytes = forged.into_bytes();
    bytes.extend([0xff, 0xfe, b'\n']);
    bytes.extend(vec![b'T'; 100_000]);
    let mut log = fs::OpenOptions::new().append(true).open(file(&sandbox)).unwrap();
    std::io::Write::write_all(&mut log, &bytes).unwrap();
    for args in [&["log"][..], &["log", "--json"]] {
        let out = sandbox.zeta(args);
        assert_eq!(out.status, 0, "{out:?}");
        let odd =
            |text: &str| text.chars().any(|c| c != '\n' && zeta_core::record::is_unprintable(c));
        assert!(!odd(&out.out) && !odd(&out.err), "{out:?}");
        assert!(out.out.contains("evil") || out.out.contains("[2J"), "{out:?}");
    }
    let said = sandbox.zeta(&["log"]);
    assert!(said.err.contains("3 lines of the log cannot be read"), "{said:?}");
    let doctor = sandbox.ok(&["doctor"]);
    assert!(doctor.contains("3 lines cannot be read"), "{doctor}");
    // The torn end costs its own entry and not the next one.
    sandbox.acquire(&["next", "--as", "vera"]);
    let read = sandbox.ok(&["log"]);
    assert!(read.contains("vera") && read.contains("next"), "{read}");
}
