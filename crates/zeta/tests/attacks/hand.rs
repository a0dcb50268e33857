//! Attackers that are programs: a forked process under another user that does one thing until it is
//! killed. The only unsafe code of these tests.

use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::arena::is_root;

/// A forked process, killed when it is dropped.
pub struct Hand {
    pub pid: i32,
}

/// Forks; the child becomes `uid` and `gid`, runs `work` and then sleeps until it is killed.
/// Returns when `work` is done, or at once if `busy`.
pub fn fork(uid: u32, gid: u32, busy: bool, work: impl FnOnce()) -> Hand {
    let (reader, writer) = std::io::pipe().unwrap();
    // SAFETY: the child uses no lock of another thread but the allocator's, which libc hands on.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        become_user(uid, gid);
        // SAFETY: plain system calls on this process alone. Pipes of other tests must not stay open
        // here: those tests wait for their end.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::dup2(writer.as_raw_fd(), 3);
            libc::syscall(libc::SYS_close_range, 4, u32::MAX, 0);
        }
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        // SAFETY: the descriptor belongs to this process, and no other code uses it.
        unsafe { libc::close(3) };
        loop {
            std::thread::sleep(std::time::Duration::from_secs(60));
        }
    }
    drop(writer);
    if !busy {
        // The end of the pipe says that the work is done.
        let _ = std::io::Read::read(&mut &reader, &mut [0]);
    }
    Hand { pid }
}

impl Hand {
    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: our own child, not reaped before the drop.
        unsafe { libc::kill(self.pid, signal) };
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
        // SAFETY: as above.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

fn become_user(uid: u32, gid: u32) {
    if !is_root() {
        return;
    }
    // SAFETY: plain system calls on this process, which has one thread.
    let done = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0
            && libc::setresgid(gid, gid, gid) == 0
            && libc::setresuid(uid, uid, uid) == 0
    };
    if !done {
        std::process::abort();
    }
}

/// Names the calling process, as in `ps`.
pub fn rename_self(name: &std::ffi::CStr) {
    // SAFETY: a string that ends.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Takes a lease of the kernel's kind on an open file; false if that is not allowed.
pub fn file_lease(file: &std::fs::File, kind: i32) -> bool {
    // SAFETY: plain system calls; a break of the lease sends SIGIO, which must not end this
    // process.
    unsafe {
        libc::signal(libc::SIGIO, libc::SIG_IGN);
        libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) == 0
    }
}

/// Lets a command start in namespaces of its own, in which its user is root if `mapped`.
pub fn unshare(command: &mut Command, flags: i32, mapped: bool) -> &mut Command {
    unshare_as(command, flags, if mapped { Some(Inside::Root) } else { None })
}

/// The number that a user has in a user namespace.
#[derive(Debug, Clone, Copy)]
pub enum Inside {
    Root,
    Same,
}

/// As [`unshare`]; without a number, its user has none there.
pub fn unshare_as(command: &mut Command, flags: i32, inside: Option<Inside>) -> &mut Command {
    // SAFETY: between fork and exec only system calls and small writes are made.
    unsafe {
        command.pre_exec(move || {
            let (uid, gid) = (libc::getuid(), libc::getgid());
            // Only after this does a process that changed its user own its /proc.
            libc::prctl(libc::PR_SET_DUMPABLE, 1);
            let none = std::ptr::null();
            let private = libc::MS_REC | libc::MS_PRIVATE;
            let done = libc::unshare(flags) == 0
                && (flags != libc::CLONE_NEWNS
                    || libc::mount(none, c"/".as_ptr(), none, private, none.cast()) == 0);
            if !done {
                return Err(std::io::Error::last_os_error());
            }
            if let Some(inside) = inside {
                let number = |id| if matches!(inside, Inside::Root) { 0 } else { id };
                std::fs::write("/proc/self/setgroups", "deny")?;
                std::fs::write("/proc/self/uid_map", format!("{} {uid} 1", number(uid)))?;
                std::fs::write("/proc/self/gid_map", format!("{} {gid} 1", number(gid)))?;
            }
            Ok(())
        })
    }
}

/// Sets this process's environment; only in a forked hand, which has one thread.
pub fn set_env(key: &str, value: &str) {
    // SAFETY: no other thread reads the environment meanwhile.
    unsafe { std::env::set_var(key, value) };
}

/// Makes inotify instances until the user has no more; how many.
pub fn exhaust_inotify() -> usize {
    let mut made = 0;
    // SAFETY: plain system calls.
    unsafe {
        let limit = libc::rlimit { rlim_cur: 65_536, rlim_max: 65_536 };
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        while libc::inotify_init1(0) >= 0 {
            made += 1;
        }
    }
    made
}

/// Lets a command start as a user for whom /proc shows his own processes only; called by root.
pub fn hide_proc(command: &mut Command, uid: u32, gid: u32) -> &mut Command {
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(move || {
            let none = std::ptr::null();
            let (proc, at, options) = (c"proc".as_ptr(), c"/proc".as_ptr(), c"hidepid=2".as_ptr());
            let private = libc::MS_REC | libc::MS_PRIVATE;
            let done = libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(none, c"/".as_ptr(), none, private, none.cast()) == 0
                && libc::mount(proc, at, proc, 0, options.cast()) == 0
                && libc::setgroups(0, none.cast()) == 0
                && libc::setresgid(gid, gid, gid) == 0
                && libc::setresuid(uid, uid, uid) == 0;
            if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        })
    }
}

/// Lets a command start with a umask.
pub fn umask(command: &mut Command, mask: u32) -> &mut Command {
    // SAFETY: one plain system call between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::umask(mask);
            Ok(())
        })
    }
}
