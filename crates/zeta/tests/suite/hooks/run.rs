//! `zeta hook run`: real processes as agents, and the JSON that each tool sends.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use crate::support::{LIMIT, Out, Sandbox, finish, run, wait};

/// A process that stands for an agent's own, and its session.
pub(crate) struct Agent {
    pub(crate) process: Child,
    pub(crate) session: String,
}

impl Agent {
    pub(crate) fn start(session: &str) -> Agent {
        let process = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        Agent { process, session: session.to_owned() }
    }

    /// Ends the process as a crash does.
    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
        wait(&mut self.process, LIMIT);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a hook with this text on its standard input, which stays open until it ends.
pub(crate) fn hook_text(sandbox: &Sandbox, args: &[&str], pid: Option<u32>, text: &[u8]) -> Out {
    let mut command = sandbox.cmd(&["hook", "run"]);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("XDG_CONFIG_HOME", sandbox.dir.join("config"));
    command.env_remove("CLAUDE_ENV_FILE").env_remove("CLAUDE_PID");
    if let Some(pid) = pid {
        command.env("CLAUDE_PID", pid.to_string());
        command.env("CLAUDE_ENV_FILE", sandbox.dir.join(format!("env-{pid}")));
    }
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A hook may end before it has read a text that is too long.
    let _ = stdin.write_all(text);
    let out = finish(child, started, LIMIT);
    drop(stdin);
    assert_eq!(out.status, 0, "a hook ends with 0 in every case: {args:?}: {out:?}");
    assert!(out.err.lines().count() <= 1, "{args:?}: {out:?}");
    out
}

/// Starts a hook of an agent whose standard output this is.
pub(super) fn start(sandbox: &Sandbox, agent: &Agent, event: &str, out: Stdio) -> Child {
    start_with(sandbox, agent, event, &json!({"cwd": "/", "tool_name": "Read"}), out)
}

/// As [`start`], with what the tool says of the event.
pub(super) fn start_with(
    sandbox: &Sandbox,
    agent: &Agent,
    event: &str,
    input: &Value,
    out: Stdio,
) -> Child {
    let mut command = sandbox.cmd(&["hook", "run", "claude", event]);
    command.env("CLAUDE_PID", agent.process.id().to_string()).env_remove("CLAUDE_ENV_FILE");
    command.env("XDG_CONFIG_HOME", sandbox.dir.join("config"));
    let mut child =
        command.stdin(Stdio::piped()).stdout(out).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = input.clone();
    input["session_id"] = agent.session.as_str().into();
    let _ = child.stdin.take().unwrap().write_all(input.to_string().as_bytes());
    child
}

/// Runs a hook of Claude Code for an agent; its answer, or null.
pub(crate) fn claude(sandbox: &Sandbox, agent: &Agent, event: &str, input: &Value) -> Value {
    let mut input = input.clone();
    input["session_id"] = agent.session.as_str().into();
    let text = input.to_string();
    let pid = Some(agent.process.id());
    let out = hook_text(sandbox, &["claude", event], pid, text.as_bytes());
    assert_eq!(out.err, "", "{event} {input}");
    match out.out.is_empty() {
        true => Value::Null,
        false => serde_json::from_str(&out.out).unwrap(),
    }
}

/// The name and session that a hook exported for the commands of an agent.
pub(super) fn exported(sandbox: &Sandbox, agent: &Agent) -> Vec<(String, String)> {
    let file = sandbox.dir.join(format!("env-{}", agent.process.id()));
    let text = std::fs::read_to_string(file).unwrap();
    let pair = |line: &str| {
        let (key, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
        (key.to_owned(), value.to_owned())
    };
    text.lines().map(pair).collect()
}

/// Runs `zeta` as a command of an agent.
fn as_agent(sandbox: &Sandbox, agent: &Agent, args: &[&str]) -> Out {
    run(sandbox.cmd(args).envs(exported(sandbox, agent)))
}

/// Makes a worktree of git on this branch, as far as a hook reads it.
pub(super) fn worktree(sandbox: &Sandbox, name: &str, branch: &str) -> PathBuf {
    let dir = sandbox.dir.join(name);
    std::fs::create_dir_all(dir.join(".git")).unwrap();
    std::fs::write(dir.join(".git/HEAD"), format!("ref: refs/heads/{branch}\n")).unwrap();
    dir
}

/// Makes a second worktree of a repository.
fn second_worktree(sandbox: &Sandbox, first: &Path, name: &str) -> PathBuf {
    let (dir, of_it) = (sandbox.dir.join(name), first.join(".git/worktrees").join(name));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::create_dir_all(&of_it).unwrap();
    std::fs::write(dir.join(".git"), format!("gitdir: {}\n", of_it.display())).unwrap();
    std::fs::write(of_it.join("commondir"), "../..\n").unwrap();
    dir
}

/// Starts an agent that claims paths in `dir` with these arguments.
fn claiming(sandbox: &Sandbox, name: &str, dir: &Path, args: &[&str]) -> Agent {
    let agent = Agent::start(name);
    claude(sandbox, &agent, "session-start", &json!({"cwd": dir}));
    let args = [&["claim", "acquire"], args].concat();
    let mut command = sandbox.cmd(&args);
    let out = run(command.envs(exported(sandbox, &agent)).current_dir(dir));
    assert_eq!(out.status, 0, "{args:?}: {out:?}");
    agent
}

/// An agent that has claimed a worktree on `main`.
pub(super) fn claimed(sandbox: &Sandbox, dir: &Path) -> Agent {
    let holder = Agent::start("holder");
    claude(sandbox, &holder, "session-start", &json!({"cwd": dir}));
    let worktree = dir.to_str().unwrap();
    let args = ["claim", "acquire", "B-1", "--worktree", worktree, "--branch", "main"];
    let out = as_agent(sandbox, &holder, &args);
    assert_eq!(out.status, 0, "{out:?}");
    holder
}

pub(super) fn edit(dir: &Path, path: impl AsRef<Path>) -> Value {
    json!({"cwd": dir, "tool_name": "Edit", "tool_input": {"file_path": path.as_ref()}})
}

fn bash(dir: &Path, command: &str) -> Value {
    json!({"cwd": dir, "tool_name": "Bash", "tool_input": {"command": command}})
}

/// The reason of a refusal in the form of Claude Code.
pub(crate) fn denied(answer: &Value) -> Option<&str> {
    let inner = &answer["hookSpecificOutput"];
    (inner["permissionDecision"] == "deny").then(|| inner["permissionDecisionReason"].as_str())?
}

/// What the model reads while the tool goes on.
pub(super) fn told(answer: &Value) -> Option<&str> {
    answer["hookSpecificOutput"]["additionalContext"].as_str()
}

#[test]
fn an_edit_of_a_claimed_worktree_is_refused_until_its_holder_dies() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let other_dir = worktree(&sandbox, "r/wt/x", "x");
    std::os::unix::fs::symlink(&dir, sandbox.dir.join("link")).unwrap();
    let mut holder = claimed(&sandbox, &dir);
    let other = Agent::start("other");
    let name = &exported(&sandbox, &holder)[0].1;
    for path in [
        dir.join("a"),
        PathBuf::from("a"),
        dir.join("no/such/dir/a"),
        dir.join("wt/../a"),
        sandbox.dir.join("link/a"),
        other_dir.join("../../a"),
    ] {
        let answer = claude(&sandbox, &other, "before-tool", &edit(&dir, &path));
        let reason = denied(&answer).unwrap_or_else(|| panic!("{path:?}: {answer}"));
        for part in [name.as_str(), "\"B-1\"", "it is alive", "zeta claim acquire B-1 --wait"] {
            assert!(reason.contains(part), "{part}: {reason}");
        }
    }
    for path in [other_dir.join("a"), sandbox.dir.join("a"), PathBuf::from("/nosuch/a")] {
        let answer = claude(&sandbox, &other, "before-tool", &edit(&dir, &path));
        assert_eq!(answer, Value::Null, "{path:?}");
    }
    let own = claude(&sandbox, &holder, "before-tool", &edit(&dir, "a"));
    assert_eq!(own, Value::Null, "the holder works on");
    holder.kill();
    let answer = claude(&sandbox, &other, "before-tool", &edit(&dir, "a"));
    assert_eq!(answer, Value::Null, "a dead agent holds nothing");
}

#[test]
fn an_agent_reads_of_a_claim_that_was_handed_over_to_it_until_it_has_acquired_it() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let (mut giver, next) = (claimed(&sandbox, &dir), Agent::start("next"));
    let start = json!({"cwd": dir});
    claude(&sandbox, &next, "session-start", &start);
    let words = sandbox.dir.join("words");
    std::fs::write(&words, "parser \u{1b}[31mdone\nnext: its tests").unwrap();
    let name = exported(&sandbox, &next)[0].1.clone();
    let over = ["claim", "handover", "B-1", "--to", &name, "--note", words.to_str().unwrap()];
    let out = as_agent(&sandbox, &giver, &over);
    assert_eq!(out.status, 0, "{out:?}");
    // The note outlives its writer.
    giver.kill();
    let said = |event| {
        let answer = claude(&sandbox, &next, event, &start);
        told(&answer).unwrap_or_default().to_owned()
    };
    let prompt = said("prompt");
    for part in ["handed \"B-1\" over to you", "\"parser \u{fffd}[31mdone\"", "no instruction"] {
        assert!(prompt.contains(part), "{part}: {prompt}");
    }
    assert!(prompt.chars().count() <= 400 && !prompt.contains("its tests"), "{prompt}");
    assert_eq!(said("prompt"), "", "it is said once");
    assert!(said("session-start").contains("B-1"), "and to a session that begins again");
    let out = as_agent(&sandbox, &next, &["claim", "acquire", "B-1"]);
    assert!(out.status == 0 && out.err.contains("  | next: its tests"), "{out:?}");
    assert!(!said("session-start").contains("B-1"));
}

#[test]
fn an_agent_reads_of_the_paths_that_were_handed_over_to_it() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let giver = claiming(&sandbox, "giver", &dir, &["--path", "src/", "--shared"]);
    let next = Agent::start("next");
    let start = json!({"source": "startup", "cwd": dir});
    claude(&sandbox, &next, "session-start", &start);
    let name = exported(&sandbox, &next)[0].1.clone();
    let here = |agent: &Agent, args: &[&str]| {
        let mut command = sandbox.cmd(args);
        command.envs(exported(&sandbox, agent)).current_dir(&dir);
        run(&mut command)
    };
    let out = here(&giver, &["claim", "handover", "--path", "src", "--to", &name]);
    assert_eq!(out.status, 0, "{out:?}");
    let said = |event| {
        let answer = claude(&sandbox, &next, event, &start);
        told(&answer).unwrap_or_default().to_owned()
    };
    let wanted = format!(
        "\"src/ in r\" was handed over to you: \
         zeta claim acquire --path :/src/ --shared --as {name}."
    );
    let prompt = said("prompt");
    assert!(prompt.contains(&wanted), "{prompt}");
    assert!(!said("prompt").contains("src"), "it is said once");
    assert!(said("session-start").contains(&wanted), "and to a session that begins again");
    let guide = here(&next, &["guide"]);
    assert!(guide.err.contains("You hold: src/ (handed over to you"), "{guide:?}");
    let out = here(&next, &["claim", "acquire", "--path", ":/src", "--shared"]);
    assert_eq!(out.status, 0, "{out:?}");
    assert!(!said("session-start").contains("src"));
}

#[test]
fn paths_that_were_handed_over_are_named_with_a_command_only_where_it_acquires_them() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let (second, other) = (second_worktree(&sandbox, &dir, "s"), worktree(&sandbox, "q", "main"));
    let next = Agent::start("next");
    claude(&sandbox, &next, "session-start", &json!({"source": "startup", "cwd": dir}));
    let name = exported(&sandbox, &next)[0].1.clone();
    let said = |cwd: &Path| {
        let start = json!({"source": "startup", "cwd": cwd});
        let answer = claude(&sandbox, &next, "session-start", &start);
        let mut guide = sandbox.cmd(&["guide"]);
        let guide = run(guide.envs(exported(&sandbox, &next)).current_dir(cwd)).err;
        (told(&answer).unwrap_or_default().to_owned(), guide)
    };
    for more in [&[][..], &["--this-worktree"]] {
        let args = [&["--path", "src"], more].concat();
        let giver = claiming(&sandbox, "giver", &dir, &args);
        let mut command = sandbox.cmd(&["claim", "handover", "--path", "src", "--to", &name]);
        let out = run(command.envs(exported(&sandbox, &giver)).current_dir(&dir));
        assert_eq!(out.status, 0, "{out:?}");
        let command = "zeta claim acquire --path :/src";
        let (hook, guide) = said(&dir);
        assert!(
            hook.contains(command) && guide.contains("hold: src/ (handed over"),
            "{hook} {guide}"
        );
        let place = match more {
            [] => "the repository r".to_owned(),
            _ => format!("the worktree {}", dir.display()),
        };
        let is_one = more.is_empty();
        for (cwd, is_there) in [(&second, is_one), (&other, false)] {
            let (hook, guide) = said(cwd);
            let within = hook.contains(&format!("acquire it from within {place}."));
            assert_eq!((within, hook.contains(command)), (!is_there, is_there), "{hook}");
            let named = guide.contains(&format!("src/ in {place} (handed over"));
            assert_eq!(named, !is_there, "{guide}");
        }
        let args = [&["claim", "acquire", "--path", ":/src"], more].concat();
        let mut command = sandbox.cmd(&args);
        let out = run(command.envs(exported(&sandbox, &next)).current_dir(&dir));
        assert_eq!(out.status, 0, "{out:?}");
        let mut command = sandbox.cmd(&["claim", "release", "--path", "src"]);
        let out = run(command.envs(exported(&sandbox, &next)).current_dir(&dir));
        assert_eq!(out.status, 0, "{out:?}");
    }
}

#[test]
fn an_edit_of_a_claimed_path_is_refused_in_each_worktree_until_its_holder_dies() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let (second, foreign) =
        (second_worktree(&sandbox, &dir, "two"), worktree(&sandbox, "f", "main"));
    std::os::unix::fs::symlink("src", second.join("link")).unwrap();
    std::fs::create_dir_all(second.join("src")).unwrap();
    let mut holder = claiming(&sandbox, "holder", &dir, &["--path", "src/**", "--path", "x/a"]);
    let here = claiming(&sandbox, "here", &dir, &["--path", "docs/", "--this-worktree"]);
    let other = Agent::start("other");
    let name = &exported(&sandbox, &holder)[0].1;
    for path in [
        dir.join("src/a.py"),
        PathBuf::from("src/a.py"),
        second.join("src/new/dir/a"),
        second.join("link/a.py"),
        second.join("docs/../src/a.py"),
        second.join("x/a"),
    ] {
        let answer = claude(&sandbox, &other, "before-tool", &edit(&second, &path));
        let reason = denied(&answer).unwrap_or_else(|| panic!("{path:?}: {answer}"));
        for part in [name.as_str(), "\"src/ x/a/\"", "it is alive", "zeta claim acquire --path :/"]
        {
            assert!(reason.contains(part), "{part}: {reason}");
        }
    }
    for path in [second.join("a"), foreign.join("src/a"), second.join("x/[a]"), "/nosuch/a".into()]
    {
        let answer = claude(&sandbox, &other, "before-tool", &edit(&second, &path));
        assert_eq!(answer, Value::Null, "{path:?}");
    }
    let own = claude(&sandbox, &holder, "before-tool", &edit(&second, "src/a.py"));
    assert_eq!(own, Value::Null, "the holder works on");
    let docs = |dir: &Path| claude(&sandbox, &other, "before-tool", &edit(&second, dir));
    let answer = docs(&dir.join("docs/x"));
    assert!(denied(&answer).is_some_and(|text| text.contains("--path :/docs/x")), "{answer}");
    assert_eq!(docs(&second.join("docs/x")), Value::Null, "of the other worktree");
    // The command that a refusal names waits for the end of the claim.
    let mut wait = sandbox.cmd(&["claim", "acquire", "--path", ":/src/a.py", "--wait", "20s"]);
    let wait = wait.current_dir(&second).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (waiting, started) = (wait.spawn().unwrap(), Instant::now());
    holder.kill();
    let answer = claude(&sandbox, &other, "before-tool", &edit(&second, "src/b.py"));
    assert_eq!(answer, Value::Null, "a dead agent holds nothing");
    let out = finish(waiting, started, LIMIT);
    assert_eq!(out.status, 0, "{out:?}");
    let ended = claude(&sandbox, &here, "session-end", &json!({}));
    assert_eq!((ended, docs(&dir.join("docs/x"))), (Value::Null, Value::Null));
}

#[test]
fn agents_that_share_a_path_both_write_it_and_a_third_does_not() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let one = claiming(&sandbox, "one", &dir, &["--path", "src/", "--shared"]);
    let two = claiming(&sandbox, "two", &dir, &["--path", "src/a.py", "--shared"]);
    let three = Agent::start("three");
    let ask = |agent: &Agent, path| claude(&sandbox, agent, "before-tool", &edit(&dir, path));
    for agent in [&one, &two] {
        assert_eq!(ask(agent, "src/a.py"), Value::Null);
    }
    for (agent, path) in [(&two, "src/b.py"), (&three, "src/a.py")] {
        let answer = ask(agent, path);
        assert!(denied(&answer).is_some_and(|text| text.ends_with("--shared")), "{answer}");
    }
    // A record that cannot be read may be a claim of every path: that is no reason to refuse.
    let node = sandbox.node();
    let names = std::fs::read_dir(&node).unwrap().map(|entry| entry.unwrap().path());
    let grants = names.filter(|path| path.extension().is_some_and(|end| end == "grants"));
    let damaged = grants.last().unwrap().join(format!("{:024x}.lock", 7));
    std::fs::write(&damaged, "schema: 1\nnonsense\n").unwrap();
    std::fs::set_permissions(&damaged, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let answer = ask(&three, "docs/x");
    assert!(told(&answer).is_some_and(|text| text.contains("is not known")), "{answer}");
    // A claim outside of any session is one of a name.
    std::fs::remove_file(&damaged).unwrap();
    let ann = ["claim", "acquire", "--path", "docs/", "--as", "ann"];
    assert_eq!(run(sandbox.cmd(&ann).current_dir(&dir)).status, 0);
    assert!(told(&ask(&three, "docs/x")).is_some_and(|text| text.contains("agent ann")));
}

#[test]
fn each_tool_is_refused_in_its_own_form() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let _holder = claimed(&sandbox, &dir);
    let path = dir.join("a").display().to_string();
    let patch = "*** Begin Patch\n*** Update File: a\n@@\n*** End Patch";
    let codex = json!({"session_id": "s", "cwd": dir, "tool_name": "apply_patch",
        "tool_input": {"command": patch}});
    let gemini = json!({"session_id": "s", "cwd": dir, "tool_name": "write_file",
        "tool_input": {"file_path": path}});
    let copilot = json!({"sessionId": "s", "cwd": dir, "toolName": "edit",
        "toolArgs": json!({"path": path}).to_string()});
    let opencode = json!({"session": "s", "cwd": dir, "tool": "write",
        "args": {"filePath": path}});
    let cursor = json!({"conversation_id": "s", "workspace_roots": [dir], "tool_name": "Write",
        "tool_input": {"file_path": path}});
    let at = |pointer: &'static str| pointer;
    for (tool, input, verdict, reason) in [
        (
            "codex",
            codex,
            Some((at("/hookSpecificOutput/permissionDecision"), "deny")),
            "/hookSpecificOutput/permissionDecisionReason",
        ),
        ("gemini", gemini, Some(("/decision", "deny")), "/reason"),
        ("copilot", copilot, Some(("/permissionDecision", "deny")), "/permissionDecisionReason"),
        ("opencode", opencode, None, "/deny"),
        ("cursor", cursor, Some(("/permission", "deny")), "/agent_message"),
    ] {
        let out = hook_text(&sandbox, &[tool, "before-tool"], None, input.to_string().as_bytes());
        let answer: Value = serde_json::from_str(&out.out).unwrap_or_else(|_| panic!("{out:?}"));
        if let Some((pointer, word)) = verdict {
            assert_eq!(answer.pointer(pointer).unwrap(), word, "{tool}: {answer}");
        }
        let reason = answer.pointer(reason).and_then(Value::as_str).unwrap();
        assert!(reason.contains("B-1"), "{tool}: {answer}");
    }
}

#[test]
fn a_push_of_a_claimed_branch_is_refused_and_a_commit_is_warned() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let foreign = worktree(&sandbox, "other", "main");
    let _holder = claimed(&sandbox, &dir);
    let other = Agent::start("other");
    let ask = |dir: &Path, text: &str| claude(&sandbox, &other, "before-tool", &bash(dir, text));
    for text in [
        "git push",
        "cd / && git -C ~/r push origin HEAD",
        "git push origin x:main",
        "if timeout 60 git push origin \"$BRANCH\"; then echo ok; fi",
        "git push --all",
        "git push origin 'refs/heads/m*'",
        "(cd / && ls); git push",
    ] {
        let answer = ask(&dir, text);
        assert!(denied(&answer).is_some_and(|r| r.contains("branch main")), "{text}: {answer}");
    }
    let answer = ask(&dir, "git add -A && git commit -m x");
    assert!(told(&answer).is_some_and(|text| text.contains("branch main")), "{answer}");
    for text in ["git push origin feat", "git status", "echo git push", "git push --dry-run"] {
        assert_eq!(ask(&dir, text), Value::Null, "{text}");
    }
    for text in ["git push", "(cd ~/r && git log); git push", "git push --mirror"] {
        assert_eq!(ask(&foreign, text), Value::Null, "a branch of another repository: {text}");
    }
    // After the tool Gemini's model reads what it could not before.
    let input = json!({"session_id": "g", "cwd": dir, "tool_name": "run_shell_command",
        "tool_input": {"command": "git commit -m x"}});
    let gemini =
        |event| hook_text(&sandbox, &["gemini", event], None, input.to_string().as_bytes());
    assert_eq!(gemini("before-tool").out, "");
    assert!(gemini("after-tool").out.contains("branch main"));
    let config = sandbox.dir.join("config/zeta");
    std::fs::create_dir_all(&config).unwrap();
    let rules = "hook_push = \"warn\"\nhook_commit = \"refuse\"\nhook_edit = \"off\"\n";
    std::fs::write(config.join("config.toml"), rules).unwrap();
    assert!(told(&ask(&dir, "git push")).is_some());
    assert!(denied(&ask(&dir, "git commit")).is_some());
    let edited = claude(&sandbox, &other, "before-tool", &edit(&dir, "a"));
    assert_eq!(edited, Value::Null);
}

#[test]
fn a_claim_without_a_session_is_a_reason_to_warn_only() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let worktree = dir.to_str().unwrap();
    sandbox.ok(&["claim", "acquire", "B-1", "--as", "ann", "--worktree", worktree]);
    let other = Agent::start("other");
    let answer = claude(&sandbox, &other, "before-tool", &edit(&dir, "a"));
    assert!(told(&answer).is_some_and(|text| text.contains("is not known")), "{answer}");
    // A beat says that its holder lives.
    sandbox.ok(&["heartbeat", "--as", "ann"]);
    let answer = claude(&sandbox, &other, "before-tool", &edit(&dir, "a"));
    assert!(denied(&answer).is_some(), "{answer}");
}

#[test]
fn two_agents_that_write_one_file_are_named_without_any_claim() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let (one, two) = (Agent::start("one"), Agent::start("two"));
    let wrote = |agent: &Agent, path| claude(&sandbox, agent, "after-tool", &edit(&dir, path));
    assert_eq!(wrote(&one, "a"), Value::Null);
    assert_eq!(wrote(&one, "a"), Value::Null, "an agent is not told of itself");
    assert_eq!(wrote(&two, "b"), Value::Null);
    let answer = wrote(&two, "./a");
    let text = told(&answer).unwrap_or_else(|| panic!("{answer}"));
    assert!(text.contains("two agents write one file: claude-"), "{text}");
    assert!(told(&wrote(&one, "b")).is_some(), "the other way round, too");
}

#[test]
fn an_agent_reads_who_is_here_once_and_nothing_when_it_is_alone() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let (one, two) = (Agent::start("one"), Agent::start("two"));
    let say = |agent: &Agent, event| claude(&sandbox, agent, event, &json!({"cwd": dir}));
    assert_eq!(say(&one, "session-start"), Value::Null);
    let answer = say(&two, "session-start");
    let text = told(&answer).unwrap();
    let [(_, first), (_, second)] =
        [&one, &two].map(|agent| exported(&sandbox, agent).swap_remove(0));
    assert!(text.contains(&second) && text.contains(&format!("{first} (in this repo")), "{text}");
    assert!(text.chars().count() <= 400, "{text}");
    assert!(told(&say(&one, "prompt")).unwrap().contains(&second));
    assert_eq!(say(&one, "prompt"), Value::Null, "what is known is not repeated");
    sandbox.ok(&["bus", "send", &first, "hello", "--as", "ann"]);
    assert!(told(&say(&one, "prompt")).unwrap().contains("\n| hello\n"));
    assert_eq!(say(&one, "prompt"), Value::Null, "mail is given once");
    assert!(sandbox.ok(&["status"]).contains(&first));
}

#[test]
fn a_session_that_ends_releases_what_it_holds() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let holder = claimed(&sandbox, &dir);
    let out = as_agent(&sandbox, &holder, &["lease", "acquire", "deploy"]);
    assert_eq!(out.status, 0, "{out:?}");
    sandbox.ok(&["lease", "acquire", "theirs", "--as", "ann"]);
    assert_eq!(claude(&sandbox, &holder, "session-end", &json!({})), Value::Null);
    let left = sandbox.ok(&["lease", "list"]);
    assert!(left.contains("theirs") && !left.contains("deploy"), "{left}");
    assert_eq!(sandbox.ok(&["claim", "list", "--json"]), "{\"claims\":[]}");
    assert!(!sandbox.ok(&["status"]).contains("claude-"));
    // The same session goes on, as after a pause.
    claude(&sandbox, &holder, "session-start", &json!({"cwd": dir}));
    assert!(sandbox.ok(&["status"]).contains("claude-"));
}

#[test]
fn an_agent_that_waits_for_a_person_says_so_until_it_goes_on() {
    let sandbox = Sandbox::new();
    let agent = Agent::start("one");
    let say = |event, input: Value| claude(&sandbox, &agent, event, &input);
    say("session-start", json!({"cwd": "/"}));
    say("waiting", json!({"message": "Claude needs your permission to use Bash"}));
    let name = exported(&sandbox, &agent).swap_remove(0).1;
    let shown = || sandbox.ok(&["persona", "get", &name, "--json"]);
    assert!(shown().contains("needs your permission"), "{}", shown());
    say("after-tool", json!({"tool_name": "Read"}));
    assert!(!shown().contains("waits_for"), "{}", shown());
}

#[test]
fn inside_of_zeta_run_the_agent_keeps_its_name_and_its_session() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let input = json!({"session_id": "inner", "cwd": dir, "tool_name": "Edit",
        "tool_input": {"file_path": "a"}});
    let claim = format!("{zeta} claim acquire B-1 --worktree {} >&2", dir.display());
    let hook = |event| format!("echo '{input}' | {zeta} hook run claude {event}");
    let all = ["session-start", "before-tool", "after-tool", "session-end"].map(hook).join("; ");
    let script = format!("{claim}; {all}; {zeta} claim list; {zeta} status --all");
    let out = run(&mut sandbox.cmd(&["run", "--as", "otto", "--", "sh", "-c", &script]));
    assert_eq!(out.status, 0, "{out:?}");
    assert!(!out.out.contains("deny") && !out.out.contains("claude-"), "{out:?}");
    assert!(out.out.contains("B-1  otto"), "the end of the tool is not that of its run: {out:?}");
}

#[test]
fn no_input_and_no_fault_ends_with_another_status_than_0() {
    let sandbox = Sandbox::new();
    let event = json!({"session_id": "s", "cwd": "/", "tool_name": "Edit",
        "tool_input": {"file_path": "/a"}});
    let event = event.to_string();
    let say = |args: &[&str], text: &[u8]| {
        let out = hook_text(&sandbox, args, None, text);
        assert_eq!(out.out, "", "{args:?}: {out:?}");
        assert!(out.took < Duration::from_millis(2_500), "{args:?}: {out:?}");
        out.err
    };
    let deep = "[".repeat(100_000);
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20));
    for text in [
        &b""[..],
        b"{",
        b"{}",
        b"[]",
        b"null",
        b"\0",
        b"\xff\xfe{}",
        b"{\"session_id\":7}",
        b"{\"session_id\":\"\"}",
        b"{\"session_id\":\"s\",\"tool_input\":\"x\"",
        deep.as_bytes(),
        long.as_bytes(),
    ] {
        assert!(say(&["claude", "before-tool"], text).starts_with("zeta hook: "), "{text:.20?}");
    }
    for text in [
        r#"{"session_id":"s","tool_name":["Edit"],"tool_input":[1]}"#,
        r#"{"session_id":"s","cwd":"relative","tool_name":"Edit","tool_input":{"file_path":"a"}}"#,
        r#"{"session_id":"s","cwd":"/","tool_name":"Edit","tool_input":{"file_path":7}}"#,
        r#"{"session_id":"s","cwd":"/","tool_name":"Edit","tool_input":{"file_path":"a\u0000b"}}"#,
        r#"{"session_id":"s","cwd":"/","tool_name":"Bash","tool_input":{"command":{"a":1}}}"#,
        r#"{"session_id":"s","cwd":"/no","tool_name":"Bash","tool_input":{"command":"git push"}}"#,
    ] {
        assert_eq!(say(&["claude", "before-tool"], text.as_bytes()), "", "{text}");
    }
    for args in [&[][..], &["claude"], &["nosuch", "stop"], &["claude", "nosuch"], &["claude", ""]]
    {
        assert!(say(args, event.as_bytes()).contains("is "), "{args:?}");
    }
    let config = sandbox.dir.join("config/zeta");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.toml"), "nosuch = 1\n").unwrap();
    assert!(say(&["claude", "before-tool"], event.as_bytes()).contains("nosuch"));
    std::fs::remove_file(config.join("config.toml")).unwrap();
    // A state directory that others could have prepared.
    std::fs::create_dir_all(&sandbox.state).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&sandbox.state, open).unwrap();
    assert!(say(&["claude", "session-start"], event.as_bytes()).contains("state"));
}

#[test]
fn a_loop_of_links_and_a_path_without_an_end_hang_nothing() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let _holder = claimed(&sandbox, &dir);
    std::os::unix::fs::symlink("loop", dir.join("loop")).unwrap();
    let other = Agent::start("other");
    for path in ["loop/a".to_owned(), "loop".to_owned(), "x/".repeat(5_000) + "a"] {
        let answer = claude(&sandbox, &other, "before-tool", &edit(&dir, &path));
        assert!(denied(&answer).is_some(), "{answer}");
    }
}

#[test]
fn names_without_an_end_cost_no_agent_its_presence_or_its_mail() {
    let sandbox = Sandbox::new();
    let cwd = format!("/{}", "x".repeat(100_000));
    let agent = Agent::start("one");
    claude(&sandbox, &agent, "session-start", &json!({"cwd": cwd}));
    let name = exported(&sandbox, &agent).swap_remove(0).1;
    assert!(sandbox.ok(&["status"]).contains(&name));
    // Sixteen files in one patch, whose names the record would escape.
    let odd = |n: usize| format!("/tmp/{}{n}", vec!["\u{1}".repeat(200); 4].join("/"));
    let files: String = (0..16).map(|n| format!("*** Add File: {}\n+x\n", odd(n))).collect();
    let patch = format!("*** Begin Patch\n{files}*** End Patch\n");
    let input = json!({"session_id": "codex", "cwd": "/", "tool_name": "apply_patch",
        "tool_input": {"command": patch}});
    let hook = |event| {
        let out = hook_text(&sandbox, &["codex", event], None, input.to_string().as_bytes());
        assert_eq!(out.err, "", "{event}");
        out.out
    };
    hook("session-start");
    let living = sandbox.ok(&["status", "--json"]);
    let at = living.find("\"codex-").unwrap() + 1;
    let codex = living.get(at..at + 14).unwrap();
    sandbox.ok(&["bus", "send", codex, "hello", "--as", "otto"]);
    assert!(hook("after-tool").contains("| hello"));
}

#[test]
fn a_link_that_leads_to_nothing_is_what_a_write_through_it_makes() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let _holder = claimed(&sandbox, &dir);
    let other_dir = worktree(&sandbox, "other", "main");
    let link = |name: &str, to: &str| {
        std::os::unix::fs::symlink(to, other_dir.join(name)).unwrap();
    };
    link("out", "../r/new");
    link("far", "out");
    link("in", "new");
    std::os::unix::fs::symlink("../other/new", dir.join("away")).unwrap();
    let other = Agent::start("other");
    let ask = |path: PathBuf| claude(&sandbox, &other, "before-tool", &edit(&dir, &path));
    for name in ["out", "far"] {
        let answer = ask(other_dir.join(name));
        assert!(denied(&answer).is_some_and(|reason| reason.contains("r/new is")), "{answer}");
    }
    for path in [other_dir.join("in"), dir.join("away")] {
        assert_eq!(ask(path), Value::Null);
    }
}

#[test]
fn a_hook_that_waits_for_a_lock_ends_after_two_seconds() {
    let sandbox = Sandbox::new();
    let agent = Agent::start("one");
    claude(&sandbox, &agent, "session-start", &json!({"cwd": "/"}));
    let name = exported(&sandbox, &agent).swap_remove(0).1;
    let node = std::fs::read_dir(sandbox.state.join("nodes")).unwrap().next().unwrap().unwrap();
    let guard = node.path().join(format!(".guard/persona-{name}.state"));
    let held: OwnedFd = std::fs::File::open(guard).unwrap().into();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let text = json!({"session_id": "one", "cwd": "/"}).to_string();
    let out = hook_text(&sandbox, &["claude", "stop"], Some(agent.process.id()), text.as_bytes());
    assert!(out.took < Duration::from_secs(4), "{out:?}");
    assert!(out.err.contains("zeta hook: "), "{out:?}");
}

#[test]
fn a_hook_waits_for_no_reader_of_its_standard_error() {
    let sandbox = Sandbox::new();
    let (_reader, full) = rustix::pipe::pipe().unwrap();
    rustix::io::ioctl_fionbio(&full, true).unwrap();
    while rustix::io::write(&full, &[0; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&full, false).unwrap();
    let mut command = sandbox.cmd(&["hook", "run", "claude", "before-tool"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(full);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{bad}").unwrap();
    assert_eq!(wait(&mut child, LIMIT), 0);
}
