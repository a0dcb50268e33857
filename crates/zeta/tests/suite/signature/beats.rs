//! `beats`, and what `zeta status` shows of them.

use super::{Repo, block};
use crate::json::judge;

/// A time so many minutes ago, as git takes it.
fn ago(minutes: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("@{} +0000", now.as_secs() - minutes * 60)
}

fn committed() -> Repo {
    let repo = Repo::new();
    for (agent, minutes) in [("Rex", 60 * 24 * 30), ("Vera", 40), ("Otto", 7), ("otto", 1)] {
        let message = format!("a\n\n{}", block(&[("Agent: Otto", &format!("Agent: {agent}"))]));
        repo.commit(&ago(minutes), message.as_bytes());
    }
    repo.commit(&ago(0), b"by a person\n");
    repo
}

#[test]
fn each_agent_s_last_commit_is_its_beat_and_the_counter_is_the_history_s() {
    let repo = committed();
    let answer = repo.json(&["signature", "beats"], 0);
    let beats = answer["beats"].as_array().unwrap();
    let seen: Vec<_> =
        beats.iter().map(|beat| (&beat["agent"], &beat["state"], &beat["commits"])).collect();
    assert_eq!(
        seen,
        [
            (&"otto".into(), &"active".into(), &2.into()),
            (&"Vera".into(), &"overdue".into(), &1.into())
        ]
    );
    let ticks = beats[1]["idle_ticks"].as_u64().unwrap();
    assert!((20..25).contains(&ticks), "{beats:?}");
    assert_eq!((&answer["commits"], &answer["in_the_future"]), (&4.into(), &0.into()));
    let slow = repo.json(&["signature", "beats", "--tick", "30m", "--since", "60d"], 0);
    let states: Vec<_> =
        slow["beats"].as_array().unwrap().iter().map(|beat| &beat["state"]).collect();
    assert_eq!(states, ["active", "idle", "overdue"]);
    let shown = repo.ok(&["signature", "beats"]);
    assert!(shown.starts_with("AGENT  STATE    LAST COMMIT"), "{shown}");
    // A clock that goes wrong keeps no agent alive.
    repo.commit("@4102444800 +0000", format!("a\n\n{}", block(&[("Otto", "Eve")])).as_bytes());
    let answer = repo.json(&["signature", "beats"], 0);
    assert_eq!(
        (answer["beats"].as_array().unwrap().len(), &answer["in_the_future"]),
        (2, &1.into())
    );
    for args in [["--tick", "0"], ["--tick", "soon"], ["--since", "x"], ["--branch", "nowhere"]] {
        assert_eq!(repo.zeta(&[&["signature", "beats"], &args[..]].concat()).status, 2, "{args:?}");
    }
    assert_eq!(repo.zeta(&["signature", "beats", "--repository", "/"]).status, 1);
}

#[test]
fn status_shows_the_commits_of_the_repository_that_is_configured() {
    let repo = committed();
    repo.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    let status = |repo: &Repo| {
        let out = repo.zeta(&["--json", "status"]);
        judge(&["status"], &out, 0)
    };
    repo.ok(&["heartbeat", "--as", "otto"]);
    assert_eq!(status(&repo).get("signed_commits"), None);
    let config = repo.sandbox.dir.join(".config/zeta");
    std::fs::create_dir_all(&config).unwrap();
    let file = config.join("config.toml");
    let keys = |dir: &str| {
        format!("signature_repository = \"{dir}\"\nsignature_branch = \"origin/main\"\n")
    };
    std::fs::write(&file, keys(repo.dir.to_str().unwrap())).unwrap();
    let shown = status(&repo);
    assert_eq!(shown["signed_commits"]["beats"][0]["agent"], "otto");
    let text = repo.ok(&["status"]);
    assert!(text.contains("\nsigned commits on origin/main in "), "{text}");
    assert!(text.contains("\notto   active "), "{text}");
    // What is wrong with the repository costs no other part of the status.
    std::fs::write(&file, keys("/nonexistent")).unwrap();
    let shown = status(&repo);
    assert!(shown["signed_commits"]["fault"].is_string() && shown["nodes"][0]["node"].is_string());
    assert!(repo.ok(&["status"]).contains("\nsigned commits are not known: git "));
}
