//! Another program at work: its input, its output up to a limit, and a deadline for all of it.
//!
//! [`run`] serves a program that gets its whole input at once and is of interest when it has ended.
//! [`Program`] serves a dialogue. Neither waits without a bound, nor leaves a zombie.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use zeroize::Zeroizing;

/// How long the end of the output is waited for after the program's own end. What it started may
/// live on with the pipe in hand, as an `ssh` does that keeps a connection for later. Complaints,
/// of which a part is better than nothing, are waited for a twentieth of that.
const LATE: Duration = Duration::from_secs(10);
/// The size of one read.
const PART: usize = 8192;
/// The number of reads that may follow each other before the deadline is looked at again.
const PARTS: usize = 16;
/// The memory that is reserved at once: output of this length is never copied to a larger place, so
/// no second copy of a secret stays in memory.
const ROOM: usize = 64 * 1024;

/// The result of a program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status, or the signal that ended it.
    pub status: ExitStatus,
    /// Its standard output, up to the limit. Wiped when dropped.
    pub output: Zeroizing<Vec<u8>>,
    /// True if its standard output was longer than that.
    pub is_cut: bool,
    /// Its standard error, up to the limit.
    pub errors: Zeroizing<Vec<u8>>,
}

/// The reason why a program has no result.
#[derive(Debug)]
pub enum Failure {
    /// The program cannot be started, or not be watched.
    NotStarted(io::Error),
    /// The program did not end in time.
    TimedOut,
    /// The program has ended so, and another one that it left running keeps its output open.
    OutputOpen(ExitStatus),
}

/// Runs a program in a process group of its own. It gets `input`, has to end within `limit`, and of
/// each of its two outputs at most `max` bytes are kept; the rest is read and dropped.
///
/// # Errors
/// [`Failure::TimedOut`] after the limit; the whole group is killed then. [`Failure::OutputOpen`]
/// if the output has no end: half of one is none.
pub fn run(
    command: &mut Command,
    input: &[u8],
    limit: Duration,
    max: usize,
) -> Result<Finished, Failure> {
    run_late(command, input, limit, max, LATE)
}

fn run_late(
    command: &mut Command,
    input: &[u8],
    limit: Duration,
    max: usize,
    late: Duration,
) -> Result<Finished, Failure> {
    let mut until = Instant::now() + limit;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.process_group(0).spawn().map_err(Failure::NotStarted)?;
    let mut group = Group { child, status: None };
    let not_watched = |errno: Errno| Failure::NotStarted(errno.into());
    let end = pidfd_open(Pid::from_child(&group.child), PidfdFlags::empty());
    let end = end.map_err(not_watched)?;
    let mut stdin = Input::new(group.child.stdin.take(), input).map_err(not_watched)?;
    let mut output = Kept::new(group.child.stdout.take(), max).map_err(not_watched)?;
    let mut errors = Kept::new(group.child.stderr.take(), max).map_err(not_watched)?;
    loop {
        stdin.write();
        output.read();
        errors.read();
        let now = Instant::now();
        if group.status.is_none() && group.has_ended().map_err(Failure::NotStarted)? {
            until = now + late;
        }
        if group.status.is_some() && output.fd.is_none() {
            until = until.min(now + late / 20);
        }
        let over = output.fd.is_none() && (errors.fd.is_none() || now >= until);
        if let (Some(status), true) = (group.status, over) {
            let (output, is_cut, errors) = (output.bytes, output.is_cut, errors.bytes);
            return Ok(Finished { status, output, is_cut, errors });
        }
        if now >= until {
            return Err(group.status.map_or(Failure::TimedOut, Failure::OutputOpen));
        }
        let read = |fd| Some((fd, PollFlags::IN));
        let waits = [
            stdin.fd.as_ref().map(|fd| (fd, PollFlags::OUT)),
            output.fd.as_ref().and_then(read),
            errors.fd.as_ref().and_then(read),
            Some(&end).filter(|_| group.status.is_none()).and_then(read),
        ];
        wait_for(&waits.map(|wait| wait.map(|(fd, what)| (fd.as_fd(), what))), until)
            .or_else(|errno| if errno == Errno::TIMEDOUT { Ok(()) } else { Err(errno) })
            .map_err(not_watched)?;
    }
}

/// A program and its process group. Both are killed when this is dropped, unless it has ended.
struct Group {
    child: Child,
    status: Option<ExitStatus>,
}

impl Group {
    /// Whether the program has ended.
    fn has_ended(&mut self) -> io::Result<bool> {
        self.status = self.child.try_wait()?;
        Ok(self.status.is_some())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The group of a program that has ended may be that of another one by now.
        if self.status.is_none() {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            // The program may have moved to another group.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The standard input of a program, until all is written.
struct Input<'a> {
    fd: Option<OwnedFd>,
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn new(pipe: Option<impl Into<OwnedFd>>, rest: &'a [u8]) -> Result<Input<'a>, Errno> {
        Ok(Input { fd: without_blocking(pipe)?, rest })
    }

    /// Writes as much as the pipe takes. A program that ends without reading it is no failure here:
    /// its own result says what happened.
    fn write(&mut self) {
        while let Some(fd) = &self.fd {
            match rustix::io::write(fd, self.rest) {
                _ if self.rest.is_empty() => self.fd = None,
                Ok(len) => self.rest = self.rest.get(len..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.fd = None,
            }
        }
    }
}

/// One of the outputs of a program, until its end is read.
struct Kept {
    fd: Option<OwnedFd>,
    bytes: Zeroizing<Vec<u8>>,
    max: usize,
    is_cut: bool,
}

impl Kept {
    fn new(pipe: Option<impl Into<OwnedFd>>, max: usize) -> Result<Kept, Errno> {
        let bytes = Zeroizing::new(Vec::with_capacity(max.min(ROOM)));
        Ok(Kept { fd: without_blocking(pipe)?, bytes, max, is_cut: false })
    }

    /// Reads what is there. Output beyond the limit is read too, because a program that cannot
    /// write does not end.
    fn read(&mut self) {
        let mut part = Zeroizing::new([0u8; PART]);
        for _ in 0..PARTS {
            let Some(fd) = &self.fd else { return };
            match rustix::io::read(fd, part.as_mut_slice()) {
                Ok(len @ 1..) => {
                    let fits = len.min(self.max - self.bytes.len());
                    self.is_cut |= fits < len;
                    self.bytes.extend_from_slice(part.get(..fits).unwrap_or_default());
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Ok(_) | Err(_) => self.fd = None,
            }
        }
    }
}

/// A running program and the pipes to it; each read and write has a deadline. It is killed when
/// this is dropped. It stays in the caller's process group, so that Ctrl-C ends both.
#[derive(Debug)]
pub struct Program {
    child: Child,
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
}

impl Program {
    /// Starts a program with a pipe from its standard output. The caller decides on the other two;
    /// a pipe to its standard input is that of [`Program::write_all`].
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(command: &mut Command) -> io::Result<Program> {
        let child = command.stdout(Stdio::piped()).spawn()?;
        let mut program = Program { child, input: None, output: None };
        program.input = without_blocking(program.child.stdin.take())?;
        program.output = without_blocking(program.child.stdout.take())?;
        Ok(program)
    }

    /// Writes all of `bytes` to its standard input.
    ///
    /// # Errors
    /// [`Errno::TIMEDOUT`] if the program does not take them before the deadline.
    pub fn write_all(&self, mut bytes: &[u8], until: Instant) -> Result<(), Errno> {
        let fd = self.input.as_ref().ok_or(Errno::PIPE)?;
        while !bytes.is_empty() {
            wait_for(&[Some((fd.as_fd(), PollFlags::OUT))], until)?;
            match rustix::io::write(fd, bytes) {
                Ok(len) => bytes = bytes.get(len..).unwrap_or_default(),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Reads from its standard output; 0 at the end.
    ///
    /// # Errors
    /// [`Errno::TIMEDOUT`] if nothing comes before the deadline.
    pub fn read(&self, part: &mut [u8], until: Instant) -> Result<usize, Errno> {
        let fd = self.output.as_ref().ok_or(Errno::PIPE)?;
        loop {
            wait_for(&[Some((fd.as_fd(), PollFlags::IN))], until)?;
            match rustix::io::read(fd, &mut *part) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                done => return done,
            }
        }
    }

    /// Waits for its end, and returns how it ended.
    ///
    /// # Errors
    /// [`Errno::TIMEDOUT`] if it does not end before the deadline.
    pub fn end(&mut self, until: Instant) -> Result<ExitStatus, Errno> {
        self.input = None;
        let end = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        wait_for(&[Some((end.as_fd(), PollFlags::IN))], until)?;
        let status = self.child.wait();
        status.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::CHILD))
    }

    /// Closes its standard input, so that it reads the end.
    pub fn close_input(&mut self) {
        self.input = None;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until one of the descriptors is ready.
fn wait_for(waits: &[Option<(BorrowedFd<'_>, PollFlags)>], until: Instant) -> Result<(), Errno> {
    let waits = waits.iter().flatten();
    let mut fds: Vec<PollFd<'_>> =
        waits.map(|(fd, what)| PollFd::from_borrowed_fd(*fd, *what)).collect();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut fds, Some(&left)) {
            Ok(0) => return Err(Errno::TIMEDOUT),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// This end of a pipe, so that a read or a write returns at once. The other end stays as it is.
fn without_blocking(pipe: Option<impl Into<OwnedFd>>) -> Result<Option<OwnedFd>, Errno> {
    let fd: Option<OwnedFd> = pipe.map(Into::into);
    if let Some(fd) = &fd {
        fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// Runs a script; returns its result and the time that it took.
    fn timed(script: &str, limit: Duration) -> (Result<Finished, Failure>, Duration) {
        let started = Instant::now();
        (run(&mut sh(script), b"", limit, 1 << 20), started.elapsed())
    }

    fn temp_file() -> std::path::PathBuf {
        let name = format!("zeta-command-{}", crate::host::random_hex().unwrap());
        std::env::temp_dir().join(name)
    }

    #[test]
    fn input_of_any_length_comes_back_as_output_and_complaints_apart() {
        let input = vec![b'x'; 1 << 20];
        let mut command = sh("cat; echo no >&2; exit 3");
        let finished = run(&mut command, &input, LONG, 2 << 20).unwrap();
        assert_eq!(finished.status.code(), Some(3));
        assert!(*finished.output == input && !finished.is_cut);
        assert_eq!(finished.errors.as_slice(), b"no\n");
    }

    #[test]
    fn a_program_that_reads_no_input_is_no_failure() {
        let finished = run(&mut sh("exit 0"), &[b'x'; 1 << 20], LONG, 100).unwrap();
        assert!(finished.status.success());
    }

    #[test]
    fn more_output_than_the_limit_is_cut_and_the_program_ends_all_the_same() {
        let finished = run(&mut sh("head -c 1000000 /dev/zero"), b"", LONG, 100).unwrap();
        assert!(finished.status.success() && finished.is_cut);
        assert_eq!((finished.output.len(), finished.errors.len()), (100, 0));
        let whole = run(&mut sh("head -c 100 /dev/zero"), b"", LONG, 100).unwrap();
        assert!(whole.output.len() == 100 && !whole.is_cut);
    }

    #[test]
    fn output_without_an_end_does_not_put_the_deadline_off() {
        let (ended, took) = timed("yes", Duration::from_millis(200));
        assert!(matches!(ended, Err(Failure::TimedOut)));
        assert!(took < LONG / 2, "{took:?}");
    }

    #[test]
    fn after_the_limit_the_whole_group_is_killed() {
        let file = temp_file();
        // The grandchild has closed the pipes, so only the signal can end it.
        let script = format!("sleep 600 >&- 2>&- & echo $! >{}; wait", file.display());
        let (ended, took) = timed(&script, Duration::from_secs(2));
        assert!(matches!(ended, Err(Failure::TimedOut)));
        assert!(took < LONG / 2, "{took:?}");
        let pid: u32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        std::fs::remove_file(file).unwrap();
        let alive = || crate::process::describe(pid).is_some_and(|(_, state)| state != 'Z');
        let until = Instant::now() + LONG;
        while alive() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!alive());
    }

    #[test]
    fn a_program_that_has_left_its_group_is_killed_too() {
        // It never had a group of its own, so none has its number.
        let child = sh("exec sleep 600").spawn().unwrap();
        let (pid, started) = (child.id(), Instant::now());
        drop(Group { child, status: None });
        assert!(started.elapsed() < LONG / 2, "{:?}", started.elapsed());
        assert!(crate::process::describe(pid).is_none());
    }

    /// Kills the process that a script left running, which proves that it lived on.
    fn kill_left(pid: &[u8]) {
        let pid = std::str::from_utf8(pid).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    #[test]
    fn what_a_program_leaves_running_with_its_complaints_is_not_waited_for() {
        let (ended, took) = timed("sleep 600 >&- & echo done; echo $! >&2", LONG);
        let finished = ended.unwrap();
        assert_eq!(finished.output.as_slice(), b"done\n");
        assert!(took >= LATE / 20 && took < LATE, "{took:?}");
        kill_left(&finished.errors);
    }

    #[test]
    fn half_of_an_output_is_none() {
        let file = temp_file();
        // The process that keeps the output open may still write into it.
        let script = format!("sleep 600 2>&- & echo $! >{}; echo half", file.display());
        let late = Duration::from_millis(200);
        let ended = run_late(&mut sh(&script), b"", LONG, 100, late);
        assert!(matches!(ended, Err(Failure::OutputOpen(status)) if status.success()));
        kill_left(&std::fs::read(&file).unwrap());
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn a_program_that_is_not_there_says_so() {
        let failed = run(&mut Command::new("/no/such/program"), b"", LONG, 1).unwrap_err();
        let Failure::NotStarted(error) = failed else { panic!("{failed:?}") };
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let failed = Program::start(&mut Command::new("/no/such/program")).unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_dialogue_has_a_deadline_for_each_step_and_an_end() {
        let mut program = Program::start(sh("cat").stdin(Stdio::piped())).unwrap();
        let mut part = [0; 16];
        let soon = Instant::now() + Duration::from_millis(30);
        assert_eq!(program.read(&mut part, soon), Err(Errno::TIMEDOUT));
        let later = Instant::now() + LONG;
        program.write_all(b"one", later).unwrap();
        assert_eq!(program.read(&mut part, later), Ok(3));
        program.close_input();
        assert_eq!(program.write_all(b"two", later), Err(Errno::PIPE));
        assert_eq!(program.read(&mut part, later), Ok(0));
        assert!(program.end(later).unwrap().success());
    }

    #[test]
    fn the_end_of_a_program_is_waited_for_until_a_deadline() {
        let later = Instant::now() + LONG;
        let mut program = Program::start(&mut sh("exit 3")).unwrap();
        assert_eq!(program.end(later).unwrap().code(), Some(3));
        let mut program = Program::start(&mut sh("exec sleep 600")).unwrap();
        let soon = Instant::now() + Duration::from_millis(30);
        assert_eq!(program.end(soon).unwrap_err(), Errno::TIMEDOUT);
    }

    #[test]
    fn a_dialogue_with_one_who_does_not_listen_ends_in_time_and_kills_it() {
        let program = Program::start(sh("exec sleep 600").stdin(Stdio::piped())).unwrap();
        let soon = Instant::now() + Duration::from_millis(30);
        assert_eq!(program.write_all(&[0; 1 << 20], soon), Err(Errno::TIMEDOUT));
        let pid = program.child.id();
        drop(program);
        assert!(crate::process::describe(pid).is_none());
    }
}
