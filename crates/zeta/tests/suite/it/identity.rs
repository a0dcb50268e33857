//! Who holds it: reused pids, zombies, threads, other namespaces, boots and machines, and repeats.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::kill::{end, holder};
use crate::stage::{LIMIT, Stage, can, is_root, run, signal, skip, until};

fn cause(stage: &Stage, args: &[&str]) -> String {
    let all: Vec<&str> =
        ["lease", "acquire", "job", "--json"].iter().chain(args).copied().collect();
    let object: serde_json::Value = serde_json::from_str(&stage.ok(&all)).unwrap();
    object["cause"].as_str().unwrap().to_owned()
}

#[test]
fn a_reused_pid_is_not_the_holder() {
    let stage = Stage::new();
    let (wrapper, command) = holder(&stage, &["--ttl", "5m"]);
    stage.refused(&["lease", "acquire", "job"], 3);
    if std::fs::read_to_string(stage.lock("job")).unwrap().contains("\npidfs_ino:") {
        // The same pid and the same clock tick, and yet another process.
        let other = [("pidfs_ino", Some("1")), ("child_pidfs_ino", Some("1"))];
        stage.forge_keys("job", &other);
        assert_eq!(cause(&stage, &[]), "holder_dead");
    } else {
        skip("identity::a_reused_pid_is_not_the_holder (pidfs)", "needs Linux 6.9");
    }
    end(wrapper, command);
    let (wrapper, command) = {
        let token = stage.ok(&["lease", "show", "job", "--json"]);
        let token: serde_json::Value = serde_json::from_str(&token).unwrap();
        stage.ok(&["lease", "release", "job", "--token", &token["fencing_token"].to_string()]);
        holder(&stage, &["--ttl", "5m"])
    };
    let older = [("pidfs_ino", None), ("child_pidfs_ino", None)];
    stage.forge_keys("job", &older);
    stage.refused(&["lease", "acquire", "job"], 3);
    stage
        .forge_keys("job", &[("pid_start_ticks", Some("7")), ("child_pid_start_ticks", Some("7"))]);
    assert_eq!(cause(&stage, &[]), "holder_dead");
    end(wrapper, command);
}

#[test]
fn a_zombie_is_dead() {
    let stage = Stage::new();
    let (mut wrapper, command) = holder(&stage, &["--ttl", "5m"]);
    signal(command, Signal::KILL);
    wrapper.kill().unwrap();
    // Not waited for: it stays a zombie of this test.
    let stat = format!("/proc/{}/stat", wrapper.id());
    assert!(until(LIMIT, || std::fs::read_to_string(&stat).unwrap().contains(") Z ")));
    assert!(until(LIMIT, || stage.zeta(&["lease", "acquire", "job"]).status == 0));
    assert!(std::fs::read_to_string(&stat).unwrap().contains(") Z "));
    wrapper.wait().unwrap();
}

#[test]
fn a_thread_s_id_is_nobody_s_pid() {
    let stage = Stage::new();
    let (wrapper, command) = holder(&stage, &["--ttl", "5m"]);
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    let me = std::process::id().to_string();
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let mut threads = threads.map(|e| e.unwrap().file_name().into_string().unwrap());
    let tid = threads.find(|tid| *tid != me).unwrap();
    // Without a pidfs inode number: by it alone the thread would be told apart anyway.
    for keys in [("pid", Some(tid.as_str())), ("child_pid", Some(tid.as_str()))] {
        stage.forge_keys("job", &[keys, ("pidfs_ino", None), ("child_pidfs_ino", None)]);
    }
    assert_eq!(cause(&stage, &[]), "holder_dead");
    done.send(()).unwrap();
    thread.join().unwrap().unwrap();
    end(wrapper, command);
}

#[test]
fn a_holder_in_another_pid_namespace_is_unknown_and_keeps_its_ttl() {
    let inside = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    if !is_root() || !can("unshare", &[&inside[..], &["true"]].concat()) {
        return skip("identity::a_holder_in_another_pid_namespace…", "needs root and unshare");
    }
    let stage = Stage::new();
    let ready = stage.dir.join("ready");
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let mut command = stage.other("unshare", &inside);
    command.args([zeta, "lease", "exec", "job", "--ttl", "4s", "--", "sh", "-c"]);
    command.arg(format!("touch {}; exec sleep 60", ready.display()));
    let mut world = command.stderr(Stdio::null()).spawn().unwrap();
    assert!(until(LIMIT, || ready.exists()));
    let out = stage.refused(&["lease", "acquire", "job"], 3);
    assert!(!out.err.contains("alive"), "{out:?}");
    assert!(stage.ok(&["lease", "show", "job", "--json"]).contains("\"life\":\"unknown\""));
    world.kill().unwrap();
    world.wait().unwrap();
    // Nobody out here can know that it died, so its TTL decides.
    stage.refused(&["lease", "acquire", "job"], 3);
    assert_eq!(cause(&stage, &["--wait", "15s"]), "expired");
}

#[test]
fn a_session_s_processes_keep_their_own_pid_namespace() {
    let stage = Stage::new();
    let persona = ["--as", "otto-cli"];
    stage.ok(&[&persona[..], &["persona", "set", "otto-cli"]].concat());
    let file = stage.node().join("persona-otto-cli.state");
    let text = std::fs::read_to_string(&file).unwrap();
    // As the agent of a `zeta run` sees its own record from inside a sandbox of its own.
    let session = "session: \"s1\"\npid: 4194303\npid_start_ticks: 7\npid_ns: 42\nend: true\n";
    std::fs::write(&file, text.replace("end: true\n", session)).unwrap();
    let mut acquire = stage.cmd(&["--as", "otto-cli", "lease", "acquire", "job"]);
    let out = run(acquire.env("ZETA_SESSION", "s1"));
    assert_eq!(out.status, 0, "{out:?}");
    let record = std::fs::read_to_string(stage.lock("job")).unwrap();
    assert!(record.contains("\npid: 4194303\n") && record.contains("\npid_ns: 42\n"), "{record}");
    stage.refused(&["lease", "acquire", "job"], 3);
}

fn moved(lease_ns: &str, by_s: i64) -> String {
    (lease_ns.parse::<i64>().unwrap() + by_s * 1_000_000_000).to_string()
}

fn value(stage: &Stage, key: &str) -> String {
    let text = std::fs::read_to_string(stage.lock("job")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}: ")));
    line.unwrap().trim_matches('"').to_owned()
}

const OTHER_BOOT: (&str, Option<&str>) =
    ("boot_id", Some("\"00000000-0000-4000-8000-000000000000\""));

#[test]
fn another_boot_is_known_by_more_than_its_id() {
    let stage = Stage::new();
    // Only the id: it may be over-mounted in a container, so the lease is not robbed.
    let first = stage.acquire(&["job"]).to_string();
    stage.forge_keys("job", &[OTHER_BOOT]);
    stage.refused(&["lease", "acquire", "job"], 3);
    // The boot clock of the record lies ahead of ours: it was another boot.
    let ahead = moved(&value(&stage, "renewed_boot_ns"), 1_000_000);
    stage.forge_keys("job", &[("renewed_boot_ns", Some(&ahead))]);
    stage.refused(&["lease", "check", "job", "--token", &first], 5);
    stage.refused(&["lease", "renew", "job", "--token", &first], 5);
    assert_eq!(cause(&stage, &[]), "other_boot");
    // The moment of booting moved.
    let yesterday = [OTHER_BOOT, ("renewed_at", Some("\"2020-01-01T00:00:00.000000Z\""))];
    stage.forge_keys("job", &yesterday);
    assert_eq!(cause(&stage, &[]), "other_boot");
    // The same boot id is the same kernel, whatever the wall clock says.
    stage.forge_keys("job", &yesterday[1..]);
    stage.refused(&["lease", "acquire", "job"], 3);
}

#[test]
fn a_record_of_another_machine_is_judged_by_its_file() {
    let stage = Stage::new();
    let token = stage.acquire(&["job", "--ttl", "3s"]).to_string();
    if !Path::new("/etc/machine-id").exists() {
        return skip("identity::a_record_of_another_machine…", "no /etc/machine-id here");
    }
    let elsewhere = [OTHER_BOOT, ("machine_id", Some("\"00000000000000000000000000000000\""))];
    stage.forge_keys("job", &[&elsewhere[..], &[("renewed_boot_ns", Some("1"))]].concat());
    let before = std::fs::read_to_string(stage.lock("job")).unwrap();
    stage.refused(&["lease", "acquire", "job"], 3);
    for verb in ["check", "renew"] {
        stage.refused(&["lease", verb, "job", "--token", &token], 5);
    }
    assert_eq!(std::fs::read_to_string(stage.lock("job")).unwrap(), before);
    assert_eq!(cause(&stage, &["--wait", "15s"]), "expired");
}

#[test]
fn a_repeated_attempt_gets_the_same_answer_and_nobody_else_does() {
    let stage = Stage::new();
    let id = ["job", "--lease-id", "attempt-1", "--as", "otto-cli"];
    let token = stage.acquire(&id);
    let record = std::fs::read_to_string(stage.lock("job")).unwrap();
    assert_eq!(stage.acquire(&id), token);
    assert_eq!(std::fs::read_to_string(stage.lock("job")).unwrap(), record);
    let other_agent = ["job", "--lease-id", "attempt-1", "--as", "otto-desktop"];
    stage.refused(&[&["lease", "acquire"], &other_agent[..]].concat(), 3);
    let mut session = stage.cmd(&[&["lease", "acquire"], &id[..]].concat());
    assert_eq!(run(session.env("ZETA_SESSION", "s2")).status, 3);
    // Once it was given back, the same words are a new attempt.
    stage.ok(&["lease", "release", "job", "--token", &token.to_string()]);
    stage.ok(&["lease", "release", "job", "--token", &token.to_string()]);
    assert!(stage.acquire(&id) > token);
    let out = stage.refused(&["lease", "release", "job", "--token", &token.to_string()], 5);
    assert!(out.took < Duration::from_secs(5));
}
