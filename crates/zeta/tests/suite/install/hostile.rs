//! Disks, sticks and calls that are not as an installation expects them. Each is refused before a
//! byte of a disk changes, or does no harm.

use std::fs;
use std::os::unix::fs::{FileExt as _, symlink};
use std::process::Command;

use super::rig::{Rig, cache, can_run, long};
use crate::flash::luks;
use crate::support::{Out, run, test_name};

const CONSENT: [&str; 2] = ["--answer", "wipe=wipe D0"];

fn rig(lens: &[u64], more: &str) -> Rig {
    let rig = Rig::new(lens);
    rig.manifest(&cache(), more);
    rig
}

/// Puts a node on a disk: its name, and what else a script writes in its root directory.
fn put_node(rig: &Rig, at: usize, name: &str, script: &str) {
    let (device, _, _) = &rig.disks[at];
    rig.mounted(&format!(
        "sgdisk --clear --new=1:2048:+48M {device} >&2 && partprobe {device} && \
         mkfs.ext4 -q -F -L nixos {device}p1 && mount -t ext4 {device}p1 . && cd \"$PWD\" && \
         mkdir -p etc/zeta etc/ssh && echo {name} > etc/zeta/cluster-node-id\n{script}"
    ));
}

/// Writes to the file of a disk, and lets the kernel forget what it read of it.
fn put(rig: &Rig, at: usize, parts: &[(u64, &[u8])]) {
    let (device, _, path) = &rig.disks[at];
    let file = fs::File::options().write(true).open(path).unwrap();
    parts.iter().for_each(|(offset, bytes)| file.write_all_at(bytes, *offset).unwrap());
    assert_eq!(run(Command::new("blockdev").args(["--flushbufs", device])).status, 0);
}

fn is_refused(rig: &Rig, out: &Out, before: &[String], words: &str) {
    assert!([2, 3, 7].contains(&out.status), "{words}: {out:?}");
    assert!(out.err.contains(words), "{words:?}: {out:?}");
    let after: Vec<String> = (0..before.len()).map(|at| rig.hash(at)).collect();
    assert_eq!(after, before, "{words}");
}

#[test]
fn a_part_of_something_larger_is_refused_whatever_the_listing_says() {
    if !can_run(test_name!()) {
        return;
    }
    let rig = rig(&[320, 64], "");
    put(&rig, 0, &[(0, &luks())]);
    is_refused(&rig, &rig.call("run", &CONSENT), &[rig.hash(0)], "crypto_LUKS");
    // On a partition, too.
    put(&rig, 0, &[(0, &[0; 4096])]);
    rig.mounted("sgdisk --clear --new=1:2048:+48M $D >&2 && partprobe $D");
    put(&rig, 0, &[(1 << 20, &luks())]);
    is_refused(&rig, &rig.call("run", &CONSENT), &[rig.hash(0)], "crypto_LUKS");
    // Of a table that was lost, the copy at the end is left, and all that is between.
    assert_eq!(run(Command::new("partx").args(["--delete", &rig.disks[0].0])).status, 0);
    put(&rig, 0, &[(0, &[0; 20480])]);
    is_refused(&rig, &rig.call("run", &CONSENT), &[rig.hash(0)], "wipefs finds this: gpt");
}

#[test]
fn a_table_that_the_kernel_did_not_read_hides_no_node() {
    if !can_run(test_name!()) {
        return;
    }
    let rig = rig(&[320], "");
    put_node(&rig, 0, "kestrel", "");
    let forgotten = run(Command::new("partx").args(["--delete", &rig.disks[0].0]));
    assert_eq!(forgotten.status, 0, "{forgotten:?}");
    let before = [rig.hash(0)];
    is_refused(&rig, &rig.call("run", &CONSENT), &before, "partprobe");
    rig.restart();
    is_refused(&rig, &rig.call("run", &CONSENT), &before, "wipe D0 kestrel");
}

#[test]
fn a_consent_counts_only_for_what_was_there_when_it_was_given() {
    if !can_run(test_name!()) {
        return;
    }
    let rig = rig(&[320], "");
    // Another program makes a file system while the checks run.
    let script = format!(
        "#!/bin/sh\nPATH=${{PATH#*:}}\n[ -e {0} ] || mkfs.ext4 -q -F {1}\n: > {0}\n\
         exec curl \"$@\"\n",
        rig.dir.join("made").display(),
        rig.disks[0].0
    );
    super::rig::program(&rig.dir.join("bin/curl"), &script);
    let out = rig.call("run", &[&CONSENT[..], &["--json"]].concat());
    assert_eq!(out.status, 3, "{out:?}");
    assert!(out.out.contains("changed_since_consent"), "{out:?}");
    assert!(rig.blkid(&rig.disks[0].0).contains("TYPE=ext4"), "the disk was wiped");
}

#[test]
fn each_tool_that_destroys_is_called_right_after_the_disk_was_compared() {
    if !can_run(test_name!()) {
        return;
    }
    let rig = rig(&[320], "");
    put_node(&rig, 0, "kestrel", "");
    let out = rig.call("run", &["--dry-run"]);
    assert_eq!(out.status, 0, "{out:?}");
    let mut before = "";
    let mut tools = 0;
    for line in out.out.lines() {
        if ["wipefs ", "sgdisk ", "mkfs."].iter().any(|tool| line.starts_with(tool)) {
            let is_compared = before.starts_with("# is /dev/") && before.ends_with("and free");
            assert!(is_compared, "{before:?} before {line:?}");
            tools += 1;
        }
        before = line;
    }
    assert!(tools >= 7, "{}", out.out);
}

#[test]
fn of_two_nodes_one_is_kept_whole_and_nothing_of_an_earlier_run_is() {
    if !can_run(test_name!()) {
        return;
    }
    let rig = rig(&[320, 96], "");
    let manifest = fs::read_to_string(rig.dir.join("node.toml")).unwrap();
    let manifest = manifest.replace("data = \"none\"", "data = \"rest\"");
    fs::write(rig.dir.join("node.toml"), manifest).unwrap();
    let host_key = |text: &str| format!("echo {text} > etc/ssh/ssh_host_ed25519_key");
    put_node(&rig, 0, "kestrel", &host_key("of-kestrel"));
    let more = "echo of-otter > etc/ssh/ssh_host_rsa_key";
    put_node(&rig, 1, "otter", &format!("{}\n{more}", host_key("of-otter")));
    // What an earlier run kept, of a node that is not here.
    fs::create_dir_all(rig.dir.join("state/kept")).unwrap();
    fs::write(rig.dir.join("state/kept/ssh_host_rsa_key.pub"), "of-another\n").unwrap();
    let out = rig.call("run", &["--answer", "wipe=wipe D0 D1 kestrel otter"]);
    assert_eq!(out.status, 0, "{out:?}\n{}", rig.journal());
    let seen = rig
        .mounted("mount -t ext4 ${D}p2 . && cd \"$PWD\" && cat etc/zeta/cluster-node-id etc/ssh/*");
    assert_eq!(seen, "kestrel\nof-kestrel\n");
}

#[test]
fn a_node_with_files_that_are_too_long_is_refused_before_it_is_wiped() {
    if !can_run(test_name!()) {
        return;
    }
    let rig = rig(&[320], "");
    let consent = ["--answer", "wipe=wipe D0 kestrel"];
    for file in ["etc/zeta/operator-authorized-keys", "etc/ssh/ssh_host_rsa_key"] {
        put_node(&rig, 0, "kestrel", &format!("head -c 5000000 /dev/zero > {file}"));
        let before = [rig.hash(0)];
        is_refused(&rig, &rig.call("run", &consent), &before, &format!("{file} has more than"));
    }
}

#[test]
fn the_umask_of_the_caller_is_not_that_of_the_node() {
    if !can_run(test_name!()) {
        return;
    }
    let rig = rig(&[320], "");
    for umask in ["077", "000"] {
        let done = long(&mut rig.after(&format!("umask {umask}"), "run", &CONSENT));
        assert_eq!(done.status, 0, "{done:?}");
        let modes = rig.mounted(
            "mount -t ext4 ${D}p2 . && cd \"$PWD\" && \
             stat -c '%a %n' etc etc/zeta etc/zeta/flake.nix",
        );
        assert_eq!(modes, "755 etc\n755 etc/zeta\n644 etc/zeta/flake.nix\n", "{umask}");
        rig.mounted("wipefs --quiet --all ${D}p* $D && dd if=/dev/zero of=$D bs=1M count=1");
        rig.restart();
        fs::remove_dir_all(rig.dir.join("state")).unwrap();
    }
}

#[test]
fn a_password_that_is_made_up_is_shown_also_by_a_quiet_call() {
    if !can_run(test_name!()) {
        return;
    }
    let rig = rig(&[320], "");
    let out = rig.call("run", &[&CONSENT[..], &["--quiet"]].concat());
    assert!(out.status == 0 && out.err.contains("only now: "), "{out:?}");
}

#[test]
fn a_place_that_would_hide_the_journal_or_the_running_system_is_refused() {
    if !can_run(test_name!()) {
        return;
    }
    let rig = rig(&[320], "");
    let before = [rig.hash(0)];
    let place = |name: &str| rig.dir.join(name).display().to_string();
    symlink(place("root"), place("link")).unwrap();
    fs::create_dir(place("state")).unwrap();
    for (root, words) in [
        ("/".to_owned(), "--root"),
        (place("state"), "--state"),
        (rig.dir.display().to_string(), "--state"),
    ] {
        let out = rig.call("run", &[&CONSENT[..], &["--root", &root]].concat());
        is_refused(&rig, &out, &before, words);
    }
    // A link is what it leads to.
    let out = rig.call("run", &[&CONSENT[..], &["--root", &place("link")]].concat());
    assert_eq!(out.status, 0, "{out:?}");
}

#[test]
fn a_tool_that_is_missing_is_missed_before_the_wipe() {
    if !can_run(test_name!()) {
        return;
    }
    let rig = rig(&[320], "[ace.filesystems]\nroot = \"btrfs\"\n");
    let before = [rig.hash(0)];
    let out = rig.call("run", &CONSENT);
    if run(Command::new("sh").args(["-c", "command -v mkfs.btrfs"])).status != 0 {
        is_refused(&rig, &out, &before, "mkfs.btrfs cannot be found");
    }
    rig.manifest(&cache(), "");
    fs::remove_file(rig.dir.join("bin/nixos-install")).unwrap();
    if run(Command::new("sh").args(["-c", "command -v nixos-install"])).status != 0 {
        let out = rig.call("run", &[&CONSENT[..], &["--anew"]].concat());
        is_refused(&rig, &out, &before, "nixos-install cannot be found");
    }
}
