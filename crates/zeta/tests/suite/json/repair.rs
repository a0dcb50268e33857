//! Every answer and every refusal of `repair` fits its schema.

use super::check;
use crate::support::Sandbox;

#[test]
fn repair() {
    let sandbox = Sandbox::new();
    assert_eq!(check(&sandbox, &["repair", "log"], 0)["entries"], serde_json::json!([]));
    check(&sandbox, &["repair", "check", "read-only", "--as", "otto"], 7);
    check(&sandbox, &["repair", "list"], 7);
    let dir = sandbox.dir.join(".config/zeta");
    std::fs::create_dir_all(&dir).unwrap();
    let policy = "[personas.otto]\nscope = \"restart\"\nneeds_post = false\nunits = [\"k3s\"]\n\
                  [[personas.otto.grants]]\nscope = \"rebuild\"\n\
                  until = \"2999-01-01T00:00:00Z\"\nreason = \"INC-42\"\nunits = []\n";
    std::fs::write(dir.join("repair-policy.toml"), policy).unwrap();
    let listed = check(&sandbox, &["repair", "list"], 0);
    assert_eq!(listed["personas"][0]["permissions"][1]["reason"], "INC-42");
    let otto = |scope: &str, rest: &[&str], status: i32| {
        check(&sandbox, &[&["repair", "check", scope, "--as", "otto"], rest].concat(), status)
    };
    let allowed = otto("rebuild", &[], 0);
    assert_eq!((&allowed["outcome"], &allowed["reason"]), (&"allowed".into(), &"INC-42".into()));
    let refused = otto("restart", &["--unit", "ssh"], 3);
    assert_eq!((&refused["outcome"], &refused["unit"]), (&"refused".into(), &"ssh.service".into()));
    otto("write-cluster", &[], 3);
    otto("reboot", &[], 2);
    otto("restart", &["--token", "x"], 2);
    let token = sandbox.acquire(&["guard-post.otto", "--as", "otto"]).to_string();
    let there = otto("restart", &["--unit", "k3s", "--token", &token], 0);
    assert_eq!(there["fencing_token"].to_string(), token);
    let log = check(&sandbox, &["repair", "log", "--limit", "3"], 0);
    assert_eq!((log["entries"].as_array().unwrap().len(), &log["left_out"]), (3, &true.into()));
    check(&sandbox, &["repair", "log", "--limit", "many"], 2);
}
