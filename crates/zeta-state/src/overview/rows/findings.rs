//! The findings of a followed tree: those of each row, and those that only all rows show.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use zeta_core::lease::Record;
use zeta_core::name::Label;
use zeta_core::overview::Finding;
use zeta_core::overview::finding::{Edits, same_file};
use zeta_core::overview::order::{agent_place, lease_place};
use zeta_core::presence::Liveness;
use zeta_core::time::Now;

use super::Rows;
use crate::overview::agent::{AgentRow, until_ns};
use crate::overview::lease::LeaseRow;
use crate::overview::to_finding;
use crate::presence::status::findings::{Ages, of_claims, of_holder, of_lease};
use crate::presence::status::{self, Lease};

impl Rows {
    /// Adds all findings. `bus_dir` is the bus that a claim of the caller would be announced on.
    pub(in crate::overview) fn findings(
        &mut self,
        bus_dir: &Path,
        now: &Now,
        findings: &mut Vec<Finding>,
    ) {
        let mut agents: Vec<&AgentRow> =
            self.agents.values().filter(|row| !row.findings.is_empty()).collect();
        agents.sort_by(|a, b| agent_place(&a.row).cmp(&agent_place(&b.row)));
        findings.extend(agents.into_iter().flat_map(|row| row.findings.iter().cloned()));
        findings.extend(
            self.faults
                .iter()
                .map(|((node, ..), found)| to_finding(Some(node.as_str()), found.clone(), 0)),
        );
        findings.extend(self.of_leases(bus_dir));
        let mut claims: BTreeMap<&Label, Vec<&Lease<'static>>> = BTreeMap::new();
        for ((node, ..), row) in self.leases.iter().filter(|(_, row)| row.lease.claim.is_some()) {
            claims.entry(node).or_default().push(&row.lease);
        }
        for (node, claims) in claims {
            let shared = of_claims(claims).into_iter();
            findings.extend(shared.map(|found| to_finding(Some(node.as_str()), found, 0)));
        }
        let edits: Vec<Edits<'_>> = self
            .agents
            .iter()
            .filter(|(_, row)| !row.edits.is_empty())
            .map(|((node, name), row)| Edits {
                node: node.as_str(),
                agent: name,
                edits: &row.edits,
            })
            .collect();
        let (same, rest_ms) = same_file(&edits, now.reading.boot_ns);
        findings.extend(same);
        self.edits_until_ns = rest_ms.map(|ms| until_ns(now, ms));
        self.have_findings_changed = false;
    }

    /// The findings about leases, those first that are in the way of others.
    fn of_leases(&self, bus_dir: &Path) -> Vec<Finding> {
        let sessions: HashMap<(&Label, &str), Liveness> = self
            .agents
            .iter()
            .filter_map(|((node, _), row)| {
                Some(((node, row.session.as_deref()?), row.row.liveness))
            })
            .collect();
        let mut found: Vec<(&LeaseRow, status::Finding)> = Vec::new();
        for ((node, ..), row) in &self.leases {
            let liveness_of =
                |record: &Record| sessions.get(&(node, record.session.as_deref()?)).copied();
            // Where none waits, the finding about the agent says enough.
            let is_waited_for = !row.row.waiters.is_empty();
            let holder = is_waited_for.then(|| of_holder(&row.lease, liveness_of, Ages::LeftOut));
            let own = of_lease(&row.lease, bus_dir);
            found.extend(own.into_iter().chain(holder.flatten()).map(|found| (row, found)));
        }
        found.sort_by(|(a, _), (b, _)| lease_place(&a.row).cmp(&lease_place(&b.row)));
        let finding = |(row, found): (&LeaseRow, _)| {
            to_finding(Some(&row.row.node), found, row.row.waiters.len())
        };
        found.into_iter().map(finding).collect()
    }

    /// Returns whether [`Rows::findings`] would add others than at its last call.
    pub(in crate::overview) fn have_findings_changed(&self) -> bool {
        self.have_findings_changed
    }

    /// Marks the findings as changed.
    pub(in crate::overview) fn findings_changed(&mut self) {
        self.have_findings_changed = true;
    }

    /// When something changes by time alone, by the boot clock.
    pub(in crate::overview) fn until_ns(&self) -> Option<u64> {
        self.rows_until_ns.into_iter().chain(self.edits_until_ns).min()
    }
}
