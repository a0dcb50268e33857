//! The view on a real terminal: it opens, follows, and gives the terminal back.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::Stdio;

use rustix::process::Signal;
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::json;

use super::{Agent, SCRIPT, find_watch, open};
use crate::hooks::run::{Agent as ToolAgent, claude};
use crate::support::{
    LIMIT, Sandbox, Tmux, open_terminal, signal, test_name, until, wait, wait_for,
    with_usual_signals,
};

/// An agent tool that asks a person, by its hooks. It lives until this is dropped.
fn ask(sandbox: &Sandbox, question: &str) -> ToolAgent {
    let agent = ToolAgent::start("asks");
    claude(sandbox, &agent, "session-start", &json!({"cwd": "/"}));
    let input = json!({"questions": [{"question": question, "options": []}]});
    let asks = json!({"cwd": "/", "hook_event_name": "PermissionRequest",
        "tool_name": "AskUserQuestion", "tool_input": input});
    claude(sandbox, &agent, "waiting", &asks);
    agent
}

/// The terminal is as it was: its usual screen, a cursor, and lines that can be edited.
#[track_caller]
fn is_given_back(tmux: &Tmux, status: u8) {
    is_given_back_to_shell(tmux, status);
    assert!(tmux.text().contains("before"), "{}", tmux.text());
}

#[track_caller]
fn is_given_back_to_shell(tmux: &Tmux, status: u8) {
    tmux.wait_for(&format!("after={status}"));
    tmux.wait_for("icanon");
    let text = tmux.text();
    assert!(!text.contains("zeta watch"), "{text}");
    for mode in ["icanon", "echo", "isig", "opost", "icrnl"] {
        assert!(!text.contains(&format!("-{mode} ")), "{mode}: {text}");
    }
    assert_eq!(tmux.format("#{cursor_flag} #{alternate_on}"), "1 0");
}

#[test]
fn it_opens_takes_every_size_and_gives_the_terminal_back() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["heartbeat", "--as", "otto"]);
    sandbox.acquire(&["deploy", "--as", "otto", "--ttl", "1h"]);
    let Some(tmux) = open(test_name!(), &sandbox, 80, 24, SCRIPT) else { return };
    tmux.wait_for("otto");
    tmux.wait_for("nothing needs you");
    assert_eq!(tmux.format("#{cursor_flag} #{alternate_on}"), "0 1");
    for (columns, rows) in [(60, 15), (200, 50), (1, 1), (20, 6), (80, 24)] {
        tmux.resize(columns, rows);
        let shown = if columns < 20 || rows < 6 { "t" } else { "zeta watch" };
        tmux.wait_for(shown);
    }
    tmux.wait_for("q quit");
    tmux.keys(&["2"]);
    tmux.wait_for("deploy");
    tmux.keys(&["Enter"]);
    tmux.wait_for("token");
    tmux.keys(&["Escape", "?"]);
    tmux.wait_for("first lines");
    tmux.keys(&["q"]);
    is_given_back(&tmux, 0);
}

#[test]
fn signals_end_it_and_the_terminal_is_given_back() {
    for (number, status) in
        [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129), (Signal::QUIT, 131)]
    {
        let sandbox = Sandbox::new();
        let Some(tmux) = open(test_name!(), &sandbox, 80, 24, SCRIPT) else { return };
        tmux.wait_for("no agent is here yet");
        signal(find_watch(&sandbox).unwrap(), number);
        is_given_back(&tmux, status);
    }
}

/// Set in the process that shall panic.
const PANICS: &str = "WATCH_TEST_PANICS";

#[test]
fn a_panic_gives_the_terminal_back_and_says_why() {
    if std::env::var_os(PANICS).is_some() {
        let signals = zeta_os::signal::Signals::take_over_with_terminal().unwrap();
        let screen = zeta_os::full_screen::FullScreen::find().unwrap();
        screen.enter(signals.fd()).unwrap();
        panic!("as the test wants");
    }
    let sandbox = Sandbox::new();
    let program = std::env::current_exe().unwrap();
    let script = format!(
        "echo before; {PANICS}=1 {} --nocapture --exact {}; echo after=$?; stty -a; sleep 60",
        program.display(),
        test_name!()
    );
    let Some(tmux) = open(test_name!(), &sandbox, 120, 60, &script) else { return };
    is_given_back(&tmux, 101);
    assert!(tmux.text().contains("as the test wants"), "{}", tmux.text());
}

#[test]
fn a_tree_that_is_refused_is_said_and_followed() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["heartbeat", "--as", "otto"]);
    crate::json::loosen(&sandbox);
    let Some(tmux) = open(test_name!(), &sandbox, 100, 24, SCRIPT) else { return };
    tmux.wait_for("found");
    assert!(!tmux.text().contains("nothing needs you"), "{}", tmux.text());
    crate::json::tighten(&sandbox);
    tmux.wait_for("live    otto");
    std::fs::remove_dir_all(&sandbox.state).unwrap();
    tmux.wait_for("no agent is here yet");
    sandbox.ok(&["heartbeat", "--as", "max"]);
    tmux.wait_for("live    max");
}

#[test]
fn ctrl_z_stops_it_and_fg_draws_it_again() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["heartbeat", "--as", "otto"]);
    let script = "HISTFILE= PS1='$ ' exec bash --norc -i";
    let Some(tmux) = open(test_name!(), &sandbox, 100, 30, script) else { return };
    tmux.wait_for("$");
    tmux.keys(&["\"$ZETA\" watch", "Enter"]);
    tmux.wait_for("otto");
    for by_key in [true, false] {
        match by_key {
            true => tmux.keys(&["C-z"]),
            false => signal(find_watch(&sandbox).unwrap(), Signal::TSTP),
        }
        wait_for("the usual screen", || tmux.format("#{cursor_flag} #{alternate_on}") == "1 0");
        tmux.wait_for("Stopped");
        tmux.keys(&["stty -a | grep -c -- '-icanon'", "Enter"]);
        tmux.wait_for("\n0\n");
        tmux.keys(&["clear; fg", "Enter"]);
        tmux.wait_for("otto");
        tmux.wait_for("q quit");
        tmux.keys(&["2"]);
        tmux.wait_for("nothing is held");
        tmux.keys(&["1"]);
        tmux.wait_for("AGENT");
    }
    // A stop that no program can see leaves the screen to the shell; it takes it back.
    let pid = find_watch(&sandbox).unwrap();
    signal(pid, Signal::STOP);
    tmux.wait_for("Stopped");
    tmux.keys(&["fg", "Enter"]);
    wait_for("it runs again", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        !status.contains("State:\tT")
    });
    tmux.keys(&["2"]);
    tmux.wait_for("nothing is held");
    tmux.keys(&["C-c"]);
    wait_for("the usual screen", || tmux.format("#{cursor_flag} #{alternate_on}") == "1 0");
    tmux.keys(&["clear; echo after=$?; stty -a", "Enter"]);
    is_given_back_to_shell(&tmux, 0);
}

#[test]
fn changes_are_seen_as_they_happen() {
    let sandbox = Sandbox::new();
    let Some(tmux) = open(test_name!(), &sandbox, 100, 24, SCRIPT) else { return };
    tmux.wait_for("no agent is here yet");
    let mut otto = Agent::start(&sandbox, "otto");
    tmux.wait_for("live    otto");
    let _asks = ask(&sandbox, "May I push to main?");
    tmux.wait_for("waits for you");
    tmux.wait_for(": May I push to main?");
    sandbox.acquire(&["deploy", "--as", "otto", "--ttl", "1h"]);
    tmux.keys(&["2"]);
    tmux.wait_for("deploy");
    tmux.keys(&["4"]);
    tmux.wait_for("otto took it");
    tmux.keys(&["1"]);
    // The wrapper and its command: all that lives of this agent.
    let pids = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", otto.0.id()));
    // The wrapper first: it would record the end of its command.
    otto.0.kill().unwrap();
    otto.0.wait().unwrap();
    for pid in pids.unwrap().split_whitespace() {
        signal(pid.parse().unwrap(), Signal::KILL);
    }
    tmux.wait_for("gone    otto");
    tmux.keys(&["q"]);
    is_given_back(&tmux, 0);
}

#[test]
fn a_filter_and_the_details() {
    let sandbox = Sandbox::new();
    for (agent, task) in [("otto", "the prices"), ("kenji", "検索を速く"), ("max", "release")]
    {
        sandbox.ok(&["heartbeat", "--as", agent]);
        let set = ["persona", "set", agent, "--as", agent, &format!("task={task}")];
        sandbox.ok(&set);
    }
    let Some(tmux) = open(test_name!(), &sandbox, 80, 24, SCRIPT) else { return };
    tmux.wait_for("max");
    tmux.keys(&["/", "pric"]);
    tmux.wait_for("1 Agents 1/3");
    assert!(!tmux.text().contains("max"), "{}", tmux.text());
    tmux.keys(&["Enter", "Enter"]);
    tmux.wait_for("last beat");
    tmux.keys(&["Escape"]);
    tmux.wait_for("AGENT");
    tmux.keys(&["Escape", "/", "検索", "Enter"]);
    tmux.wait_for("1 Agents 1/3");
    tmux.wait_for("検索を速く  ");
    tmux.keys(&["/", "C-u", "zzz"]);
    tmux.wait_for("no row has \"zzz\"");
    tmux.keys(&["C-c"]);
    is_given_back(&tmux, 0);
}

#[test]
fn a_text_of_an_agent_cannot_draw() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["heartbeat", "--as", "otto"]);
    let task = "task=\u{1b}[2J\u{1b}[1;1Hforged\u{1b}]0;title\u{7}\u{202e}";
    sandbox.ok(&["persona", "set", "otto", "--as", "otto", task]);
    let Some(tmux) = open(test_name!(), &sandbox, 120, 24, SCRIPT) else { return };
    tmux.wait_for("forged");
    let text = tmux.text();
    let first = text.lines().next().unwrap();
    assert!(first.contains("zeta watch") && !first.contains("forged"), "{text}");
    assert_ne!(tmux.format("#{pane_title}"), "title");
}

#[test]
fn without_colours_none_is_used_and_a_simple_terminal_gets_ascii() {
    let sandbox = Sandbox::new();
    let _asks = ask(&sandbox, "May I push?");
    let script = "NO_COLOR=1 TERM=linux \"$ZETA\" watch; sleep 60";
    let Some(tmux) = open(test_name!(), &sandbox, 80, 24, script) else { return };
    tmux.wait_for("May I push?");
    let styled = tmux.styled();
    assert!(styled.is_ascii(), "{styled}");
    // 39 and 49 are those that the terminal has anyway.
    for colour in (30..39).chain(40..49).chain(90..108) {
        assert!(!styled.contains(&format!("[{colour}m")), "{colour}: {styled:?}");
    }
    drop(tmux);
    let script = "\"$ZETA\" watch; sleep 60";
    let Some(tmux) = open(test_name!(), &sandbox, 80, 24, script) else { return };
    tmux.wait_for("May I push?");
    assert!(tmux.styled().contains("38;5;3m"), "yellow: {:?}", tmux.styled());
}

/// A terminal that the test holds, with this size, and the view on it.
fn on_terminal(sandbox: &Sandbox, columns: u16, rows: u16) -> (File, std::process::Child) {
    let (controller, device) = open_terminal();
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&device, size).unwrap();
    let mut command = sandbox.cmd(&["watch"]);
    command.env("TERM", "xterm").env("LC_ALL", "C.UTF-8");
    let end = || Stdio::from(device.try_clone().unwrap());
    command.stdin(end()).stdout(end());
    let child = with_usual_signals(&mut command).spawn().unwrap();
    (File::from(controller), child)
}

#[test]
fn it_ends_when_the_terminal_goes_away() {
    let sandbox = Sandbox::new();
    let (mut controller, mut child) = on_terminal(&sandbox, 80, 24);
    let mut bytes = [0u8; 64];
    controller.read_exact(&mut bytes).unwrap();
    drop(controller);
    assert_eq!(wait(&mut child, LIMIT), 129);
}

#[test]
fn a_signal_ends_it_also_while_the_terminal_takes_nothing() {
    let sandbox = Sandbox::new();
    for at in 0..100 {
        sandbox.acquire(&[&format!("lease-{at:03}"), "--ttl", "1h"]);
    }
    // A frame of this size is more than a terminal keeps for its reader.
    let (mut controller, mut child) = on_terminal(&sandbox, 250, 110);
    controller.write_all(b"2").unwrap();
    wait_for("raw modes", || {
        let modes = tcgetattr(controller.as_fd()).unwrap().local_modes;
        !modes.contains(LocalModes::ICANON)
    });
    // It sleeps in its write: its state is one sleep that does not end.
    let state = format!("/proc/{}/wchan", child.id());
    until(std::time::Duration::from_secs(1), || {
        std::fs::read_to_string(&state).is_ok_and(|it| it.contains("poll"))
    });
    signal(child.id(), Signal::TERM);
    assert_eq!(wait(&mut child, LIMIT), 143);
    let modes = tcgetattr(controller.as_fd()).unwrap().local_modes;
    assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO));
}

/// A number that the kernel counts for a process.
fn counted(pid: u32, file: &str, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn an_idle_view_does_not_draw_and_sleeps() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["heartbeat", "--as", "otto"]);
    sandbox.acquire(&["deploy", "--as", "otto", "--ttl", "30d"]);
    let Some(tmux) = open(test_name!(), &sandbox, 80, 24, SCRIPT) else { return };
    tmux.wait_for("otto");
    let pid = find_watch(&sandbox).unwrap();
    tmux.keys(&["2"]);
    tmux.wait_for("deploy");
    let counts = || {
        let sleeps = counted(pid, "status", "voluntary_ctxt_switches:");
        (counted(pid, "io", "syscw:"), sleeps)
    };
    let before = counts();
    // Nothing happens, and nothing that is seen ages within this time.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let after = counts();
    // The last change may have a frame yet; a tick of a second would have three.
    let frames = after.0 - before.0;
    assert!(frames <= 2, "it drew {frames} times");
    // Other tests change things in the directory above the sandbox.
    assert!(after.1 - before.1 < 200, "it woke up {} times", after.1 - before.1);
    tmux.keys(&["q"]);
    is_given_back(&tmux, 0);
}
