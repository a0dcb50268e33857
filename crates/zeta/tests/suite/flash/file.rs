//! Images in new files, which any user may write: what is in them, and who can read it.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{ESP, ID, begins_with, has_mtools, hash, image, image_file, read_from, write};
use crate::support::{Sandbox, find, run, skip, until};

fn texts<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).into()
}

/// Files with each kind of thing that a stick can have.
fn things(sandbox: &Sandbox) -> Vec<String> {
    let put = |name: &str, text: &str| {
        let path = sandbox.dir.join(name);
        std::fs::write(&path, text).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, private).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let key =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1tGq1d9pP4S0m0uVtb1yq7o2bqIYp9m0Yk0qQm1q2v ann";
    let token = format!("K10{}::server:x", "ab".repeat(32));
    let (wifi, token) = (put("w", r#"{"ssid":"n","password":"pw-77-long"}"#), put("t", &token));
    let mut args = texts(["--host-name", "node-7", "--role", "joiner", "--flake-host", "w1"]);
    args.extend(texts(["--join-server", "https://cp.example:6443"]));
    args.extend(["--ssh-key".to_owned(), put("k.pub", key)]);
    args.extend(["--wifi".to_owned(), format!("@{wifi}")]);
    args.extend(["--join-token".to_owned(), format!("@{token}")]);
    args.extend(["--bake-cred".to_owned(), format!("gh-cli=@{}", put("gh", "ghp_abc"))]);
    args.extend(["--passphrase-file".to_owned(), put("pp", "aaa-bbb-ccc-ddd-eee")]);
    args
}

#[test]
fn all_that_was_asked_for_is_in_the_partition_and_the_list_has_its_digest() {
    let test = "all_that_was_asked_for_is_in_the_partition_and_the_list_has_its_digest";
    let sandbox = Sandbox::new();
    let path = image_file(&sandbox, 6 << 20);
    let (before, stick) = (hash(&path), sandbox.dir.join("stick.img"));
    let mut args = things(&sandbox);
    args.extend(["--to-file".to_owned(), stick.to_str().unwrap().to_owned()]);
    let out = write(&sandbox, &path, &args);
    assert_eq!(out.status, 0, "{out:?}");
    assert!(!out.out.contains("pw-77-long") && !out.out.contains("ghp_abc"), "{out:?}");
    let answer: Value = serde_json::from_str(&out.out).unwrap();
    assert_eq!(
        (&answer["outcome"], &answer["provenance"]),
        (&"written".into(), &"not_checked".into())
    );
    assert_eq!(hash(&path), before, "the image itself is not changed");
    let written = std::fs::read(&stick).unwrap();
    let plain = std::fs::read(&path).unwrap();
    let end = ESP as usize + 6144 * 512;
    assert!(written[..ESP as usize] == plain[..ESP as usize] && written[end..] == plain[end..]);
    let id: [u8; 4] = written[ID..ID + 4].try_into().unwrap();
    let id = u32::from_le_bytes(id);
    let id = format!("{:04X}-{:04X}", id >> 16, id & 0xffff);
    assert_eq!(answer["volume_id"], id);
    if !has_mtools(test) {
        return;
    }
    let list: Value = serde_json::from_slice(&read_from(&stick, "zeta-stick.json")).unwrap();
    assert_eq!((&list["schema"], &list["volume_id"]), (&1.into(), &id.into()));
    assert_eq!(list["image"]["sha256"], before);
    let names: Vec<&str> =
        list["files"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    let expected = [
        ("zeta-authorized-keys.pub", "ssh-ed25519 "),
        ("zeta-hostname.txt", "node-7\n"),
        ("zeta-wifi-credentials.json", "{\"ssid\":\"n\",\"password\":\"pw-77-long\"}\n"),
        ("zeta-firstboot.conf", "ZETA_ROLE='joiner'\nHOST='w1'\n"),
        ("zeta-join-token", "K10abab"),
        ("zeta-creds.enc", "ZCV2"),
    ];
    assert_eq!(names, expected.map(|(name, _)| name));
    for (file, (name, begin)) in list["files"].as_array().unwrap().iter().zip(expected) {
        let content = read_from(&stick, name);
        assert!(content.starts_with(begin.as_bytes()), "{name}");
        let copy = sandbox.dir.join("copy");
        std::fs::write(&copy, &content).unwrap();
        assert_eq!((&file["sha256"], &file["bytes"]), (&hash(&copy).into(), &content.len().into()));
    }
    // The sealed credentials open with the id of this volume, and with no other one.
    let blob = sandbox.dir.join("c.enc");
    std::fs::write(&blob, read_from(&stick, "zeta-creds.enc")).unwrap();
    let (blob, pp) = (blob.to_str().unwrap(), sandbox.dir.join("pp"));
    let inspect = |id: &str| {
        let args = ["creds", "inspect", "--usb-uuid", id, "--input", blob, "--passphrase-file"];
        sandbox.zeta(&[&args[..], &[pp.to_str().unwrap()]].concat())
    };
    let opened = inspect(list["volume_id"].as_str().unwrap());
    assert!(opened.status == 0 && opened.out.contains("gh-cli"), "{opened:?}");
    assert_eq!(inspect("1234-5678").status, 5);
}

#[test]
fn each_stick_has_an_id_of_its_own() {
    let sandbox = Sandbox::new();
    let path = image_file(&sandbox, 4 << 20);
    let stick = |name: &str| {
        let to = sandbox.dir.join(name);
        let out =
            write(&sandbox, &path, &["--to-file".to_owned(), to.to_str().unwrap().to_owned()]);
        assert_eq!(out.status, 0, "{out:?}");
        let bytes = std::fs::read(to).unwrap();
        assert!(begins_with(&bytes, &image(4 << 20)));
        bytes[ID..ID + 4].to_vec()
    };
    let (one, two) = (stick("1"), stick("2"));
    assert_ne!(one, two);
    assert!(![one, two].contains(&vec![0x78, 0x56, 0x34, 0x12]), "the id of all images");
}

#[test]
fn the_memory_of_a_write_does_not_grow_with_the_image() {
    let sandbox = Sandbox::new();
    let path = image_file(&sandbox, 4 << 20);
    // Zeros that take no room on the disk.
    let long = std::fs::File::options().write(true).open(&path).unwrap();
    long.set_len(600 << 20).unwrap();
    let call = format!(
        "ulimit -v 300000; exec {} flash write --image {} --host-name n --to-file {}",
        env!("CARGO_BIN_EXE_zeta"),
        path.display(),
        sandbox.dir.join("out").display()
    );
    let out = run(&mut sandbox.other("sh", &["-c", &call]));
    assert_eq!(out.status, 0, "{out:?}");
    // Holes are written as zeros, so the room is given back at once.
    std::fs::remove_file(sandbox.dir.join("out")).unwrap();
}

/// The firmware of a virtual machine starts from the stick, and its shell prints what is there.
#[test]
fn firmware_reads_the_files_of_a_stick() {
    let test = "firmware_reads_the_files_of_a_stick";
    let firmware = "/usr/share/ovmf/OVMF.fd";
    if find("qemu-system-x86_64").is_none() || !std::path::Path::new(firmware).exists() {
        return skip(test, "there is no qemu-system-x86_64 with the firmware OVMF");
    }
    let sandbox = Sandbox::new();
    let mut bytes = image(6 << 20);
    let begin = ESP as usize;
    // What the shell of the firmware runs by itself.
    let script = b"fs0:\r\ntype zeta-hostname.txt\r\ntype zeta-stick.json\r\nreset -s\r\n";
    let script = zeta_core::fat::File { name: "startup.nsh", content: script };
    zeta_core::fat::add(&mut bytes[begin..begin + 6144 * 512], &[script]).unwrap();
    let (path, stick) = (sandbox.dir.join("a.iso"), sandbox.dir.join("stick.img"));
    std::fs::write(&path, bytes).unwrap();
    let mut args = texts(["--host-name", "node-4711", "--to-file"]);
    args.push(stick.to_str().unwrap().to_owned());
    let out = write(&sandbox, &path, &args);
    assert_eq!(out.status, 0, "{out:?}");
    let log = sandbox.dir.join("log");
    let mut machine = Command::new("qemu-system-x86_64")
        .args(["-nodefaults", "-display", "none", "-m", "256", "-bios", firmware, "-net", "none"])
        .arg("-serial")
        .arg(format!("file:{}", log.display()))
        .args(["-device", "qemu-xhci", "-device", "usb-storage,drive=stick"])
        .arg("-drive")
        .arg(format!("if=none,id=stick,format=raw,file={}", stick.display()))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let said = || String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
    // The firmware waits for five seconds, and is slow in software.
    let is_done = until(Duration::from_secs(100), || {
        said().contains("\"schema\": 1") && said().contains("node-4711")
    });
    machine.kill().unwrap();
    machine.wait().unwrap();
    assert!(is_done, "{}", said());
}
