//! Whether the store is the one that this node remembers, and what to do if it is not.

use std::time::Duration;

use tokio::time::Instant;
use zeta_core::cluster::card::CardSeen;
use zeta_core::cluster::epoch::{self, Remembered, Seen, Verdict, judge_store};
use zeta_core::cluster::subject::{Stream, Subject};
use zeta_os::error::{Error, Kind};
use zeta_os::host;

use super::feed::Feed;
use super::wire::{End, Put, Result, Wire};
use super::{Bridge, Level};
use crate::api::Info;
use crate::connection::Connection;
use crate::meta::Meta;

/// How often the record of the cluster is judged again, after other nodes were faster.
const TRIES: usize = 8;
/// How long a loss must be seen before it is one. A server that comes back from a partition answers
/// for a moment with what it had, and an election takes up to nine seconds; a loss that is none
/// would keep all nodes from leases for the longest TTL.
const LOSS_LASTS: Duration = Duration::from_secs(10);

/// Reads the record of the cluster, and its revision.
pub(super) async fn read_meta(connection: &Connection) -> Result<Option<(Meta, u64)>> {
    let stored = connection.last(Stream::Meta.name(), &Subject::Meta.to_string()).await;
    let stored = match stored {
        // A stream that is missing is judged with the others.
        Err(trouble) if trouble.is(crate::trouble::Trouble::NO_STREAM) => None,
        stored => stored?,
    };
    let Some(stored) = stored else { return Ok(None) };
    let meta = Meta::read(&stored.body)
        .map_err(|damage| End::Lost(format!("the record of the cluster is damaged: {damage}")))?;
    Ok(Some((meta, stored.sequence)))
}

impl Bridge<'_> {
    /// Looks at the streams and at the record of the cluster, and judges them. `went_back` says
    /// that a copy is newer than what the store has. Returns whether the store is a new one.
    pub(super) async fn judge(
        &mut self,
        wire: &mut Wire,
        feed: &mut Feed,
        went_back: bool,
    ) -> Result<bool> {
        let mut renewed = false;
        for _ in 0..TRIES {
            let mut infos = Vec::new();
            for stream in Stream::ALL {
                if let Some(info) = wire.connection.info(stream.name()).await? {
                    feed.read_up_to(stream, info.last_sequence);
                    infos.push((stream, info));
                }
            }
            let meta = read_meta(&wire.connection).await?;
            let card = match infos.iter().any(|(stream, _)| *stream == Stream::State) {
                true => self.read_card(wire).await?,
                false => None,
            };
            let seen = seen(&infos, meta.as_ref(), card.as_ref(), went_back && !renewed);
            self.status.server_us = Some((seen.server_us, host::wall_us()));
            let judged = judge_store(self.memory.known.as_ref(), &seen);
            let (verdict, write) = (judged.verdict, judged.write);
            let Some((found, revision)) = meta else { return Err(self.missing(Stream::Meta)) };
            let is_new = matches!(verdict, Verdict::Renewed | Verdict::RolledBack);
            self.believe(&verdict)?;
            match verdict {
                Verdict::Same | Verdict::SecondWriter(_) => {
                    // Another writer is judged by its card, when the name is taken.
                    self.adopt(wire, found, revision, &seen, false);
                    return Ok(renewed);
                }
                Verdict::Missing(stream) => return Err(self.missing(stream)),
                Verdict::OtherCluster { found } => return Err(self.other_cluster(&found)),
                Verdict::OtherWire { min, max } => return Err(other_wire(min, max)),
                Verdict::Renewed | Verdict::RolledBack => {}
            }
            let why = if verdict == Verdict::RolledBack { "rolled_back" } else { "renewed" };
            let Some((raised, expected)) = write else {
                self.tell_renewed(why, found.held.epoch);
                self.adopt(wire, found, revision, &seen, is_new);
                return Ok(true);
            };
            let new = Meta { held: raised, ..found };
            let counter = wire.signer.next_counter();
            let body = new.render();
            match wire.write(&Subject::Meta, expected, counter, body.as_bytes(), None).await? {
                Put::Stored(sequence) => {
                    self.tell_renewed(why, new.held.epoch);
                    self.adopt(wire, new, sequence, &seen, is_new);
                    return Ok(true);
                }
                // Another node was faster: what it wrote is judged.
                Put::Conflict | Put::Unknown => renewed = true,
                Put::Full(why) => {
                    return Err(End::Lost(format!("ZETA1_META takes nothing now: {why}")));
                }
            }
        }
        Err(End::Lost("the record of the cluster changes all the time".to_owned()))
    }

    /// Returns if a verdict may be acted on; else everything is looked at again, on a connection of
    /// its own.
    fn believe(&mut self, verdict: &Verdict) -> Result<()> {
        if *verdict != Verdict::RolledBack {
            self.suspected = None;
            return Ok(());
        }
        let since = *self.suspected.get_or_insert_with(Instant::now);
        match since.elapsed() < LOSS_LASTS {
            true => {
                Err(End::Again("the store shows less than it did: it is looked at again".into()))
            }
            false => Ok(()),
        }
    }

    fn tell_renewed(&mut self, why: &'static str, epoch: u64) {
        let text = match why {
            "rolled_back" => "the store has lost values, was made anew, or says what cannot be",
            _ => "another node has seen a loss of the store",
        };
        (self.log)(
            Level::Error,
            &format!("{text}: this is epoch {epoch}; everything is read again"),
        );
        self.status.renewed = Some((why, epoch, host::wall_us()));
    }

    /// Takes the record of the cluster as it is, and forgets what an older store held.
    fn adopt(&mut self, wire: &mut Wire, meta: Meta, revision: u64, seen: &Seen, is_new: bool) {
        let known = &mut self.memory.known;
        let before = known.take();
        let highest_token = before.as_ref().map_or(0, |known| known.highest_token);
        let counter_sent = before.as_ref().map_or(0, |known| known.counter_sent);
        let card = before.filter(|_| !is_new).and_then(|known| known.card);
        *known = Some(Remembered {
            meta: meta.held.clone(),
            streams: seen.streams.clone(),
            highest_token: highest_token.max(meta.held.floor),
            card,
            counter_sent,
        });
        (wire.meta, wire.revision) = (meta, revision);
        self.remember();
    }

    pub(super) fn missing(&mut self, stream: Stream) -> End {
        let text = match stream {
            Stream::Meta => "the server has no record of a cluster".to_owned(),
            stream => format!("the stream {} is missing", stream.name()),
        };
        self.status.word = "missing";
        End::Lost(format!(
            "{text}: it was lost, and a bridge makes none; see 'zeta cluster status'"
        ))
    }

    pub(super) fn other_cluster(&self, found: &zeta_core::cluster::Id) -> End {
        let own = &self.signer.identity.cluster;
        let text = format!("the server has the cluster {found}, and this node is in {own}");
        End::Refused(
            Error::new(Kind::Unsafe, text)
                .hint("name the servers of its own cluster: --server, or cluster_server"),
        )
    }
}

fn other_wire(min: u64, max: u64) -> End {
    let text = format!("the cluster is bridged in the versions {min} to {max} of the wire");
    End::Refused(
        Error::new(Kind::Unsafe, text).hint("install a version of zeta that speaks one of them"),
    )
}

fn seen(
    infos: &[(Stream, Info)],
    meta: Option<&(Meta, u64)>,
    card: Option<&CardSeen>,
    went_back: bool,
) -> Seen {
    let streams = infos.iter();
    Seen {
        streams: streams
            .map(|(stream, info)| (*stream, info.created.clone(), info.last_sequence))
            .collect(),
        meta: meta.map(|(meta, revision)| (meta.held.clone(), *revision)),
        card: card.map(|seen| epoch::CardSeen {
            instance: seen.card.instance.clone(),
            counter: seen.card.counter,
            sequence: seen.sequence,
        }),
        went_back,
        server_us: Info::clock_us(infos.iter().map(|(_, info)| info)),
    }
}
