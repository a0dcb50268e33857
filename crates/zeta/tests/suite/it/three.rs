//! The user's own case: three surfaces of one agent share a node, are killed, stopped and
//! continued, and never step on each other. Ten minutes of work in some twenty seconds.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::oracle::judge_file;
use crate::support::{LIMIT, Sandbox, skip, test_name, until, wait};

const AGENTS: [&str; 3] = ["otto-cli", "otto-desktop", "otto-vscode"];

/// What an agent does all day. `$1` names this life of it in the log.
const WORK: &str = r#"
    say() { printf '%s %s - %s\n' "$1" "$2" "$me" >>"$LOG"; }
    me=$1
    while ! [ -e "$STOP" ]; do
        t=$($Z lease acquire register-pr-in-flight --wait 20s --ttl 60s -q) || continue
        say enter $t
        echo "$t $me" >"$WORKTREE"
        $Z persona set $ZETA_AGENT --status working --task "round $t" || exit 8
        # The shared file is as I left it: no other process changed it.
        [ "$(cat "$WORKTREE")" = "$t $me" ] || say clash $t
        say leave $t
        $Z lease release register-pr-in-flight --token $t || exit 9
    done"#;

struct Agent {
    name: &'static str,
    life: String,
    group: Child,
}

fn start(sandbox: &Sandbox, name: &'static str, life: usize) -> Agent {
    let life = format!("{name}.{life}");
    let mut command = sandbox.cmd(&["run", "--as", name, "--beat", "200ms", "--"]);
    command.args(["sh", "-c", WORK, "sh", &life]).process_group(0);
    command.env("Z", env!("CARGO_BIN_EXE_zeta")).env("LOG", sandbox.dir.join("log"));
    command.env("STOP", sandbox.dir.join("stop")).env("WORKTREE", sandbox.dir.join("worktree"));
    let group = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    Agent { name, life, group }
}

fn group(agent: &Agent) -> Pid {
    Pid::from_raw(agent.group.id().try_into().unwrap()).unwrap()
}

fn signal(agent: &Agent, signal: Signal) {
    let _ = kill_process_group(group(agent), signal);
}

/// Kills an agent and waits until each of its processes has ended: one that had not would be the
/// same agent, still running.
fn kill(agent: &mut Agent) {
    signal(agent, Signal::KILL);
    agent.group.wait().unwrap();
    until(LIMIT, || test_kill_process_group(group(agent)).is_err());
}

#[test]
fn three_surfaces_of_one_agent_do_not_step_on_each_other() {
    let sandbox = Sandbox::new();
    if sandbox.zeta(&["run", "--help"]).status != 0 {
        return skip(test_name!(), "this zeta has no 'run'");
    }
    let mut lives = 0;
    let mut begin = |sandbox: &Sandbox, name| {
        lives += 1;
        start(sandbox, name, lives)
    };
    let mut agents: Vec<Agent> = AGENTS.iter().map(|name| begin(&sandbox, name)).collect();
    let (mut killed, mut stops) = (BTreeSet::new(), 0);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let end = Instant::now() + Duration::from_secs(18);
    while Instant::now() < end {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        std::thread::sleep(Duration::from_millis(100 + seed % 300));
        let victim = (seed >> 16) as usize % agents.len();
        let agent = &mut agents[victim];
        match (seed >> 32) % 3 {
            0 => {
                kill(agent);
                killed.insert(agent.life.clone());
                agents[victim] = begin(&sandbox, agents[victim].name);
            }
            _ => {
                // Far less than the TTL: the others wait, and no live holder loses its lease.
                signal(agent, Signal::STOP);
                std::thread::sleep(Duration::from_millis(50 + seed % 250));
                signal(agent, Signal::CONT);
                stops += 1;
            }
        }
    }
    let alive = sandbox.ok(&["persona", "list", "--json"]);
    for name in AGENTS {
        assert!(alive.contains(name), "{name} is not on the list: {alive}");
    }
    std::fs::write(sandbox.dir.join("stop"), "").unwrap();
    for agent in &mut agents {
        assert_eq!(wait(&mut agent.group, LIMIT), 0, "{} failed", agent.life);
    }
    let log = sandbox.dir.join("log");
    let verdict = judge_file(&log, &killed);
    eprintln!(
        "{} grants, {} kills ({} inside), {stops} stops, {} violations",
        verdict.grants,
        killed.len(),
        verdict.killed_inside,
        verdict.violations.len()
    );
    assert_eq!(verdict.violations, Vec::<String>::new());
    assert!(verdict.grants >= 60, "too little happened: {verdict:?}");
    let text = std::fs::read_to_string(&log).unwrap();
    for name in AGENTS {
        let rounds = text.lines().filter(|l| l.starts_with("leave") && l.contains(name)).count();
        assert!(rounds >= 5, "{name} starved: {rounds} rounds");
        let record = std::fs::read_to_string(sandbox.node().join(format!("persona-{name}.state")));
        let record = record.unwrap();
        assert!(record.contains("task: \"round ") && record.contains("ended_at:"), "{record}");
    }
    let seen = std::fs::read_to_string(sandbox.node().join("last-seen.iso")).unwrap();
    assert_eq!(seen.len(), 28, "{seen:?}");
    let free =
        until(LIMIT, || sandbox.zeta(&["lease", "show", "register-pr-in-flight"]).status == 4);
    assert!(free, "a session that ended still holds its lease");
}
