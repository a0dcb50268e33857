//! An agent as a service of systemd: its end reaches it once, and frees what it holds.

use super::machine::Machine;
use crate::support::test_name;

/// Takes a lease, and ends half a second after it was asked to.
const AGENT: &str = "\
trap 'echo asked >>/$1.log' TERM
/usr/local/bin/zeta lease acquire $1 >/dev/null
touch /$1.ready
until [ -s /$1.log ]; do sleep 0.05; done
sleep 0.3; sleep 0.3
echo ended >>/$1.log
";

const SCRIPT: &str = "\
for mode in mixed control-group; do
    systemctl start agent-$mode.service
    for n in $(seq 100); do [ -e /$mode.ready ] && break; sleep 0.1; done
    zeta lease show $mode >/dev/null && echo held
    # A command that runs for a moment has a witness.
    sleep 0.5
    systemctl stop agent-$mode.service
    echo $mode $(cat /$mode.log) $(systemctl show -p Result --value agent-$mode.service)
done
zeta lease list
echo done
";

#[test]
fn the_end_of_a_service_reaches_its_agent_once_and_frees_its_leases() {
    let Some(machine) = Machine::installed(test_name!()) else { return };
    machine.write("agent.sh", AGENT, 0o755);
    for mode in ["mixed", "control-group"] {
        let unit = format!(
            "[Service]\nKillMode={mode}\n\
             ExecStart=/usr/local/bin/zeta run --as {mode} -- /bin/sh /agent.sh {mode}\n"
        );
        machine.write(&format!("etc/systemd/system/agent-{mode}.service"), &unit, 0o644);
    }
    let said = machine.boot(SCRIPT, &[]);
    let expected =
        "held\nmixed asked ended success\nheld\ncontrol-group asked ended success\ndone\n";
    assert_eq!(said, expected);
}
