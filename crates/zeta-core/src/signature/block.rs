//! The block: ten keys, the values that they may have, and what is wrong with one.

use std::borrow::Cow;
use std::fmt;

use super::trailer::Trailer;

/// A key of the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The version of the grammar.
    Version,
    /// The name of the agent.
    Agent,
    /// The program that the agent runs in.
    Runtime,
    /// The model that it works with.
    Model,
    /// The account that the commit is pushed with.
    CredentialIdentity,
    /// Whose account that is.
    CredentialMode,
    /// Whether a person looked at the change.
    HumanReview,
    /// Where that can be read.
    HumanReviewEvidence,
    /// How much a person had a part in the work.
    ActionMode,
    /// The item of work.
    Task,
}

impl Key {
    /// All keys, in their customary order.
    pub const ALL: [Key; 10] = [
        Key::Version,
        Key::Agent,
        Key::Runtime,
        Key::Model,
        Key::CredentialIdentity,
        Key::CredentialMode,
        Key::HumanReview,
        Key::HumanReviewEvidence,
        Key::ActionMode,
        Key::Task,
    ];

    /// The key as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Key::Version => "Agency-Signature-Version",
            Key::Agent => "Agent",
            Key::Runtime => "Agent-Runtime",
            Key::Model => "Agent-Model",
            Key::CredentialIdentity => "Credential-Identity",
            Key::CredentialMode => "Credential-Mode",
            Key::HumanReview => "Human-Review",
            Key::HumanReviewEvidence => "Human-Review-Evidence",
            Key::ActionMode => "Action-Mode",
            Key::Task => "Task",
        }
    }

    /// The values that it may have; `None` if the grammar has no list.
    pub fn values(self) -> Option<&'static [&'static str]> {
        match self {
            Key::Version => Some(&["1"]),
            Key::CredentialMode => Some(&["shared", "dedicated-agent", "human-only", "unknown"]),
            Key::HumanReview => Some(&[EXPLICIT, "not-implied-by-credential", NONE]),
            Key::HumanReviewEvidence => {
                Some(&["chat", "pr-review", "pr-comment", "signed-policy", NONE])
            }
            Key::ActionMode => Some(&["autonomous-fail-open", "human-directed", "supervised"]),
            Key::Agent | Key::Runtime | Key::Model | Key::CredentialIdentity | Key::Task => None,
        }
    }

    /// Finds a key by its name, in capital or small letters.
    pub fn find(name: &[u8]) -> Option<Key> {
        Key::ALL.into_iter().find(|key| key.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The value of Human-Review that asks for evidence.
pub const EXPLICIT: &str = "explicit";
/// The value that says: there is none.
pub const NONE: &str = "none";
/// The forms of a task, in words.
pub const TASK_FORMS: &str =
    "none, N, #N, task-#N, or a word of letters and digits, a hyphen and N, as in B-0856";

/// Reports whether a text is a task in a form that the grammar knows.
pub fn is_task(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if text == NONE || is_number(text.strip_prefix('#').unwrap_or(text)) {
        return true;
    }
    let numbered = text.strip_prefix("task-#");
    numbered.is_some_and(is_number)
        || text.split_once('-').is_some_and(|(word, number)| is_word(word) && is_number(number))
}

/// The values of the ten keys in a message, as far as they are there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Block<'m> {
    values: [Option<Cow<'m, str>>; 10],
}

impl<'m> Block<'m> {
    /// Reads the keys among trailers. Of two lines with one key the first counts; other keys are
    /// passed over.
    pub fn of(trailers: impl IntoIterator<Item = Trailer<'m>>) -> Block<'m> {
        let mut block = Block::default();
        for Trailer { key, value, .. } in trailers {
            let Some(key) = Key::find(key) else { continue };
            let value = match value {
                Cow::Borrowed(value) => String::from_utf8_lossy(value),
                Cow::Owned(value) => String::from_utf8_lossy(&value).into_owned().into(),
            };
            block.values[key as usize].get_or_insert(value);
        }
        block
    }

    /// The value of a key.
    pub fn get(&self, key: Key) -> Option<&str> {
        self.values.get(key as usize)?.as_deref()
    }

    /// Sets a value.
    pub fn set(&mut self, key: Key, value: impl Into<Cow<'m, str>>) {
        self.values[key as usize] = Some(value.into());
    }

    /// How many of the keys are there.
    pub fn len(&self) -> usize {
        self.values.iter().flatten().count()
    }

    /// Reports whether none of the keys is there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys that are not there.
    pub fn missing(&self) -> Vec<Key> {
        Key::ALL.into_iter().filter(|key| self.get(*key).is_none()).collect()
    }

    /// The same block, on its own.
    pub fn into_owned(self) -> Block<'static> {
        Block { values: self.values.map(|value| value.map(|value| value.into_owned().into())) }
    }

    /// All that is wrong with the block, in the order in which it is looked at.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let missing = self.missing();
        if !missing.is_empty() {
            faults.push(Fault::Missing(missing));
        }
        for key in Key::ALL {
            let (Some(value), Some(allowed)) = (self.get(key), key.values()) else { continue };
            if !allowed.contains(&value) {
                faults.push(Fault::Value { key, value: value.to_owned() });
            }
        }
        if let Some(task) = self.get(Key::Task).filter(|task| !is_task(task)) {
            faults.push(Fault::Task(task.to_owned()));
        }
        let review = self.get(Key::HumanReview);
        match (review, self.get(Key::HumanReviewEvidence)) {
            (Some(EXPLICIT), Some(NONE)) => faults.push(Fault::ReviewWithoutEvidence),
            (Some(review), Some(evidence)) if review != EXPLICIT && evidence != NONE => {
                faults.push(Fault::EvidenceWithoutReview);
            }
            _ => {}
        }
        faults
    }

    /// The block as text: ten lines, in the customary order. A key without a value is left out.
    pub fn text(&self) -> String {
        let line = |key: Key| Some(format!("{key}: {}\n", self.get(key)?));
        Key::ALL.into_iter().filter_map(line).collect()
    }
}

/// Why a message has no good block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// git reads no trailers at all.
    #[error("git reads no trailers in it: {0}")]
    NoTrailers(&'static str),
    /// Words stand below the block.
    #[error("text stands below the block: the block has to be the last paragraph")]
    TextAfter,
    /// Keys are not there.
    #[error("the block lacks {}", names(.0))]
    Missing(Vec<Key>),
    /// A value is none of the list.
    #[error("{key} is {value:?}, and has to be {}", one_of(*.key))]
    Value {
        /// The key.
        key: Key,
        /// Its value.
        value: String,
    },
    /// The task has no form of the grammar.
    #[error("Task is {0:?}, and has to be {TASK_FORMS}")]
    Task(String),
    /// Evidence of a review that is not claimed.
    #[error("Human-Review-Evidence is given, and Human-Review is not explicit")]
    EvidenceWithoutReview,
    /// A review without evidence.
    #[error("Human-Review is explicit, and Human-Review-Evidence is none")]
    ReviewWithoutEvidence,
    /// The block is inside of a code fence, which a squash merge takes along.
    #[error("the block is inside of a code fence, which becomes a part of the commit")]
    Fenced,
}

impl Fault {
    /// The word of the check that found it, for scripts.
    pub fn stage(&self) -> &'static str {
        match self {
            Fault::NoTrailers(_) => "no-trailers",
            Fault::TextAfter => "text-after-block",
            Fault::Missing(_) => "missing-key",
            Fault::Value { .. } => "enum",
            Fault::Task(_) => "task",
            Fault::EvidenceWithoutReview => "evidence-without-review",
            Fault::ReviewWithoutEvidence => "review-without-evidence",
            Fault::Fenced => "code-fence",
        }
    }
}

fn names(keys: &[Key]) -> String {
    keys.iter().map(|key| key.name()).collect::<Vec<_>>().join(", ")
}

fn one_of(key: Key) -> String {
    key.values().unwrap_or_default().join(" or ")
}
