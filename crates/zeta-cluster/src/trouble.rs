//! Why a request to the server did not do what it asked, and what of that is known.

use std::fmt;

use zeta_os::error::{Error, Kind};

use crate::account::MAPPED;

/// The end of a request that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// JetStream refused it, with its own number.
    Refused {
        /// The number that JetStream gives the reason.
        code: u64,
        /// The reason in its words.
        text: String,
    },
    /// Nothing listens on this subject, so nothing was done.
    NoResponders(String),
    /// This user may not send it, so nothing was done. The text names the subject.
    Forbidden(String),
    /// It was not sent.
    NotSent(String),
    /// It may have been done, or may still be done.
    Unknown(String),
}

impl Trouble {
    /// An expected sequence was not the last one. JetStream has two numbers for it.
    pub const CONFLICTS: [u64; 2] = [10071, 10164];
    /// There is no such stream.
    pub const NO_STREAM: u64 = 10059;
    /// A stream of this name exists with other settings.
    pub const STREAM_EXISTS: u64 = 10058;
    /// There is no such message.
    pub const NO_MESSAGE: u64 = 10037;
    /// The stream has no room for more bytes.
    pub const FULL: u64 = 10077;
    /// The server or the account has none, as on a full disk.
    const NO_ROOM: [u64; 4] = [10002, 10023, 10028, 10047];
    /// More is written to the stream than the server can take.
    const TOO_MANY: u64 = 10167;

    /// Reports whether JetStream refused the request for this reason.
    pub fn is(&self, wanted: u64) -> bool {
        matches!(self, Trouble::Refused { code, .. } if *code == wanted)
    }

    /// Reports whether too few servers are there to write.
    pub fn is_no_quorum(&self) -> bool {
        NO_LEADER.iter().any(|code| self.is(*code))
    }

    /// Reports whether nothing is taken now: there is no room, or too much is written.
    pub fn is_full(&self) -> bool {
        [Trouble::FULL, Trouble::TOO_MANY].iter().chain(&Trouble::NO_ROOM).any(|c| self.is(*c))
    }

    /// Makes an error of it; `doing` says what was tried ("cannot create the stream X").
    pub fn explain(&self, doing: &str) -> Error {
        let text = format!("{doing}: {self}");
        let (kind, hint) = match self {
            Trouble::Refused { code, .. } => advice(*code),
            Trouble::NoResponders(subject) if subject.starts_with("$JS") => (
                Kind::Unsafe,
                "the server, or the account of this login, has no JetStream: switch it on in the \
                 configuration of the server",
            ),
            Trouble::NoResponders(subject) if subject.starts_with(MAPPED) => (
                Kind::Unsafe,
                "the account of a node may not do that: name the login of the administrator: \
                 --credentials",
            ),
            Trouble::NoResponders(_) => (
                Kind::Busy,
                "nothing was done: 'zeta cluster status' says which stream is missing, or has no \
                 leader",
            ),
            Trouble::Forbidden(_) => {
                (Kind::Unsafe, "give this login the permission, or name another one: --credentials")
            }
            Trouble::NotSent(_) => (Kind::Fault, ""),
            Trouble::Unknown(_) => (
                Kind::Busy,
                "it is not known whether it was done: repeat the call, which looks first",
            ),
        };
        let error = Error::new(kind, text);
        if hint.is_empty() { error } else { error.hint(hint) }
    }
}

/// Its own meta group or the group of a stream has no leader now.
const NO_LEADER: [u64; 2] = [10008, 10009];

/// What the numbers of JetStream mean for a caller.
fn advice(code: u64) -> (Kind, &'static str) {
    match code {
        Trouble::TOO_MANY => (
            Kind::Busy,
            "repeat the call: more is written to this stream than the server can take, and \
             'zeta cluster status' may say by whom",
        ),
        code if NO_LEADER.contains(&code) => (
            Kind::Busy,
            "repeat the call: the servers have no leader now. If that lasts, there is no quorum: \
             more than half of the servers must run",
        ),
        10039 | 10076 => (Kind::Unsafe, "switch JetStream on for the account of this login"),
        10074 => {
            (Kind::Unsafe, "one server alone keeps one replica: --replicas 1, or make a cluster")
        }
        10005 => (Kind::Unsafe, "more replicas than servers that have room: see --replicas"),
        code if Trouble::NO_ROOM.contains(&code) => (
            Kind::Unsafe,
            "the server has too little room: make room on its disk, or raise max_file_store, or \
             the limits of the account",
        ),
        Trouble::FULL => (Kind::Unsafe, "the stream is full: 'zeta cluster status' shows how full"),
        Trouble::NO_STREAM => {
            (Kind::Unsafe, "'zeta cluster status' says whether it was lost or was never made")
        }
        10065 => (Kind::Unsafe, "another stream has these subjects: use another account for zeta"),
        _ => (Kind::Fault, ""),
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Refused { code, text } => write!(f, "{text} ({code})"),
            Trouble::NoResponders(subject) => write!(f, "nothing answers on {subject}"),
            Trouble::Forbidden(text) => f.write_str(text),
            Trouble::NotSent(why) | Trouble::Unknown(why) => f.write_str(why),
        }
    }
}
