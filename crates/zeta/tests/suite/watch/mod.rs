//! `zeta watch`: on a real terminal, and as lines where there is none.

mod lines;
mod screen;

use std::process::{Child, Command, Stdio};

use crate::support::{Sandbox, Tmux};

/// A terminal whose shell runs `zeta watch`: what comes before and after it is seen, too.
fn open(test: &str, sandbox: &Sandbox, columns: u16, rows: u16, script: &str) -> Option<Tmux> {
    let mut shell = sandbox.other("sh", &["-c", script]);
    shell.env("ZETA", env!("CARGO_BIN_EXE_zeta")).env("LC_ALL", "C.UTF-8").env("PS1", "$ ");
    Tmux::start(test, columns, rows, &shell)
}

/// Says what is before and after, and the modes of the terminal.
const SCRIPT: &str = "echo before; \"$ZETA\" watch; echo after=$?; stty -a; sleep 60";

/// An agent with real processes, which run until this is dropped.
struct Agent(Child);

impl Agent {
    fn start(sandbox: &Sandbox, name: &str) -> Agent {
        let mut command: Command = sandbox.cmd(&["run", "--as", name, "--", "sleep", "100"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Agent(child)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        crate::support::signal(self.0.id(), rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// The processes below a process whose command line has this word.
fn find_watch(sandbox: &Sandbox) -> Option<u32> {
    let state = format!("ZETA_STATE_DIR={}", sandbox.state.display());
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let is_ours = environment.split(|byte| *byte == 0).any(|it| it == state.as_bytes());
        (words.get(1) == Some(&&b"watch"[..]) && is_ours).then_some(pid)
    })
}
