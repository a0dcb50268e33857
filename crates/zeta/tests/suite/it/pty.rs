//! `zeta run --pty`: the command has a terminal of its own, and neither it nor the person notices.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use rustix::termios::{LocalModes, Winsize};

use crate::support::{
    LIMIT, Sandbox, Terminal, find, run, signal, skip, test_name, until, wait, wait_for,
    with_usual_signals,
};

const WORDS: [&str; 5] = ["run", "--as", "otto", "--pty", "--"];

/// Runs a script on a terminal of its own below a terminal of a person.
fn on_terminal(sandbox: &Sandbox, script: &str) -> Terminal {
    let mut command = sandbox.cmd(&WORDS);
    command.args(["sh", "-c", script]);
    Terminal::run(&command)
}

/// The children of a process: by their names, those that hold a session, and the others.
fn children(pid: u32) -> (Vec<u32>, Vec<u32>) {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.unwrap_or_default();
    let pids = list.split_whitespace().map(|pid| pid.parse::<u32>().unwrap());
    pids.partition(|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.trim_end() == "zeta-terminal")
    })
}

fn command_of(wrapper: u32) -> u32 {
    children(wrapper).1[0]
}

fn is_gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

/// Fails in every test here without `setsid`, which gives a test's terminal its session.
macro_rules! need_setsid {
    () => {
        if find("setsid").is_none() {
            return skip(test_name!(), "no setsid (Debian package util-linux)");
        }
    };
}

#[test]
fn without_a_terminal_of_a_person_there_is_one_of_80_columns() {
    let sandbox = Sandbox::new();
    let script = "test -t 0 && test -t 1 && test -t 2 && stty size && tty && exit 7";
    let mut command = sandbox.cmd(&WORDS);
    let out = run(command.args(["sh", "-c", script]));
    assert_eq!(out.status, 7, "{out:?}");
    assert!(out.out.starts_with("24 80\r\n/dev/pts/"), "{out:?}");
    assert_eq!(out.err, "");
}

#[test]
fn the_status_of_the_command_is_that_of_the_call() {
    let sandbox = Sandbox::new();
    for (script, status) in [("exit 0", 0), ("exit 255", 255), ("kill -KILL $$", 137)] {
        let out = run(sandbox.cmd(&WORDS).args(["sh", "-c", script]));
        assert_eq!(out.status, status, "{out:?}");
    }
    let out = run(sandbox.cmd(&WORDS).arg("/nonexistent"));
    assert_eq!(out.status, 127, "{out:?}");
    let sandbox = Sandbox::new();
    let args = ["run", "--as", "otto", "--", "sleep", "60"];
    let mut first = sandbox.cmd(&args).stdout(Stdio::null()).spawn().unwrap();
    wait_for("a first session", || sandbox.zeta(&["persona", "get", "otto"]).status == 0);
    let out = run(sandbox.cmd(&WORDS).arg("true"));
    assert_eq!(out.status, 3, "{out:?}");
    signal(first.id(), Signal::TERM);
    wait(&mut first, LIMIT);
}

#[test]
fn the_end_of_a_pipe_ends_the_input_and_an_empty_device_does_not() {
    let sandbox = Sandbox::new();
    for (typed, shown) in [("one\ntwo\n", "one\r\ntwo\r\n"), ("half", "half"), ("", "")] {
        let mut command = sandbox.cmd(&WORDS);
        command.args(["sh", "-c", "stty -echo; echo up; cat; echo end"]);
        let mut child = piped(&mut command);
        let mut keys = child.stdin.take().unwrap();
        keys.write_all(typed.as_bytes()).unwrap();
        drop(keys);
        let out = crate::support::finish(child, std::time::Instant::now(), LIMIT);
        assert_eq!(out.status, 0, "{out:?}");
        assert!(out.out.replace(typed, "").contains("end"), "{out:?}");
        assert!(out.out.contains(shown), "{out:?}");
    }
    // As in a service: nothing is typed, and nothing ends.
    let mut command = sandbox.cmd(&WORDS);
    command.args(["sh", "-c", "echo up; read line; echo read"]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    assert!(!until(std::time::Duration::from_millis(300), || child.try_wait().unwrap().is_some()));
    signal(child.id(), Signal::TERM);
    assert_eq!(wait(&mut child, LIMIT), 128 + libc::SIGTERM);
}

fn piped(command: &mut Command) -> Child {
    let all = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    all.spawn().unwrap()
}

#[test]
fn every_byte_arrives_in_order_both_ways() {
    let sandbox = Sandbox::new();
    let file = sandbox.dir.join("bytes");
    // More than any buffer between holds; the command reads late and writes at once.
    let bytes: Vec<u8> =
        (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(&file, &bytes).unwrap();
    let script =
        r#"stty raw -echo; echo go; sleep 0.2; head -c 3000000 | cksum > "$0.sum"; cat "$0""#;
    let mut command = sandbox.cmd(&WORDS);
    command.args(["sh", "-c", script]).arg(&file);
    let mut child = piped(&mut command);
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut seen = [0u8; 3];
    std::io::Read::read_exact(&mut screen, &mut seen).unwrap();
    let typed = bytes.clone();
    let typist = std::thread::spawn(move || keys.write_all(&typed));
    let mut shown = Vec::new();
    std::io::Read::read_to_end(&mut screen, &mut shown).unwrap();
    typist.join().unwrap().unwrap();
    assert_eq!(wait(&mut child, LIMIT), 0);
    assert!(shown == bytes, "{} bytes of {}", shown.len(), bytes.len());
    let sum = std::fs::read_to_string(file.with_extension("sum")).unwrap();
    let direct = run(sandbox.other("cksum", &[]).stdin(std::fs::File::open(&file).unwrap())).out;
    assert_eq!(sum, direct);
}

#[test]
fn keys_reach_the_command_and_its_screen_the_person() {
    need_setsid!();
    let sandbox = Sandbox::new();
    let mut terminal = on_terminal(&sandbox, "echo up; read line; echo \"got <$line>\"; exit 4");
    terminal.wait_for("up");
    assert!(!terminal.modes().contains(LocalModes::ICANON));
    terminal.keys(b"hello\r");
    terminal.wait_for("got <hello>");
    assert_eq!(terminal.end(), Some(4));
    assert_eq!(terminal.modes(), terminal.before);
}

#[test]
fn a_key_that_interrupts_reaches_the_command_alone() {
    need_setsid!();
    let sandbox = Sandbox::new();
    let mut terminal = on_terminal(
        &sandbox,
        "trap 'echo caught; exit 9' INT; echo up; while :; do sleep 0.05; done",
    );
    terminal.wait_for("up");
    terminal.keys(b"\x03");
    terminal.wait_for("caught");
    assert_eq!(terminal.end(), Some(9));
}

#[test]
fn the_size_of_the_screen_follows() {
    need_setsid!();
    let sandbox = Sandbox::new();
    let script = "trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done";
    let mut terminal = on_terminal(&sandbox, script);
    terminal.wait_for("up");
    terminal.resize(Winsize { ws_row: 33, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 });
    terminal.wait_for("33 111");
    terminal.keys(b"\x03");
    terminal.end();
}

#[test]
fn the_terminal_of_the_person_comes_back_whatever_ends_the_command() {
    need_setsid!();
    for number in [libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGKILL] {
        let sandbox = Sandbox::new();
        let screen = r"printf '\033[?1049h\033[?2004h\033[?25lup'; exec sleep 60";
        let mut terminal = on_terminal(&sandbox, screen);
        terminal.wait_for("up");
        wait_for("raw", || !terminal.modes().contains(LocalModes::ICANON));
        let to = match number {
            libc::SIGKILL => command_of(terminal.child.id()),
            _ => terminal.child.id(),
        };
        signal(to, Signal::from_named_raw(number).unwrap());
        assert_eq!(terminal.end(), Some(128 + number));
        assert_eq!(terminal.modes(), terminal.before, "{number}");
        // What the killed command left set.
        assert!(terminal.shown.contains("\x1b[?25h\x1b[?1049l\x1b[?2004l"), "{:?}", terminal.shown);
    }
}

#[test]
fn a_command_that_ends_by_itself_keeps_the_modes_that_it_set() {
    need_setsid!();
    let sandbox = Sandbox::new();
    let mut terminal = on_terminal(&sandbox, r"printf '\033[?25lup'");
    assert_eq!(terminal.end(), Some(0));
    assert!(terminal.shown.ends_with("\x1b[?25lup"), "{:?}", terminal.shown);
}

#[test]
fn the_end_of_the_person_s_terminal_ends_the_command() {
    need_setsid!();
    let sandbox = Sandbox::new();
    let mut terminal = on_terminal(&sandbox, "echo up; sleep 60");
    terminal.wait_for("up");
    let command = command_of(terminal.child.id());
    let mut wrapper = terminal.hang_up();
    assert_eq!(wait(&mut wrapper, LIMIT), 128 + libc::SIGHUP);
    assert!(is_gone(command));
}

#[test]
fn a_command_that_waits_for_keys_sees_the_end_of_the_person_s_terminal() {
    need_setsid!();
    // It does not end by the signal, but reads the end, as it would without zeta.
    let sandbox = Sandbox::new();
    let log = sandbox.dir.join("log");
    let script =
        r#"trap 'echo HUP >>"$0"' HUP; echo up; while read line; do :; done; echo end >>"$0""#;
    let mut command = sandbox.cmd(&WORDS);
    command.args(["sh", "-c", script]).arg(&log);
    let mut terminal = Terminal::run(&command);
    terminal.wait_for("up");
    let mut wrapper = terminal.hang_up();
    assert_eq!(wait(&mut wrapper, LIMIT), 0);
    // The shell runs its trap after the read that the signal interrupted, or before the next one.
    let lines = std::fs::read_to_string(&log).unwrap();
    assert!(["HUP\nend\n", "end\nHUP\n"].contains(&lines.as_str()), "{lines:?}");
}

#[test]
fn a_command_whose_reader_has_gone_ends() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.cmd(&WORDS);
    let mut child = command.arg("yes").stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = [0u8; 1000];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut shown).unwrap();
    drop(child.stdout.take());
    // By the signal, or because its writes fail.
    assert!([1, 128 + libc::SIGHUP].contains(&wait(&mut child, LIMIT)));
}

#[test]
fn a_killed_wrapper_takes_its_terminal_and_the_command_with_it() {
    need_setsid!();
    let sandbox = Sandbox::new();
    let mut terminal = on_terminal(&sandbox, "echo up; sleep 60; sleep 60");
    terminal.wait_for("up");
    let wrapper = terminal.child.id();
    let (leader, command) = children(wrapper);
    let keeper = children(leader[0]).0;
    assert_eq!((leader.len(), command.len(), keeper.len()), (1, 1, 1));
    signal(wrapper, Signal::KILL);
    terminal.end();
    for pid in [leader, command, keeper].concat() {
        wait_for("its end", || is_gone(pid));
    }
}

/// A shell with job control, at a terminal.
fn shell(sandbox: &Sandbox) -> Terminal {
    let mut command = sandbox.other("bash", &["--norc", "--noprofile", "-i"]);
    command.env("PS1", "$ ").env("zeta", env!("CARGO_BIN_EXE_zeta"));
    let terminal = Terminal::run(&command);
    terminal.keys(b"stty -echo\r");
    terminal
}

#[test]
fn a_stopped_command_gives_the_terminal_back_and_goes_on_later() {
    need_setsid!();
    if find("bash").is_none() {
        return skip(test_name!(), "no bash");
    }
    let sandbox = Sandbox::new();
    let mut terminal = shell(&sandbox);
    let expect = |terminal: &mut Terminal, keys: &[u8], text: &str| {
        terminal.shown.clear();
        terminal.keys(keys);
        terminal.wait_for(text);
    };
    let line = b"$zeta run --as otto --pty -- sh -c 'echo u\"\"p; cat'\r";
    expect(&mut terminal, line, "up");
    expect(&mut terminal, b"one\r", "one\r\n");
    expect(&mut terminal, b"\x1a", "Stopped");
    expect(&mut terminal, b"echo he\"\"re\r", "here\r\n");
    terminal.keys(b"fg\r");
    expect(&mut terminal, b"two\r", "two\r\n");
    // In the background it reads no keys, and goes on when it is in front again.
    expect(&mut terminal, b"\x1a", "Stopped");
    expect(&mut terminal, b"bg; echo ba\"\"ck\r", "back\r\n");
    expect(&mut terminal, b"echo st\"\"ill\r", "still\r\n");
    terminal.keys(b"fg\r");
    expect(&mut terminal, b"three\r", "three\r\n");
    expect(&mut terminal, b"\x04", "$ ");
    expect(&mut terminal, b"echo e\"\"nd\r", "end");
    terminal.keys(b"exit\r");
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn a_command_that_stops_itself_stops_the_whole_job() {
    need_setsid!();
    if find("bash").is_none() {
        return skip(test_name!(), "no bash");
    }
    // As agent tools do: a signal to the own group, or one that cannot be caught to itself.
    for stop in ["kill -TSTP 0", "kill -STOP $$"] {
        let sandbox = Sandbox::new();
        let mut terminal = shell(&sandbox);
        let line = format!("$zeta run --as otto --pty -- sh -c '{stop}; echo ba\"\"ck'\r");
        terminal.keys(line.as_bytes());
        terminal.wait_for("Stopped");
        // Keys before the end of the command would be the command's.
        terminal.keys(b"fg; echo do\"\"ne\r");
        terminal.wait_for("back");
        terminal.wait_for("done");
        terminal.keys(b"exit\r");
        assert_eq!(terminal.end(), Some(0), "{:?}", terminal.shown);
    }
}

#[test]
fn where_no_shell_waits_a_stop_stops_nothing() {
    need_setsid!();
    let sandbox = Sandbox::new();
    // The wrapper leads the session: nothing could let it go on.
    let mut terminal = on_terminal(&sandbox, "echo up; read line; echo \"got $line\"");
    terminal.wait_for("up");
    terminal.keys(b"\x1a");
    terminal.keys(b"more\r");
    terminal.wait_for("got more");
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn a_signal_to_the_group_of_the_wrapper_reaches_the_command_once() {
    use std::os::unix::process::CommandExt as _;
    let sandbox = Sandbox::new();
    let log = sandbox.dir.join("log");
    let script = r#"
        for name in TERM HUP INT USR1; do trap "echo $name >>$0" $name; done
        echo ready >>$0
        while [ ! -e $0.stop ]; do sleep 0.02; done"#;
    let mut command = sandbox.cmd(&WORDS);
    command.args(["sh", "-c", script]).arg(&log).process_group(0).stdout(Stdio::null());
    let mut wrapper = with_usual_signals(&mut command).spawn().unwrap();
    let lines = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_for("ready", || lines() == "ready\n");
    for (number, name) in [(Signal::TERM, "TERM"), (Signal::HUP, "HUP"), (Signal::USR1, "USR1")] {
        kill_process_group(Pid::from_child(&wrapper), number).unwrap();
        wait_for(name, || lines().contains(name));
        signal(wrapper.id(), Signal::INT);
        wait_for("INT", || lines().ends_with("INT\n"));
    }
    assert_eq!(lines(), "ready\nTERM\nINT\nHUP\nINT\nUSR1\nINT\n");
    std::fs::write(log.with_file_name("log.stop"), "").unwrap();
    assert_eq!(wait(&mut wrapper, LIMIT), 0);
}

#[test]
fn a_person_who_does_not_read_stops_the_command_and_not_the_beats() {
    let sandbox = Sandbox::new();
    let mut command =
        sandbox.cmd(&["run", "--as", "otto", "--pty", "--beat", "100ms", "--", "yes"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let beats = || {
        let text = sandbox.zeta(&["persona", "get", "otto", "--json"]).out;
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        value.to_string()
    };
    wait_for("a session", || beats().contains("beat"));
    let first = beats();
    wait_for("another beat", || beats() != first);
    signal(child.id(), Signal::TERM);
    assert_eq!(wait(&mut child, LIMIT), 128 + libc::SIGTERM);
}
