//! The overview that front ends draw: real processes change the tree and the bus, and what is
//! followed is what a fresh look shows.

mod life;

use std::time::{Duration, Instant};

use zeta_bus::overview::Follower;
use zeta_core::name::Label;
use zeta_core::overview::changes::{apply, changes};
use zeta_core::overview::{Agent, Lease, Overview};
use zeta_core::time::Host;
use zeta_state::context::Context;

use crate::support::{LIMIT, Sandbox};

/// The context of a call in this process.
fn context(sandbox: &Sandbox) -> Context {
    let ctx = Context {
        state_dir: sandbox.state.clone(),
        node: None,
        agent: Label::new("agent", "tester").unwrap(),
        agent_named: false,
        session: None,
        fenced: None,
        lasting_dir: None,
        bus_dir: sandbox.dir.join("bus"),
        lease_ended: |_, _| (),
        host: Host::default(),
    };
    ctx.on_this_host().unwrap()
}

fn follow(sandbox: &Sandbox) -> Follower {
    Follower::new(&context(sandbox))
}

/// Waits until the followed overview is so, by its own events alone; fails the test after a limit.
#[track_caller]
fn wait_for(follower: &mut Follower, what: &str, so: impl Fn(&Overview) -> bool) {
    let started = Instant::now();
    while !so(follower.overview()) {
        let left = LIMIT.saturating_sub(started.elapsed());
        assert!(!left.is_zero(), "not yet: {what}: {:#?}", follower.overview());
        follower.wait(left, &[]);
    }
}

fn agent<'o>(overview: &'o Overview, name: &str) -> Option<&'o Agent> {
    overview.agents.iter().find(|agent| agent.name == name)
}

fn lease<'o>(overview: &'o Overview, subject: &str) -> Option<&'o Lease> {
    overview.leases.iter().find(|lease| lease.subject == subject)
}

fn words(overview: &Overview) -> Vec<&str> {
    overview.findings.iter().map(|finding| finding.word.as_str()).collect()
}

/// Asserts that a fresh look shows the same, and that the differences from `old` lead to it.
#[track_caller]
fn check(follower: &mut Follower, old: &mut Overview, sandbox: &Sandbox) {
    // What happened before is known to the kernel by now.
    follower.wait(Duration::ZERO, &[]);
    let mut fresh = follow(sandbox).overview().clone();
    let followed = follower.overview();
    fresh.at_us = followed.at_us;
    assert_eq!(*followed, fresh, "left: followed, right: fresh");
    let changes = changes(old, followed);
    apply(old, &changes);
    assert_eq!(old, followed, "left: old with the changes");
}
