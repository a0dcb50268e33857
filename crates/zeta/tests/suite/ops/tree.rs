//! `init` and `doctor` on a tree of one's own, sound and spoilt in every way that we know.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use serde_json::Value;

use super::sandbox::{Done, Sandbox, run};
use crate::support::{find, skip, test_name};

#[test]
fn init_can_be_repeated_and_says_what_it_found() {
    let sandbox = Sandbox::new();
    let first = sandbox.zeta(&["init", "--json"]).expect(0).json();
    let words = |report: &Value| {
        let steps = report["steps"].as_array().unwrap();
        steps.iter().map(|s| s["did"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(words(&first), ["made", "made", "made", "checked", "checked"]);
    let second = sandbox.zeta(&["init", "--json"]).expect(0).json();
    assert_eq!(words(&second), ["found", "found", "found", "checked", "checked"]);
    assert_eq!(first["node"], second["node"]);
    assert_eq!(sandbox.mode(""), 0o700);
    assert_eq!(sandbox.mode("README.md"), 0o600);
    let named = fs::read_to_string(sandbox.tree().join("local-node")).unwrap();
    assert_eq!(named.trim_end(), first["node"]);
    // An operator's page that was removed comes back.
    fs::remove_file(sandbox.tree().join("README.md")).unwrap();
    assert!(sandbox.zeta(&["init"]).expect(0).out.contains("made     README.md"));
    let left: Vec<_> = fs::read_dir(sandbox.node()).unwrap().collect();
    assert!(left.is_empty(), "the self-test left something: {left:?}");
}

#[test]
fn init_never_follows_a_link() {
    let sandbox = Sandbox::new();
    let target = sandbox.dir().join("target");
    fs::create_dir(&target).unwrap();
    symlink(&target, sandbox.tree()).unwrap();
    let done = sandbox.zeta(&["init"]).expect(7);
    assert!(done.err.contains("symbolic link"), "{}", done.err);
    assert!(fs::read_dir(&target).unwrap().next().is_none());
}

#[test]
fn a_sound_tree_has_no_findings_and_facts_to_compare() {
    let sandbox = Sandbox::new();
    sandbox.zeta(&["doctor"]).expect(0);
    assert!(!sandbox.tree().exists(), "doctor made something");
    sandbox.zeta(&["init"]).expect(0);
    let done = sandbox.zeta(&["doctor", "--json"]).expect(0).json();
    let meta = fs::metadata(sandbox.tree()).unwrap();
    assert_eq!(done["facts"]["dev_ino"], format!("{}:{}", meta.dev(), meta.ino()));
    assert_eq!(done["facts"]["mode"], "0700");
    assert_eq!(done["sound"], true);
    let bad = done["findings"].as_array().unwrap().iter().filter(|f| f["severity"] != "note");
    assert_eq!(bad.count(), 0, "{done}");
}

/// One defect: how to make it, what is found, in which words, how bad.
type Defect = (&'static str, fn(&Sandbox), &'static str, &'static str, i32);

const DEFECTS: &[Defect] = &[
    ("mode", |s| s.chmod("", 0o755), "state_directory", "its mode is 0755", 7),
    ("node mode", |s| s.chmod(&s.node_name(), 0o777), "node", "its mode is 0777", 7),
    ("link", |s| symlink("/etc/passwd", s.node().join("a.lock")).unwrap(), "record", "link", 7),
    ("fifo", |s| run("mkfifo", &[s.node().join("a.lock")]), "record", "FIFO", 7),
    ("directory", |s| fs::create_dir(s.node().join("a.lock")).unwrap(), "record", "directory", 7),
    (
        "hard link",
        |s| {
            s.put("a.marker", "x: 1\n");
            fs::hard_link(s.node().join("a.marker"), s.dir().join("second")).unwrap();
        },
        "record",
        "second hard link",
        7,
    ),
    (
        "world",
        |s| {
            s.put("a.lock", "pid: 1\n");
            s.chmod_node("a.lock", 0o666)
        },
        "record",
        "0666",
        7,
    ),
    ("torn", |s| s.put("a.lock", "schema: 1\nkind: \"lease\"\n"), "damaged", "end: true", 7),
    ("binary", |s| s.put("persona-a.state", "schema: 1\n\u{1}\n"), "damaged", "a.state", 7),
    ("huge", |s| s.put("a.marker", &"x".repeat(5000)), "damaged", "4096", 7),
    ("foreign", |s| s.put("a.lock", "pid: 5\n"), "foreign", "another program", 0),
    ("stranger", |s| s.put("notes.txt", "hi\n"), "odd_name", "notes.txt", 0),
    ("odd lease", |s| s.put("A B.lock", "hi\n"), "odd_name", "A B.lock", 0),
    ("escape", |s| s.put("\u{1b}[2Jx.lock", "hi\n"), "odd_name", "no record can have", 0),
    (
        "no name",
        |s| fs::remove_file(s.tree().join("local-node")).unwrap(),
        "local_node",
        "no name",
        0,
    ),
    (
        "bad name",
        |s| fs::write(s.tree().join("local-node"), "A B\n").unwrap(),
        "local_node",
        "A B",
        7,
    ),
    ("page", |s| fs::remove_file(s.tree().join("README.md")).unwrap(), "readme", "missing", 0),
    ("nodes", |s| fs::remove_dir_all(s.tree().join("nodes")).unwrap(), "nodes", "no 'nodes'", 7),
];

#[test]
fn doctor_names_each_defect_with_a_remedy_and_never_fails() {
    for (what, spoil, finding, words, status) in DEFECTS {
        let sandbox = Sandbox::new();
        sandbox.zeta(&["init"]).expect(0);
        spoil(&sandbox);
        let done = sandbox.zeta(&["doctor", "--json"]).expect(*status).json();
        let found =
            done["findings"].as_array().unwrap().iter().find(|f| {
                f["finding"] == *finding && f["message"].as_str().unwrap().contains(words)
            });
        let found = found.unwrap_or_else(|| panic!("{what}: no {finding} with {words:?}: {done}"));
        assert!(!found["hints"][0].as_str().unwrap().is_empty(), "{what}");
        assert_eq!(found["severity"] == "broken", *status == 7, "{what}: {found}");
        let plain = sandbox.zeta(&["doctor"]).expect(*status);
        assert!(!plain.out.contains('\u{1b}'), "{what}: it reached the terminal");
    }
}

#[test]
fn an_access_control_list_is_found_on_base_and_node() {
    if find("setfacl").is_none() {
        return skip(test_name!(), "no setfacl");
    }
    for below in ["", "node"] {
        let sandbox = Sandbox::new();
        sandbox.zeta(&["init"]).expect(0);
        let path = if below.is_empty() { sandbox.tree() } else { sandbox.node() };
        run("setfacl", &["-m".as_ref(), "u:1:rwx".as_ref(), path.as_os_str()]);
        // The mask shows in the mode; hide it as an attacker would.
        run("setfacl", &["-d".as_ref(), "-m".as_ref(), "u:1:rwx".as_ref(), path.as_os_str()]);
        let done = sandbox.zeta(&["doctor"]).expect(7);
        assert!(done.out.contains("ACL") || done.out.contains("mode"), "{}", done.out);
        run("setfacl", &["-x".as_ref(), "u:1".as_ref(), path.as_os_str()]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let done = sandbox.zeta(&["doctor"]).expect(7);
        assert!(done.out.contains("ACL"), "a default ACL alone: {}", done.out);
    }
}

#[test]
fn fix_writes_what_is_missing_and_cleans() {
    let sandbox = Sandbox::new();
    sandbox.zeta(&["init"]).expect(0);
    let node = sandbox.node();
    fs::remove_file(sandbox.tree().join("README.md")).unwrap();
    fs::write(node.join("fifo.lock"), "pid: 1\nttl: 100ms\n").unwrap();
    sandbox.chmod_node("fifo.lock", 0o600);
    run("mkfifo", &[node.join("real.lock")]);
    std::thread::sleep(Duration::from_millis(150));
    let seen = sandbox.zeta(&["doctor"]).expect(7).out;
    assert!(seen.contains("leftover: lease") && seen.contains("foreign expired"), "{seen}");
    let done = sandbox.zeta(&["doctor", "--fix"]).expect(7).out;
    assert!(done.contains("wrote README.md") && done.contains("removed lease"), "{done}");
    assert!(node.join("real.lock").exists() && !node.join("fifo.lock").exists());
    fs::remove_file(node.join("real.lock")).unwrap();
    let sound = sandbox.zeta(&["doctor", "--fix"]).expect(0).out;
    assert!(sound.ends_with("nothing is wrong\n"), "{sound}");
}

#[test]
fn fix_touches_nothing_in_a_tree_that_others_could_have_prepared() {
    let sandbox = Sandbox::new();
    sandbox.zeta(&["init"]).expect(0);
    sandbox.put("a.lock", "pid: 1\nttl: 100ms\n");
    fs::remove_file(sandbox.tree().join("README.md")).unwrap();
    sandbox.chmod("", 0o777);
    std::thread::sleep(Duration::from_millis(150));
    sandbox.zeta(&["doctor", "--fix"]).expect(7);
    assert!(sandbox.node().join("a.lock").exists());
    assert!(!sandbox.tree().join("README.md").exists());
    assert_eq!(sandbox.mode(""), 0o777);
}

#[test]
fn a_lease_whose_session_has_nobody_to_renew_it_is_a_warning() {
    let sandbox = Sandbox::new();
    let mut call = sandbox.command(&["lease", "acquire", "a", "--as", "otto"]);
    Done::of(call.env("ZETA_SESSION", "gone")).expect(0);
    let done = sandbox.zeta(&["doctor"]).expect(0);
    assert!(done.out.contains("no_renewer") && done.out.contains("otto"), "{}", done.out);
    let script = "T=$($ZETA lease acquire b) && $ZETA doctor";
    let mut call = sandbox.command(&["run", "--as", "max", "--", "sh", "-c", script]);
    let done = Done::of(call.env("ZETA", env!("CARGO_BIN_EXE_zeta"))).expect(0);
    assert!(!done.out.contains("lease b"), "a renewed one is none: {}", done.out);
}
