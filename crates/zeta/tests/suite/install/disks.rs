//! A whole installation, and what is refused on the way.

use std::fs;

use serde_json::Value;

use super::rig::{KEY, Rig, cache, can_run, long};
use crate::json::misfits;
use crate::support::{Out, run, test_name};

const REGISTER: &str = "[ace.cluster.self_register]\npost_install_first_boot = true\n\
    repository = \"acme/cluster\"\nmaintainer = \"ace\"\n";

/// The answer of a verb, which fits its schema.
fn json(verb: &str, out: &Out) -> Value {
    let answer = serde_json::from_str(out.out.trim()).unwrap_or_else(|_| panic!("{out:?}"));
    assert_eq!(misfits(&format!("install {verb}"), &answer), Vec::<String>::new(), "{answer}");
    answer
}

/// A rig with a manifest and a stick that use most of what there is.
fn rig() -> Rig {
    let mut rig = Rig::new(&[320, 96, 64]);
    rig.fill(2);
    let more = format!(
        "[ace.ssh]\noperator_pubkey = \"inject_at_flash\"\n[ace.auth.github]\n\
         method = \"blob_restore\"\n[ace.network.wifi]\npersist_from_live_usb = true\n{REGISTER}"
    );
    rig.manifest(&cache(), &more);
    let token = format!("K10{}::server:x\n", "0a".repeat(32));
    rig.stick_image(&[
        ("zeta-authorized-keys.pub", KEY.as_bytes()),
        ("zeta-creds.enc", b"ZCV1 sealed"),
        ("zeta-join-token", token.as_bytes()),
        ("zeta-firstboot.conf", b"ZETA_ROLE='joiner'\nHOST='other'\n$(touch /tmp/ran)\n"),
    ]);
    let networks = rig.dir.join("live/etc/NetworkManager/system-connections");
    fs::create_dir_all(&networks).unwrap();
    fs::write(networks.join("home.nmconnection"), "[wifi]\nssid=home\n").unwrap();
    // An older file system begins where a partition will.
    let older = ["-F", "-q", "-E", "offset=68157440", &rig.disks[0].0, "32768k"];
    let made = run(std::process::Command::new("mkfs.ext4").args(older));
    assert_eq!(made.status, 0, "{made:?}");
    rig
}

/// A dry run shows each command, and writes nothing.
fn assert_dry(rig: &Rig) {
    let dry = json("run", &rig.call("run", &["--dry-run", "--json"]));
    assert_eq!(dry["steps"].as_array().unwrap().len(), 15);
    let commands = dry["steps"][3]["commands"].to_string();
    assert!(commands.contains("sgdisk --clear") && commands.contains(&rig.disks[0].0), "{dry}");
    assert!(!rig.dir.join("state").exists(), "a dry run writes nothing");
}

/// Installs the first node, whose disk the second one gets; returns its name.
fn first(rig: &Rig) -> String {
    let first = rig.call("run", &["--answer", "wipe=wipe D0"]);
    assert_eq!(first.status, 0, "{first:?}");
    let node = first.out.split(' ').next().unwrap().to_owned();
    assert!(node.starts_with("node-"), "{first:?}");
    let password = first.err.lines().find_map(|line| line.split_once("only now: ")).unwrap().1;
    assert!(password.len() == 24 && !rig.journal().contains(password));
    let again = rig.call("run", &[]);
    assert_eq!((again.status, again.out), (0, first.out.clone()), "a finished run is over");
    let status = json("status", &rig.call("status", &["--json"]));
    assert_eq!(
        (&status["state"], status["checks"].as_array().unwrap().len()),
        (&"finished".into(), 6)
    );
    // The key of its host is kept, and no file of the state has it at the end.
    rig.mounted(
        "mount -t ext4 ${D}p2 . && cd \"$PWD\" && mkdir -p etc/ssh && \
         echo of-the-host > etc/ssh/ssh_host_ed25519_key",
    );
    node
}

/// What is on the disks is what was asked for.
fn assert_node(rig: &Rig, node: &str) {
    let seen = rig.mounted(
        "mount -t ext4 ${D}p2 .\ncd .\ncd \"$PWD\"\ncat etc/zeta/cluster-node-id \
         etc/zeta/node-register.env etc/zeta/creds.env \
         etc/zeta/operator-authorized-keys etc/zeta/usb-uuid\n\
         stat -c '%a %n' etc/ssh/ssh_host_ed25519_key\ncat etc/ssh/ssh_host_ed25519_key\n\
         stat -c '%a %n' etc/zeta/initial-hashedpassword var/lib/rancher/k3s/agent/token \
         etc/NetworkManager/system-connections/home.nmconnection\n\
         head -c 3 etc/zeta/initial-hashedpassword; echo\ntail -n 1 var/lib/zeta/install/journal\n\
         git -c safe.directory='*' -C etc/zeta log --format=%s\ncat etc/zeta/zeta-firstboot.conf",
    );
    for part in [
        format!("{node}\n"),
        "--repo acme/cluster --maintainer ace --flake-host worker --flake-commit".to_owned(),
        "ZETA_CREDS_ARGS=--usb-uuid-file /etc/zeta/usb-uuid --input /boot/zeta-creds.enc \
         --user zeta --ask\n"
            .to_owned(),
        KEY.to_owned(),
        "4F2A-91C7\n600 etc/ssh/ssh_host_ed25519_key\nof-the-host\n".to_owned(),
        "600 etc/zeta/initial-hashedpassword\n600 var/lib/rancher".to_owned(),
        "600 etc/NetworkManager".to_owned(),
        "$6$\n".to_owned(),
        "\"event\":\"finished\"}\nA node\n".to_owned(),
    ] {
        assert!(seen.contains(&part), "{part:?} is not in {seen}");
    }
    assert!(!std::path::Path::new("/tmp/ran").exists(), "a file of the stick was run");
    let blob = rig.mounted("mount -t vfat ${D}p1 . && cd \"$PWD\" && cat zeta-creds.enc");
    assert_eq!(blob, "ZCV1 sealed");
    let table = rig.blkid(&rig.disks[0].0);
    assert!(table.contains("PTTYPE=gpt"), "{table}");
    assert!(!rig.dir.join("state/kept").exists());
    let nixos = fs::read_to_string(rig.dir.join("rig.nixos")).unwrap();
    assert!(nixos.contains("nixos-install --root") && nixos.contains("#worker --impure"));
    // Registration is last, and only prepared here.
    let steps: Vec<Value> =
        rig.journal().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let done: Vec<&str> = steps
        .iter()
        .filter(|line| line["event"] == "done")
        .map(|line| line["step"].as_str().unwrap())
        .collect();
    assert_eq!(done[12..], ["build", "registration", "banner"]);
}

#[test]
fn a_node_is_installed_over_another_one_and_keeps_its_name_and_no_other_disk_changes() {
    if !can_run(test_name!()) {
        return;
    }
    let rig = rig();
    let untouched = rig.hash(2);
    assert_dry(&rig);
    let node = first(&rig);
    // The name alone is no consent, and a disk with a node needs its name.
    let refused = rig.call("run", &["--anew", "--answer", "wipe=wipe D0"]);
    assert_eq!(refused.status, 3, "{refused:?}");
    assert!(refused.err.contains(&format!("wipe D0 {node}")), "{refused:?}");
    let plan = json("plan", &rig.call("plan", &["--json"]));
    assert_eq!(plan["disks"][0]["node_before"], node.as_str(), "{plan}");
    assert_eq!(plan["questions"].as_array().unwrap().len(), 1, "one question is left");
    let second = rig.call("run", &["--answer", &format!("wipe=wipe D0 {node}")]);
    assert_eq!(second.status, 0, "{second:?}");
    assert!(second.out.starts_with(&format!("{node} is installed.")), "{second:?}");
    assert_eq!(rig.hash(2), untouched);
    assert_node(&rig, &node);
}

#[test]
fn what_is_not_right_before_the_wipe_changes_nothing() {
    if !can_run(test_name!()) {
        return;
    }
    let rig = Rig::new(&[320, 64]);
    rig.fill(0);
    let before = [rig.hash(0), rig.hash(1)];
    rig.manifest("http://127.0.0.1:9", "");
    let consent = ["--answer", "wipe=wipe D0"];
    let refused = |args: &[&str], status: i32, words: &[&str]| {
        let out = rig.call("run", args);
        assert_eq!(out.status, status, "{args:?}: {out:?}");
        words.iter().for_each(|word| assert!(out.err.contains(word), "{word:?}: {out:?}"));
        assert_eq!([rig.hash(0), rig.hash(1)], before, "{args:?}");
    };
    refused(&[], 3, &["the question wipe has no answer", "D0", "--answer wipe=VALUE"]);
    refused(&["--answer", "wipe=wipe D1"], 3, &["has to be exactly \"wipe D0\""]);
    refused(&consent, 3, &["cache: ", "clock: ", "--override cache=REASON", "the clock of this"]);
    refused(&[&consent[..], &["--override", "cache=x"]].concat(), 3, &["clock: "]);
    refused(&[&consent[..], &["--override", "cache="]].concat(), 2, &["give the reason"]);
    refused(&[&consent[..], &["--override", "all=x"]].concat(), 2, &["there is no check \"all\""]);
    rig.manifest(&cache(), "[ace.network]\nranges = [\"127.0.0.0/8\", \"0.0.0.0/0\"]\n");
    refused(&[&consent[..], &["--anew"]].concat(), 3, &["addresses: these ranges overlap"]);
    rig.manifest(&cache(), "");
    let source = rig.dir.join("source");
    fs::rename(&source, rig.dir.join("moved")).unwrap();
    refused(&[&consent[..], &["--anew"]].concat(), 3, &["repository: "]);
    fs::rename(rig.dir.join("moved"), &source).unwrap();
    rig.manifest(&cache(), "[ace.ssh]\noperator_pubkey = \"inject_at_flash\"\n");
    refused(&[&consent[..], &["--anew"]].concat(), 7, &["does not list it"]);
    rig.manifest(&cache(), "[ace.filesystems]\nroot = \"zfs\"\n");
    refused(&consent, 7, &["node.toml:17: ace.filesystems: zfs is not made by this program"]);
    // A disk in use, one that is not there, and two with one name.
    rig.manifest(&cache(), "");
    let busy = "mkfs.ext4 -q -F $D && mkdir -p mounted && mount -t ext4 $D mounted";
    let out = long(&mut rig.after(busy, "run", &consent));
    assert!(out.status == 3 && out.err.contains("is in use at"), "{out:?}");
    let before = [rig.hash(0), rig.hash(1)];
    let refused = |args: &[&str], status: i32, words: &[&str]| {
        let out = rig.call("run", args);
        assert_eq!(out.status, status, "{args:?}: {out:?}");
        words.iter().for_each(|word| assert!(out.err.contains(word), "{word:?}: {out:?}"));
        assert_eq!([rig.hash(0), rig.hash(1)], before, "{args:?}");
    };
    let gone = fs::read_to_string(rig.dir.join("rig")).unwrap();
    fs::write(rig.dir.join("rig"), gone.replace(" D0", " X9")).unwrap();
    refused(&consent, 7, &["the disk D0 is not there"]);
    fs::write(rig.dir.join("rig"), gone.replace(" D1", " D0")).unwrap();
    refused(&consent, 3, &["several disks have this name"]);
}

#[test]
fn a_disk_that_another_program_changed_meanwhile_is_refused_by_name() {
    if !can_run(test_name!()) {
        return;
    }
    let rig = Rig::new(&[320]);
    rig.manifest(&cache(), "");
    let device = rig.disks[0].0.clone();
    let consent = ["--answer", "wipe=wipe D0"];
    // Each tool is missing once, so that a run stops there; then the disk changes.
    for (tool, word, change) in [
        ("sgdisk", "left_otherwise", "mkfs.ext4 -q -F $D"),
        ("partprobe", "left_otherwise", "mkfs.ext4 -q -F $D"),
        ("mkfs.ext4", "left_otherwise", "PATH=${PATH#*:} mkfs.ext4 -q -F ${D}p2"),
        ("git", "changed_after", "PATH=${PATH#*:} mkfs.ext4 -q -F ${D}p2"),
    ] {
        let path = rig.dir.join("bin").join(tool);
        let good = fs::read_to_string(&path).unwrap();
        // A check calls git, too, before anything else.
        let broken = "#!/bin/sh\nPATH=${PATH#*:}\n\
             [ \"$1 $3\" = '-C ls-remote' ] && exec git \"$@\"\nexit 9\n";
        fs::write(&path, broken).unwrap();
        let failed = rig.call("run", &[&consent[..], &["--anew"]].concat());
        let failed = if failed.status == 4 { rig.call("run", &consent) } else { failed };
        assert_eq!(failed.status, 1, "{tool}: {failed:?}");
        assert!(failed.err.contains("exit status: 9"), "{tool}: {failed:?}");
        let status = rig.call("status", &[]);
        assert!(status.out.contains("failed: ") && status.out.contains(tool), "{status:?}");
        fs::write(&path, good).unwrap();
        rig.restart();
        rig.mounted(&change.replace("$D ", &format!("{device} ")));
        let before = rig.hash(0);
        let refused = rig.call("run", &[&consent[..], &["--json"]].concat());
        assert_eq!(refused.status, 3, "{tool}: {refused:?}");
        assert_eq!(json("run", &refused)["refusal"], word, "{tool}: {refused:?}");
        assert_eq!(rig.hash(0), before, "{tool}");
        let status = rig.call("status", &["--json"]);
        assert_eq!(json("status", &status)["findings"][0]["finding"], word, "{tool}: {status:?}");
        rig.mounted("wipefs --quiet --all ${D}p* $D || wipefs --quiet --all $D");
        rig.restart();
    }
    // A journal that another manifest began, and one with damage.
    rig.manifest(&cache(), "# another\n");
    let refused = rig.call("run", &["--json"]);
    assert_eq!((refused.status, &json("run", &refused)["refusal"]), (7, &"other_manifest".into()));
    let journal = rig.dir.join("state/journal");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.replacen("intent", "intend", 1)).unwrap();
    let refused = rig.call("run", &["--json"]);
    assert_eq!((refused.status, &json("run", &refused)["refusal"]), (7, &"journal_damaged".into()));
    assert_eq!(json("status", &rig.call("status", &["--json"]))["state"], "damaged");
}
