//! The streams and subjects of a cluster: names as tokens, and back.
//!
//! A subject is tokens with dots between them. Names of leases and markers may hold dots, also two
//! in a row and one at the end, which no subject may. A dot is written as `=`, which no name has.

use std::fmt;

use crate::layout;
use crate::name::{Label, RecordName};

/// The major version of the wire: it is part of each subject, so that two of them stay apart.
pub const MAJOR: &str = "zeta1";
/// Below this are the values that the store sends on to subscribers.
pub const LIVE: &str = "zeta1.live.";
/// Longest subject that is looked at, in bytes. The longest that this module writes is shorter.
pub const SUBJECT_MAX: usize = 256;

/// A stream of the cluster. Only `init` makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// The records of nodes.
    State,
    /// The messages of nodes.
    Bus,
    /// The leases of the cluster.
    Lease,
    /// What holds for the whole cluster.
    Meta,
}

impl Stream {
    /// Each of them.
    pub const ALL: [Stream; 4] = [Stream::State, Stream::Bus, Stream::Lease, Stream::Meta];

    /// The name of the stream.
    pub fn name(self) -> &'static str {
        match self {
            Stream::State => "ZETA1_STATE",
            Stream::Bus => "ZETA1_BUS",
            Stream::Lease => "ZETA1_LEASE",
            Stream::Meta => "ZETA1_META",
        }
    }

    /// The word for it in files and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Stream::State => "state",
            Stream::Bus => "bus",
            Stream::Lease => "lease",
            Stream::Meta => "meta",
        }
    }

    /// The pattern of the subjects that it keeps.
    pub fn pattern(self) -> &'static str {
        match self {
            Stream::State => "zeta1.state.>",
            Stream::Bus => "zeta1.bus.*",
            Stream::Lease => "zeta1.lease.>",
            Stream::Meta => "zeta1.meta",
        }
    }
}

/// A record of a node that other nodes see.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    /// A lease of the node itself.
    Lock(RecordName),
    /// A marker.
    Marker(RecordName),
    /// A persona.
    Persona(Label),
    /// The card of the node, which stands in no file of the node.
    Card,
}

impl Item {
    /// Returns the file of a node directory that holds it; none for the card.
    pub fn file(&self) -> Option<String> {
        match self {
            Item::Lock(name) => Some(layout::lease_file(name)),
            Item::Marker(name) => Some(layout::marker_file(name)),
            Item::Persona(name) => Some(layout::persona_file(name.as_str())),
            Item::Card => None,
        }
    }

    /// Returns what a file of a node directory holds, if it travels.
    pub fn of_file(file: &str) -> Option<Item> {
        match layout::kind_of(file) {
            layout::Kind::Lease(name) => RecordName::new("lease", name).ok().map(Item::Lock),
            layout::Kind::Marker(name) => RecordName::new("marker", name).ok().map(Item::Marker),
            layout::Kind::Persona(name) => Label::new("persona", name).ok().map(Item::Persona),
            _ => None,
        }
    }
}

/// What a subject is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A record of a node.
    State {
        /// The node.
        node: Label,
        /// The record.
        item: Item,
    },
    /// The messages that a node sends.
    Bus(Label),
    /// A lease of the cluster.
    Lease {
        /// Its name.
        name: RecordName,
        /// The node that writes; none on servers that cannot guard a pattern (before 2.11), where
        /// all nodes write the same subject.
        node: Option<Label>,
    },
    /// What holds for the whole cluster.
    Meta,
}

/// Why a subject is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// It is longer than any subject of a cluster.
    #[error("the subject is longer than {SUBJECT_MAX} bytes")]
    TooLong,
    /// It is of another major version, or not of zeta.
    #[error("the subject does not begin with {MAJOR}")]
    OtherMajor,
    /// There is no such kind of subject, or it has not the tokens of its kind.
    #[error("the subject is of no kind that is known")]
    UnknownKind,
    /// The token that names a node is not the name of one.
    #[error("the subject does not name a node")]
    BadNode,
    /// The token that names a record is not the name of one.
    #[error("the subject does not name a record")]
    BadName,
}

impl Subject {
    /// Reads a subject. Each subject has one text, so no two texts name the same.
    pub fn parse(text: &str) -> Result<Subject, SubjectError> {
        if text.len() > SUBJECT_MAX {
            return Err(SubjectError::TooLong);
        }
        let mut tokens = text.split('.');
        if tokens.next() != Some(MAJOR) {
            return Err(SubjectError::OtherMajor);
        }
        let tokens: Vec<&str> = tokens.take(5).collect();
        match tokens.as_slice() {
            ["state", node, "card", "self"] => {
                Ok(Subject::State { node: node_of(node)?, item: Item::Card })
            }
            ["state", node, kind, name] => {
                Ok(Subject::State { node: node_of(node)?, item: item_of(kind, name)? })
            }
            ["bus", node] => Ok(Subject::Bus(node_of(node)?)),
            ["lease", name] => Ok(Subject::Lease { name: name_of("lease", name)?, node: None }),
            ["lease", name, node] => {
                let name = name_of("lease", name)?;
                Ok(Subject::Lease { name, node: Some(node_of(node)?) })
            }
            ["meta"] => Ok(Subject::Meta),
            _ => Err(SubjectError::UnknownKind),
        }
    }

    /// Reads the subject under which the store sends a value on.
    pub fn of_live(text: &str) -> Result<Subject, SubjectError> {
        let rest = text.strip_prefix(LIVE).ok_or(SubjectError::OtherMajor)?;
        Subject::parse(&[MAJOR, ".", rest].concat())
    }

    /// The subject under which the store sends this one's values on.
    pub fn live(&self) -> String {
        let text = self.to_string();
        [LIVE, text.strip_prefix("zeta1.").unwrap_or_default()].concat()
    }

    /// The stream that keeps it.
    pub fn stream(&self) -> Stream {
        match self {
            Subject::State { .. } => Stream::State,
            Subject::Bus(_) => Stream::Bus,
            Subject::Lease { .. } => Stream::Lease,
            Subject::Meta => Stream::Meta,
        }
    }

    /// The only node that may write it; none if that does not follow from the subject.
    pub fn node(&self) -> Option<&Label> {
        match self {
            Subject::State { node, .. } | Subject::Bus(node) => Some(node),
            Subject::Lease { node, .. } => node.as_ref(),
            Subject::Meta => None,
        }
    }
}

/// The pattern whose last revision a write of a lease expects: the subjects of all nodes.
pub fn lease_pattern(name: &RecordName) -> String {
    format!("{MAJOR}.lease.{}.*", token_of(name))
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::State { node, item } => {
                write!(f, "{MAJOR}.state.{node}.")?;
                match item {
                    Item::Lock(name) => write!(f, "lock.{}", token_of(name)),
                    Item::Marker(name) => write!(f, "marker.{}", token_of(name)),
                    Item::Persona(name) => write!(f, "persona.{name}"),
                    Item::Card => f.write_str("card.self"),
                }
            }
            Subject::Bus(node) => write!(f, "{MAJOR}.bus.{node}"),
            Subject::Lease { name, node: None } => write!(f, "{MAJOR}.lease.{}", token_of(name)),
            Subject::Lease { name, node: Some(node) } => {
                write!(f, "{MAJOR}.lease.{}.{node}", token_of(name))
            }
            Subject::Meta => write!(f, "{MAJOR}.meta"),
        }
    }
}

fn token_of(name: &RecordName) -> String {
    name.as_str().replace('.', "=")
}

fn node_of(token: &str) -> Result<Label, SubjectError> {
    Label::new("node", token).map_err(|_| SubjectError::BadNode)
}

fn name_of(kind: &'static str, token: &str) -> Result<RecordName, SubjectError> {
    RecordName::new(kind, &token.replace('=', ".")).map_err(|_| SubjectError::BadName)
}

fn item_of(kind: &str, name: &str) -> Result<Item, SubjectError> {
    match kind {
        "lock" => name_of("lease", name).map(Item::Lock),
        "marker" => name_of("marker", name).map(Item::Marker),
        "persona" => {
            Label::new("persona", name).map(Item::Persona).map_err(|_| SubjectError::BadName)
        }
        _ => Err(SubjectError::UnknownKind),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> RecordName {
        RecordName::new("lease", text).unwrap()
    }

    fn label(text: &str) -> Label {
        Label::new("node", text).unwrap()
    }

    #[test]
    fn each_kind_has_its_subject_stream_and_writer() {
        let state = |item| Subject::State { node: label("node-a"), item };
        let lease = |node| Subject::Lease { name: name("v1..2."), node };
        for (subject, text, stream, node) in [
            (state(Item::Lock(name("a.b"))), "zeta1.state.node-a.lock.a=b", Stream::State, true),
            (state(Item::Marker(name("m"))), "zeta1.state.node-a.marker.m", Stream::State, true),
            (
                state(Item::Persona(label("otto"))),
                "zeta1.state.node-a.persona.otto",
                Stream::State,
                true,
            ),
            (state(Item::Card), "zeta1.state.node-a.card.self", Stream::State, true),
            (Subject::Bus(label("node-a")), "zeta1.bus.node-a", Stream::Bus, true),
            (lease(Some(label("node-a"))), "zeta1.lease.v1==2=.node-a", Stream::Lease, true),
            (lease(None), "zeta1.lease.v1==2=", Stream::Lease, false),
            (Subject::Meta, "zeta1.meta", Stream::Meta, false),
        ] {
            assert_eq!(subject.to_string(), text);
            assert_eq!(Subject::parse(text), Ok(subject.clone()), "{text}");
            assert_eq!(subject.stream(), stream, "{text}");
            assert_eq!(subject.node(), node.then_some(&label("node-a")), "{text}");
            let pattern = stream.pattern();
            let start = pattern.trim_end_matches(['>', '*']);
            assert!(text.starts_with(start), "{text} is kept by {}", stream.name());
        }
        assert_eq!(lease_pattern(&name("v1..2.")), "zeta1.lease.v1==2=.*");
    }

    #[test]
    fn a_hostile_subject_is_refused_with_a_reason() {
        use SubjectError::*;
        let long = format!("zeta1.lease.{}", "x".repeat(SUBJECT_MAX));
        for (text, reason) in [
            (long.as_str(), TooLong),
            ("", OtherMajor),
            ("zeta2.meta", OtherMajor),
            ("$JS.API.STREAM.DELETE.ZETA1_STATE", OtherMajor),
            ("zeta1", UnknownKind),
            ("zeta1.", UnknownKind),
            ("zeta1.meta.x", UnknownKind),
            ("zeta1.live.meta", UnknownKind),
            ("zeta1.state.node-a", UnknownKind),
            ("zeta1.state.node-a.guard.x", UnknownKind),
            ("zeta1.state.node-a.card.x", UnknownKind),
            ("zeta1.state.node-a.lock.a.b", UnknownKind),
            ("zeta1.state.node-a.lock.a.b.c.d.e.f", UnknownKind),
            ("zeta1.state.*.lock.a", BadNode),
            ("zeta1.state.../../x.lock.a", UnknownKind),
            ("zeta1.state.Node.lock.a", BadNode),
            ("zeta1.state.node-a.lock.", BadName),
            ("zeta1.state.node-a.lock.>", BadName),
            ("zeta1.state.node-a.lock.=a", BadName),
            ("zeta1.state.node-a.marker.a/b", BadName),
            ("zeta1.state.node-a.persona.a=b", BadName),
            ("zeta1.bus.node a", BadNode),
            ("zeta1.bus.", BadNode),
            ("zeta1.lease.a\nb", BadName),
            ("zeta1.lease.a.*", BadNode),
        ] {
            assert_eq!(Subject::parse(text), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn files_that_travel_have_an_item_and_the_others_none() {
        for file in ["a.b.lock", "x.marker", "persona-otto.state"] {
            assert_eq!(Item::of_file(file).and_then(|item| item.file()).as_deref(), Some(file));
        }
        for file in ["last-seen.iso", ".guard", "a.grants", "a.note", "history.log", "A.lock"] {
            assert_eq!(Item::of_file(file), None, "{file}");
        }
        assert_eq!(Item::Card.file(), None);
    }

    fn any_subject() -> impl Strategy<Value = Subject> {
        let node = || "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?".prop_map(|text| label(&text));
        let named = || "[a-z0-9][a-z0-9._-]{0,119}".prop_map(|text| name(&text));
        prop_oneof![
            (node(), named()).prop_map(|(node, n)| Subject::State { node, item: Item::Lock(n) }),
            (node(), named()).prop_map(|(node, n)| Subject::State { node, item: Item::Marker(n) }),
            (node(), node()).prop_map(|(node, n)| Subject::State { node, item: Item::Persona(n) }),
            node().prop_map(|node| Subject::State { node, item: Item::Card }),
            node().prop_map(Subject::Bus),
            (named(), proptest::option::of(node()))
                .prop_map(|(name, node)| Subject::Lease { name, node }),
            Just(Subject::Meta),
        ]
    }

    proptest! {
        #[test]
        fn subjects_read_back_and_are_legal(subject in any_subject()) {
            let text = subject.to_string();
            prop_assert!(text.len() <= SUBJECT_MAX);
            prop_assert!(text.split('.').all(|token| !token.is_empty()));
            prop_assert!(!text.contains(['*', '>', ' ']));
            prop_assert_eq!(Subject::parse(&text), Ok(subject.clone()));
            prop_assert_eq!(Subject::of_live(&subject.live()), Ok(subject));
        }

        #[test]
        fn what_is_read_has_one_text(text in "zeta1\\.(state|bus|lease|meta)[a-z=.*>-]{0,24}") {
            if let Ok(subject) = Subject::parse(&text) {
                prop_assert_eq!(subject.to_string(), text);
            }
        }
    }
}
