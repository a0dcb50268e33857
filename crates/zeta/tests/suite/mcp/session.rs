//! Whose session the calls belong to, and what becomes of what it holds.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use super::client::{Client, LEGACY};
use crate::hooks::run::{Agent, claude, denied, hook_text};
use crate::support::{LIMIT, Sandbox, wait_for};

/// Tells zeta by a hook that this process has a session, as an agent tool does.
fn begin_session(sandbox: &Sandbox, event: &str) {
    let mut hook = sandbox.cmd(&["hook", "run", "codex", event]);
    hook.stdin(Stdio::piped()).env("XDG_CONFIG_HOME", sandbox.dir.join("config"));
    let mut hook = hook.spawn().unwrap();
    let input = json!({"session_id": "s-1", "cwd": &*sandbox.dir}).to_string();
    hook.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(hook.wait().unwrap().success());
}

#[test]
fn the_session_of_the_tool_is_found_without_any_variable() {
    let sandbox = Sandbox::new();
    let mut client = Client::greeted(&sandbox, "codex-mcp-client");
    // The server was there before the session: the first call finds it all the same.
    begin_session(&sandbox, "session-start");
    let granted = client.call("acquire", json!({"name": "deploy"}));
    assert!(granted.agent().starts_with("codex-") && granted.agent().len() == 14, "{granted:?}");
    let shown = sandbox.ok(&["lease", "show", "deploy"]);
    let evidence = format!("pid {}", std::process::id());
    assert!(shown.contains(&evidence), "the tool is the evidence, not the server: {shown}");

    // A server that is started again finds what the session holds.
    assert_eq!(client.close(LIMIT), 0);
    let mut again = Client::greeted(&sandbox, "codex-mcp-client");
    let mine = again.call("check", json!({"name": "deploy"}));
    assert_eq!((mine.outcome(), mine.token()), ("mine", granted.token()));
    // The end of the session is noticed, and what it held is named.
    begin_session(&sandbox, "session-end");
    let other = again.call("status", json!({}));
    assert!(other.has("lease deploy") && other.has("not yours any more"), "{other:?}");
    assert_ne!(other.agent(), granted.agent());
}

#[test]
fn a_session_of_zeta_run_is_found_with_and_without_its_variables() {
    let sandbox = Sandbox::new();
    for clean in [false, true] {
        let zeta = env!("CARGO_BIN_EXE_zeta");
        let unset = "unset ZETA_SESSION ZETA_AGENT ZETA_NODE;";
        let line = format!("{} '{zeta}' mcp; :", if clean { unset } else { "" });
        let mut client =
            Client::of(&mut sandbox.cmd(&["run", "--as", "otto", "--", "sh", "-c", &line]));
        client.greet("some-client", LEGACY);
        let granted = client.call("acquire", json!({"name": "deploy"}));
        assert_eq!((granted.outcome(), granted.agent()), ("granted", "otto"), "{clean}");
        assert_eq!(client.close(LIMIT), 0);
        assert!(!sandbox.lock_exists("deploy"), "zeta run releases at its end");
    }
}

/// Makes a shell that is named as an agent tool, and that no tool runs.
fn tool_named(sandbox: &Sandbox, name: &str) -> std::path::PathBuf {
    let program = sandbox.dir.join(name);
    std::fs::copy("/bin/sh", &program).unwrap();
    program
}

#[test]
fn a_server_of_a_tool_inside_of_the_tool_is_another_agent() {
    let sandbox = Sandbox::new();
    begin_session(&sandbox, "session-start");
    let mut own = Client::greeted(&sandbox, "codex-mcp-client");
    let granted = own.call("acquire", json!({"name": "deploy"}));
    let zeta = env!("CARGO_BIN_EXE_zeta");
    for (program, client, same) in [
        ("gemini", "gemini-cli-mcp-client", false),
        // A shell that only starts the server; and a process of the tool's own.
        ("bash", "any-client", true),
        ("node", "codex-mcp-client", true),
    ] {
        let program = tool_named(&sandbox, program);
        let mut command =
            sandbox.other(program.to_str().unwrap(), &["-c", &format!("{zeta} mcp; :")]);
        let mut inner = Client::of(command.env("ZETA_STATE_DIR", &sandbox.state));
        inner.greet(client, LEGACY);
        let answer = inner.call("acquire", json!({"name": "deploy"}));
        let found = (answer.agent() == granted.agent(), answer.outcome() == "mine");
        assert_eq!(found, (same, same), "{client}: {answer:?}");
        let released = inner.call("release", json!({"name": "elsewhere"}));
        assert!(!released.is_error || released.agent() == answer.agent());
        assert_eq!(inner.close(LIMIT), 0);
    }
    assert_eq!(own.call("check", json!({"name": "deploy"})).outcome(), "mine");
}

#[test]
fn a_zeta_run_serves_the_first_client_below_it() {
    let sandbox = Sandbox::new();
    let (outer, inner) = (tool_named(&sandbox, "claude"), tool_named(&sandbox, "codex"));
    let line = |id: u64, method: &str, params: serde_json::Value| {
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
    };
    let hello = |name: &str| {
        let info = json!({"name": name, "version": "1"});
        let greeting = json!({"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": info});
        line(1, "initialize", greeting)
    };
    let call = line(2, "tools/call", json!({"name": "acquire", "arguments": {"name": "deploy"}}));
    let zeta = env!("CARGO_BIN_EXE_zeta");
    // The server of the outer tool runs on while the inner tool has its own.
    let ask = |name: &str, out: &str| {
        format!(
            "mkfifo {out}.in; {zeta} mcp <{out}.in >{out} & exec 3>{out}.in; echo '{}' >&3; \
             echo '{call}' >&3; until grep -q '\"id\":2' {out}; do sleep 0.02; done;",
            hello(name)
        )
    };
    let script = sandbox.dir.join("inner.sh");
    // The inner tool calls hooks, and the outer one does not.
    let hook = json!({"session_id": "s-2", "cwd": "/"});
    let hook = format!("echo '{hook}' | {zeta} hook run codex session-start >greeting;");
    std::fs::write(&script, format!("{hook} {}", ask("codex-mcp-client", "second"))).unwrap();
    let all =
        format!("{} {} {}; :", ask("claude-code", "first"), inner.display(), script.display());
    let args = ["run", "--as", "otto", "--", outer.to_str().unwrap(), "-c", &all];
    let out = crate::support::run(sandbox.cmd(&args).current_dir(&*sandbox.dir));
    assert_eq!(out.status, 0, "{out:?}");
    let [first, second] =
        ["first", "second"].map(|out| std::fs::read_to_string(sandbox.dir.join(out)).unwrap());
    assert!(first.contains("is yours until") && first.contains("You are otto and"), "{first}");
    let greeting = std::fs::read_to_string(sandbox.dir.join("greeting")).unwrap();
    assert!(greeting.contains("you are agent otto-"), "{greeting}");
    assert!(second.contains("is held by otto") && second.contains("You are otto-"), "{second}");
}

#[test]
fn what_a_server_holds_from_before_the_session_of_its_tool_is_the_agent_s() {
    let sandbox = Sandbox::new();
    let dir = sandbox.dir.join("r");
    std::fs::create_dir_all(dir.join(".git")).unwrap();
    let mut client = Client::of(sandbox.cmd(&["mcp"]).current_dir(&dir));
    client.greet("codex-mcp-client", LEGACY);
    let claimed = client.call("claim", json!({"paths": ["src/**"]}));
    assert!(claimed.agent().starts_with("codex-mcp-client-"), "{claimed:?}");
    let patch = "*** Begin Patch\n*** Add File: src/a\n+x\n*** End Patch";
    let mut edit = json!({"session_id": "s-1", "cwd": dir, "tool_name": "apply_patch"});
    edit["tool_input"] = json!({"command": patch});
    let hook =
        |event: &str| hook_text(&sandbox, &["codex", event], None, edit.to_string().as_bytes()).out;
    let greeting = hook("session-start");
    assert!(!greeting.contains("codex-mcp-client"), "no neighbour: {greeting}");
    assert_eq!(hook("before-tool"), "", "its own claim is no reason");
    // That of another tool's server is.
    let other = Agent::start("other");
    let edit = json!({"cwd": dir, "tool_name": "Write", "tool_input": {"file_path": "src/a"}});
    let refused = claude(&sandbox, &other, "before-tool", &edit);
    assert!(denied(&refused).is_some(), "{refused}");
}

#[test]
fn a_name_that_is_given_is_the_name() {
    let sandbox = Sandbox::new();
    let mut client = Client::of(&mut sandbox.cmd(&["--as", "vera", "mcp"]));
    client.greet("some-client", LEGACY);
    assert_eq!(client.call("status", json!({})).agent(), "vera");
    // Two servers under one name would release each other's leases.
    let mut second = Client::of(&mut sandbox.cmd(&["mcp", "--as", "vera"]));
    second.greet("some-client", LEGACY);
    let refused = second.call("acquire", json!({"name": "x"}));
    assert!(refused.is_error && refused.has("vera"), "{refused:?}");
}

#[test]
fn what_is_held_is_renewed() {
    let sandbox = Sandbox::new();
    let mut client = Client::greeted(&sandbox, "c");
    client.call("acquire", json!({"name": "deploy", "ttl": "1s"}));
    let until = || {
        let shown = sandbox.ok(&["--json", "lease", "show", "deploy"]);
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        shown["until"].as_str().unwrap().to_owned()
    };
    let first = until();
    wait_for("two renewals", || until() > first);
    let second = until();
    wait_for("two renewals", || until() > second);
    assert_eq!(client.call("check", json!({"name": "deploy"})).outcome(), "mine");
}

#[test]
fn a_lost_lease_is_told_in_the_next_answer_of_any_tool() {
    let sandbox = Sandbox::new();
    let mut client = Client::greeted(&sandbox, "c");
    let token = client.call("acquire", json!({"name": "deploy"})).token().to_string();
    let args = ["lease", "break", "deploy", "--expect", &token, "--reason", "it is urgent"];
    sandbox.ok(&[&args[..], &["--as", "ann"]].concat());
    let told = client.call("inbox", json!({}));
    for part in ["You have LOST lease deploy", "ann", "it is urgent", "hold: nothing"] {
        assert!(told.has(part), "{part:?}: {told:?}");
    }
    assert_eq!(told.object["holdings"], json!([]));
    assert!(!client.call("inbox", json!({})).has("LOST"), "it is told once");
    // What the agent released itself, by a command, is no loss.
    let token = client.call("acquire", json!({"name": "deploy"})).token().to_string();
    sandbox.ok(&["lease", "release", "deploy", "--token", &token]);
    let told = client.call("inbox", json!({}));
    assert!(told.has("released elsewhere") && !told.has("LOST"), "{told:?}");
}

#[test]
fn a_record_that_cannot_be_read_for_a_moment_is_no_loss() {
    let sandbox = Sandbox::new();
    let mut client = Client::greeted(&sandbox, "c");
    client.call("acquire", json!({"name": "deploy"}));
    client.call("acquire", json!({"name": "other"}));
    // Another program holds the record apart for a moment, by a link that R8 refuses.
    let link = sandbox.node().join("link");
    std::fs::hard_link(sandbox.lock("deploy"), &link).unwrap();
    let told = client.call("inbox", json!({}));
    assert!(!told.has("NOTE") && told.has("lease deploy"), "{told:?}");
    std::fs::remove_file(link).unwrap();
    assert_eq!(client.call("release", json!({"name": "deploy"})).outcome(), "released");
}

#[test]
fn an_unsafe_directory_is_an_answer_and_no_end() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    std::fs::create_dir(&sandbox.state).unwrap();
    std::fs::set_permissions(&sandbox.state, PermissionsExt::from_mode(0o777)).unwrap();
    let mut client = Client::greeted(&sandbox, "c");
    let answer = client.request("tools/call", json!({"name": "status", "arguments": {}}));
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(answer["result"]["isError"] == true && text.contains("state"), "{answer}");
    std::fs::remove_dir(&sandbox.state).unwrap();
    assert_eq!(client.call("acquire", json!({"name": "x"})).outcome(), "granted");
    assert!(client.read(Duration::from_millis(1)).is_none());
}
