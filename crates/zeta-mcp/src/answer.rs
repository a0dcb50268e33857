//! The answer to a call: a text for the model, and the same as an object for programs.

use serde_json::{Map, Value};
use zeta_core::record::printable;
use zeta_os::error::Error;

use crate::given::Gives;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The text that the model reads.
    pub text: String,
    /// The call did not do what it was for.
    pub is_error: bool,
    /// The answer for programs.
    pub object: Map<String, Value>,
    /// What the client takes with it.
    pub gives: Gives,
}

impl Answer {
    /// Makes an answer; `outcome` is its word for programs.
    pub fn new(outcome: &str, text: impl Into<String>) -> Answer {
        let mut object = Map::new();
        object.insert("outcome".to_owned(), outcome.into());
        Answer { text: text.into(), is_error: false, object, gives: Gives::default() }
    }

    /// Makes a refusal with its next step.
    pub fn refusal(outcome: &str, error: &Error, next: &str) -> Answer {
        let text = format!("{}\nNext: {next}", printable(&error.text));
        Answer { is_error: true, ..Answer::new(outcome, text) }.with("error", error.kind.word())
    }

    /// Makes the answer about a fault, or about a call that cannot be carried out.
    pub fn fault(error: &Error) -> Answer {
        let mut text = printable(&error.text).into_owned();
        for hint in &error.hints {
            text += &format!("\nNext: {}", printable(hint.as_str()));
        }
        Answer { is_error: true, ..Answer::new("error", text) }.with("error", error.kind.word())
    }

    /// Adds a key for programs.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Answer {
        self.object.insert(key.to_owned(), value.into());
        self
    }
}
