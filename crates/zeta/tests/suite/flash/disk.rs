//! Images on loop devices: the one that was named is written, and no other one changes by a byte.

use std::io::Write as _;
use std::process::{Command, Stdio};

use zeta_core::flash::order::{HEAD, MARK};

use super::{Loop, begins_with, consent, disk, hash, head, image, image_file, target, write};
use crate::json;
use crate::support::{Sandbox, Terminal, run, skip, wait_for};

const LEN: usize = 6 << 20;

fn plan_args(image: &std::path::Path, name: &str) -> Vec<String> {
    let image = ["--image".to_owned(), image.to_str().unwrap().to_owned()];
    image.into_iter().chain(target(name)).collect()
}

#[test]
fn the_disk_that_was_named_is_written_and_no_other_one() {
    let test = "the_disk_that_was_named_is_written_and_no_other_one";
    let sandbox = Sandbox::new();
    let path = image_file(&sandbox, LEN);
    let Some(stick) = disk(test, &sandbox, "stick", 16 << 20) else { return };
    let Some(other) = disk(test, &sandbox, "other", 16 << 20) else { return };
    let before = hash(&other.file);
    let consent = consent(&sandbox, &plan_args(&path, &stick.name()));
    let out = write(&sandbox, &path, &[target(&stick.name()).to_vec(), consent].concat());
    json::judge(&["flash", "write"], &out, 0);
    let written = std::fs::read(&stick.file).unwrap();
    assert!(begins_with(&written, &image(LEN)));
    // The end, where a partition table has its copy, is gone; what lies between is as it was.
    let end = written.len() - HEAD as usize;
    assert!(written[end..].iter().all(|byte| *byte == 0));
    assert!(written[LEN..end].iter().all(|byte| *byte == 0xee));
    assert_eq!(hash(&other.file), before);
}

#[test]
fn a_person_types_a_phrase_with_the_serial_number() {
    let test = "a_person_types_a_phrase_with_the_serial_number";
    let sandbox = Sandbox::new();
    let path = image_file(&sandbox, LEN);
    let Some(stick) = disk(test, &sandbox, "stick", 16 << 20) else { return };
    let before = hash(&stick.file);
    let call = || {
        let mut call = sandbox.cmd(&["flash", "write", "--image", path.to_str().unwrap()]);
        call.args(target(&stick.name()));
        call
    };
    // Without a terminal nobody can be asked.
    let out = run(&mut call());
    assert!(out.status == 2 && out.err.contains("nobody can be asked"), "{out:?}");
    let phrase = format!("erase {}", stick.name());
    let odd = phrase.to_uppercase();
    for (typed, status) in [("yes", 3), ("", 3), (odd.as_str(), 3), (phrase.as_str(), 0)] {
        assert_eq!(hash(&stick.file), before, "before {typed:?}");
        let mut terminal = Terminal::run(&call());
        terminal.wait_for("> ");
        assert!(terminal.shown.contains(&phrase), "{}", terminal.shown);
        terminal.keys(format!("{typed}\n").as_bytes());
        assert_eq!(terminal.end(), Some(status), "{typed:?}: {}", terminal.shown);
    }
    assert!(begins_with(&std::fs::read(&stick.file).unwrap(), &image(LEN)));
}

#[test]
fn a_disk_that_was_exchanged_is_not_written() {
    let test = "a_disk_that_was_exchanged_is_not_written";
    let sandbox = Sandbox::new();
    let path = image_file(&sandbox, LEN);
    let Some(stick) = disk(test, &sandbox, "stick", 16 << 20) else { return };
    let (name, file) = (stick.name(), stick.file.clone());
    // Out and in again, between the plan and the write: the same file, and another insertion.
    let consent = consent(&sandbox, &plan_args(&path, &name));
    stick.detach();
    let stick = Loop::attach(&file, &[]).unwrap();
    let out = write(&sandbox, &path, &[target(&name).to_vec(), consent].concat());
    let answer = json::judge(&["flash", "write"], &out, 3);
    let message = answer["message"].as_str().unwrap().to_owned();
    assert!(message.contains("another"), "{message}");
    // While a person reads the question.
    let mut call = sandbox.cmd(&["flash", "write", "--image", path.to_str().unwrap()]);
    let mut terminal = Terminal::run(call.args(target(&name)));
    terminal.wait_for("> ");
    stick.detach();
    let again = Loop::attach(&file, &[]).unwrap();
    terminal.keys(format!("erase {name}\n").as_bytes());
    assert_eq!(terminal.end(), Some(3), "{}", terminal.shown);
    // And when it is gone altogether.
    let mut call = sandbox.cmd(&["flash", "write", "--image", path.to_str().unwrap()]);
    let mut terminal = Terminal::run(call.args(target(&name)));
    terminal.wait_for("> ");
    again.detach();
    terminal.keys(format!("erase {name}\n").as_bytes());
    assert_eq!(terminal.end(), Some(3), "{}", terminal.shown);
    assert!(std::fs::read(&file).unwrap().iter().all(|byte| *byte == 0xee));
}

#[test]
fn two_disks_of_one_name_and_a_read_only_one_are_refused() {
    let test = "two_disks_of_one_name_and_a_read_only_one_are_refused";
    let sandbox = Sandbox::new();
    let path = image_file(&sandbox, LEN);
    let Some(stick) = disk(test, &sandbox, "stick", 16 << 20) else { return };
    let before = hash(&stick.file);
    let consent = consent(&sandbox, &plan_args(&path, &stick.name()));
    let args = [target(&stick.name()).to_vec(), consent].concat();
    let twin = Loop::attach(&stick.file, &[]).unwrap();
    let out = write(&sandbox, &path, &args);
    let answer = json::judge(&["flash", "write"], &out, 3);
    assert!(answer["message"].as_str().unwrap().contains("2 disks"), "{answer}");
    twin.detach();
    stick.detach();
    let _read_only = Loop::attach(&stick.file, &["--read-only"]).unwrap();
    let out = write(&sandbox, &path, &target(&stick.name()));
    let answer = json::judge(&["flash", "write"], &out, 3);
    assert!(answer["message"].as_str().unwrap().contains("read-only"), "{answer}");
    // A loop device is named twice, or not at all.
    let out = write(&sandbox, &path, &target(&stick.name())[..2]);
    json::judge(&["flash", "write"], &out, 3);
    assert_eq!(hash(&stick.file), before);
}

#[test]
fn a_disk_that_is_mounted_where_nobody_looks_is_not_written() {
    let test = "a_disk_that_is_mounted_where_nobody_looks_is_not_written";
    let sandbox = Sandbox::new();
    let path = image_file(&sandbox, LEN);
    let Some(stick) = disk(test, &sandbox, "stick", 16 << 20) else { return };
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&stick.device).output();
    if !made.is_ok_and(|made| made.status.success()) {
        return skip(test, "there is no mkfs.ext4");
    }
    let before = hash(&stick.file);
    let args =
        [target(&stick.name()).to_vec(), consent(&sandbox, &plan_args(&path, &stick.name()))];
    // In a mount namespace of its own: no listing of this one shows it.
    let (dir, ready) = (sandbox.dir.join("mnt"), sandbox.dir.join("ready"));
    std::fs::create_dir(&dir).unwrap();
    let script = format!(
        "mount -o ro,noload {} {} && touch {} && read line",
        stick.device.display(),
        dir.display(),
        ready.display()
    );
    let mut elsewhere = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the mount elsewhere", || ready.exists());
    // A plan does not say that it may be written, either.
    let mut plan = sandbox.cmd(&["--json", "flash", "plan"]);
    json::judge(&["flash", "plan"], &run(plan.args(plan_args(&path, &stick.name()))), 3);
    let out = write(&sandbox, &path, &args.concat());
    let answer = json::judge(&["flash", "write"], &out, 3);
    assert!(answer["message"].as_str().unwrap().contains("in use"), "{answer}");
    drop(elsewhere.stdin.take());
    assert!(elsewhere.wait().is_ok());
    assert_eq!(hash(&stick.file), before);
    // And here, where the listing shows it.
    let script = format!(
        "mount -o ro,noload {} {} && exec {} --json flash write --image {} --disk {} \
         --allow-internal {}",
        stick.device.display(),
        dir.display(),
        env!("CARGO_BIN_EXE_zeta"),
        path.display(),
        stick.name(),
        stick.name()
    );
    let out = run(&mut sandbox.other("unshare", &["--mount", "sh", "-c", &script]));
    let answer = json::judge(&["flash", "write"], &out, 3);
    assert!(answer["message"].as_str().unwrap().contains("in use at"), "{answer}");
    assert_eq!(hash(&stick.file), before);
}

#[test]
fn a_disk_that_is_too_short_is_refused_and_a_plan_is_used_for_its_own_disk_alone() {
    let test = "a_disk_that_is_too_short_is_refused_and_a_plan_is_used_for_its_own_disk_alone";
    let sandbox = Sandbox::new();
    let path = image_file(&sandbox, LEN);
    let Some(short) = disk(test, &sandbox, "short", LEN - 512) else { return };
    let Some(exact) = disk(test, &sandbox, "exact", LEN) else { return };
    let Some(other) = disk(test, &sandbox, "other", 16 << 20) else { return };
    let out = write(&sandbox, &path, &target(&short.name()));
    json::judge(&["flash", "write"], &out, 3);
    let consent = consent(&sandbox, &plan_args(&path, &exact.name()));
    let out = write(&sandbox, &path, &[target(&other.name()).to_vec(), consent.clone()].concat());
    json::judge(&["flash", "write"], &out, 3);
    // With other files, with another image, and with a digest of something else.
    let rest = |more: &[&str]| {
        let more = more.iter().map(|word| (*word).to_owned());
        [target(&exact.name()).to_vec(), consent.clone()].concat().into_iter().chain(more).collect()
    };
    let with_files: Vec<String> = rest(&["--host-name", "n"]);
    json::judge(&["flash", "write"], &write(&sandbox, &path, &with_files), 3);
    let another = sandbox.dir.join("b.iso");
    std::fs::write(&another, image(LEN - 4096)).unwrap();
    json::judge(&["flash", "write"], &write(&sandbox, &another, &rest(&[])), 3);
    let mut wrong: Vec<String> = rest(&[]);
    *wrong.last_mut().unwrap() = "0".repeat(64);
    json::judge(&["flash", "write"], &write(&sandbox, &path, &wrong), 3);
    for untouched in [&short, &exact, &other] {
        assert!(std::fs::read(&untouched.file).unwrap().iter().all(|byte| *byte == 0xee));
    }
    json::judge(&["flash", "write"], &write(&sandbox, &path, &rest(&[])), 0);
    assert!(begins_with(&std::fs::read(&exact.file).unwrap(), &image(LEN)));
    assert!(!head(&exact.file, MARK.len()).starts_with(MARK));
}

#[test]
fn a_disk_below_a_loop_device_and_a_member_of_something_larger_are_refused() {
    let test = "a_disk_below_a_loop_device_and_a_member_of_something_larger_are_refused";
    let sandbox = Sandbox::new();
    let path = image_file(&sandbox, LEN);
    let Some(stick) = disk(test, &sandbox, "stick", 16 << 20) else { return };
    let before = hash(&stick.file);
    let refused = |word: &str| {
        let name = stick.name();
        let plan = ["flash", "plan", "--disk", &name, "--allow-internal", &name];
        let answer = json::check(&sandbox, &plan, 3);
        let disks = answer["disks"].as_array().unwrap();
        let row = disks.iter().find(|row| row["serial"] == name.as_str()).unwrap();
        let reasons = row["reasons"].as_array().unwrap();
        assert!(reasons.iter().any(|reason| reason["reason"] == word), "{row}");
        json::judge(&["flash", "write"], &write(&sandbox, &path, &target(&name)), 3);
        assert_eq!(hash(&stick.file), before);
    };
    // The kernel links such a device to nothing, and lets others open the disk alone.
    let over = Loop::attach(&stick.device, &["--offset", "4194304"]).unwrap();
    refused("holder");
    over.detach();
    // The head of a volume of LUKS, version 2, as cryptsetup writes it: magic, version, length.
    let mut head = b"LUKS\xba\xbe\0\x02\0\0\0\0\0\0\x40\0".to_vec();
    head.resize(4096, 0);
    std::fs::OpenOptions::new().write(true).open(&stick.device).unwrap().write_all(&head).unwrap();
    // Where there is udev, lsblk says what that found.
    let _ = Command::new("udevadm").arg("settle").output();
    let before = hash(&stick.file);
    let name = stick.name();
    let plan = ["flash", "plan", "--disk", &name, "--allow-internal", &name];
    let answer = json::check(&sandbox, &plan, 3);
    assert!(answer["message"].as_str().unwrap().contains("member: crypto_LUKS"), "{answer}");
    assert_eq!(hash(&stick.file), before);
}

#[test]
fn what_a_disk_says_of_itself_moves_no_cursor() {
    let test = "what_a_disk_says_of_itself_moves_no_cursor";
    let sandbox = Sandbox::new();
    let Some(_stick) = disk(test, &sandbox, "esc\u{1b}[31m", 16 << 20) else { return };
    let shown = sandbox.ok(&["flash", "plan"]);
    assert!(shown.contains("esc") && !shown.contains('\u{1b}'), "{shown:?}");
}
