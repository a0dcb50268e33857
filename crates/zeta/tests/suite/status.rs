//! `zeta status` against real trees: what it shows, what it says is wrong, and that it never hangs.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use zeta_core::evidence::Processes;
use zeta_core::layout;
use zeta_core::presence::{KIND, set_beat, set_processes};
use zeta_core::record::Fields;
use zeta_os::{host, process};

use crate::support::TempDir;

/// A state directory of its own, removed at the end.
struct Tree {
    root: TempDir,
}

impl Tree {
    fn new(test: &str) -> Tree {
        Tree { root: TempDir::new(&format!("status-{test}"), 0o700) }
    }

    fn dir(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The directory of its one node, made by a lease that comes and goes.
    fn node(&self) -> PathBuf {
        let token = self.zeta(&["lease", "acquire", "first"]);
        let token = String::from_utf8(token.stdout).unwrap();
        let released = self.zeta(&["lease", "release", "first", "--token", token.trim()]);
        assert!(released.status.success(), "{released:?}");
        let name = fs::read_to_string(self.dir().join(layout::LOCAL_NODE)).unwrap();
        self.dir().join(layout::NODES).join(name.trim())
    }

    fn zeta(&self, args: &[&str]) -> Output {
        let mut zeta = Command::new(env!("CARGO_BIN_EXE_zeta"));
        for name in ["ZETA_NODE", "ZETA_AGENT", "ZETA_SESSION", "ZETA_FENCED"] {
            zeta.env_remove(name);
        }
        zeta.env_remove("HOME").env_remove("XDG_STATE_HOME").env_remove("STATE_DIRECTORY");
        zeta.env("ZETA_STATE_DIR", self.dir()).args(args).output().unwrap()
    }

    fn text(&self, args: &[&str]) -> String {
        let output = self.zeta(&[&["status"], args].concat());
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let odd = text.chars().find(|c| *c != '\n' && zeta_core::record::is_unprintable(*c));
        assert_eq!(odd, None, "{text:?}");
        text
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.text(&[args, &["--json"]].concat())).unwrap()
    }

    /// The one node of [`Tree::json`].
    fn seen(&self) -> Value {
        let mut all = self.json(&[]);
        assert_eq!(all["nodes"].as_array().unwrap().len(), 1, "{all}");
        all["nodes"][0].take()
    }
}

fn words(node: &Value) -> Vec<&str> {
    node["findings"].as_array().unwrap().iter().map(|f| f["finding"].as_str().unwrap()).collect()
}

/// A persona record whose last beat was now; this process vouches for it, or one that has ended.
fn persona(node: &Path, agent: &str, lives: bool) {
    let own = match lives {
        true => process::identify_self(),
        false => {
            let mut child = Command::new("true").spawn().unwrap();
            let process = process::identify(child.id());
            child.wait().unwrap();
            process
        }
    };
    let host = host::host().unwrap();
    let mut fields = Fields::new(KIND);
    fields.set_text("agent", agent);
    fields.set_text("session", "0123456789abcdef");
    fields.set_text("status", "working");
    fields.set_text("task", "B-0856 \u{1b}[31m\u{202e}red\u{9b}2J");
    set_processes(&mut fields, &Processes { own: Some(own), child: None, pid_ns: host.pid_ns });
    set_beat(&mut fields, host::reading(), &host, 10_000);
    fs::write(node.join(layout::persona_file(agent)), fields.render()).unwrap();
}

#[test]
fn nobody_has_used_it_yet() {
    let tree = Tree::new("empty");
    assert!(tree.text(&[]).contains("zeta has not been used here yet"));
    assert!(tree.text(&["--all"]).contains("zeta has not been used here yet"));
    for args in [&[][..], &["--all"]] {
        let all = tree.json(args);
        assert_eq!(all["nodes"], serde_json::json!([]));
        assert_eq!(all["findings"], serde_json::json!([]));
        assert_eq!(all["sharing"], Value::Null);
    }
    assert!(!tree.dir().exists(), "a look made the tree");

    fs::DirBuilder::new().mode(0o700).create(tree.dir()).unwrap();
    fs::DirBuilder::new().mode(0o700).create(tree.dir().join("nodes")).unwrap();
    assert!(tree.text(&["--all"]).contains("zeta has not been used here yet"));
    assert_eq!(tree.json(&[])["nodes"], serde_json::json!([]));
}

#[test]
fn a_live_agent_and_what_it_holds() {
    let tree = Tree::new("live");
    let node = tree.node();
    persona(&node, "otto-cli", true);
    let purpose = "deploy \u{1b}]0;owned\u{7} \u{9b}31m now";
    tree.zeta(&["lease", "acquire", "deploy", "--as", "otto-cli", "--purpose", purpose]);
    let beat = zeta_core::time::format_utc(host::reading().wall_us);
    fs::write(node.join(layout::LAST_SEEN), format!("{beat}\n")).unwrap();

    let seen = tree.seen();
    let agent = &seen["agents"][0];
    assert_eq!(agent["agent"], "otto-cli");
    assert_eq!(agent["liveness"], "live");
    assert_eq!(agent["evidence"], "beat in time, process runs");
    assert!(agent["beat_age_ms"].as_u64().unwrap() < 10_000);
    assert_eq!(agent["status"], "working");
    assert_eq!(seen["leases"][0]["lease"], "deploy");
    assert_eq!(seen["leases"][0]["lease_state"], "held");
    assert_eq!(seen["leases"][0]["purpose"], purpose);
    assert_eq!(seen["last_seen"], beat);
    assert_eq!(words(&seen), Vec::<&str>::new());

    let text = tree.text(&[]);
    for part in ["otto-cli", "live", "beat in time, process runs", "deploy", "nothing wrong"] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn leases_read_as_they_do_in_a_list() {
    let tree = Tree::new("list");
    tree.node();
    tree.zeta(&["lease", "acquire", "deploy", "--purpose", "a \"quoted\" one", "--pr", "7"]);
    let list: Value =
        serde_json::from_slice(&tree.zeta(&["lease", "list", "--json"]).stdout).unwrap();
    let (mut in_status, mut in_list) =
        (tree.seen()["leases"][0].clone(), list["leases"][0].clone());
    for lease in [&mut in_status, &mut in_list] {
        let lease = lease.as_object_mut().unwrap();
        assert!(lease.remove("age_ms").is_some() && lease.remove("rest_ms").is_some());
    }
    assert_eq!(in_status, in_list);
}

#[test]
fn what_is_dead_is_said_to_be() {
    let tree = Tree::new("dead");
    let node = tree.node();
    persona(&node, "otto-cli", false);
    let mut holder = Command::new(env!("CARGO_BIN_EXE_zeta"))
        .env("ZETA_STATE_DIR", tree.dir())
        .env_remove("HOME")
        .env_remove("XDG_STATE_HOME")
        .args(["lease", "exec", "deploy", "--", "sleep", "60"])
        .spawn()
        .unwrap();
    let file = node.join("deploy.lock");
    let since = Instant::now();
    let child = loop {
        assert!(since.elapsed() < Duration::from_secs(10), "the lease was never granted");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let child = text.lines().find_map(|line| line.strip_prefix("child_pid: "));
        if let Some(pid) = child {
            break pid.parse::<u32>().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(tree.seen()["leases"][0]["life"], "alive");
    holder.kill().unwrap();
    holder.wait().unwrap();
    let _ = process::kill(&process::identify(child));
    while process::describe(child).is_some_and(|(_, state)| state != 'Z') {
        std::thread::sleep(Duration::from_millis(5));
    }

    let seen = tree.seen();
    assert_eq!(seen["agents"][0]["liveness"], "gone");
    assert_eq!(seen["leases"][0]["lease_state"], "holder_dead");
    assert_eq!(words(&seen), ["dead_agent", "dead_holder"]);
    assert!(tree.text(&[]).contains("zeta lease acquire deploy"));
}

#[test]
fn records_that_cannot_be_believed_are_named_and_nothing_hangs() {
    let tree = Tree::new("damaged");
    let node = tree.node();
    fs::write(node.join("torn.lock"), "schema: 1\nkind: \"lease\"\nlease: \"torn\"\n").unwrap();
    fs::write(node.join("persona-torn.state"), "schema: 1\n").unwrap();
    fs::write(node.join("torn.marker"), "schema: 1\n").unwrap();
    fs::write(node.join("foreign.lock"), "pid: 77\nagent: otto\u{1b}[2J\n").unwrap();
    fs::write(node.join("persona-shell.state"), "status: working\n").unwrap();
    fs::write(node.join("Notes.txt"), "mine\n").unwrap();
    fs::write(node.join("last-seen.iso"), "2999-01-01T00:00:00.000000Z\n").unwrap();
    let fifo = node.join("fifo.lock");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    symlink("/etc/passwd", node.join("persona-link.state")).unwrap();
    fs::create_dir(node.join("dir.marker")).unwrap();
    fs::hard_link(node.join("Notes.txt"), node.join("linked.lock")).unwrap();

    let since = Instant::now();
    let seen = tree.seen();
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    let words = words(&seen);
    for (word, count) in [
        ("unsafe_file", 4),
        ("damaged_record", 3),
        ("foreign_record", 2),
        ("odd_name", 1),
        ("odd_last_seen", 1),
    ] {
        assert_eq!(words.iter().filter(|w| **w == word).count(), count, "{word}: {words:?}");
    }
    let leases = seen["leases"].as_array().unwrap();
    let states: Vec<_> = leases.iter().map(|lease| &lease["lease_state"]).collect();
    assert_eq!(states, ["foreign", "damaged"]);
    let agents = seen["agents"].as_array().unwrap();
    assert_eq!((&agents[0]["agent"], &agents[0]["foreign"]), (&"shell".into(), &true.into()));
    assert_eq!((&agents[1]["agent"], &agents[1]["liveness"]), (&"torn".into(), &"silent".into()));
    assert_eq!(seen["last_seen"], Value::Null);
    tree.text(&[]);
}

#[test]
fn a_record_cannot_speak_for_what_is_judged() {
    let tree = Tree::new("forged");
    let node = tree.node();
    persona(&node, "otto-cli", false);
    let file = node.join("persona-otto-cli.state");
    let text = fs::read_to_string(&file).unwrap();
    let forged = "liveness: \"live\"\nevidence: \"trust me\"\nlone: \"\\ud83d\"\nend: true\n";
    fs::write(&file, text.replace("end: true\n", forged)).unwrap();
    let output = String::from_utf8(tree.zeta(&["status", "--json"]).stdout).unwrap();
    assert_eq!(output.matches("\"liveness\":").count(), 1, "{output}");
    assert_eq!(tree.seen()["agents"][0]["liveness"], "gone");
}

#[test]
fn all_nodes_stand_in_order() {
    let tree = Tree::new("all");
    tree.node();
    let nodes = tree.dir().join(layout::NODES);
    for number in 0..200 {
        let node = nodes.join(format!("extra-{number:03}"));
        fs::DirBuilder::new().mode(0o700).create(&node).unwrap();
        fs::write(node.join("deploy.lock"), "pid: 1\n").unwrap();
    }
    fs::DirBuilder::new().mode(0o700).create(nodes.join("Bad_Name")).unwrap();
    symlink("/", nodes.join("link")).unwrap();
    let all = tree.json(&["--all"]);
    let names: Vec<_> =
        all["nodes"].as_array().unwrap().iter().map(|n| n["node"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 202);
    assert!(names.is_sorted());
    let link = all["nodes"].as_array().unwrap().iter().find(|n| n["node"] == "link").unwrap();
    assert_eq!(words(link), ["unsafe_file"]);
    assert_eq!(all["findings"][0]["finding"], "odd_name");
    assert!(tree.text(&["--all"]).contains("202 nodes"));
}

#[test]
fn a_tree_that_others_could_have_prepared_is_refused() {
    let tree = Tree::new("unsafe");
    fs::DirBuilder::new().mode(0o755).create(tree.dir()).unwrap();
    let output = tree.zeta(&["status"]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
}
