//! The lines above all panes: what needs a person. They are always there, and say so if nothing
//! does.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use zeta_core::overview::Urgency;

use super::row::urgency;
use crate::clock::Clock;
use crate::scene::{Alert, fitting};
use crate::text::{clip, clip_path, one_line, width};
use crate::theme::{Theme, Tone};

/// Draws as many of them as fit, the most urgent first.
pub fn draw(buffer: &mut Buffer, area: Rect, alerts: &[Alert<'_>], clock: &Clock, theme: &Theme) {
    if alerts.is_empty() {
        let said = " nothing needs you: no agent waits for a person, and nothing is stuck";
        buffer.set_stringn(area.x, area.y, said, area.width.into(), theme.style(Tone::Strong));
        return;
    }
    let fit = usize::from(area.height);
    // The last line counts the rest.
    let lines = if alerts.len() > fit { fit.saturating_sub(1) } else { alerts.len() };
    let shown = fitting(alerts, lines);
    for (y, alert) in (area.y..area.bottom()).zip(&shown) {
        one(buffer, Rect { y, height: 1, ..area }, alert, clock, theme);
    }
    if alerts.len() > shown.len() {
        let y = area.y + u16::try_from(shown.len()).unwrap_or_default();
        let more = clip(&rest(alerts, &shown), area.width.into(), theme.signs.more).into_owned();
        buffer.set_stringn(area.x, y, more, area.width.into(), theme.style(Tone::Strong));
    }
}

/// Counts the alerts that are not shown.
fn rest(alerts: &[Alert<'_>], shown: &[Alert<'_>]) -> String {
    let of = |all: &[Alert<'_>], wanted: Urgency| {
        all.iter().filter(|alert| alert.urgency == wanted).count()
    };
    let kinds =
        [(Urgency::Person, "wait"), (Urgency::Stuck, "stuck"), (Urgency::Collision, "collide")];
    let counts = kinds.map(|(kind, word)| (of(alerts, kind) - of(shown, kind), word));
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts
        .map(|(count, word)| match (count, word) {
            (1, "wait" | "collide") => format!("1 {word}s"),
            _ => format!("{count} {word}"),
        })
        .collect();
    let count = alerts.len() - shown.len();
    format!("   and {count} more: {} (5 lists all)", counts.join(", "))
}

fn word(wanted: Urgency, narrow: bool) -> &'static str {
    match (wanted, narrow) {
        (Urgency::Person, false) => "waits for you",
        (Urgency::Person, true) => "waits",
        (Urgency::Stuck, _) => "stuck",
        (Urgency::Collision, _) => "collides",
        (Urgency::Notice, _) => "found",
    }
}

/// The text of an alert in so many columns. Of a path at its end, the end is kept.
fn fit(alert: &Alert<'_>, max: usize, more: &str) -> String {
    let (text, about) = (one_line(&alert.text), one_line(alert.about));
    match text.strip_suffix(&*about).filter(|head| about.contains('/') && width(head) + 12 < max) {
        Some(head) => format!("{head}{}", clip_path(&about, max - width(head), more)),
        None => clip(&text, max, more).into_owned(),
    }
}

fn one(buffer: &mut Buffer, area: Rect, alert: &Alert<'_>, clock: &Clock, theme: &Theme) {
    let (sign, _, tone) = urgency(alert.urgency, &theme.signs);
    let narrow = area.width < 76;
    let word = word(alert.urgency, narrow);
    let label = if narrow { 9 } else { 14 };
    let end = area.right();
    let max = |x: u16| usize::from(end.saturating_sub(x));
    buffer.set_stringn(area.x + 1, area.y, sign, max(area.x + 1), theme.style(tone));
    let x = area.x + 3;
    buffer.set_stringn(x, area.y, word, max(x), theme.style(tone));
    let mut x = x + label;
    let since = alert.since_us.map(|at| clock.age(at)).unwrap_or_default();
    if alert.urgency == Urgency::Person {
        let about = clip(&one_line(alert.about), 16, theme.signs.more).into_owned();
        (x, _) = buffer.set_stringn(x, area.y, about, max(x), theme.style(Tone::Strong));
        (x, _) = buffer.set_stringn(x, area.y, ": ", max(x), theme.style(Tone::Strong));
    }
    let reserved = if since.is_empty() { 1 } else { width(&since) + 2 };
    let text = fit(alert, max(x).saturating_sub(reserved), theme.signs.more);
    buffer.set_stringn(x, area.y, text, max(x), theme.style(Tone::Plain));
    let x = end.saturating_sub(u16::try_from(width(&since) + 1).unwrap_or_default());
    buffer.set_stringn(x, area.y, since, max(x), theme.style(tone));
}
