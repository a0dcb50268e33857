//! One script, played on a store in memory, on files (leases of one node) and on real servers.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zeta_core::lease::{AcquireRequest, Cause, Successor};
use zeta_core::name::{Label, RecordName};
use zeta_os::error::{Kind, Result};
use zeta_os::host;
use zeta_state::context::Context;
use zeta_state::lease::HolderResult;
use zeta_state::lease::acquire::{Outcome, WaitOptions, new_request};
use zeta_state::lease::cluster::{Cluster, Store};
use zeta_state::lease::exec::{Around, OnLost, hold_around, run_fenced};

use super::memory::{Fate, Memory};
use super::{Nodes, serve};
use crate::cluster::programs;
use crate::support::{Sandbox, test_name};

/// How long a call that shall succeed may wait: a busy machine is no failure.
const LONG_MS: u64 = 15_000;
const SOON: Duration = Duration::from_secs(5);

type Open = dyn Fn(Duration) -> Result<Box<dyn Store>> + Send + Sync;

/// Where a player plays: a tree, a name, and the store of the cluster; none for files.
#[derive(Clone)]
struct Place {
    state: PathBuf,
    node: Label,
    agent: &'static str,
    open: Option<Arc<Open>>,
}

impl Place {
    fn context(&self) -> Context {
        let open = self.open.clone();
        Context {
            state_dir: self.state.clone(),
            node: Some(self.node.clone()),
            agent: self.agent.parse().unwrap(),
            agent_named: true,
            session: None,
            fenced: None,
            lasting_dir: None,
            bus_dir: self.state.join("no-bus"),
            lease_ended: |_, _| (),
            cluster: open.map(|open| Arc::new(Cluster::new(move |limit| open(limit)))),
            host: host::host().unwrap(),
        }
    }

    fn ask(&self, ctx: &Context, lease: &RecordName, ttl_ms: u64) -> AcquireRequest {
        let request = new_request(ctx, lease.clone(), ttl_ms).unwrap();
        AcquireRequest { in_cluster: self.open.is_some(), grace_ms: Some(0), ..request }
    }

    fn acquire(&self, lease: &str, ttl_ms: u64, limit_ms: Option<u64>) -> Result<Outcome> {
        let (ctx, lease) = (self.context(), lease.parse().unwrap());
        let request = self.ask(&ctx, &lease, ttl_ms);
        let mut wait = WaitOptions { limit_ms, on_wait: &mut |_, _| {} };
        ctx.open()?.acquire(&request, &mut wait, &mut |_| Ok(()))
    }

    fn granted(&self, lease: &str, ttl_ms: u64, limit_ms: Option<u64>) -> (u64, Option<Cause>) {
        match self.acquire(lease, ttl_ms, limit_ms).unwrap() {
            Outcome::Granted { record, cause, .. } => (record.fencing_token.get(), cause),
            other => panic!("{}: {other:?}", self.agent),
        }
    }

    fn holder<T>(
        &self,
        lease: &str,
        verb: impl FnOnce(&zeta_state::context::NodeHandle<'_>, &RecordName) -> HolderResult<T>,
    ) -> HolderResult<T> {
        let lease = lease.parse().unwrap();
        let ctx = self.context();
        let at = ctx.open()?;
        verb(&at, &lease)
    }

    fn renew(&self, lease: &str, token: u64) -> HolderResult<()> {
        let token = token.to_string().parse().unwrap();
        Ok(self.holder(lease, |at, lease| at.renew(lease, token, None, SOON))?.map(|_| ()))
    }

    fn release(&self, lease: &str, token: u64) -> HolderResult<bool> {
        let token = token.to_string().parse().unwrap();
        self.holder(lease, |at, lease| at.release(lease, token))
    }

    fn has_record(&self, lease: &str) -> bool {
        let ctx = self.context();
        let at = ctx.open().unwrap();
        at.view(&lease.parse().unwrap()).unwrap().is_some()
    }
}

/// Two players in memory, each with a tree.
fn in_memory(sandbox: &Sandbox, memory: &Memory) -> (Place, Place) {
    let place = |node: &str, agent| {
        let (memory, label): (_, Label) = (memory.clone(), node.parse().unwrap());
        let own = label.clone();
        let open: Arc<Open> = Arc::new(move |_| Ok(memory.of(&own)));
        Place { state: sandbox.dir.join(node), node: label, agent, open: Some(open) }
    };
    (place("node-a", "otto"), place("node-b", "vera"))
}

/// Two players on one node, whose leases are files alone.
fn on_files(sandbox: &Sandbox) -> (Place, Place) {
    let place = |agent| Place {
        state: sandbox.dir.join("files"),
        node: "node-a".parse().unwrap(),
        agent,
        open: None,
    };
    (place("otto"), place("vera"))
}

/// Two players on two nodes of a real cluster.
fn on_nats(nodes: &Nodes) -> (Place, Place) {
    let place = |at: usize, agent| {
        let node = &nodes.nodes[at];
        let setting = node.setting();
        let dir = node.identity();
        let open: Arc<Open> =
            Arc::new(move |limit| zeta_cluster::lease::open(&setting, &dir, limit));
        let (state, node) = (node.sandbox.state.clone(), node.name.clone());
        Place { state, node, agent, open: Some(open) }
    };
    (place(0, "otto"), place(1, "vera"))
}

/// The script.
fn play(a: &Place, b: &Place) {
    // One holder, and who it is.
    let (first, cause) = a.granted("job", 60_000, None);
    assert_eq!(cause, Some(Cause::Free));
    match b.acquire("job", 60_000, None).unwrap() {
        Outcome::Refused(refusal) => {
            let zeta_core::lease::Observed::Ours(record, ..) = &refusal.observed else {
                panic!("{refusal:?}")
            };
            assert_eq!((record.agent.as_str(), record.fencing_token.get()), ("otto", first));
        }
        other => panic!("{other:?}"),
    }
    assert!(a.renew("job", first).unwrap().is_ok());
    assert!(b.renew("job", first + 1).unwrap().is_err());
    // A release frees it, the token grows, and the old one is refused.
    assert!(a.release("job", first).unwrap().unwrap());
    let (second, _) = b.granted("job", 60_000, None);
    assert!(second > first);
    assert!(a.renew("job", first).unwrap().is_err());
    assert!(!a.has_record("job") || a.state == b.state);
    // One that waits gets it when it is released.
    let waiting = a.clone();
    let waiter = std::thread::spawn(move || waiting.granted("job", 60_000, Some(LONG_MS)));
    std::thread::sleep(Duration::from_millis(300));
    assert!(b.release("job", second).unwrap().unwrap());
    let (third, _) = waiter.join().unwrap();
    assert!(third > second);
    assert!(a.release("job", third).unwrap().unwrap());
    // A lease that nobody renews ends with its TTL, for one that waits.
    let (left, _) = a.granted("left", 1_500, None);
    let (taken, cause) = b.granted("left", 60_000, Some(LONG_MS));
    assert_eq!((cause, taken > left), (Some(Cause::Expired), true));
    assert!(a.renew("left", left).unwrap().is_err(), "its old holder has lost it");
    assert!(b.renew("left", taken).unwrap().is_ok());
    // A holder passes it on: the token grows, and the old one is refused.
    let successor = Successor {
        lease_id: "second".to_owned(),
        agent: "mira".parse().unwrap(),
        session: None,
        processes: Default::default(),
        ttl_ms: None,
        extra: Vec::new(),
    };
    let token = taken.to_string().parse().unwrap();
    let passed = b.holder("left", |at, lease| {
        let holder = at.enter_as_holder(lease, token, SOON)?.unwrap();
        holder.pass_on(successor, &mut |_| Ok(()))
    });
    let passed = passed.unwrap().unwrap().fencing_token.get();
    assert!(passed > taken);
    assert!(b.renew("left", taken).unwrap().is_err());
    assert!(b.renew("left", passed).unwrap().is_ok());
    assert!(b.release("left", passed).unwrap().unwrap());
    assert!(a.granted("left", 60_000, None).0 > passed);
}

#[test]
fn the_script_on_a_store_in_memory() {
    let (sandbox, memory) = (Sandbox::new(), Memory::default());
    let (a, b) = in_memory(&sandbox, &memory);
    play(&a, &b);
}

#[test]
fn the_script_on_files() {
    let sandbox = Sandbox::new();
    let (a, b) = on_files(&sandbox);
    play(&a, &b);
}

#[test]
fn the_script_on_real_servers() {
    for (name, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = serve(&program, &sandbox, name);
        let nodes = Nodes::new(&server, 2);
        let (a, b) = on_nats(&nodes);
        play(&a, &b);
    }
}

#[test]
fn an_answer_that_was_lost_is_looked_up_and_no_token_is_given_twice() {
    let (sandbox, memory) = (Sandbox::new(), Memory::default());
    let (a, b) = in_memory(&sandbox, &memory);
    let mut last = 0;
    for fate in [Fate::WrittenUnanswered, Fate::Lost] {
        memory.fates(&[fate]);
        let (token, _) = a.granted("job", 60_000, None);
        assert!(token > last, "{fate:?}");
        assert!(matches!(b.acquire("job", 60_000, None), Ok(Outcome::Refused(_))), "{fate:?}");
        memory.fates(&[fate]);
        assert!(a.renew("job", token).unwrap().is_ok(), "{fate:?}");
        memory.fates(&[fate]);
        assert!(a.release("job", token).unwrap().is_ok(), "{fate:?}");
        last = b.granted("job", 60_000, None).0;
        assert!(last > token, "{fate:?}");
        assert!(b.release("job", last).unwrap().unwrap(), "{fate:?}");
    }
}

#[test]
fn a_store_that_is_not_reached_changes_nothing_here() {
    let (sandbox, memory) = (Sandbox::new(), Memory::default());
    let (a, b) = in_memory(&sandbox, &memory);
    let (token, _) = a.granted("job", 60_000, None);
    memory.set_down(true);
    let busy = |error: zeta_os::error::Error| assert_eq!(error.kind, Kind::Busy, "{error}");
    busy(b.acquire("job", 60_000, None).unwrap_err());
    busy(b.acquire("job", 60_000, Some(1_500)).unwrap_err());
    busy(a.acquire("other", 60_000, None).unwrap_err());
    memory.set_down(false);
    memory.fates(&[Fate::Unreached]);
    busy(a.acquire("other", 60_000, None).unwrap_err());
    memory.set_down(true);
    assert!(!b.has_record("job") && !a.has_record("other"));
    busy(a.renew("job", token).unwrap_err());
    busy(a.release("job", token).unwrap_err());
    assert!(a.has_record("job"));
    memory.set_down(false);
    assert!(a.renew("job", token).unwrap().is_ok());
    assert!(a.release("job", token).unwrap().unwrap());
    // One that is not renewed until its deadline is lost, whatever the store has.
    let (token, _) = a.granted("short", 1_300, None);
    memory.set_down(true);
    std::thread::sleep(Duration::from_millis(1_400));
    let lost = a.renew("short", token).unwrap().unwrap_err();
    // Its own record is no other holder's.
    let shown = zeta_state::lease::report::lost(&lost, &a.context()).text;
    assert!(shown.contains("before its deadline") && !shown.contains("holds it"), "{shown}");
}

#[test]
fn after_a_loss_nobody_is_granted_a_lease_and_holders_go_on() {
    let (sandbox, memory) = (Sandbox::new(), Memory::default());
    let (a, b) = in_memory(&sandbox, &memory);
    let (token, _) = a.granted("job", 60_000, None);
    memory.no_grant_before(host::wall_us() + 3_600_000_000);
    let error = b.acquire("other", 60_000, None).unwrap_err();
    assert_eq!(error.kind, Kind::Busy);
    assert!(error.text.contains("grants no lease before 20"), "{error}");
    assert!(a.renew("job", token).unwrap().is_ok());
    assert!(a.release("job", token).unwrap().unwrap());
}

#[test]
fn an_attempt_that_is_repeated_after_its_deadline_asks_the_store() {
    let (sandbox, memory) = (Sandbox::new(), Memory::default());
    let (a, _) = in_memory(&sandbox, &memory);
    let (ctx, lease) = (a.context(), "job".parse().unwrap());
    let request = a.ask(&ctx, &lease, 4_000);
    let acquire = || {
        let mut wait = WaitOptions { limit_ms: None, on_wait: &mut |_, _| {} };
        ctx.open()?.acquire(&request, &mut wait, &mut |_| Ok(()))
    };
    assert!(matches!(acquire(), Ok(Outcome::Granted { .. })));
    std::thread::sleep(Duration::from_millis(3_100));
    memory.set_down(true);
    assert_eq!(acquire().unwrap_err().kind, Kind::Busy);
    memory.set_down(false);
    assert!(matches!(acquire(), Ok(Outcome::Granted { .. })));
}

#[test]
fn no_command_begins_after_the_deadline_of_its_grant_and_a_fenced_one_ends_there() {
    let (sandbox, memory) = (Sandbox::new(), Memory::default());
    let (a, _) = in_memory(&sandbox, &memory);
    let (ctx, lease) = (a.context(), "job".parse().unwrap());
    let begun = sandbox.dir.join("begun");
    let argv: Vec<OsString> = vec!["touch".into(), begun.clone().into()];
    let mut wait = WaitOptions { limit_ms: None, on_wait: &mut |_, _| {} };
    // As if the process had been stopped before its command began.
    let around = Around {
        wanted: &mut || {
            std::thread::sleep(Duration::from_millis(1_300));
            Ok(true)
        },
        ended: &mut |_, _| {},
        asked_to_end: None,
    };
    let asked = a.ask(&ctx, &lease, 1_200);
    let held = hold_around(&ctx, asked, &argv, &mut wait, (OnLost::Warn, &mut |_| {}), around);
    assert_eq!(held.unwrap_err().kind, Kind::Lost);
    assert!(!begun.exists());
    let (token, _) = a.granted("job", 3_000, None);
    let argv: Vec<OsString> = vec!["sleep".into(), "600".into()];
    let token = token.to_string().parse().unwrap();
    let fenced = run_fenced(&ctx, &lease, token, &argv, Duration::from_secs(600));
    assert!(fenced.unwrap_err().text.contains("was killed"));
}
