//! What the contract says of every command: wrong calls, and the schemas as an answer.

use serde_json::{Value, json};

use super::{check, misfits};
use crate::support::Sandbox;

#[test]
fn a_schema_is_an_answer_too() {
    let sandbox = Sandbox::new();
    let names = check(&sandbox, &["schema"], 0);
    assert!(names["schemas"].as_array().unwrap().contains(&json!("error")), "{names}");
    check(&sandbox, &["schema", "--all"], 0);
    let one = check(&sandbox, &["schema", "error"], 0);
    assert_eq!(one["title"], "zeta error");
    let text = sandbox.ok(&["schema", "error"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), one);
    check(&sandbox, &["schema", "nosuch"], 2);
    check(&sandbox, &["schema", "error", "--all"], 2);
    assert!(!sandbox.state.exists(), "a schema needs no tree");
}

#[test]
fn the_judge_sees_what_does_not_fit() {
    let good = json!({"error": "fault", "exit_status": 1, "message": "m", "hints": []});
    assert_eq!(misfits("error", &good), [""; 0]);
    for (key, wrong) in [
        ("error", json!("odd")),
        ("exit_status", json!("1")),
        ("exit_status", json!(256)),
        ("hints", json!("none")),
        ("message", Value::Null),
    ] {
        let mut bad = good.clone();
        bad[key] = wrong;
        assert_eq!(misfits("error", &bad).len(), 1, "{bad}");
    }
    assert_eq!(misfits("warning", &json!({})).len(), 3);
    assert!(!misfits("schema", &json!({"schemas": [1]})).is_empty());
}
