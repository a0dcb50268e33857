//! A22 to A24: forged times, foreign processes and users that are not what they seem.

use std::process::Stdio;

use crate::arena::{Arena, MEMBER, OUTSIDER, Sharing, VICTIM, WAYS, is_root, run, sharings, until};
use crate::hand;
use crate::tally::Tally;

#[test]
fn a22_forged_times() {
    let mut tally = Tally::new("A22", "times of files that are forged");
    for sharing in sharings() {
        for when in ["2099-01-01 00:00:00", "1970-01-02 00:00:00", "2020-01-01 00:00:00"] {
            let arena = Arena::new(*sharing);
            let holder = arena.insider();
            let token = arena.ok(holder, "lease acquire job -q");
            let touch = format!("touch -d '{when}' $L $G $N $N/last-seen.iso $G/fencing_token");
            if is_root() {
                let out = arena.script(OUTSIDER, &touch);
                tally.outsider(out.status != 0, &format!("{out:?}"));
            }
            // The owner of a file can set its time; another member cannot.
            let _ = arena.script(holder, &touch);
            tally.calls(&arena, false, &[("lease acquire job", 3, "")]);
            arena.ok(holder, &format!("lease renew job --token {token}"));
            arena.ok(holder, &format!("lease release job --token {token}"));
            // And the time keeps no holder alive.
            arena.ok(holder, "lease acquire job -q --ttl 100ms --grace 0");
            let _ = arena.script(holder, &touch);
            tally.calls(&arena, false, &[("lease exec job -w 2 -- true", 0, "")]);
        }
    }
}

/// A holder that runs a command, which says when it does.
fn holder(arena: &Arena, uid: u32) -> std::process::Child {
    let mut holder = arena.cmd(uid, "lease exec job -n --");
    let holder = holder.args(["sh", "-c", "echo $$ >$W/child; exec sleep 60"]);
    let child = holder.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("it holds", || std::fs::metadata(arena.world.join("child")).is_ok_and(|m| m.len() > 0));
    child
}

#[test]
fn a23_pids_of_others() {
    let mut tally = Tally::new("A23", "pids of other users, hidden, and forged");
    for sharing in sharings() {
        for hidden in [false, true] {
            if hidden && !is_root() {
                continue;
            }
            for way in WAYS {
                tally.way(way);
                let arena = Arena::new(*sharing);
                let by = if *sharing == Sharing::Group { MEMBER } else { VICTIM };
                let mut held = holder(&arena, by);
                let call = |words: &str| {
                    let mut call = arena.cmd(VICTIM, words);
                    let call = call.env("ZETA_NO_OPENAT2", way);
                    match hidden {
                        false => run(call),
                        true => run(&mut with_hidden_proc(&arena, words, way)),
                    }
                };
                let out = call("lease acquire job");
                tally.insider(out.status == 3, &format!("lives, hidden {hidden}: {out:?}"));
                let child = std::fs::read_to_string(arena.world.join("child")).unwrap();
                held.kill().unwrap();
                held.wait().unwrap();
                let _ = arena.script(0, &format!("kill -9 {child}"));
                let out = call("lease acquire job --wait 10s -q");
                tally.insider(out.status == 0, &format!("dead, hidden {hidden}: {out:?}"));
            }
        }
        // A record that names a live process of another holder still ends by its time.
        let arena = Arena::new(*sharing);
        let insider = arena.insider();
        arena.ok(insider, "lease acquire job -q --ttl 100ms --grace 0");
        let forge = "sed 's/^pid: .*/pid: 1/' $L >$N/x && cat $N/x >$L && rm $N/x";
        assert_eq!(arena.script(insider, forge).status, 0);
        tally.calls(&arena, false, &[("lease exec job -w 5 -- true", 0, "")]);
    }
}

/// The same call where /proc shows a user only its own processes.
fn with_hidden_proc(arena: &Arena, words: &str, way: &str) -> std::process::Command {
    let mut command = arena.cmd(0, words);
    command.env("ZETA_NO_OPENAT2", way);
    hand::hide_proc(&mut command, VICTIM, crate::arena::gid_of(VICTIM, arena.sharing));
    command
}

#[test]
fn a24_user_namespace() {
    let mut tally = Tally::new("A24", "root in a user namespace of one's own");
    if !is_root() {
        return;
    }
    for sharing in sharings() {
        for start in ["tree", "nothing"] {
            let arena = match start {
                "tree" => Arena::new(*sharing),
                _ => Arena::empty(*sharing),
            };
            for (mapped, way) in [(false, "0"), (false, "1"), (true, "0"), (true, "1")] {
                tally.way(way);
                for words in ["lease acquire job", "heartbeat", "clean", "init", "status"] {
                    let mut call = arena.cmd(OUTSIDER, words);
                    call.env("ZETA_NO_OPENAT2", way);
                    let call = hand::unshare(&mut call, libc::CLONE_NEWUSER, mapped);
                    let probe = call.stdout(Stdio::null()).stderr(Stdio::null());
                    if probe.spawn().map(|mut c| c.wait()).is_err() {
                        return tally.skip("no user namespaces for ordinary users");
                    }
                    let out = run(call);
                    let named = out.status == 7 && out.said().contains("65534");
                    tally.outsider(named, &format!("{words}, mapped {mapped}: {out:?}"));
                }
            }
            let made: Vec<_> = std::fs::read_dir(&arena.world).unwrap().flatten().collect();
            assert_eq!(made.len(), usize::from(start == "tree"), "something was made: {made:?}");
        }
    }
}
