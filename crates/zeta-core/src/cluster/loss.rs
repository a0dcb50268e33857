//! What is made again, by a person's word, of a cluster that a store has lost parts of: the same
//! cluster, in a higher epoch.

use super::Id;
use super::epoch::{Meta, Remembered, Seen, raise};
use super::subject::Stream;

/// Why nothing is made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing is missing.
    Whole,
    /// The store has another cluster.
    OtherCluster {
        /// Which one.
        found: Id,
    },
    /// The record is lost, and this stream with values in it is not the one that this node knows.
    OtherStream(Stream),
    /// The record is lost, and this node has never seen it.
    NothingKnown,
}

/// Decides on the record of a cluster that has lost a stream, or its record. `filled` are the
/// streams that have values. The record is written before a stream of leases is made again.
pub fn decide_after_loss(
    own: &Id,
    remembered: Option<&Remembered>,
    seen: &Seen,
    filled: &[Stream],
) -> Result<Meta, Refusal> {
    let remembered = remembered.filter(|remembered| remembered.meta.cluster == *own);
    let highest_token = remembered.map_or(0, |remembered| remembered.highest_token);
    let raised = |meta, known| Ok(raise(meta, known, highest_token, seen.server_us));
    let known = remembered.map(|remembered| &remembered.meta);
    if let Some((meta, _)) = &seen.meta {
        if meta.cluster != *own {
            return Err(Refusal::OtherCluster { found: meta.cluster.clone() });
        }
        let is_there = |stream: &Stream| seen.streams.iter().any(|(there, ..)| there == stream);
        return match Stream::ALL.iter().all(is_there) {
            true => Err(Refusal::Whole),
            false => raised(meta, known.unwrap_or(meta)),
        };
    }
    let (Some(known), Some(remembered)) = (known, remembered) else {
        return Err(Refusal::NothingKnown);
    };
    // Without the record, the time at which a stream was made says whose it is.
    let is_known = |(stream, made, _): &(Stream, String, u64)| {
        let same = |(there, then, _): &(Stream, String, u64)| there == stream && then == made;
        !filled.contains(stream) || remembered.streams.iter().any(same)
    };
    match seen.streams.iter().find(|seen| !is_known(seen)) {
        Some((stream, ..)) => Err(Refusal::OtherStream(*stream)),
        None => raised(known, known),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER_US: i64 = 1_795_000_000_000_000;

    fn id(digit: &str) -> Id {
        digit.repeat(32).parse().unwrap()
    }

    fn meta(cluster: &str, epoch: u64, floor: u64) -> Meta {
        Meta {
            cluster: id(cluster),
            epoch,
            floor,
            no_grant_before_us: 0,
            max_ttl_ms: 30_000,
            wire_min: 1,
            wire_max: 1,
            extra: vec![("created".to_owned(), "\"x\"".to_owned())],
        }
    }

    fn remembered() -> Remembered {
        Remembered {
            meta: meta("a", 5, 100),
            streams: Stream::ALL.map(|stream| (stream, "monday".to_owned(), 40)).to_vec(),
            highest_token: 700,
            card: None,
            counter_sent: 31,
        }
    }

    fn seen(streams: &[Stream], made: &str, meta: Option<Meta>) -> Seen {
        Seen {
            streams: streams.iter().map(|stream| (*stream, made.to_owned(), 3)).collect(),
            meta: meta.map(|meta| (meta, 9)),
            card: None,
            went_back: false,
            server_us: SERVER_US,
        }
    }

    fn decide(remembered: Option<&Remembered>, seen: &Seen) -> Result<Meta, Refusal> {
        let filled: Vec<Stream> = seen.streams.iter().map(|(stream, ..)| *stream).collect();
        decide_after_loss(&id("a"), remembered, seen, &filled)
    }

    fn raised(epoch: u64, floor: u64) -> Result<Meta, Refusal> {
        let no_grant_before_us = SERVER_US + 30_000_000;
        Ok(Meta { no_grant_before_us, ..meta("a", epoch, floor) })
    }

    const REST: [Stream; 2] = [Stream::State, Stream::Meta];

    #[test]
    fn after_a_loss_the_cluster_is_the_same_in_a_higher_epoch() {
        let known = remembered();
        let known = Some(&known);
        // All is gone; the record is gone; a stream is gone, and more was seen here or there.
        assert_eq!(decide(known, &seen(&[], "", None)), raised(6, 700));
        assert_eq!(decide(known, &seen(&Stream::ALL, "monday", None)), raised(6, 700));
        let rest = |meta| seen(&REST, "monday", Some(meta));
        assert_eq!(decide(known, &rest(meta("a", 3, 50))), raised(6, 700));
        assert_eq!(decide(known, &rest(meta("a", 8, 900))), raised(9, 900));
        assert_eq!(decide(None, &rest(meta("a", 8, 900))), raised(9, 900));
        // An empty stream is the rest of a call that was killed.
        let empty = seen(&[Stream::State], "tuesday", None);
        assert_eq!(decide_after_loss(&id("a"), known, &empty, &[]), raised(6, 700));
    }

    #[test]
    fn nothing_is_made_again_over_a_whole_store_or_that_of_others() {
        let known = remembered();
        let known = Some(&known);
        let whole = seen(&Stream::ALL, "monday", Some(meta("a", 5, 100)));
        assert_eq!(decide(known, &whole), Err(Refusal::Whole));
        for streams in [Stream::ALL.as_slice(), &REST] {
            let other = seen(streams, "monday", Some(meta("b", 5, 100)));
            assert_eq!(decide(known, &other), Err(Refusal::OtherCluster { found: id("b") }));
        }
        let other = seen(&[Stream::Lease], "tuesday", None);
        assert_eq!(decide(known, &other), Err(Refusal::OtherStream(Stream::Lease)));
        assert_eq!(decide(None, &seen(&[], "", None)), Err(Refusal::NothingKnown));
        let foreign = Remembered { meta: meta("b", 5, 100), ..remembered() };
        assert_eq!(decide(Some(&foreign), &seen(&[], "", None)), Err(Refusal::NothingKnown));
    }
}
