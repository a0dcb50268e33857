//! A terminal for a tool that is used by hand: it answers what tools ask a terminal, and keeps what
//! they show.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::Winsize;
use zeta_os::pty::{self, Controller};

use crate::Outcome;

/// What a tool asks its terminal, and the answer of a usual one: what it is, where the cursor is,
/// and its background.
const ANSWERS: [(&[u8], &[u8]); 3] = [
    (b"\x1b[c", b"\x1b[?62c"),
    (b"\x1b[6n", b"\x1b[1;1R"),
    (b"\x1b]11;?", b"\x1b]11;rgb:0000/0000/0000\x1b\\"),
];

/// The controlling end; what the tool shows goes into a file.
pub struct Screen(Arc<Controller>);

impl Screen {
    /// Starts a program in a session of its own, whose terminal this is.
    pub fn start(inner: &Command, shown: &Path) -> Outcome<(Screen, Child)> {
        let (controller, device) = pty::open()?;
        controller.resize(Winsize { ws_row: 50, ws_col: 160, ws_xpixel: 0, ws_ypixel: 0 });
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(inner.get_program()).args(inner.get_args());
        command.env_clear().current_dir(inner.get_current_dir().unwrap_or(Path::new("/")));
        let envs = inner.get_envs().filter_map(|(key, value)| Some((key, value?)));
        command.envs(envs).env("TERM", "xterm-256color");
        command.stdin(device.try_clone()?).stdout(device.try_clone()?).stderr(device);
        let child = command.spawn()?;
        let controller = Arc::new(controller);
        let (listened, shown) = (Arc::clone(&controller), File::create(shown)?);
        thread::spawn(move || listen(&listened, shown));
        Ok((Screen(controller), child))
    }

    /// Types keys.
    pub fn keys(&self, keys: &[u8]) -> Outcome<()> {
        self.0.write(keys)?;
        Ok(())
    }
}

/// Reads until the tool has closed its terminal.
fn listen(controller: &Controller, mut shown: File) {
    let mut part = [0; 65536];
    loop {
        let mut ready = [PollFd::new(controller, PollFlags::IN)];
        let wait = Timespec { tv_sec: 1, tv_nsec: 0 };
        if poll(&mut ready, Some(&wait)).is_ok_and(|count| count == 0) {
            continue;
        }
        let Ok(len @ 1..) = controller.read(&mut part) else { return };
        let part = &part[..len];
        // The file is for a reader of a failed scene.
        let _lost = shown.write_all(part);
        for (question, answer) in ANSWERS {
            if part.windows(question.len()).any(|bytes| bytes == question) {
                let _full = controller.write(answer);
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
}
