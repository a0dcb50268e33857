//! Disks in a use that no listing shows, disks with more on them than a listing says, and names
//! that would speak to a terminal.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use zeta_core::record::is_unprintable;

use super::{Loop, consent, disk, hash, image_file, luks, target, write};
use crate::json;
use crate::support::{Sandbox, TempDir, Terminal, can, find, run};

const LEN: usize = 6 << 20;
const DISK: usize = 16 << 20;

/// Plans and writes an image to a disk that is refused for a reason; its file stays as it is.
fn is_refused(sandbox: &Sandbox, image: &Path, stick: &Loop, path: Option<&Path>, reason: &str) {
    let before = hash(&stick.file);
    let image = image.to_str().unwrap();
    for verb in ["plan", "write"] {
        let mut call = sandbox.cmd(&["--json", "flash", verb, "--image", image]);
        if let Some(path) = path {
            call.env("PATH", path);
        }
        let answer = json::judge(&["flash", verb], &run(call.args(target(&stick.name()))), 3);
        if verb == "plan" {
            let disks = answer["disks"].as_array().unwrap().iter();
            let mut rows = disks.filter(|row| row["path"] == stick.device.to_str().unwrap());
            let reasons = &rows.next().unwrap()["reasons"];
            let has = |one: &Value| one["reason"] == reason;
            assert!(reasons.as_array().unwrap().iter().any(has), "{reason}: {reasons}");
        }
    }
    assert_eq!(hash(&stick.file), before, "{reason}");
}

#[test]
fn a_disk_that_a_loop_device_shows_is_not_written() {
    let test = "a_disk_that_a_loop_device_shows_is_not_written";
    let sandbox = Sandbox::new();
    let path = image_file(&sandbox, LEN);
    let Some(stick) = disk(test, &sandbox, "stick", DISK) else { return };
    let args = [&["--image".into(), path.display().to_string()][..], &target(&stick.name())];
    let args = [target(&stick.name()).to_vec(), consent(&sandbox, &args.concat())].concat();
    // The kernel keeps a name that is gone, and knows the disk.
    let node = sandbox.dir.join("node");
    let number = std::fs::metadata(&stick.device).unwrap();
    let number = std::os::unix::fs::MetadataExt::rdev(&number);
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::BlockDevice;
    rustix::fs::mknodat(rustix::fs::CWD, &node, kind, mode, number).unwrap();
    for way in [&stick.device, &node] {
        let part = Loop::attach(way, &["--offset", "8388608"]).unwrap();
        if way == &node {
            std::fs::remove_file(&node).unwrap();
        }
        is_refused(&sandbox, &path, &stick, None, "holder");
        // One that shows another one. Neither of them is a disk that can be named.
        let part_of_it = Loop::attach(&part.device, &["--offset", "1048576"]).unwrap();
        is_refused(&sandbox, &path, &stick, None, "holder");
        for shown in [&part, &part_of_it] {
            let out = write(&sandbox, &path, &target(&shown.name()));
            let answer = json::judge(&["flash", "write"], &out, 3);
            assert!(answer["message"].as_str().unwrap().contains("no disk"), "{answer}");
        }
    }
    // It was the only reason: without it, the plan of before is carried out.
    json::judge(&["flash", "write"], &write(&sandbox, &path, &args), 0);
}

#[test]
fn an_image_that_the_disk_itself_shows_is_not_written() {
    let test = "an_image_that_the_disk_itself_shows_is_not_written";
    let sandbox = Sandbox::new();
    let Some(stick) = disk(test, &sandbox, "stick", DISK) else { return };
    std::fs::write(&stick.file, vec![0x5a; DISK]).unwrap();
    let before = hash(&stick.file);
    for verb in ["plan", "write"] {
        let image = stick.file.to_str().unwrap();
        let mut call = sandbox.cmd(&["--json", "flash", verb, "--image", image]);
        let answer = json::judge(&["flash", verb], &run(call.args(target(&stick.name()))), 3);
        let text = answer["message"].as_str().unwrap();
        assert!(text.contains("is the file that"), "{answer}");
    }
    assert_eq!(hash(&stick.file), before);
}

#[test]
fn what_is_on_a_disk_is_read_from_the_disk_and_not_from_a_listing() {
    let test = "what_is_on_a_disk_is_read_from_the_disk_and_not_from_a_listing";
    let sandbox = Sandbox::new();
    let path = image_file(&sandbox, LEN);
    let Some(stick) = disk(test, &sandbox, "stick", DISK) else { return };
    // What cannot be read is not taken for nothing.
    let bin = sandbox.dir.join("bin");
    std::fs::create_dir(&bin).unwrap();
    symlink(find("lsblk").unwrap(), bin.join("lsblk")).unwrap();
    is_refused(&sandbox, &path, &stick, Some(&bin), "unknown_content");
    let wipefs = bin.join("wipefs");
    for script in ["exit 1", "echo '{}'", "echo '{\"signatures\":[]}'; exit 1", ":"] {
        std::fs::write(&wipefs, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&wipefs, PermissionsExt::from_mode(0o755)).unwrap();
        is_refused(&sandbox, &path, &stick, Some(&bin), "unknown_content");
    }
    // Nothing is mapped or mounted, and no udev need know it.
    let mut bytes = std::fs::read(&stick.file).unwrap();
    bytes[..4096].copy_from_slice(&luks());
    std::fs::write(&stick.file, &bytes).unwrap();
    let _ = Command::new("blockdev").arg("--flushbufs").arg(&stick.device).output();
    is_refused(&sandbox, &path, &stick, None, "member");
}

#[test]
fn a_user_who_cannot_read_a_disk_learns_that_root_can() {
    let test = "a_user_who_cannot_read_a_disk_learns_that_root_can";
    let sandbox = Sandbox::new();
    let Some(stick) = disk(test, &sandbox, "stick", DISK) else { return };
    let place = TempDir::new("flash", 0o755);
    let image = place.join("a.iso");
    std::fs::copy(image_file(&sandbox, LEN), &image).unwrap();
    std::fs::set_permissions(&image, PermissionsExt::from_mode(0o644)).unwrap();
    let zeta = place.join("zeta");
    let (from, to) = (env!("CARGO_BIN_EXE_zeta"), zeta.to_str().unwrap());
    assert!(can("install", &["-m", "755", from, to]));
    let mut call = Command::new("setpriv");
    call.args(["--reuid", "12345", "--regid", "12345", "--clear-groups", to]);
    call.args(["--json", "flash", "plan", "--image", image.to_str().unwrap()]);
    call.env_remove("HOME").current_dir("/").args(target(&stick.name()));
    let answer = json::judge(&["flash", "plan"], &run(&mut call), 3);
    let disks = answer["disks"].as_array().unwrap().iter();
    let mut rows = disks.filter(|row| row["path"] == stick.device.to_str().unwrap());
    let row = rows.next().unwrap();
    let words: Vec<&Value> =
        row["reasons"].as_array().unwrap().iter().map(|one| &one["reason"]).collect();
    assert_eq!(words, ["needs_root"], "{row}");
    assert!(answer["message"].as_str().unwrap().contains("sudo"), "{answer}");
}

/// Checks that a text moves no cursor and has no line of a name's own.
fn is_plain(text: &str) {
    assert!(!text.chars().any(|c| c != '\n' && is_unprintable(c)), "{text:?}");
    assert!(!text.lines().any(|line| line.starts_with("forged")), "{text}");
}

#[test]
fn the_name_of_a_file_or_a_disk_moves_no_cursor_and_makes_no_line() {
    let test = "the_name_of_a_file_or_a_disk_moves_no_cursor_and_makes_no_line";
    let sandbox = Sandbox::new();
    let odd =
        |name: &str| sandbox.dir.join(format!("{name}\x1b[31m\nforged")).display().to_string();
    let (image, stick) = (odd("image"), odd("stick"));
    std::fs::rename(image_file(&sandbox, LEN), &image).unwrap();
    let said = |args: &[&str], status: i32| {
        let out = run(&mut sandbox.cmd(args));
        assert_eq!(out.status, status, "{out:?}");
        is_plain(&out.out);
        is_plain(&out.err);
    };
    said(&["flash", "write", "--image", &image, "--to-file", &stick], 0);
    said(&["flash", "write", "--image", &image, "--to-file", &stick], 3);
    said(&["flash", "plan", "--image", &image, "--disk", &stick], 3);
    std::fs::remove_file(&stick).unwrap();
    let name = Path::new(&stick).file_name().unwrap().to_str().unwrap();
    let Some(stick) = disk(test, &sandbox, name, DISK) else { return };
    let target = target(&stick.name());
    let target: Vec<&str> = target.iter().map(String::as_str).collect();
    let plan = ["flash", "plan", "--image", &image, "--save", &odd("plan")];
    said(&[&plan[..], &target].concat(), 0);
    // What a person is asked.
    let mut call = sandbox.cmd(&["flash", "write", "--image", &image]);
    let mut terminal = Terminal::run(call.args(&target));
    terminal.wait_for("> ");
    // The meter begins its line again, and clears the rest of it.
    is_plain(&terminal.shown.replace('\r', "").replace("\x1b[K", ""));
    terminal.keys(b"no\n");
    assert_eq!(terminal.end(), Some(3), "{}", terminal.shown);
}
