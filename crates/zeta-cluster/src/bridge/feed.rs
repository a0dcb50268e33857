//! The live feed: each value that the store takes, as it takes it. It may lose some, so it is
//! counted: a gap in the sequence of a stream means that the stream is read again.

use std::collections::BTreeMap;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt as _;
use zeta_core::cluster::subject::{LIVE, MAJOR, Stream, Subject};

use super::wire::Result;
use crate::api::{Stored, of_server};
use crate::connection::Connection;

/// The header with the sequence that the store gave a value that it sends on.
const SEQUENCE: &str = "Nats-Sequence";
/// The header with the stream.
const STREAM: &str = "Nats-Stream";

/// A subscription to all values of the cluster.
pub(super) struct Feed {
    subscriber: Subscriber,
    counted: Counted,
}

/// A value of the feed, and whether the one before it was lost.
pub(super) struct Arrived {
    /// The value; none if the stream has it already, as it was read.
    pub(super) value: Option<Stored>,
    /// The stream that has a gap before it.
    pub(super) gap: Option<Stream>,
}

impl Feed {
    /// Subscribes. What comes from now on is kept until it is taken.
    pub(super) async fn open(connection: &Connection) -> Result<Feed> {
        let subscriber = connection.subscribe(format!("{LIVE}>")).await?;
        Ok(Feed { subscriber, counted: Counted::default() })
    }

    /// Says up to which sequence a stream is going to be read.
    pub(super) fn read_up_to(&mut self, stream: Stream, sequence: u64) {
        self.counted.raise(stream, sequence);
    }

    /// The last sequence that was seen of a stream.
    pub(super) fn last(&self, stream: Stream) -> u64 {
        self.counted.0.get(&stream).copied().unwrap_or(0)
    }

    /// Waits for the next value; `None` if the feed has ended. What is no value of a stream is
    /// passed over.
    pub(super) async fn next(&mut self) -> Option<Arrived> {
        loop {
            let message = self.subscriber.next().await?;
            if let Some((stream, stored)) = stored(message) {
                let (is_new, is_gap) = self.counted.count(stream, stored.sequence);
                return Some(Arrived {
                    value: is_new.then_some(stored),
                    gap: is_gap.then_some(stream),
                });
            }
        }
    }
}

/// The last sequence of each stream.
#[derive(Debug, Default)]
struct Counted(BTreeMap<Stream, u64>);

impl Counted {
    fn raise(&mut self, stream: Stream, sequence: u64) {
        let last = self.0.entry(stream).or_default();
        *last = sequence.max(*last);
    }

    /// Counts a value: whether it is new, and whether others are missing before it.
    fn count(&mut self, stream: Stream, sequence: u64) -> (bool, bool) {
        let last = self.0.insert(stream, sequence).unwrap_or(0);
        if sequence <= last {
            self.0.insert(stream, last);
            return (false, false);
        }
        (true, sequence != last.saturating_add(1))
    }
}

/// Turns a message of the feed into the value that the store keeps.
fn stored(message: Message) -> Option<(Stream, Stored)> {
    let headers = message.headers?;
    let stream = of_server(&headers, STREAM)?;
    let stream = Stream::ALL.into_iter().find(|known| known.name() == stream)?;
    let sequence = of_server(&headers, SEQUENCE)?.parse().ok()?;
    let rest = message.subject.as_str().strip_prefix(LIVE)?;
    let subject = format!("{MAJOR}.{rest}");
    // A value under another subject than those of its stream was not sent on by the store.
    if Subject::parse(&subject).is_ok_and(|subject| subject.stream() != stream) {
        return None;
    }
    let values = headers.iter().flat_map(|(name, values)| {
        values.iter().map(move |value| (name.to_string(), value.as_str().to_owned()))
    });
    let headers = values.collect();
    Some((stream, Stored { subject, sequence, headers, body: message.payload.to_vec() }))
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;

    use super::*;

    #[test]
    fn a_writer_does_not_choose_the_number_of_its_value() {
        let mut headers = HeaderMap::new();
        // Those of the writer come first, and a server sends them on.
        for (stream, sequence) in [("ZETA1_BUS", "999999999"), ("ZETA1_STATE", "7")] {
            headers.append(STREAM, stream);
            headers.append(SEQUENCE, sequence);
        }
        let message = Message {
            subject: "zeta1.live.state.node-a.marker.m".into(),
            reply: None,
            payload: "x".into(),
            headers: Some(headers),
            status: None,
            description: None,
            length: 1,
        };
        let (stream, value) = stored(message).unwrap();
        assert_eq!((stream, value.sequence), (Stream::State, 7));
    }

    #[test]
    fn a_gap_is_seen_once_and_what_was_read_is_not_new() {
        let mut counted = Counted::default();
        counted.raise(Stream::State, 7);
        assert_eq!(counted.count(Stream::State, 6), (false, false));
        assert_eq!(counted.count(Stream::State, 7), (false, false));
        assert_eq!(counted.count(Stream::State, 8), (true, false));
        assert_eq!(counted.count(Stream::State, 11), (true, true));
        assert_eq!(counted.count(Stream::State, 12), (true, false));
        // Each stream has its own numbers.
        counted.raise(Stream::Lease, 40);
        assert_eq!(counted.count(Stream::Lease, 41), (true, false));
        counted.raise(Stream::State, 3);
        assert_eq!(counted.count(Stream::State, 13), (true, false));
    }
}
