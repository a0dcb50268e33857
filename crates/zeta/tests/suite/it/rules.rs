//! Rules of the standard about the surroundings of a tree: what root wrote into `/etc`, the cleaner
//! of `/tmp`, file systems, and a guard that another process is in.

use std::fs;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::support::{LIMIT, Sandbox, can, is_root, run, skip, test_name, until};

/// Makes a call on a machine whose installer has written a name for its node.
const NAMED: &str = r#"
mount -t tmpfs none /etc && mkdir /etc/zeta && echo "$1" >/etc/zeta/cluster-node-id &&
exec "$0" init --quiet"#;

#[test]
fn a_name_in_etc_is_the_node_s_until_the_tree_has_one() {
    if !can("unshare", &["-rm", "mount", "-t", "tmpfs", "none", "/etc"]) {
        return skip(test_name!(), "no mount over /etc");
    }
    let sandbox = Sandbox::new();
    let local = || fs::read_to_string(sandbox.state.join("local-node")).unwrap();
    let named = |name: &str| {
        let zeta = env!("CARGO_BIN_EXE_zeta");
        run(&mut sandbox.other("unshare", &["-rm", "sh", "-c", NAMED, zeta, name]))
    };
    // A name that this machine kept from an earlier tree comes after it.
    sandbox.ok(&["init", "--quiet"]);
    fs::remove_dir_all(&sandbox.state).unwrap();
    let out = named("node-0ddba11");
    assert_eq!(out.status, 0, "{out:?}");
    assert_eq!(local(), "node-0ddba11\n");
    assert_eq!(named("node-other").status, 0);
    assert_eq!(local(), "node-0ddba11\n", "it is decided once");
    fs::remove_dir_all(&sandbox.state).unwrap();
    let out = named("No Name");
    assert!(out.status != 0 && out.err.contains("/etc/zeta/cluster-node-id"), "{out:?}");
    assert!(!sandbox.state.join("local-node").exists());
}

#[test]
fn a_tree_of_more_nodes_than_are_looked_at_says_so() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["init", "--quiet"]);
    let full = zeta_core::layout::NODES_MAX;
    for at in 1..full {
        fs::create_dir(sandbox.state.join(format!("nodes/n-{at}"))).unwrap();
    }
    let all = sandbox.ok(&["status", "--all", "--json"]);
    assert!(!all.contains("too_many_entries"), "{} nodes are few enough", full);
    fs::create_dir(sandbox.state.join("nodes/one-more")).unwrap();
    let partly = sandbox.zeta(&["status", "--all", "--json"]);
    assert!(partly.out.contains("too_many_entries"), "{}", partly.err);
}

/// Lets the cleaner of systemd remove what is old in a directory, by these lines and one for it.
fn clean(sandbox: &Sandbox, dir: &Path, lines: &str) {
    let conf = sandbox.dir.join("clean.conf");
    fs::write(&conf, format!("d {} 1777 root root 1us\n{lines}\n", dir.display())).unwrap();
    let control = dir.join("control");
    fs::create_dir_all(&control).unwrap();
    let cleaned = || {
        let conf = conf.to_str().unwrap();
        run(&mut sandbox.other("systemd-tmpfiles", &["--clean", conf]));
        !control.exists()
    };
    assert!(until(LIMIT, cleaned), "it cleaned nothing");
}

#[test]
fn the_cleaner_of_systemd_spares_a_tree_by_its_line_and_by_the_flock_of_an_agent() {
    if !is_root() || !can("systemd-tmpfiles", &["--version"]) {
        return skip(test_name!(), "needs root and systemd-tmpfiles");
    }
    let mut sandbox = Sandbox::new();
    let tmp = sandbox.dir.join("tmp");
    fs::create_dir(&tmp).unwrap();
    std::os::unix::fs::chown(&tmp, Some(0), Some(0)).unwrap();
    fs::set_permissions(&tmp, std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
    sandbox.state = tmp.join("state");
    sandbox.acquire(&["job"]);
    clean(&sandbox, &tmp, &format!("x {}", sandbox.state.display()));
    assert!(sandbox.lock("job").exists(), "its line");
    let ready = sandbox.dir.join("ready");
    let script = "touch $0 && exec sleep 60";
    let mut agent = sandbox.cmd(&["run", "--as", "otto-cli", "--", "sh", "-c", script]);
    let mut agent = agent.arg(&ready).spawn().unwrap();
    assert!(until(LIMIT, || ready.exists()));
    clean(&sandbox, &tmp, "");
    assert!(sandbox.lock("job").exists(), "the flock of the agent");
    crate::support::signal(agent.id(), rustix::process::Signal::TERM);
    crate::support::wait(&mut agent, LIMIT);
    clean(&sandbox, &tmp, "");
    assert!(!sandbox.lock_exists("job"), "nothing protects it any more");
}

#[test]
fn a_file_system_that_is_not_known_to_lock_is_refused() {
    let script = r#"mount -t hugetlbfs none /mnt && "$@"; at=$?; ls -A /mnt; exit $at"#;
    if !is_root() || !can("unshare", &["-m", "sh", "-c", script, "sh", "true"]) {
        return skip(test_name!(), "needs root and a mount of hugetlbfs");
    }
    let sandbox = Sandbox::new();
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let call = ["-m", "sh", "-c", script, "sh", zeta, "lease", "acquire", "job"];
    let out = run(sandbox.other("unshare", &call).env("ZETA_STATE_DIR", "/mnt/state"));
    assert_eq!(out.status, 7, "{out:?}");
    assert!(out.err.contains("file locks cannot be trusted"), "{out:?}");
    assert_eq!(out.out, "", "nothing was made there");
}

#[test]
fn the_record_of_an_agent_that_has_ended_has_its_exit_status() {
    let sandbox = Sandbox::new();
    let run = ["run", "--as", "otto-cli", "--", "sh", "-c"];
    assert_eq!(sandbox.zeta(&[&run[..], &["exit 7"]].concat()).status, 7);
    let record = || fs::read_to_string(sandbox.node().join("persona-otto-cli.state")).unwrap();
    let ended = record();
    assert!(ended.contains("\nexit_status: 7\n") && ended.contains("\nended_at: "), "{ended}");
    // A new run of it has not ended.
    let begun = sandbox.dir.join("begun");
    let script = format!("cp {}/persona-*.state {}", sandbox.node().display(), begun.display());
    assert_eq!(sandbox.zeta(&[&run[..], &[&script]].concat()).status, 0);
    let begun = fs::read_to_string(begun).unwrap();
    assert!(!begun.contains("exit_status") && !begun.contains("ended_at"), "{begun}");
    assert!(record().contains("\nexit_status: 0\n"));
}

#[test]
fn an_occupied_guard_stops_those_who_change_a_record_and_no_reader() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["job"]).to_string();
    let guard = fs::File::open(sandbox.guard("job")).unwrap();
    flock(&guard, FlockOperation::LockExclusive).unwrap();
    sandbox.ok(&["lease", "check", "job", "--token", &token]);
    assert!(sandbox.ok(&["lease", "show", "job"]).contains(&token));
    assert!(sandbox.ok(&["lease", "list"]).contains("job"));
    sandbox.ok(&["status"]);
    sandbox.refused(&["lease", "acquire", "job"], 3);
    sandbox.refused(&["lease", "acquire", "job", "--wait", "600ms"], 6);
    sandbox.refused(&["lease", "renew", "job", "--token", &token], 6);
    drop(guard);
    sandbox.ok(&["lease", "renew", "job", "--token", &token]);
}

#[test]
fn keys_of_a_marker_that_the_caller_does_not_name_are_kept() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["marker", "set", "hello", "to=world", "from=otto"]);
    let path = sandbox.node().join("hello.marker");
    let set = fs::read_to_string(&path).unwrap();
    fs::write(&path, set.replace("end: true", "of_another: 7\nend: true")).unwrap();
    sandbox.ok(&["marker", "set", "hello", "to=all"]);
    let now = fs::read_to_string(&path).unwrap();
    for line in ["\nto: \"all\"\n", "\nfrom: \"otto\"\n", "\nof_another: 7\n"] {
        assert!(now.contains(line), "{line:?} in {now}");
    }
}

#[test]
fn a_token_grows_past_a_break_and_a_reboot() {
    if !zeta_os::clock::HAS_SEAM {
        return skip(test_name!(), "a build without the seam");
    }
    let sandbox = Sandbox::new();
    let clock = sandbox.dir.join("clock");
    // The wall clock is set back, so that the clock alone would give a number again.
    let at = |hours: i64, args: &[&str]| {
        fs::write(&clock, (hours * 3_600_000_000_000).to_ne_bytes()).unwrap();
        let out = run(sandbox.cmd(args).env("ZETA_TEST_CLOCK", &clock));
        assert_eq!(out.status, 0, "{args:?}: {out:?}");
        out.out.trim().to_owned()
    };
    let number = |token: &str| token.parse::<u64>().unwrap();
    let first = at(2, &["lease", "acquire", "job"]);
    at(1, &["lease", "break", "job", "--expect", &first, "--reason", "a test"]);
    let second = at(0, &["lease", "acquire", "job"]);
    assert!(number(&second) > number(&first), "{second} after {first}, which was broken");
    sandbox.forge_keys(
        "job",
        &[
            ("boot_id", Some("\"00000000-0000-4000-8000-000000000000\"")),
            ("renewed_at", Some("\"2020-01-01T00:00:00.000000Z\"")),
        ],
    );
    let third = at(0, &["lease", "acquire", "job"]);
    assert!(number(&third) > number(&second), "{third} after {second} of another boot");
}
