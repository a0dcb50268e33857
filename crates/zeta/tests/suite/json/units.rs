//! Every answer and every refusal of `unit` fits its schema.

use super::check;
use crate::support::{Sandbox, find, skip, test_name};

#[test]
fn render_and_install() {
    let sandbox = Sandbox::new();
    let made = check(&sandbox, &["unit", "render", "--user"], 0);
    assert_eq!(
        (made["scope"].as_str(), made["steps"].as_array().unwrap().len()),
        (Some("user"), 0)
    );
    assert!(
        made["files"].as_array().unwrap().iter().any(|file| file["name"] == "zeta-clean.timer")
    );
    let dir = sandbox.dir.join("units").display().to_string();
    let written = check(&sandbox, &["unit", "render", "--system", "--dir", &dir], 0);
    assert_eq!(
        written["steps"].as_array().unwrap().len(),
        written["files"].as_array().unwrap().len()
    );
    check(&sandbox, &["unit", "render", "--user", "--system"], 2);
    check(&sandbox, &["unit", "render", "--program", "/a b", "--user"], 2);
    let image = sandbox.dir.join("image").display().to_string();
    let image = ["unit", "install", "--system", "--root", &image];
    let installed = check(&sandbox, &image, 0);
    assert_eq!(installed["steps"][0]["did"], "made");
    assert!(!installed["next"].as_array().unwrap().is_empty(), "{installed}");
    check(&sandbox, &["unit", "install", "x"], 2);
}

#[test]
fn verify() {
    let sandbox = Sandbox::new();
    if find("systemd-analyze").is_none() {
        return skip(test_name!(), "no systemd-analyze");
    }
    let user = check(&sandbox, &["unit", "verify", "--user"], 0);
    assert_eq!(user["findings"].as_array().unwrap().len(), 0, "{user}");
    let missing = ["unit", "verify", "--system", "--program", "/opt/none/zeta"];
    let machine = check(&sandbox, &missing, 7);
    assert!(machine["findings"][0]["message"].as_str().unwrap().contains("/opt/none/zeta"));
    check(&sandbox, &["unit", "verify", "x"], 2);
}
