//! The journal of an installation: one JSON object in a line for each thing that happened, each
//! with its number. A line is on the disk before what it announces is done.

use serde::{Deserialize, Serialize};

use super::seen::{DiskId, Prior};
use super::step::Step;

/// Longest journal, in bytes.
pub const LEN_MAX: usize = 4 << 20;
/// Longest text of a program or of a server that a line keeps, in bytes.
const TEXT_MAX: usize = 4 << 10;
/// The length of the number of a run, in hex digits.
const RUN_LEN: usize = 32;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    /// Its number, from 1.
    n: u64,
    /// When, as `2026-11-30T09:00:00.000000Z`. It decides nothing.
    at: String,
    #[serde(flatten)]
    event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The installation began.
    Begun {
        /// Its number: 32 random hex digits, from which all identities are made.
        run: String,
        /// The SHA-256 of the manifest.
        manifest: String,
    },
    /// A question was answered. Secrets are not here.
    Answer {
        /// The question.
        question: String,
        /// The answer.
        value: String,
    },
    /// A person consented that these disks are used, and that what is on them is lost.
    Chosen {
        /// The disks; the first one is that of the system.
        disks: Vec<Chosen>,
    },
    /// A check before the wipe succeeded, or was overridden.
    Checked {
        /// The check.
        check: String,
        /// What it found.
        found: String,
        /// Why it does not count, in the words of a person.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        overridden: Option<String>,
    },
    /// A step begins.
    Intent {
        /// The step.
        step: Step,
    },
    /// A step failed, and may be tried again.
    Failed {
        /// The step.
        step: Step,
        /// Why.
        why: String,
    },
    /// A step is done: what it has to leave was observed.
    Done {
        /// The step.
        step: Step,
        /// What was observed.
        #[serde(skip_serializing_if = "String::is_empty", default)]
        found: String,
    },
    /// The installation is over.
    Finished,
}

impl Event {
    /// The same; what a program or a server said in it has an end.
    #[must_use]
    pub fn shortened(mut self) -> Event {
        if let Event::Checked { found: text, .. } | Event::Failed { why: text, .. } = &mut self {
            let end = (0..=TEXT_MAX).rev().find(|at| text.is_char_boundary(*at));
            text.truncate(end.unwrap_or(0));
        }
        self
    }
}

/// A disk that is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// The system starts from it.
    pub is_boot: bool,
    /// Its path at that time.
    pub path: String,
    /// What tells it from others.
    pub id: DiskId,
    /// What was on it at that time.
    pub signatures: Vec<String>,
    /// The node that was installed there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prior: Option<Prior>,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Progress {
    /// It did not begin.
    #[default]
    Waiting,
    /// It began, and its end is not known.
    Begun,
    /// It is done.
    Done,
}

impl Progress {
    /// Its word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Progress::Waiting => "waiting",
            Progress::Begun => "begun",
            Progress::Done => "done",
        }
    }
}

/// What the lines say together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Journal {
    /// The number of the run; empty if it did not begin.
    pub run: String,
    /// The digest of its manifest.
    pub manifest: String,
    /// The answers, in their order.
    pub answers: Vec<(String, String)>,
    /// The disks that are used.
    pub chosen: Option<Vec<Chosen>>,
    /// The checks: what each found, and whether it was overridden.
    pub checks: Vec<(String, String, Option<String>)>,
    /// How far each step is.
    progress: [Progress; Step::ALL.len()],
    /// The last failure, if nothing was done after it.
    pub failed: Option<(Step, String)>,
    /// It is over.
    pub is_finished: bool,
    /// The number of the first line that is none although others follow it.
    pub damaged: Option<usize>,
    /// How many lines there are.
    pub lines: u64,
}

impl Journal {
    /// Reads a journal. What follows its last line feed is no line, and is cut off before the next
    /// one is written. A line that no run writes in its place is damage.
    pub fn read(bytes: &[u8]) -> Journal {
        let mut journal = Journal::default();
        let whole = bytes.get(..whole_len(bytes)).unwrap_or_default();
        for (at, line) in whole.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let read = serde_json::from_slice::<Line>(line).ok();
            let next = read.filter(|line| line.n == journal.lines + 1);
            match next.filter(|line| journal.may_have(&line.event)) {
                Some(line) => journal.add(line.event),
                None => {
                    journal.damaged = Some(at + 1);
                    return journal;
                }
            }
        }
        journal
    }

    /// Returns whether a run writes this after what the journal has.
    fn may_have(&self, event: &Event) -> bool {
        let is_done = |step: &Step| self.progress(*step) == Progress::Done;
        let is_begun = |step: &Step| self.progress(*step) == Progress::Begun;
        match event {
            Event::Begun { run, .. } => {
                let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                self.lines == 0 && run.len() == RUN_LEN && run.bytes().all(is_hex)
            }
            _ if self.lines == 0 || self.is_finished => false,
            Event::Answer { .. } | Event::Checked { .. } => true,
            // A step that was cut off writes the same disks again.
            Event::Chosen { disks } => {
                let is_same = self.chosen.as_ref().is_none_or(|chosen| chosen == disks);
                is_same && is_begun(&Step::Choose)
            }
            Event::Intent { step } => {
                let before = Step::ALL.iter().take_while(|other| *other < step);
                let is_again = step.is_destructive() && is_done(step);
                before.into_iter().all(is_done) && !is_again
            }
            Event::Failed { step, .. } => is_begun(step),
            Event::Done { step, .. } => {
                is_begun(step) && (*step != Step::Choose || self.chosen.is_some())
            }
            Event::Finished => Step::ALL.iter().all(is_done),
        }
    }

    /// Makes the next line, with its line feed.
    pub fn render(&self, at: &str, event: &Event) -> String {
        let line = Line { n: self.lines + 1, at: at.to_owned(), event: event.clone() };
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    }

    /// Takes in an event.
    pub fn add(&mut self, event: Event) {
        self.lines += 1;
        match event {
            Event::Begun { run, manifest } => (self.run, self.manifest) = (run, manifest),
            Event::Answer { question, value } => {
                self.answers.retain(|(known, _)| *known != question);
                self.answers.push((question, value));
            }
            Event::Chosen { disks } => self.chosen = Some(disks),
            Event::Checked { check, found, overridden } => {
                self.checks.retain(|(known, _, _)| *known != check);
                self.checks.push((check, found, overridden));
            }
            Event::Intent { step } => {
                self.set(step, Progress::Begun);
                self.failed = None;
            }
            Event::Failed { step, why } => self.failed = Some((step, why)),
            Event::Done { step, .. } => {
                self.set(step, Progress::Done);
                self.failed = None;
            }
            Event::Finished => self.is_finished = true,
        }
    }

    fn set(&mut self, step: Step, to: Progress) {
        if let Some(progress) = self.progress.get_mut(step as usize) {
            *progress = to;
        }
    }

    /// How far a step is.
    pub fn progress(&self, step: Step) -> Progress {
        self.progress.get(step as usize).copied().unwrap_or_default()
    }

    /// The answer to a question.
    pub fn answer(&self, question: &str) -> Option<&str> {
        let found = self.answers.iter().find(|(known, _)| known == question);
        found.map(|(_, value)| value.as_str())
    }
}

/// The length of the whole lines of a journal, in bytes.
pub fn whole_len(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}
