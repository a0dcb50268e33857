//! Which agent a call belongs to where two tools have one session's id, or one tool runs inside of
//! another one.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use zeta_core::hook::Tool;
use zeta_core::hook::session_number;

use super::commands::{holder, install};
use super::run::{Agent, claude, denied, edit, exported, hook_text, worktree};
use crate::support::{LIMIT, Out, Sandbox, can, find, run, skip, until, wait};

const ZETA: &str = env!("CARGO_BIN_EXE_zeta");

/// The name that the commands of an agent have.
fn name(sandbox: &Sandbox, agent: &Agent) -> String {
    exported(sandbox, agent).swap_remove(0).1
}

fn acquire(sandbox: &Sandbox, agent: &Agent, lease: &str) -> Out {
    let mut command = sandbox.cmd(&["lease", "acquire", lease]);
    let out = run(command.envs(exported(sandbox, agent)));
    assert_eq!(out.status, 0, "{out:?}");
    out
}

fn begin(sandbox: &Sandbox, agent: &Agent) {
    claude(sandbox, agent, "session-start", &json!({"cwd": &*sandbox.dir}));
}

fn record(sandbox: &Sandbox, agent: &str) -> String {
    std::fs::read_to_string(sandbox.node().join(format!("persona-{agent}.state"))).unwrap()
}

fn is_held(sandbox: &Sandbox, lease: &str) -> bool {
    sandbox.lock_exists(lease)
}

#[test]
fn a_session_that_runs_in_two_processes_is_two_agents() {
    let sandbox = Sandbox::new();
    let mut first = Agent::start("s");
    begin(&sandbox, &first);
    acquire(&sandbox, &first, "of-first");
    // The same session is resumed in a second terminal.
    let second = Agent::start("s");
    begin(&sandbox, &second);
    let (one, two) = (name(&sandbox, &first), name(&sandbox, &second));
    assert_ne!(one, two);
    acquire(&sandbox, &second, "of-second");
    // Each of them goes on, in any order, as what it is.
    for agent in [&first, &second, &first] {
        claude(&sandbox, agent, "after-tool", &json!({"cwd": "/", "tool_name": "Read"}));
    }
    for (agent, name, lease) in [(&first, &one, "of-first"), (&second, &two, "of-second")] {
        let pid = format!("\npid: {}\n", agent.process.id());
        assert!(record(&sandbox, name).contains(&pid), "{name}");
        assert_eq!(holder(&sandbox, lease), (name.clone(), true));
    }
    sandbox.refused(&["lease", "acquire", "of-second", "--as", "third"], 3);
    // The end of one, of either kind, is none of the other.
    first.kill();
    sandbox.ok(&["lease", "acquire", "of-first", "--as", "third"]);
    claude(&sandbox, &second, "after-tool", &json!({"cwd": "/", "tool_name": "Read"}));
    assert_eq!(holder(&sandbox, "of-second").0, two);
    assert!(record(&sandbox, &two).contains(&format!("\npid: {}\n", second.process.id())));
    // Resumed after the end of its process, it is the agent that it was.
    let third = Agent::start("s");
    begin(&sandbox, &third);
    assert_eq!(name(&sandbox, &third), one);
    claude(&sandbox, &third, "session-end", &json!({}));
    assert!(is_held(&sandbox, "of-second"));
    claude(&sandbox, &second, "session-end", &json!({}));
    assert!(!is_held(&sandbox, "of-second"));
}

/// Text for a shell that stands for a tool: it calls a hook as this tool, in this session.
fn hook(tool: &str, session: &str, event: &str, more: &Value) -> String {
    let mut input = more.clone();
    input["session_id"] = session.into();
    format!("echo '{input}' | {ZETA} hook run {tool} {event};")
}

/// Runs Codex in a command of Claude Code, below `around`. The inner tool claims a path, writes
/// there, acquires a lease, and calls this text at the end.
fn nested(sandbox: &Sandbox, around: &[&str], dir: &Path, more: &str) -> Out {
    let (at, patch) = (json!({"cwd": dir}), "*** Begin Patch\n*** Add File: src/a\n+x\n");
    let own = json!({"cwd": dir, "tool_name": "apply_patch", "tool_input": {"command": patch}});
    let own = own.to_string().replace("\\n", "\\\\n");
    let inner = [
        &hook("codex", "inner", "session-start", &at),
        &hook("codex", "inner", "prompt", &at),
        &hook("codex", "inner", "stop", &at),
        &format!("(cd {}; {ZETA} claim acquire --path 'src/**'; true);", dir.display()),
        "echo own-edit;",
        &format!(
            "printf '{}' | {ZETA} hook run codex before-tool;",
            own.replacen('{', "{\"session_id\":\"inner\",", 1)
        ),
        &format!("{ZETA} lease acquire deploy; {ZETA} bus inbox;"),
        more,
    ]
    .concat();
    let file = sandbox.dir.join("inner.sh");
    std::fs::write(&file, inner).unwrap();
    let outer = [
        &hook("claude", "outer", "session-start", &at),
        &hook("claude", "outer", "prompt", &at),
        &format!("{ZETA} bus send \"${{ZETA_AGENT:-$OUTER}}\" secret --as vera;"),
        "export ZETA_AGENT=${ZETA_AGENT:-$OUTER} ZETA_SESSION=${ZETA_SESSION:-$NUMBER};",
        "echo inner-begins;",
        &format!("sh {}; echo inner-ends;", file.display()),
        &hook("claude", "outer", "after-tool", &json!({"cwd": dir, "tool_name": "Bash"})),
    ]
    .concat();
    let number = session_number(Tool::Claude, "outer");
    let mut words = around.to_vec();
    words.extend(["sh", "-c", &outer]);
    let mut command = sandbox.other(words[0], &words[1..]);
    command.env("ZETA_STATE_DIR", &sandbox.state).env_remove("CLAUDE_PID");
    command.env("OUTER", format!("claude-{}", &number[..8])).env("NUMBER", number);
    run(&mut command)
}

#[test]
fn a_tool_inside_of_a_tool_is_an_agent_of_its_own() {
    for around in [&[][..], &[ZETA, "run", "--as", "otto", "--"]] {
        let sandbox = Sandbox::new();
        install(&sandbox);
        let dir = worktree(&sandbox, "r", "main");
        let outer = match around {
            [] => format!("claude-{}", &session_number(Tool::Claude, "outer")[..8]),
            _ => "otto".to_owned(),
        };
        let node = sandbox.state.display();
        let more = format!("grep -h ^turn: {node}/nodes/*/persona-{outer}.state;");
        let out = nested(&sandbox, around, &dir, &more);
        assert_eq!(out.status, 0, "{out:?}");
        let (before, inner) = out.out.split_once("inner-begins").unwrap();
        let (inner, after) = inner.split_once("inner-ends").unwrap();
        assert!(!before.contains("secret"), "{out:?}");
        // Neither by hooks nor by its commands does it get what is for the outer one.
        assert!(!inner.contains("secret") && inner.contains(&format!("agent {outer}-")), "{out:?}");
        assert!(after.contains("| secret"), "{out:?}");
        // Its turn is not that of the outer one, and its claim is its own.
        assert!(inner.contains("turn: \"running\""), "{out:?}");
        let own_edit = inner.split_once("own-edit\n").unwrap().1;
        assert!(!own_edit.contains("deny"), "{out:?}");
        let (holder, in_session) = holder(&sandbox, "deploy");
        assert!(in_session && holder.starts_with(&format!("{outer}-")), "{holder}");
    }
}

#[test]
fn what_a_person_sets_counts_also_inside_of_a_tool() {
    let sandbox = Sandbox::new();
    install(&sandbox);
    let dir = worktree(&sandbox, "r", "main");
    let more = format!(
        "ZETA_AGENT=kim ZETA_SESSION=9 {ZETA} lease acquire of-kim;
         {ZETA} lease acquire of-lee --as lee"
    );
    let out = nested(&sandbox, &[], &dir, &more);
    assert_eq!(out.status, 0, "{out:?}");
    assert_eq!(holder(&sandbox, "of-kim"), ("kim".to_owned(), true));
    assert_eq!(holder(&sandbox, "of-lee"), ("lee".to_owned(), false));
}

#[test]
fn the_tool_that_follows_in_a_zeta_run_takes_its_place() {
    let sandbox = Sandbox::new();
    let start = |tool: &str, session| hook(tool, session, "session-start", &json!({"cwd": "/"}));
    let tool =
        |tool: &str, session| format!("sh -c \"{}:\";", start(tool, session).replace('"', "\\\""));
    // One after the other, and a new session in one process, as after `/clear`.
    let script = [tool("codex", "a"), tool("gemini", "b")].concat();
    let again = [
        "sh -c \"",
        &start("codex", "c").replace('"', "\\\""),
        &start("codex", "d").replace('"', "\\\""),
        "\"",
    ]
    .concat();
    let all = format!("{script}{again}");
    let out = run(sandbox
        .other(ZETA, &["run", "--as", "otto", "--", "sh", "-c", &all])
        .env("ZETA_STATE_DIR", &sandbox.state));
    assert_eq!((out.status, out.err.as_str()), (0, ""), "{out:?}");
    let agents = std::fs::read_dir(sandbox.node()).unwrap();
    let personas = |name: String| name.starts_with("persona-").then_some(name);
    let agents: Vec<String> = agents
        .filter_map(|file| personas(file.unwrap().file_name().into_string().unwrap()))
        .collect();
    assert_eq!(agents, ["persona-otto.state"], "{out:?}");
}

#[test]
fn one_busy_lease_holds_no_other_one_back_at_the_end_of_a_session() {
    let sandbox = Sandbox::new();
    let agent = Agent::start("one");
    begin(&sandbox, &agent);
    for lease in ["aaa", "bbb"] {
        acquire(&sandbox, &agent, lease);
    }
    let held: OwnedFd = std::fs::File::open(sandbox.guard("aaa")).unwrap().into();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let event = |session: &str, event| {
        let text = json!({"session_id": session, "cwd": "/"}).to_string();
        hook_text(&sandbox, &["claude", event], Some(agent.process.id()), text.as_bytes())
    };
    let out = event("one", "session-end");
    assert!(out.err.contains("aaa"), "it says what stays: {out:?}");
    assert!(is_held(&sandbox, "aaa") && !is_held(&sandbox, "bbb"));
    // The process lives on, as after `/clear`: its next session frees what is left.
    drop(held);
    event("two", "session-start");
    assert!(!is_held(&sandbox, "aaa"));
}

#[test]
fn a_wait_that_began_before_the_session_of_its_agent_ends_with_it() {
    let sandbox = Sandbox::new();
    let mut agent = Agent::start("one");
    let name = format!("claude-{}", &session_number(Tool::Claude, "one")[..8]);
    let mut waiting = sandbox.cmd(&["bus", "wait", "--as", &name]).spawn().unwrap();
    // Before it there is not even a tree.
    std::thread::sleep(std::time::Duration::from_millis(200));
    begin(&sandbox, &agent);
    let again = ["bus", "wait", "--as", &name, "--timeout", "0"];
    until(LIMIT, || sandbox.zeta(&again).status == 3);
    agent.kill();
    assert_eq!(wait(&mut waiting, LIMIT), 5);
}

#[test]
fn no_hook_opens_a_path_that_stands_in_the_record_of_another_agent() {
    let test = "hooks::whose::no_hook_opens_a_path_that_stands_in_the_record_of_another_agent";
    if find("strace").is_none() || !can("strace", &["true"]) {
        return skip(test, "there is no strace that may trace");
    }
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let [one, two] = ["one", "two"].map(Agent::start);
    for agent in [&one, &two] {
        claude(&sandbox, agent, "session-start", &json!({"cwd": dir}));
    }
    // It claims to work in a directory whose files lead on.
    let name = name(&sandbox, &two);
    let forged = record(&sandbox, &name).replace("/r\"", "/forged\"");
    assert!(forged.contains("/forged\""), "{forged}");
    std::fs::write(sandbox.node().join(format!("persona-{name}.state")), forged).unwrap();
    let trace = sandbox.dir.join("trace");
    let event = sandbox.dir.join("event");
    let input = json!({"session_id": "one", "cwd": dir, "prompt": "x"}).to_string();
    std::fs::write(&event, input).unwrap();
    let args = ["-f", "-e", "trace=file", "-o", trace.to_str().unwrap(), ZETA];
    let mut command = sandbox.other("strace", &args);
    command.args(["hook", "run", "claude", "prompt"]).stdin(std::fs::File::open(event).unwrap());
    command.env("ZETA_STATE_DIR", &sandbox.state);
    let out = run(command.env("CLAUDE_PID", one.process.id().to_string()));
    assert_eq!(out.status, 0, "{out:?}");
    let trace = std::fs::read_to_string(trace).unwrap();
    assert!(trace.contains("persona-") && !trace.contains("/forged"), "{trace}");
}

#[test]
fn a_hook_of_a_record_without_a_process_goes_on_with_its_session() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let holder = Agent::start("one");
    begin(&sandbox, &holder);
    let before = name(&sandbox, &holder);
    let file = sandbox.node().join(format!("persona-{before}.state"));
    // A broken record is no reason to refuse an edit.
    std::fs::write(&file, "pid: x\n").unwrap();
    let mut text = edit(&dir, "a");
    text["session_id"] = "one".into();
    let pid = Some(holder.process.id());
    let out = hook_text(&sandbox, &["claude", "before-tool"], pid, text.to_string().as_bytes());
    assert_eq!(out.out, "");
    std::fs::remove_file(&file).unwrap();
    begin(&sandbox, &holder);
    assert_eq!(name(&sandbox, &holder), before);
    assert_eq!(denied(&claude(&sandbox, &holder, "before-tool", &edit(&dir, "a"))), None);
}
