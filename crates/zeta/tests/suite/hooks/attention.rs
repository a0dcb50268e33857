//! An agent that waits for a person: when it does, and where that is shown.

use serde_json::{Value, json};

use super::run::{Agent, claude, exported, hook_text};
use crate::support::{Out, Sandbox, run};

/// Runs `zeta status --waiting`.
fn waiting(sandbox: &Sandbox, more: &[&str]) -> Out {
    run(sandbox.cmd(&["status", "--waiting"]).args(more))
}

/// What each waiting agent waits for, and since when, in their order.
fn questions(sandbox: &Sandbox) -> Vec<(String, String)> {
    let out = waiting(sandbox, &["--json"]);
    let answer: Value = serde_json::from_str(&out.out).unwrap_or_else(|_| panic!("{out:?}"));
    let agents = answer["waiting"].as_array().unwrap();
    assert_eq!(out.status, if agents.is_empty() { 4 } else { 0 }, "{out:?}");
    let text = |agent: &Value, key| agent[key].as_str().unwrap().to_owned();
    agents.iter().map(|agent| (text(agent, "agent"), text(agent, "question"))).collect()
}

fn name(sandbox: &Sandbox, agent: &Agent) -> String {
    exported(sandbox, agent).swap_remove(0).1
}

fn asks(tool: &str, input: &Value) -> Value {
    json!({"cwd": "/", "hook_event_name": "PermissionRequest", "tool_name": tool,
        "tool_input": input})
}

#[test]
fn agents_that_wait_come_first_and_alone_with_a_status_for_scripts() {
    let sandbox = Sandbox::new();
    let out = waiting(&sandbox, &[]);
    assert_eq!((out.status, out.out.as_str()), (4, ""), "without a tree: {out:?}");
    let (one, two, idle) = (Agent::start("one"), Agent::start("two"), Agent::start("idle"));
    for agent in [&one, &two, &idle] {
        claude(&sandbox, agent, "session-start", &json!({"cwd": "/"}));
    }
    assert_eq!(questions(&sandbox), []);
    let shell = asks("Bash", &json!({"command": "rm -rf \u{1b}[2Jx", "description": "d"}));
    claude(&sandbox, &two, "waiting", &shell);
    let ask = json!({"questions": [{"question": "Which colour?", "options": []}]});
    claude(&sandbox, &one, "waiting", &asks("AskUserQuestion", &ask));
    let [first, second] = [&two, &one].map(|agent| name(&sandbox, agent));
    let expected = [
        (first.clone(), "permission for Bash: rm -rf \u{1b}[2Jx".to_owned()),
        (second.clone(), "Which colour?".to_owned()),
    ];
    assert_eq!(questions(&sandbox), expected, "the one that has waited longest comes first");
    let text = waiting(&sandbox, &[]).out;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 3 && lines[1].starts_with(&first), "{text}");
    assert!(!text.contains('\u{1b}') && lines[2].contains("Which colour?"), "{text}");
    let status: Value = serde_json::from_str(&sandbox.ok(&["status", "--json"])).unwrap();
    let agents = status["nodes"][0]["agents"].as_array().unwrap();
    assert_eq!(agents[0]["agent"], first);
    assert_eq!(agents[1]["waits_for"], "Which colour?");
    assert!(agents[1]["waits_ms"].is_u64() && agents[2].get("waits_ms").is_none(), "{status}");
    let text = sandbox.ok(&["status"]);
    assert!(text.contains("WAITS FOR A PERSON") && text.contains("Which colour?"), "{text}");
}

#[test]
fn the_next_hook_of_a_session_ends_its_wait_and_a_reminder_does_not() {
    let sandbox = Sandbox::new();
    let mut agent = Agent::start("one");
    claude(&sandbox, &agent, "session-start", &json!({"cwd": "/"}));
    let waits = || questions(&sandbox).pop().map(|(_, question)| question);
    let kind = |kind: &str, text: &str| json!({"message": text, "notification_type": kind});
    // Of a question that an MCP server asks, no event says that it was answered.
    let asked = Some("Which city?".to_owned());
    for event in ["before-tool", "after-tool", "stop", "prompt", "session-start", "session-end"] {
        claude(&sandbox, &agent, "waiting", &kind("elicitation_dialog", "Which city?"));
        for told in [kind("permission_prompt", "Claude needs you"), kind("auth_success", "x")] {
            claude(&sandbox, &agent, "waiting", &told);
            assert_eq!(waits(), asked, "{told}");
        }
        claude(&sandbox, &agent, event, &json!({"cwd": "/", "tool_name": "Read"}));
        assert_eq!(waits(), None, "{event}");
    }
    // An agent that has nothing to do needs no person.
    claude(&sandbox, &agent, "session-start", &json!({"cwd": "/"}));
    claude(&sandbox, &agent, "waiting", &kind("idle_prompt", "waiting for your input"));
    assert_eq!(waits(), None);
    claude(&sandbox, &agent, "waiting", &kind("elicitation_dialog", "Which city?"));
    assert_eq!(waits(), asked);
    agent.kill();
    assert_eq!(waits(), None, "a dead agent waits for nothing");
}

#[test]
fn a_question_about_a_call_stays_while_other_calls_go_on_beside_it() {
    let sandbox = Sandbox::new();
    let agent = Agent::start("one");
    claude(&sandbox, &agent, "session-start", &json!({"cwd": "/"}));
    let waits = || questions(&sandbox).pop().map(|(_, question)| question);
    let asking = asks("Write", &json!({"file_path": "/w", "content": "x"}));
    for event in ["after-tool", "stop", "prompt", "session-start", "session-end"] {
        claude(&sandbox, &agent, "waiting", &asking);
        let mut beside = asks("Read", &json!({"file_path": "/r"}));
        claude(&sandbox, &agent, "before-tool", &beside);
        claude(&sandbox, &agent, "after-tool", &beside);
        // An agent that this one started.
        beside["agent_id"] = "a83f9d9d405d6bf85".into();
        claude(&sandbox, &agent, "after-tool", &beside);
        claude(&sandbox, &agent, "stop", &beside);
        assert_eq!(waits().as_deref(), Some("permission for Write: /w"), "{event}");
        claude(&sandbox, &agent, event, &asking);
        assert_eq!(waits(), None, "{event}");
    }
}

#[test]
fn each_tool_asks_in_its_own_form() {
    let sandbox = Sandbox::new();
    let codex = json!({"session_id": "s", "cwd": "/", "tool_name": "Bash",
        "tool_input": {"command": "curl x", "description": "why"}});
    let gemini = json!({"session_id": "s", "cwd": "/", "notification_type": "ToolPermission",
        "message": "Tool Confirm: Shell requires execution",
        "details": {"type": "exec", "title": "Confirm: Shell", "command": "curl y"}});
    let opencode = json!({"session": "s", "cwd": "/", "question": "permission for edit: a.txt"});
    for (tool, input, question) in [
        ("codex", codex, "permission for Bash: curl x"),
        ("gemini", gemini, "Confirm: Shell: curl y"),
        ("opencode", opencode, "permission for edit: a.txt"),
    ] {
        hook_text(&sandbox, &[tool, "waiting"], None, input.to_string().as_bytes());
        let found = questions(&sandbox);
        let found = found.iter().find(|(agent, _)| agent.starts_with(tool));
        assert_eq!(found.map(|(_, asked)| asked.as_str()), Some(question), "{tool}");
    }
}

#[test]
fn in_zeta_run_the_agent_waits_under_its_own_name() {
    let sandbox = Sandbox::new();
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let input = asks("Bash", &json!({"command": "make"}));
    let input = json!({"session_id": "s", "tool_name": input["tool_name"],
        "tool_input": input["tool_input"]});
    let script =
        format!("echo '{input}' | {zeta} hook run claude waiting; {zeta} status --waiting");
    let out = run(&mut sandbox.cmd(&["run", "--as", "otto", "--", "sh", "-c", &script]));
    assert!(out.status == 0 && out.out.contains("otto"), "{out:?}");
    assert_eq!(questions(&sandbox), [], "its end is the end of its wait");
}

#[test]
fn what_cannot_be_read_is_not_taken_for_nothing() {
    let sandbox = Sandbox::new();
    let agent = Agent::start("one");
    claude(&sandbox, &agent, "session-start", &json!({"cwd": "/"}));
    let node = std::fs::read_dir(sandbox.state.join("nodes")).unwrap().next().unwrap().unwrap();
    let record = node.path().join(format!("persona-{}.state", name(&sandbox, &agent)));
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(record, open).unwrap();
    let out = waiting(&sandbox, &[]);
    assert!(out.status == 7 && out.err.contains("not every record"), "{out:?}");
}
