//! The Debian package over boots: installed, upgraded, removed and purged; what is root's stays.

use std::time::Duration;

use zeta_packaging::deb;

use super::machine::Machine;
use crate::ops::packages::release;
use crate::support::test_name;

/// How long a boot may take in which packages come and go.
const LONG: Duration = Duration::from_secs(100);

/// Functions of the scripts: what dpkg says is shown if it fails, and nothing waits.
const FUNCTIONS: &str = r#"
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export DEBIAN_FRONTEND=noninteractive
package() { dpkg --force-unsafe-io "$@" >/dpkg.out 2>&1 || { echo "dpkg $*: $?"; cat /dpkg.out; }; }
of() { systemctl show --property "$2" --value "$1"; }
# All that is on the disk, but what belongs to the kernel, to dpkg, or to this test.
disk() {
    find / -xdev -path /proc -prune -o -path /sys -prune -o -path /dev -prune -o -path /run -prune \
        -o -path /var/lib/dpkg -prune -o -path /var/log -prune -o -path '/var/tmp/*' -prune \
        -o -path '/tmp/*' -prune -o -path '/*.out' -o -path '/*.disk' -o -print | sort
}
units() { dpkg -L zeta | sed -n 's|^/usr/lib/systemd/system/\(zeta-.*\)|\1|p'; }
"#;

/// A machine with two versions of the package at hand.
fn machine(test: &str) -> Option<Machine> {
    let machine = Machine::bare(test)?;
    ["1.2.2", "1.2.3"].iter().for_each(|version| packed(&machine, version));
    Some(machine)
}

/// Puts the package of a version onto the machine's disk.
pub fn packed(machine: &Machine, version: &str) {
    let release = release(version, &machine.sandbox.dir);
    let path = machine.root().join(format!("zeta-{version}.deb"));
    std::fs::write(path, deb::pack(&release).unwrap()).unwrap();
}

fn boot(machine: &Machine, script: &str) -> String {
    machine.boot_within(&format!("{FUNCTIONS}{script}"), &[], LONG)
}

const INSTALL: &str = r#"
disk >/before.disk
package -i /zeta-1.2.2.deb
dpkg-query -W zeta
dpkg --verify zeta
zeta --version | cut -d' ' -f1
getent passwd zeta | cut -d: -f1,6,7
stat -c '%n %a %U %G' /var/lib/zeta
ls -d /tmp/zeta-cluster-state 2>/dev/null
man=$(dpkg -L zeta | grep -c /usr/share/man/man1/zeta); [ $man -gt 50 ] && echo "many pages"

# Nothing is enabled, nothing runs, nothing failed.
for unit in $(units); do
    case $(systemctl is-enabled $unit) in disabled | static) ;; *) echo "$unit is enabled" ;; esac
done
systemctl list-units --no-legend --plain 'zeta-*' | grep -v ^zeta-end
systemctl --failed --no-legend
# A template is verified as one of its units.
systemd-analyze verify $(units | sed 's/@\./@1./;s|^|/usr/lib/systemd/system/|') 2>&1

# The first user has a directory of its own, as without the package.
setpriv --reuid 1000 --regid 1000 --clear-groups env HOME=/ \
    zeta lease acquire mine >/dev/null 2>&1 && echo leased
rm -rf /tmp/zeta-*
"#;

/// Root enabled a timer, and a service stays up.
const UPGRADE: &str = r#"
systemctl enable --now zeta-clean.timer 2>/dev/null
systemctl start zeta-cluster-bridge.service
first=$(of zeta-cluster-bridge.service MainPID)
package -i /zeta-1.2.3.deb
dpkg-query -W zeta; dpkg --verify zeta
systemctl is-enabled zeta-clean.timer; systemctl is-active zeta-clean.timer
second=$(of zeta-cluster-bridge.service MainPID)
[ $first -gt 1 ] && [ $second -gt 1 ] && [ $first != $second ] && echo restarted
of zeta-cluster-bridge.service NeedDaemonReload
cat /etc/zeta/forge-token; systemctl --failed --no-legend
"#;

/// What was enabled is there after a boot, and again when the package comes back.
const REMOVE: &str = r#"
systemctl is-active zeta-clean.timer
systemctl start zeta-cluster-bridge.service
pid=$(of zeta-cluster-bridge.service MainPID)
package -r zeta
[ $pid -gt 1 ] && [ ! -e /proc/$pid ] && echo ended
ls /usr/bin/zeta /usr/lib/systemd/system/zeta-* 2>/dev/null
systemctl is-active zeta-clean.timer; of zeta-clean.timer LoadState
cat /etc/zeta/forge-token; ls -d /var/lib/zeta
package -i /zeta-1.2.3.deb
systemctl is-enabled zeta-clean.timer; systemctl is-active zeta-clean.timer
systemctl --failed --no-legend
"#;

/// Once with a key in the home of the services, and once without.
const PURGE: &str = r#"
install -d -o zeta -g zeta /var/lib/zeta/cluster
echo KEY >/var/lib/zeta/cluster/identity
touch /var/lib/zeta/self-registered.marker
package -P zeta; grep ^zeta: /dpkg.out
find /etc/zeta /var/lib/zeta -type f
package -i /zeta-1.2.3.deb
rm -r /var/lib/zeta/cluster /etc/zeta/forge-token
rm -r /etc/systemd/system/zeta-cluster-bridge.service.d
ln -s /usr/lib/systemd/system/zeta-guard-post@.service \
    /etc/systemd/system/multi-user.target.wants/zeta-guard-post@7.service
package -P zeta; grep ^zeta: /dpkg.out
dpkg-query -W zeta 2>&1; disk >/after.disk
diff /before.disk /after.disk | sed -n 's/^[<>] /&/p'
systemctl --failed --no-legend
"#;

#[test]
fn a_package_is_installed_upgraded_removed_and_purged() {
    let Some(machine) = machine(test_name!()) else { return };
    machine.user("ace", 1000);
    let said = boot(&machine, INSTALL);
    let installed = "zeta\t1.2.2-1\nzeta\nzeta:/var/lib/zeta:/usr/sbin/nologin\n\
                     /var/lib/zeta 755 zeta zeta\nmany pages\nleased\n";
    assert_eq!(said, installed);

    // Root enables a timer, changes a service, and writes into /etc/zeta. The bridge here is a
    // program that stays.
    machine.write(
        "etc/systemd/system/zeta-cluster-bridge.service.d/own.conf",
        "[Unit]\nConditionPathExists=\n[Service]\nType=exec\nWatchdogSec=0\n\
         ReadWritePaths=\nExecStart=\nExecStart=/usr/bin/sleep infinity\n",
        0o644,
    );
    machine.write("etc/zeta/forge-token", "MARKED\n", 0o600);
    let said = boot(&machine, UPGRADE);
    let upgraded = "zeta\t1.2.3-1\nenabled\nactive\nrestarted\nno\nMARKED\n";
    assert_eq!(said, upgraded);

    // The next boot has what was enabled. A removal ends what runs and keeps what was said, so that
    // the package can come back.
    let said = boot(&machine, REMOVE);
    let removed = "active\nended\ninactive\nnot-found\nMARKED\n/var/lib/zeta\nenabled\ninactive\n";
    assert_eq!(said, removed);

    // A purge keeps what zeta cannot make again, and names it.
    let said = boot(&machine, PURGE);
    let kept = "zeta: /var/lib/zeta stays: it has files that zeta cannot make again\n\
                zeta: /etc/zeta stays: it has files of root's\n\
                /etc/zeta/forge-token\n/var/lib/zeta/cluster/identity\n";
    let rest = said.strip_prefix(kept).unwrap_or_else(|| panic!("{said}"));
    let rest: Vec<&str> = rest.lines().collect();
    // The user stays, as Debian's users do; these are copies of the files that name it.
    let copies = ["> /etc/group-", "> /etc/gshadow-", "> /etc/passwd-", "> /etc/shadow-"];
    let strange = |line: &&&str| !copies.contains(*line) && **line != "> /etc/.pwd.lock";
    let strange: Vec<&&str> = rest.iter().filter(strange).collect();
    assert_eq!(strange, [&"dpkg-query: no packages found matching zeta"], "{rest:?}");
}

#[test]
fn a_package_is_installed_where_systemd_is_not_or_does_not_run() {
    let Some(machine) = machine(test_name!()) else { return };
    let said = boot(
        &machine,
        r#"
        cat >/there.sh <<'END'
mount -t tmpfs none /run/systemd
[ -n "$1" ] && for name in systemd-sysusers systemd-tmpfiles systemctl; do
    mount --bind /dev/null /usr/bin/$name; done
for file in 1.2.2 1.2.3; do
    dpkg --force-unsafe-io -i /zeta-$file.deb >/there.out 2>&1 || cat /there.out
done
dpkg-query -W zeta; zeta --version | cut -d' ' -f1; stat -c %U /var/lib/zeta 2>/dev/null
dpkg -P zeta >/there.out 2>&1 || cat /there.out
ls -d /var/lib/zeta /usr/bin/zeta 2>/dev/null
END
        unshare --mount sh /there.sh without
        unshare --mount sh /there.sh ''
        "#,
    );
    assert_eq!(said, "zeta\t1.2.3-1\nzeta\nzeta\t1.2.3-1\nzeta\nzeta\n");
}
