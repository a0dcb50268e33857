//! Both eras of the protocol, and what a model has to read.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, LEGACY, STATELESS};
use crate::support::{LIMIT, Sandbox};

const TOOLS: [&str; 8] =
    ["status", "acquire", "release", "check", "claim", "unclaim", "send", "inbox"];

fn names(listed: &Value) -> Vec<&str> {
    let tools = listed["result"]["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

#[test]
fn a_client_with_a_handshake_is_served_in_its_own_version() {
    let sandbox = Sandbox::new();
    for version in [LEGACY, "2025-11-25"] {
        let mut client = Client::start(&sandbox);
        let greeting = client.greet("old", version);
        assert_eq!(greeting["protocolVersion"], version);
        assert_eq!(greeting["serverInfo"]["name"], "zeta");
        let listed = client.request("tools/list", json!({}));
        assert_eq!(names(&listed), TOOLS);
        assert_eq!(client.call("acquire", json!({"name": "a"})).outcome(), "granted");
        assert_eq!(client.request("ping", json!({}))["result"], json!({}));
        assert_eq!(client.close(LIMIT), 0);
    }
}

#[test]
fn a_client_without_a_handshake_is_served_too() {
    let sandbox = Sandbox::new();
    let mut client = Client::start(&sandbox);
    client.without_handshake();
    let found = client.request("server/discover", json!({}));
    let versions = found["result"]["supportedVersions"].to_string();
    assert!(versions.contains(STATELESS), "{found}");
    assert!(found["result"]["instructions"].as_str().unwrap().contains("claim"), "{found}");
    assert_eq!(names(&client.request("tools/list", json!({}))), TOOLS);
    let said = client.call("acquire", json!({"name": "a"}));
    assert_eq!(said.outcome(), "granted", "{said:?}");
    assert!(said.agent().starts_with("stateless-"), "{said:?}");
    assert!(client.call("check", json!({"name": "a"})).has("is yours"));
    assert_eq!(client.close(LIMIT), 0);
}

#[test]
fn what_a_model_reads_of_the_tools_costs_little() {
    let sandbox = Sandbox::new();
    let mut client = Client::greeted(&sandbox, "c");
    let listed = client.request("tools/list", json!({}));
    let text = listed["result"].to_string();
    // A token is about four bytes; the whole budget is 1,500.
    assert!(text.len() <= 4 * 1000, "{} bytes", text.len());
    assert!(!text.contains("\"format\""), "clients warn about formats that they do not know");
    assert!(!text.contains("$schema") && !text.contains("\"title\""), "{text}");
    for tool in listed["result"]["tools"].as_array().unwrap() {
        assert!(jsonschema::meta::is_valid(&tool["inputSchema"]), "{tool}");
        assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{tool}");
    }
}

#[test]
fn the_state_is_a_resource_whose_changes_are_told_in_both_eras() {
    let sandbox = Sandbox::new();
    let mut old = Client::greeted(&sandbox, "old");
    let mut new = Client::start(&sandbox);
    new.without_handshake();
    let listed = old.request("resources/list", json!({}));
    assert_eq!(listed["result"]["resources"][0]["uri"], "zeta://state");
    for unknown in [json!({"uri": "zeta://other"}), json!({"uri": ""})] {
        assert!(old.request("resources/read", unknown.clone())["error"].is_object());
        assert!(old.request("resources/subscribe", unknown)["error"].is_object());
    }
    let uri = json!({"uri": "zeta://state"});
    assert_eq!(old.request("resources/subscribe", uri.clone())["result"], json!({}));
    let filter = json!({"notifications": {"resourceSubscriptions": ["zeta://state"]}});
    let listening = new.ask("subscriptions/listen", filter);
    let acknowledged = new.read(LIMIT).unwrap();
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");

    sandbox.acquire(&["deploy"]);
    for client in [&mut old, &mut new] {
        let update = client.read(LIMIT).unwrap();
        assert_eq!(update["method"], "notifications/resources/updated", "{update}");
        assert_eq!(update["params"]["uri"], "zeta://state");
        let read = client.request("resources/read", uri.clone());
        let text = read["result"]["contents"][0]["text"].as_str().unwrap();
        let state: Value = serde_json::from_str(text).unwrap();
        assert_eq!(crate::json::misfits("status", &state), Vec::<String>::new());
        assert_eq!(state["nodes"][0]["leases"][0]["lease"], "deploy");
    }
    // A beat changes a record, and is no news.
    sandbox.ok(&["heartbeat", "--as", "ann"]);
    assert!(old.read(LIMIT).is_some(), "a new agent is news");
    sandbox.ok(&["heartbeat", "--as", "ann"]);
    assert_eq!(old.read(Duration::from_millis(400)), None, "a beat is no news");

    old.request("resources/unsubscribe", uri);
    let cancelled = json!({"requestId": listening, "reason": "enough"});
    new.write(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled}));
    let before = sandbox.acquire(&["other"]);
    assert!(before > 0);
    assert_eq!(old.read(Duration::from_millis(400)), None);
    assert_eq!(old.close(LIMIT), 0);
    assert_eq!(new.close(LIMIT), 0);
}

#[test]
fn a_subscription_does_not_keep_the_server() {
    let sandbox = Sandbox::new();
    let mut client = Client::start(&sandbox);
    client.without_handshake();
    let filter = json!({"notifications": {"resourceSubscriptions": ["zeta://state"]}});
    client.ask("subscriptions/listen", filter);
    assert!(client.read(LIMIT).is_some());
    let started = std::time::Instant::now();
    assert_eq!(client.close(LIMIT), 0);
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
}
