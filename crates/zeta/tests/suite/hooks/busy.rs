//! A hook while something it needs is held by another process, or is broken: what does not depend
//! on that is done all the same, and within two seconds.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::run::{
    Agent, claimed, claude, denied, edit, exported, hook_text, start, told, worktree,
};
use crate::support::{LIMIT, Out, Sandbox, finish, one_is_faster, signal};

/// The time that a hook has.
const IN_TIME: Duration = Duration::from_secs(2);

/// Holds the lock of a directory, as a process that is stopped does.
fn hold(dir: &Path) -> OwnedFd {
    let held: OwnedFd = std::fs::File::open(dir).unwrap().into();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    held
}

/// Runs a hook that may say what failed; its answer.
fn hook(sandbox: &Sandbox, agent: &Agent, event: &str, input: &Value) -> (Value, Out) {
    let mut input = input.clone();
    input["session_id"] = agent.session.as_str().into();
    let pid = Some(agent.process.id());
    let out = hook_text(sandbox, &["claude", event], pid, input.to_string().as_bytes());
    (serde_json::from_str(&out.out).unwrap_or_default(), out)
}

fn begin(sandbox: &Sandbox, session: &str, dir: &Path) -> (Agent, String) {
    let agent = Agent::start(session);
    claude(sandbox, &agent, "session-start", &json!({"cwd": dir}));
    let name = exported(sandbox, &agent).swap_remove(0).1;
    (agent, name)
}

#[test]
fn a_record_that_another_process_holds_costs_neither_protection_nor_mail() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let _holder = claimed(&sandbox, &dir);
    let (agent, name) = begin(&sandbox, "one", &dir);
    let question = json!({"cwd": dir, "message": "?", "notification_type": "elicitation_dialog"});
    claude(&sandbox, &agent, "waiting", &question);
    let node = std::fs::read_dir(sandbox.state.join("nodes")).unwrap().next().unwrap().unwrap();
    let _held = hold(&node.path().join(format!(".guard/persona-{name}.state")));
    // The hook before a tool would write that the agent waits no more.
    let (answer, out) = hook(&sandbox, &agent, "before-tool", &edit(&dir, "a"));
    assert!(denied(&answer).is_some_and(|reason| reason.contains("B-1")), "{out:?}");
    for event in ["session-start", "prompt", "after-tool"] {
        one_is_faster(IN_TIME, || {
            sandbox.ok(&["bus", "send", &name, event, "--as", "otto"]);
            let (answer, out) =
                hook(&sandbox, &agent, event, &json!({"cwd": dir, "tool_name": "Read"}));
            let text = told(&answer).unwrap_or_default();
            assert!(text.contains(&format!("| {event}")), "{event}: {out:?}");
            assert!(event != "session-start" || text.contains("you are agent"), "{text}");
            assert!(out.err.starts_with("zeta hook: "), "{out:?}");
            // It says so itself if its time was over.
            if out.err.contains("2 s,") { IN_TIME } else { out.took }
        });
    }
}

#[test]
fn a_bus_that_another_process_holds_costs_no_greeting() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let (_other, name) = begin(&sandbox, "other", &dir);
    sandbox.ok(&["bus", "send", &name, "x", "--as", "otto"]);
    let held = hold(&sandbox.dir.join("bus"));
    one_is_faster(IN_TIME, || {
        let agent = Agent::start("one");
        let (answer, out) = hook(&sandbox, &agent, "session-start", &json!({"cwd": dir}));
        assert!(told(&answer).is_some_and(|text| text.contains(&name)), "{out:?}");
        out.took
    });
    // Hooks that are stopped over the end of their time, too, say once what they have ready.
    let agents: Vec<Agent> = (0..6).map(|n| Agent::start(&format!("stopped-{n}"))).collect();
    let began = Instant::now();
    let hooks: Vec<Child> = agents
        .iter()
        .map(|agent| start(&sandbox, agent, "session-start", Stdio::piped()))
        .collect();
    std::thread::sleep(Duration::from_millis(250));
    hooks.iter().for_each(|hook| signal(hook.id(), Signal::STOP));
    std::thread::sleep(Duration::from_millis(2_200));
    hooks.iter().for_each(|hook| signal(hook.id(), Signal::CONT));
    for hook in hooks {
        let out = finish(hook, began, LIMIT);
        let answer: Value = serde_json::from_str(&out.out).unwrap_or_default();
        assert!(out.status == 0 && told(&answer).is_some(), "{out:?}");
    }
    drop(held);
}

#[test]
fn a_broken_configuration_turns_no_protection_off_and_is_named() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let _holder = claimed(&sandbox, &dir);
    let config = sandbox.dir.join("config/zeta");
    std::fs::create_dir_all(&config).unwrap();
    let write = |text: &str| std::fs::write(config.join("config.toml"), text).unwrap();
    let agent = Agent::start("one");
    write("hook_edit = \"refsue\"\nhook_mail = \"count\"\n");
    let (answer, out) = hook(&sandbox, &agent, "session-start", &json!({"cwd": dir}));
    let text = told(&answer).unwrap_or_default();
    for part in ["config.toml:1", "refsue", "tell your user", "you are agent"] {
        assert!(text.contains(part), "{part}: {out:?}");
    }
    let edit = edit(&dir, "a");
    for (lines, refused) in [
        ("hook_edit = \"refsue\"", true),
        ("hook_edt = \"off\"", true),
        ("[hooks", true),
        ("\u{0}", true),
        ("hook_edit = \"off\"\nhook_push = 1", false),
    ] {
        write(lines);
        let (answer, out) = hook(&sandbox, &agent, "before-tool", &edit);
        assert_eq!(denied(&answer).is_some(), refused, "{lines}: {out:?}");
        assert!(out.err.contains("config.toml"), "{lines}: {out:?}");
    }
}
