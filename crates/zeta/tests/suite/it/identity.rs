//! Who holds it: reused pids, zombies, threads, other namespaces, boots and machines, and repeats.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use super::kill::{end, holder};
use crate::support::{LIMIT, Sandbox, can, is_root, run, signal, skip, test_name, until};

fn cause(sandbox: &Sandbox, args: &[&str]) -> String {
    let all: Vec<&str> =
        ["lease", "acquire", "job", "--json"].iter().chain(args).copied().collect();
    let object: serde_json::Value = serde_json::from_str(&sandbox.ok(&all)).unwrap();
    object["cause"].as_str().unwrap().to_owned()
}

#[test]
fn a_reused_pid_is_not_the_holder() {
    let sandbox = Sandbox::new();
    let (wrapper, command) = holder(&sandbox, &["--ttl", "5m"]);
    sandbox.refused(&["lease", "acquire", "job"], 3);
    if std::fs::read_to_string(sandbox.lock("job")).unwrap().contains("\npidfs_ino:") {
        // The same pid and the same clock tick, and yet another process.
        let other = [("pidfs_ino", Some("1")), ("child_pidfs_ino", Some("1"))];
        sandbox.forge_keys("job", &other);
        assert_eq!(cause(&sandbox, &[]), "holder_dead");
    } else {
        skip(test_name!(), "needs Linux 6.9");
    }
    end(wrapper, command);
    let (wrapper, command) = {
        let token = sandbox.ok(&["lease", "show", "job", "--json"]);
        let token: serde_json::Value = serde_json::from_str(&token).unwrap();
        sandbox.ok(&["lease", "release", "job", "--token", &token["fencing_token"].to_string()]);
        holder(&sandbox, &["--ttl", "5m"])
    };
    let older = [("pidfs_ino", None), ("child_pidfs_ino", None)];
    sandbox.forge_keys("job", &older);
    sandbox.refused(&["lease", "acquire", "job"], 3);
    sandbox
        .forge_keys("job", &[("pid_start_ticks", Some("7")), ("child_pid_start_ticks", Some("7"))]);
    assert_eq!(cause(&sandbox, &[]), "holder_dead");
    end(wrapper, command);
}

#[test]
fn a_zombie_is_dead() {
    let sandbox = Sandbox::new();
    let (mut wrapper, command) = holder(&sandbox, &["--ttl", "5m"]);
    signal(command, Signal::KILL);
    wrapper.kill().unwrap();
    // Not waited for: it stays a zombie of this test.
    let stat = format!("/proc/{}/stat", wrapper.id());
    assert!(until(LIMIT, || std::fs::read_to_string(&stat).unwrap().contains(") Z ")));
    assert!(until(LIMIT, || sandbox.zeta(&["lease", "acquire", "job"]).status == 0));
    assert!(std::fs::read_to_string(&stat).unwrap().contains(") Z "));
    wrapper.wait().unwrap();
}

#[test]
fn a_thread_s_id_is_nobody_s_pid() {
    let sandbox = Sandbox::new();
    let (wrapper, command) = holder(&sandbox, &["--ttl", "5m"]);
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    let me = std::process::id().to_string();
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let mut threads = threads.map(|e| e.unwrap().file_name().into_string().unwrap());
    let tid = threads.find(|tid| *tid != me).unwrap();
    // Without a pidfs inode number, which alone would distinguish the thread.
    for keys in [("pid", Some(tid.as_str())), ("child_pid", Some(tid.as_str()))] {
        sandbox.forge_keys("job", &[keys, ("pidfs_ino", None), ("child_pidfs_ino", None)]);
    }
    assert_eq!(cause(&sandbox, &[]), "holder_dead");
    done.send(()).unwrap();
    thread.join().unwrap().unwrap();
    end(wrapper, command);
}

#[test]
fn a_holder_in_another_pid_namespace_is_unknown_and_keeps_its_ttl() {
    let inside = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    if !is_root() || !can("unshare", &[&inside[..], &["true"]].concat()) {
        return skip(test_name!(), "needs root and unshare");
    }
    let sandbox = Sandbox::new();
    let ready = sandbox.dir.join("ready");
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let mut command = sandbox.other("unshare", &inside);
    command.args([zeta, "lease", "exec", "job", "--ttl", "4s", "--", "sh", "-c"]);
    command.arg(format!("touch {}; exec sleep 60", ready.display()));
    let mut world = command.stderr(Stdio::null()).spawn().unwrap();
    assert!(until(LIMIT, || ready.exists()));
    let out = sandbox.refused(&["lease", "acquire", "job"], 3);
    assert!(!out.err.contains("alive"), "{out:?}");
    assert!(sandbox.ok(&["lease", "show", "job", "--json"]).contains("\"life\":\"unknown\""));
    world.kill().unwrap();
    world.wait().unwrap();
    // No process out here can know that the holder died, so its TTL decides.
    sandbox.refused(&["lease", "acquire", "job"], 3);
    assert_eq!(cause(&sandbox, &["--wait", "15s"]), "expired");
}

#[test]
fn a_session_s_processes_keep_their_own_pid_namespace() {
    let sandbox = Sandbox::new();
    let persona = ["--as", "otto-cli"];
    sandbox.ok(&[&persona[..], &["persona", "set", "otto-cli"]].concat());
    let file = sandbox.node().join("persona-otto-cli.state");
    let text = std::fs::read_to_string(&file).unwrap();
    // As the agent of a `zeta run` sees its own record from inside a sandbox of its own.
    let session = "session: \"s1\"\npid: 4194303\npid_start_ticks: 7\npid_ns: 42\nend: true\n";
    std::fs::write(&file, text.replace("end: true\n", session)).unwrap();
    let mut acquire = sandbox.cmd(&["--as", "otto-cli", "lease", "acquire", "job"]);
    let out = run(acquire.env("ZETA_SESSION", "s1"));
    assert_eq!(out.status, 0, "{out:?}");
    let record = std::fs::read_to_string(sandbox.lock("job")).unwrap();
    assert!(record.contains("\npid: 4194303\n") && record.contains("\npid_ns: 42\n"), "{record}");
    sandbox.refused(&["lease", "acquire", "job"], 3);
}

fn moved(lease_ns: &str, by_s: i64) -> String {
    (lease_ns.parse::<i64>().unwrap() + by_s * 1_000_000_000).to_string()
}

fn value(sandbox: &Sandbox, key: &str) -> String {
    let text = std::fs::read_to_string(sandbox.lock("job")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}: ")));
    line.unwrap().trim_matches('"').to_owned()
}

const OTHER_BOOT: (&str, Option<&str>) =
    ("boot_id", Some("\"00000000-0000-4000-8000-000000000000\""));

#[test]
fn another_boot_is_known_by_more_than_its_id() {
    let sandbox = Sandbox::new();
    // Only the id: it may be over-mounted in a container, so the lease is not robbed.
    let first = sandbox.acquire(&["job"]).to_string();
    sandbox.forge_keys("job", &[OTHER_BOOT]);
    sandbox.refused(&["lease", "acquire", "job"], 3);
    // The boot clock of the record is ahead of the machine's: it was another boot.
    let ahead = moved(&value(&sandbox, "renewed_boot_ns"), 1_000_000);
    sandbox.forge_keys("job", &[("renewed_boot_ns", Some(&ahead))]);
    sandbox.refused(&["lease", "check", "job", "--token", &first], 5);
    sandbox.refused(&["lease", "renew", "job", "--token", &first], 5);
    assert_eq!(cause(&sandbox, &[]), "other_boot");
    // The moment of booting moved.
    let yesterday = [OTHER_BOOT, ("renewed_at", Some("\"2020-01-01T00:00:00.000000Z\""))];
    sandbox.forge_keys("job", &yesterday);
    assert_eq!(cause(&sandbox, &[]), "other_boot");
    // The same boot id is the same kernel, whatever the wall clock says.
    sandbox.forge_keys("job", &yesterday[1..]);
    sandbox.refused(&["lease", "acquire", "job"], 3);
}

#[test]
fn a_record_of_another_machine_is_judged_by_its_file() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["job", "--ttl", "3s"]).to_string();
    if !Path::new("/etc/machine-id").exists() {
        return skip(test_name!(), "no /etc/machine-id here");
    }
    let elsewhere = [OTHER_BOOT, ("machine_id", Some("\"00000000000000000000000000000000\""))];
    sandbox.forge_keys("job", &[&elsewhere[..], &[("renewed_boot_ns", Some("1"))]].concat());
    let before = std::fs::read_to_string(sandbox.lock("job")).unwrap();
    sandbox.refused(&["lease", "acquire", "job"], 3);
    for verb in ["check", "renew"] {
        sandbox.refused(&["lease", verb, "job", "--token", &token], 5);
    }
    assert_eq!(std::fs::read_to_string(sandbox.lock("job")).unwrap(), before);
    assert_eq!(cause(&sandbox, &["--wait", "15s"]), "expired");
}

#[test]
fn a_repeated_attempt_gets_the_same_answer_and_nobody_else_does() {
    let sandbox = Sandbox::new();
    let id = ["job", "--lease-id", "attempt-1", "--as", "otto-cli"];
    let token = sandbox.acquire(&id);
    let record = std::fs::read_to_string(sandbox.lock("job")).unwrap();
    assert_eq!(sandbox.acquire(&id), token);
    assert_eq!(std::fs::read_to_string(sandbox.lock("job")).unwrap(), record);
    let other_agent = ["job", "--lease-id", "attempt-1", "--as", "otto-desktop"];
    sandbox.refused(&[&["lease", "acquire"], &other_agent[..]].concat(), 3);
    let mut session = sandbox.cmd(&[&["lease", "acquire"], &id[..]].concat());
    assert_eq!(run(session.env("ZETA_SESSION", "s2")).status, 3);
    // Once it was given back, the same words are a new attempt.
    sandbox.ok(&["lease", "release", "job", "--token", &token.to_string()]);
    sandbox.ok(&["lease", "release", "job", "--token", &token.to_string()]);
    assert!(sandbox.acquire(&id) > token);
    let out = sandbox.refused(&["lease", "release", "job", "--token", &token.to_string()], 5);
    assert!(out.took < Duration::from_secs(5));
}
