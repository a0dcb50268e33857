//! `zeta run --pty --wake`: a message wakes an agent that waits for a prompt, and no key of zeta's
//! gets into anything else.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{
    LIMIT, Sandbox, Terminal, find, signal, skip, test_name, until, wait, wait_for,
};

/// An agent tool: it reads a prompt, calls the hooks around a turn, and keeps a log.
const TOOL: &str = r#"
hook() { printf '{"session_id":"s","cwd":"/"}' | "$ZETA" hook run claude "$1" >/dev/null; }
say() { echo "$1" >>"$0"; echo "$1"; }
"#;

/// The loop of a tool whose turns last until a file says so.
const TURNS: &str = r#"
hook session-start; say ready
while read -r line; do
  hook prompt; say "took <$line>"
  while [ -e "$0.busy" ]; do sleep 0.02; done
  hook stop; say idle
done"#;

struct Agent {
    sandbox: Sandbox,
    log: std::path::PathBuf,
}

impl Agent {
    fn new() -> Agent {
        // The tool here looks at no answer of a hook, so the hooks give it no mail.
        let agent = Agent::with_mail_by_hooks();
        let config = agent.sandbox.dir.join(".config/zeta");
        std::fs::create_dir_all(&config).unwrap();
        std::fs::write(config.join("config.toml"), "hook_mail = \"count\"\n").unwrap();
        agent
    }

    fn with_mail_by_hooks() -> Agent {
        let sandbox = Sandbox::new();
        let log = sandbox.dir.join("log");
        Agent { sandbox, log }
    }

    fn command(&self, script: &str) -> Command {
        let mut command =
            self.sandbox.cmd(&["run", "--as", "otto", "--pty", "--wake", "--beat", "1h", "--"]);
        command.args(["sh", "-c", &format!("{TOOL}{script}")]).arg(&self.log);
        command.env("ZETA", env!("CARGO_BIN_EXE_zeta"));
        // The tool, for a shell that starts it.
        command.env("TURNS", format!("echo $$ >\"$0.pid\"{TOOL}{TURNS}"));
        command
    }

    /// Starts a tool without a terminal of a person.
    fn start(&self, script: &str) -> Running {
        let mut command = self.command(script);
        Running(command.stdout(Stdio::null()).spawn().unwrap())
    }

    fn send(&self, from: &str) -> String {
        self.sandbox.ok(&["bus", "send", "--from", from, "otto", "text of a peer; rm -rf /"])
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The process of a tool that a shell started.
    fn tool(&self) -> u32 {
        std::fs::read_to_string(self.log.with_file_name("log.pid")).unwrap().trim().parse().unwrap()
    }

    fn wait_for(&self, line: &str) {
        wait_for(line, || self.log().lines().any(|found| found == line));
    }

    fn wait_for_turns(&self, turns: usize) {
        wait_for("the turns", || {
            self.log().lines().filter(|line| *line == "idle").count() == turns
        });
    }

    /// Whether nothing is taken for a while.
    fn stays_quiet(&self) -> bool {
        let before = self.log();
        !until(Duration::from_millis(1_500), || self.log() != before)
    }
}

/// A wrapper that ends with its test.
struct Running(Child);

impl Running {
    /// How often it has slept.
    fn switches(&self) -> u64 {
        let path = format!("/proc/{}/status", self.0.id());
        let text = std::fs::read_to_string(path).unwrap();
        let line = text.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
        line.split_whitespace().last().unwrap().parse().unwrap()
    }

    fn end(mut self) -> i32 {
        signal(self.0.id(), Signal::TERM);
        wait(&mut self.0, LIMIT)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const TOOK_VERA: &str =
    "took <zeta: a message from vera waits. Read it with: zeta bus inbox --as otto>";

#[test]
fn a_message_wakes_an_idle_agent_once_and_its_text_is_not_typed() {
    let agent = Agent::with_mail_by_hooks();
    let running = agent.start(TURNS);
    agent.wait_for("ready");
    let id = agent.send("vera");
    agent.wait_for_turns(1);
    assert_eq!(agent.log(), format!("ready\n{TOOK_VERA}\nidle\n"));
    assert!(agent.stays_quiet(), "{}", agent.log());
    let status = agent.sandbox.ok(&["bus", "status", &id, "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert!(status.to_string().contains("woken_at"), "{status}");
    agent.send("rex");
    agent.wait_for_turns(2);
    assert!(agent.log().contains("took <zeta: a message from rex waits."), "{}", agent.log());
    let record = agent.sandbox.ok(&["persona", "get", "otto", "--json"]);
    assert!(record.contains("\"pty\""), "{record}");
    running.end();
    let record = agent.sandbox.ok(&["persona", "get", "otto", "--json"]);
    assert!(!record.contains("\"pty\""), "{record}");
}

#[test]
fn mail_from_before_the_session_wakes_and_many_messages_wake_once() {
    let agent = Agent::new();
    agent.send("vera");
    agent.send("rex");
    agent.send("vera");
    let _running = agent.start(TURNS);
    agent.wait_for_turns(1);
    let line = "took <zeta: 3 messages wait, the first from vera. Read them with: ";
    assert!(agent.log().contains(&line.replace("them", "it")), "{}", agent.log());
    assert!(agent.stays_quiet(), "{}", agent.log());
}

#[test]
fn an_agent_that_works_is_woken_after_its_turn() {
    let agent = Agent::new();
    let busy = agent.log.with_file_name("log.busy");
    std::fs::write(&busy, "").unwrap();
    let _running = agent.start(TURNS);
    agent.wait_for("ready");
    agent.send("vera");
    agent.wait_for(TOOK_VERA);
    agent.send("rex");
    assert!(agent.stays_quiet(), "{}", agent.log());
    std::fs::remove_file(&busy).unwrap();
    agent.wait_for_turns(2);
    assert!(agent.log().contains("a message from rex waits"), "{}", agent.log());
}

#[test]
fn what_was_read_meanwhile_wakes_no_agent() {
    let agent = Agent::new();
    let busy = agent.log.with_file_name("log.busy");
    std::fs::write(&busy, "").unwrap();
    let _running = agent.start(TURNS);
    agent.wait_for("ready");
    agent.send("vera");
    agent.wait_for(TOOK_VERA);
    agent.send("rex");
    agent.sandbox.ok(&["bus", "inbox", "--as", "otto"]);
    std::fs::remove_file(&busy).unwrap();
    agent.wait_for_turns(1);
    assert!(agent.stays_quiet(), "{}", agent.log());
}

#[test]
fn a_process_that_waits_for_the_mail_of_the_agent_goes_first() {
    let agent = Agent::new();
    let _running = agent.start(TURNS);
    agent.wait_for("ready");
    let mut command = agent.sandbox.cmd(&["bus", "wait", "--as", "otto", "--timeout", "30s"]);
    let mut waiter = command.stdout(Stdio::null()).spawn().unwrap();
    wait_for("a process that waits", || {
        agent.sandbox.dir.join("bus/.zeta/armed/otto").metadata().is_ok_and(|file| file.len() > 0)
    });
    agent.send("vera");
    assert_eq!(wait(&mut waiter, LIMIT), 0);
    assert!(!until(Duration::from_secs(3), || agent.log() != "ready\n"), "{}", agent.log());
    agent.send("rex");
    agent.wait_for_turns(1);
    assert!(agent.log().contains("a message from rex waits"), "{}", agent.log());
}

#[test]
fn what_was_said_to_all_before_the_session_wakes_no_agent() {
    let agent = Agent::new();
    agent.sandbox.ok(&["bus", "send", "--from", "vera", "*", "good morning"]);
    let _running = agent.start(TURNS);
    agent.wait_for("ready");
    assert!(agent.stays_quiet(), "{}", agent.log());
}

#[test]
fn without_a_word_of_a_hook_nothing_is_typed() {
    let agent = Agent::new();
    let _running = agent.start("say ready; while read -r line; do say \"took <$line>\"; done");
    agent.wait_for("ready");
    agent.send("vera");
    assert!(agent.stays_quiet(), "{}", agent.log());
}

#[test]
fn a_program_that_comes_after_a_tool_that_was_killed_gets_no_line() {
    let agent = Agent::new();
    let _running = agent.start("sh -c \"$TURNS\" \"$0\"; read -r x; say \"answered <$x>\"");
    agent.wait_for("ready");
    agent.send("vera");
    agent.wait_for_turns(1);
    signal(agent.tool(), Signal::KILL);
    agent.send("rex");
    assert!(agent.stays_quiet(), "{}", agent.log());
}

#[test]
fn a_tool_that_is_stopped_is_woken_when_it_is_in_front_again() {
    let agent = Agent::new();
    let script = "set -m; sh -c \"$TURNS\" \"$0\"; say stopped; \
        while [ ! -e \"$0.go\" ]; do sleep 0.05; done; fg >/dev/null";
    let _running = agent.start(script);
    agent.wait_for("ready");
    signal(agent.tool(), Signal::STOP);
    agent.wait_for("stopped");
    agent.send("vera");
    assert!(agent.stays_quiet(), "{}", agent.log());
    std::fs::write(agent.log.with_file_name("log.go"), "").unwrap();
    agent.send("vera");
    wait_for("the wake", || agent.log().contains("took <zeta: 2 messages wait"));
}

#[test]
fn agents_that_wake_each_other_without_a_person_do_so_less_often_in_time() {
    let agent = Agent::new();
    let _running = agent.start(TURNS);
    agent.wait_for("ready");
    for turn in 1..=10 {
        agent.send("vera");
        agent.wait_for_turns(turn);
    }
    agent.send("vera");
    assert!(agent.stays_quiet(), "{}", agent.log());
}

#[test]
fn a_bus_that_was_removed_and_made_again_wakes_as_before() {
    let agent = Agent::new();
    let _running = agent.start(TURNS);
    agent.wait_for("ready");
    let bus = agent.sandbox.dir.join("bus");
    std::fs::remove_dir_all(&bus).unwrap();
    agent.send("vera");
    agent.wait_for_turns(1);
    std::fs::rename(&bus, bus.with_file_name("bus.old")).unwrap();
    agent.send("rex");
    agent.wait_for_turns(2);
}

#[test]
fn mail_that_makes_no_difference_is_not_looked_at() {
    let agent = Agent::new();
    let busy = agent.log.with_file_name("log.busy");
    std::fs::write(&busy, "").unwrap();
    let running = agent.start(TURNS);
    agent.wait_for("ready");
    agent.send("vera");
    agent.wait_for(TOOK_VERA);
    std::thread::sleep(Duration::from_secs(1));
    let before = running.switches();
    for _ in 0..30 {
        agent.send("rex");
    }
    let came = running.switches() - before;
    assert!(came < 15, "{came} times for 30 messages");
    std::fs::remove_file(&busy).unwrap();
    agent.wait_for_turns(2);
}

#[test]
fn a_question_to_a_person_is_not_answered_by_a_message() {
    let agent = Agent::new();
    // A turn that no prompt began, with a question in it.
    let script = "hook session-start; hook before-tool; hook waiting; say asks; \
        read -r line; say \"answered <$line>\"; hook after-tool; hook stop; say idle; read -r line";
    let _running = agent.start(script);
    agent.wait_for("asks");
    agent.send("vera");
    assert!(agent.stays_quiet(), "{}", agent.log());
}

#[test]
fn half_a_line_of_a_person_is_not_sent() {
    if find("setsid").is_none() {
        return skip(test_name!(), "no setsid (Debian package util-linux)");
    }
    let agent = Agent::new();
    let mut terminal = Terminal::run(&agent.command(TURNS));
    terminal.wait_for("ready");
    terminal.keys(b"fix the te");
    terminal.wait_for("fix the te");
    agent.send("vera");
    assert!(!until(Duration::from_secs(6), || agent.log() != "ready\n"), "{}", agent.log());
    // Finished by the person, it is a prompt; the message follows.
    terminal.keys(b"st\r");
    wait_for("both", || {
        terminal.listen(20);
        agent.log().lines().filter(|line| *line == "idle").count() == 2
    });
    assert_eq!(agent.log(), format!("ready\ntook <fix the test>\nidle\n{TOOK_VERA}\nidle\n"));
}

#[test]
fn an_enter_that_got_lost_is_typed_again() {
    let agent = Agent::new();
    // It reads keys, and drops the first Enter.
    let script = r#"
        stty -icanon -icrnl -echo min 1; hook session-start; say ready
        text=; enters=0
        while key=$(dd bs=1 count=1 2>/dev/null; echo .); do
          key=${key%.}
          case $key in
            "$(printf '\r')") enters=$((enters + 1)); [ $enters -gt 1 ] || continue
              hook prompt; say "took <$text>"; hook stop; say idle; text= ;;
            *) text=$text$key ;;
          esac
        done"#;
    let _running = agent.start(script);
    agent.wait_for("ready");
    agent.send("vera");
    agent.wait_for_turns(1);
    assert_eq!(agent.log(), format!("ready\n{TOOK_VERA}\nidle\n"));
}

#[test]
fn a_killed_wrapper_loses_no_message() {
    let agent = Agent::new();
    // It never takes a line, so the kill falls between the line and its confirmation.
    let mut running = agent.start("hook session-start; say ready; exec sleep 60");
    agent.wait_for("ready");
    agent.send("vera");
    std::thread::sleep(Duration::from_millis(700));
    running.0.kill().unwrap();
    running.0.wait().unwrap();
    wait_for("its end", || agent.sandbox.zeta(&["run", "--as", "otto", "--", "true"]).status == 0);
    let _again = agent.start(TURNS);
    agent.wait_for_turns(1);
    assert!(agent.log().contains(TOOK_VERA), "{}", agent.log());
}

#[test]
fn an_idle_wrapper_sleeps() {
    let agent = Agent::new();
    let running = agent.start(TURNS);
    agent.wait_for("ready");
    agent.send("vera");
    agent.wait_for_turns(1);
    std::thread::sleep(Duration::from_secs(1));
    let before = running.switches();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(running.switches() - before, 0);
}
