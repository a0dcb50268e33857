//! What was given to the client with its last answers. A client may cancel a call while its answer
//! is on the way: it does not read that, so what was in it is put back.

use std::time::{Duration, Instant};

use rmcp::model::RequestId;
use zeta_core::bus::Envelope;
use zeta_core::name::RecordName;

use crate::holding::Key;

/// How long after its answer a cancelled call counts as not answered.
const CROSSING: Duration = Duration::from_secs(5);
/// How many answers are remembered.
const REMEMBERED_MAX: usize = 256;

/// What a client takes with an answer, besides the text.
#[derive(Debug, Clone, Default)]
pub struct Gives {
    /// Messages, which are read then.
    pub mail: Vec<Envelope>,
    /// A grant that the answer names as the caller's; true if it was made for this very call.
    pub grant: Option<(Key, bool)>,
    /// The call changed something else.
    pub changes: bool,
}

/// An answer on its way, or just taken.
#[derive(Debug)]
pub struct Given {
    /// The number that the client gave the call.
    pub call: RequestId,
    /// What the client takes with it.
    pub gives: Gives,
    /// The agent that reads the messages.
    pub reader: String,
    /// The news in it.
    pub notices: Vec<Notice>,
    /// All grants that it lists.
    pub listed: Vec<Key>,
    /// The first line of it.
    pub said: String,
    /// When it was written to the client.
    pub written: Option<Instant>,
}

/// The answers that may still prove not to be taken.
#[derive(Debug, Default)]
pub struct GivenList(Vec<Given>);

impl GivenList {
    /// Adds an answer, and forgets those that were taken.
    pub fn push(&mut self, given: Given) {
        let is_taken = |given: &Given| given.written.is_some_and(|at| at.elapsed() > CROSSING);
        self.0.retain(|given| !is_taken(given));
        if self.0.len() >= REMEMBERED_MAX {
            self.0.remove(0);
        }
        self.0.push(given);
    }

    /// Notes that an answer was written, and returns it.
    pub fn written(&mut self, call: &RequestId) -> Option<&Given> {
        let on_its_way = |given: &&mut Given| given.call == *call && given.written.is_none();
        let given = self.0.iter_mut().find(on_its_way)?;
        given.written = Some(Instant::now());
        Some(given)
    }

    /// Takes out the answer to a call that the client cancelled.
    pub fn take(&mut self, call: &RequestId) -> Option<Given> {
        let at = self.0.iter().position(|given| given.call == *call)?;
        let given = self.0.remove(at);
        given.written.is_none_or(|at| at.elapsed() <= CROSSING).then_some(given)
    }

    /// Drops what an answer said of the turn of a lease: put back, it would be said too late.
    fn drop_turn(&mut self, lease: &RecordName) {
        let is_other = |notice: &Notice| notice.turn_of.as_ref() != Some(lease);
        self.0.iter_mut().for_each(|given| given.notices.retain(is_other));
    }

    /// Returns whether a message is on its way.
    pub fn has_mail(&self, id: &str) -> bool {
        let on_its_way = self.0.iter().filter(|given| given.written.is_none());
        on_its_way.flat_map(|given| &given.gives.mail).any(|envelope| envelope.id == id)
    }

    /// Returns whether an answer on its way lists a grant.
    pub fn lists(&self, key: &Key) -> bool {
        self.0.iter().filter(|given| given.written.is_none()).any(|one| one.listed.contains(key))
    }
}

/// What the next answer says besides.
#[derive(Debug)]
pub struct Notice {
    /// Set if it is about the turn of a lease: a later one replaces it.
    pub turn_of: Option<RecordName>,
    /// The sentence.
    pub text: String,
}

/// The news that no answer has told yet, and the last answers: what they told may come back.
#[derive(Debug, Default)]
pub struct Notices {
    untold: Vec<Notice>,
    /// The last answers.
    pub given: GivenList,
}

impl Notices {
    /// Adds news.
    pub fn push(&mut self, text: String) {
        self.untold.push(Notice { turn_of: None, text });
    }

    /// Adds news.
    pub fn extend(&mut self, texts: Vec<String>) {
        texts.into_iter().for_each(|text| self.push(text));
    }

    /// Adds what became of the turn of a lease, in place of what was said of it before.
    pub fn push_turn(&mut self, lease: &RecordName, text: String) {
        self.drop_turn(lease);
        self.untold.push(Notice { turn_of: Some(lease.clone()), text });
    }

    /// Drops what is said of the turn of a lease: it is not so any more.
    pub fn drop_turn(&mut self, lease: &RecordName) {
        self.untold.retain(|notice| notice.turn_of.as_ref() != Some(lease));
        self.given.drop_turn(lease);
    }

    /// Takes all of it.
    pub fn take(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.untold)
    }

    /// Puts news back that were not taken, before those that came later.
    pub fn put_back(&mut self, before: Vec<Notice>) {
        self.untold.splice(0..0, before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_of_a_turn_replace_each_other_and_losses_stay() {
        let lease = RecordName::new("lease", "x").unwrap();
        let mut notices = Notices::default();
        notices.push("you have lost x".to_owned());
        notices.push_turn(&lease, "x is yours".to_owned());
        let call = RequestId::Number(1);
        let (gives, written, listed) = (Gives::default(), None, Vec::new());
        let (reader, said, told) = (String::new(), String::new(), notices.take());
        let given =
            Given { call: call.clone(), gives, reader, notices: told, listed, said, written };
        notices.given.push(given);
        // Also if an answer has told this meanwhile.
        notices.push_turn(&lease, "x is released".to_owned());
        assert_eq!(notices.take().len(), 1);
        let before = notices.given.take(&call).unwrap().notices;
        notices.put_back(before);
        let texts: Vec<String> = notices.take().into_iter().map(|notice| notice.text).collect();
        assert_eq!(texts, ["you have lost x"]);
    }
}
