//! The units of guard posts and of the heartbeat, under a systemd that runs.

use super::machine::Machine;
use crate::support::test_name;

/// The heartbeat is stopped, and replaced by its watchdog.
const HEARTBEAT: &str = "\
systemctl start zeta-heartbeat.service && echo ready
systemctl show -p StatusText --value zeta-heartbeat.service
cat /tmp/zeta-cluster-state/nodes/*/last-seen.iso | wc -l
first=$(systemctl show -p MainPID --value zeta-heartbeat.service)
kill -STOP $first
for n in $(seq 200); do
    now=$(systemctl show -p MainPID --value zeta-heartbeat.service)
    [ $now != 0 ] && [ $now != $first ] && break
    sleep 0.1
done
[ $now != 0 ] && [ $now != $first ] && echo replaced
systemctl show -p NRestarts --value zeta-heartbeat.service
";

#[test]
fn a_heartbeat_that_hangs_is_replaced() {
    let Some(machine) = Machine::installed(test_name!()) else { return };
    let soon = "[Service]\nWatchdogSec=2s\nRestartSec=100ms\nExecStart=\n\
                ExecStart=/usr/local/bin/zeta heartbeat --every 1s\n";
    machine.write("etc/systemd/system/zeta-heartbeat.service.d/soon.conf", soon, 0o644);
    let said = machine.boot(HEARTBEAT, &[]);
    assert_eq!(said, "ready\nbeating\n1\nreplaced\n1\n");
}

/// What a post may do and may not, and what is left of it at its end. It stands in for the agent.
const AGENT: &str = "\
group=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)
echo group ${group#/sys/fs/cgroup}
mkdir $group/supervisor $group/tick && echo $$ >$group/supervisor/cgroup.procs && echo delegated
# The machine under this one may keep the controller for itself.
if grep -qw memory $group/cgroup.controllers; then
    echo +memory >$group/cgroup.subtree_control
    echo 50M >$group/tick/memory.max || echo unlimited
fi
mkdir /sys/fs/cgroup/other 2>/dev/null || echo others refused
echo home $HOME
touch /tmp/agent-file /var/lib/zeta/agent-file && echo written
touch /etc/agent-file 2>/dev/null || echo etc refused
unshare -Ur true && echo sandbox
zeta -q lease acquire of-post >/dev/null && echo lease
(setsid sleep 1000 &)
touch /var/lib/zeta/ready
exec sleep 1000
";

const POST: &str = "\
systemctl start zeta-guard-post@2.service && echo started
for n in $(seq 100); do [ -e /var/lib/zeta/ready ] && break; sleep 0.1; done
# Both are still a shell for a moment.
for n in $(seq 100); do
    [ $(grep -xl sleep /proc/[0-9]*/comm | wc -l) = 2 ] && break
    sleep 0.1
done
grep -xl sleep /proc/[0-9]*/comm | wc -l
systemctl stop zeta-guard-posts.target
systemctl stop zeta-guard-post@2.service
grep -xl sleep /proc/[0-9]*/comm | wc -l
cat /var/lib/zeta/post.log
";

#[test]
fn a_post_has_its_own_control_group_and_leaves_nothing() {
    let Some(machine) = Machine::installed(test_name!()) else { return };
    machine.write("agent.sh", AGENT, 0o755);
    let agent = "[Service]\nType=simple\nExecStart=\nExecStart=/bin/sh /agent.sh\n\
                 StandardOutput=file:/var/lib/zeta/post.log\n\
                 StandardError=file:/var/lib/zeta/post.log\n";
    machine.write("etc/systemd/system/zeta-guard-post@.service.d/agent.conf", agent, 0o644);
    let said = machine.boot(POST, &[]);
    let expected = "\
started
2
0
group /zeta.slice/zeta-guard-post@2.service
delegated
others refused
home /var/lib/zeta
written
etc refused
sandbox
lease
";
    assert_eq!(said, expected);
}

/// Puts the registry that is shipped as an example onto the machine, where nothing reads it.
fn put_registry(machine: &Machine) {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/guard-posts");
    for file in ["posts", "personas.d/otto", "personas.d/vera", "personas.d/lior"] {
        let text = std::fs::read_to_string(format!("{examples}/{file}.toml")).unwrap();
        machine.write(&format!("registry/{file}.toml"), &text, 0o644);
    }
}

/// The scheduler decides with all that its unit takes away; what is missing is a failure by name.
const SCHEDULER: &str = "\
unit=zeta-guard-post-scheduler.service
systemctl start $unit 2>/dev/null || \
    echo without files $(systemctl show -p ExecMainStatus --value $unit)
for i in $(seq 100); do
    journalctl --no-pager -o cat -u $unit | grep -o 'there is no posts.toml in .*' && break
    sleep 0.1
done
cp -r /registry/. /etc/zeta/
systemctl start zeta-guard-post-scheduler.service && echo decided
zeta post list --json | grep -o '\"manned\":[0-9]*'
stat -c %U /var/lib/zeta/guard-post-assignments.json
";

#[test]
fn the_scheduler_decides_as_a_service() {
    let Some(machine) = Machine::installed(test_name!()) else { return };
    put_registry(&machine);
    let said = machine.boot(SCHEDULER, &[]);
    assert_eq!(
        said,
        "without files 7\nthere is no posts.toml in /etc/zeta\n\
         decided\n\"manned\":3\nzeta\n"
    );
}

/// A manager of one user, without logind: what `user@.service` starts.
const MANAGER: &str = "\
[Service]
Type=notify
User=ann
RuntimeDirectory=ann
Environment=XDG_RUNTIME_DIR=/run/ann HOME=/home/ann
ExecStart=/lib/systemd/systemd --user
Delegate=yes
KillMode=mixed
";

const PERSON: &str = "\
systemctl start manager.service && echo manager
as_ann() { setpriv --reuid 1000 --regid 1000 --clear-groups env HOME=/home/ann USER=ann \
    XDG_RUNTIME_DIR=/run/ann ZETA_STATE_DIR=/home/ann/state ZETA_BUS_DIR=/home/ann/bus \"$@\"; }
as_ann zeta init >/dev/null
as_ann zeta unit install --user | grep -c ^made
as_ann systemctl --user daemon-reload
as_ann systemctl --user is-enabled zeta-heartbeat.service zeta-clean.timer
as_ann systemctl --user start zeta-heartbeat.service && echo beats
as_ann systemctl --user show -p StatusText --value zeta-heartbeat.service
as_ann systemctl --user start zeta-clean.service && echo clean
as_ann systemctl --user show -p Result --value zeta-clean.service
mkdir -p /home/ann/.config/zeta && cp -r /registry/. /home/ann/.config/zeta/
chown -R ann /home/ann/.config
as_ann systemctl --user start zeta-guard-post-scheduler.service && echo decided
ls /home/ann/.local/state/zeta/guard-post-assignments.json
as_ann systemctl --user enable zeta-guard-posts.target 2>/dev/null && echo enabled
ls /home/ann/.config/systemd/user/default.target.wants
";

#[test]
fn units_of_a_user_work_in_the_manager_of_that_user() {
    let Some(machine) = Machine::installed(test_name!()) else { return };
    machine.user("ann", 1000);
    machine.write("etc/systemd/system/manager.service", MANAGER, 0o644);
    put_registry(&machine);
    let said = machine.boot(PERSON, &[]);
    assert_eq!(
        said,
        "manager\n10\ndisabled\ndisabled\nbeats\nbeating\nclean\nsuccess\ndecided\n\
         /home/ann/.local/state/zeta/guard-post-assignments.json\nenabled\n\
         zeta-guard-posts.target\n"
    );
}
