//! The live feed: each value that the store takes, as it takes it. It may lose some, so it is
//! counted: a gap in the sequence of a stream means that the stream is read again. Where only a
//! part of the records is followed, their numbers have gaps, and the number of the value before it
//! under the same subject is compared.

use std::collections::BTreeMap;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt as _;
use futures_util::stream::SelectAll;
use zeta_core::cluster::subject::{LIVE, MAJOR, Stream, Subject};
use zeta_core::name::Label;

use super::wire::Result;
use crate::api::{Stored, of_server};
use crate::connection::Connection;
use crate::follow::Follow;

/// The header with the sequence that the store gave a value that it sends on.
const SEQUENCE: &str = "Nats-Sequence";
/// The header with the sequence of the value before it under the same subject; 0 if there is none.
const BEFORE: &str = "Nats-Last-Sequence";
/// The header with the stream.
const STREAM: &str = "Nats-Stream";

/// Subscriptions to the values that are followed.
pub(super) struct Feed {
    subscribers: SelectAll<Subscriber>,
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
    pub(super) async fn open(
        connection: &Connection,
        follow: &Follow,
        own: &Label,
    ) -> Result<Feed> {
        let mut subscribers = SelectAll::new();
        for pattern in follow.live(own) {
            subscribers.push(connection.subscribe(pattern).await?);
        }
        let counted = Counted { is_part: *follow != Follow::All, ..Counted::default() };
        Ok(Feed { subscribers, counted })
    }

    /// Says up to which sequence a stream is going to be read.
    pub(super) fn read_up_to(&mut self, stream: Stream, sequence: u64) {
        self.counted.raise(stream, sequence);
    }

    /// The last sequence that was seen of a stream.
    pub(super) fn last(&self, stream: Stream) -> u64 {
        self.counted.last.get(&stream).copied().unwrap_or(0)
    }

    /// Waits for the next value; `None` if the feed has ended. What is no value of a stream is
    /// passed over.
    pub(super) async fn next(&mut self) -> Option<Arrived> {
        loop {
            let message = self.subscribers.next().await?;
            if let Some((stream, before, stored)) = stored(message) {
                let is_part = stream == Stream::State && self.counted.is_part;
                let (is_new, is_gap) = match is_part {
                    true => self.counted.count_part(&stored.subject, stored.sequence, before),
                    false => self.counted.count(stream, stored.sequence),
                };
                return Some(Arrived {
                    value: is_new.then_some(stored),
                    gap: is_gap.then_some(stream),
                });
            }
        }
    }
}

/// What has come.
#[derive(Debug, Default)]
struct Counted {
    /// The last sequence of each stream.
    last: BTreeMap<Stream, u64>,
    /// Only a part of the records is followed.
    is_part: bool,
    /// Up to where the records were read, and the last sequence of each subject after that.
    read: u64,
    subjects: BTreeMap<String, u64>,
}

impl Counted {
    fn raise(&mut self, stream: Stream, sequence: u64) {
        let last = self.last.entry(stream).or_default();
        *last = sequence.max(*last);
        if stream == Stream::State {
            self.read = sequence.max(self.read);
            self.subjects.retain(|_, last| *last > sequence);
        }
    }

    /// Counts a record where only a part is followed. Several subscriptions are in no order, so
    /// only its own subject says whether it is new, and whether one before it was lost.
    fn count_part(&mut self, subject: &str, sequence: u64, before: u64) -> (bool, bool) {
        let known = self.subjects.get(subject).copied().unwrap_or(0).max(self.read);
        if sequence <= known {
            return (false, false);
        }
        self.subjects.insert(subject.to_owned(), sequence);
        let last = self.last.entry(Stream::State).or_default();
        *last = sequence.max(*last);
        (true, before > known)
    }

    /// Counts a value: whether it is new, and whether others are missing before it.
    fn count(&mut self, stream: Stream, sequence: u64) -> (bool, bool) {
        let last = self.last.insert(stream, sequence).unwrap_or(0);
        if sequence <= last {
            self.last.insert(stream, last);
            return (false, false);
        }
        (true, sequence != last.saturating_add(1))
    }
}

/// Turns a message of the feed into the value that the store keeps.
fn stored(message: Message) -> Option<(Stream, u64, Stored)> {
    let headers = message.headers?;
    let stream = of_server(&headers, STREAM)?;
    let stream = Stream::ALL.into_iter().find(|known| known.name() == stream)?;
    let sequence = of_server(&headers, SEQUENCE)?.parse().ok()?;
    let before = of_server(&headers, BEFORE).and_then(|text| text.parse().ok()).unwrap_or(0);
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
    Some((stream, before, Stored { subject, sequence, headers, body: message.payload.to_vec() }))
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;

    use super::*;

    #[test]
    fn a_writer_does_not_choose_the_number_of_its_value() {
        let mut headers = HeaderMap::new();
        // Those of the writer come first, and a server sends them on.
        for (stream, sequence, before) in [("ZETA1_BUS", "999", "998"), ("ZETA1_STATE", "7", "5")] {
            headers.append(STREAM, stream);
            headers.append(SEQUENCE, sequence);
            headers.append(BEFORE, before);
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
        let (stream, before, value) = stored(message).unwrap();
        assert_eq!((stream, before, value.sequence), (Stream::State, 5, 7));
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

    #[test]
    fn of_a_part_only_a_value_that_was_lost_before_one_of_its_subject_is_a_gap() {
        let mut counted = Counted::default();
        counted.raise(Stream::State, 7);
        assert_eq!(counted.count_part("a", 7, 3), (false, false));
        assert_eq!(counted.count_part("a", 20, 7), (true, false));
        // Another subscription, whose value was written before.
        assert_eq!(counted.count_part("b", 12, 0), (true, false));
        assert_eq!(counted.count_part("b", 12, 0), (false, false));
        assert_eq!(counted.count_part("a", 30, 25), (true, true));
        assert_eq!(counted.count_part("a", 31, 30), (true, false));
        assert_eq!(counted.count_part("c", 40, 39), (true, true));
        assert_eq!(counted.last.get(&Stream::State), Some(&40));
        counted.raise(Stream::State, 50);
        assert!(counted.subjects.is_empty(), "what was read is known");
        assert_eq!(counted.count_part("a", 51, 45), (true, false));
    }
}
