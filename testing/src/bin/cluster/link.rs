//! What a client asks of the store: a connection that is made again after each trouble, as a verb
//! of `zeta` that is called again would make it.

use std::path::PathBuf;

use zeta_cluster::member::Member;
use zeta_cluster::store::Written;
use zeta_cluster::{Servers, Setting};
use zeta_core::cluster::epoch::{Meta, decide_meta};
use zeta_core::cluster::lease::{Answer, Entry};
use zeta_core::name::RecordName;

use super::Outcomes;
use super::arena::Arena;
use super::network::{CLIENT_PORT, Place};

/// A connection of a node, or none at the moment.
pub struct Link {
    servers: Vec<String>,
    dir: PathBuf,
    member: Option<Member>,
    /// What holds for the cluster, as far as this process knows.
    pub meta: Option<Meta>,
}

/// Returns where the servers are, beginning with this one.
pub fn servers(arena: &Arena, first: usize) -> Vec<String> {
    let count = arena.replicas;
    let of = |at| format!("nats://{}:{CLIENT_PORT}", Place::Server((first + at) % count).address());
    (0..count).map(of).collect()
}

/// Returns a setting without a login.
pub fn setting(servers: &[String]) -> Outcomes<Setting> {
    let servers: Servers = servers.join(",").parse().map_err(|error| format!("{error}"))?;
    Ok(Setting::new(servers))
}

/// The directory with the identity of a node.
pub fn identity_dir(arena: &Arena, node: usize) -> PathBuf {
    arena.dir.join(format!("node-{node}"))
}

impl Link {
    /// A link of a node; it connects when it is used.
    pub fn new(arena: &Arena, node: usize) -> Link {
        let dir = identity_dir(arena, node);
        Link { servers: servers(arena, node), dir, member: None, meta: None }
    }

    /// Returns the connection, and makes it if there is none; `None` if no server answers.
    pub fn member(&mut self) -> Option<&mut Member> {
        if self.member.is_none() {
            let opened = setting(&self.servers).ok().map(|it| Member::open(&it, &self.dir));
            match opened {
                Some(Ok(member)) => {
                    let read = member.meta().0.held.clone();
                    self.member = Some(member);
                    self.learn(&read);
                }
                _ => self.servers.rotate_left(1),
            }
        }
        self.member.as_mut()
    }

    /// Reads the record of the cluster again.
    pub fn read_meta(&mut self) -> Option<u64> {
        let member = self.member()?;
        if member.read_meta().is_err() {
            self.member = None;
            return None;
        }
        let (meta, revision) = member.meta();
        let held = meta.held.clone();
        self.learn(&held);
        Some(revision)
    }

    /// Takes what another process of the node has learned.
    pub fn learn(&mut self, read: &Meta) {
        self.meta = match &self.meta {
            None => Some(read.clone()),
            Some(known) => decide_meta(known, read).or_else(|| self.meta.clone()),
        };
    }

    /// Reads the last value of a lease and its revision; `None` if no answer came.
    pub fn read(&mut self, lease: &RecordName) -> Option<(u64, Entry)> {
        let member = self.member()?;
        match member.last_of_lease(lease) {
            Ok(None) => Some((0, Entry::Absent)),
            Ok(Some(got)) => {
                let entry = match got.trust.is_verified() {
                    true => Entry::read(&got.body, lease, &got.envelope.node),
                    false => Entry::Unreadable,
                };
                Some((got.sequence, entry))
            }
            Err(_) => {
                self.member = None;
                None
            }
        }
    }

    /// Writes over the expected revision of a lease.
    pub fn write(&mut self, lease: &RecordName, expected: u64, entry: &Entry) -> Answer {
        let Some(body) = entry.render() else { return Answer::Refused };
        // Nothing was sent.
        let Some(member) = self.member() else { return Answer::Refused };
        match member.write_lease(lease, expected, body.as_bytes()) {
            Ok(Written::Stored(revision)) => Answer::Accepted { revision },
            Ok(Written::Conflict) => Answer::Refused,
            Ok(Written::Unknown(_)) => {
                self.member = None;
                Answer::Unknown
            }
            // It is certainly not stored.
            Err(_) => {
                self.member = None;
                Answer::Refused
            }
        }
    }
}
