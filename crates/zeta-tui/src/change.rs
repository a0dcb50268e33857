//! A change of the holder of a lease in words, and how grave it is.

use zeta_core::history::{Entry, Event};

use crate::theme::Tone;

/// Who has it now, and how that came.
pub fn text(entry: &Entry, arrow: &str) -> String {
    let agent = entry.agent.as_deref().unwrap_or("an unknown holder");
    let from = entry.from_agent.as_deref().unwrap_or("an unknown holder");
    let why = entry.cause.as_deref().map(cause);
    let by = entry.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
    let reason = entry.reason.as_deref().or(why.as_deref());
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    match entry.event {
        Event::Acquired => format!("{agent} took it"),
        Event::TakenOver => {
            let why = why.unwrap_or_else(|| "taken over".to_owned());
            format!("{from} {arrow} {agent} ({from}: {why})")
        }
        Event::HandedOver => format!("{from} {arrow} {agent} (handed over)"),
        Event::Released => format!("{agent} released it"),
        Event::Broken => format!("{agent} lost it, broken{by}{reason}"),
        Event::Removed => format!("{agent} lost it, cleaned away{by}{reason}"),
    }
}

/// Why a grant counted no more.
fn cause(word: &str) -> String {
    let said = match word {
        "holder_dead" => "its process ended",
        "other_boot" => "the machine was started again",
        "expired" | "foreign_expired" => "its time was over",
        "damaged_expired" => "its record was damaged",
        "overdue" => "its grace was over",
        "killed" => "it was killed",
        other => return other.replace('_', " "),
    };
    said.to_owned()
}

/// A change that a holder did not want is not like one that it made.
pub fn tone(event: Event) -> Tone {
    match event {
        Event::Acquired | Event::HandedOver | Event::Released => Tone::Plain,
        Event::TakenOver => Tone::Doubt,
        Event::Broken | Event::Removed => Tone::Bad,
    }
}

/// The sign of a change, beside its colour.
pub fn is_grave(event: Event) -> bool {
    matches!(event, Event::TakenOver | Event::Broken | Event::Removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_says_who_has_it_and_why() {
        let entry = |event| Entry { agent: Some("bob".into()), ..Entry::new("n", event, "d", 0) };
        let over = |cause: &str| Entry {
            from_agent: Some("ann".into()),
            cause: Some(cause.into()),
            ..entry(Event::TakenOver)
        };
        for (entry, said) in [
            (entry(Event::Acquired), "bob took it"),
            (entry(Event::Released), "bob released it"),
            (over("holder_dead"), "ann -> bob (ann: its process ended)"),
            (over("expired"), "ann -> bob (ann: its time was over)"),
            (over("some_news"), "ann -> bob (ann: some news)"),
            (
                Entry::new("n", Event::HandedOver, "d", 0),
                "an unknown holder -> an unknown holder (handed over)",
            ),
            (
                entry(Event::Broken).by("max").with_reason("it hung"),
                "bob lost it, broken by max: it hung",
            ),
            (
                entry(Event::Removed).because("other_boot"),
                "bob lost it, cleaned away: the machine was started again",
            ),
        ] {
            assert_eq!(text(&entry, "->"), said);
        }
    }
}
