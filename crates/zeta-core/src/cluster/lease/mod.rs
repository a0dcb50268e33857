//! The lease of a cluster: what stands in the store, and how long it holds.
//!
//! A grant is the record that every lease has, with three more keys. `decide.rs` has the rules,
//! `call.rs` the steps of a call that has to live with answers that never come, and
//! `unrenewed.rs` what a holder is told meanwhile.

mod call;
mod decide;
#[cfg(test)]
mod tests;
mod unrenewed;

pub use call::{Answer, Call, Grant, Op, Outcome, Step, Write};
pub use decide::{
    Acquired, Observed, Terms, deadline_ns, decide_acquire, decide_end, decide_pass_on,
    decide_release, decide_renew, judge,
};
pub use unrenewed::{News, Told, decide_news};

use crate::lease::{FencingToken, KIND, Record};
use crate::name::{Label, RecordName};
use crate::record::{self, Fields, Text, quote, unquote};
use crate::time::format_utc;

/// TTL of a lease of the cluster, if the caller names none: elections take up to 9 s.
pub const TTL_DEFAULT_MS: u64 = 60 * 1000;
/// Shortest TTL that a front end takes.
pub const TTL_MIN_MS: u64 = 30 * 1000;
/// The highest token of a lease of the cluster, half of the range: clocks in µs reach it in 2112.
/// A node that writes a higher one leaves room for the next, and takes no lease from all for ever.
pub const TOKEN_MAX: u64 = FencingToken::LIMIT / 2;
/// The `kind` of the record of an ended lease.
pub const END_KIND: &str = "lease_end";

const SCOPE: &str = "scope";
const SCOPE_WORD: &str = "cluster";
const NODE: &str = "node";
const EPOCH: &str = "cluster_epoch";
const TREE: &str = "tree";

/// What makes a record the grant of a lease of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The node of the holder.
    pub node: Label,
    /// The tree with the holder's record; empty if it is not known. A node may have several.
    pub tree: String,
    /// The epoch in which it was granted or renewed.
    pub epoch: u64,
}

impl Scope {
    /// Reads it from a record; `None` if the lease is one of a single node.
    pub fn of(record: &Record) -> Option<Scope> {
        let value = |name| record.extra.iter().find(|(key, _)| key == name).map(|(_, v)| v);
        if unquote(value(SCOPE)?)? != SCOPE_WORD {
            return None;
        }
        let node = unquote(value(NODE)?)?.parse().ok()?;
        let tree = value(TREE).and_then(|tree| unquote(tree)).unwrap_or_default().into_owned();
        Some(Scope { node, tree, epoch: value(EPOCH)?.parse().ok()? })
    }

    /// Writes it into a record, in place of what stands there.
    pub fn set(&self, record: &mut Record) {
        record.extra.retain(|(key, _)| ![SCOPE, NODE, TREE, EPOCH].contains(&key.as_str()));
        record.extra.extend([
            (SCOPE.to_owned(), quote(SCOPE_WORD)),
            (NODE.to_owned(), quote(self.node.as_str())),
            (TREE.to_owned(), quote(&self.tree)),
            (EPOCH.to_owned(), self.epoch.to_string()),
        ]);
    }
}

/// How a grant ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Its holder gave it back.
    Released,
    /// Its own node says that the holder's processes have ended.
    Dead,
    /// Its TTL ran out.
    Expired,
}

impl How {
    const ALL: [How; 3] = [How::Released, How::Dead, How::Expired];

    /// The word on disk and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            How::Released => "released",
            How::Dead => "dead",
            How::Expired => "expired",
        }
    }
}

/// The end of a grant. It stays in the store, because the next token must be greater.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Name of the lease.
    pub lease: RecordName,
    /// The token of the grant that ended.
    pub fencing_token: FencingToken,
    /// The id of the attempt that had got it.
    pub lease_id: String,
    /// How it ended.
    pub how: How,
    /// The node that says so, and its epoch.
    pub scope: Scope,
    /// When, for people.
    pub wall_us: i64,
}

/// What stands under the subjects of a lease: the last value of all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Nothing was ever written.
    Absent,
    /// A grant.
    Grant(Box<Record>, Scope),
    /// The end of a grant.
    End(Box<End>),
    /// Bytes that are neither, or that the node of the subject did not sign. They hold the lease
    /// for as long as a damaged record does.
    Unreadable,
}

impl Entry {
    /// Reads the value under a subject of the lease. `writer` is the node that signed it.
    pub fn read(bytes: &[u8], lease: &RecordName, writer: &Label) -> Entry {
        let entry = match record::parse(bytes, crate::layout::RECORD_MAX) {
            Ok(Text::Own(fields)) if fields.text("kind").is_some_and(|kind| kind == END_KIND) => {
                End::of(&fields, lease).map(|end| Entry::End(Box::new(end)))
            }
            Ok(Text::Own(fields)) => Record::from_fields(&fields, lease).ok().and_then(|record| {
                let scope = Scope::of(&record)?;
                Some(Entry::Grant(Box::new(record), scope))
            }),
            Ok(Text::Foreign(_)) | Err(_) => None,
        };
        entry
            .filter(|entry| entry.scope().is_some_and(|scope| scope.node == *writer))
            .filter(|entry| entry.fencing_token().is_some_and(|token| token.get() <= TOKEN_MAX))
            .unwrap_or(Entry::Unreadable)
    }

    /// The text that is written.
    pub fn render(&self) -> Option<String> {
        match self {
            Entry::Grant(record, _) => Some(record.to_fields().render()),
            Entry::End(end) => Some(end.to_fields().render()),
            Entry::Absent | Entry::Unreadable => None,
        }
    }

    /// The token of the grant or of the end.
    pub fn fencing_token(&self) -> Option<FencingToken> {
        match self {
            Entry::Grant(record, _) => Some(record.fencing_token),
            Entry::End(end) => Some(end.fencing_token),
            Entry::Absent | Entry::Unreadable => None,
        }
    }

    /// Returns whether this value, which came after another one of the same epoch, was written
    /// before it: tokens only grow, each renewal of a grant has a higher number, and after its end
    /// comes a higher token. So it was sent again.
    pub fn is_before(&self, known: &Entry) -> bool {
        let (Some(token), Some(last)) = (self.fencing_token(), known.fencing_token()) else {
            return false;
        };
        token < last
            || token == last
                && match (self, known) {
                    (Entry::Grant(one, _), Entry::Grant(other, _)) => {
                        one.renew_seq <= other.renew_seq
                    }
                    (Entry::Grant(..), _) => true,
                    _ => false,
                }
    }

    fn scope(&self) -> Option<&Scope> {
        match self {
            Entry::Grant(_, scope) => Some(scope),
            Entry::End(end) => Some(&end.scope),
            Entry::Absent | Entry::Unreadable => None,
        }
    }

    /// The epoch in which it was written.
    pub fn epoch(&self) -> Option<u64> {
        self.scope().map(|scope| scope.epoch)
    }
}

impl End {
    fn of(fields: &Fields<'_>, lease: &RecordName) -> Option<End> {
        let text = |key: &str| fields.text(key);
        if text("lease")? != lease.as_str() || text(SCOPE)? != SCOPE_WORD {
            return None;
        }
        let word = text("ended")?;
        Some(End {
            lease: lease.clone(),
            fencing_token: FencingToken::new(fields.number("fencing_token")?)?,
            lease_id: text("lease_id")?.into_owned(),
            how: How::ALL.into_iter().find(|how| how.word() == word)?,
            scope: Scope {
                node: text(NODE)?.parse().ok()?,
                tree: text(TREE).unwrap_or_default().into_owned(),
                epoch: fields.number(EPOCH)?,
            },
            wall_us: crate::time::parse_utc(&text("ended_at")?).ok()?,
        })
    }

    fn to_fields(&self) -> Fields<'static> {
        let mut fields = Fields::new(END_KIND);
        fields.push_text("lease", self.lease.as_str());
        fields.push_number("fencing_token", self.fencing_token.get());
        fields.push_text("lease_id", &self.lease_id);
        fields.push_text("ended", self.how.word());
        fields.push_text(SCOPE, SCOPE_WORD);
        fields.push_text(NODE, self.scope.node.as_str());
        fields.push_text(TREE, &self.scope.tree);
        fields.push_number(EPOCH, self.scope.epoch);
        fields.push_text("ended_at", &format_utc(self.wall_us));
        fields
    }
}

/// Returns whether this is the `kind` of a value that may stand under the subject of a lease.
pub fn is_kind(kind: &str) -> bool {
    kind == KIND || kind == END_KIND
}
