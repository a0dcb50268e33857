//! What is shipped beside the verbs: guide, completions, pages, units and drop-ins.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use zeta_state::upkeep::unit_files::{FILES, Setting, install, render};

use super::sandbox::{Done, Sandbox};
use crate::support::{find, is_root, skip, test_name};

#[test]
fn guide_completions_and_pages_are_whole() {
    let sandbox = Sandbox::new();
    let guide = sandbox.zeta(&["guide"]).expect(0).out;
    // With the line about the caller.
    assert!(guide.lines().count() <= 29 && guide.contains("Exit status"), "{guide}");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = sandbox.zeta(&["completions", shell]).expect(0).out;
        let asks = script.contains("__complete");
        assert!(asks || script.contains("acquire") && script.contains("dry-run"), "{shell}");
    }
    let wrong = sandbox.zeta(&["completions", "klingon"]).expect(2);
    assert!(wrong.err.contains("klingon") && wrong.err.contains("zsh"), "{}", wrong.err);
    let all = sandbox.zeta(&["man"]).expect(0).out;
    for part in [".TH zeta 1", ".TH zeta-lease-acquire 1", ".TH zeta-doctor 1", "\\-\\-purpose"] {
        assert!(all.contains(part), "no {part:?} in the pages");
    }
    let dir = sandbox.dir().join("man1");
    sandbox.zeta(&["man", "--dir", dir.to_str().unwrap()]).expect(0);
    let page = fs::read_to_string(dir.join("zeta-lease-acquire.1")).unwrap();
    assert!(page.contains("fencing"), "{page}");
    let (_, synopsis) = page.split_once(".SH SYNOPSIS\n").unwrap();
    let synopsis = synopsis.lines().next().unwrap();
    for part in ["\\fBzeta lease acquire\\fR ", "[\\-\\-ttl <DURATION>]", " <NAME>"] {
        assert!(synopsis.contains(part), "no {part:?} in {synopsis}");
    }
    let example =
        "\nzeta lease acquire deploy \\-\\-ttl 30s \\-\\-wait 1m \\-\\-purpose 'release 1.2'\n";
    let (_, examples) = page.split_once(".SH EXAMPLES\n.nf\n").unwrap();
    assert!(examples.contains(example) && !page.contains("EXTRA"), "{page}");
    for verb in ["init", "clean", "doctor", "guide", "completions", "man"] {
        let help = sandbox.zeta(&[verb, "--help"]).expect(0).out;
        assert!(help.contains("Example"), "{verb}: {help}");
        if verb != "completions" {
            sandbox.zeta(&[verb, "--json"]).expect(0).json();
        }
    }
}

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../units");

#[test]
fn the_units_verify_in_silence_and_are_little_exposed() {
    if find("systemd-analyze").is_none() {
        return skip(test_name!(), "no systemd-analyze");
    }
    let sandbox = Sandbox::new();
    let names = FILES.iter().filter_map(|(path, _)| path.strip_prefix("etc/systemd/system/"));
    let units: Vec<_> = names
        .map(|name| {
            let text = fs::read_to_string(Path::new(UNITS).join(name)).unwrap();
            let here = text.replace("/usr/local/bin/zeta", env!("CARGO_BIN_EXE_zeta"));
            let path = sandbox.dir().join(name);
            fs::write(&path, here).unwrap();
            path
        })
        .collect();
    let done = Done::of(Command::new("systemd-analyze").arg("verify").args(&units)).expect(0);
    assert_eq!(done.err, "", "verify has something to say");
    let services = units.iter().filter(|unit| unit.extension().is_some_and(|end| end == "service"));
    for service in services {
        // Agents make sandboxes of their own, which costs what is more than 2.0.
        let limit = if service.ends_with("zeta-guard-post@.service") { 25 } else { 20 };
        let exposure = ["security", "--offline=yes", "--no-pager", &format!("--threshold={limit}")];
        Done::of(Command::new("systemd-analyze").args(exposure).arg(service)).expect(0);
    }
}

#[test]
fn each_file_of_units_is_carried_in_the_program() {
    let mut shipped = Vec::new();
    for dir in ["", "sysusers.d", "tmpfiles.d"] {
        for entry in fs::read_dir(Path::new(UNITS).join(dir)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let name = Path::new(dir).join(entry.file_name()).display().to_string();
                shipped.push((name, fs::read_to_string(entry.path()).unwrap()));
            }
        }
    }
    shipped.sort();
    // What is made for the user zeta and the program in /usr/local/bin is what is shipped.
    let files = render(&Setting::default()).unwrap();
    let named = files.into_iter().filter_map(|file| Some((file.name()?.to_owned(), file.text)));
    let mut made: Vec<(String, String)> = named.collect();
    made.sort();
    assert_eq!(made, shipped);
}

#[test]
fn the_drop_ins_make_the_user_and_the_directories() {
    if !is_root() {
        return skip(test_name!(), "not root");
    }
    if find("systemd-sysusers").is_none() || find("systemd-tmpfiles").is_none() {
        return skip(test_name!(), "no systemd");
    }
    let sandbox = Sandbox::new();
    let root = sandbox.dir().join("root");
    install(&root, &Setting::default(), Some(&label("node-a")), false).unwrap();
    let flag = format!("--root={}", root.display());
    let conf = |kind: &str| root.join(format!("etc/{kind}.d/zeta.conf")).display().to_string();
    Done::of(Command::new("systemd-sysusers").args([&flag, &conf("sysusers")])).expect(0);
    let groups = fs::read_to_string(root.join("etc/group")).unwrap();
    let gid = groups.lines().find_map(|line| line.strip_prefix("zeta:x:")).unwrap();
    let gid: u32 = gid.split(':').next().unwrap().parse().unwrap();
    let conf = conf("tmpfiles");
    Done::of(Command::new("systemd-tmpfiles").args(["--create", &flag, &conf])).expect(0);
    let made = [
        ("", 0o2750),
        ("nodes", 0o3770),
        ("cluster", 0o2770),
        ("local-node", 0o640),
        ("README.md", 0o444),
    ];
    for (path, mode) in made {
        let meta = fs::metadata(root.join("tmp/zeta-cluster-state").join(path)).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (mode, 0, gid), "{path:?}");
    }
    let home = fs::metadata(root.join("var/lib/zeta")).unwrap();
    assert_eq!((home.mode() & 0o7777, home.gid()), (0o755, gid));
    assert_ne!(home.uid(), 0, "a receipt is written there as the user of the services");
    let name = fs::read_to_string(root.join("tmp/zeta-cluster-state/local-node")).unwrap();
    assert_eq!(name, "node-a\n", "the name survives the boot");
}

#[test]
fn installed_files_of_an_operator_are_kept_unless_replaced() {
    let sandbox = Sandbox::new();
    let install = |replace| {
        install(sandbox.dir(), &Setting::default(), Some(&label("node-a")), replace).unwrap()
    };
    let words =
        |replace| install(replace).steps.iter().map(|step| step.did.word()).collect::<Vec<_>>();
    assert_eq!(words(false), ["made"; 15]);
    assert_eq!(words(false), ["found"; 15]);
    let timer = sandbox.dir().join("etc/systemd/system/zeta-clean.timer");
    fs::write(&timer, "mine").unwrap();
    let but_one = |did| {
        let mut all = ["found"; 15];
        all[5] = did;
        all
    };
    assert_eq!(words(false), but_one("left"));
    assert_eq!(fs::read_to_string(&timer).unwrap(), "mine");
    assert_eq!(words(true), but_one("made"));
    assert!(fs::read_to_string(&timer).unwrap().contains("OnCalendar=hourly"));
    assert_eq!(fs::metadata(&timer).unwrap().mode() & 0o777, 0o644);
    let next = install(false).next;
    assert!(next.iter().any(|line| line.contains("enable --now zeta-clean.timer")), "{next:?}");
}

#[test]
fn the_example_of_an_added_credential_is_one() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/credentials.md");
    let page = fs::read_to_string(page).unwrap();
    let example = page.lines().skip_while(|line| !line.contains("schema_version = 1"));
    let example = example.take_while(|line| line.is_empty() || line.starts_with("    "));
    let example: String = example.map(|line| format!("{}\n", line.trim())).collect();
    let sandbox = Sandbox::new();
    let file = sandbox.dir().join("npm.toml");
    fs::write(&file, example).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let manifest = zeta_creds::verbs::manifest::manifest(sandbox.dir()).unwrap();
    let entry = manifest.get("npm").unwrap();
    assert_eq!((entry.paths[0].as_str(), entry.mode("~/.npmrc")), ("~/.npmrc", 0o600));
}

fn label(name: &str) -> zeta_core::name::Label {
    name.parse().unwrap()
}
