//! A running agent tool and its model.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use zeta_os::process;

use crate::Outcome;
use crate::model::{Asked, Model, Turn};
use crate::place::Place;
use crate::screen::Screen;
use crate::tool::{Terminal, Tool};

/// How long a tool may take to end after the last answer of its model.
const LIMIT: Duration = Duration::from_secs(30);

/// A process of the tool; it is killed when this is dropped.
pub struct Client {
    child: Child,
    model: Model,
    screen: Option<Screen>,
}

impl Client {
    /// Starts the tool.
    pub fn start(place: &Place, tool: &Tool, name: &str) -> Outcome<Client> {
        let model = Model::start()?;
        let mut command = place.command(&tool.program);
        command.args(&tool.first_args);
        (tool.arguments)(place, model.port, &mut command);
        Ok(Client { child: start(&mut command, place, name)?, model, screen: None })
    }

    /// Starts the tool as a person does who wants it to be woken, in a terminal, under a name.
    pub fn start_in_terminal(
        place: &Place,
        tool: &Tool,
        terminal: &Terminal,
        name: &str,
    ) -> Outcome<Client> {
        let model = Model::start()?;
        let mut command = place.command(&place.zeta().display().to_string());
        command.args(["run", "--as", name, "--pty", "--wake", "--", &tool.program]);
        command.args(&tool.first_args);
        (terminal.arguments)(model.port, &mut command);
        let (screen, child) = Screen::start(&command, &place.output(name))?;
        Ok(Client { child, model, screen: Some(screen) })
    }

    /// Types keys into its terminal.
    pub fn keys(&self, keys: &[u8]) -> Outcome<()> {
        self.screen.as_ref().map_or(Ok(()), |screen| screen.keys(keys))
    }

    /// Waits for the next request to the model.
    pub fn asked(&mut self) -> Outcome<Asked> {
        self.model.asked()
    }

    /// The process of the tool.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets the model answer, and returns its next request.
    pub fn after(&mut self, asked: Asked, turn: Turn) -> Outcome<Asked> {
        asked.answer(turn);
        self.asked()
    }

    /// Kills the tool and all that it started, and waits until they are gone.
    pub fn kill(&mut self) -> Outcome<()> {
        kill_tree(&self.child);
        self.child.wait()?;
        Ok(())
    }

    /// Waits for the end of the tool, after a last answer of the model.
    pub fn end(mut self, asked: Asked) -> Outcome<()> {
        asked.answer(Turn::Say("Done.".to_owned()));
        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err("the tool did not end after the last answer of its model".into())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The number of a process that was waited for may be that of another one by now.
        if matches!(self.child.try_wait(), Ok(None)) {
            kill_tree(&self.child);
            let _reaped = self.child.wait();
        }
    }
}

fn start(command: &mut Command, place: &Place, name: &str) -> Outcome<Child> {
    let output = File::create(place.output(name))?;
    command.stdout(output.try_clone()?).stderr(output);
    Ok(command.spawn().map_err(|error| format!("cannot start {command:?}: {error}"))?)
}

/// Kills a process and all its descendants, and waits until they have ended.
fn kill_tree(child: &Child) {
    let mut tree = vec![child.id()];
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let mut pids: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // A descendant may have a smaller number than its parent, so one pass is not enough.
    loop {
        let inside = |pid: &u32| process::parent(*pid).is_some_and(|p| tree.contains(&p));
        let (below, rest): (Vec<u32>, Vec<u32>) = pids.into_iter().partition(inside);
        let last = below.is_empty();
        tree.extend(below);
        pids = rest;
        if last {
            break;
        }
    }
    let tree: Vec<Pid> =
        tree.into_iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())).collect();
    let handles: Vec<OwnedFd> =
        tree.iter().filter_map(|pid| pidfd_open(*pid, PidfdFlags::empty()).ok()).collect();
    for pid in tree {
        // It may have ended already.
        let _gone = kill_process(pid, Signal::KILL);
    }
    // Of a process with many threads, the last one ends some milliseconds after the first.
    let limit = Timespec { tv_sec: 5, tv_nsec: 0 };
    for handle in handles {
        let mut ended = [PollFd::new(&handle, PollFlags::IN)];
        let _late = poll(&mut ended, Some(&limit));
    }
}
