//! `zeta cluster init --after-loss`: makes the parts of a cluster again that its servers have lost.
//!
//! A person calls it, on a machine that knows the cluster. The record comes first, with a higher
//! epoch and a time without grants, and the stream of the leases last: a call that has read the
//! former record must not be granted a lease in the new stream.

use std::path::Path;
use std::time::Duration;

use zeta_core::cluster::epoch::{self, Seen};
use zeta_core::cluster::loss::{Refusal, decide_after_loss};
use zeta_core::cluster::subject::{Stream, Subject};
use zeta_os::error::{Error, Kind, Result};

use crate::api::{Info, Write};
use crate::bridge::memory::Memory;
use crate::connection::Connection;
use crate::gate;
use crate::identity::Identity;
use crate::init::{
    Asked, Initialized, check_jetstream, check_settings, check_ttl, create, look, read_meta_at,
};
use crate::lease::FRESH;
use crate::member::not_joined;
use crate::meta::Meta;
use crate::signer::Signer;
use crate::store::Store;
use crate::stream;
use crate::trouble::Trouble;

/// Makes the missing streams and the record of the cluster that the identity in `dir` names.
///
/// # Errors
/// This machine knows no cluster; nothing is missing; the server has another cluster; the login may
/// not make streams.
pub fn restore(store: &Store, dir: &Path, asked: Asked) -> Result<Initialized> {
    let identity = Identity::find(dir)?.ok_or_else(not_joined)?;
    let memory = Memory::load(dir)?;
    let signer = Signer::new(identity)?;
    signer.raise_counter(memory.known.as_ref().map_or(0, |known| known.counter_sent));
    store.block(|connection| run(connection, &signer, &memory, asked))?
}

async fn run(
    connection: &Connection,
    signer: &Signer,
    memory: &Memory,
    asked: Asked,
) -> Result<Initialized> {
    check_jetstream(connection).await?;
    let looked = Looked::at(connection).await?;
    let meta = looked.decide(signer, memory)?;
    check_ttl(asked.max_ttl_ms, &meta)?;
    let replicas = looked.replicas(&asked)?;
    for (stream, info) in stream::ALL.into_iter().zip(&looked.found) {
        if let Some(info) = info {
            check_settings(stream, replicas, info)?;
        }
    }
    let proof = gate::examine(connection, replicas).await?;
    if meta.lease_by_pattern && !proof.by_pattern {
        let text = "the leases of this cluster have a subject for each node, and this server does \
                    not compare a write with all of them";
        return Err(Error::new(Kind::Unsafe, text)
            .hint("take a server that is at least as new as the former one"));
    }
    let missing = looked.missing();
    if missing.contains(&Stream::Meta) {
        create(connection, Stream::Meta, replicas).await?;
    }
    // Now there is a stream whose server says what time it is.
    let looked = Looked::at(connection).await?;
    let meta = looked.decide(signer, memory)?;
    write(connection, signer, &meta, looked.meta.map_or(0, |(_, revision)| revision)).await?;
    if missing.contains(&Stream::Lease) {
        tokio::time::sleep(FRESH + Duration::from_secs(1)).await;
    }
    for stream in stream::ALL.into_iter().filter(|stream| *stream != Stream::Meta) {
        if missing.contains(&stream) {
            create(connection, stream, replicas).await?;
        }
    }
    Ok(Initialized {
        meta,
        created: false,
        restored: Some(missing.into_iter().map(Stream::name).collect()),
        replicas,
        servers: connection.servers().to_string(),
        version: connection.server().1,
        proof: Some(proof),
    })
}

/// What is on the server.
struct Looked {
    /// The streams, in the order of [`stream::ALL`].
    found: Vec<Option<Info>>,
    /// The record of the cluster, and its revision.
    meta: Option<(Meta, u64)>,
}

impl Looked {
    async fn at(connection: &Connection) -> Result<Looked> {
        let found = look(connection).await?;
        let meta = read_meta_at(connection, found.last().is_some_and(Option::is_some)).await?;
        Ok(Looked { found, meta })
    }

    fn missing(&self) -> Vec<Stream> {
        let all = stream::ALL.into_iter().zip(&self.found);
        all.filter(|(_, info)| info.is_none()).map(|(stream, _)| stream).collect()
    }

    /// How many servers keep each stream. Only what is there, or the caller, can say it.
    fn replicas(&self, asked: &Asked) -> Result<u64> {
        let there = self.found.iter().flatten().map(Info::replicas).next();
        asked.replicas.or(there).ok_or_else(|| {
            Error::usage("no stream is left that says how many servers kept each of them")
                .hint("name the number that it was: --replicas")
        })
    }

    /// Returns the record that is to be written.
    fn decide(&self, signer: &Signer, memory: &Memory) -> Result<Meta> {
        let there = || stream::ALL.into_iter().zip(&self.found);
        let there = || there().filter_map(|(stream, info)| Some((stream, info.as_ref()?)));
        let seen = Seen {
            streams: there()
                .map(|(stream, info)| (stream, info.created.clone(), info.last_sequence))
                .collect(),
            meta: self.meta.as_ref().map(|(meta, revision)| (meta.held.clone(), *revision)),
            card: None,
            went_back: false,
            server_us: Info::clock_us(self.found.iter().flatten()),
        };
        let filled: Vec<Stream> =
            there().filter(|(_, info)| info.messages > 0).map(|(stream, _)| stream).collect();
        let own = &signer.identity.cluster;
        let decided = decide_after_loss(own, memory.known.as_ref(), &seen, &filled);
        whole(decided.map_err(|refusal| refused(&refusal, signer))?)
    }
}

/// The record with what was proven, which stands in keys that the core passes on.
fn whole(held: epoch::Meta) -> Result<Meta> {
    Meta::read(held.to_fields().render().as_bytes()).map_err(|damage| {
        Error::new(Kind::Unsafe, format!("the record of the cluster is damaged: {damage}"))
    })
}

fn refused(refusal: &Refusal, signer: &Signer) -> Error {
    let own = &signer.identity.cluster;
    let unsafe_ = |text: String| Error::new(Kind::Unsafe, text);
    match refusal {
        Refusal::Whole => unsafe_(format!("the cluster {own} is whole: nothing was lost"))
            .hint("leave out --after-loss"),
        Refusal::OtherCluster { found } => {
            unsafe_(format!("the server has the cluster {found}, and this node is in {own}"))
                .hint("name the servers of its own cluster: --server, or cluster_server")
        }
        Refusal::OtherStream(stream) => unsafe_(format!(
            "the record of the cluster is lost, and the stream {} is not the one that this node \
             knows",
            stream.name()
        ))
        .hint("call it on a machine whose bridge ran last, or name the servers of this cluster"),
        Refusal::NothingKnown => unsafe_(format!(
            "the record of the cluster {own} is lost, and no bridge of this node has seen it"
        ))
        .hint("call it on a machine whose bridge has run"),
    }
}

/// Writes the record over the one with this revision; 0 is none.
async fn write(connection: &Connection, signer: &Signer, meta: &Meta, revision: u64) -> Result<()> {
    let body = meta.render();
    let counter = signer.next_counter();
    let headers = signer.seal(meta.held.epoch, counter, &Subject::Meta, body.as_bytes(), None)?;
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let subject = Subject::Meta.to_string();
    let write = Write {
        subject: &subject,
        expected: Some(revision),
        expected_on: None,
        headers: &headers,
        body: body.as_bytes(),
    };
    match connection.publish_to_new(write).await {
        Ok(_) => Ok(()),
        Err(trouble) if Trouble::CONFLICTS.iter().any(|code| trouble.is(*code)) => {
            Err(Error::new(Kind::Busy, "another call has just written the record of the cluster")
                .hint("repeat the call when that one has ended: it looks first"))
        }
        Err(trouble) => Err(trouble.explain("cannot write the record of the cluster")),
    }
}
