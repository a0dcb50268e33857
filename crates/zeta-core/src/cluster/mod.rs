//! The rules of a cluster: several machines that share one store, and never one clock.
//!
//! Each node keeps its own state directory. A bridge sends the records of its node to a store and
//! writes the records of other nodes as copies. The store keeps the last value of each subject. It
//! numbers all values (the *revision*), and it accepts a write only if the revision that the write
//! expects is still the last one. Nothing here knows which store that is.
//!
//! A draft of the rules, until they are part of the standard:
//!
//! - **Subjects** (`subject`). A node writes only below subjects that hold its own name.
//! - **Envelopes** (`envelope`). A value is the bytes of a record as they stand on disk. Headers
//!   that begin with `Zeta-` are signed together with the cluster, the subject and the bytes.
//!   Unknown headers and later minor versions are kept. A record without a good signature is
//!   shown, and never counts in a decision.
//! - **Copies** (`copy`). A copy is the original plus `copy_*` keys. Without these keys it is the
//!   signed bytes again. Its age is counted by the observer's own boot clock, from the moment at
//!   which the observer first saw this revision.
//! - **Replay** (`replay`). What a node signed stays true for ever, so its counter says whether it
//!   is new: an older value that another hand sends again changes nothing.
//! - **Leases** (`lease`). Only an accepted write decides; each read is a hint. The fencing token
//!   is in the value and grows; the revision is only what a write expects. A holder counts from
//!   before it sent the write and stops a margin early. An observer counts from when it saw the
//!   revision and waits longer. Only a node says that its own processes are dead.
//!   What was asked, or sent, before the asker learned of a loss counts as of the former epoch.
//!   What a former epoch wrote frees nothing until it was seen unchanged for the longest TTL.
//! - **Epochs** (`epoch`). A store that lost data looks like a healthy one. A bridge remembers
//!   enough to see it, and then nobody is granted a lease for the longest TTL.
//! - **Messages** (`mail`). A node sends each message of its bus once, in a chain. A node that
//!   takes one in counts the rest of its life by its own clock, and keeps the bytes as they are.
//! - **Cards** (`card`). Each node writes one card every few seconds. Two machines with one name
//!   are found by their cards.
//!
//! Not promised: that two holders are kept apart while a store has lost values and a node has not
//! learned of it. Such a node may be granted a lease that another one holds, and a write that was
//! on its way may arrive with a token below one that was lost. The fencing token at the resource
//! refuses the lower one of both.

pub mod card;
pub mod compact;
pub mod copy;
pub mod envelope;
pub mod epoch;
pub mod lease;
pub mod local;
pub mod loss;
pub mod mail;
pub mod peer;
pub mod remembered;
pub mod replay;
pub mod subject;

use std::fmt;
use std::str::FromStr;

/// The identity of a cluster, or of a run of a bridge: 128 random bits, as 32 small hexadecimal
/// digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Id(String);

/// A text is not an [`Id`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 hexadecimal digits, in small letters")]
pub struct NotAnId;

impl Id {
    /// The text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Id {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<Id, NotAnId> {
        let good = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if good { Ok(Id(text.to_owned())) } else { Err(NotAnId) }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns a counter that is greater than `last` and, while the wall clock is right, than every one
/// that this node has forgotten.
pub fn next_counter(last: u64, wall_us: i64) -> u64 {
    last.max(u64::try_from(wall_us).unwrap_or(0)).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_form() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(id.parse::<Id>().unwrap().to_string(), id);
        for bad in ["", "0123456789ABCDEF0123456789abcdef", "0123", &"0".repeat(33), "../x"] {
            assert_eq!(bad.parse::<Id>(), Err(NotAnId), "{bad}");
        }
    }

    #[test]
    fn a_counter_grows_also_when_the_clock_is_set_back_or_the_counter_is_lost() {
        assert_eq!(next_counter(7, 100), 101);
        assert_eq!(next_counter(700, 100), 701);
        assert_eq!(next_counter(7, -100), 8);
        assert_eq!(next_counter(0, 100), 101);
    }
}
