//! The plugin of OpenCode: which sessions it names, and what is answered for those of subagents.

use std::process::Command;

use serde_json::{Value, json};

use super::run::{Agent, claude, exported, hook_text, worktree};
use crate::support::{Sandbox, run, skip, test_name};

/// A session, one that it made, one that this made, and another.
const DRIVER: &str = r#"
import { Zeta } from "./zeta.mjs"
const zeta = await Zeta({ directory: "/d" })
const event = (type, properties) => zeta.event({ event: { type, properties } })
await event("session.created", { info: { id: "root" } })
await event("session.created", { info: { id: "child", parentID: "root" } })
await event("session.created", { info: { id: "grandchild", parentID: "child" } })
await event("session.created", { info: { id: "other" } })
await event("message.updated", { info: { id: "other", parentID: "root" } })
const call = { sessionID: "grandchild", tool: "write" }
await zeta["tool.execute.before"](call, { args: { filePath: "x" } })
await zeta["tool.execute.after"](call, { output: "", metadata: {} })
await event("permission.asked", { sessionID: "child", permission: "edit", patterns: ["a"] })
await event("session.idle", { sessionID: "child" })
await event("session.deleted", { info: { id: "child", parentID: "root" } })
await zeta["tool.execute.before"]({ sessionID: "other", tool: "read" }, { args: {} })
await event("session.idle", { sessionID: "root" })
await event("session.deleted", { info: { id: "root" } })
"#;

#[test]
fn the_plugin_of_opencode_names_the_outermost_session() {
    if Command::new("node").arg("--version").output().is_err() {
        return skip(test_name!(), "needs node, to run the plugin");
    }
    let sandbox = Sandbox::new();
    let mut install = sandbox.cmd(&["hook", "install", "opencode"]);
    assert_eq!(run(install.env_remove("XDG_CONFIG_HOME")).status, 0);
    let installed = sandbox.dir.join(".config/opencode/plugin/zeta.js");
    let plugin = std::fs::read_to_string(installed).unwrap();
    let stub = sandbox.dir.join("stub");
    let log = sandbox.dir.join("log");
    let text = format!("#!/bin/sh\necho \"$4 $(cat)\" >> '{}'\n", log.display());
    std::fs::write(&stub, text).unwrap();
    std::fs::set_permissions(&stub, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let plugin = plugin.replace(env!("CARGO_BIN_EXE_zeta"), stub.to_str().unwrap());
    std::fs::write(sandbox.dir.join("zeta.mjs"), plugin).unwrap();
    std::fs::write(sandbox.dir.join("driver.mjs"), DRIVER).unwrap();
    let out = run(sandbox.other("node", &["driver.mjs"]).current_dir(&*sandbox.dir));
    assert_eq!(out.status, 0, "{out:?}");
    let calls = std::fs::read_to_string(log).unwrap();
    let call = |line: &str| {
        let (moment, event) = line.split_once(' ').unwrap();
        let event: Value = serde_json::from_str(event).unwrap();
        let inner = if event["inner"] == true { " inner" } else { "" };
        format!("{moment} {}{inner}", event["session"].as_str().unwrap())
    };
    let calls: Vec<String> = calls.lines().map(call).collect();
    let expected = [
        "session-start root",
        "session-start other",
        "before-tool root inner",
        "after-tool root inner",
        "waiting root inner",
        "before-tool other",
        "stop root",
        "session-end root",
    ];
    assert_eq!(calls, expected);
}

#[test]
fn a_subagent_of_opencode_writes_what_its_agent_claimed_and_no_other_does() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let call = |session: &str, moment: &str, more: Value| {
        let mut event = json!({"session": session, "cwd": dir, "tool": "write",
            "args": {"filePath": dir.join("src/x")}});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        hook_text(&sandbox, &["opencode", moment], None, event.to_string().as_bytes()).out
    };
    call("root", "session-start", json!({}));
    let names = sandbox.ok(&["status", "--json"]);
    let names: Value = serde_json::from_str(&names).unwrap();
    let name = names["nodes"][0]["agents"][0]["agent"].as_str().unwrap().to_owned();
    let other = Agent::start("other");
    claude(&sandbox, &other, "session-start", &json!({"cwd": dir}));
    let mut acquire = sandbox.cmd(&["claim", "acquire", "--path", "src/**"]);
    let out = run(acquire.envs(exported(&sandbox, &other)).current_dir(&dir));
    assert_eq!(out.status, 0, "{out:?}");
    let inner = json!({"inner": true});
    assert!(call("root", "before-tool", inner.clone()).contains("deny"));
    let mut release = sandbox.cmd(&["claim", "release", "--path", "src/**"]);
    assert_eq!(run(release.envs(exported(&sandbox, &other)).current_dir(&dir)).status, 0);
    let mut acquire = sandbox.cmd(&["claim", "acquire", "--path", "src/**", "--as", &name]);
    let number = zeta_core::hook::session_number(zeta_core::hook::Tool::OpenCode, "root");
    let out = run(acquire.env("ZETA_SESSION", number).current_dir(&dir));
    assert_eq!(out.status, 0, "{out:?}");
    assert_eq!(call("root", "before-tool", inner.clone()), "");
    assert!(call("second", "before-tool", json!({})).contains("deny"));
    sandbox.ok(&["bus", "send", &name, "hello", "--as", "ann"]);
    assert!(!call("root", "after-tool", inner).contains("hello"), "a subagent reads no mail");
    assert!(call("root", "after-tool", json!({})).contains("hello"));
}
