//! Every answer and every refusal of `init`, `clean` and `doctor` fits its schema.

use serde_json::json;

use super::{age_by_a_boot, check, loosen};
use crate::support::{Sandbox, is_root};

#[test]
fn init() {
    let sandbox = Sandbox::new();
    let made = check(&sandbox, &["init"], 0);
    assert_eq!(made["mode"], "private");
    assert!(made["steps"].as_array().unwrap().iter().any(|step| step["did"] == "made"), "{made}");
    check(&sandbox, &["init"], 0);
    check(&sandbox, &["init", "--replace"], 2);
    if !is_root() {
        // What root makes is checked in the tests of groups.
        check(&sandbox, &["init", "--group", "zeta"], 2);
    }
    loosen(&sandbox);
    check(&sandbox, &["init"], 7);
}

#[test]
fn clean() {
    let sandbox = Sandbox::new();
    let nothing = json!({"dry_run": false, "removed": [], "kept": []});
    assert_eq!(check(&sandbox, &["clean"], 0), nothing);
    sandbox.acquire(&["old", "--as", "otto"]);
    sandbox.acquire(&["new"]);
    age_by_a_boot(&sandbox, "old");
    let dry = check(&sandbox, &["clean", "--dry-run"], 0);
    assert_eq!(dry["dry_run"], true);
    let done = check(&sandbox, &["clean"], 0);
    assert_eq!(done["removed"], dry["removed"]);
    assert_eq!(done["removed"][0]["reason"], "other_boot");
    assert!(done["kept"].as_array().unwrap().iter().any(|item| item["reason"] == "held"), "{done}");
    // Since when each of them is as it is: the time of the file, which is before now.
    let now = zeta_os::host::reading().wall_us;
    for item in [&done["removed"][0], &done["kept"][0]] {
        let since = zeta_core::time::parse_utc(item["since"].as_str().expect("since"));
        assert!(since.is_ok_and(|us| us <= now && us > now - 3_600_000_000), "{item}");
    }
    check(&sandbox, &["clean", "x"], 2);
    loosen(&sandbox);
    check(&sandbox, &["clean"], 7);
}

#[test]
fn doctor() {
    let sandbox = Sandbox::new();
    let absent = check(&sandbox, &["doctor"], 0);
    assert_eq!(absent["sound"], true);
    sandbox.ok(&["heartbeat"]);
    std::fs::remove_file(sandbox.state.join("README.md")).unwrap();
    check(&sandbox, &["doctor"], 0);
    let fixed = check(&sandbox, &["doctor", "--fix"], 0);
    assert_eq!(fixed["fixed"].as_array().unwrap().len(), 1, "{fixed}");
    check(&sandbox, &["doctor", "x"], 2);
    check(&sandbox, &["doctor", "--as", "Odd"], 2);
    loosen(&sandbox);
    let broken = check(&sandbox, &["doctor"], 7);
    assert_eq!(broken["sound"], false);
    assert!(broken["findings"].as_array().unwrap().iter().any(|f| f["severity"] == "broken"));
}
