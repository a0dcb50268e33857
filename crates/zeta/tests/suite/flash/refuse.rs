//! What was asked for and cannot be done: one status, one sentence, and nothing is written.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::{ESP, hash, image_file};
use crate::json;
use crate::support::Sandbox;

/// A sandbox with an image, and a place for a stick that must stay empty.
fn place() -> (Sandbox, String, String) {
    let sandbox = Sandbox::new();
    let image = image_file(&sandbox, 4 << 20).to_str().unwrap().to_owned();
    let stick = sandbox.dir.join("stick.img").to_str().unwrap().to_owned();
    (sandbox, image, stick)
}

#[test]
fn what_cannot_be_put_on_a_stick_is_refused_before_anything_is_written() {
    let (sandbox, image, stick) = place();
    let put = |name: &str, text: &str| {
        std::fs::write(sandbox.dir.join(name), text).unwrap();
        sandbox.dir.join(name).to_str().unwrap().to_owned()
    };
    let private = put("id", "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0LTQy\n");
    let odd = put("odd", "ssh-ed25519 c2VjcmV0LTQy!!\n");
    let half = put("w", r#"{"ssid":"secret-42"}"#);
    // No network has such a password, so the node could not be given one.
    let short = put("s", r#"{"ssid":"n","password":"secret4"}"#);
    let token = put("t", "secret-42");
    let (half, short, token) = (format!("@{half}"), format!("@{short}"), format!("@{token}"));
    let missing = format!("@{}", sandbox.dir.join("none").display());
    let joiner = ["--role", "joiner", "--join-server"];
    let cases: &[&[&str]] = &[
        &["--ssh-key", &private],
        &["--ssh-key", &odd],
        &["--ssh-key", "/nonexistent/k.pub"],
        &["--ssh-key", "/dev/zero"],
        &["--host-name", "-node"],
        &["--host-name", "a.b"],
        &["--host-name", ""],
        &["--wifi", "{\"ssid\":\"n\",\"password\":\"secret-42\"}"],
        &["--wifi", &half],
        &["--wifi", &short],
        &["--wifi", &missing],
        &["--wifi", "env:ZETA_NO_SUCH_VARIABLE"],
        &["--join-token", &token],
        &["--join-token", "secret-42"],
        &["--role", "king"],
        &["--role", "joiner"],
        &[joiner[0], joiner[1], joiner[2], "http://cp"],
        &["--flake-host", "w1"],
        &["--bake-cred", "gh-cli=secret-42"],
        &["--bake-cred", "secret-42"],
        &["--bake-cred", "no-such-id=env:HOME"],
        &["--sha256", "secret-42"],
        &["--sums", "/nonexistent/SHA256SUMS"],
        &["--public-key", "/nonexistent/key"],
    ];
    for case in cases {
        let mut args = vec!["flash", "write", "--image", &image, "--to-file", &stick];
        args.extend_from_slice(case);
        let answer = json::check(&sandbox, &args, 2);
        let said = answer.to_string();
        assert!(!said.contains("c2VjcmV0") && !said.contains("secret-42"), "{case:?}: {said}");
        assert!(!Path::new(&stick).exists(), "{case:?}");
        // A plan says the same.
        let mut args = vec!["flash", "plan", "--image", &image];
        args.extend_from_slice(case);
        json::check(&sandbox, &args, 2);
    }
}

#[test]
fn an_image_that_is_another_one_or_none_is_refused() {
    let (sandbox, image, stick) = place();
    let write = |image: &str, rest: &[&str], status: i32| {
        let args = ["flash", "write", "--image", image, "--to-file", &stick];
        let answer = json::check(&sandbox, &[&args[..], rest].concat(), status);
        assert!(!Path::new(&stick).exists(), "{image} {rest:?}: {answer}");
        answer
    };
    let sums = sandbox.dir.join("SHA256SUMS");
    let sums = sums.to_str().unwrap();
    std::fs::write(sums, format!("{}  b.iso\n", hash(image.as_ref()))).unwrap();
    write(&image, &["--sums", sums], 2);
    std::fs::write(sums, format!("{}  a.iso\n", "0".repeat(64))).unwrap();
    let refused = write(&image, &["--sums", sums], 3);
    assert!(refused["message"].as_str().unwrap().contains(&hash(image.as_ref())));
    write(&image, &["--sha256", &"0".repeat(64)], 3);
    let fifo = sandbox.dir.join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let empty = sandbox.dir.join("empty");
    std::fs::write(&empty, "").unwrap();
    for none in [&fifo, &empty, &sandbox.dir.join("none"), &sandbox.dir.join(".")] {
        write(none.to_str().unwrap(), &[], 2);
    }
    // No partition, two of them, one that ends behind the image, one without room for a file.
    let good = std::fs::read(&image).unwrap();
    let change = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        let path = sandbox.dir.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let odd = [
        change("1", &|bytes| bytes[450] = 0x17),
        change("2", &|bytes| bytes.copy_within(446..462, 462)),
        change("3", &|bytes| bytes.truncate(2 << 20)),
        change("4", &|bytes| bytes[ESP as usize + 512..ESP as usize + 11 * 512].fill(0xff)),
        change("5", &|bytes| bytes[510] = 0),
        change("6", &|bytes| bytes[ESP as usize + 18] = 0),
    ];
    for path in &odd {
        let refused = write(path, &["--host-name", "n"], 3);
        assert!(refused["message"].as_str().unwrap().contains(path.as_str()), "{refused}");
    }
    // A partition without a place for an id cannot have sealed credentials.
    let no_id = change("7", &|bytes| bytes[ESP as usize + 38] = 0);
    let (pp, gh) = (sandbox.dir.join("pp"), sandbox.dir.join("gh"));
    std::fs::write(&gh, "ghp_x").unwrap();
    std::fs::write(&pp, "aaa-bbb-ccc-ddd-eee").unwrap();
    std::fs::set_permissions(&pp, PermissionsExt::from_mode(0o600)).unwrap();
    let bake = format!("gh-cli=@{}", gh.display());
    write(&no_id, &["--bake-cred", &bake, "--passphrase-file", pp.to_str().unwrap()], 3);
    // What is there already is not replaced.
    std::fs::write(&stick, "old").unwrap();
    json::check(&sandbox, &["flash", "write", "--image", &image, "--to-file", &stick], 3);
    assert_eq!(std::fs::read(&stick).unwrap(), b"old");
}

/// A call with another `lsblk`, which prints a text and ends with a status.
fn with_lsblk(sandbox: &Sandbox, text: &str, status: i32, args: &[&str], expect: i32) -> String {
    let bin = sandbox.dir.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let (listing, program) = (bin.join("listing"), bin.join("lsblk"));
    std::fs::write(&listing, text).unwrap();
    let script = format!("#!/bin/sh\n/bin/cat {}\nexit {status}\n", listing.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let mut call = sandbox.cmd(&[&["--json"], args].concat());
    let out = crate::support::run(call.env("PATH", &bin));
    json::judge(args, &out, expect).to_string()
}

#[test]
fn a_listing_that_cannot_be_read_is_no_listing() {
    let (sandbox, image, _) = place();
    let disk = ["flash", "write", "--image", &image, "--disk", "4C53"];
    for (text, status) in [("", 0), ("{", 0), ("[]", 0), ("{\"blockdevices\":7}", 0), ("{}", 1)] {
        with_lsblk(&sandbox, text, status, &["flash", "plan"], 7);
        with_lsblk(&sandbox, text, status, &disk, 7);
    }
    std::fs::remove_file(sandbox.dir.join("bin/lsblk")).unwrap();
    let mut call = sandbox.cmd(&["--json", "flash", "plan"]);
    let out = crate::support::run(call.env("PATH", sandbox.dir.join("bin")));
    json::judge(&["flash", "plan"], &out, 7);
}

/// A listing with sticks in each state in which one is refused.
fn listing() -> String {
    let mut disks = Vec::new();
    let mut disk = |serial: Value, tran: &str, bytes: u64, more: Value| {
        let path = format!("/dev/sd{}", char::from(b'n' + disks.len() as u8));
        let mut disk = json!({
            "name": path, "path": path, "type": "disk", "tran": tran, "size": bytes, "rm": true,
            "ro": false, "vendor": "V", "model": "M", "serial": serial, "wwn": null,
        });
        let part = |place: &Value| {
            let name = format!("{path}1");
            json!([{"name": name, "type": "part", "size": 1, "ro": false, "mountpoints": [place]}])
        };
        for (key, value) in more.as_object().into_iter().flatten() {
            match key.as_str() {
                "at" => disk["children"] = part(value),
                key => disk[key] = value.clone(),
            }
        }
        disks.push(disk);
    };
    const BYTES: u64 = 8_000_000_000;
    disk("MOUNTED".into(), "usb", BYTES, json!({"at": "/media/x"}));
    disk("SWAP".into(), "usb", BYTES, json!({"at": "[SWAP]"}));
    disk("LUKS".into(), "usb", BYTES, json!({"fstype": "crypto_LUKS"}));
    disk("TWIN".into(), "usb", BYTES, json!({"wwn": "0x5"}));
    disk("OTHER".into(), "usb", BYTES, json!({"wwn": "0x5", "model": "N"}));
    disk("SATA".into(), "sata", BYTES, json!({}));
    disk("RO".into(), "usb", BYTES, json!({"ro": true}));
    disk("LARGE".into(), "usb", 900_000_000_000, json!({}));
    disk(Value::Null, "usb", BYTES, json!({}));
    json!({"blockdevices": disks}).to_string()
}

#[test]
fn a_disk_in_use_or_in_doubt_is_refused_with_each_reason() {
    let ((sandbox, image, _), listing) = (place(), listing());
    for (name, reason) in [
        ("MOUNTED", "in_use"),
        ("SWAP", "in_use"),
        ("LUKS", "member"),
        ("TWIN", "twin"),
        ("OTHER", "twin"),
        ("SATA", "not_usb"),
        ("RO", "read_only"),
        ("LARGE", "size"),
        // The kernel of this machine does not know the disk.
        ("TWIN", "gone"),
    ] {
        let plan = ["flash", "plan", "--image", &image, "--disk", name];
        let answer = with_lsblk(&sandbox, &listing, 0, &plan, 3);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let disks = answer["disks"].as_array().unwrap();
        let row = disks.iter().find(|row| row["serial"] == name).unwrap();
        let reasons = row["reasons"].as_array().unwrap();
        assert!(reasons.iter().any(|one| one["reason"] == reason), "{name}: {row}");
        with_lsblk(
            &sandbox,
            &listing,
            0,
            &["flash", "write", "--image", &image, "--disk", name],
            3,
        );
    }
    let plan = with_lsblk(&sandbox, &listing, 0, &["flash", "plan"], 0);
    assert!(plan.contains("no_identity"), "{plan}");
    // Names of places, names of nothing, and the permission for another disk.
    for (name, status) in [("/dev/sdn", 2), ("sdn", 3), ("", 2), ("M", 3), ("0x5", 3)] {
        let write = ["flash", "write", "--image", &image, "--disk", name];
        with_lsblk(&sandbox, &listing, 0, &write, status);
    }
    let write = ["flash", "plan", "--image", &image, "--disk", "SATA", "--allow-internal", "OTHER"];
    assert!(with_lsblk(&sandbox, &listing, 0, &write, 3).contains("not_usb"));
}

#[test]
fn a_call_that_names_no_target_or_no_consent_is_a_wrong_one() {
    let (sandbox, image, stick) = place();
    let none: &[&[&str]] = &[
        &["flash", "write", "--image", &image],
        &["flash", "write", "--disk", "X"],
        &["flash", "write", "--image", &image, "--disk", "X", "--plan", "p"],
        &["flash", "write", "--image", &image, "--disk", "X", "--plan-hash", "0"],
        &["flash", "write", "--image", &image, "--disk", "X", "--to-file", &stick],
        &["flash", "write", "--image", &image, "--allow-internal", "X"],
        &["flash", "plan", "--save", &stick],
        &["flash", "plan", "--public-key", "nope"],
        &["flash", "plan", "--sums", "nope"],
    ];
    for args in none {
        json::check(&sandbox, args, 2);
    }
    // What nobody would look at is not taken.
    let for_an_image = [
        ["--sha256", &"0".repeat(64)],
        ["--sums", &image],
        ["--public-key", &image],
        ["--signature", &image],
        ["--bundle", &image],
        ["--identity", "https://a/b"],
        ["--issuer", "https://a"],
        ["--trusted-root", &image],
        ["--ssh-key", &image],
        ["--host-name", "n"],
        ["--wifi", "env:HOME"],
        ["--role", "first-control-plane"],
        ["--join-server", "https://a:6443"],
        ["--join-token", "env:HOME"],
        ["--flake-host", "h"],
        ["--bake-cred", "gh-cli=env:HOME"],
        ["--persona", "p"],
    ];
    for [flag, value] in for_an_image {
        let answer = json::check(&sandbox, &["flash", "plan", flag, value], 2);
        assert!(answer["message"].as_str().unwrap().contains("--image"), "{answer}");
    }
}
