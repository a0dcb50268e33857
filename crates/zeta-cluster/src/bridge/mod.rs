//! The bridge: one process for a tree, which sends the records of its node to the store, and writes
//! those of other nodes as copies.
//!
//! The directory is the queue: what is sent is the difference between it and the store. What comes
//! is a hint, and everything is read again at each connection, at each gap, and every ten minutes.
//! A connection is never made again behind the bridge, so that no write of it is carried out late.
//!
//! - `local`: the directory of this node. `send`: what differs is written. `card`: the right to the
//!   name, and the beat.
//! - `judge`: is the store the one that it was, with `memory`. `feed`: what comes, and its gaps.
//!   `relist`: all is read.
//! - `copies`: the records of other nodes. `leases`: those of the cluster, and dead holders.
//! - `mail`: messages. `status`: the file for people, and `report`, which reads it. `wire`: reads
//!   and writes of the store.

mod card;
mod copies;
mod feed;
mod judge;
mod leases;
mod local;
mod mail;
pub(crate) mod memory;
mod readable;
mod relist;
pub mod report;
mod run;
mod send;
mod status;
mod wire;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::Instant;
use zeta_core::cluster::local::Stored;
use zeta_core::cluster::subject::Item;
use zeta_core::layout;
use zeta_core::name::Label;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::flock::try_lock_file;
use zeta_os::notify::Manager;
use zeta_os::signal::Signals;
use zeta_os::{given_path, host};
use zeta_state::context::Context;
use zeta_state::directory::copied::BridgeDir;
use zeta_state::directory::tree::Tree;

use self::copies::Copies;
use self::leases::Leases;
use self::local::Directory;
use self::mail::Mail;
use self::memory::Memory;
use self::status::Status;
use crate::follow::Follow;
use crate::identity::Identity;
use crate::member::not_joined;
use crate::setting::Setting;
use crate::signer::Signer;

pub use self::status::KIND as STATUS_KIND;

/// How much a line of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Data was lost, or the bridge cannot do its work.
    Error,
    /// Something is not as it should be, and the bridge goes on.
    Warning,
    /// A person may want to know it.
    Notice,
    /// What the bridge does.
    Info,
    /// Everything else.
    Debug,
}

/// What a bridge is started with.
pub struct Options<'o> {
    /// The tree, and the bus.
    pub ctx: &'o Context,
    /// How the servers are reached.
    pub setting: Setting,
    /// The directory of the node's identity.
    pub dir: PathBuf,
    /// What is followed of other nodes.
    pub follow: Follow,
    /// Takes the lines of the log.
    pub log: &'o dyn Fn(Level, &str),
}

/// The file in the directory of the identity that a bridge locks.
const LOCK_FILE: &str = "bridge.lock";

/// A running bridge.
struct Bridge<'b> {
    ctx: &'b Context,
    log: &'b dyn Fn(Level, &str),
    setting: Setting,
    follow: Follow,
    own: Label,
    signer: Rc<Signer>,
    /// `cluster/` in the tree.
    home: BridgeDir,
    directory: Directory,
    /// What stands under the subjects of this node.
    sent: BTreeMap<Item, Stored>,
    card: card::Own,
    memory: Memory,
    copies: Copies,
    leases: Leases,
    mail: Mail<'b>,
    status: Status,
    manager: Manager,
    /// When changes of the directory are sent.
    send_at: Option<Instant>,
    /// When they were sent last.
    sent_at: Instant,
    beat_at: Instant,
    relist_at: Instant,
    /// When the streams are looked at.
    look_at: Instant,
    /// How long the last reading of everything took.
    relist_took: Duration,
    /// When the values of this node are read again, because another hand wrote one.
    own_at: Option<Instant>,
    /// Since when the store has shown less than is remembered.
    suspected: Option<Instant>,
    watchdog_at: Option<Instant>,
    /// When the state is written for people, before the next beat does it.
    tell_at: Option<Instant>,
}

/// Bridges until a signal asks for the end.
///
/// # Errors
/// This machine has joined no cluster, another bridge runs for it, another machine uses the
/// name of this node, or the servers are not those of its cluster.
pub fn run(options: Options<'_>) -> Result<()> {
    let signals = Signals::take_over()?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Error::new(Kind::Fault, format!("cannot start a runtime: {error}")))?;
    let done = runtime.block_on(async {
        let (mut bridge, _locks) = Bridge::open(options)?;
        bridge.run(&signals).await
    });
    runtime.shutdown_timeout(Duration::ZERO);
    done
}

/// Takes the lock of the identity: the bridges of two trees would each send what the other one
/// takes back.
fn lock_identity(dir: &Path) -> Result<OwnedFd> {
    let path = dir.join(LOCK_FILE);
    let cannot = |errno| Error::io("cannot lock", &path, errno);
    try_lock_file(&path).map_err(cannot)?.ok_or_else(|| {
        let shown = given_path::shown(dir);
        let text = format!("another bridge runs with the identity of this node, in {shown}");
        Error::new(Kind::Busy, text)
            .hint("a node has one bridge, also where it has several state directories")
    })
}

impl<'b> Bridge<'b> {
    /// Opens the tree and takes the lock of its bridge.
    fn open(options: Options<'b>) -> Result<(Bridge<'b>, [OwnedFd; 2])> {
        let Options { ctx, setting, dir, follow, log } = options;
        let identity = Identity::find(&dir)?.ok_or_else(not_joined)?;
        let tree = Tree::open_or_create(&ctx.state_dir)?;
        let own = tree.local_node(ctx.lasting_dir.as_deref())?;
        if own != identity.node {
            let text = format!(
                "this tree is that of the node {own}, and the identity is that of the node {}",
                identity.node
            );
            return Err(Error::new(Kind::Unsafe, text)
                .hint(
                    "name another identity: cluster_dir in the configuration, or ZETA_CLUSTER_DIR",
                )
                .hint("or join the cluster as this node: 'zeta cluster join'"));
        }
        let node = tree.node_or_create(&own)?;
        let home = BridgeDir::of_cluster(&tree, None)?;
        let lock = home.lock(layout::CLUSTER_LOCK)?.ok_or_else(|| {
            Error::new(Kind::Busy, "another bridge runs for this state directory")
                .hint("one is enough: see 'zeta cluster status'")
        })?;
        let own_lock = lock_identity(&dir)?;
        home.sweep();
        let leases = Leases::new(BridgeDir::of_cluster(&tree, Some(layout::CLUSTER_LEASES))?)?;
        let memory = Memory::load(&dir)?;
        let signer = Signer::new(identity)?;
        signer.raise_counter(memory.known.as_ref().map_or(0, |known| known.counter_sent));
        let instance = host::random_hex()?.parse();
        let instance = instance.map_err(|error| Error::new(Kind::Fault, format!("{error}")))?;
        let manager = Manager::from_environment();
        let now = Instant::now();
        let bridge = Bridge {
            ctx,
            log,
            setting,
            follow,
            own,
            signer: Rc::new(signer),
            home,
            directory: Directory::new(tree, node)?,
            sent: BTreeMap::new(),
            card: card::Own::new(instance),
            memory,
            copies: Copies::default(),
            leases,
            mail: Mail::new(ctx)?,
            status: Status::default(),
            suspected: None,
            watchdog_at: manager.watchdog().map(|_| now),
            manager,
            send_at: None,
            sent_at: now,
            tell_at: None,
            beat_at: now,
            relist_at: now,
            look_at: now,
            relist_took: Duration::ZERO,
            own_at: None,
        };
        Ok((bridge, [lock, own_lock]))
    }
}
