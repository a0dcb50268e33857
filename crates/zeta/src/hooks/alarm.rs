//! The ends of a hook that nothing else brings about: after two seconds, and after a panic. Both
//! end with status 0, so that the tool goes on.

use std::time::Duration;

/// How long a hook may take.
const LIMIT: Duration = Duration::from_secs(2);
/// Enough for a thread that sleeps and prints one line.
const STACK_BYTES: usize = 64 * 1024;

/// Sets both.
pub(super) fn set() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or(String::new(), |at| format!(" ({at})"));
        super::note(&format!("this is a bug, and the tool goes on: zeta panicked{place}"));
        std::process::exit(0);
    }));
    // Without a thread there is no limit but the tool's own.
    let _ = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(|| {
        std::thread::sleep(LIMIT);
        super::note("no answer after 2 s, and the tool goes on");
        std::process::exit(0);
    });
}
