//! Saving and loading: what is kept, what is refused, and what a killed save leaves.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use zeta_creds::blob;
use zeta_creds::blob::{Before, Found};
use zeta_os::error::Kind;

use super::sandbox::{
    Sandbox, chmod, in_own_mounts, names, part, part_words, put, seen, skipped_without_root,
};
use crate::support::{can, skip, test_name};

/// Valid here is what has one byte again and again.
pub fn uniform(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| Some(byte) == bytes.first())
}

fn bytes(found: &Found) -> &[u8] {
    match found {
        Found::Bytes(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_valid_file_becomes_the_backup_and_a_broken_one_does_not() {
    let place = Sandbox::new();
    let path = place.0.join("zeta-creds.enc");
    let save = |text: &str| blob::save(&path, text.as_bytes(), &uniform).unwrap().before;
    assert_eq!(save("aaa"), Before::None);
    assert_eq!(save("bbb"), Before::KeptAsBackup);
    assert_eq!(seen(&path).1, 0o600);
    let loaded = blob::load(&path).unwrap();
    assert_eq!((bytes(&loaded.current), bytes(&loaded.backup)), (&b"bbb"[..], &b"aaa"[..]));
    assert_eq!(loaded.backup_path, place.0.join("zeta-creds.bak"));
    fs::write(&path, "torn").unwrap();
    assert!(matches!(save("ccc"), Before::NotValid(_)));
    let loaded = blob::load(&path).unwrap();
    assert_eq!((bytes(&loaded.current), bytes(&loaded.backup)), (&b"ccc"[..], &b"aaa"[..]));
    assert_eq!(names(&place.0), ["zeta-creds.bak", "zeta-creds.enc"]);
}

#[test]
fn what_is_no_plain_file_is_not_read_and_does_not_block() {
    let place = Sandbox::new();
    let target = place.0.join("precious");
    put(&target, "aaa", 0, 0o600);
    let path = place.0.join("b.enc");
    symlink(&target, &path).unwrap();
    assert!(matches!(blob::load(&path).unwrap().current, Found::Unreadable(_)));
    // Neither the link nor what it points to is touched; it may be /dev/stdout.
    let error = blob::save(&path, b"bb", &uniform).unwrap_err();
    assert!(error.text.contains("not a regular file"), "{error}");
    assert!(path.is_symlink() && fs::read(&target).unwrap() == b"aaa");
    assert_eq!(names(&place.0), ["b.enc", "precious"]);
    let fifo = place.0.join("f.enc");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    assert!(matches!(blob::load(&fifo).unwrap().current, Found::Unreadable(_)));
    assert!(blob::save(&fifo, b"bb", &uniform).is_err() && !fifo.is_file());
    assert!(blob::load(&fifo.join("x.enc")).is_err(), "what has no names in it is no directory");
    assert!(blob::get(&fifo, 9).is_err() && blob::get(&target, 2).is_err());
    assert_eq!(blob::get(&target, 3).unwrap().unwrap(), b"aaa");
    let big = place.0.join("big.enc");
    fs::File::create(&big).unwrap().set_len(1 << 40).unwrap();
    let Found::Unreadable(error) = blob::load(&big).unwrap().current else { panic!() };
    assert!(error.text.contains("more than"), "{error}");
    assert!(blob::save(&big, &vec![0; blob::MAX + 1], &uniform).is_err());
}

#[test]
fn a_missing_directory_is_named_and_so_is_the_esp() {
    let place = Sandbox::new();
    let path = place.0.join("boot/zeta-creds.enc");
    for error in [blob::load(&path).unwrap_err(), blob::save(&path, b"x", &uniform).unwrap_err()] {
        assert_eq!(error.kind, Kind::NotFound);
        assert!(error.text.contains("/boot: there is no such directory"), "{error}");
        assert!(error.hints[0].as_str().contains("ESP"), "{:?}", error.hints);
    }
    assert!(matches!(blob::load(&place.0.join("x.enc")).unwrap().current, Found::Nothing));
    for name in ["x.bak", "x.BAK", "x.factor", "x.FACTOR"] {
        let error = blob::save(&place.0.join(name), b"x", &uniform).unwrap_err();
        assert_eq!(error.kind, Kind::Usage, "{name}");
    }
}

#[test]
fn only_our_own_leftovers_are_swept() {
    let place = Sandbox::new();
    let random = "0123456789abcdef0123456789abcdef";
    let pending = format!(".zeta-blob-{random}");
    let others = [".zeta-blob-1", ".other-0123456789abcdef0123456789abcdef", "notes"];
    for name in others.iter().copied().chain([pending.as_str()]) {
        put(&place.0.join(name), "x", 0, 0o600);
    }
    fs::create_dir(place.0.join(format!(".zeta-blob-{}", random.replace('0', "f")))).unwrap();
    let saved = blob::save(&place.0.join("b.enc"), b"aa", &uniform).unwrap();
    assert_eq!(saved.swept, 1);
    assert!(!place.0.join(pending).exists());
    assert_eq!(names(&place.0).len(), others.len() + 2);
}

#[test]
fn two_savers_and_twenty_kills_leave_a_valid_blob() {
    let place = Sandbox::new();
    let path = place.0.join("b.enc");
    let name = format!("save-for-ever,{}", path.display());
    let mut savers = Vec::new();
    for round in 0..20u64 {
        savers.clear();
        for _ in 0..2 {
            let mut saver = part(&name, "").stdout(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(saver.stdout.take().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            assert!(first.starts_with("Ok"), "{first}");
            savers.push((saver, lines));
        }
        std::thread::sleep(std::time::Duration::from_micros(round * 700));
        for (saver, _) in &mut savers {
            saver.kill().unwrap();
            saver.wait().unwrap();
        }
        let loaded = blob::load(&path).unwrap();
        assert!(uniform(bytes(&loaded.current)) && bytes(&loaded.current).len() == 5000);
        assert!(uniform(bytes(&loaded.backup)));
    }
    blob::save(&path, b"end", &|_| true).unwrap();
    assert_eq!(names(&place.0), ["b.bak", "b.enc"], "leftovers of the killed ones are gone");
}

#[test]
fn a_save_in_a_held_directory_waits_and_then_says_so() {
    let place = Sandbox::new();
    let dir = fs::File::open(&place.0).unwrap();
    rustix::fs::flock(&dir, rustix::fs::FlockOperation::LockShared).unwrap();
    let error = blob::save(&place.0.join("b.enc"), b"aa", &uniform).unwrap_err();
    assert_eq!(error.kind, Kind::Busy);
    drop(dir);
    blob::save(&place.0.join("b.enc"), b"aa", &uniform).unwrap();
}

#[test]
fn a_full_and_a_read_only_disk_keep_the_old_blob() {
    if skipped_without_root(test_name!()) {
        return;
    }
    let place = Sandbox::new();
    let esp = place.dir("esp", 0, 0o700);
    let full = ("size=64k", "No space left");
    for (options, said) in [full, ("size=1m,ro", "mount -o remount,rw")] {
        let size = options.trim_end_matches(",ro");
        let out = in_own_mounts(&format!(
            "mount -t tmpfs -o {size} t {esp}; printf aaaa >{esp}/b.enc
            [ {options} = {size} ] || mount -o remount,ro {esp}
            {part}; cat {esp}/b.enc; ls -A {esp}",
            esp = esp.display(),
            part = part_words(&format!("save-once,{}/b.enc", esp.display())),
        ));
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(text.contains(said) && text.contains("Unsafe"), "{text}");
        assert!(!text.contains("state directory"), "the hint is about another place: {text}");
        let kept = text.contains("aaaab.bak\nb.enc\n") || text.contains("aaaab.enc\n");
        assert!(kept && !text.contains(".zeta-blob"), "{text}");
    }
}

#[test]
fn what_does_not_read_back_is_no_save() {
    if !can("strace", &["-e", "inject=read:retval=0", "-P", "/dev/null", "true"]) {
        return skip(test_name!(), "no strace that can inject");
    }
    let place = Sandbox::new();
    let path = place.0.join("b.enc");
    for (how, said) in [("retval=0", "does not read back"), ("error=EIO", "cannot read")] {
        let plain = part(&format!("save-once,{}", path.display()), "");
        let mut traced = std::process::Command::new("strace");
        traced.args(["-f", "-o", "/dev/null", "-e", "trace=read", "-P"]).arg(&path);
        traced.args(["-e", &format!("inject=read:{how}")]).arg(plain.get_program());
        let out = traced.args(plain.get_args()).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(text.starts_with("Err") && text.contains(said), "{how}: {text}");
    }
}

#[test]
fn a_directory_in_its_place_is_no_blob_and_stays() {
    let place = Sandbox::new();
    let path = place.0.join("b.enc");
    fs::create_dir(&path).unwrap();
    chmod(&path, 0o700);
    assert!(blob::save(&path, b"aa", &uniform).is_err());
    assert_eq!(names(&place.0), ["b.enc"]);
    assert!(Path::new(&path).is_dir());
    crate::support::wait_for("it is removed", || fs::remove_dir(&path).is_ok());
}
