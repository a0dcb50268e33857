//! What the demo tells: things as they happen, and claims with the evidence that was looked at.

use zeta_core::record::quote;

use zeta_core::json::Object;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Time since the start.
    pub at_ms: u64,
    /// The file that changed, if it is about one.
    pub file: Option<String>,
    /// One sentence.
    pub text: String,
    /// The lines of the file that are new.
    pub lines: Vec<String>,
}

/// Something that the demo says is so, and what it looked at to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Time since the start.
    pub at_ms: u64,
    /// The claim.
    pub text: String,
    /// The evidence bears it out.
    pub checked: bool,
    /// What was found, and where.
    pub evidence: String,
}

/// Everything that was told, in order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// What happened.
    pub events: Vec<Event>,
    /// What was claimed.
    pub claims: Vec<Claim>,
}

/// Who is told while it happens.
pub trait Observer {
    /// Something happened.
    fn event(&mut self, event: &Event);
    /// The play goes on and waits for something.
    fn waiting(&mut self, at_ms: u64, step: &str);
}

impl Report {
    /// How many claims the evidence bears out.
    pub fn checked(&self) -> usize {
        self.claims.iter().filter(|claim| claim.checked).count()
    }

    /// All of them, and there are some.
    pub fn holds(&self) -> bool {
        !self.claims.is_empty() && self.checked() == self.claims.len()
    }

    /// Adds both lists to an object.
    pub fn describe(&self, object: &mut Object) {
        object.list("events", self.events.iter().map(Event::json));
        object.list("claims", self.claims.iter().map(Claim::json));
    }

    /// The table at the end.
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
