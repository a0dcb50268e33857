//! Hostile and broken files: a clear error, no hang, nothing outside touched, the old state intact.

use std::fs::Permissions;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use zeta_os::error::{Error, Kind};
use zeta_state::lease::acquire::{LeaseHandle, Outcome, WaitOptions};

use super::worker::{ask, context};
use crate::support::{LIMIT, Out, Sandbox, can, finish, is_root, run, skip, test_name, until};

const STRANGER: u32 = 12_345;

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn chown(path: &Path, uid: u32, gid: u32) {
    std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
}

/// Copies the program to a path where every user can run it. Another process makes the copy: a
/// child of a parallel test could inherit an open descriptor for writing ("text file busy").
fn copy_of_zeta(sandbox: &Sandbox) -> PathBuf {
    let zeta = sandbox.dir.join("zeta");
    let (from, to) = (env!("CARGO_BIN_EXE_zeta"), zeta.to_str().unwrap());
    assert!(can("install", &["-m", "755", from, to]));
    zeta
}

/// Both ways of walking: `openat2`, and one component at a time.
fn both_ways(sandbox: &Sandbox, args: &[&str], check: impl Fn(&Out)) {
    for forced in ["0", "1"] {
        let out = run(sandbox.cmd(args).env("ZETA_NO_OPENAT2", forced));
        assert!(out.took < Duration::from_secs(5), "{args:?} hung: {out:?}");
        assert!(!out.err.contains("panicked"), "{args:?}: {out:?}");
        check(&out);
    }
}

fn all_refuse(sandbox: &Sandbox, words: &str) {
    for args in [
        vec!["lease", "acquire", "job"],
        vec!["lease", "acquire", "job", "--wait", "1s"],
        vec!["lease", "renew", "job", "--token", "7"],
        vec!["lease", "release", "job", "--token", "7"],
        vec!["lease", "check", "job", "--token", "7"],
        vec!["lease", "show", "job"],
        vec!["lease", "list"],
        vec!["lease", "break", "job", "--damaged", "--reason", "r"],
        vec!["lease", "exec", "job", "-n", "--", "touch", "/nonexistent/effect"],
    ] {
        both_ways(sandbox, &args, |out| {
            assert_eq!(out.status, 7, "{args:?}: {out:?}");
            assert!(out.err.contains(words), "{args:?} should say {words:?}: {out:?}");
        });
    }
}

/// A sandbox whose tree and guard of `job` stand, and the path of its record, where nothing stands.
fn prepared() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["job"]).to_string();
    sandbox.ok(&["lease", "release", "job", "--token", &token]);
    let path = sandbox.lock("job");
    (sandbox, path)
}

#[test]
fn a_record_that_is_no_plain_file_is_refused_and_left_alone() {
    let (sandbox, path) = prepared();
    let outside = sandbox.dir.join("outside");
    std::fs::write(&outside, "precious").unwrap();
    let makers: [(&str, &dyn Fn() -> bool); 9] = [
        ("symbolic link", &|| symlink(&outside, &path).is_ok()),
        ("symbolic link", &|| symlink(sandbox.dir.join("dangling"), &path).is_ok()),
        ("FIFO", &|| can("mkfifo", &[path.to_str().unwrap()])),
        ("directory", &|| std::fs::create_dir(&path).is_ok()),
        ("socket", &|| std::os::unix::net::UnixListener::bind(&path).is_ok()),
        ("device", &|| can("mknod", &[path.to_str().unwrap(), "c", "1", "3"])),
        ("hard link", &|| std::fs::hard_link(&outside, &path).is_ok()),
        ("12345", &|| {
            rustix::process::geteuid().as_raw() != STRANGER
                && std::fs::write(&path, "x").is_ok()
                && std::os::unix::fs::chown(&path, Some(STRANGER), None).is_ok()
        }),
        ("everybody may write", &|| {
            std::fs::write(&path, "x").unwrap();
            chmod(&path, 0o666);
            true
        }),
    ];
    for (words, make) in makers {
        if !make() {
            let _ = std::fs::remove_file(&path);
            skip(test_name!(), &format!("cannot make: {words}"));
            continue;
        }
        let before = std::fs::symlink_metadata(&path).unwrap();
        all_refuse(&sandbox, words);
        let after = std::fs::symlink_metadata(&path).unwrap();
        assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()), "{words}");
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "precious");
        assert!(!sandbox.dir.join("dangling").exists());
        match after.file_type().is_dir() && !after.file_type().is_fifo() {
            true => std::fs::remove_dir(&path).unwrap(),
            false => std::fs::remove_file(&path).unwrap(),
        }
    }
    sandbox.acquire(&["job"]);
}

#[test]
fn a_record_that_cannot_be_believed_is_held_and_named() {
    let (sandbox, path) = prepared();
    let long = |len: u64| {
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(len).is_ok()
    };
    let text = |bytes: &[u8]| std::fs::write(&path, bytes).is_ok();
    let good = "schema: 1\nkind: \"lease\"\n";
    let cases: [(&str, &dyn Fn() -> bool); 11] = [
        ("longer than 4096", &|| long(8 << 40)),
        ("longer than 4096", &|| long(1 << 30)),
        ("longer than 4096", &|| text(&[b'x'; 4097])),
        ("not UTF-8", &|| text(&[0xff, 0, 1, 2, 200])),
        ("last line", &|| text(good.replace('\n', "\r\n").as_bytes())),
        ("last line", &|| text(good.as_bytes())),
        ("stands twice", &|| text(format!("{good}kind: \"lease\"\nend: true\n").as_bytes())),
        ("schema is 2", &|| text(b"schema: 2\nkind: \"lease\"\nend: true\n")),
        ("kind is \"marker\"", &|| text(b"schema: 1\nkind: \"marker\"\nend: true\n")),
        ("is missing", &|| text(format!("{good}lease: \"job\"\nend: true\n").as_bytes())),
        ("\"lease\" is missing", &|| text(format!("{good}lease: \"x\"\nend: true\n").as_bytes())),
    ];
    for (words, make) in cases {
        if !make() {
            skip(test_name!(), &format!("cannot make: {words}"));
            continue;
        }
        chmod(&path, 0o600);
        let before = std::fs::metadata(&path).unwrap();
        for (args, status) in [
            (vec!["lease", "acquire", "job"], 3),
            (vec!["lease", "acquire", "job", "--wait", "100ms"], 6),
            (vec!["lease", "show", "job"], 0),
            (vec!["lease", "list"], 0),
            (vec!["lease", "renew", "job", "--token", "7"], 5),
            (vec!["lease", "release", "job", "--token", "7"], 5),
            (vec!["lease", "check", "job", "--token", "7"], 5),
            (vec!["lease", "break", "job", "--expect", "7", "--reason", "r"], 3),
        ] {
            both_ways(&sandbox, &args, |out| {
                assert_eq!(out.status, status, "{words}: {args:?}: {out:?}");
                let tells = args[1] == "acquire" || args[1] == "show";
                let said = format!("{}{}", out.out, out.err);
                assert!(!tells || said.contains(words), "{args:?} should say {words:?}: {said}");
            });
        }
        let after = std::fs::metadata(&path).unwrap();
        assert_eq!((before.ino(), before.len()), (after.ino(), after.len()), "{words}");
        sandbox.ok(&["lease", "break", "job", "--damaged", "--reason", "test"]);
        assert!(!path.exists());
    }
    sandbox.acquire(&["job"]);
}

#[test]
fn a_base_that_others_could_have_prepared_is_refused() {
    let sandbox = Sandbox::new();
    let base = sandbox.state.clone();
    for mode in [0o755, 0o770, 0o777, 0o1777, 0o500] {
        std::fs::create_dir(&base).unwrap();
        chmod(&base, mode);
        all_refuse(&sandbox, &format!("{mode:04o}"));
        assert_eq!(std::fs::metadata(&base).unwrap().mode() & 0o7777, mode, "it was repaired");
        assert_eq!(std::fs::read_dir(&base).unwrap().count(), 0, "it was adopted");
        std::fs::remove_dir(&base).unwrap();
    }
    std::fs::write(&base, "a file").unwrap();
    all_refuse(&sandbox, "not a directory");
    std::fs::remove_file(&base).unwrap();
    let elsewhere = sandbox.dir.join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    chmod(&elsewhere, 0o700);
    symlink(&elsewhere, &base).unwrap();
    all_refuse(&sandbox, "symbolic link");
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0, "a link was followed");
    std::fs::remove_file(&base).unwrap();
    // A parent in which others could exchange it.
    chmod(&sandbox.dir, 0o777);
    all_refuse(&sandbox, "not sticky");
    chmod(&sandbox.dir, 0o700);
    std::fs::create_dir(sandbox.dir.join("real")).unwrap();
    symlink("real", sandbox.dir.join("link")).unwrap();
    let through = sandbox.dir.join("link/state");
    let out = sandbox.refused(&["--state-dir", through.to_str().unwrap(), "lease", "list"], 7);
    assert!(out.err.contains("symbolic link"), "{out:?}");
    sandbox.refused(&["--state-dir", "/nonexistent/state", "lease", "acquire", "x"], 7);
}

#[test]
fn a_tree_of_another_user_is_refused_by_name() {
    if !is_root() {
        return skip(test_name!(), "needs root to make one");
    }
    let sandbox = Sandbox::new();
    for mode in [0o700, 0o755, 0o777] {
        std::fs::create_dir(&sandbox.state).unwrap();
        chmod(&sandbox.state, mode);
        chown(&sandbox.state, STRANGER, STRANGER);
        all_refuse(&sandbox, "12345");
        assert_eq!(std::fs::metadata(&sandbox.state).unwrap().uid(), STRANGER, "it was adopted");
        std::fs::remove_dir(&sandbox.state).unwrap();
    }
    for part in ["node", "guard"] {
        let (sandbox, _) = prepared();
        let path = if part == "node" { sandbox.node() } else { sandbox.guard("job") };
        chown(&path, STRANGER, STRANGER);
        both_ways(&sandbox, &["lease", "acquire", "job"], |out| {
            assert!(out.status == 7 && out.err.contains("12345"), "{part}: {out:?}");
        });
    }
    // The other way round: a second user at root's tree learns whose it is and what to do.
    let (sandbox, _) = prepared();
    chmod(&sandbox.dir, 0o755);
    let zeta = copy_of_zeta(&sandbox);
    let id = STRANGER.to_string();
    let mut second = sandbox.other("setpriv", &["--reuid", &id, "--regid", &id, "--clear-groups"]);
    let out = run(second.arg(&zeta).args(["lease", "acquire", "job"]).current_dir("/"));
    assert_eq!(out.status, 7, "{out:?}");
    for words in ["root", "--state-dir", "zeta init --group"] {
        assert!(out.err.contains(words), "no {words:?} in {out:?}");
    }
}

#[test]
fn links_and_acls_inside_the_tree_are_refused() {
    let (sandbox, _) = prepared();
    let outside = sandbox.dir.join("outside");
    for part in ["nodes", "node", "guards", "guard"] {
        let path = match part {
            "nodes" => sandbox.state.join("nodes"),
            "node" => sandbox.node(),
            "guards" => sandbox.node().join(".guard"),
            _ => sandbox.guard("job"),
        };
        std::fs::rename(&path, &outside).unwrap();
        symlink(&outside, &path).unwrap();
        both_ways(&sandbox, &["lease", "acquire", "job"], |out| {
            assert_eq!(out.status, 7, "{part} as a link: {out:?}");
        });
        std::fs::remove_file(&path).unwrap();
        // A link that stays below the base is no better.
        let beside = path.with_extension("beside");
        std::fs::rename(&outside, &beside).unwrap();
        symlink(beside.file_name().unwrap(), &path).unwrap();
        both_ways(&sandbox, &["lease", "acquire", "job"], |out| {
            assert_eq!(out.status, 7, "{part} as a link to its neighbour: {out:?}");
        });
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(&beside, &path).unwrap();
        // Only what is opened is looked at; what lies between is closed by the base.
        if matches!(part, "nodes" | "guards") {
            continue;
        }
        if can("setfacl", &["-m", "u:12345:rwx", path.to_str().unwrap()]) {
            both_ways(&sandbox, &["lease", "acquire", "job"], |out| {
                assert_eq!(out.status, 7, "{part} with an ACL: {out:?}");
            });
            assert!(can("setfacl", &["-b", path.to_str().unwrap()]));
            chmod(&path, 0o700);
        } else {
            skip(test_name!(), "needs setfacl on this file system");
        }
    }
    let base = sandbox.state.to_str().unwrap();
    for acl in [&["-m", "u:12345:rwx"][..], &["-d", "-m", "u:12345:rwx"][..]] {
        if can("setfacl", &[acl, &[base]].concat()) {
            chmod(&sandbox.state, 0o700);
            all_refuse(&sandbox, "ACL");
            assert!(can("setfacl", &["-b", "-k", base]));
        }
    }
    let token = sandbox.guard("job").join("fencing_token");
    std::fs::remove_file(&token).unwrap();
    symlink("/etc/hostname", &token).unwrap();
    both_ways(&sandbox, &["lease", "acquire", "job"], |out| assert_eq!(out.status, 7, "{out:?}"));
    std::fs::remove_file(&token).unwrap();
    sandbox.acquire(&["job"]);
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    for umask in ["000", "022", "077"] {
        let sandbox = Sandbox::new();
        let zeta = env!("CARGO_BIN_EXE_zeta");
        let script = format!("umask {umask}; {zeta} lease acquire job -q && {zeta} marker set m");
        let out = run(&mut sandbox.other("sh", &["-c", &script]));
        assert_eq!(out.status, 0, "{out:?}");
        for (path, mode) in [
            (sandbox.state.clone(), 0o700),
            (sandbox.state.join("nodes"), 0o700),
            (sandbox.node(), 0o700),
            (sandbox.guard("job"), 0o700),
            (sandbox.state.join("local-node"), 0o600),
            (sandbox.lock("job"), 0o600),
            (sandbox.guard("job").join("fencing_token"), 0o600),
            (sandbox.node().join("m.marker"), 0o600),
        ] {
            let found = std::fs::metadata(&path).unwrap().mode() & 0o7777;
            assert_eq!(found, mode, "umask {umask}: {}", path.display());
        }
    }
}

#[test]
fn two_users_of_one_group_take_over_from_each_other() {
    let (gid, users) = (12_346_u32, [STRANGER, 12_347]);
    if !is_root() || !can("setpriv", &["--version"]) {
        return skip(test_name!(), "needs root and setpriv");
    }
    let sandbox = Sandbox::new();
    chmod(&sandbox.dir, 0o755);
    let zeta = copy_of_zeta(&sandbox);
    std::fs::create_dir(&sandbox.state).unwrap();
    std::fs::create_dir(sandbox.state.join("nodes")).unwrap();
    std::fs::write(sandbox.state.join("local-node"), "node-a\n").unwrap();
    for (path, mode) in [("", 0o2750), ("nodes", 0o3770), ("local-node", 0o640)] {
        let path = if path.is_empty() { sandbox.state.clone() } else { sandbox.state.join(path) };
        chown(&path, 0, gid);
        chmod(&path, mode);
    }
    let call = |user: u32, umask: &str, words: &str| {
        let (user, gid) = (user.to_string(), gid.to_string());
        let mut command = sandbox.other("setpriv", &["--reuid", &user, "--regid", &gid]);
        let script = format!("umask {umask}; exec {} {words}", zeta.display());
        let command = command.args(["--clear-groups", "sh", "-c", &script]).current_dir("/");
        run(command)
    };
    let mut last = 0;
    for (round, umask) in ["077", "000", "022", "077"].into_iter().enumerate() {
        let [mine, yours] = if round % 2 == 0 { users } else { [users[1], users[0]] };
        let out = call(mine, umask, "lease acquire job --ttl 300ms --grace 0");
        assert_eq!(out.status, 0, "{out:?}");
        let old: u64 = out.out.trim().parse().unwrap();
        assert!(old > last);
        let out = call(yours, umask, "lease acquire job --wait 10s --ttl 5m");
        assert_eq!(out.status, 0, "{out:?}");
        last = out.out.trim().parse().unwrap();
        assert!(last > old);
        let out = call(mine, umask, &format!("lease renew job --token {old}"));
        assert_eq!(out.status, 5, "{out:?}");
        let out = call(yours, umask, &format!("lease renew job --token {last}"));
        assert_eq!(out.status, 0, "{out:?}");
        let record = std::fs::metadata(sandbox.lock("job")).unwrap();
        assert_eq!((record.mode() & 0o7777, record.gid()), (0o660, gid));
        let out = call(yours, umask, &format!("lease release job --token {last}"));
        assert_eq!(out.status, 0, "{out:?}");
    }
    // A user outside the group cannot even read.
    let id = "12348";
    let mut other = sandbox.other("setpriv", &["--reuid", id, "--regid", id, "--clear-groups"]);
    let out = run(other.arg(&zeta).args(["lease", "show", "job"]).current_dir("/"));
    assert_eq!(out.status, 7, "{out:?}");
}

/// What happens to the guard right before a grant is committed.
fn with_hook(sandbox: &Sandbox, hook: impl Fn()) -> Kind {
    let ctx = context(&sandbox.state);
    let handle = ctx.open().unwrap();
    let mut ask = ask("job");
    ask.ttl_ms = 300;
    ask.grace_ms = Some(0);
    let mut patience = WaitOptions { limit_ms: None, on_wait: &mut |_, _| {} };
    let mut stand = LeaseHandle::new(&handle, &ask.lease);
    let granted = stand.acquire(&ask, &mut patience, &mut |_| {
        hook();
        Ok(())
    });
    granted.expect_err("it was granted in a guard that was gone").kind
}

#[test]
fn a_guard_that_vanishes_under_a_grant_grants_nothing() {
    let (sandbox, path) = prepared();
    let guard = sandbox.guard("job");
    let kind = with_hook(&sandbox, || std::fs::remove_dir_all(&guard).unwrap());
    assert_eq!(kind, Kind::Unsafe, "removed");
    assert!(!path.exists());
    sandbox.ok(&["lease", "exec", "job", "-n", "--", "true"]);
    let aside = sandbox.dir.join("aside");
    let kind = with_hook(&sandbox, || {
        std::fs::rename(&guard, &aside).unwrap();
        std::fs::create_dir(&guard).unwrap();
        chmod(&guard, 0o700);
    });
    assert_eq!(kind, Kind::Unsafe, "replaced");
    // What may stand there grants nothing and ends by itself.
    sandbox.ok(&["lease", "exec", "job", "-w", "10", "--", "true"]);
    let kind = with_hook(&sandbox, || std::fs::write(&path, "by hand").unwrap());
    assert_eq!(kind, Kind::Unsafe, "a file was put there outside the guard");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "by hand");
}

#[test]
fn a_node_that_vanishes_under_a_call_is_named_and_grants_nothing() {
    let (sandbox, path) = prepared();
    let ctx = context(&sandbox.state);
    let handle = ctx.open().unwrap();
    std::fs::remove_dir_all(sandbox.node()).unwrap();
    let mut patience = WaitOptions { limit_ms: Some(100), on_wait: &mut |_, _| {} };
    let ask = ask("job");
    let mut stand = LeaseHandle::new(&handle, &ask.lease);
    let granted = stand.acquire(&ask, &mut patience, &mut |_| Ok(()));
    let error = granted.expect_err("it was granted in a node that was gone");
    assert_eq!(error.kind, Kind::Unsafe, "{error}");
    assert!(error.text.contains("removed while it was in use"), "{error}");
    assert!(!path.exists());
    // The same while another process waits.
    sandbox.acquire(&["job"]);
    let mut waiter = sandbox.cmd(&["lease", "acquire", "job", "--wait", "15s"]);
    let waiter = waiter.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let queue = sandbox.guard("job").join("queue");
    assert!(until(LIMIT, || std::fs::read_dir(&queue).is_ok_and(|dir| dir.count() > 0)));
    std::fs::rename(sandbox.node(), sandbox.dir.join("aside")).unwrap();
    std::fs::remove_dir_all(sandbox.dir.join("aside")).unwrap();
    let out = finish(waiter, Instant::now(), LIMIT);
    assert_eq!(out.status, 7, "{out:?}");
    assert!(out.err.contains("removed"), "{out:?}");
    sandbox.acquire(&["job"]);
}

/// A process that has the directory open would continue below its descriptor, beside the processes
/// that create a new one.
#[test]
fn a_node_or_tree_that_was_moved_away_grants_and_renews_nothing_any_more() {
    for whole in [false, true] {
        let (sandbox, _) = prepared();
        let ctx = context(&sandbox.state);
        let handle = ctx.open().unwrap();
        let ask = ask("job");
        let mut stand = LeaseHandle::new(&handle, &ask.lease);
        let take = |stand: &mut LeaseHandle<'_>| {
            let mut patience = WaitOptions { limit_ms: None, on_wait: &mut |_, _| {} };
            stand.acquire(&ask, &mut patience, &mut |_| Ok(()))
        };
        let Ok(Outcome::Granted { record, .. }) = take(&mut stand) else { panic!("not granted") };
        let token = record.fencing_token;
        let moved = if whole { sandbox.state.clone() } else { sandbox.node() };
        std::fs::rename(moved, sandbox.dir.join("aside")).unwrap();
        let kind = |what: &str, error: Option<Error>| {
            assert_eq!(error.map(|error| error.kind), Some(Kind::Unsafe), "{what}, whole: {whole}");
        };
        // To its holder it is lost with its place.
        assert!(stand.renew(token, LIMIT).unwrap().is_err(), "whole: {whole}");
        assert!(stand.release(token).unwrap().is_err(), "whole: {whole}");
        kind("acquire", take(&mut stand).err());
        kind("acquire anew", take(&mut LeaseHandle::new(&handle, &ask.lease)).err());
        // Where the name is, all is in order.
        sandbox.acquire(&["job"]);
        kind("acquire beside it", take(&mut stand).err());
    }
}

/// A handle keeps the token file open. A token that another process granted in a file that was made
/// anew is the one that counts.
#[test]
fn a_token_file_that_was_replaced_is_read_by_its_name() {
    let (sandbox, _) = prepared();
    let ctx = context(&sandbox.state);
    let node = ctx.open().unwrap();
    let ask = ask("job");
    let mut handle = LeaseHandle::new(&node, &ask.lease);
    let mut take = || {
        let mut patience = WaitOptions { limit_ms: None, on_wait: &mut |_, _| {} };
        match handle.acquire(&ask, &mut patience, &mut |_| Ok(())).unwrap() {
            Outcome::Granted { record, .. } => record.fencing_token,
            other => panic!("not granted: {other:?}"),
        }
    };
    // The second grant is by the descriptor that the first one kept.
    let first = take();
    sandbox.ok(&["lease", "release", "job", "--token", &first.to_string()]);
    let second = take();
    sandbox.ok(&["lease", "release", "job", "--token", &second.to_string()]);
    let ahead = second.get() + 3_600_000_000;
    let file = sandbox.guard("job").join("fencing_token");
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, format!("{ahead:020}\n")).unwrap();
    chmod(&file, 0o600);
    assert!(take().get() > ahead);
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.trim().parse::<u64>().unwrap() > ahead, "{written}");
}

/// Runs a script in a mount namespace of its own, with `$Z` and `$D` (a fresh directory).
fn in_a_world(test: &str, script: &str) -> Option<String> {
    if !is_root() || !can("unshare", &["-m", "true"]) {
        skip(test, "needs root and unshare -m");
        return None;
    }
    let sandbox = Sandbox::new();
    let mount = sandbox.dir.join("mount");
    std::fs::create_dir(&mount).unwrap();
    chmod(&mount, 0o700);
    let mut command = sandbox.other("unshare", &["-m", "sh", "-c", script]);
    command.env("Z", env!("CARGO_BIN_EXE_zeta")).env("D", &mount);
    command.env("ZETA_STATE_DIR", mount.join("state"));
    let out = run(&mut command);
    assert!(!out.err.contains("panicked"), "{out:?}");
    assert_eq!(out.status, 0, "{out:?}");
    eprintln!("{}", out.err);
    Some(out.out.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn a_full_file_system_leaves_the_old_state_intact() {
    let script = r#"
        mount -t tmpfs -o size=256k,nr_inodes=64,mode=700 none $D || exit 9
        t=$($Z lease acquire job -q); l=$(echo $D/state/nodes/*/job.lock); cat $l >$D/copy
        head -c 1000000 /dev/zero >$D/fill 2>/dev/null
        $Z lease acquire other; echo $?
        $Z lease renew job --token $t >/dev/null; echo $?
        $Z lease check job --token $t >/dev/null; echo $?
        cmp $l $D/copy && echo same
        $Z init >/dev/null; echo $?; $Z doctor --fix >/dev/null; echo $?
        rm $D/fill; $Z lease renew job --token $t >/dev/null; echo $?; cat $l >$D/copy
        i=0; while touch $D/f$i 2>/dev/null; do i=$((i+1)); done
        $Z lease acquire other; echo $?
        $Z lease renew job --token $t >/dev/null; echo $?
        cmp $l $D/copy && echo same
        $Z lease break job --expect $t --reason r; echo $?
        $Z lease release job --token $t; echo $?
        rm $D/f*; $Z lease acquire other >/dev/null; echo $?
        ls $D/state/nodes/*/.guard/*/.tmp-* 2>/dev/null; true"#;
    if let Some(said) = in_a_world(test_name!(), script) {
        assert_eq!(said, "7 7 0 same 0 0 0 7 7 same 0 0 0");
    }
}

#[test]
fn a_read_only_file_system_is_named() {
    let script = r#"
        mount -t tmpfs -o mode=700 none $D || exit 9
        t=$($Z lease acquire job -q); mount -o remount,ro $D || exit 9
        $Z lease acquire other 2>$0; echo $?; grep -c 'read-only' $0
        for v in renew release; do $Z lease $v job --token $t; echo $?; done
        $Z lease check job --token $t >/dev/null; echo $?
        $Z lease show job >/dev/null; echo $?"#;
    let script = script.replace("$0", "/tmp/zeta-it-ro.$$");
    let script = format!("{script}\n rm /tmp/zeta-it-ro.$$");
    if let Some(said) = in_a_world(test_name!(), &script) {
        assert_eq!(said, "7 1 7 7 0 0");
    }
}

#[test]
fn a_private_tmp_gets_no_world_of_its_own() {
    let script = r#"
        mkdir -p $D/systemd-private-0-x.service-y/tmp $D/tmp
        mount --bind $D/systemd-private-0-x.service-y/tmp $D/tmp || exit 9
        export ZETA_STATE_DIR=$D/tmp/state
        $Z lease acquire job 2>&1 | grep -c PrivateTmp
        $Z lease acquire job; echo $?; ls $D/tmp"#;
    if let Some(said) = in_a_world(test_name!(), script) {
        assert_eq!(said, "1 7");
    }
}

#[test]
fn a_mount_inside_the_tree_is_refused() {
    let script = r#"
        t=$($Z lease acquire job -q); n=$(echo $D/state/nodes/*)
        mount -t tmpfs -o mode=700 none $n || exit 9
        $Z lease acquire job; echo $?
        ZETA_NO_OPENAT2=1 $Z lease acquire job; echo $?
        umount $n; $Z lease check job --token $t >/dev/null; echo $?"#;
    if let Some(said) = in_a_world(test_name!(), script) {
        assert_eq!(said, "7 7 0");
    }
}

#[test]
fn too_few_descriptors_are_an_error_and_not_a_grant() {
    let (sandbox, _) = prepared();
    let mut granted = 0;
    for limit in 3..20 {
        let script = format!("ulimit -n {limit}; exec $Z lease exec job -n -- true");
        let mut command = sandbox.other("sh", &["-c", &script]);
        let out = run(command.env("Z", env!("CARGO_BIN_EXE_zeta")));
        assert!(!out.err.contains("panicked"), "{limit}: {out:?}");
        match out.status {
            0 => granted += 1,
            // The loader itself could not open a library.
            127 => {}
            1 | 7 => assert!(out.err.contains("too many open files"), "{limit}: {out:?}"),
            _ => panic!("{limit}: {out:?}"),
        }
        let look = sandbox.zeta(&["lease", "show", "job"]);
        assert_eq!(look.status, 4, "{limit}: something was left: {look:?}");
    }
    assert!(granted > 5, "it needs more than 14 descriptors");
}
