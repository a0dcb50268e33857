//! A wrapper stays out of the way: its command gets each signal once, and inherits what the user
//! had.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::support::{
    LIMIT, Sandbox, Terminal, can, find, run, signal, skip, test_name, wait, wait_for,
    with_unusual_signals, with_usual_signals,
};

/// What stands before the command, for each wrapper.
const WRAPPERS: [&[&str]; 2] = [&["run", "--as", "otto", "--"], &["lease", "exec", "job", "--"]];

/// Writes a line for each signal that it gets, until a file tells it to stop.
const AGENT: &str = r#"
for name in TERM HUP INT USR1; do trap "echo $name >>$0" $name; done
echo ready >>$0
while [ ! -e $0.stop ]; do sleep 0.02; done"#;

/// An agent under a wrapper that leads a process group.
struct Agent {
    wrapper: Child,
    log: PathBuf,
}

impl Agent {
    fn start(sandbox: &Sandbox, words: &[&str], dress: fn(&mut Command) -> &mut Command) -> Agent {
        let log = sandbox.dir.join("log");
        let mut command = sandbox.cmd(words);
        command.args(["sh", "-c", AGENT]).arg(&log).process_group(0).stderr(Stdio::null());
        let wrapper = dress(&mut command).spawn().unwrap();
        let agent = Agent { wrapper, log };
        agent.wait_for("ready");
        agent
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn wait_for(&self, line: &str) {
        wait_for(line, || self.log().lines().any(|found| found == line));
    }

    /// The children of the wrapper: the command, and once it has run for a moment, a witness.
    fn children(&self) -> Vec<u32> {
        children(self.wrapper.id())
    }

    fn wait_for_witness(&self) {
        let is_cat = |pid: &u32| comm(*pid) == "cat";
        wait_for("a witness", || self.children().iter().any(is_cat));
    }

    fn to_group(&self, signal: Signal) {
        kill_process_group(Pid::from_child(&self.wrapper), signal).unwrap();
    }

    fn end(&mut self) -> i32 {
        std::fs::write(self.log.with_file_name("log.stop"), "").unwrap();
        wait(&mut self.wrapper, LIMIT)
    }
}

impl Drop for Agent {
    /// After a failure, nothing tells the agent to stop any more.
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.wrapper), Signal::KILL);
        let _ = self.wrapper.wait();
    }
}

fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    list.unwrap_or_default().split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn comm(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    name.unwrap_or_default().trim_end().to_owned()
}

fn is_free(sandbox: &Sandbox, lease: &str) -> bool {
    sandbox.zeta(&["lease", "show", lease]).status == 4
}

#[test]
fn the_end_of_the_terminal_ends_the_command_and_frees_its_leases() {
    if find("setsid").is_none() {
        return skip(test_name!(), "no setsid (Debian package util-linux)");
    }
    for words in WRAPPERS {
        let sandbox = Sandbox::new();
        let take = r#"
            [ -z "$ZETA_SESSION" ] || "$0" lease acquire job >/dev/null
            echo up; exec sleep 60"#;
        let mut command = sandbox.cmd(words);
        command.args(["sh", "-c", take, env!("CARGO_BIN_EXE_zeta")]);
        let mut terminal = Terminal::run(&command);
        terminal.wait_for("up");
        assert!(!is_free(&sandbox, "job"), "{words:?}");
        let command = children(terminal.child.id())[0];
        let mut wrapper = terminal.hang_up();
        assert_eq!(wait(&mut wrapper, LIMIT), 128 + libc::SIGHUP, "{words:?}");
        assert_eq!(comm(command), "", "{words:?}: the command lives");
        assert!(is_free(&sandbox, "job"), "{words:?}");
    }
}

#[test]
fn a_key_of_the_terminal_reaches_the_command_once() {
    if find("setsid").is_none() {
        return skip(test_name!(), "no setsid (Debian package util-linux)");
    }
    for words in WRAPPERS {
        let sandbox = Sandbox::new();
        let log = sandbox.dir.join("log");
        let lines = || std::fs::read_to_string(&log).unwrap_or_default();
        let mut command = sandbox.cmd(words);
        command.args(["sh", "-c", AGENT]).arg(&log);
        let mut terminal = Terminal::run(&command);
        wait_for("ready", || lines() == "ready\n");
        terminal.keys(b"\x03");
        wait_for("INT", || lines().contains("INT"));
        signal(terminal.child.id(), Signal::USR1);
        wait_for("USR1", || lines().contains("USR1"));
        assert_eq!(lines(), "ready\nINT\nUSR1\n", "{words:?}");
        std::fs::write(sandbox.dir.join("log.stop"), "").unwrap();
        assert_eq!(terminal.end(), Some(0));
    }
}

#[test]
fn a_signal_to_all_processes_reaches_the_command_once() {
    for words in WRAPPERS {
        let sandbox = Sandbox::new();
        let mut agent = Agent::start(&sandbox, words, with_usual_signals);
        agent.wait_for_witness();
        agent.to_group(Signal::TERM);
        agent.wait_for("TERM");
        // The wrapper takes signals in order: this one would come after a second SIGTERM.
        signal(agent.wrapper.id(), Signal::USR1);
        agent.wait_for("USR1");
        assert_eq!(agent.log(), "ready\nTERM\nUSR1\n", "{words:?}");
        // One after the other, as systemd ends a service. Stopped, because this test may lose its
        // processor meanwhile.
        agent.wait_for_witness();
        signal(agent.wrapper.id(), Signal::STOP);
        for pid in [vec![agent.wrapper.id()], agent.children()].concat() {
            signal(pid, Signal::HUP);
        }
        signal(agent.wrapper.id(), Signal::CONT);
        agent.wait_for("HUP");
        signal(agent.wrapper.id(), Signal::TERM);
        wait_for("a second SIGTERM", || agent.log().matches("TERM").count() == 2);
        assert_eq!(agent.log(), "ready\nTERM\nUSR1\nHUP\nTERM\n", "{words:?}");
        // A signal to everything that is named zeta must not look like one to all processes.
        let program = |pid| std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        let zeta = program(agent.wrapper.id());
        assert!(agent.children().iter().all(|pid| program(*pid) != zeta), "{words:?}");
        assert_eq!(agent.end(), 0);
    }
}

#[test]
fn timeout_asks_the_command_once() {
    // It signals its child, and then the whole group. If it loses its processor between the two for
    // longer than a wrapper waits, the command gets both.
    let asked_once = || {
        let sandbox = Sandbox::new();
        let log = sandbox.dir.join("log");
        let agent = r#"trap "echo TERM >>$0" TERM
            until [ -s $0 ]; do sleep 0.02; done
            sleep 0.5; sleep 0.5"#;
        let zeta = env!("CARGO_BIN_EXE_zeta");
        let words = ["0.5", zeta, "lease", "exec", "job", "sh", "-c", agent];
        run(sandbox.other("timeout", &words).arg(&log));
        std::fs::read_to_string(&log).unwrap() == "TERM\n"
    };
    assert!((0..5).any(|_| asked_once()));
}

#[test]
fn a_witness_ends_with_its_wrapper() {
    let sandbox = Sandbox::new();
    let mut agent = Agent::start(&sandbox, WRAPPERS[0], with_usual_signals);
    agent.wait_for_witness();
    let (witness, command): (Vec<u32>, Vec<u32>) =
        agent.children().into_iter().partition(|pid| comm(*pid) == "cat");
    agent.wrapper.kill().unwrap();
    agent.wrapper.wait().unwrap();
    let ended = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    wait_for("the witness ends", || ended(witness[0]));
    assert!(!ended(command[0]));
    std::fs::write(agent.log.with_file_name("log.stop"), "").unwrap();
    wait_for("the command ends", || ended(command[0]));
}

#[test]
fn a_command_inherits_dispositions_and_mask_and_its_status_is_known() {
    let script = "grep -E '^Sig(Blk|Ign):' /proc/self/status && exit 7";
    for dress in [with_usual_signals, with_unusual_signals] {
        let sandbox = Sandbox::new();
        // The oracle: the same without a wrapper.
        let bare = run(dress(&mut sandbox.other("bash", &["-c", script])));
        for words in [&["lease", "exec", "job", "--fenced", "--"][..], WRAPPERS[0], WRAPPERS[1]] {
            let mut command = sandbox.cmd(words);
            let out = run(dress(command.args(["bash", "-c", script])));
            assert_eq!((out.status, &out.out), (7, &bare.out), "{words:?}: {out:?}");
        }
    }
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    for words in WRAPPERS {
        let sandbox = Sandbox::new();
        // As with nohup. The agent cannot set a trap for what it was started with ignored, either.
        let mut agent = Agent::start(&sandbox, words, with_unusual_signals);
        signal(agent.wrapper.id(), Signal::HUP);
        signal(agent.wrapper.id(), Signal::TERM);
        agent.wait_for("TERM");
        assert_eq!(agent.log(), "ready\nTERM\n", "{words:?}");
        assert_eq!(agent.end(), 0);
    }
}

/// Ends with 0 once no child of the wrapper is a zombie, with 9 if one stays.
const NO_ZOMBIES: &str = r#"
for round in $(seq 100); do
    zombies=0
    for pid in $(cat /proc/$PPID/task/$PPID/children); do
        grep -q ^State:.Z /proc/$pid/status && zombies=1
    done
    [ $zombies = 0 ] && exit 0
    sleep 0.1
done
exit 9"#;

#[test]
fn children_from_before_the_wrapper_are_collected() {
    for words in WRAPPERS {
        let sandbox = Sandbox::new();
        let script = format!(r#"true & true & exec "$0" "$@" sh -c 'sleep 0.3; {NO_ZOMBIES}'"#);
        let mut command = sandbox.other("bash", &["-c", &script]);
        let out = run(command.arg(env!("CARGO_BIN_EXE_zeta")).args(words));
        assert_eq!(out.status, 0, "{words:?}: {out:?}");
    }
}

fn as_process_one(test: &str) -> bool {
    let can = can("unshare", &["-pf", "--mount-proc", "true"]);
    if !can {
        skip(test, "no pid namespace can be made here (it needs root)");
    }
    can
}

/// A call of `zeta` that is process 1 of its pid namespace.
fn process_one(sandbox: &Sandbox, words: &[&str]) -> Command {
    let mut command = sandbox.other("unshare", &["-pf", "--mount-proc"]);
    command.arg(env!("CARGO_BIN_EXE_zeta")).args(words);
    command
}

#[test]
fn a_wrapper_that_is_process_one_collects_orphans() {
    if !as_process_one(test_name!()) {
        return;
    }
    for words in WRAPPERS {
        let sandbox = Sandbox::new();
        let log = sandbox.dir.join("ended");
        let script = format!(
            "for n in 1 2 3 4 5; do (sh -c 'sleep 0.1; echo x >>$0' $0 &); done
            while [ \"$(wc -l <$0)\" != 5 ]; do sleep 0.05; done
            sleep 0.3; {NO_ZOMBIES}"
        );
        std::fs::write(&log, "").unwrap();
        let out = run(process_one(&sandbox, words).args(["bash", "-c", &script]).arg(&log));
        assert_eq!(out.status, 0, "{words:?}: {out:?}");
    }
}

#[test]
fn signals_end_a_wrapper_that_is_process_one() {
    if !as_process_one(test_name!()) {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.ok(&["init"]);
    let signalled = |words: &[&str], ready: &dyn Fn() -> bool| {
        let mut command = process_one(&sandbox, words);
        let mut outside = command.args(["sleep", "60"]).stderr(Stdio::null()).spawn().unwrap();
        wait_for("the call is ready", ready);
        signal(children(outside.id())[0], Signal::TERM);
        wait(&mut outside, LIMIT)
    };
    let runs = || sandbox.node().join("persona-otto.state").exists();
    assert_eq!(signalled(WRAPPERS[0], &runs), 128 + libc::SIGTERM);
    sandbox.acquire(&["job"]);
    // A waiter has the default dispositions, which the kernel does not apply to process 1.
    let queue = sandbox.guard("job").join("queue");
    let waits = || std::fs::read_dir(&queue).is_ok_and(|mut tickets| tickets.next().is_some());
    assert_eq!(signalled(WRAPPERS[1], &waits), 128 + libc::SIGTERM);
}

#[test]
fn a_limit_of_file_sizes_is_named_and_leaves_the_old_state() {
    let sandbox = Sandbox::new();
    let token = sandbox.zeta(&["lease", "acquire", "job", "--as", "otto", "-q"]).out;
    let renew = format!("lease renew job --token {}", token.trim());
    let bus = sandbox.dir.join("bus");
    for call in [
        "lease acquire other",
        renew.as_str(),
        "marker set m a=b",
        "persona set otto --task t",
        "heartbeat --as otto",
        "claim acquire B-1 --as otto",
        "bus send vera hello",
        "run --as lior -- true",
    ] {
        // The output goes through pipes, which have no such limit.
        let script = format!(r#"ulimit -f 0; exec "$0" {call}"#);
        let mut command = sandbox.other("bash", &["-c", &script, env!("CARGO_BIN_EXE_zeta")]);
        let out = run(command.env("ZETA_BUS_DIR", &bus));
        assert_eq!(out.status, 7, "{call}: {out:?}");
        assert!(out.err.contains("File too large") && out.err.contains("ulimit -f"), "{out:?}");
    }
    assert_eq!(sandbox.zeta(&["lease", "show", "job"]).status, 0);
    assert!(is_free(&sandbox, "other"));
}
