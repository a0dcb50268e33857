//! The report of the demo: events as they happen, and claims with the evidence for each.

use zeta_core::record::quote;

use zeta_core::json::Object;

/// An event of the demo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Time since the start.
    pub at_ms: u64,
    /// The file that changed, if the event is about a file.
    pub file: Option<String>,
    /// The event in one sentence.
    pub text: String,
    /// The new lines of the file.
    pub lines: Vec<String>,
}

/// A claim of the demo, and the evidence that it was checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Time since the start.
    pub at_ms: u64,
    /// The claim in one sentence.
    pub text: String,
    /// The evidence supports the claim.
    pub checked: bool,
    /// What was found, and in which place.
    pub evidence: String,
}

/// All events and claims, in order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// The events.
    pub events: Vec<Event>,
    /// The claims.
    pub claims: Vec<Claim>,
}

/// A receiver of the events while they happen.
pub trait Observer {
    /// Receives an event.
    fn event(&mut self, event: &Event);
    /// Receives the step that the demo waits for, many times per second.
    fn waiting(&mut self, at_ms: u64, step: &str);
    /// Receives the address of the page, before the first event.
    fn page(&mut self, url: &str);
    /// Receives the whole report when all steps are done, and the page stays.
    fn stays(&mut self, report: &Report, elapsed_ms: u64, url: &str);
}

impl Report {
    /// Counts the claims that the evidence supports.
    pub fn checked(&self) -> usize {
        self.claims.iter().filter(|claim| claim.checked).count()
    }

    /// Reports whether there are claims and the evidence supports all of them.
    pub fn holds(&self) -> bool {
        !self.claims.is_empty() && self.checked() == self.claims.len()
    }

    /// Adds both lists to an object.
    pub fn describe(&self, object: &mut Object) {
        object.list("events", self.events.iter().map(Event::json));
        object.list("claims", self.claims.iter().map(Claim::json));
    }

    /// Makes the table at the end.
    pub fn table(&self) -> String {
        let mut text = String::from("  at ms  checked  what happened, and the evidence\n");
        for Claim { at_ms, text: what, checked, evidence } in &self.claims {
            let checked = if *checked { "yes" } else { "NO" };
            text += &format!("{at_ms:>7}  {checked:<7}  {what}\n");
            for line in wrapped(evidence) {
                text += &format!("{:18}{line}\n", "");
            }
        }
        text
    }
}

/// Breaks a text into lines that fit beside the table's first two columns.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + word.chars().count() < 80 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

impl Event {
    fn json(&self) -> String {
        let mut object = Object::new();
        object.number("at_ms", self.at_ms);
        if let Some(file) = &self.file {
            object.text("file", file);
        }
        object.text("text", &self.text);
        if !self.lines.is_empty() {
            object.list("lines", self.lines.iter().map(|line| quote(line)));
        }
        object.done()
    }
}

impl Claim {
    fn json(&self) -> String {
        let mut object = Object::new();
        object.number("at_ms", self.at_ms).text("text", &self.text);
        object.flag("checked", self.checked).text("evidence", &self.evidence);
        object.done()
    }
}
