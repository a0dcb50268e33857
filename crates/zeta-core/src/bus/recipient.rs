//! Who a message is for: one agent, the members of a channel, or all agents.

use std::fmt;

use super::address::{Address, EVERYBODY};
use super::topic;

/// How the name of a channel begins. No address does.
pub const CHANNEL_SIGN: char = '#';
/// Longest name of a channel without its sign, in bytes.
const CHANNEL_MAX: usize = 64;
/// Topics of broadcasts that programs read: they would fill every inbox.
const FOR_PROGRAMS: [&str; 3] = [topic::CLAIM, "heartbeat", topic::STATE_CHANGE];

/// The name of a channel: `#` and a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Channel(String);

impl Channel {
    /// Reads the name of a channel; the error is the rule that it breaks.
    pub fn new(text: &str) -> Result<Channel, &'static str> {
        const RULE: &str = "write # and a name of a-z, 0-9, '_' and '-' that starts with a letter \
                            or a digit, as in '#build' (at most 64 bytes), and quote it for the \
                            shell";
        let name = text.strip_prefix(CHANNEL_SIGN).ok_or(RULE)?;
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let is_name = name.len() <= CHANNEL_MAX
            && name.bytes().next().is_some_and(good)
            && name.bytes().all(|b| good(b) || matches!(b, b'_' | b'-'));
        match is_name {
            true => Ok(Channel(text.to_owned())),
            false => Err(RULE),
        }
    }

    /// The name with its sign.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its sign.
    pub fn name(&self) -> &str {
        self.0.trim_start_matches(CHANNEL_SIGN)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// All agents.
    All,
    /// The members of a channel.
    Channel(Channel),
    /// One agent.
    Agent(Address),
}

impl Recipient {
    /// The word in a message.
    pub fn as_str(&self) -> &str {
        match self {
            Recipient::All => EVERYBODY,
            Recipient::Channel(channel) => channel.as_str(),
            Recipient::Agent(address) => address.as_str(),
        }
    }
}

/// Returns whether a message to `to` may have several recipients.
pub fn is_for_many(to: &str) -> bool {
    to == EVERYBODY || to.starts_with(CHANNEL_SIGN)
}

/// An agent that reads messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reader {
    /// Its name.
    pub name: String,
    /// The channels that it is in, each with the time since when, in µs.
    pub channels: Vec<(String, i64)>,
}

impl Reader {
    /// Makes a reader that is in no channel.
    pub fn named(name: &str) -> Reader {
        Reader { name: name.to_owned(), channels: Vec::new() }
    }

    /// Returns whether a message that was sent at this time is for the reader. A message to a
    /// channel is for those who were in it when it was sent, but for its sender.
    pub fn gets(&self, from: &str, to: &str, sent_us: i64) -> bool {
        let joined = |(channel, since_us): &(String, i64)| {
            // A message has the time of its sending in ms.
            channel == to && sent_us >= since_us - since_us.rem_euclid(1000)
        };
        to == self.name
            || to == EVERYBODY
            || (from != self.name && self.channels.iter().any(joined))
    }
}

/// What an unread message is to an agent that may read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mail {
    /// No mail: a broadcast of its own, or one for programs.
    None,
    /// Shown when the agent asks for its inbox: what was said to all before it was here.
    OnRequest,
    /// For the agent now: its hooks give it, and it is a reason to wake the agent.
    Now,
}

/// Judges what a message that [`Reader::gets`] is to the reader `name`. Of the broadcasts, those
/// are for it now that were marked for it when they were sent.
pub fn judge_mail(name: &str, from: &str, to: &str, topic: &str, is_marked: bool) -> Mail {
    match to == EVERYBODY {
        true if from == name || FOR_PROGRAMS.contains(&topic) => Mail::None,
        true if !is_marked => Mail::OnRequest,
        _ => Mail::Now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_a_sign_and_a_name() {
        for good in ["#build", "#0", "#a_b-c"] {
            assert_eq!(Channel::new(good).unwrap().as_str(), good);
            assert!(Address::new(good).is_err() && is_for_many(good));
        }
        for bad in ["", "#", "build", "##a", "#A", "#-a", "#a.b", "#a,b", "#a/b", "#a b", "#é"] {
            assert!(Channel::new(bad).is_err(), "{bad}");
        }
        assert!(Channel::new(&format!("#{}", "a".repeat(64))).is_ok());
        assert!(Channel::new(&format!("#{}", "a".repeat(65))).is_err());
        assert_eq!(Channel::new("#build").unwrap().name(), "build");
        assert!(is_for_many("*") && !is_for_many("otto"));
    }

    #[test]
    fn a_message_is_for_its_recipient_for_members_and_for_everybody() {
        let otto = Reader { name: "otto".into(), channels: vec![("#build".into(), 5_500)] };
        for (from, to, sent_us, for_it) in [
            ("vera", "otto", 0, true),
            ("vera", "*", 0, true),
            ("otto", "*", 0, true),
            ("vera", "vera", 9_000, false),
            ("vera", "#build", 9_000, true),
            ("vera", "#build", 5_000, true),
            ("vera", "#build", 4_000, false),
            ("otto", "#build", 9_000, false),
            ("vera", "#other", 9_000, false),
        ] {
            assert_eq!(otto.gets(from, to, sent_us), for_it, "{from} {to} {sent_us}");
        }
        assert!(!Reader::named("*").gets("vera", "otto", 0));
    }

    #[test]
    fn what_was_said_to_all_before_an_agent_was_here_is_mail_on_request_only() {
        for (from, to, topic, is_marked, mail) in [
            ("vera", "otto", "text", true, Mail::Now),
            // A message of another program has no mark.
            ("vera", "otto", "text", false, Mail::Now),
            ("otto", "otto", "text", false, Mail::Now),
            ("vera", "otto", "claim", false, Mail::Now),
            ("vera", "#build", "text", false, Mail::Now),
            ("vera", "*", "text", true, Mail::Now),
            ("vera", "*", "review-request", true, Mail::Now),
            ("vera", "*", "text", false, Mail::OnRequest),
            ("otto", "*", "text", true, Mail::None),
            ("vera", "*", "claim", true, Mail::None),
            ("vera", "*", "heartbeat", false, Mail::None),
            ("vera", "*", "state-change", true, Mail::None),
        ] {
            let judged = judge_mail("otto", from, to, topic, is_marked);
            assert_eq!(judged, mail, "{from} {to} {topic} {is_marked}");
        }
    }
}
