//! A6 to A13 and A21: what an insider puts where a file of the tree is read or written.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::arena::{Arena, OUTSIDER, Sharing, VICTIM, WAYS, is_root, own, run, sharings, until};
use crate::hand;
use crate::tally::{ANY, Call, Tally};

/// Each leaf by its path in a script, with the calls that read or write it.
fn leaves(status: i32, words: &'static str) -> Vec<(&'static str, bool, Vec<Call<'static>>)> {
    let verbs = |verbs: &[&'static str]| -> Vec<Call<'static>> {
        verbs.iter().map(|verb| (*verb, status, words)).collect()
    };
    let lease = [
        "lease acquire job",
        "lease acquire job --wait 300ms",
        "lease renew job --token 7",
        "lease release job --token 7",
        "lease check job --token 7",
        "lease show job",
        "lease list",
        "lease break job --damaged --reason r",
        "lease exec job -n -- true",
    ];
    let token = ["lease acquire job", "lease exec job -n -- true", "lease acquire job --wait 1s"];
    let all = ["lease acquire job", "heartbeat", "marker set m a=b", "lease show job"];
    vec![
        ("$L", false, verbs(&lease)),
        ("$G/fencing_token", false, verbs(&token)),
        ("$N/m.marker", false, verbs(&["marker set m a=c", "marker get m", "marker list"])),
        ("$N/persona-p.state", false, verbs(&["persona set p --task u", "persona get p"])),
        ("$N/last-seen.iso", false, verbs(&["heartbeat"])),
        // In a group's tree only root may write to the base.
        ("$B/local-node", true, verbs(&all)),
    ]
}

/// Calls that must end, with whatever answer, and touch nothing outside.
fn harmless() -> Vec<Call<'static>> {
    [
        "status",
        "clean",
        "doctor",
        "lease list",
        "run -- true",
        "lease break job --damaged -q --reason r",
    ]
    .into_iter()
    .map(|verb| (verb, ANY, ""))
    .collect()
}

#[test]
fn a06_leaf_symlink_on_write() {
    let mut tally = Tally::new("A6", "a symbolic link where a file is written");
    for target in ["$S/precious", "$S/shared", "$S/dangling", "m.marker", "/dev/zero"] {
        for (leaf, closed, mut calls) in leaves(7, "symbolic link") {
            calls.extend(harmless());
            let plant = format!("rm -f {leaf} && ln -s {target} {leaf}");
            tally.inside(&plant, closed, &calls);
        }
        // A note that is written by a rename replaces the link itself.
        let plant = format!("ln -s {target} $G/broken");
        tally.inside(&plant, false, &[("lease acquire job", ANY, ""), harmless()[5]]);
    }
}

#[test]
fn a06_directories_that_are_links() {
    let mut tally = Tally::new("A6d", "a symbolic link where a directory is walked");
    for (dir, closed) in [("$B/nodes", true), ("$N", true), ("$N/.guard", false), ("$G", false)] {
        // To a copy that would do, outside and beside.
        let away = format!("cp -a {dir} $W/away && mv {dir} $W/old && ln -s $W/away {dir}");
        let beside = format!("mv {dir} {dir}.beside && ln -s {dir}.beside {dir}");
        let near = format!("mv {dir} {dir}.beside && ln -s $(basename {dir}).beside {dir}");
        for plant in [away, beside, near] {
            let calls = [
                ("lease acquire job", 7, ""),
                ("lease acquire job --wait 300ms", 7, ""),
                ("lease exec job -n -- true", 7, ""),
            ];
            tally.inside(&plant, closed, &calls);
        }
    }
    let queue = "rm -rf $G/queue; ln -s $S $G/queue";
    tally.inside(queue, false, &[("lease acquire job --wait 1s", 7, ""), harmless()[1]]);
}

#[test]
fn a07_planted_temp_names() {
    let mut tally = Tally::new("A7", "a link under the name of a temp");
    let names = "job.lock.tmp .job.lock.tmp .tmp-job.lock .tmp- .tmp-0 .tmp-1 tmp job.lock~ .new- \
                 .tmp-00000000000000000000000000000000-0 .tmp-00000000000000000000000000000000";
    let plant = format!(
        "for n in {names}; do for d in $N $G $N/.guard; do ln -s $S/precious $d/$n; done; done"
    );
    let token =
        ["lease exec job -n -- true", "marker set m a=c", "heartbeat", "persona set p --task u"];
    let calls: Vec<Call<'_>> = token.iter().map(|words| (*words, 0, "")).collect();
    tally.inside(&plant, false, &calls);
    // No user can create a file under a name that cannot be guessed: each temporary file's name has
    // 16 random bytes.
    let arena = Arena::new(Sharing::Private);
    let mut seen = std::collections::BTreeSet::new();
    let flags = rustix::fs::inotify::CreateFlags::NONBLOCK;
    let watch = rustix::fs::inotify::init(flags).unwrap();
    let created = rustix::fs::inotify::WatchFlags::CREATE;
    rustix::fs::inotify::add_watch(&watch, arena.guard(), created).unwrap();
    let token = arena.ok(VICTIM, "lease acquire job -q");
    for _ in 0..20 {
        arena.ok(VICTIM, &format!("lease renew job --token {token}"));
    }
    let mut buffer = [std::mem::MaybeUninit::uninit(); 65_536];
    let mut reader = rustix::fs::inotify::Reader::new(watch, &mut buffer);
    while let Ok(event) = reader.next() {
        let Some(name) = event.file_name() else { continue };
        let name = name.to_str().unwrap().to_owned();
        let Some(random) = name.strip_prefix(".tmp-") else { continue };
        assert!(random.len() >= 32, "less than 16 random bytes: {name}");
        let fresh = seen.insert(random[..32].to_owned());
        tally.insider(fresh, &format!("the same name twice: {name}"));
    }
    assert_eq!(seen.len(), 21, "one temp for each change, by a process of its own");
}

/// What is created is created exclusively, and no link is followed: so says the trace.
#[test]
fn a07_every_creating_open_is_exclusive() {
    let mut tally = Tally::new("A7x", "each creating open is exclusive");
    if !is_root() || Command::new("strace").arg("-V").output().is_err() {
        return tally.skip("no strace here");
    }
    for sharing in sharings() {
        let arena = Arena::empty(*sharing);
        if *sharing == Sharing::Group {
            arena.place_group();
        }
        let log = arena.dir.join("log");
        let zeta = crate::arena::built();
        let _ = std::fs::remove_file(&log);
        let trace = |words: &str| {
            let mut args = vec!["-f", "-A", "-o", log.to_str().unwrap()];
            args.extend(["-e", "trace=open,openat,openat2,link,linkat,chmod,chown,fchmodat,creat"]);
            args.push(zeta.to_str().unwrap());
            args.extend(words.split(' '));
            run(&mut arena.other(0, "strace", &args)).status
        };
        assert_eq!(trace("lease acquire job --ttl 500ms --grace 0"), 0);
        for words in ["heartbeat --as a", "marker set m a=b", "persona set p --task t"] {
            assert_eq!(trace(words), 0, "{words}");
        }
        assert_eq!(trace("lease acquire job --wait 10s"), 0);
        let log = std::fs::read_to_string(log).unwrap();
        let creating = log.lines().filter(|line| line.contains("O_CREAT"));
        for line in creating {
            let good = line.contains("O_EXCL") && line.contains("O_NOFOLLOW");
            tally.insider(good, line);
        }
        for call in ["link(", "linkat(", "chmod(", "chown(", "fchmodat", "creat("] {
            let by_name = log.lines().find(|line| line.contains(&format!(" {call}")));
            tally.insider(by_name.is_none(), &format!("{call}: {by_name:?}"));
        }
        let count = log.matches("O_EXCL").count();
        assert!(count > 6, "{count} exclusive opens: {log}");
    }
}

#[test]
fn a08_stale_temp_after_kill() {
    let mut tally = Tally::new("A8", "temps that a killed process left");
    let names = "$G/.tmp-0123456789abcdef0123456789abcdef-0 $G/.tmp-00 $N/.tmp-0123456789abcdef0123\
                 456789abcdef";
    let plant = format!("for n in {names}; do : >$n; done");
    let calls =
        [("lease exec job -n -- true", 0, ""), ("marker set m a=c", 0, ""), ("clean", 0, "")];
    tally.inside(&plant, false, &calls);
    for sharing in sharings() {
        let arena = Arena::new(*sharing);
        let insider = arena.insider();
        for round in 0..60u64 {
            let words = "lease acquire job --ttl 100ms --grace 0";
            let mut child = arena.cmd(insider, words).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(round * 211 % 9_000));
            let _ = child.kill();
            child.wait().unwrap();
            for (path, (_, mode, .., content)) in crate::arena::snapshot(&arena.node()) {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let record = name == "job.lock" && path.parent() == Some(&*arena.node());
                let whole = !record || content.ends_with(b"end: true\n");
                let file = mode & libc::S_IFMT == libc::S_IFREG;
                let single = !file || std::fs::metadata(&path).unwrap().nlink() == 1;
                tally.insider(whole && single, &format!("{}: {content:?}", path.display()));
            }
        }
        until("it is free", || arena.zeta(VICTIM, "lease exec job -n -- true").status == 0);
        let left = std::fs::read_dir(arena.guard()).unwrap().flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".tmp-")), "{left:?}");
    }
}

#[test]
fn a09_hard_link_of_another_file() {
    let mut tally = Tally::new("A9", "a hard link to a file that others need");
    for (leaf, closed, calls) in leaves(7, "hard link") {
        // With fs.protected_hardlinks only what one may write can be linked: that is "shared".
        let plant = format!("rm -f {leaf} && ln $S/shared {leaf}");
        tally.inside(&plant, closed, &calls);
    }
}

#[test]
fn a10_no_lock_by_link() {
    let mut tally = Tally::new("A10", "our own second link (there is none)");
    for sharing in sharings() {
        let arena = Arena::new(*sharing);
        let token = arena.ok(VICTIM, "lease acquire job -q");
        for words in ["renew", "renew", "release"] {
            arena.ok(VICTIM, &format!("lease {words} job --token {token}"));
            for (path, (_, mode, ..)) in crate::arena::snapshot(&arena.base) {
                if mode & libc::S_IFMT == libc::S_IFREG {
                    let links = std::fs::metadata(&path).unwrap().nlink();
                    tally.insider(links == 1, &format!("{}: {links} links", path.display()));
                }
            }
        }
    }
}

#[test]
fn a11_fifo_socket_device() {
    let mut tally = Tally::new("A11", "a FIFO, a socket or a device");
    for (leaf, closed, calls) in leaves(7, "FIFO") {
        // Opening one for writing without a reader returns ENXIO, which is reported without its
        // kind.
        let words = if leaf.contains("last-seen") { "" } else { "FIFO" };
        let mut calls: Vec<_> = calls.into_iter().map(|(verb, st, _)| (verb, st, words)).collect();
        calls.extend(harmless());
        tally.inside(&format!("rm -f {leaf} && mkfifo {leaf}"), closed, &calls);
    }
    for (dir, closed) in [("$N", true), ("$N/.guard", false), ("$G", false)] {
        let plant = format!("mv {dir} {dir}.old && mkfifo {dir}");
        tally.inside(
            &plant,
            closed,
            &[("lease acquire job", 7, ""), ("lease acquire job --wait 1s", 7, "")],
        );
    }
    let queue = "rm -rf $G/queue; mkfifo $G/queue";
    tally.inside(queue, false, &[("lease acquire job --wait 1s", 7, ""), harmless()[1]]);
    for sharing in sharings() {
        let arena = Arena::new(*sharing);
        let _listener = UnixListener::bind(arena.lock()).unwrap();
        own(&arena.lock(), arena.insider(), VICTIM);
        tally.calls(&arena, false, &leaves(7, "socket")[0].2);
        if !is_root() {
            continue;
        }
        // Only root can create one.
        for uid in [OUTSIDER, arena.insider()] {
            let out = arena.script(uid, "rm -f $L; mknod $L c 1 3");
            assert_ne!(out.status, 0, "{uid} made a device");
        }
        let _ = std::fs::remove_file(arena.lock());
        assert_eq!(arena.script(0, "mknod -m 660 $L c 1 5").status, 0);
        own(&arena.lock(), arena.insider(), crate::arena::gid_of(VICTIM, *sharing));
        tally.calls(&arena, false, &leaves(7, "device")[0].2);
    }
}

#[test]
fn a12_lease_of_the_kernel_on_a_file() {
    let mut tally = Tally::new("A12", "a lease of the kernel's kind blocks opens");
    for sharing in sharings() {
        for (leaf, closed, calls) in leaves(7, "") {
            if closed && *sharing == Sharing::Group {
                continue;
            }
            let arena = Arena::new(*sharing);
            let insider = arena.insider();
            let put = format!("cp $N/m.marker $N/x; mv $N/x {leaf}; [ -s {leaf} ] && echo {leaf}");
            let out = arena.script(insider, &put);
            let path = PathBuf::from(out.out.trim());
            let leased = path.clone();
            let leased_mark = arena.world.join("leased");
            let mark = leased_mark.clone();
            let gid = crate::arena::gid_of(insider, *sharing);
            let keeper = hand::fork(insider, gid, false, move || {
                let file = File::open(&leased).unwrap();
                if hand::file_lease(&file, libc::F_WRLCK) {
                    std::fs::write(mark, "").unwrap();
                    std::mem::forget(file);
                }
            });
            assert!(leased_mark.exists(), "no lease on {}", path.display());
            tally.calls(&arena, false, &calls);
            drop(keeper);
        }
    }
}

#[test]
fn a13_sparse_and_long_files() {
    let mut tally = Tally::new("A13", "a sparse file of 8 TiB");
    let calls: [(&str, bool, &[Call<'_>]); 6] = [
        (
            "$L",
            false,
            &[
                ("lease acquire job", 3, "longer than 4096"),
                ("lease acquire job --wait 100ms", 6, "longer than 4096"),
                ("lease show job", 0, "longer than 4096"),
                ("lease renew job --token 7", 5, ""),
                ("lease list", 0, ""),
                ("status", ANY, ""),
            ],
        ),
        ("$G/fencing_token", false, &[("lease exec job -n -- true", 0, "")]),
        ("$N/m.marker", false, &[("marker set m a=b", ANY, ""), ("marker list", ANY, "")]),
        ("$N/persona-p.state", false, &[("persona set p --task u", ANY, ""), ("status", ANY, "")]),
        ("$N/last-seen.iso", false, &[("heartbeat", 0, ""), ("status", ANY, "")]),
        ("$B/local-node", true, &[("lease acquire job", 7, ""), ("status", ANY, "")]),
    ];
    for (leaf, closed, calls) in calls {
        for size in ["8796093022208", "1073741824", "65537"] {
            let plant = format!("rm -f {leaf}; dd if=/dev/zero of={leaf} bs=1 count=0 seek={size}");
            tally.inside(&plant, closed, calls);
        }
    }
}

#[test]
fn a21_names() {
    let mut tally = Tally::new("A21", "names that are paths, options or escapes");
    let arena = Arena::new(Sharing::Private);
    let names: [&[u8]; 13] = [
        b"",
        b".",
        b"..",
        b"../x",
        b"a/b",
        b"/etc/x",
        b"-rf",
        b"a b",
        b"a\nb",
        b"a\x1b[31m",
        b"\xff\xfe",
        b"caf\xc3\xa9",
        &[b'a'; 300],
    ];
    for name in names {
        for way in WAYS {
            tally.way(way);
            use std::os::unix::ffi::OsStrExt;
            for before in [&["lease", "acquire"][..], &["marker", "set"], &["persona", "set"]] {
                let name = std::ffi::OsStr::from_bytes(name);
                let mut call = arena.cmd(VICTIM, "");
                let out = run(call.args(before).arg("--").arg(name).env("ZETA_NO_OPENAT2", way));
                let clean = !out.said().contains('\x1b');
                tally.insider(out.status == 2 && clean, &format!("{name:?}: {out:?}"));
            }
        }
    }
    let odd = r"for n in 'a
b' '-rf' 'a b' 'e[31m' 'x.lock.lock' 'A.lock' '.lock' 'a..lock'; do : >$N/$n.lock; : >$N/$n; done
        e=$(printf 'e\033[31m'); : >$N/$e.lock; : >$N/$(printf '\377').lock; mkdir $N/$e";
    let quiet = |words: &'static str| (words, ANY, "");
    let calls = ["lease list", "status", "doctor", "clean", "marker list"].map(quiet);
    tally.inside(odd, false, &calls);
    let arena = Arena::new(Sharing::Private);
    assert_eq!(arena.script(VICTIM, odd).status, 0);
    for words in ["lease list", "status", "doctor", "clean", "marker list", "status --json"] {
        let said = arena.zeta(VICTIM, words).said();
        tally.insider(!said.contains('\x1b'), &format!("{words} prints an escape: {said:?}"));
    }
}
