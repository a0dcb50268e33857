//! A real `date -s`, on a machine of its own: the wall clock jumps under held leases.

use std::process::{Command, Stdio};

use crate::arena::{Arena, MEMBER, VICTIM, sharings, until};
use crate::tally::Tally;

/// Sets the clock of this machine, which must be a virtual one: see `cargo xtask vm`.
#[test]
#[ignore = "sets the clock of the machine: cargo xtask vm"]
fn a22_the_clock_of_the_machine_is_set() {
    assert!(std::env::var_os("ZETA_ATTACKS_VM").is_some(), "only in a virtual machine of its own");
    let mut tally = Tally::new("A22c", "date -s under held leases");
    let now = || {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        i64::try_from(since.as_secs()).unwrap()
    };
    for sharing in sharings() {
        let mut last = 0u64;
        for step in [-86_400i64, 86_400, -3_600, 7_200, -10 * 86_400, 400 * 86_400, -390 * 86_400] {
            let arena = Arena::new(*sharing);
            let token = arena.ok(VICTIM, "lease acquire job -q --ttl 5m");
            let mut holder = arena.cmd(MEMBER.min(arena.insider()), "lease exec work -n --");
            let holder = holder.args(["sh", "-c", "echo $$ >$W/child; exec sleep 60"]);
            let mut holder = holder.stdout(Stdio::null()).spawn().unwrap();
            let child = arena.world.join("child");
            until("it holds", || std::fs::metadata(&child).is_ok_and(|meta| meta.len() > 0));
            let to = now() + step;
            let set = Command::new("date").args(["-s", &format!("@{to}")]).output().unwrap();
            assert!(set.status.success() && (now() - to).abs() < 5, "{set:?}");
            // No live holder loses its lease.
            tally.calls(
                &arena,
                false,
                &[
                    ("lease acquire job", 3, ""),
                    ("lease acquire work", 3, ""),
                    ("lease acquire work --wait 300ms", 6, ""),
                ],
            );
            for words in ["check", "renew", "check"] {
                let out = arena.zeta(VICTIM, &format!("lease {words} job --token {token}"));
                tally.insider(out.status == 0, &format!("{step}: {words}: {out:?}"));
            }
            // A dead holder is replaced at once.
            holder.kill().unwrap();
            holder.wait().unwrap();
            let pid = std::fs::read_to_string(&child).unwrap();
            let _ = arena.script(0, &format!("kill -9 {pid}"));
            let out = arena.zeta(VICTIM, "lease acquire work --wait 5s -q");
            let soon = out.status == 0 && out.took.as_secs() < 2;
            tally.insider(soon, &format!("{step}: a dead holder: {out:?}"));
            // And tokens grow, whatever the clock says.
            arena.ok(VICTIM, &format!("lease release job --token {token}"));
            let next = arena.ok(VICTIM, "lease acquire job -q");
            let (old, new): (u64, u64) = (token.parse().unwrap(), next.parse().unwrap());
            tally.insider(new > old, &format!("{step}: {new} after {old}"));
            last = last.max(new);
        }
        assert!(last > 0);
    }
}
