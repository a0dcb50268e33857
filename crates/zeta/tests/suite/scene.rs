//! The scene of `testing/src/bin/scene`: that it shows what it says, and leaves nothing. The tests
//! of the live view and of the page play it, too.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::support::{find, run, skip, test_name};

#[path = "../../../../testing/src/bin/scene/play/mod.rs"]
mod play;

pub(crate) use play::Scene;

/// Plays the scene in a directory of its own; `None` says why not, once for this test.
pub(crate) fn played(test: &str) -> Option<Scene> {
    if find("git").is_none() {
        skip(test, "there is no git here");
        return None;
    }
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = PathBuf::from(format!("/tmp/zeta-scene-{:07}-{number}", std::process::id()));
    Some(Scene::play(Path::new(env!("CARGO_BIN_EXE_zeta")), &dir).unwrap())
}

/// A call of zeta on the state of a scene.
pub(crate) fn zeta(scene: &Scene, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeta"));
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("ZETA_") {
            command.env_remove(key);
        }
    }
    command.args(args).env("HOME", scene.state_dir());
    command.env("ZETA_STATE_DIR", scene.state_dir()).env("ZETA_BUS_DIR", scene.bus_dir());
    command
}

fn json(scene: &Scene, args: &[&str]) -> Value {
    let out = run(&mut zeta(scene, args));
    serde_json::from_str(&out.out).unwrap_or_else(|_| panic!("{args:?}: {out:?}"))
}

#[test]
fn the_scene_has_each_state_that_a_person_must_see() {
    let Some(mut scene) = played(test_name!()) else { return };
    let status = json(&scene, &["status", "--json"]);
    let node = &status["nodes"][0];
    let agents = node["agents"].as_array().unwrap();
    assert_eq!(agents.len(), 12, "{status:#}");
    let liveness = |name: &str| {
        let of_it = |agent: &&Value| agent["agent"].as_str().unwrap().starts_with(name);
        agents.iter().find(of_it).unwrap()["liveness"].as_str().unwrap()
    };
    for (name, word) in [("otto", "live"), ("claude-", "live"), ("rex", "hung"), ("vera", "gone")] {
        assert_eq!(liveness(name), word, "{name}: {status:#}");
    }
    let waits = json(&scene, &["status", "--waiting", "--json"]);
    assert_eq!(waits["waiting"].as_array().unwrap().len(), 1, "{waits}");
    assert_eq!(waits["waiting"][0]["agent"], "otto");

    let leases = node["leases"].as_array().unwrap();
    let grants = |lease: &Value| lease["holders"].as_array().map_or(1, Vec::len);
    assert_eq!(leases.iter().map(grants).sum::<usize>(), 40, "{leases:#?}");
    let found: Vec<(&str, &str)> = (node["findings"].as_array().unwrap().iter())
        .map(|finding| (finding["finding"].as_str().unwrap(), finding["about"].as_str().unwrap()))
        .collect();
    for wanted in [
        ("dead_holder", "deploy-staging"),
        ("late_renewal", "db-migration"),
        ("overdue_lease", "nightly-report"),
        ("hung_agent", "rex"),
        ("dead_agent", "vera"),
    ] {
        assert!(found.contains(&wanted), "{wanted:?}: {found:?}");
    }
    for (word, place) in [("shared_worktree", "/shop-cart"), ("shared_branch", "feat/discounts")] {
        let is_it = |&(found, about): &(&str, &str)| found == word && about.ends_with(place);
        assert!(found.iter().any(is_it), "{word}: {found:?}");
    }
    let unread = status["unread"].as_array().unwrap();
    assert!(unread.iter().any(|of| of["agent"] == "lior" && of["messages"] == 2), "{unread:?}");
    scene.keep_up().unwrap();
    let dir = scene.state_dir().parent().unwrap().to_path_buf();
    let knows = processes_that_know(&dir);
    assert!(knows.len() > 20, "{knows:?}");
    drop(scene);
    assert!(!dir.exists(), "{}", dir.display());
    assert_eq!(processes_that_know(&dir), [""; 0]);
}

/// Processes with a path in their environment.
fn processes_that_know(path: &Path) -> Vec<String> {
    let needle = path.to_str().unwrap().as_bytes();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let knows = processes.filter(|entry| {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        environment.windows(needle.len()).any(|window| window == needle)
    });
    knows.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
