//! What wakes an agent that has mail, and when it may.

/// By what an agent is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// A `zeta bus wait` that the agent's tool runs in the background: its end begins a turn.
    Wait,
    /// The hook at the end of a turn, which lets the turn go on.
    Hook,
    /// The terminal that `zeta run` owns: a line is typed.
    Pty,
}

impl Means {
    const ALL: [Means; 3] = [Means::Wait, Means::Hook, Means::Pty];

    /// The word on disk and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Means::Wait => "wait",
            Means::Hook => "hook",
            Means::Pty => "pty",
        }
    }

    /// The means of this word.
    pub fn of(word: &str) -> Option<Means> {
        Means::ALL.into_iter().find(|means| means.word() == word)
    }
}

/// When a message was used to wake its reader, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Woken {
    /// In µs since the Unix epoch.
    pub at_us: i64,
    /// By what.
    pub by: Means,
}
