//! Clients that send garbage, too much, or stop in the middle.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::Client;
use crate::support::{LIMIT, Sandbox};

#[test]
fn garbage_is_passed_over_and_the_next_call_is_answered() {
    let sandbox = Sandbox::new();
    let mut client = Client::greeted(&sandbox, "c");
    for garbage in [
        "\n",
        "garbage\n",
        "{\n",
        "[]\n",
        "null\n",
        "\"text\"\n",
        "{\"jsonrpc\":\"2.0\"}\n",
        "{\"jsonrpc\":\"1.0\",\"id\":900,\"method\":\"ping\"}\n",
        "{\"jsonrpc\":\"2.0\",\"id\":901,\"method\":7}\n",
        "{\"jsonrpc\":\"2.0\",\"id\":902,\"method\":\"tools/call\"}\n",
        "{\"jsonrpc\":\"2.0\",\"id\":903,\"method\":\"tools/call\",\"params\":[]}\n",
        "{\"jsonrpc\":\"2.0\",\"id\":904,\"method\":\"tools/call\",\"params\":{\"name\":1}}\n",
        "{\"jsonrpc\":\"2.0\",\"id\":905,\"method\":\"no/such\"}\n",
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/no-such\"}\n",
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{}}\n",
        "{\"jsonrpc\":\"2.0\",\"id\":77,\"result\":{}}\n",
        "\u{0}\u{1}\u{feff}\n",
    ] {
        client.write_text(garbage);
    }
    client.write_text(&format!("{}\n", "[".repeat(100_000)));
    assert_eq!(client.call("check", json!({})).outcome(), "mine");
    for (id, _) in client.notes.iter().filter_map(|note| Some((note["id"].as_u64()?, note))) {
        assert!(client.notes.iter().any(|note| note["id"] == id && note["error"].is_object()));
    }
    assert!(client.notes.iter().any(|note| note["id"] == 905), "{:?}", client.notes);
    assert_eq!(client.close(LIMIT), 0);
}

#[test]
fn wrong_calls_are_answered_with_what_would_be_right() {
    let sandbox = Sandbox::new();
    let mut client = Client::greeted(&sandbox, "c");
    let unknown = client.request("tools/call", json!({"name": "lock", "arguments": {}}));
    assert_eq!(unknown["error"]["code"], -32602);
    assert!(unknown["error"]["message"].as_str().unwrap().contains("acquire"), "{unknown}");
    let wrong: [(&str, Value, &str); 9] = [
        ("acquire", json!({}), "needs name"),
        ("acquire", json!({"name": 7}), "must be a text"),
        ("acquire", json!({"name": "a", "wait_s": 9999}), "0 to 45"),
        ("acquire", json!({"name": "a", "slots": 0}), "1 to 1024"),
        ("acquire", json!({"name": "a b"}), "not valid"),
        ("acquire", json!({"name": "x".repeat(1000)}), "not valid"),
        ("claim", json!({"paths": "src"}), "a list of texts"),
        ("send", json!({"to": "../x", "text": "t"}), "not valid"),
        ("check", json!({"nam": "a"}), "no argument"),
    ];
    for (tool, arguments, part) in wrong {
        let said = client.call(tool, arguments.clone());
        assert!(said.is_error && said.has(part), "{tool} {arguments}: {said:?}");
        assert!(said.has("and hold: nothing"), "{said:?}");
    }
}

#[test]
fn a_flood_is_answered_whole() {
    let sandbox = Sandbox::new();
    let mut client = Client::greeted(&sandbox, "c");
    const REQUESTS: u64 = 10_000;
    let tool = json!({"name": "check", "arguments": {"name": "free"}});
    let mut text = String::new();
    for id in 0..REQUESTS {
        let (method, params) = match id % 10 {
            0 => ("tools/call", tool.clone()),
            1 => ("tools/list", json!({})),
            _ => ("ping", json!({})),
        };
        let id = 1_000 + id;
        text +=
            &json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string();
        text.push('\n');
    }
    client.write_text(&text);
    let mut seen = std::collections::BTreeSet::new();
    while (seen.len() as u64) < REQUESTS {
        let line = client.read(Duration::from_secs(60)).expect("an answer is missing");
        assert!(line["result"].is_object(), "{line}");
        assert!(seen.insert(line["id"].as_u64().unwrap()), "answered twice: {line}");
    }
    // It grows with what is open, and not with what was asked.
    let status = std::fs::read_to_string(format!("/proc/{}/status", client.server.id())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let most: u64 = most.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(most < 60_000, "{most} kB");
    assert_eq!(client.close(LIMIT), 0);
}

#[test]
fn a_line_of_a_megabyte_and_an_endless_one_hang_nothing() {
    let sandbox = Sandbox::new();
    let mut client = Client::greeted(&sandbox, "c");
    let name = "x".repeat(1 << 20);
    let said = client.call("acquire", json!({"name": name}));
    assert!(said.is_error, "{}", said.text.len());
    let said = client.call("check", json!({"name": name}));
    assert!(said.is_error && said.text.len() < 3 << 20, "{}", said.text.len());
    // A line of 20 MB is more than any call: it is dropped, and the next one is read.
    let part = "y".repeat(1 << 20);
    for _ in 0..20 {
        client.write_text(&part);
    }
    client.write_text("\n");
    assert_eq!(client.call("check", json!({})).outcome(), "mine");
    client.write_text("{\"jsonrpc\":\"2.0\",\"id\":1,\"meth");
    assert_eq!(client.close(LIMIT), 0, "it ends in the middle of a line");
}

#[test]
fn a_first_message_that_is_no_request_ends_with_a_reason() {
    let sandbox = Sandbox::new();
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let line = format!("printf '%s\\n' '{note}' | '{zeta}' --json mcp");
    let out = crate::support::run(&mut sandbox.other("sh", &["-c", &line]));
    assert_eq!((out.status, out.out.as_str()), (2, ""), "stdout is the protocol's: {out:?}");
    assert!(out.err.contains("no request"), "{out:?}");
}
