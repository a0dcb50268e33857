//! Containers: a private, an open or a linked `/tmp`, a read-only root, a user without a name or a
//! home, no `/proc`, and kernels or filters that refuse system calls.

use super::{Place, USER};
use crate::support::{Out, find, is_root, run, skip, test_name};

/// Runs a script as the ordinary user in a container that root made with `mounts`; the root is
/// read-only, and `$Z` is there. The state directory is the usual one, inside. `None` where that
/// cannot be.
fn in_a_container(test: &str, place: &Place, mounts: &str, script: &str) -> Option<Out> {
    if !is_root() || find("bwrap").is_none() {
        skip(test, "needs root and bwrap");
        return None;
    }
    let container = format!(
        "exec env -u ZETA_STATE_DIR -u ZETA_BUS_DIR bwrap --unshare-pid --unshare-ipc \
         --ro-bind / / --dev /dev --proc /proc {mounts} --ro-bind $Z /run/zeta-under-test \
         --setenv Z /run/zeta-under-test --cap-add ALL \
         setpriv --reuid {USER} --regid {USER} --clear-groups --bounding-set=-all sh -c '{script}'"
    );
    let probe = container.replace(script, "exit 42");
    if place.as_tester(&probe).status != 42 {
        skip(test, &format!("no such container here: {:?}", place.as_tester(&probe)));
        return None;
    }
    Some(place.as_tester(&container))
}

const TAKE: &str = "$Z lease acquire a -q --as one >/dev/null || exit 1
    $Z lease acquire a --as two; [ $? = 3 ] || exit 2
    $Z bus publish --from a --topic shadow-catch --payload \"{\\\"content\\\":\\\"m\\\"}\" || exit 3
    $Z bus list | grep -q content || exit 4
    $Z claim acquire --item T-1 --as one -q >/dev/null || exit 5
    $Z run --as three -- $Z status || exit 6
    $Z doctor >/dev/null";

#[test]
fn any_user_without_a_name_or_a_home_works_in_a_read_only_container() {
    for passwd in ["", "--ro-bind /dev/null /etc/passwd --ro-bind /dev/null /etc/group"] {
        let place = Place::new();
        let mounts = format!("--perms 1777 --tmpfs /tmp --tmpfs /run {passwd}");
        let Some(out) = in_a_container(test_name!(), &place, &mounts, TAKE) else { return };
        assert_eq!(out.status, 0, "{passwd:?}: {out:?}");
    }
}

#[test]
fn an_open_tmp_is_refused_and_a_place_that_works_is_named() {
    for mode in ["0777", "0775", "2777"] {
        let place = Place::new();
        let mounts =
            format!("--perms {mode} --tmpfs /tmp --perms 1777 --tmpfs /dev/shm --tmpfs /run");
        let script = "said=$($Z lease acquire a --as one 2>&1); echo \"$said\"
            eval \"$(echo \"$said\" | sed -n \"s/.*: export ZETA/export ZETA/p\")\"
            $Z lease acquire a -q --as one >/dev/null || exit 1
            $Z lease acquire a --as two; [ $? = 3 ] || exit 2
            stat -c %a /tmp";
        let Some(out) = in_a_container(test_name!(), &place, &mounts, script) else { return };
        assert_eq!(out.status, 0, "{mode}: {out:?}");
        assert!(out.out.contains("not sticky"), "{mode}: {out:?}");
        assert!(!out.out.contains("chmod") && !out.err.contains("chmod"), "{mode}: {out:?}");
        assert!(out.out.trim().ends_with(mode.trim_start_matches('0')), "{mode}: {out:?}");
    }
}

#[test]
fn a_linked_tmp_is_refused_with_the_whole_real_path() {
    let place = Place::new();
    let mounts = "--perms 1777 --tmpfs /var/tmp --tmpfs /run --perms 0755 --tmpfs /srv \
                  --symlink /var/tmp /srv/link";
    let script = "$Z --state-dir /srv/link/zeta-cluster-state lease acquire a --as one 2>&1
        export ZETA_STATE_DIR=/var/tmp/zeta-cluster-state
        $Z lease acquire a -q --as one >/dev/null";
    let Some(out) = in_a_container(test_name!(), &place, mounts, script) else { return };
    assert_eq!(out.status, 0, "{out:?}");
    assert!(out.out.contains("symbolic link"), "{out:?}");
    assert!(out.out.contains("--state-dir /var/tmp/zeta-cluster-state\n"), "{out:?}");
    assert!(out.out.contains("export ZETA_STATE_DIR=/var/tmp/zeta-cluster-state\n"), "{out:?}");
    assert!(!out.out.contains("mv "), "{out:?}");
}

#[test]
fn without_proc_nothing_is_guessed() {
    let place = Place::new();
    let mounts = "--perms 1777 --tmpfs /tmp --tmpfs /run --tmpfs /proc";
    let script = "$Z lease acquire a 2>&1; echo $?; ls /tmp";
    let Some(out) = in_a_container(test_name!(), &place, mounts, script) else { return };
    assert!(out.out.contains("zeta needs /proc"), "{out:?}");
    assert_eq!(out.out.lines().last(), Some("7"), "{out:?}");
}

/// The calls that filters of containers refuse, or that old kernels do not have, and how. Without a
/// pidfd no command is started, because nothing could tell when it ends.
const REFUSED: [(&str, &str); 9] = [
    ("openat2", "ENOSYS"),
    ("openat2", "EPERM"),
    ("statx", "ENOSYS"),
    ("statx", "EPERM"),
    ("openat2,statx", "EPERM"),
    ("openat2,statx", "ENOSYS"),
    ("pidfd_open", "EPERM"),
    ("faccessat2", "EPERM"),
    ("inotify_init1", "EMFILE"),
];

#[test]
fn a_refused_system_call_is_done_another_way_or_means_unknown() {
    if find("strace").is_none() {
        return skip(test_name!(), "no strace here");
    }
    for (calls, errno) in REFUSED {
        let place = Place::new();
        let strace =
            format!("strace -f -o /dev/null -e trace={calls} -e inject={calls}:error={errno}");
        if !place.can(test_name!(), &strace) {
            return;
        }
        let script = format!(
            "{strace} $Z lease acquire a -q --as one --ttl 10m >/dev/null || exit 1
             {strace} $Z lease acquire a --as two; [ $? = 3 ] || exit 2
             {strace} $Z lease list || exit 3
             {strace} $Z run --as three -- $Z lease exec b -n -- touch $D/ran; s=$?
             if [ {calls} = pidfd_open ]; then [ $s = 7 ] && [ ! -e $D/ran ] && exit 0; exit 4; fi
             [ $s = 0 ] || exit 4
             {strace} $Z lease exec c -n -- $Z lease acquire c --as two
             [ $? = 3 ] || exit 5
             {strace} $Z heartbeat --as four || exit 6
             {strace} $Z status || exit 7
             {strace} $Z bus publish --from a --topic shadow-catch --payload '{{}}' --unchecked
             [ $? = 0 ] || exit 8
             {strace} $Z bus list || exit 9"
        );
        let out = run(&mut place.command(&script));
        assert_eq!(out.status, 0, "{calls} {errno}: {out:?}");
    }
}

#[test]
fn a_mount_inside_is_noticed_without_openat2_and_statx() {
    if !is_root() || find("strace").is_none() {
        return skip(test_name!(), "needs root and strace");
    }
    let place = Place::new();
    std::os::unix::fs::chown(&*place.dir, Some(0), Some(0)).unwrap();
    for calls in ["openat2", "openat2,statx"] {
        // A directory of the same file system: its device number does not tell.
        let script = format!(
            "exec unshare --mount sh -c '
            t=$($Z lease acquire job -q); n=$(echo $D/state/nodes/*); mkdir -m 700 $D/other
            mount --bind $D/other $n || exit 99
            strace -f -o /dev/null -e trace={calls} -e inject={calls}:error=EPERM \
                $Z lease acquire job; s=$?
            umount $n; rmdir $D/other; $Z lease release job --token $t; exit $s'"
        );
        let out = place.as_tester(&script);
        if out.status == 99 {
            return skip(test_name!(), "no bind mounts here");
        }
        assert_eq!(out.status, 7, "{calls}: {out:?}");
    }
}
