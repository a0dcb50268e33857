//! Calls that are killed: at each line of the journal, before and after each tool, and with all
//! that they started at any moment.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::rig::{Rig, cache, can_run, long};
use crate::support::{run, test_name};

const CONSENT: [&str; 2] = ["--answer", "wipe=wipe D0"];
/// More calls than lines, tools or cuts that a test makes.
const CALLS: usize = 200;

fn rig() -> Rig {
    let rig = Rig::new(&[320, 64]);
    rig.fill(1);
    rig.manifest(&cache(), "");
    rig
}

/// What ended the calls of a run.
#[derive(PartialEq)]
enum By {
    /// A signal, at a known step.
    Signal,
    /// The end of all processes at once, at any moment.
    Power,
}

/// The end is the same for each way that leads there.
fn assert_installed(rig: &Rig, untouched: &str, by: By) {
    assert_eq!(&rig.hash(1), untouched, "another disk changed");
    let journal = rig.journal();
    assert!(journal.ends_with("\"event\":\"finished\"}\n"), "{journal}");
    let seen = rig.mounted(
        "mount -t ext4 ${D}p2 . && cd \"$PWD\" && e=etc/zeta && test -s $e/cluster-node-id && \
         head -c 3 $e/initial-hashedpassword && test -d $e/.git && \
         readlink nix/var/nix/profiles/system && find . -name '*zeta-install*' && \
         grep -c '\"event\":\"finished\"' var/lib/zeta/install/journal",
    );
    assert_eq!(seen, "$6$system-1-link\n1\n");
    for part in ["p2", "p3"] {
        let device = format!("{}{part}", rig.disks[0].0);
        let checked = run(Command::new("e2fsck").args(["-n", "-f", &device]));
        assert_eq!(checked.status, 0, "{part}: {checked:?}");
    }
    // A step that is done is never repeated, and what a cut left whole is not made again.
    let done = fs::read_to_string(rig.dir.join("rig.done")).unwrap();
    for made in [
        "0 sgdisk --clear",
        "0 mkfs.vfat",
        "0 mkfs.ext4 -F -q -L nixos",
        "0 mkfs.ext4 -F -q -L longhorn1",
    ] {
        // A cut may come after a tool has ended, and before the rig has noted that.
        let times = done.lines().filter(|line| line.starts_with(made)).count();
        assert!(times == 1 || times == 0 && by == By::Power, "{made}: {times} times: {done}");
    }
    let done: Vec<&str> = journal.lines().filter(|line| line.contains("\"done\"")).collect();
    for step in ["wipe", "partition", "format"] {
        let step = format!("\"step\":\"{step}\"");
        assert_eq!(done.iter().filter(|line| line.contains(&step)).count(), 1, "{step}");
    }
}

#[test]
fn a_run_that_is_killed_before_and_after_each_tool_goes_on_to_the_same_end() {
    if !can_run(test_name!()) {
        return;
    }
    let rig = rig();
    let untouched = rig.hash(1);
    fs::create_dir(rig.dir.join("rig.kills")).unwrap();
    let mut kills = 0;
    for _ in 0..CALLS {
        let out = rig.call("run", &CONSENT);
        match out.status {
            0 => break,
            137 => kills += 1,
            _ => panic!("after {kills} kills: {out:?}\n{}", rig.journal()),
        }
    }
    let killed = fs::read_to_string(rig.dir.join("rig.killed")).unwrap();
    assert!(kills >= 20, "only {kills} kills: {killed}");
    for tool in ["wipefs", "sgdisk", "partprobe", "mkfs.vfat", "mkfs.ext4", "git", "mkpasswd"] {
        assert!(killed.contains(&format!("before {tool}")), "{tool}: {killed}");
        assert!(killed.contains(&format!("after {tool}")), "{tool}: {killed}");
    }
    assert_installed(&rig, &untouched, By::Signal);
}

#[test]
fn a_run_that_is_killed_at_each_line_of_its_journal_goes_on_to_the_same_end() {
    if !can_run(test_name!()) {
        return;
    }
    let rig = rig();
    let untouched = rig.hash(1);
    let (mut kills, mut before, mut when) = (0, 0, 1);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..CALLS {
        let inject = format!("inject=fdatasync:signal=KILL:when={when}");
        let strace = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", &inject];
        let out = long(&mut rig.by(&strace, "run", &CONSENT));
        match out.status {
            0 => break,
            137 => kills += 1,
            _ => panic!("after {kills} kills: {out:?}\n{}", rig.journal()),
        }
        let journal = rig.journal();
        let lines = journal.lines().count();
        assert!(lines > before, "no line more: {out:?}");
        before = lines;
        // The same line again: the next call may write one more.
        let (_, event) = journal.lines().last().unwrap().split_once("\"event\"").unwrap();
        when = if seen.insert(event.to_owned()) { 1 } else { when + 1 };
    }
    assert!(seen.len() >= 37, "killed only at {seen:?}");
    assert!(kills >= seen.len());
    assert_installed(&rig, &untouched, By::Signal);
}

#[test]
fn what_a_disk_did_not_take_is_not_done() {
    if !can_run(test_name!()) {
        return;
    }
    let rig = rig();
    let untouched = rig.hash(1);
    let inject = "inject=syncfs:error=EIO:when=3";
    let strace = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=syncfs", "-e", inject];
    let failed = long(&mut rig.by(&strace, "run", &CONSENT));
    assert!(failed.status == 1 && failed.err.contains("cannot flush"), "{failed:?}");
    let last = rig.journal().lines().last().unwrap_or_default().to_owned();
    assert!(last.contains("\"failed\""), "{last}");
    let finished = rig.call("run", &CONSENT);
    assert_eq!(finished.status, 0, "{finished:?}");
    assert_installed(&rig, &untouched, By::Signal);
}

#[test]
fn a_tool_that_outlives_its_killed_caller_keeps_other_calls_out() {
    if !can_run(test_name!()) {
        return;
    }
    let rig = rig();
    let untouched = rig.hash(1);
    let path = rig.dir.join("bin/mkpasswd");
    let real = fs::read_to_string(&path).unwrap();
    let go = rig.dir.join("go");
    // It kills its caller, and works on until it may end.
    let slow = format!(
        "#!/bin/sh\nkill -KILL $PPID\nfor i in $(seq 600); do\n[ -e {} ] && exit 0\nsleep 0.1\n\
         done\n",
        go.display()
    );
    fs::write(&path, slow).unwrap();
    let killed = long(&mut rig.plain("run", &CONSENT));
    assert_eq!(killed.status, 137, "{killed:?}");
    fs::write(&path, real).unwrap();
    let refused = rig.call("run", &CONSENT);
    assert!(refused.status == 3 && refused.err.contains("a tool of one, holds"), "{refused:?}");
    fs::write(go, "").unwrap();
    let finished = rig.call("run", &CONSENT);
    assert_eq!(finished.status, 0, "{finished:?}");
    assert_installed(&rig, &untouched, By::Signal);
}

#[test]
fn power_cuts_at_any_moment_lead_to_the_same_end() {
    if !can_run(test_name!()) {
        return;
    }
    let seed = std::env::var("ZETA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("ZETA_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let rig = rig();
    let untouched = rig.hash(1);
    let mut cuts = 0;
    for call in 0..CALLS {
        let mut child = rig
            .command("run", &CONSENT)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The later calls get longer, so that there is an end on a slow machine, too.
        std::thread::sleep(Duration::from_millis(random.u64(50..400) + 20 * call as u64));
        let ended = child.try_wait().unwrap();
        if ended.is_none() {
            child.kill().unwrap();
            cuts += 1;
        }
        let out = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        match out.status.code() {
            Some(0) => break,
            None => rig.restart(),
            // The kernel may still close what a process had open that was killed.
            Some(3 | 1) if said.contains("busy") || said.contains("holds") => {}
            Some(_) => panic!("after {cuts} cuts: {said}\n{}", rig.journal()),
        }
    }
    assert!(cuts > 0, "no call was cut off");
    println!("{cuts} cuts");
    assert_installed(&rig, &untouched, By::Power);
}
