//! The commands of an agent whose tool passes no name on: their session is that of the process
//! above them.

use serde_json::{Value, json};

use super::run::{Agent, claude, denied, edit, exported, hook_text, worktree};
use crate::support::{LIMIT, Out, Sandbox, run, until};

const ZETA: &str = env!("CARGO_BIN_EXE_zeta");

/// Runs a shell as an agent tool does: it calls the hook of a session's begin, and then runs these
/// commands below itself.
fn tool(sandbox: &Sandbox, session: &str, commands: &str) -> Out {
    let event = json!({"session_id": session, "cwd": "/"});
    let script = format!(
        "echo '{event}' | {ZETA} hook run codex session-start >/dev/null; {}",
        commands.replace("zeta ", &format!("{ZETA} "))
    );
    run(sandbox.other("sh", &["-c", &script]).env("ZETA_STATE_DIR", &sandbox.state))
}

/// Makes the directory that says that this user installed hooks.
pub(super) fn install(sandbox: &Sandbox) {
    let out = run(&mut sandbox.cmd(&["hook", "install", "codex"]));
    assert_eq!(out.status, 0, "{out:?}");
}

/// The holder of a lease and its session, as its record says.
pub(super) fn holder(sandbox: &Sandbox, lease: &str) -> (String, bool) {
    let shown: Value =
        serde_json::from_str(&sandbox.ok(&["lease", "show", lease, "--json"])).unwrap();
    (shown["agent"].as_str().unwrap().to_owned(), shown.get("session").is_some())
}

#[test]
fn a_command_of_an_agent_is_in_its_session_without_any_variable() {
    let sandbox = Sandbox::new();
    install(&sandbox);
    let dir = worktree(&sandbox, "r", "main");
    let marks = ["claimed", "checked"].map(|mark| sandbox.dir.join(mark));
    let commands = format!(
        "sh -c '(zeta claim acquire B-1 --worktree {}; zeta lease acquire named --as other; true)'
         touch {}; until test -e {}; do sleep 0.02; done",
        dir.display(),
        marks[0].display(),
        marks[1].display()
    );
    let second = Agent::start("second");
    let refused = || {
        let answer = claude(&sandbox, &second, "before-tool", &edit(&dir, "a"));
        denied(&answer).map(str::to_owned)
    };
    let before = std::thread::scope(|scope| {
        let tool = scope.spawn(|| tool(&sandbox, "one", &commands));
        until(LIMIT, || marks[0].exists() || tool.is_finished());
        let before = refused();
        let own = holder(&sandbox, "named");
        std::fs::write(&marks[1], "").unwrap();
        let out = tool.join().unwrap();
        assert_eq!(out.status, 0, "{out:?}");
        assert_eq!(own, ("other".to_owned(), false), "a name that was given counts");
        before.unwrap_or_else(|| panic!("not refused: {out:?}"))
    });
    assert!(before.contains("agent codex-") && before.contains("it is alive"), "{before}");
    assert_eq!(refused(), None, "the process of the tool has ended");
}

#[test]
fn an_agent_that_works_without_a_pause_keeps_what_it_holds() {
    let sandbox = Sandbox::new();
    let holder = Agent::start("holder");
    claude(&sandbox, &holder, "session-start", &json!({"cwd": "/"}));
    let mut command = sandbox.cmd(&["lease", "acquire", "job", "--ttl", "30s"]);
    let out = run(command.envs(exported(&sandbox, &holder)));
    assert_eq!(out.status, 0, "{out:?}");
    let until_when = || {
        let shown = sandbox.ok(&["lease", "show", "job", "--json"]);
        serde_json::from_str::<Value>(&shown).unwrap()["until"].clone()
    };
    let first = until_when();
    // Its hooks come in a row, for longer than one span, and it writes its record itself, too.
    until(LIMIT * 3, || {
        let out = run(sandbox.cmd(&["heartbeat"]).envs(exported(&sandbox, &holder)));
        assert_eq!(out.status, 0, "{out:?}");
        claude(&sandbox, &holder, "after-tool", &json!({"cwd": "/", "tool_name": "Read"}));
        std::thread::sleep(std::time::Duration::from_millis(500));
        until_when() != first
    });
}

#[test]
fn a_claimed_worktree_is_meant_from_where_its_holder_is() {
    let sandbox = Sandbox::new();
    let dir = worktree(&sandbox, "r", "main");
    let holder = Agent::start("holder");
    claude(&sandbox, &holder, "session-start", &json!({"cwd": dir}));
    for (item, name) in [("B-1", "."), ("B-2", "../r"), ("B-3", dir.to_str().unwrap())] {
        let args = ["claim", "acquire", item, "--worktree", name];
        let mut command = sandbox.cmd(&args);
        let out = run(command.envs(exported(&sandbox, &holder)).current_dir(&dir));
        assert_eq!(out.status, 0, "{out:?}");
        let second = Agent::start("second");
        let answer = claude(&sandbox, &second, "before-tool", &edit(&dir, "a"));
        assert!(denied(&answer).is_some_and(|why| why.contains(item)), "{name}: {answer}");
        let mut command = sandbox.cmd(&["claim", "release", item, "--worktree", name]);
        let out = run(command.envs(exported(&sandbox, &holder)).current_dir(&dir));
        assert_eq!(out.status, 0, "{out:?}");
    }
}

#[test]
fn a_command_that_is_below_no_session_is_in_none() {
    let sandbox = Sandbox::new();
    install(&sandbox);
    // Its own session lives, beside this process and not above it.
    let beside = Agent::start("beside");
    claude(&sandbox, &beside, "session-start", &json!({"cwd": "/"}));
    sandbox.ok(&["lease", "acquire", "plain"]);
    assert!(!holder(&sandbox, "plain").1);
    // Below a session, and with a variable that says otherwise.
    tool(&sandbox, "one", "ZETA_AGENT=ann zeta lease acquire said");
    assert_eq!(holder(&sandbox, "said"), ("ann".to_owned(), false));
    // After its end.
    let end = format!("echo '{}' | zeta hook run codex session-end;", json!({"session_id": "two"}));
    tool(&sandbox, "two", &format!("{end} zeta lease acquire ended"));
    assert!(!holder(&sandbox, "ended").1);
    // More than eight processes up.
    let deep =
        (0..9).fold("zeta lease acquire deep".to_owned(), |inner, _| format!("({inner}; true)"));
    tool(&sandbox, "three", &format!("{deep}; true"));
    assert!(!holder(&sandbox, "deep").1);
}

#[test]
fn where_no_hooks_are_installed_no_process_is_looked_at() {
    let sandbox = Sandbox::new();
    tool(&sandbox, "one", "zeta lease acquire none");
    assert!(!holder(&sandbox, "none").1);
}

#[test]
fn of_two_sessions_of_one_process_a_command_is_in_the_one_that_beat_last() {
    let sandbox = Sandbox::new();
    install(&sandbox);
    let again = format!("echo '{}' | zeta hook run codex prompt;", json!({"session_id": "two"}));
    tool(&sandbox, "one", &format!("{again} zeta lease acquire both"));
    let text = json!({"session_id": "two", "cwd": "/"}).to_string();
    let exported = hook_text(&sandbox, &["codex", "session-start"], None, text.as_bytes());
    assert_eq!(exported.err, "");
    let (agent, in_session) = holder(&sandbox, "both");
    let two = zeta_core::hook::session_number(zeta_core::hook::Tool::Codex, "two");
    assert!(in_session && agent == format!("codex-{}", &two[..8]), "{agent}");
}

#[test]
fn a_record_of_another_process_user_or_namespace_is_nobody_above() {
    let sandbox = Sandbox::new();
    install(&sandbox);
    for (at, (from, to)) in [
        ("pidfs_ino: ", "pidfs_ino: 1"),
        ("uid: ", "uid: 1"),
        ("pid_ns: ", "pid_ns: 1"),
        ("boot_id: \"", "boot_id: \"0"),
    ]
    .into_iter()
    .enumerate()
    {
        let (session, lease) = (format!("s{at}"), format!("l{at}"));
        let number = zeta_core::hook::session_number(zeta_core::hook::Tool::Codex, &session);
        let file = format!("persona-codex-{}.state", &number[..8]);
        let forge = format!(
            "f=$(echo {}/nodes/*/{file}); sed -i 's/^{from}/{to}/' $f; sed -i \
            's/^pid_start_ticks: /pid_start_ticks: 1/' $f; zeta lease acquire {lease}",
            sandbox.state.display()
        );
        let out = tool(&sandbox, &session, &forge);
        assert_eq!(out.status, 0, "{out:?}");
        assert!(!holder(&sandbox, &lease).1, "{from}");
    }
}
