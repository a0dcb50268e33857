//! The unit of registration over many boots: one pull request, and a receipt that lasts.

use super::cluster::Cluster;
use super::machine::Machine;
use crate::node::fake_github::TOKEN;
use crate::support::test_name;

pub const SCRIPT: &str = "\
systemctl start zeta-node-register.service
echo status $(systemctl show -p ExecMainStatus --value zeta-node-register.service)
cat /proc/sys/kernel/random/boot_id
cat /var/lib/zeta/self-registered.marker
ls -l /tmp/zeta-cluster-state/nodes
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
