//! A peer that writes what it wants into the store.

use zeta_cluster::identity::Identity;
use zeta_cluster::signer::Signer;
use zeta_cluster::store::{Store, Written};
use zeta_cluster::{Stored, Write};
use zeta_core::cluster::envelope::Gone;
use zeta_core::cluster::subject::Subject;

use super::super::nats::Server;
use super::{Node, setting};

/// A peer that writes what it wants, with the key of its own or without one.
pub(super) struct Hostile {
    store: Store,
    pub(super) signer: Signer,
}

impl Hostile {
    pub(super) fn new(node: &str, of: &Node, server: &Server) -> Hostile {
        let dir = of.sandbox.dir.join("hostile");
        let cluster = Identity::find(&of.identity()).unwrap().unwrap().cluster;
        Identity::bind(&dir, &node.parse().unwrap(), &cluster).unwrap();
        Hostile::again(node, of, server)
    }

    /// The same peer, with another connection.
    pub(super) fn again(node: &str, of: &Node, server: &Server) -> Hostile {
        let identity = Identity::find(&of.sandbox.dir.join("hostile")).unwrap().unwrap();
        assert_eq!(identity.node.as_str(), node);
        let servers = server.url().parse().unwrap();
        let store = Store::open(&setting(servers)).unwrap();
        Hostile { store, signer: Signer::new(identity).unwrap() }
    }

    /// Writes a value with these headers in place of the signed ones, if any are given.
    pub(super) fn write(
        &self,
        subject: &str,
        body: &[u8],
        change: impl Fn(&mut Vec<(String, String)>),
    ) -> u64 {
        let mut sealed = self.seal(subject, body, None);
        change(&mut sealed.headers);
        self.put(subject, body, &sealed.headers)
    }

    /// Signs a value and keeps it.
    pub(super) fn seal(&self, subject: &str, body: &[u8], gone: Option<Gone>) -> Stored {
        let parsed = Subject::parse(subject).unwrap();
        let counter = self.signer.next_counter();
        let headers = self.signer.seal(1, counter, &parsed, body, gone).unwrap();
        Stored { subject: subject.to_owned(), sequence: 0, headers, body: body.to_vec() }
    }

    /// Writes a value with the headers that it has.
    pub(super) fn send(&self, value: &Stored) -> u64 {
        self.put(&value.subject, &value.body, &value.headers)
    }

    /// The last value of a subject in the store.
    pub(super) fn last(&self, subject: &str) -> Stored {
        self.find(subject).unwrap()
    }

    /// The last value of a subject, if there is one.
    pub(super) fn find(&self, subject: &str) -> Option<Stored> {
        let stream = Subject::parse(subject).unwrap().stream();
        let found = self.store.last(stream.name(), subject).unwrap()?;
        let own = found.headers.into_iter().filter(|(name, _)| name.starts_with("Zeta-"));
        Some(Stored { headers: own.collect(), ..found })
    }

    pub(super) fn put(&self, subject: &str, body: &[u8], headers: &[(String, String)]) -> u64 {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let write = Write { subject, expected: None, expected_on: None, headers: &headers, body };
        match self.store.write(write).unwrap() {
            Written::Stored(sequence) => sequence,
            other => panic!("{other:?}"),
        }
    }

    /// Writes the card of its node.
    pub(super) fn card(&self) -> u64 {
        let node = &self.signer.identity.node;
        let key = self.signer.identity.public_key();
        let card = format!(
            "schema: 1\nkind: \"card\"\nnode: \"{node}\"\nboot_id: \"b\"\ninstance: \"{}\"\n\
             counter: 1\nbeat_ms: 10000\ndamaged: 0\npublic_key: \"{key}\"\nend: true\n",
            "7".repeat(32)
        );
        self.write(&format!("zeta1.state.{node}.card.self"), card.as_bytes(), |_| {})
    }
}

/// The record of a marker.
pub(super) fn marker(name: &str, more: &str) -> Vec<u8> {
    format!("schema: 1\nkind: \"marker\"\nmarker: \"{name}\"\n{more}end: true\n").into_bytes()
}
