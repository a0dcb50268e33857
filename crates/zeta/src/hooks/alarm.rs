//! The ends of a hook that nothing else brings about: after two seconds, and after a panic. Both
//! end with status 0, so that the tool goes on. What a hook has ready is printed at the end of the
//! time, too: a look for mail that takes long costs no greeting.

use std::io::Write as _;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a hook may take.
const LIMIT: Duration = Duration::from_secs(2);
/// Enough for a thread that sleeps and prints two lines.
const STACK_BYTES: usize = 64 * 1024;

/// What a pipe takes at once if it is ready.
const PAGE_BYTES: usize = 4096;

/// The line that is ready, until another one is printed in its place.
static READY: Mutex<Option<String>> = Mutex::new(None);

/// Sets both ends.
pub(super) fn set() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or(String::new(), |at| format!(" ({at})"));
        super::note(&format!("this is a bug, and the tool goes on: zeta panicked{place}"));
        std::process::exit(0);
    }));
    // Without a thread there is no limit but the tool's own.
    let _ = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(|| {
        std::thread::sleep(LIMIT);
        // It is held until the end, so that nothing is printed behind the line. If it is taken, the
        // answer is being printed.
        let ready = READY.try_lock();
        match ready.as_ref().ok().and_then(|ready| ready.as_ref()) {
            Some(line) => {
                write_at_once(std::io::stdout(), line);
                super::note("not complete after 2 s, and the tool goes on");
            }
            None => super::note("no answer after 2 s, and the tool goes on"),
        }
        std::process::exit(0);
    });
}

/// Keeps a line that is printed at the end of the time, if none is until then.
pub(super) fn ready(line: Option<String>) {
    *READY.lock().unwrap_or_else(PoisonError::into_inner) = line;
}

/// Prints the whole answer, in place of the line that is ready.
pub(super) fn print(line: Option<&str>) -> std::io::Result<()> {
    let mut ready = READY.lock().unwrap_or_else(PoisonError::into_inner);
    *ready = None;
    line.map_or(Ok(()), |line| std::io::stdout().lock().write_all(line.as_bytes()))
}

/// Writes a line if it is taken at once, and leaves it out otherwise: a hook waits for no reader.
pub(super) fn write_at_once(to: impl AsFd, line: &str) {
    let mut ready = [PollFd::new(&to, PollFlags::OUT)];
    // A pipe that is ready has room for a page, so the write of no more does not block.
    if line.len() <= PAGE_BYTES && poll(&mut ready, Some(&Timespec::default())) == Ok(1) {
        let _ = rustix::io::write(&to, line.as_bytes());
    }
}
