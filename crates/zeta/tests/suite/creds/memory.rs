//! Memory that cannot be had is a refusal: never the end of the process, nor half a save.

use std::fs;
use std::process::Command;

use super::cli::{Desk, LOCK, Out, ran};
use super::sandbox::names;

/// Runs a call under a limit of its address space, in MiB.
fn limited(desk: &Desk, mib: u32, args: &[&str]) -> Out {
    let plain = desk.command(&[args, &LOCK[..]].concat());
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -v $0; exec \"$@\"", &(mib * 1024).to_string()]);
    command.arg(plain.get_program()).args(plain.get_args()).current_dir(&desk.place.0);
    command.env_clear().envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
    ran(&mut command)
}

#[test]
fn memory_that_cannot_be_had_is_a_refusal_at_every_limit() {
    let desk = Desk::new();
    let persist = ["persist", "--output", "stick/zeta-creds.enc", "--bake-cred", "gh-cli=x"];
    let restore = ["restore", "--input", "stick/zeta-creds.enc", "--target-root", "root"];
    let update = [&persist[..], &["--update", "--verify"]].concat();
    // What the program itself takes before it begins; below, not even the loader has room.
    let alone = (4..256).find(|mib| limited(&desk, *mib, &["inspect"]).status == 3);
    let alone = alone.expect("the program starts with some limit");
    let refused = |out: &Out, what: &str| {
        assert_eq!(out.status, 5, "{what}: {}", out.said);
        assert!(out.said.contains("needs 128 MiB of memory"), "{what}: {}", out.said);
        assert!(out.said.contains("ulimit -v"), "{what}: {}", out.said);
    };
    for mib in [alone + 4, alone + 32, alone + 64, alone + 96, alone + 124, alone + 128] {
        refused(&limited(&desk, mib, &persist), &format!("persist with {mib} MiB"));
        assert_eq!(names(&desk.path("stick")), [""; 0], "{mib} MiB");
    }
    assert_eq!(desk.persist(&["--bake-cred", "gh-cli=x"]).status, 0);
    let before = fs::read(desk.blob()).unwrap();
    for mib in [alone + 4, alone + 64, alone + 124, alone + 128] {
        refused(&limited(&desk, mib, &restore), &format!("restore with {mib} MiB"));
        refused(&limited(&desk, mib, &update), &format!("update with {mib} MiB"));
        assert_eq!(fs::read(desk.blob()).unwrap(), before, "{mib} MiB");
    }
    // Around the least that suffices, it is one or the other, and never an abort.
    for mib in (alone + 129)..(alone + 140) {
        let out = limited(&desk, mib, &restore);
        assert!(matches!(out.status, 0 | 5), "restore with {mib} MiB: {} {}", out.status, out.said);
    }
    let out = limited(&desk, alone + 150, &update);
    assert_eq!(out.status, 0, "{}", out.said);
}
