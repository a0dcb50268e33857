//! The bugs of leases of a cluster: each one lets two nodes hold a lease at once, or breaks the
//! order of the tokens. What the torture of the cluster finds only with luck, the tables of the
//! core and the tests of the store find each time.

use super::bugs::{Bug, bug};

const DECIDE: &str = "crates/zeta-core/src/cluster/lease/decide.rs";
const CALL: &str = "crates/zeta-core/src/cluster/lease/call.rs";
const EPOCH: &str = "crates/zeta-core/src/cluster/epoch.rs";
const BRIDGE: &str = "crates/zeta-cluster/src/bridge/judge.rs";
const API: &str = "crates/zeta-cluster/src/api.rs";

const LEASE_TESTS: &[&str] = &["-p", "zeta-core", "--lib", "cluster::lease::tests"];
const EPOCH_TESTS: &[&str] = &["-p", "zeta-core", "--lib", "cluster::epoch::tests"];
/// It needs a server: Debian's is enough.
const STORE_TESTS: &[&str] = &["-p", "zeta", "--test", "suite", "cluster::store::a_write_wins"];

/// All bugs.
pub const BUGS: [Bug; 43] = [
    bug(
        "a token of the cluster is the number of its write",
        DECIDE,
        "FencingToken::after(terms.floor, previous, terms.server_us);",
        "FencingToken::new(observed.revision + 1);",
        LEASE_TESTS,
    ),
    bug(
        "a new token of the cluster forgets the last grant",
        DECIDE,
        "let previous = observed.entry.fencing_token();",
        "let previous = None;",
        LEASE_TESTS,
    ),
    bug(
        "a reading grants a lease of the cluster",
        CALL,
        "Acquired::Again(record) => self.send_grant(expected, record, terms, Outcome::Again),",
        "Acquired::Again(record) => {
                    let (deadline_ns, revision) = (deadline_ns(&record), expected);
                    Step::Done(Outcome::Again(Grant { record, revision, deadline_ns }))
                }",
        LEASE_TESTS,
    ),
    bug(
        "a holder counts from the answer",
        CALL,
        "                    grant.revision = revision;
",
        "                    grant.revision = revision;
                    let sent_ns = grant.record.renewed.boot_ns;
                    grant.deadline_ns += now.reading.boot_ns.saturating_sub(sent_ns);
",
        LEASE_TESTS,
    ),
    bug(
        "a grant that came after its deadline counts",
        CALL,
        "if now.reading.boot_ns >= grant.deadline_ns || epoch != terms.epoch {",
        "if epoch != terms.epoch {",
        LEASE_TESTS,
    ),
    bug(
        "a holder stops only when the TTL is over",
        DECIDE,
        "record.ttl_ms.saturating_sub(check_margin_ms(record.ttl_ms));",
        "record.ttl_ms.max(check_margin_ms(record.ttl_ms));",
        LEASE_TESTS,
    ),
    bug(
        "an observer counts no longer than the holder",
        DECIDE,
        "    ttl_ms.saturating_add(ttl_ms / 100)
",
        "    ttl_ms
",
        LEASE_TESTS,
    ),
    bug(
        "the clock of the server ends a lease",
        DECIDE,
        "    let mut age = observed.unchanged;
",
        "    let granted_us = record.renewed.wall_us.unwrap_or(0);
    let mut age = Age::Ms(terms.server_us.abs_diff(granted_us) / 1000);
",
        LEASE_TESTS,
    ),
    bug(
        "any node says that a holder is dead",
        DECIDE,
        "    // Only a node speaks for its dead.
    if scope.node == terms.node {",
        "    // Only a node speaks for its dead.
    if !scope.node.as_str().is_empty() {",
        LEASE_TESTS,
    ),
    bug(
        "a renewal takes the grant of another holder",
        DECIDE,
        "match lease::decide_renew(&local, token, ttl_ms, now) {",
        "let token = observed.entry.fencing_token().unwrap_or(token);
    match lease::decide_renew(&local, token, ttl_ms, now) {",
        LEASE_TESTS,
    ),
    bug(
        "no answer of the store is a refusal",
        CALL,
        "self.open = self.open.max(Some((epoch, write.expected)));",
        "self.open = None;",
        LEASE_TESTS,
    ),
    bug(
        "a server that was cut off is believed",
        CALL,
        "seen < self.known && !was_removed",
        "seen < self.known && was_removed",
        LEASE_TESTS,
    ),
    bug(
        "nobody waits after the store lost values",
        DECIDE,
        "if terms.server_us < terms.no_grant_before_us {",
        "if terms.server_us < terms.no_grant_before_us.min(0) {",
        LEASE_TESTS,
    ),
    bug(
        "an answer from before a loss is a grant",
        CALL,
        "grant.deadline_ns || epoch != terms.epoch {",
        "grant.deadline_ns {",
        LEASE_TESTS,
    ),
    bug(
        "a write of a former epoch frees a lease",
        DECIDE,
        "if observed.entry.epoch().is_some_and(|epoch| epoch < terms.epoch) {",
        "if observed.entry.epoch().is_some_and(|epoch| epoch > terms.epoch) {",
        LEASE_TESTS,
    ),
    bug(
        "a loss of the store raises no epoch",
        EPOCH,
        "epoch: meta.epoch.max(known.epoch).saturating_add(1),",
        "epoch: meta.epoch.max(known.epoch),",
        EPOCH_TESTS,
    ),
    bug(
        "a loss is not seen once the store has gone on",
        EPOCH,
        "        || seen.went_back
",
        "",
        EPOCH_TESTS,
    ),
    bug(
        "a stream that was made anew has lost nothing",
        EPOCH,
        "was_remade(remembered, seen)
        || lost_revisions",
        "lost_revisions",
        EPOCH_TESTS,
    ),
    bug(
        "a record of the cluster that says what cannot be is believed",
        EPOCH,
        "    let meta = &raw.bounded(seen.server_us);
",
        "    let meta = raw;
",
        EPOCH_TESTS,
    ),
    bug(
        "the id of a message stands for what a write expects",
        API,
        "headers.extend(expected.as_deref().map(|number| (EXPECTED, number)));",
        "headers.extend(expected.as_deref().map(|_| (\"Nats-Msg-Id\", write.subject)));",
        STORE_TESTS,
    ),
    bug(
        "a change of a record is not sent",
        "crates/zeta-core/src/cluster/local.rs",
        "known.digest != record.digest ||",
        "",
        &["-p", "zeta-core", "--lib", "cluster::local"],
    ),
    bug(
        "a copied node has a guard",
        "crates/zeta-state/src/directory/guard.rs",
        "        refuse_copied(node)?;\n",
        "        let _ = refuse_copied;\n",
        &["-p", "zeta", "--test", "suite", "bridge::copy::a_copy_is_read"],
    ),
    bug(
        "the processes of a copy are looked for on this machine",
        "crates/zeta-core/src/lease/mod.rs",
        "return Ok(Processes::default());",
        "",
        &["-p", "zeta-core", "--lib", "a_copy_is_judged"],
    ),
    bug(
        "a forged value is written",
        "crates/zeta-cluster/src/bridge/copies.rs",
        "value.trust == Trust::Forged",
        "value.trust == Trust::Forged && item == &Item::Card",
        &["-p", "zeta", "--test", "suite", "bridge::peer::what_breaks"],
    ),
    bug(
        "an older value that is sent again is taken",
        "crates/zeta-core/src/cluster/replay.rs",
        "        (false, true) => Order::Replayed,",
        "        (false, true) => Order::Newer,",
        &["-p", "zeta-core", "--lib", "an_older_value_that_is_sent_again"],
    ),
    bug(
        "a restart forgets the counters of copies",
        "crates/zeta-cluster/src/bridge/copies.rs",
        "            mark: found.and_then(|about| about.mark(at.cluster)),",
        "            mark: None,",
        &["-p", "zeta", "--test", "suite", "bridge::replay::an_old_value"],
    ),
    bug(
        "a restart forgets what was taken back",
        "crates/zeta-cluster/src/bridge/copies.rs",
        "            (None, Some(last)) => judge_node(last, at.mark(value)),",
        "            (None, Some(_)) => Order::Newer,",
        &["-p", "zeta", "--test", "suite", "bridge::replay::an_old_value"],
    ),
    bug(
        "a bridge that follows a part sees a gap each time",
        "crates/zeta-cluster/src/bridge/feed.rs",
        "        (true, before > known)",
        "        (true, before > known || sequence > known + 1)",
        &["-p", "zeta-cluster", "--lib", "of_a_part_only"],
    ),
    bug(
        "a node leaves what another hand wrote under its subjects",
        "crates/zeta-cluster/src/bridge/send.rs",
        "stored.sequence < sequence",
        "stored.sequence > sequence",
        &["-p", "zeta", "--test", "suite", "bridge::replay::what_another_hand"],
    ),
    bug(
        "an older value of a lease is taken",
        "crates/zeta-core/src/cluster/lease/mod.rs",
        "token < last\n            || token == last",
        "token < last && known.epoch().is_none()\n            || token == last",
        &["-p", "zeta-core", "--lib", "a_value_of_a_lease_that_was_written_before"],
    ),
    bug(
        "an older renewal is taken",
        "crates/zeta-core/src/cluster/lease/mod.rs",
        "one.renew_seq <= other.renew_seq",
        "one.renew_seq > other.renew_seq.saturating_add(u64::MAX)",
        &["-p", "zeta-core", "--lib", "a_value_of_a_lease_that_was_written_before"],
    ),
    bug(
        "a node is ignored for what another hand writes in its name",
        "crates/zeta-core/src/cluster/peer.rs",
        "match (refused.add(reason, now_ms), writer) {",
        "match (refused.add(reason, now_ms), Writer::Node) {",
        &["-p", "zeta-core", "--lib", "a_peer_is_not_ignored"],
    ),
    bug(
        "a flood of a peer has no limit",
        "crates/zeta-core/src/cluster/peer.rs",
        "self.taken < AT_ONCE * 1000",
        "self.taken < u64::MAX",
        &["-p", "zeta-core", "--lib", "a_peer_has_as_many_values_taken"],
    ),
    bug(
        "a record that is one too many is told as gone",
        "crates/zeta-core/src/cluster/local.rs",
        "local.contains_key(item) || unsent.contains(item)",
        "local.contains_key(item)",
        &["-p", "zeta-core", "--lib", "a_record_that_is_one_too_many"],
    ),
    bug(
        "a bridge ends the leases of holders that live",
        "crates/zeta-cluster/src/bridge/leases.rs",
        "                    _ => Holder::Alive(record.processes),",
        "                    _ => Holder::Gone,",
        &["-p", "zeta", "--test", "suite", "bridge::lease::a_dead_holder"],
    ),
    bug(
        "a bridge speaks for another tree of its node",
        "crates/zeta-cluster/src/bridge/leases.rs",
        "let is_here = terms.is_own_tree(scope);",
        "let is_here = scope.node == terms.node;",
        &["-p", "zeta", "--test", "suite", "bridge::lease::a_bridge_leaves"],
    ),
    bug(
        "a lease without a guard has no holder",
        "crates/zeta-cluster/src/bridge/leases.rs",
        "None => node.read(base, &file, RECORD_MAX),",
        "None => Ok(None),",
        &["-p", "zeta", "--test", "suite", "bridge::lease::a_holder_whose_guard"],
    ),
    bug(
        "a bridge believes in a loss at first sight",
        BRIDGE,
        "match since.elapsed() < LOSS_LASTS {",
        "match since.elapsed() > LOSS_LASTS {",
        &["-p", "zeta", "--test", "suite", "cluster::bridge::store::a_store_that_shows"],
    ),
    bug(
        "the check of a dead holder of the cluster passes",
        "crates/zeta-state/src/lease/cluster/holder.rs",
        "Checked::Good { .. }) && life(record) == ProcessState::Dead",
        "Checked::TooLate) && life(record) == ProcessState::Dead",
        &["-p", "zeta", "--test", "suite", "cluster::lease::verbs::a_command_holds"],
    ),
    bug(
        "a lease that the cluster has not renewed in time counts as given back",
        "crates/zeta-state/src/lease/cluster/holder.rs",
        "        let _ = section.note_break(&note.render());\n",
        "",
        &["-p", "zeta", "--test", "suite", "lease::away::a_holder_is_told_twice"],
    ),
    bug(
        "a bridge leaves the record of a grant that was passed on",
        "crates/zeta-cluster/src/bridge/leases.rs",
        "record.fencing_token < granted.fencing_token",
        "record.fencing_token > granted.fencing_token",
        &["-p", "zeta", "--test", "suite", "bridge::kill::a_verb_of_a_claim"],
    ),
    bug(
        "a grant that is given back keeps its record",
        "crates/zeta-state/src/lease/acquire/elsewhere.rs",
        "section.take_in(section.node().as_fd(), &file).is_ok()",
        "!file.is_empty()",
        &["-p", "zeta", "--test", "suite", "bridge::kill::an_acquire"],
    ),
    bug(
        "the store is not told to whom a claim was handed over",
        "crates/zeta-bus/src/claim/acquire.rs",
        "extra: vec![(key::FROM.to_owned(), quote(to.as_str()))],",
        "extra: Vec::new(),",
        &["-p", "zeta", "--test", "suite", "cluster::lease::verbs::a_claim_of_the_cluster_is"],
    ),
];
