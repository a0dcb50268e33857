//! A descriptor that is readable from a moment of the boot clock on. That clock runs while the
//! machine sleeps, and the limit of a poll does not.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timer, which is not set at first.
#[derive(Debug)]
pub struct Timer {
    fd: Option<OwnedFd>,
    set_ns: Option<u64>,
}

impl Default for Timer {
    fn default() -> Timer {
        Timer::new()
    }
}

impl Timer {
    /// A timer, or one that never fires where the kernel gives none.
    pub fn new() -> Timer {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Timer { fd: timerfd_create(TimerfdClockId::Boottime, flags).ok(), set_ns: None }
    }

    /// Sets the moment from which on it is readable, in ns of the boot clock; `None` for never.
    pub fn set(&mut self, boot_ns: Option<u64>) {
        if self.set_ns == boot_ns {
            return;
        }
        self.set_ns = boot_ns;
        let Some(fd) = &self.fd else { return };
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        // A time of 0 would stop it.
        let at = boot_ns.map_or(none, |ns| Timespec {
            tv_sec: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: (ns % 1_000_000_000).max(1) as _,
        });
        let timer = Itimerspec { it_interval: none, it_value: at };
        let _ = timerfd_settime(fd, TimerfdTimerFlags::ABSTIME, &timer);
    }

    /// Its descriptor, if the kernel gave one.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::reading;
    use crate::inotify::poll_readable;
    use std::time::Duration;

    #[test]
    fn a_timer_is_readable_from_its_moment_on_and_not_before() {
        let mut timer = Timer::new();
        let readable = |timer: &Timer, ms| {
            poll_readable(&[timer.fd().unwrap()], Duration::from_millis(ms)) == [true]
        };
        assert!(!readable(&timer, 0));
        let soon_ns = reading().boot_ns + 50_000_000;
        timer.set(Some(soon_ns));
        assert!(readable(&timer, 30_000) && reading().boot_ns >= soon_ns);
        timer.set(None);
        assert!(!readable(&timer, 0));
        timer.set(Some(1));
        assert!(readable(&timer, 30_000));
    }
}
