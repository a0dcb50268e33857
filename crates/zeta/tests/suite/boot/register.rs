//! The unit of registration over many boots: one pull request, and a receipt that lasts.

use zeta_core::registration::{branch, node_path};

use super::cluster::Cluster;
use super::machine::Machine;
use crate::node::fake_github::{Fault, TOKEN};
use crate::node::github_model::Call;
use crate::support::test_name;

pub const SCRIPT: &str = "\
systemctl start zeta-node-register.service
echo status $(systemctl show -p ExecMainStatus --value zeta-node-register.service)
cat /proc/sys/kernel/random/boot_id
cat /var/lib/zeta/self-registered.marker
ls -l /tmp/zeta-cluster-state/nodes
journalctl --sync
journalctl --no-pager -u zeta-node-register.service
";

#[test]
fn a_node_that_boots_again_and_again_has_one_pull_request() {
    let Some(machine) = Machine::installed(test_name!()) else { return };
    let cluster = Cluster::new();
    cluster.entrust(&machine);

    // The place to register is not configured: the unit is skipped.
    let said = machine.boot(SCRIPT, &[]);
    assert!(said.contains("condition"), "{said}");
    assert_eq!(cluster.pulls(), 0);

    cluster.invite(&machine);
    let mut boots = Vec::new();
    for state in ["pr-opened", "converging", "converged"] {
        let said = machine.boot(SCRIPT, &[]);
        assert!(said.contains("status 0"), "{said}");
        assert!(said.contains(&format!("state={state}")), "{said}");
        assert!(said.contains("node=node-b00710"), "{said}");
        assert!(!said.contains(TOKEN), "{said}");
        assert_eq!(cluster.pulls(), 1, "{said}");
        boots.push(said.lines().nth(1).unwrap().to_owned());
        if state == "converging" {
            cluster.forge.model(|model| model.merge(1));
        }
    }
    boots.dedup();
    assert_eq!(boots.len(), 3, "each boot has an id of its own: {boots:?}");
}

#[test]
fn a_node_that_was_set_up_by_the_documents_registers_at_boot_and_asks_again_soon() {
    let Some(machine) = Machine::installed(test_name!()) else { return };
    let cluster = Cluster::new();
    cluster.entrust(&machine);
    // The times alone are shorter than on a machine.
    let (timer, service) =
        ("[Timer]\nOnBootSec=\nOnBootSec=1s\nRandomizedDelaySec=0\n", "RestartSec=1s");
    machine.write("etc/systemd/system/zeta-node-register.timer.d/soon.conf", timer, 0o644);
    let service = format!("[Service]\n{service}\n");
    machine.write("etc/systemd/system/zeta-node-register.service.d/soon.conf", &service, 0o644);
    let said = machine.boot(&format!("{}\n", machine.next), &[]);
    assert_eq!(cluster.pulls(), 0, "{said}");

    cluster.invite(&machine);
    // The forge is down for the first attempt.
    cluster.forge.fault(Call::Contents, Fault::Status(500), 4);
    let script = "\
systemctl is-enabled zeta-node-register.timer
receipt=/var/lib/zeta/self-registered.marker
for i in $(seq 100); do grep -q pr-opened $receipt && break; sleep 0.2; done
cat $receipt
journalctl --sync
journalctl --no-pager -u zeta-node-register.service
";
    let said = machine.boot(script, &[]);
    assert!(said.starts_with("enabled\n") && said.contains("state=pr-opened"), "{said}");
    assert!(said.contains("could not ask"), "{said}");
    assert_eq!(cluster.pulls(), 1, "{said}");
    let path = node_path("ace", "node-b00710");
    let file = cluster.forge.model(|model| model.content(&branch("node-b00710"), &path));
    assert_eq!(file.contains("mac:"), file.contains("ip:"), "{file}");
}
