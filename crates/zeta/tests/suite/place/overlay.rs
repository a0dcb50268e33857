//! Overlays whose layers are two file systems: device numbers differ between a directory and its
//! files, and directories get new inode numbers.

use super::Place;
use crate::support::{Out, is_root, skip, test_name};

/// Runs a script as root in mount namespaces of its own, with an overlay at `$D/mnt`, below it what
/// lies in `$D/low`; `None` where that cannot be.
fn on_an_overlay(test: &str, place: &Place, options: &str, script: &str) -> Option<Out> {
    if !is_root() {
        skip(test, "needs root to mount an overlay");
        return None;
    }
    let whole = format!(
        "mkdir -p $D/low $D/up $D/mnt && mount -t tmpfs none $D/up && mkdir $D/up/u $D/up/w && \
         mount -t overlay overlay -o lowerdir=$D/low,upperdir=$D/up/u,workdir=$D/up/w{options} \
         $D/mnt || exit 99
         export ZETA_STATE_DIR=$D/mnt/state ZETA_BUS_DIR=$D/mnt/bus
         {script}"
    );
    let out = place.as_tester(&format!("exec unshare --mount sh -c '{whole}'"));
    if out.status == 99 {
        skip(test, &format!("no overlay here: {}", out.err.trim()));
        return None;
    }
    Some(out)
}

const FORGET: &str = "echo 2 >/proc/sys/vm/drop_caches";

#[test]
fn every_verb_works_on_an_overlay_of_two_file_systems() {
    for options in ["", ",xino=on", ",xino=off"] {
        for way in ["0", "1"] {
            let place = Place::new();
            std::os::unix::fs::chown(&*place.dir, Some(0), Some(0)).unwrap_or_default();
            let script = format!(
                r#"export ZETA_NO_OPENAT2={way}; set -e
                $Z init >/dev/null
                t=$($Z lease acquire a -q --as a); $Z lease check a --token $t
                {FORGET}
                $Z lease acquire a --as b && exit 11; [ $? = 3 ] || exit 12
                $Z lease renew a --token $t; $Z lease release a --token $t
                $Z lease exec a -n -- $Z marker set m
                $Z run --as a -- $Z persona set a --task t
                m="{{\"content\":\"m\"}}"
                id=$($Z bus publish --topic shadow-catch --from a --to b --payload "$m")
                $Z bus list --json | grep -q $id
                {FORGET}
                $Z bus read $id >/dev/null
                $Z bus subscribe --as b | grep -q $id
                c=$($Z claim acquire --item T-1 --as a)
                {FORGET}
                $Z claim acquire --item T-1 --as b && exit 13; [ $? = 3 ] || exit 14
                $Z claim list | grep -q T-1
                $Z claim release --item T-1 --as a --token $c
                $Z claim acquire --item T-1 --as b -q >/dev/null
                $Z status >/dev/null; $Z clean >/dev/null; $Z doctor"#
            );
            let Some(out) = on_an_overlay(test_name!(), &place, options, &script) else { return };
            assert_eq!(out.status, 0, "{options:?}, {way}: {out:?}");
            assert!(!out.out.contains("broken"), "{options:?}, {way}: {out:?}");
        }
    }
}

#[test]
fn a_tree_in_the_lower_layer_is_the_same_tree_and_excludes() {
    let place = Place::new();
    std::os::unix::fs::chown(&*place.dir, Some(0), Some(0)).unwrap_or_default();
    // Made below, before the overlay is there; used above, by eight at once, while the kernel
    // forgets inodes.
    let make = "mkdir -p $D/low; export ZETA_STATE_DIR=$D/low/state; \
                $Z lease acquire old --as a -q; t=$($Z lease acquire job -q); \
                $Z lease release job --token $t";
    assert_eq!(place.as_tester(make).status, 0);
    let script = format!(
        r#"$Z lease acquire old --as b -q; [ $? = 3 ] || exit 11
        for n in 1 2 3 4 5 6 7 8; do
            (for i in 1 2 3 4 5; do
                $Z lease exec job -w 60 -- sh -c \
                    "mkdir $D/inside && sleep 0.01 && rmdir $D/inside" || echo bad
            done) &
        done
        for i in 1 2 3; do {FORGET}; sleep 0.1; done
        wait
        ls $D/low/state/nodes/*/old.lock >/dev/null && $Z lease list"#
    );
    let Some(out) = on_an_overlay(test_name!(), &place, "", &script) else { return };
    assert_eq!(out.status, 0, "{out:?}");
    assert!(!out.out.contains("bad"), "two were inside at once: {out:?}");
}

#[test]
fn a_group_s_tree_on_an_overlay_stays_the_one_that_root_made() {
    let place = Place::new();
    std::os::unix::fs::chown(&*place.dir, Some(0), Some(0)).unwrap_or_default();
    let script = format!(
        "$Z init --group daemon --no-install >/dev/null && {FORGET} && \
         $Z lease acquire a -q && {FORGET} && $Z status; s=$?; rm -f /run/zeta/*$(basename $D | \
         sed s/-/?x2d/g)*; exit $s"
    );
    let Some(out) = on_an_overlay(test_name!(), &place, "", &script) else { return };
    assert_eq!(out.status, 0, "{out:?}");
    assert!(out.out.contains("shared by group"), "{out:?}");
}
