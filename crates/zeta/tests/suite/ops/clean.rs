//! `clean` on real residue: of killed holders, of killed waiters, of other hands.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::sandbox::{Sandbox, run};
use crate::support::wait_for;

#[test]
fn clean_removes_what_is_dead_or_long_expired_and_nothing_else() {
    let sandbox = Sandbox::new();
    sandbox.zeta(&["init"]).expect(0);
    let node = sandbox.node();
    sandbox.killed_holder("dead");
    sandbox.zeta(&["lease", "acquire", "expired", "--ttl", "100ms", "--grace", "100ms"]).expect(0);
    sandbox.zeta(&["lease", "acquire", "in-grace", "--ttl", "100ms", "--grace", "1h"]).expect(0);
    sandbox.zeta(&["lease", "acquire", "held"]).expect(0);
    sandbox.zeta(&["marker", "set", "fact", "a=1"]).expect(0);
    sandbox.zeta(&["run", "--as", "otto", "--", "true"]).expect(0);
    sandbox.put("foreign-old.lock", "pid: 1\nttl: 100ms\n");
    sandbox.put("foreign-young.lock", "pid: 1\n");
    sandbox.put("foreign-forged.lock", "pid: 1\n");
    run(
        "touch",
        &["-d".as_ref(), "2020-01-01".as_ref(), node.join("foreign-forged.lock").as_os_str()],
    );
    sandbox.put("torn.lock", "schema: 1\n");
    sandbox.put("A B.lock", "pid: 1\nttl: 100ms\n");
    sandbox.put("open.lock", "pid: 1\nttl: 100ms\n");
    sandbox.chmod_node("open.lock", 0o666);
    run("mkfifo", &[node.join("fifo.lock")]);
    symlink("/etc/passwd", node.join("link.lock")).unwrap();
    let guard = node.join(".guard/held.lock");
    fs::write(guard.join(format!(".tmp-{}", "0".repeat(32))), "half").unwrap();
    fs::create_dir(node.join(format!(".new-{}", "0".repeat(32)))).unwrap();
    std::thread::sleep(Duration::from_millis(300));

    let before = sandbox.listing();
    let dry = sandbox.zeta(&["clean", "--dry-run", "--json"]).expect(0).json();
    assert_eq!(sandbox.listing(), before, "--dry-run changed something");
    let done = sandbox.zeta(&["clean", "--json"]).expect(0).json();
    assert_eq!(dry["removed"], done["removed"]);
    assert_eq!(
        reasons(&done["removed"], &sandbox.node_name()),
        [
            (".guard/held.lock/.tmp-00000000000000000000000000000000", "orphan"),
            ("dead.lock", "holder_dead"),
            ("expired.lock", "expired"),
            ("foreign-old.lock", "foreign_expired"),
        ]
        .map(|(path, reason)| (path.to_owned(), reason.to_owned()))
    );
    for file in [
        "held.lock",
        "in-grace.lock",
        "foreign-young.lock",
        "foreign-forged.lock",
        "torn.lock",
        "A B.lock",
        "open.lock",
        "fact.marker",
        "persona-otto.state",
        "last-seen.iso",
        ".guard/dead.lock/fencing_token",
    ] {
        assert!(node.join(file).exists(), "{file} is gone");
    }
    assert!(fs::symlink_metadata(node.join("link.lock")).is_ok());
    assert!(fs::symlink_metadata(node.join("fifo.lock")).is_ok());
    let kept = reasons(&done["kept"], &sandbox.node_name());
    let why = |file: &str| kept.iter().find(|(path, _)| path == file).map(|(_, why)| why.as_str());
    assert_eq!(why("held.lock"), Some("held"));
    assert_eq!(why("in-grace.lock"), Some("in_grace"));
    assert_eq!(why("foreign-forged.lock"), Some("foreign_in_time"));
    assert_eq!(why("persona-otto.state"), Some("gone_recently"));
    assert!(why("fifo.lock").unwrap().contains("FIFO"));
    let again = sandbox.zeta(&["clean", "--json"]).expect(0).json();
    assert_eq!(again["removed"].as_array().unwrap().len(), 0);
}

fn reasons(items: &Value, node: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let prefix = format!("{node}/");
    let mut reasons: Vec<_> = items
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (text(&item["path"]).replace(&prefix, ""), text(&item["reason"])))
        .collect();
    reasons.sort();
    reasons
}

#[test]
fn clean_says_why_a_thing_stays_and_until_when() {
    let sandbox = Sandbox::new();
    sandbox.zeta(&["lease", "acquire", "held"]).expect(0);
    sandbox.zeta(&["run", "--as", "otto", "--", "true"]).expect(0);
    let text = sandbox.zeta(&["clean"]).expect(0).err;
    for line in [
        "removed 0, 2 stay\n",
        "\n  1 ended less than 24h ago and go after that; to drop one now: ",
        "zeta persona clear NAME: nodes/",
        "\n  1 held: nodes/",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_token_still_grows_after_clean_and_the_dead_holder_is_fenced() {
    let sandbox = Sandbox::new();
    let old =
        sandbox.zeta(&["lease", "acquire", "a", "--ttl", "100ms", "--grace", "100ms"]).expect(0);
    std::thread::sleep(Duration::from_millis(300));
    sandbox.zeta(&["clean"]).expect(0);
    sandbox.zeta(&["lease", "renew", "a", "--token", old.out.trim()]).expect(5);
    let new = sandbox.zeta(&["lease", "acquire", "a"]).expect(0);
    assert!(new.out.trim().parse::<u64>().unwrap() > old.out.trim().parse::<u64>().unwrap());
}

#[test]
fn tickets_of_killed_waiters_are_removed() {
    let sandbox = Sandbox::new();
    sandbox.zeta(&["lease", "acquire", "a"]).expect(0);
    let mut waiter =
        sandbox.command(&["lease", "acquire", "a", "--wait", "60s", "-q"]).spawn().unwrap();
    let queue = sandbox.node().join(".guard/a.lock/queue");
    wait_for("the waiter stands in line", || {
        fs::read_dir(&queue).is_ok_and(|mut line| line.next().is_some())
    });
    let done = sandbox.zeta(&["clean", "--json"]).expect(0).json();
    assert_eq!(done["removed"].as_array().unwrap().len(), 0, "a living waiter's: {done}");
    waiter.kill().unwrap();
    waiter.wait().unwrap();
    let done = sandbox.zeta(&["clean", "--json"]).expect(0).json();
    assert_eq!(done["removed"][0]["what"], "ticket", "{done}");
    assert!(fs::read_dir(&queue).unwrap().next().is_none());
}

#[test]
fn clean_under_load_never_takes_a_lease_from_somebody() {
    let sandbox = Sandbox::new();
    sandbox.zeta(&["init"]).expect(0);
    let script = "i=0; while [ $i -lt 25 ]; do i=$((i+1)); \
                  $ZETA lease exec a --ttl 30s -- sh -c '$ZETA lease check a' || exit 9; done";
    let mut workers: Vec<_> = (0..2)
        .map(|_| {
            let mut worker = Command::new("sh");
            sandbox.dress(worker.args(["-c", script])).env("ZETA", env!("CARGO_BIN_EXE_zeta"));
            worker.spawn().unwrap()
        })
        .collect();
    let mut rounds = 0;
    while workers.iter_mut().any(|worker| worker.try_wait().unwrap().is_none()) {
        sandbox.zeta(&["clean"]).expect(0);
        rounds += 1;
    }
    for worker in &mut workers {
        assert!(worker.wait().unwrap().success(), "a live lease was lost");
    }
    assert!(rounds > 5, "clean ran only {rounds} times");
}

/// Whatever SIGKILL leaves, in each of the places where something is made under a random name.
#[test]
fn every_place_of_orphans_is_known() {
    let sandbox = Sandbox::new();
    sandbox.zeta(&["init"]).expect(0);
    let token = sandbox.zeta(&["lease", "acquire", "a"]).expect(0);
    sandbox.zeta(&["lease", "release", "a", "--token", token.out.trim()]).expect(0);
    let (tree, node, random) = (sandbox.tree(), sandbox.node(), "0123456789abcdef".repeat(2));
    let (new, temp) = (format!(".new-{random}"), format!(".tmp-{random}"));
    let guard = node.join(".guard/a.lock");
    let dirs = [tree.join("nodes"), node.clone(), node.join(".guard"), guard.clone()];
    let dirs = dirs.map(|dir| dir.join(&new));
    let temps = [&tree, &node, &guard].map(|dir| dir.join(&temp));
    let beside = sandbox.dir().join(format!(".tree.new-{random}"));
    dirs.iter().chain([&beside]).for_each(|dir| fs::create_dir(dir).unwrap());
    temps.iter().for_each(|temp| fs::write(temp, "half a li").unwrap());
    let done = sandbox.zeta(&["clean", "--json"]).expect(0).json();
    // The flock proves a temp in a guard an orphan; the others have to be old.
    assert_eq!(done["removed"].as_array().unwrap().len(), 1, "{done}");
    let kept = reasons(&done["kept"], &sandbox.node_name());
    let why = |path: &str| kept.iter().find(|(kept, _)| kept == path).map(|(_, why)| why.clone());
    for path in [
        format!("nodes/{new}"),
        new.clone(),
        format!(".guard/{new}"),
        format!(".guard/a.lock/{new}"),
        temp.clone(),
    ] {
        assert_eq!(why(&path).as_deref(), Some("young"), "{path}: {done}");
    }
    assert_eq!(why(&format!("../.tree.new-{random}")).as_deref(), Some("beside_the_tree"));
    assert!(beside.exists());
}
