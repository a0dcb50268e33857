//! An agent of the scene: a shell that does what the scene writes into its standard input. It ends
//! with that, so no agent outlives the scene.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use super::Outcome;
use super::cast::{Kept, Part};
use super::stage::Stage;

/// A running agent.
pub(super) struct Actor {
    pub(super) part: &'static Part,
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Actor {
    /// Starts the process of an agent in its worktree, in a process group of its own.
    pub(super) fn start(stage: &Stage, part: &'static Part) -> Outcome<Actor> {
        let mut command = match part.kept {
            Kept::ByRun(beat) => {
                let mut command = stage.zeta(&["run", "--as", part.name, "--beat", beat]);
                command.args(["--", "sh"]);
                command
            }
            Kept::ByHooks => stage.program("sh"),
        };
        if part.tool == Some("claude") {
            command.env("CLAUDE_ENV_FILE", stage.env_file(part.name));
        }
        command.current_dir(stage.worktree(part.worktree));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stage.log()?);
        let mut child = command.process_group(0).spawn()?;
        stage.remember(&child)?;
        let commands = child.stdin.take().ok_or("no standard input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Actor { part, child, commands, answers })
    }

    /// Lets the agent run a command of the shell, which writes nothing; its status.
    pub(super) fn run(&mut self, command: &str) -> Outcome<i32> {
        let name = self.part.name;
        let gone = || format!("{name} has ended, at: {command}");
        writeln!(self.commands, "{command}\necho \"= $?\"").map_err(|_| gone())?;
        let mut line = String::new();
        loop {
            line.clear();
            if self.answers.read_line(&mut line)? == 0 {
                return Err(gone().into());
            }
            if let Some(status) = line.trim_end().strip_prefix("= ") {
                return Ok(status.parse()?);
            }
        }
    }

    /// Sends a signal to all processes of the agent.
    pub(super) fn signal(&self, signal: Signal) -> Outcome<()> {
        let group = Pid::from_child(&self.child);
        Ok(kill_process_group(group, signal)?)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // It has ended already, if it was killed.
        let _ = self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}
