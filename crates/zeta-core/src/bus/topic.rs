//! Topics: how long a message of one lives, and what its payload must say.
//!
//! The original checks only that a payload is JSON, so its readers meet every shape. Here the
//! writer gets an error. A topic that is not in the table needs a lifetime from its publisher.

use serde_json::Value;

/// A topic that everybody knows.
#[derive(Debug)]
pub struct Topic {
    /// Its name.
    pub name: &'static str,
    /// How long a message lives.
    pub life_ms: u64,
    /// What its payload holds.
    fields: &'static [Field],
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    shape: Shape,
    optional: bool,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Text,
    Number,
    Texts,
    OneOf(&'static [&'static str]),
}

const fn need(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, optional: false }
}

const fn may(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, optional: true }
}

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// The topic of claims.
pub const CLAIM: &str = "claim";
/// The topic of free text from one agent to another; zeta's own.
pub const TEXT: &str = "text";
/// The topic of what changed in a state directory; zeta's own.
pub const STATE_CHANGE: &str = "state-change";
/// Longest lifetime that a message may be given.
pub const LIFE_MAX_MS: u64 = 31 * 24 * HOUR;

/// All topics that are known.
pub const TOPICS: &[Topic] = &[
    Topic {
        name: "heartbeat",
        life_ms: 5 * MINUTE,
        fields: &[
            need("status", Shape::OneOf(&["alive", "idle", "working"])),
            may("note", Shape::Text),
        ],
    },
    Topic {
        name: CLAIM,
        life_ms: 24 * HOUR,
        fields: &[
            need("action", Shape::OneOf(&["claim", "release"])),
            need("itemId", Shape::Text),
            may("branch", Shape::Text),
            may("worktree", Shape::Text),
        ],
    },
    Topic { name: "shadow-catch", life_ms: HOUR, fields: &[need("content", Shape::Text)] },
    Topic {
        name: "review-request",
        life_ms: 4 * HOUR,
        fields: &[need("artifact", Shape::Text), may("question", Shape::Text)],
    },
    Topic {
        name: "infinite-backlog-nudge",
        life_ms: 30 * MINUTE,
        fields: &[
            need("idleMinutes", Shape::Number),
            need("rationale", Shape::Text),
            may("suggestedRowId", Shape::Text),
        ],
    },
    Topic {
        name: "work-assignment",
        life_ms: 2 * HOUR,
        fields: &[
            need("rowId", Shape::Text),
            need("priority", Shape::OneOf(&["P0", "P1", "P2", "P3"])),
            need("rationale", Shape::Text),
            may("decompositionHint", Shape::Text),
        ],
    },
    Topic {
        name: "missed-substrate-cascade",
        life_ms: 24 * HOUR,
        fields: &[
            need("prNumber", Shape::Number),
            need("branchName", Shape::Text),
            need("missingCommits", Shape::Texts),
            need("recommendedAction", Shape::Text),
            need("urgency", Shape::OneOf(&["low", "medium", "high"])),
        ],
    },
    Topic {
        name: "formal-verification-result",
        life_ms: 6 * HOUR,
        fields: &[
            need("job", Shape::Text),
            need("verifier", Shape::Text),
            need("result", Shape::OneOf(&["pass", "fail", "skip", "timeout"])),
            need("duration_ms", Shape::Number),
            may("sha", Shape::Text),
            may("run_id", Shape::Text),
        ],
    },
    Topic { name: TEXT, life_ms: 24 * HOUR, fields: &[need("text", Shape::Text)] },
    Topic {
        name: STATE_CHANGE,
        life_ms: HOUR,
        fields: &[
            need("node", Shape::Text),
            need("record", Shape::Text),
            need("change", Shape::OneOf(&["set", "gone"])),
        ],
    },
];

/// The topic of this name, if it is known.
pub fn known(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}

/// May a topic be called so: as a lease, `[a-z0-9][a-z0-9._-]{0,119}`.
pub fn is_name(name: &str) -> bool {
    crate::name::RecordName::new("topic", name).is_ok()
}

impl Topic {
    /// Checks a payload; the error says what is wrong with which field.
    pub fn check(&self, payload: &Value) -> Result<(), String> {
        let Value::Object(fields) = payload else {
            return Err(format!("the payload of a {} is an object", self.name));
        };
        for Field { name, shape, optional } in self.fields {
            match fields.get(*name) {
                None if *optional => {}
                None => return Err(format!("{name:?} is missing: it must be {}", shape.words())),
                Some(value) if shape.fits(value) => {}
                Some(value) => {
                    let found = value.to_string();
                    let found: String = found.chars().take(60).collect();
                    return Err(format!("{name:?} is {found}, and must be {}", shape.words()));
                }
            }
        }
        Ok(())
    }
}

impl Shape {
    fn fits(self, value: &Value) -> bool {
        match self {
            Shape::Text => value.is_string(),
            Shape::Number => value.is_number(),
            Shape::Texts => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
            Shape::OneOf(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        }
    }

    fn words(self) -> String {
        match self {
            Shape::Text => "text".to_owned(),
            Shape::Number => "a number".to_owned(),
            Shape::Texts => "an array of text".to_owned(),
            Shape::OneOf(words) => format!("one of {}", words.join(", ")),
        }
    }
}
