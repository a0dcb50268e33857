//! The answers of `zeta hook`.

use super::check;
use crate::support::Sandbox;

#[test]
fn hooks_of_agent_tools() {
    let sandbox = Sandbox::new();
    let dry = check(&sandbox, &["hook", "install", "cursor", "--dry-run"], 0);
    assert!(dry["diff"].as_str().unwrap().contains("+++"), "{dry}");
    assert_eq!(check(&sandbox, &["hook", "install", "cursor"], 0)["outcome"], "installed");
    assert_eq!(check(&sandbox, &["hook", "install", "cursor"], 0)["outcome"], "unchanged");
    let status = check(&sandbox, &["hook", "status"], 0);
    assert_eq!(status["hooks"].as_array().unwrap().len(), 6);
    let dry = check(&sandbox, &["hook", "uninstall", "cursor", "--dry-run"], 0);
    assert_eq!(dry["outcome"], "would_uninstall");
    assert_eq!(check(&sandbox, &["hook", "uninstall", "cursor"], 0)["outcome"], "uninstalled");
    check(&sandbox, &["hook", "install", "nosuch"], 2);
    std::fs::create_dir_all(sandbox.dir.join(".cursor")).unwrap();
    std::fs::write(sandbox.dir.join(".cursor/hooks.json"), "[]").unwrap();
    check(&sandbox, &["hook", "install", "cursor"], 3);
    check(&sandbox, &["hook", "uninstall", "cursor"], 3);
}
