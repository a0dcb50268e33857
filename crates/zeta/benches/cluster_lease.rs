//! A lease of the cluster, taken and given back by one client that stays connected, beside what
//! async-nats' own key-value store needs to create a key and to delete it: the same server, in
//! turns.
//!
//! `ZETA_NATS_SERVER` names a newer server than Debian's; `ZETA_ANCHORS` the directory of the
//! client, which `cargo xtask bench` builds.

mod measure;
#[path = "../../../testing/src/nats.rs"]
#[expect(dead_code, reason = "the bench uses the part that it needs")]
mod nats;

use std::cell::Cell;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use zeta_cluster::identity::Identity;
use zeta_cluster::store::{Store, Written};
use zeta_cluster::{AddressError, Setting, Write, init, lease};
use zeta_core::lease::AcquireRequest;
use zeta_state::context::Context;
use zeta_state::lease::cluster::Cluster;

use measure::server::{self, Asked};
use measure::{
    Ours, Outcomes, Scratch, at_most, block, median, median_ratio, missing, row, shown, time,
};
use nats::Server;

const ROUNDS: usize = 15;
const COUNT: usize = 200;
const NODE: &str = "node-a";

fn main() -> Outcomes<()> {
    let (disk, memory) = (Scratch::on_disk("cluster")?, Scratch::in_memory("cluster")?);
    for (name, found) in [("debian", nats::debian()), ("newer", nats::newer())] {
        match found {
            Ok(program) => beside(&program, &disk.path.join(name), &memory.path.join(name))?,
            Err(why) => missing(&format!("a server: {why}")),
        }
    }
    Ok(())
}

fn beside(program: &Path, dir: &Path, tree: &Path) -> Outcomes<()> {
    let version = Command::new(program).arg("--version").output()?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let place = measure::file_system(dir.parent().unwrap_or(dir))?;
    measure::head(&format!(
        "library, acquire + release of a lease of the cluster, {version}, R1 on {place}, the tree \
         in memory, {ROUNDS} rounds"
    ));
    let server = Server::start(program, dir, "")?;
    let ours = ours(&server, dir, tree)?;
    let plain = Plain::open(&server)?;
    // The first call proves that the server keeps leases.
    ours.cycle()?;
    let what = "zeta / two bare writes by compare-and-set";
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        mine.push(block(COUNT, || ours.cycle())?);
        theirs.push(block(COUNT, || plain.cycle())?);
    }
    let ratio = median_ratio(&mine, &theirs);
    shown(what, &time(median(&mine)), &time(median(&theirs)), ratio);
    // A lease is taken again and again, and so is its key. To create one that never was costs the
    // anchor less than two bare writes by compare-and-set: it is shown, and no gate.
    let clients = [
        ("zeta / async-nats create + delete of one key", "nats", true),
        ("  the same with a new key each time", "nats-new", false),
    ];
    for (what, kind, is_gated) in clients {
        let Some(mut asked) = client(kind, &server, dir)? else {
            missing(what);
            continue;
        };
        asked.times(COUNT)?;
        let (mut mine, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            mine.push(block(COUNT, || ours.cycle())?);
            theirs.push(asked.times(COUNT)?);
        }
        let ratio = median_ratio(&mine, &theirs);
        let (mine, theirs) = (time(median(&mine)), time(median(&theirs)));
        match is_gated {
            true => row(what, &mine, &theirs, ratio, at_most(1.2, None)),
            false => shown(what, &mine, &theirs, ratio),
        }
    }
    Ok(())
}

/// Starts the client of async-nats, with a bucket of its own in files.
fn client(kind: &str, server: &Server, dir: &Path) -> Outcomes<Option<Asked>> {
    let Some(client) = server::client() else { return Ok(None) };
    let url = server.url();
    let words = |words: [&str; 3]| -> Vec<OsString> {
        [client.clone().into_os_string()].into_iter().chain(words.map(OsString::from)).collect()
    };
    let mut make = words(["nats", "make", &url]);
    make.push("file".into());
    if !measure::command(&make, dir).status()?.success() {
        return Err("the client of async-nats made no bucket".into());
    }
    Asked::start(&words([kind, "cycles", &url]), dir).map(Some)
}

fn setting(server: &Server) -> Outcomes<Setting> {
    let servers = server.url().parse().map_err(|rule: AddressError| rule.to_string());
    Ok(Setting::new(servers?))
}

/// Makes the cluster and joins it as a node with a tree.
fn ours(server: &Server, dir: &Path, tree: &Path) -> Outcomes<Ours> {
    let setting = setting(server)?;
    let made = init::init(&Store::open(&setting)?, init::Asked::default())?;
    let (node, identity) = (NODE.parse()?, dir.join("identity"));
    Identity::bind(&identity, &node, &made.meta.held.cluster)?;
    let open = move |limit| lease::open(&setting, &identity, limit);
    let ctx: &Context = Box::leak(Box::new(Context {
        node: Some(node),
        cluster: Some(Arc::new(Cluster::new(open))),
        ..measure::caller(tree, "bench")?
    }));
    let ask = AcquireRequest { in_cluster: true, ..measure::ask(ctx, "loop")? };
    Ok(Ours { handle: ctx.open()?, ask })
}

/// A client that writes one value over another, without signatures and without a lease of the node.
struct Plain {
    store: Store,
    last: Cell<u64>,
}

impl Plain {
    fn open(server: &Server) -> Outcomes<Plain> {
        Ok(Plain { store: Store::open(&setting(server)?)?, last: Cell::new(0) })
    }

    fn cycle(&self) -> Outcomes<()> {
        self.write()?;
        self.write()
    }

    fn write(&self) -> Outcomes<()> {
        let body = [b'x'; 450];
        let write = Write {
            subject: "zeta1.state.node-plain.marker.loop",
            expected: Some(self.last.get()),
            expected_on: None,
            headers: &[],
            body: &body,
        };
        match self.store.write(write)? {
            Written::Stored(sequence) => self.last.set(sequence),
            other => return Err(format!("{other:?}").into()),
        }
        Ok(())
    }
}
