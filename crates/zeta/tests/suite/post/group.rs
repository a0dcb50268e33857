//! A post in a control group that is left to it, as a service with `Delegate=yes` has one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{XattrFlags, setxattr};

use super::{Guard, Post, is_alive};
use crate::support::{LIMIT, skip, test_name, until};

/// A group that this test made; it is removed at the end.
struct Part(PathBuf);

impl Part {
    /// None where this machine lets no test make one; that is said.
    fn new(test: &str) -> Option<Part> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ');
            let point = fields.nth(1)?;
            (fields.next() == Some("cgroup2")).then(|| PathBuf::from(point))
        });
        let Some(mount) = mount else {
            skip(test, "there is no control group of version 2");
            return None;
        };
        let path = mount.join(format!("zeta-post-{}", std::process::id()));
        if let Err(error) = fs::create_dir(&path) {
            skip(test, &format!("cannot make a control group: {error}"));
            return None;
        }
        // Those that a service would get.
        for name in ["memory", "cpu"] {
            let _ = fs::write(mount.join("cgroup.subtree_control"), format!("+{name}"));
        }
        setxattr(&path, "user.delegate", b"1", XattrFlags::empty()).unwrap();
        Some(Part(path))
    }

    fn has(&self, controller: &str) -> bool {
        let text = fs::read_to_string(self.0.join("cgroup.controllers")).unwrap();
        text.split_whitespace().any(|name| name == controller)
    }

    /// Starts a post that is in the group from its first instruction.
    fn start(&self, guard: &Guard) -> Post {
        let call = guard.cmd(&["run", "1"]);
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ >\"$0/cgroup.procs\"; exec \"$@\""]).arg(&self.0);
        command.arg(call.get_program()).args(call.get_args());
        for (key, value) in call.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        Post::of(&mut command, guard.notes_path(1))
    }

    fn procs(&self, group: &str) -> String {
        fs::read_to_string(self.0.join(group).join("cgroup.procs")).unwrap_or_default()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        let gone = |dir: &Path| until(LIMIT, || fs::remove_dir(dir).is_ok() || !dir.exists());
        for dir in [self.0.join("tick"), self.0.join("supervisor"), self.0.clone()] {
            gone(&dir);
        }
    }
}

#[test]
fn each_tick_has_a_group_of_its_own_that_ends_with_it() {
    let Some(part) = Part::new(test_name!()) else { return };
    let guard = Guard::new(1, "every = \"10m\"").only("otto");
    guard.set("a", "children");
    let post = part.start(&guard);
    guard.wait_report(1, |report| report["outcome"] == "ok");
    assert!(part.procs("supervisor").contains(&post.0.id().to_string()));
    let alive: Vec<u32> = guard.children().into_iter().filter(|pid| is_alive(*pid)).collect();
    assert_eq!(alive, Vec::<u32>::new());
    assert!(until(LIMIT, || !part.0.join("tick").exists()));
    assert_eq!(post.end(), 0, "{}", guard.notes(1));
    assert!(!guard.notes(1).contains("process by process"), "{}", guard.notes(1));
    guard.check_end();
}

#[test]
fn a_killed_supervisor_leaves_a_group_that_the_next_one_ends() {
    let Some(part) = Part::new(test_name!()) else { return };
    let guard = Guard::new(1, "limit = \"60s\"").only("otto");
    guard.set("a", "hang");
    let post = part.start(&guard);
    guard.wait_for("hangs", 1);
    let in_tick = part.procs("tick");
    assert!(in_tick.lines().count() >= 4, "lease exec, run, the agent, sleep: {in_tick}");
    post.kill();
    guard.set("a", "");
    let post = part.start(&guard);
    guard.wait_for("end a otto 1 0", 1);
    assert!(in_tick.lines().all(|pid| !is_alive(pid.parse().unwrap())), "{in_tick}");
    assert_eq!(post.end(), 0);
    guard.check_end();
}

#[test]
fn a_tick_that_takes_too_much_memory_is_killed_and_counts_as_failing() {
    let Some(part) = Part::new(test_name!()) else { return };
    let guard = Guard::new(1, "").only("otto");
    let ticks = "memory_max = \"64M\"\ncpu_quota = \"50%\"\nevery = \"100ms\"";
    guard.write_posts(1, ticks, "");
    let agent =
        "#!/bin/sh\necho begin >>\"$(dirname \"$0\")/log\"\nhead -c 512M /dev/zero | tail\n";
    super::write_program(&guard.agent(), agent);
    if !part.has("memory") {
        skip(test_name!(), "the kernel has its memory controller in version 1: a limit is not set");
        super::write_program(&guard.agent(), "#!/bin/sh\necho begin >>\"$(dirname \"$0\")/log\"\n");
        let post = part.start(&guard);
        guard.wait_for("begin", 2);
        let notes = guard.notes(1);
        assert_eq!(notes.matches("no limit holds: memory_max").count(), 1, "{notes}");
        assert_eq!(post.end(), 0);
        return;
    }
    let post = part.start(&guard);
    let report = guard.wait_report(1, |report| report["cut"] == "memory");
    assert_eq!(report["outcome"], "failed");
    assert!(guard.notes(1).contains("it took more memory than its limit"), "{}", guard.notes(1));
    assert_eq!(post.end(), 0);
    guard.check_end();
}
