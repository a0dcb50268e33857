//! The sessions of an agent's tool that a persona can go on with: the last one on each line and
//! harness. A persona keeps them wherever it stands.

use serde::{Deserialize, Serialize};
use zeta_core::hook::session::is_plain_id;
use zeta_core::name::Label;
use zeta_core::schedule::Choice;
use zeta_os::error::Result;

use crate::store::{Store, keep, read_own};

/// The `kind` of the file.
const KIND: &str = "guard-post-sessions";
/// Longest file, in bytes.
const BYTES_MAX: u64 = 64 << 10;
/// Most sessions of a persona: the newest.
const SESSIONS_MAX: usize = 32;

/// A session of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    line: Label,
    harness: Label,
    /// The id that the tool gave it.
    id: String,
}

/// The file of a persona.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Sessions {
    schema: u64,
    kind: String,
    sessions: Vec<Known>,
}

impl Sessions {
    /// Reads the sessions of a persona. A file that is no such file has none.
    pub(super) fn read(store: &Store, persona: &Label) -> Sessions {
        let bytes = read_own(&store.sessions_path(persona), BYTES_MAX);
        let read = serde_json::from_slice::<Sessions>(&bytes).ok();
        read.filter(|read| read.kind == KIND && read.schema == 1).unwrap_or_default()
    }

    /// The session to go on with.
    pub(super) fn find(&self, choice: &Choice) -> Option<&str> {
        let found = self.sessions.iter().find(|known| is_of(known, choice))?;
        Some(found.id.as_str()).filter(|id| is_plain_id(id))
    }

    /// Keeps the session of a tick; without an id, the next tick begins anew.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(super) fn keep(
        mut self,
        store: &Store,
        persona: &Label,
        choice: &Choice,
        id: Option<&str>,
    ) -> Result<()> {
        if self.find(choice) == id {
            return Ok(());
        }
        self.sessions.retain(|known| !is_of(known, choice));
        let Choice { line, harness, .. } = choice.clone();
        let known = id.map(|id| Known { line, harness, id: id.to_owned() });
        self.sessions.extend(known);
        let over = self.sessions.len().saturating_sub(SESSIONS_MAX);
        self.sessions.drain(..over);
        (self.schema, self.kind) = (1, KIND.to_owned());
        let text = serde_json::to_string_pretty(&self).unwrap_or_default();
        keep(&store.sessions_path(persona), &format!("{text}\n"))
    }
}

fn is_of(known: &Known, choice: &Choice) -> bool {
    known.line == choice.line && known.harness == choice.harness
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeta_core::schedule::Tier;
    use zeta_os::temp_dir::TempDir;

    #[test]
    fn the_last_session_on_a_line_and_harness_is_gone_on_with_until_it_fails() {
        let dir = TempDir::new().unwrap();
        let store = Store::new(dir.path());
        let label = |text: &str| text.parse().unwrap();
        let (otto, vera): (Label, Label) = (label("otto"), label("vera"));
        let choice = |line: &str| Choice {
            line: label(line),
            tier: Tier::High,
            harness: label("claude-code"),
        };
        let (a, b) = (choice("a"), choice("b"));
        let find = |persona: &Label, choice: &Choice| {
            Sessions::read(&store, persona).find(choice).map(str::to_owned)
        };
        assert_eq!(find(&otto, &a), None);
        for (choice, id) in [(&a, "s-1"), (&b, "s-2"), (&a, "s-3")] {
            Sessions::read(&store, &otto).keep(&store, &otto, choice, Some(id)).unwrap();
        }
        assert_eq!(find(&otto, &a).as_deref(), Some("s-3"));
        assert_eq!(find(&otto, &b).as_deref(), Some("s-2"));
        assert_eq!(find(&vera, &a), None);
        Sessions::read(&store, &otto).keep(&store, &otto, &a, None).unwrap();
        assert_eq!(find(&otto, &a), None);
        for text in ["{", "{\"schema\":1,\"kind\":\"other\",\"sessions\":[]}", "[]"] {
            std::fs::write(store.sessions_path(&vera), text).unwrap();
            assert_eq!(find(&vera, &a), None);
        }
        // A file that another hand changed gives the tool no option.
        let forged = std::fs::read_to_string(store.sessions_path(&otto)).unwrap();
        let forged = forged.replace("s-2", "--dangerous");
        std::fs::write(store.sessions_path(&otto), forged).unwrap();
        assert_eq!(find(&otto, &b), None);
    }
}
