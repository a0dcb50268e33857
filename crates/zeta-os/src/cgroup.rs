//! Control groups of version 2: the part of their tree that a service manager leaves to this
//! process, and groups in it that have limits and end as a whole.
//!
//! A process cannot leave its group by a fork, a new session or another parent. So the end of a
//! group is the end of all that was started in it.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::getxattr;
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::{mount, process};

/// The group of this process in a part that is left to it: none is in the part itself, because a
/// group with processes gives no controllers to the groups below it.
const SUPERVISOR: &str = "supervisor";
/// How a service manager marks a group that it leaves to the processes in it.
const MARKS: [&str; 2] = ["user.delegate", "trusted.delegate"];
/// The controllers of [`Limits`].
const CONTROLLERS: [&str; 2] = ["memory", "cpu"];
/// How long the removal of a group is tried.
const REMOVAL: Duration = Duration::from_secs(1);
/// How deep groups are followed.
const DEPTH_MAX: usize = 16;

/// The limits of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Most memory, in bytes; nothing of it is swapped out. Beyond it, all processes of the group
    /// are killed.
    pub memory_max: Option<u64>,
    /// Most CPU time, in percent of one core.
    pub cpu_quota: Option<u32>,
}

/// A part of the tree that is left to this process.
#[derive(Debug)]
pub struct Delegated {
    path: PathBuf,
    controllers: Vec<&'static str>,
}

/// A group that this process made. Dropping it ends nothing.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    procs: File,
    /// The limits that the kernel does not keep here.
    pub unheld: Vec<&'static str>,
}

impl Delegated {
    /// Finds the part that is left to this process, and moves this process into a group of its own
    /// there.
    ///
    /// # Errors
    /// A sentence for people: no part is left to it, or it cannot be used.
    pub fn enter() -> Result<Delegated, String> {
        let own = own_group().ok_or("this process is in no control group of version 2")?;
        let path = match own.file_name().is_some_and(|name| name == SUPERVISOR) {
            true => own.parent().unwrap_or(&own).to_owned(),
            false => own.clone(),
        };
        if !is_delegated(&path) {
            return Err(format!("the control group {} is not delegated", path.display()));
        }
        if own == path {
            let group = path.join(SUPERVISOR);
            let moved = make_dir(&group).and_then(|()| write(&group.join("cgroup.procs"), "0"));
            moved.map_err(|error| format!("cannot use {}: {error}", group.display()))?;
        }
        let offered = fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default();
        let is_offered = |name: &&&str| offered.split_ascii_whitespace().any(|one| one == **name);
        let switch_on =
            |name: &&&str| write(&path.join("cgroup.subtree_control"), &format!("+{name}")).is_ok();
        let controllers = CONTROLLERS.iter().filter(is_offered).filter(switch_on).copied();
        Ok(Delegated { controllers: controllers.collect(), path: path.clone() })
    }

    /// Makes a group with limits. What an earlier group of this name left is ended.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn make(&self, name: &str, limits: &Limits) -> io::Result<Group> {
        let path = self.path.join(name);
        if path.exists() {
            end(&path, REMOVAL);
            remove(&path)?;
        }
        fs::create_dir(&path)?;
        let procs = File::options().write(true).open(path.join("cgroup.procs"))?;
        let mut unheld = Vec::new();
        if let Some(bytes) = limits.memory_max {
            let is_set = self.controllers.contains(&"memory")
                && write(&path.join("memory.max"), &bytes.to_string()).is_ok();
            if is_set {
                // Neither is there in each kernel.
                let _ = write(&path.join("memory.swap.max"), "0");
                let _ = write(&path.join("memory.oom.group"), "1");
            } else {
                unheld.push("memory_max");
            }
        }
        if let Some(percent) = limits.cpu_quota {
            let quota = format!("{} 100000", u64::from(percent) * 1000);
            let is_set =
                self.controllers.contains(&"cpu") && write(&path.join("cpu.max"), &quota).is_ok();
            if !is_set {
                unheld.push("cpu_quota");
            }
        }
        Ok(Group { path, procs, unheld })
    }
}

impl Group {
    /// Makes a program begin in this group, before its first instruction.
    pub fn join(&self, command: &mut Command) {
        let procs = self.procs.as_raw_fd();
        let join = move || {
            // SAFETY: an async-signal-safe call on memory that lives; the number is that of a
            // descriptor which is open until the program was started, or the call fails.
            match unsafe { libc::write(procs, c"0".as_ptr().cast(), 1) } {
                1 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        // SAFETY: what runs in the child is async-signal-safe and takes no memory.
        unsafe { command.pre_exec(join) };
    }

    /// Returns how many processes of the group were killed because it had too much memory.
    pub fn memory_kills(&self) -> u64 {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
        kills.unwrap_or(0)
    }

    /// Kills all processes of the group; true if none is left within `limit`.
    pub fn end(&self, limit: Duration) -> bool {
        end(&self.path, limit)
    }

    /// Removes the group, which must be empty.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn remove(self) -> io::Result<()> {
        remove(&self.path)
    }
}

/// The directory of the group that this process is in.
fn own_group() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mount = mount::of_type("cgroup2")?;
    let below = Path::new(own).strip_prefix(&mount.root).ok()?;
    // What is above the mount has no directory here.
    let is_above = below.components().any(|part| part == std::path::Component::ParentDir);
    let path = mount.point.join(below);
    (!is_above && path.is_dir()).then_some(path)
}

/// Returns whether a service manager left a group to this process: by its mark, or because it gave
/// the group to this user.
fn is_delegated(path: &Path) -> bool {
    let has_mark = |mark: &&str| {
        let mut value = [0u8; 8];
        getxattr(path, *mark, &mut value).is_ok_and(|len| value.get(..len) == Some(b"1"))
    };
    let user = geteuid();
    let is_own =
        || !user.is_root() && fs::metadata(path).is_ok_and(|found| found.uid() == user.as_raw());
    MARKS.iter().any(has_mark) || is_own()
}

fn make_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    File::options().write(true).open(path)?.write_all(text.as_bytes())
}

fn end(path: &Path, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    let Ok(mut events) = File::open(path.join("cgroup.events")) else { return !path.exists() };
    loop {
        // Not in each kernel, and a group may be made while the others are killed.
        if write(&path.join("cgroup.kill"), "1").is_err() {
            kill_each(path, DEPTH_MAX);
        }
        let mut text = String::new();
        let read = events.rewind().and_then(|()| events.read_to_string(&mut text));
        if read.is_err() || text.lines().any(|line| line == "populated 0") {
            return true;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        // It is a hint: the file says what is so.
        let nap =
            Timespec { tv_sec: 0, tv_nsec: left.min(Duration::from_millis(20)).as_nanos() as _ };
        match poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&nap)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Kills the processes of a group and of those below it, one after the other.
fn kill_each(path: &Path, depth: usize) {
    let listed = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    for pid in listed.lines().filter_map(|line| line.parse().ok()) {
        let _ = process::kill(&process::identify(pid));
    }
    if depth > 0 {
        below(path).for_each(|group| kill_each(&group, depth - 1));
    }
}

/// The groups below a group.
fn below(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path())
}

fn remove(path: &Path) -> io::Result<()> {
    let until = Instant::now() + REMOVAL;
    loop {
        match remove_once(path, DEPTH_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

fn remove_once(path: &Path, depth: usize) -> io::Result<()> {
    if depth > 0 {
        below(path).try_for_each(|group| remove_once(&group, depth - 1))?;
    }
    fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{XattrFlags, setxattr};

    /// A group of this test, as a service manager would delegate one; none where none can be made.
    fn delegated() -> Option<PathBuf> {
        let mount = mount::of_type("cgroup2")?;
        let name = format!("zeta-cgroup-{}", crate::host::random_hex().unwrap());
        let path = mount.point.join(name);
        fs::create_dir(&path).ok()?;
        match setxattr(&path, "user.delegate", b"1", XattrFlags::empty()) {
            Ok(()) => Some(path),
            Err(_) => fs::remove_dir(&path).map(|()| None).unwrap(),
        }
    }

    #[test]
    fn all_that_was_started_in_a_group_ends_with_it() {
        let Some(path) = delegated() else {
            eprintln!("SKIPPED: cgroup::tests: no control group can be made here");
            return;
        };
        assert!(is_delegated(&path));
        let part = Delegated { path: path.clone(), controllers: Vec::new() };
        let limits = Limits { memory_max: Some(1 << 20), cpu_quota: None };
        let group = part.make("tick", &limits).unwrap();
        assert_eq!(group.unheld, ["memory_max"]);
        let mut shell = Command::new("sh");
        shell.args(["-c", "setsid sh -c 'sleep 600 & sleep 600' & mkdir $0/in; echo ready; wait"]);
        shell.arg(path.join("tick")).stdout(std::process::Stdio::piped());
        group.join(&mut shell);
        let mut child = shell.spawn().unwrap();
        let mut ready = [0; 5];
        child.stdout.take().unwrap().read_exact(&mut ready).unwrap();
        assert!(group.end(Duration::from_secs(30)));
        assert!(child.wait().unwrap().code().is_none());
        assert_eq!(group.memory_kills(), 0);
        // A group that an earlier process left is ended, too.
        let mut other = Command::new("sleep");
        group.join(other.arg("600"));
        let mut other = other.spawn().unwrap();
        let group = part.make("tick", &Limits::default()).unwrap();
        assert!(other.wait().unwrap().code().is_none());
        group.remove().unwrap();
        remove(&path).unwrap();
        assert!(!is_delegated(&path));
    }
}
