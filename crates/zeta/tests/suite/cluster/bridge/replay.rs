//! Values that a node has signed, sent again by another hand, also to a bridge that began later.

use rustix::process::Signal;
use zeta_core::cluster::envelope::Gone;

use super::super::{nats, program, programs};
use super::hostile::{Hostile, marker};
use super::lease::verb;
use super::{Node, cluster, value};
use crate::support::{Sandbox, run, test_name};

const REFUSED: &str = "is refused: it is an older value";

#[test]
fn an_old_value_that_is_sent_again_changes_nothing_also_after_a_restart() {
    for (_, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = cluster(&program, &sandbox);
        let mut b = Node::new("node-b", &server).started();
        let evil = Hostile::new("node-x", &b, &server);
        let at = |name: &str| format!("zeta1.state.node-x.marker.{name}");
        evil.card();
        let card = evil.last("zeta1.state.node-x.card.self");
        evil.card();
        let there = evil.seal(&at("gone"), &marker("gone", ""), None);
        evil.send(&there);
        b.wait_until("it came", |b| b.read("node-x", "gone.marker").is_some());
        // No card comes after it.
        evil.send(&evil.seal(&at("gone"), b"", Some(Gone::Removed)));
        b.wait_until("it is gone", |b| b.read("node-x", "gone.marker").is_none());
        // Nor after this one: the copy alone knows which value is newer.
        let first = evil.seal(&at("changed"), &marker("changed", "note: \"1\"\n"), None);
        evil.send(&first);
        evil.write(&at("changed"), &marker("changed", "note: \"2\"\n"), |_| {});
        b.wait_until("the second one came", |b| {
            b.read("node-x", "changed.marker").is_some_and(|copy| value(&copy, "note") == "2")
        });
        let copies = |b: &Node| (b.read("node-x", "changed.marker"), b.read("node-x", ".copy"));
        let before = copies(&b);
        b.stop(Signal::KILL);
        // One that it finds when it is back, and all of them while it runs.
        evil.send(&first);
        b.start();
        b.wait_until("it is refused", |b| b.log().matches(REFUSED).count() == 1);
        b.wait_until("it is connected", |b| b.state() == "connected");
        for value in [&card, &first, &there] {
            evil.send(value);
        }
        b.wait_until("all are refused", |b| b.log().matches(REFUSED).count() == 4);
        assert_eq!(copies(&b), before);
        assert_eq!(b.read("node-x", "gone.marker"), None);
        b.wait_until("it is named", |b| b.status("forged_0_reason").contains("sent again"));
        assert_eq!(b.status("refused_0_node"), "", "the node itself sent nothing again");
        // Once it was refused, it is still refused by the next run.
        b.stop(Signal::KILL);
        b.start();
        b.wait_until("it is refused again", |b| b.log().matches(REFUSED).count() == 7);
        assert_eq!(copies(&b), before);
        // What the node writes itself comes.
        evil.write(&at("gone"), &marker("gone", "note: \"new\"\n"), |_| {});
        b.wait_until("it came", |b| b.read("node-x", "gone.marker").is_some());
    }
}

#[test]
fn what_another_hand_writes_under_the_subjects_of_a_node_is_written_over_by_it() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let a = Node::new("node-a", &server).started();
    let evil = Hostile::new("node-x", &a, &server);
    let at = |name: &str| format!("zeta1.state.node-a.marker.{name}");
    let (kept, gone) = (at("kept"), at("gone"));
    let set = |name: &str, note: &str| a.sandbox.ok(&["marker", "set", name, note]);
    let last =
        |subject: &str| evil.find(subject).map(|value| String::from_utf8(value.body).unwrap());
    let is = |subject: &str, note: &str| last(subject).is_some_and(|text| text.contains(note));
    let is_gone = |subject: &str| last(subject).is_some_and(|text| text.is_empty());
    let comes = |what: &str, so: &dyn Fn() -> bool| a.wait_until(what, |_| so());
    set("kept", "note=one");
    set("gone", "note=one");
    comes("both are sent", &|| is(&kept, "one") && is(&gone, "one"));
    let (old_kept, old_gone) = (evil.last(&kept), evil.last(&gone));
    set("kept", "note=two");
    a.sandbox.ok(&["marker", "clear", "gone"]);
    comes("both changed", &|| is(&kept, "two") && is_gone(&gone));
    evil.send(&old_kept);
    evil.send(&old_gone);
    comes("its own word stands again", &|| is(&kept, "two") && is_gone(&gone));
    // Also what nobody signed, under a name that it never used.
    evil.put(&at("foreign"), &marker("foreign", ""), &[]);
    evil.write(&at("foreign"), &marker("foreign", ""), |_| {});
    comes("it is gone", &|| is_gone(&at("foreign")));
}

#[test]
fn an_old_value_of_a_lease_that_is_sent_again_changes_no_copy() {
    let Some(program) = program(test_name!(), nats::newer()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let mut a = Node::new("node-a", &server).started();
    let mut b = Node::new("node-b", &server).started();
    let evil = Hostile::new("node-x", &b, &server);
    let granted = run(&mut verb(&a, None, &["lease", "acquire", "job", "--scope", "cluster"]));
    assert_eq!(granted.status, 0, "{granted:?}");
    let subject = "zeta1.lease.job.node-a";
    let grant = evil.last(subject);
    b.wait_until("it came", |b| value(&b.lease_copy("job"), "kind") == "lease");
    // Renewals have the same token.
    let token = granted.out.trim();
    let renew = ["lease", "renew", "job", "--token", token];
    assert_eq!(run(&mut verb(&a, None, &renew)).status, 0);
    let first = evil.last(subject);
    assert_eq!(run(&mut verb(&a, None, &renew)).status, 0);
    let renewed = |b: &Node| value(&b.lease_copy("job"), "renew_seq");
    b.wait_until("its renewal came", |b| renewed(b) == "2");
    let told = |b: &Node| b.log().matches("older value of the lease job").count();
    for (number, old) in [(1, &grant), (2, &first), (3, &grant)] {
        evil.send(old);
        b.wait_until("it is refused", |b| told(b) == number);
    }
    assert_eq!(renewed(&b), "2");
    assert_eq!(b.status("refused_0_node"), "", "the node itself sent nothing again");
    let args = ["lease", "release", "job", "--token", token];
    assert_eq!(run(&mut verb(&a, None, &args)).status, 0);
    b.wait_until("its end came", |b| value(&b.lease_copy("job"), "kind") == "lease_end");
    // Its bridge would write the end again.
    a.stop(Signal::TERM);
    let before = b.lease_copy("job");
    evil.send(&grant);
    b.wait_until("it is refused", |b| told(b) == 4);
    b.stop(Signal::KILL);
    b.start();
    b.wait_until("it is refused again", |b| told(b) == 5);
    assert_eq!(b.lease_copy("job"), before);
}
