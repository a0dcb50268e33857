//! A client that takes leases as the verbs of `zeta` do, by the library and a tree for each node,
//! and the bridge of such a node.
//!
//! It logs what `client` does, without the writes that it does not see.

use std::sync::Arc;
use std::time::Duration;

use zeta_cluster::Follow;
use zeta_cluster::bridge::{self, Level};
use zeta_cluster::compact;
use zeta_core::cluster::compact::Asked;
use zeta_core::cluster::lease::Scope;
use zeta_core::lease::{AcquireRequest, FencingToken, Record};
use zeta_core::name::RecordName;
use zeta_core::time::Host;
use zeta_os::error::Kind;
use zeta_os::host;
use zeta_os::process::identify_self;
use zeta_state::context::Context;
use zeta_state::lease::acquire::{LeaseHandle, Outcome, WaitOptions, new_request};
use zeta_state::lease::cluster::{Cluster, deadline_of};

use super::Outcomes;
use super::arena::{Arena, CLIENTS, LEASES, lease_name, now_ns};
use super::client::{TTL_MAX_MS, node_name};
use super::link;
use super::register::Register;
use super::story::Story;

/// How long a call may wait for a guard: the holder of it may be stopped, or ask the store.
const ENTER: Duration = Duration::from_secs(20);
/// How often a call that does not know is made again.
const TRIES: usize = 8;

struct Client<'a> {
    ctx: &'a Context,
    name: RecordName,
    story: Story,
    register: Register,
    dice: fastrand::Rng,
}

/// Takes leases until the run is over.
pub fn work(arena: &Arena, number: usize, seed: u64) -> Outcomes<()> {
    let ctx = context(arena, number / CLIENTS)?;
    let mut dice = fastrand::Rng::with_seed(seed);
    while !arena.over() {
        let name = lease_name(dice.usize(..LEASES));
        let mut client = Client {
            ctx: &ctx,
            story: Story::open(&arena.dir, &name)?,
            register: Register::open(&arena.dir, &name)?,
            name: RecordName::new("lease", &name)?,
            dice: dice.fork(),
        };
        client.round()?;
        std::thread::sleep(Duration::from_micros(dice.u64(..4000)));
    }
    Ok(())
}

/// Bridges until this process is killed.
pub fn bridge(arena: &Arena, node: usize) -> Outcomes<()> {
    let ctx = context(arena, node)?;
    let setting = link::setting(&link::servers(arena, node))?;
    let dir = arena.dir.clone();
    let log = move |level: Level, text: &str| {
        let say = |name: &str, line: &str| Story::open(&dir, name).and_then(|mut it| it.say(line));
        // The judge needs to know when a loss was found.
        let epoch = text.split_once("this is epoch ").map(|(_, rest)| rest);
        if let Some(epoch) = epoch.and_then(|rest| rest.split(';').next()) {
            let _ = say("epochs", &format!("raise {} {epoch} 0 stored", now_ns()));
        }
        let _ = say(&format!("bridge-{node}"), &format!("{} {level:?} {text}", now_ns()));
    };
    let dir = link::identity_dir(arena, node);
    let follow = Follow::default();
    Ok(bridge::run(bridge::Options { ctx: &ctx, setting, dir, follow, log: &log })?)
}

/// Removes the ends of leases from the store, as an administrator does.
pub fn compact(arena: &Arena, node: usize) -> Outcomes<()> {
    let setting = link::setting(&link::servers(arena, node))?;
    let dir = link::identity_dir(arena, node);
    let asked = Asked { older_ms: 2 * TTL_MAX_MS, forget: Vec::new() };
    // Servers that are away end it with an error.
    let came = match compact::compact(&setting, &dir, &asked, false, &mut |_| ()) {
        Ok(done) => format!("removed {}", done.removed),
        Err(error) => format!("{} {error}", error.kind.word()),
    };
    Story::open(&arena.dir, "compact")?.say(&format!("{} {came}", now_ns()))
}

/// Makes the tree of a node.
pub fn make_tree(arena: &Arena, node: usize) -> Outcomes<()> {
    let ctx = context(arena, node)?;
    ctx.open()?;
    Ok(std::fs::write(ctx.state_dir.join("local-node"), format!("{}\n", node_name(node)?))?)
}

fn context(arena: &Arena, node: usize) -> Outcomes<Context> {
    let setting = link::setting(&link::servers(arena, node))?;
    let dir = link::identity_dir(arena, node);
    let cluster = Cluster::new(move |limit| zeta_cluster::lease::open(&setting, &dir, limit));
    let ctx = Context {
        state_dir: arena.dir.join(format!("state-{node}")),
        node: Some(node_name(node)?),
        agent: node_name(node)?,
        agent_named: true,
        session: None,
        fenced: None,
        lasting_dir: None,
        bus_dir: arena.dir.join(format!("bus-{node}")),
        lease_ended: |_, _| (),
        cluster: Some(Arc::new(cluster)),
        host: Host::default(),
    };
    Ok(ctx.on_this_host()?)
}

impl Client<'_> {
    fn round(&mut self) -> Outcomes<()> {
        let (asked_ns, pid) = (now_ns(), std::process::id());
        let ask = self.ask()?;
        let id = ask.lease_id.clone();
        self.story.say(&format!("ask {id} {asked_ns} {pid}"))?;
        let (ctx, name) = (self.ctx, self.name.clone());
        let at = ctx.open()?;
        let mut handle = LeaseHandle::new(&at, &name);
        let mut tries = 0;
        let outcome = loop {
            let limit_ms = self.dice.bool().then(|| self.dice.u64(..3_000));
            let mut wait = WaitOptions { limit_ms, on_wait: &mut |_, _| {} };
            tries += 1;
            match handle.acquire(&ask, &mut wait, &mut |_| Ok(())) {
                Err(error) if error.kind == Kind::Busy && tries < TRIES => {
                    self.story.say(&format!("unknown {id} {} {}", now_ns(), now_ns()))?;
                    std::thread::sleep(Duration::from_millis(self.dice.u64(10..200)));
                }
                outcome => break outcome,
            }
        };
        let got_ns = now_ns();
        let (record, cause) = match outcome {
            Ok(Outcome::Granted { record, cause, .. }) => (record, cause),
            Ok(Outcome::Refused(_)) => {
                return self.story.say(&format!("done {id} {got_ns} {got_ns} Held"));
            }
            Err(error) => {
                let word = error.kind.word();
                return self.story.say(&format!("done {id} {got_ns} {got_ns} {word} {error}"));
            }
        };
        let deadline_ns = deadline_of(&record).unwrap_or(u64::MAX);
        let (token, epoch) = (record.fencing_token, Scope::of(&record).map_or(0, |it| it.epoch));
        let cause = cause.map_or("again".to_owned(), |cause| format!("{cause:?}"));
        let times = format!("{asked_ns} {got_ns} {deadline_ns}");
        self.story.say(&format!("granted {id} {token} {times} {epoch} {cause} {pid}"))?;
        self.hold(&mut handle, &record, deadline_ns)
    }

    fn ask(&mut self) -> Outcomes<AcquireRequest> {
        let ttl_ms = self.dice.u64(2_000..=TTL_MAX_MS);
        let mut ask = new_request(self.ctx, self.name.clone(), ttl_ms)?;
        ask.processes.own = Some(identify_self());
        ask.processes.pid_ns = self.ctx.host.pid_ns;
        ask.in_cluster = true;
        Ok(ask)
    }

    fn hold(
        &mut self,
        handle: &mut LeaseHandle<'_>,
        record: &Record,
        mut deadline_ns: u64,
    ) -> Outcomes<()> {
        let token = record.fencing_token;
        let word = if self.dice.bool() { "checked" } else { "blind" };
        let renewals = if self.dice.u32(..5) == 0 { self.dice.u32(1..5) } else { 0 };
        for piece in 0..=renewals {
            std::thread::sleep(Duration::from_micros(self.dice.u64(..5_000)));
            if word == "blind" || now_ns() < deadline_ns {
                self.register.write(token.get(), word)?;
            }
            if piece == renewals {
                break;
            }
            let asked_ns = now_ns();
            let renewed = handle.renew(token, ENTER);
            let got_ns = now_ns();
            match renewed {
                Ok(Ok((record, _))) => {
                    deadline_ns = deadline_of(&record).unwrap_or(u64::MAX);
                    let line = format!("renewed {token} {asked_ns} {got_ns} {deadline_ns}");
                    self.story.say(&line)?;
                }
                // It is still the holder's, until its deadline.
                Err(_) if got_ns < deadline_ns => {}
                Ok(Err(_)) if got_ns < deadline_ns => {
                    return self.story.say(&format!("lost {token} {asked_ns} {got_ns}"));
                }
                Ok(Err(_)) | Err(_) => {
                    return self.story.say(&format!("late {token} {asked_ns} {got_ns}"));
                }
            }
        }
        self.release(handle, token)
    }

    fn release(&mut self, handle: &mut LeaseHandle<'_>, token: FencingToken) -> Outcomes<()> {
        self.story.say(&format!("release {token} {}", now_ns()))?;
        for _ in 0..TRIES {
            let asked_ns = host::reading().boot_ns;
            match handle.release(token) {
                Ok(Ok(_)) => {
                    return self.story.say(&format!("released {token} {asked_ns} {}", now_ns()));
                }
                Ok(Err(_)) => break,
                Err(_) => std::thread::sleep(Duration::from_millis(self.dice.u64(10..200))),
            }
        }
        self.story.say(&format!("unfreed {token} {0} {0}", now_ns()))
    }
}
