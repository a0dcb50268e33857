//! A terminal of the test's own, at which programs ask.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::{LIMIT, wait_for, with_usual_signals};

/// Opens a new terminal: its controlling end, and the device for a program.
pub fn open_terminal() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let controller = openpt(flags).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let path = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap();
    let options = &mut File::options();
    let device = options.read(true).write(true).custom_flags(libc::O_NOCTTY).open(&path).unwrap();
    (controller, device.into())
}

/// A terminal whose controlling end the test holds, and a program that runs on it.
pub struct Terminal {
    controller: OwnedFd,
    device: OwnedFd,
    pub child: Child,
    pub shown: String,
    pub before: LocalModes,
}

impl Terminal {
    /// A program, in a session of its own whose terminal this is.
    pub fn run(inner: &Command) -> Terminal {
        let (controller, device) = open_terminal();
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(inner.get_program()).args(inner.get_args());
        if let Some(dir) = inner.get_current_dir() {
            command.current_dir(dir);
        }
        for (key, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        let end = || Stdio::from(device.try_clone().unwrap());
        let before = tcgetattr(&device).unwrap().local_modes;
        command.stdin(end()).stdout(end()).stderr(end());
        let child = with_usual_signals(&mut command).spawn().unwrap();
        Terminal { controller, device, child, shown: String::new(), before }
    }

    pub fn modes(&self) -> LocalModes {
        tcgetattr(&self.device).unwrap().local_modes
    }

    pub fn wait_for(&mut self, text: &str) {
        let end = Instant::now() + LIMIT;
        while !self.shown.contains(text) {
            assert!(Instant::now() < end, "{:?} never shows {text:?}", self.shown);
            self.listen(100);
        }
    }

    pub fn listen(&mut self, millis: i64) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let wait = Timespec { tv_sec: 0, tv_nsec: millis * 1_000_000 };
        let mut fds = [PollFd::new(&self.controller, PollFlags::IN)];
        if poll(&mut fds, Some(&wait)).unwrap() > 0 {
            let mut part = [0; 1024];
            let len = rustix::io::read(&self.controller, &mut part).unwrap_or(0);
            self.shown.push_str(&String::from_utf8_lossy(&part[..len]));
        }
    }

    /// Closes the terminal, as its window does; the program stays.
    pub fn hang_up(mut self) -> Child {
        let nothing = Command::new("true").spawn().unwrap();
        std::mem::replace(&mut self.child, nothing)
    }

    /// Changes its size, as the window does.
    pub fn resize(&self, size: Winsize) {
        tcsetwinsize(&self.controller, size).unwrap();
    }

    pub fn keys(&self, keys: &[u8]) {
        assert_eq!(rustix::io::write(self.controller.as_fd(), keys), Ok(keys.len()));
    }

    pub fn end(&mut self) -> Option<i32> {
        wait_for("the part ends", || {
            self.listen(5);
            self.child.try_wait().unwrap().is_some()
        });
        self.listen(20);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
