//! A node's connection to its cluster, as blocking functions: what it writes is signed, and what it
//! reads is judged.

use std::path::Path;
use std::time::Duration;

use zeta_core::cluster::envelope::Gone;
use zeta_core::cluster::subject::{Stream, Subject, lease_pattern};
use zeta_core::name::RecordName;
use zeta_os::error::{Error, Kind, Result};

use crate::api::{Stored, Write};
use crate::connection::CONNECT_ALL;
use crate::identity::Identity;
use crate::meta::Meta;
use crate::setting::Setting;
use crate::signer::{Received, Signer};
use crate::store::{Store, Written};

/// A connection of a node to its cluster.
#[derive(Debug)]
pub struct Member {
    store: Store,
    signer: Signer,
    meta: Meta,
    revision: u64,
}

impl Member {
    /// Connects as the node whose identity stands in `dir`.
    ///
    /// # Errors
    /// This machine has joined no cluster; no server is reached; the server has another cluster, or
    /// none.
    pub fn open(setting: &Setting, dir: &Path) -> Result<Member> {
        Member::open_within(setting, dir, CONNECT_ALL)
    }

    /// As [`Member::open`], with a limit.
    ///
    /// # Errors
    /// As [`Member::open`].
    pub fn open_within(setting: &Setting, dir: &Path, limit: Duration) -> Result<Member> {
        let identity = Identity::find(dir)?.ok_or_else(not_joined)?;
        Member::connect_within(setting, Signer::new(identity)?, limit)
    }

    /// As [`Member::open`], with a signer that is there.
    ///
    /// # Errors
    /// As [`Member::open`].
    pub fn connect(setting: &Setting, signer: Signer) -> Result<Member> {
        Member::connect_within(setting, signer, CONNECT_ALL)
    }

    fn connect_within(setting: &Setting, signer: Signer, limit: Duration) -> Result<Member> {
        let store = Store::open_within(setting, limit)?;
        store.limit(limit);
        let (meta, revision) = read_meta(&store, &signer.identity)?;
        Ok(Member { store, signer, meta, revision })
    }

    /// This node.
    pub fn identity(&self) -> &Identity {
        &self.signer.identity
    }

    /// What signs and judges.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The store below.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The record of the cluster as it was read last, and its revision.
    pub fn meta(&self) -> (&Meta, u64) {
        (&self.meta, self.revision)
    }

    /// Reads the record of the cluster again.
    ///
    /// # Errors
    /// It cannot be read, or it is that of another cluster.
    pub fn read_meta(&mut self) -> Result<()> {
        (self.meta, self.revision) = read_meta(&self.store, &self.signer.identity)?;
        Ok(())
    }

    /// Reads the last value of a subject. It is a hint: only a write decides.
    ///
    /// # Errors
    /// There is no answer, or a refusal; the value breaks the rules of its subject.
    pub fn last(&self, subject: &Subject) -> Result<Option<Received>> {
        self.judged(self.store.last(subject.stream().name(), &subject.to_string())?)
    }

    /// Reads the last value of a lease, under the subjects of all nodes.
    ///
    /// # Errors
    /// As [`Member::last`].
    pub fn last_of_lease(&self, lease: &RecordName) -> Result<Option<Received>> {
        let subject = match self.meta.lease_by_pattern {
            true => lease_pattern(lease),
            false => Subject::Lease { name: lease.clone(), node: None }.to_string(),
        };
        self.judged(self.store.last(Stream::Lease.name(), &subject)?)
    }

    /// Writes a value under a subject of this node, if the last one is the expected one (0: there
    /// is none).
    ///
    /// # Errors
    /// It is certainly not stored.
    pub fn write(
        &self,
        subject: &Subject,
        expected: u64,
        body: &[u8],
        gone: Option<Gone>,
    ) -> Result<Written> {
        self.send(subject, expected, None, body, gone)
    }

    /// Writes a value of a lease, if the last one of all nodes is the expected one (0: there is
    /// none).
    ///
    /// # Errors
    /// It is certainly not stored.
    pub fn write_lease(&self, lease: &RecordName, expected: u64, body: &[u8]) -> Result<Written> {
        let name = lease.clone();
        match self.meta.lease_by_pattern {
            true => {
                let node = Some(self.signer.identity.node.clone());
                let pattern = lease_pattern(lease);
                let subject = Subject::Lease { name, node };
                self.send(&subject, expected, Some(&pattern), body, None)
            }
            false => self.send(&Subject::Lease { name, node: None }, expected, None, body, None),
        }
    }

    fn send(
        &self,
        subject: &Subject,
        expected: u64,
        expected_on: Option<&str>,
        body: &[u8],
        gone: Option<Gone>,
    ) -> Result<Written> {
        let counter = self.signer.next_counter();
        let headers = self.signer.seal(self.meta.held.epoch, counter, subject, body, gone)?;
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let text = subject.to_string();
        self.store.write(Write {
            subject: &text,
            expected: Some(expected),
            expected_on,
            headers: &headers,
            body,
        })
    }

    fn judged(&self, stored: Option<Stored>) -> Result<Option<Received>> {
        let Some(stored) = stored else { return Ok(None) };
        let subject = stored.subject.clone();
        match self.signer.open(stored)? {
            Ok(received) => Ok(Some(received)),
            Err(dropped) => Err(Error::new(
                Kind::Unsafe,
                format!("the value of {subject} in the store is not one of zeta: {dropped}"),
            )),
        }
    }
}

/// The error of a machine that has joined no cluster.
pub fn not_joined() -> Error {
    Error::new(Kind::Unsafe, "this machine has joined no cluster").hint("run 'zeta cluster join'")
}

fn read_meta(store: &Store, identity: &Identity) -> Result<(Meta, u64)> {
    let stored = store.last(Stream::Meta.name(), &Subject::Meta.to_string())?.ok_or_else(|| {
        Error::new(Kind::Unsafe, "the server has no cluster: its record is missing")
            .hint("'zeta cluster status' says whether it was lost; 'zeta cluster init' makes one")
    })?;
    let meta = Meta::read(&stored.body).map_err(|damage| {
        Error::new(Kind::Unsafe, format!("the record of the cluster is damaged: {damage}"))
    })?;
    if meta.held.cluster != identity.cluster {
        let (found, own) = (&meta.held.cluster, &identity.cluster);
        return Err(Error::new(
            Kind::Unsafe,
            format!("the server has the cluster {found}, and this node is in the cluster {own}"),
        )
        .hint("name the servers of its own cluster: --server, or cluster_server"));
    }
    Ok((meta, stored.sequence))
}
