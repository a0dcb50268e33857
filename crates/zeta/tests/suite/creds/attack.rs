//! What a thief with the stick, another user, an unlucky operator and a hurried hand would do to
//! `zeta creds`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use rustix::termios::LocalModes;

use super::cli::{Desk, LOCK, PASSPHRASE, UUID, picker, ran};
use super::sandbox::{OTHER, USER, chmod, names, own, put, skipped_without_root};
use crate::support::{test_name, wait_for};

/// As `restore` of a desk, by a unit at boot.
fn at_boot(desk: &Desk, more: &[&str]) -> Command {
    let args = ["restore", "--at-boot", "--input", "stick/zeta-creds.enc"];
    desk.command(&[&args[..], &["--usb-uuid", UUID, "--target-root", "root"], more].concat())
}

#[test]
fn what_was_typed_at_a_wrong_place_is_not_repeated() {
    let desk = Desk::new();
    for args in [
        "creds SECRET",
        "--json creds persist SECRET",
        "-q creds persist --SECRET=x",
        "creds --bake-cred gh-cli=SECRET persist",
        "help creds SECRET",
        "creds help SECRET",
        "creds persist --passphrase-fd SECRET",
        "creds persist --json=SECRET",
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zeta"));
        let out = ran(command.args(args.split(' ')).env_clear().current_dir(&desk.place.0));
        assert_eq!(out.status, 2, "{args}: {}", out.said);
        assert!(
            !out.said.contains("SECRET") && out.said.contains("creds:"),
            "{args}: {}",
            out.said
        );
    }
}

#[test]
fn a_secret_in_the_place_of_a_file_is_not_repeated() {
    let desk = Desk::new();
    assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
    let long = "SECRET".repeat(1000);
    let flags = ["passphrase-file", "usb-uuid-file", "usb-iserial-file", "uefi-keyfile", "user"];
    for flag in flags {
        let flag = format!("--{flag}");
        for secret in ["SECRET", "/SECRET", "SEC/RET SECRET", "SECRET\n", &long] {
            let lock: &[&str] = match flag.as_str() {
                "--passphrase-file" => &LOCK[..2],
                "--user" => &LOCK,
                _ => &LOCK[2..],
            };
            // A user is looked for after the passphrase was stretched, which takes its time.
            let rare = flag == "--user" && secret != "SECRET";
            let more = [&[][..], &["--at-boot"], &["--json"], &["--factor-file", secret]];
            for more in if rare { &[][..] } else { &more } {
                // A call at boot removes it.
                put(&desk.path("stick.txt"), PASSPHRASE, 0, 0o600);
                let args = ["restore", "--input", "stick/zeta-creds.enc", "--target-root", "root"];
                let out = desk.run(&[&args[..], lock, &[&flag, secret], more].concat());
                assert_eq!(out.status, 2, "{flag} {more:?}: {}", out.said);
                assert!(!out.said.contains("SECRET"), "{flag} {more:?}: {}", out.said);
                assert!(out.said.contains("zeta: ") || out.said.contains("message"), "{flag}");
            }
        }
    }
    // A file that is missing where one belongs is named.
    put(&desk.path("stick.txt"), PASSPHRASE, 0, 0o600);
    for flag in ["--passphrase-file", "--usb-uuid-file"] {
        let lock = if flag == "--passphrase-file" { &LOCK[..2] } else { &LOCK[2..] };
        let args = ["restore", "--input", "stick/zeta-creds.enc", flag, "stick/none"];
        let out = desk.run(&[&args[..], lock].concat());
        assert!(out.status == 2 && out.said.contains("stick/none"), "{flag}: {}", out.said);
    }
}

#[test]
fn a_process_that_makes_a_passphrase_is_not_dumped() {
    let (reader, mut full) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&full, true).unwrap();
    while full.write(&[0; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&full, false).unwrap();
    let desk = Desk::new();
    let mut maker = desk.command(&["passphrase"]).stdout(full).spawn().unwrap();
    let limits = format!("/proc/{}/limits", maker.id());
    wait_for("it waits for its reader, and is closed", || {
        let limits = fs::read_to_string(&limits).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size"));
        core.is_some_and(|core| core.split_whitespace().skip(4).eq(["0", "0", "bytes"]))
    });
    drop(reader);
    maker.wait().unwrap();
}

#[test]
fn at_boot_only_a_plain_file_is_removed_and_only_after_a_restore() {
    let desk = Desk::new();
    assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
    let staged = desk.path("stick.txt");
    let named = ["--passphrase-file", "stick.txt"];
    let out = ran(&mut at_boot(&desk, &[&named[..], &["--dry-run"]].concat()));
    assert!(out.status == 0 && staged.exists(), "a dry run removes nothing: {}", out.said);
    // What systemd gave cannot be removed, and is no reason to fail.
    let out = ran(at_boot(&desk, &named).env("CREDENTIALS_DIRECTORY", ""));
    assert!(out.status == 0 && !staged.exists(), "{}", out.said);
    put(&staged, PASSPHRASE, 0, 0o600);
    let given = desk.path("given");
    fs::create_dir(&given).unwrap();
    put(&given.join("pass"), PASSPHRASE, 0, 0o400);
    let path = given.join("pass").display().to_string();
    let mut command = at_boot(&desk, &["--passphrase-file", &path]);
    let out = ran(command.env("CREDENTIALS_DIRECTORY", &given));
    assert!(out.status == 0 && given.join("pass").exists(), "{}", out.said);
    // A secret that a manager of secrets keeps elsewhere; and /dev/stdin is a link, too.
    symlink(&staged, desk.path("link")).unwrap();
    let out = ran(&mut at_boot(&desk, &["--passphrase-file", "link"]));
    assert!(out.status == 0 && out.said.contains("was kept"), "{}", out.said);
    assert!(desk.path("link").is_symlink() && staged.exists());
}

#[test]
fn at_boot_only_a_person_is_asked_again() {
    let desk = Desk::new();
    assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
    put(&desk.path("wrong"), "wrong\n", 0, 0o600);
    let mut command = at_boot(&desk, &["--ask", "--passphrase-fd", "0"]);
    let out = ran(command.stdin(fs::File::open(desk.path("wrong")).unwrap()));
    assert_eq!((out.status, out.said.matches("wrong passphrase").count()), (5, 1), "{}", out.said);
}

#[test]
fn a_link_or_a_fifo_is_neither_replaced_nor_waited_for() {
    let desk = Desk::new();
    symlink("/dev/null", desk.path("out")).unwrap();
    let persist = |output: &str| {
        let args = ["persist", "--output", output, "--bake-cred", "gh-cli=x"];
        desk.run(&[&args[..], &LOCK].concat())
    };
    let out = persist("out");
    assert!(out.status == 4 && out.said.contains("not a regular file"), "{}", out.said);
    assert!(desk.path("out").is_symlink());
    assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
    // The note is on the stick, where any person can put a file of any kind and size.
    let note = desk.path("stick/zeta-creds.factor");
    assert!(Command::new("mkfifo").arg(&note).status().unwrap().success());
    let out = desk.restore(&[]);
    assert_eq!(out.status, 0, "the note is only a hint: {}", out.said);
    fs::remove_file(&note).unwrap();
    fs::File::create(&note).unwrap().set_len(1 << 40).unwrap();
    let out = desk.restore(&[]);
    assert_eq!(out.status, 0, "{}", out.said);
}

#[test]
fn a_blob_of_the_original_does_not_go_round_the_count_of_saves() {
    let desk = Desk::new();
    assert_eq!(desk.persist(&["--format", "zcv1", "--bake-cred", "gh-cli=old"]).status, 0);
    let old = fs::read(desk.blob()).unwrap();
    assert_eq!(desk.restore(&[]).status, 0, "a machine that knows no count takes it");
    assert_eq!(desk.persist(&["--bake-cred", "gh-cli=new"]).status, 0);
    let new = fs::read(desk.blob()).unwrap();
    fs::write(desk.blob(), &old).unwrap();
    let out = desk.restore(&[]);
    assert!(out.status == 8 && out.said.contains("counts no saves"), "{}", out.said);
    // Neither does a damaged one, for which the backup is used.
    fs::write(desk.blob(), &new[..99]).unwrap();
    let out = desk.restore(&[]);
    assert!(out.status == 8 && out.said.contains("was tried because"), "{}", out.said);
    // A user may go back to that format deliberately.
    assert_eq!(desk.persist(&["--format", "zcv1", "--bake-cred", "gh-cli=x"]).status, 0);
    assert_eq!(desk.restore(&[]).status, 0);
}

#[test]
fn a_raised_count_does_not_use_the_numbers_up() {
    let desk = Desk::new();
    for round in 0..2 {
        assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
        let mut blob = fs::read(desk.blob()).unwrap();
        blob[42..50].fill(0xff);
        fs::write(desk.blob(), blob).unwrap();
        let out = desk.restore(&[]);
        assert!(out.status == 5, "round {round}: {}", out.said);
    }
    assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
    let seen = fs::read_to_string(desk.path("state/creds-seen")).unwrap();
    let last: u64 = seen.split(' ').next().unwrap().parse().unwrap();
    assert!(last < 1 << 40, "{last}");
}

#[test]
fn an_update_begins_with_the_backup_if_the_blob_is_gone() {
    let desk = Desk::new();
    for _ in 0..2 {
        assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
    }
    fs::remove_file(desk.blob()).unwrap();
    fs::remove_dir_all(desk.path("state")).unwrap();
    let out = desk.persist(&["--update", "--bake-cred", "install-answers={}"]);
    assert!(out.status == 0 && out.said.contains("ATTENTION: the backup"), "{}", out.said);
    let holds = desk.run(&[&["inspect", "--input", "stick/zeta-creds.enc"], &LOCK[..]].concat());
    assert!(holds.said.contains("gh-cli"), "{}", holds.said);
}

#[test]
fn why_the_backup_was_tried_and_what_to_do_with_a_damaged_blob_is_told() {
    let desk = Desk::new();
    for _ in 0..2 {
        assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
    }
    let good = fs::read(desk.blob()).unwrap();
    let mut bad = good.clone();
    bad[200] ^= 1;
    fs::write(desk.blob(), &bad).unwrap();
    let out = desk.restore(&[]);
    assert!(out.status == 5 && out.said.contains(".bak"), "{}", out.said);
    assert!(!out.said.contains("blkid"), "the stick is the right one: {}", out.said);
    fs::write(desk.blob(), &good[..99]).unwrap();
    put(&desk.path("stick.txt"), "another", 0, 0o600);
    let out = desk.restore(&[]);
    assert!(out.status == 5 && out.said.contains("tried because"), "{}", out.said);
}

#[test]
fn what_was_written_is_told_also_if_it_cannot_be_remembered() {
    let desk = Desk::new();
    assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
    let restore = ["restore", "--input", "stick/zeta-creds.enc", "--target-root", "root"];
    let mut command = desk.command(&[&restore[..], &LOCK].concat());
    // In a place where no directory can be created.
    let out = ran(command.env("STATE_DIRECTORY", "/proc/none"));
    assert!(out.status == 9 && out.said.contains("cannot create /proc/none"), "{}", out.said);
    assert!(out.said.contains("hosts.yml: written"), "{}", out.said);
    assert!(out.said.contains("done, but this machine does not remember it"), "{}", out.said);
    let args = ["persist", "--output", "stick/zeta-creds.enc", "--bake-cred", "gh-cli=y"];
    let mut command = desk.command(&[&args[..], &LOCK].concat());
    let out = ran(command.env("STATE_DIRECTORY", "/proc/none"));
    assert!(out.status == 9 && out.said.contains("gh-cli baked"), "{}", out.said);
    assert!(out.said.contains("done, but this machine does not remember it"), "{}", out.said);
    // What cannot be printed was done, too.
    for args in [[&args[..], &LOCK].concat(), [&restore[..], &LOCK].concat()] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let out = desk.command(&args).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(9) && said.contains("could not print"), "{said}");
    }
    // The blob is the new one: that was done.
    let out = desk.restore(&["--overwrite"]);
    assert!(out.status == 0 && out.said.contains("hosts.yml: written"), "{}", out.said);
}

#[test]
fn root_does_not_bake_what_a_user_planted_a_link_to() {
    if skipped_without_root(test_name!()) {
        return;
    }
    let desk = Desk::new();
    let home = desk.place.dir("hers", USER, 0o755);
    fs::create_dir_all(home.join(".config/gh")).unwrap();
    put(&desk.path("shadow"), "oauth_token: hash", 0, 0o600);
    put(&desk.path("other"), "other", OTHER, 0o600);
    let hosts = home.join(".config/gh/hosts.yml");
    let persist = |what: &[&str]| {
        let args = ["persist", "--output", "stick/zeta-creds.enc"];
        ran(desk.command(&[&args[..], &LOCK, what].concat()).env("HOME", &home))
    };
    let named = ["--bake-cred", "gh-cli=@~/.config/gh/hosts.yml"];
    for target in ["shadow", "other"] {
        symlink(desk.path(target), &hosts).unwrap();
        for what in [&["--bake-found"][..], &named] {
            let out = persist(what);
            assert!(out.status == 3 && out.said.contains("another user"), "{}", out.said);
        }
        fs::remove_file(&hosts).unwrap();
    }
    fs::hard_link(desk.path("shadow"), &hosts).unwrap();
    assert_eq!(persist(&named).status, 3);
    own(&hosts, USER);
    assert_eq!(persist(&named).status, 0);
}

#[test]
fn no_home_is_made_on_a_running_machine() {
    let desk = Desk::new();
    assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
    let args = ["restore", "--input", "stick/zeta-creds.enc"];
    for home in ["none", "stick.txt/x", "home/../none"] {
        let mut command = desk.command(&[&args[..], &LOCK].concat());
        let out = ran(command.env("HOME", desk.path(home)));
        assert!(out.status == 2 && out.said.contains("--user"), "{home}: {}", out.said);
        assert!(!desk.path("none").exists());
    }
}

#[test]
fn a_directory_of_additions_that_others_may_write_is_refused() {
    let desk = Desk::new();
    let added = desk.path("creds.d");
    fs::create_dir(&added).unwrap();
    let text = "schema_version = 1\n[[credential]]\nid = \"more\"\npaths = [\"~/more\"]\n\
                scope = \"global\"\nrule = \"text\"\n";
    put(&added.join("more.toml"), text, 0, 0o644);
    for number in 0..99 {
        put(&added.join(format!("{number}.old")), "", 0, 0o644);
    }
    let known = |dir: &Path| zeta_creds::verbs::manifest::manifest(dir);
    assert!(known(&added).unwrap().get("more").is_some(), "other files do not count");
    for mode in [0o775, 0o777, 0o1777] {
        chmod(&added, mode);
        assert!(known(&added).unwrap_err().text.contains("others may write"), "{mode:o}");
    }
}

#[test]
fn nothing_of_a_long_or_manifold_paste_is_shown() {
    let long = "FAKE".repeat(2000);
    for paste in ["{\n  \"FAKE\": 1,\n  \"FAKE2\": 2\n}\n", &format!("{long}\n")] {
        let desk = Desk::new();
        let mut terminal = picker(&desk, &["--passphrase-file", "stick.txt"]);
        terminal.wait_for("[d] ");
        terminal.keys(b"b\n");
        terminal.wait_for("[l]iteral");
        terminal.keys(b"l\n");
        terminal.wait_for("not shown");
        wait_for("it is quiet", || !terminal.modes().contains(LocalModes::ECHO));
        for part in paste.as_bytes().chunks(1000) {
            terminal.keys(part);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        terminal.wait_for("try again");
        terminal.keys(b"\x04");
        assert_eq!(terminal.end(), Some(3), "{}", terminal.shown);
        assert!(!terminal.shown.contains("FAKE"), "{}", terminal.shown);
        assert_eq!(names(&desk.path("stick")), [""; 0]);
    }
}

#[test]
fn an_update_asks_once_for_the_passphrase_that_is() {
    let desk = Desk::new();
    assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
    let mut terminal = picker(&desk, &["--update", "--defer-all"]);
    terminal.wait_for("Passphrase of the stick");
    terminal.keys(format!("{PASSPHRASE}\r").as_bytes());
    assert_eq!(terminal.end(), Some(0), "{}", terminal.shown);
    let mut terminal = picker(&desk, &[]);
    terminal.wait_for("New passphrase");
    terminal.keys(b"\x03");
    assert_eq!(terminal.end(), Some(3), "given up: {}", terminal.shown);
}
