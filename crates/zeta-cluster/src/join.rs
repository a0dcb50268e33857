//! `zeta cluster join`: this machine becomes a node of a cluster.
//!
//! A node has a key of its own, and only the public half leaves the machine. Where each node has an
//! account of its own, the operator of the servers adds that half first.

use std::path::Path;

use zeta_core::cluster::Id;
use zeta_core::cluster::card::{BEAT_MIN_MS, Card};
use zeta_core::cluster::subject::{Item, Stream, Subject};
use zeta_core::name::Label;
use zeta_core::record::quote;
use zeta_os::error::{Cause, Error, Kind, Result};
use zeta_os::host;

use crate::account::Account;
use crate::connection::Connection;
use crate::identity::{Identity, SEED_FILE, find_key, find_or_make_key};
use crate::init::read_meta;
use crate::keys::Keys;
use crate::member::Member;
use crate::meta::Meta;
use crate::setting::Setting;
use crate::signer::{CARD_KEY, card_key};
use crate::store::Store;

/// The key of a node that has joined, or will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The node.
    pub node: Label,
    /// The public half.
    pub public_key: String,
    /// This call made it.
    pub made: bool,
}

impl Key {
    /// The line for the operator of the servers, and for the file `keys` of other nodes.
    pub fn line(&self) -> String {
        format!("{} {}", self.node, self.public_key)
    }
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// The machine is a node of the cluster.
    Yes {
        /// The cluster.
        cluster: Id,
        /// It was a node of it before this call.
        before: bool,
        /// The servers that were named.
        servers: String,
        /// Whose account the login belongs to.
        account: Account,
    },
    /// The servers do not know the key yet.
    Waits {
        /// The servers that were named.
        servers: String,
    },
}

/// Finds the key of a node, or makes it.
///
/// # Errors
/// The directory is that of another node, holds something else, or cannot be written.
pub fn key(dir: &Path, node: &Label) -> Result<Key> {
    if let Some(found) = Identity::find(dir)? {
        found.expect_node(node)?;
    }
    let path = dir.join(SEED_FILE);
    let made = find_key(&path)?.is_none();
    let public_key = find_or_make_key(&path)?.public_key();
    Ok(Key { node: node.clone(), public_key, made })
}

/// Binds this machine to the cluster on the servers. It can be repeated.
///
/// # Errors
/// No server is reached, it has no cluster or another one, or another machine has the name.
pub fn join(setting: &Setting, dir: &Path, key: &Key, renew: bool) -> Result<Joined> {
    let servers = setting.servers.to_string();
    let store = match Store::open(setting) {
        Ok(store) => store,
        Err(error) => {
            let by_key = setting.credentials.as_deref() == Some(&dir.join(SEED_FILE));
            return match error.cause == Cause::LoginRefused && by_key {
                true => Ok(Joined::Waits { servers }),
                false => Err(error.hint(format!("this node is the line: {}", key.line()))),
            };
        }
    };
    let before = Identity::find(dir)?.is_some();
    let meta = store.block(find_meta)??;
    let meta = meta.ok_or_else(|| {
        Error::new(Kind::Unsafe, format!("there is no cluster at {servers}"))
            .hint("the operator of the servers makes it once: zeta cluster init")
    })?;
    if !renew {
        check_name(&store, key)?;
    }
    let identity = Identity::bind(dir, &key.node, &meta.held.cluster)?;
    if !Keys::load(dir)?.pin(&key.node, &key.public_key)? {
        let text = format!("the file keys in {} has another key for {}", dir.display(), key.node);
        return Err(Error::new(Kind::Unsafe, text).hint(format!(
            "if the key of this node is the right one, its line is: {}",
            key.line()
        )));
    }
    let account = store.block(|connection| connection.account())?;
    let account = account.map_err(|trouble| trouble.explain("cannot use JetStream"))?;
    leave_card(setting, dir)?;
    Ok(Joined::Yes { cluster: identity.cluster, before, servers, account })
}

/// Writes the first card of this node, so that others learn its key also if it runs no bridge. They
/// call the node silent soon: no other card follows.
fn leave_card(setting: &Setting, dir: &Path) -> Result<()> {
    let member = Member::open(setting, dir)?;
    let identity = member.identity();
    let subject = Subject::State { node: identity.node.clone(), item: Item::Card };
    let found = member.store().last(Stream::State.name(), &subject.to_string())?;
    let public_key = identity.public_key();
    if found.as_ref().is_some_and(|card| card_key(&card.body) == Some(public_key.clone())) {
        return Ok(());
    }
    let host = host::host()?;
    let instance = host::random_hex()?.parse();
    let card = Card {
        node: identity.node.clone(),
        machine_id: host.machine_id,
        boot_id: host.boot_id,
        instance: instance.map_err(|error| Error::new(Kind::Fault, format!("{error}")))?,
        counter: member.signer().next_counter(),
        beat_ms: BEAT_MIN_MS,
        damaged: 0,
        extra: vec![(CARD_KEY.to_owned(), quote(&public_key))],
    };
    let (expected, text) = (found.map_or(0, |card| card.sequence), card.to_fields().render());
    // A bridge that was faster has written one.
    member.write(&subject, expected, text.as_bytes(), None).map(|_| ())
}

async fn find_meta(connection: &Connection) -> Result<Option<Meta>> {
    let info = connection.info(Stream::Meta.name()).await;
    let info = info.map_err(|trouble| trouble.explain("cannot look for the cluster"))?;
    read_meta(connection, info.is_some()).await
}

/// Refuses a name under which another key has written a card.
fn check_name(store: &Store, key: &Key) -> Result<()> {
    let card = Subject::State { node: key.node.clone(), item: Item::Card };
    let Some(stored) = store.last(Stream::State.name(), &card.to_string())? else {
        return Ok(());
    };
    match card_key(&stored.body).filter(|other| *other != key.public_key) {
        None => Ok(()),
        Some(other) => Err(Error::new(
            Kind::Unsafe,
            format!(
                "the name {} is in use in this cluster: its card has the key {other}, and this \
                 machine has {}",
                key.node, key.public_key
            ),
        )
        .hint("if that is another machine, give this one another name")
        .hint(
            "if this machine lost its key: put the line of the new key into the file keys of each \
             node, and join with --new-key",
        )),
    }
}
