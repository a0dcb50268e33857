//! The terminal of a command, between it and the terminal of a person: copies the keys one way and
//! the screen the other way, byte for byte, and never waits for either.

use std::collections::VecDeque;
use std::io::{stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use zeta_core::terminal::line::Line;
use zeta_core::terminal::modes::Modes;

use crate::error::Result;
use crate::process;
use crate::pty::{self, Controller};
use crate::terminal::{self, PersonTerminal};

/// Most bytes that wait for one side; until it took them, nothing is read from the other one.
const WAITING_MAX: usize = 16 * 1024;
/// Most bytes that are written at once to an output that may block.
const CAREFUL: usize = 512;
/// How often bytes are copied before the caller has its turn.
const ROUNDS: usize = 64;
/// How long a terminal without a sound has nothing more to show, once its command has ended.
const SILENT: Duration = Duration::from_millis(100);
/// How long the rest of the output may take.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// How often a process in the background looks whether it is in front again: no signal says so.
const FRONT_INTERVAL: Duration = Duration::from_millis(200);

/// A terminal for a command, and the standard streams of this process as its other side.
pub struct Console {
    controller: Option<Controller>,
    /// The terminal of the person is gone.
    gone: bool,
    /// Kept, so that a command may close the terminal and open it again.
    device: Option<OwnedFd>,
    person: Option<PersonTerminal>,
    /// The keys of a person may be read.
    in_front: bool,
    input_open: bool,
    /// The last key was an Enter, or there was none.
    at_line_start: bool,
    to_command: VecDeque<u8>,
    output: Option<Output>,
    to_person: VecDeque<u8>,
    modes: Modes,
    /// What the person typed and has not sent.
    pub line: Line,
    /// When the last key of the person came, if any did.
    pub last_key: Option<Instant>,
    /// When the command last wrote something.
    pub last_output: Instant,
    /// Keys of the person wait until this is false.
    pub holds_keys: bool,
    /// Keys of the person answer a question of the command, and are no line.
    pub answers: bool,
}

/// The standard output.
struct Output {
    /// The same terminal or pipe, opened once more: there a write never blocks, which would be
    /// wrong to ask of the descriptor that other processes share.
    own: Option<OwnedFd>,
    /// Most bytes of one write.
    at_once: usize,
}

impl Console {
    /// Makes a terminal with the modes and the size of the person's, if there is one, and makes
    /// that one raw.
    pub fn open() -> Result<Console> {
        let (controller, device) = pty::open()?;
        let person = PersonTerminal::find();
        if let Some(person) = &person {
            controller.set_modes(person.own_modes());
        }
        let mut console = Console {
            controller: Some(controller),
            gone: false,
            device: Some(device),
            person,
            in_front: true,
            input_open: true,
            at_line_start: true,
            to_command: VecDeque::new(),
            output: Some(Output::open()),
            to_person: VecDeque::new(),
            modes: Modes::default(),
            line: Line::default(),
            last_key: None,
            last_output: Instant::now(),
            holds_keys: false,
            answers: false,
        };
        console.resume();
        Ok(console)
    }

    /// The terminal of the command.
    pub fn device(&self) -> Option<BorrowedFd<'_>> {
        self.device.as_ref().map(AsFd::as_fd)
    }

    /// Returns whether the process group of a process is in front of the terminal of the command.
    pub fn is_in_front(&self, pid: u32) -> bool {
        let front = self.controller.as_ref().and_then(Controller::front);
        front.is_some() && process::group(pid) == front
    }

    /// Returns whether a person has a terminal here.
    pub fn has_person(&self) -> bool {
        self.person.is_some()
    }

    /// Gives the terminal of the command the size of the person's.
    pub fn resize(&self) {
        if let Some(controller) = &self.controller {
            controller.resize(terminal::size());
        }
    }

    /// Gives the terminal of the person its own modes back, as before this process stops.
    pub fn pause(&mut self) {
        self.show_rest(Duration::from_millis(20));
        if let Some(person) = &self.person {
            person.give_back();
        }
        self.in_front = false;
    }

    /// Takes the terminal of the person, if this process is in front of it.
    pub fn resume(&mut self) {
        if let Some(person) = &self.person {
            self.in_front = person.is_in_front();
            if self.in_front {
                person.make_raw();
            }
        }
        self.resize();
    }

    /// Returns whether the terminal of the person is gone.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Closes the terminal of the command, which reads an end then, and whose writes fail.
    pub fn close(&mut self) {
        (self.controller, self.device) = (None, None);
    }

    fn hang_up(&mut self) {
        (self.gone, self.input_open, self.output) = (true, false, None);
        self.to_command.clear();
        self.to_person.clear();
    }

    /// Types keys for the command.
    pub fn type_keys(&mut self, keys: &[u8]) {
        self.to_command.extend(keys);
        self.write_keys();
    }

    /// Copies until one of `others` is readable or `limit` is over; says which are readable. Comes
    /// back at times while a command writes without a pause.
    pub fn wait(&mut self, others: &[BorrowedFd<'_>], limit: Duration) -> Vec<bool> {
        let mut limit = limit;
        if !self.in_front && !self.gone {
            self.resume();
            limit = if self.in_front { limit } else { limit.min(FRONT_INTERVAL) };
        }
        let end = Instant::now() + limit;
        for _ in 0..ROUNDS {
            let left = end.saturating_duration_since(Instant::now());
            let (ready, copied) = self.round(others, left);
            let gone_now = self.gone && self.controller.is_some();
            if !copied || gone_now || ready.contains(&true) {
                return ready;
            }
        }
        vec![false; others.len()]
    }

    /// Shows what a command that has ended wrote last. A command that was killed leaves its modes
    /// behind; with `undo` they are taken back.
    pub fn finish(&mut self, undo: bool) {
        self.device = None;
        self.show_rest(SILENT);
        if undo {
            self.to_person.extend(self.modes.undo().as_bytes());
            self.show_rest(Duration::ZERO);
        }
        if let Some(person) = &self.person {
            person.give_back();
        }
    }

    /// Copies the output until none came for a while.
    fn show_rest(&mut self, silent: Duration) {
        let end = Instant::now() + DRAIN_LIMIT;
        let input = std::mem::replace(&mut self.input_open, false);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let limit = if self.to_person.is_empty() { silent.min(left) } else { left };
            if !self.round(&[], limit).1 {
                break;
            }
        }
        self.input_open = input;
    }

    /// Waits once, and copies what is there. Returns which of `others` are readable, and whether
    /// there was anything to copy.
    fn round(&mut self, others: &[BorrowedFd<'_>], limit: Duration) -> (Vec<bool>, bool) {
        let output = match &self.output {
            Some(Output { own: Some(own), .. }) => own.as_fd(),
            _ => STDOUT,
        };
        let mut of_controller = PollFlags::empty();
        of_controller.set(PollFlags::IN, self.to_person.len() < WAITING_MAX);
        of_controller.set(PollFlags::OUT, !self.to_command.is_empty());
        let reads = self.input_open && self.in_front && !self.holds_keys;
        let mut polled: Vec<PollFd<'_>> =
            others.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let mut add = |fd, flags, wanted: bool| {
            wanted.then(|| {
                polled.push(PollFd::from_borrowed_fd(fd, flags));
                polled.len() - 1
            })
        };
        let controller = self
            .controller
            .as_ref()
            .and_then(|it| add(it.as_fd(), of_controller, !of_controller.is_empty()));
        let keys = add(STDIN, PollFlags::IN, reads && self.to_command.len() < WAITING_MAX);
        let screen =
            add(output, PollFlags::OUT, self.output.is_some() && !self.to_person.is_empty());
        let timeout = Timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        };
        if let Err(errno) = poll(&mut polled, Some(&timeout)) {
            if errno != Errno::INTR {
                // Out of memory for a poll: do not spin.
                std::thread::sleep(limit.min(Duration::from_millis(50)));
            }
            return (vec![false; others.len()], false);
        }
        let events: Vec<PollFlags> = polled.iter().map(|fd| fd.revents()).collect();
        let at = |index: Option<usize>| index.and_then(|index| events.get(index).copied());
        let [controller, keys, screen] =
            [controller, keys, screen].map(|index| at(index).unwrap_or(PollFlags::empty()));
        let ready = events.iter().take(others.len()).map(|events| !events.is_empty()).collect();
        let mut copied = false;
        if !screen.is_empty() {
            copied |= self.write_screen();
        }
        if !controller.difference(PollFlags::OUT).is_empty() {
            copied |= self.read_screen();
        }
        if !keys.is_empty() {
            copied |= self.read_keys();
        }
        if controller.contains(PollFlags::OUT) {
            copied |= self.write_keys();
        }
        (ready, copied)
    }

    fn read_screen(&mut self) -> bool {
        let mut buffer = [0u8; WAITING_MAX];
        let Some(controller) = &self.controller else { return false };
        match controller.read(&mut buffer) {
            Ok(len) if len > 0 => {
                let bytes = buffer.get(..len).unwrap_or_default();
                self.modes.feed(bytes);
                self.last_output = Instant::now();
                if self.output.is_some() {
                    self.to_person.extend(bytes);
                }
                if self.output.as_ref().is_some_and(|output| output.own.is_some()) {
                    self.write_screen();
                }
                true
            }
            _ => false,
        }
    }

    fn write_screen(&mut self) -> bool {
        let Some(output) = &self.output else { return false };
        let bytes = self.to_person.as_slices().0;
        let bytes = bytes.get(..output.at_once).unwrap_or(bytes);
        let written = match &output.own {
            Some(own) => rustix::io::write(own, bytes),
            None => rustix::io::write(STDOUT, bytes),
        };
        match written {
            Ok(len) => {
                self.to_person.drain(..len);
                len > 0
            }
            Err(Errno::AGAIN | Errno::INTR) => false,
            Err(Errno::PIPE | Errno::IO) => {
                self.hang_up();
                true
            }
            Err(_) => {
                // A disk is full. The command goes on, and what it shows is lost.
                self.output = None;
                self.to_person.clear();
                true
            }
        }
    }

    fn read_keys(&mut self) -> bool {
        let mut buffer = [0u8; 4096];
        match rustix::io::read(STDIN, &mut buffer) {
            Ok(len) if len > 0 => {
                let bytes = buffer.get(..len).unwrap_or_default();
                self.at_line_start = bytes.ends_with(b"\n");
                if self.answers || self.line.feed(bytes) {
                    self.last_key = Some(Instant::now());
                }
                self.to_command.extend(bytes);
                self.write_keys();
                true
            }
            Err(Errno::INTR | Errno::AGAIN) => false,
            _ if self.person.is_some() => {
                self.hang_up();
                true
            }
            _ => {
                self.input_open = false;
                self.type_end();
                true
            }
        }
    }

    /// The end of a pipe or a file is the key that ends the input of a command that reads lines.
    fn type_end(&mut self) {
        let kind = fstat(stdin()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        if !matches!(kind, Ok(FileType::Fifo | FileType::RegularFile | FileType::Socket)) {
            return;
        }
        if let Some(end) = self.controller.as_ref().and_then(Controller::end_key) {
            // Within a line, the first one sends the line.
            let keys = [end, end];
            self.type_keys(keys.get(usize::from(self.at_line_start)..).unwrap_or_default());
        }
    }

    fn write_keys(&mut self) -> bool {
        let Some(controller) = &self.controller else { return false };
        match controller.write(self.to_command.as_slices().0) {
            Ok(len) => {
                self.to_command.drain(..len);
                len > 0
            }
            Err(_) => false,
        }
    }
}

impl Output {
    fn open() -> Output {
        let kind = fstat(stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        if matches!(kind, Ok(FileType::RegularFile)) {
            return Output { own: None, at_once: WAITING_MAX };
        }
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let own = openat(CWD, "/proc/self/fd/1", flags, Mode::empty()).ok();
        let at_once = if own.is_some() { WAITING_MAX } else { CAREFUL };
        Output { own, at_once }
    }
}

/// The standard streams, which a program of Rust always has.
const STDIN: BorrowedFd<'static> = rustix::stdio::stdin();
const STDOUT: BorrowedFd<'static> = rustix::stdio::stdout();
