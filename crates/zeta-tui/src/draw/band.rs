//! The lines above all panes: what needs a person. They are always there, and say so if nothing
//! does.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use zeta_core::overview::Urgency;

use super::row::urgency;
use crate::clock::Clock;
use crate::scene::Alert;
use crate::text::{clip, one_line, width};
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
    let shown = if alerts.len() > fit { fit.saturating_sub(1) } else { alerts.len() };
    for (y, alert) in (area.y..area.bottom()).zip(alerts.iter().take(shown)) {
        one(buffer, Rect { y, height: 1, ..area }, alert, clock, theme);
    }
    if let Some(rest) = alerts.get(shown..).filter(|rest| !rest.is_empty()) {
        let count = |wanted: Urgency| rest.iter().filter(|it| it.urgency == wanted).count();
        let counts: Vec<String> = [Urgency::Person, Urgency::Stuck, Urgency::Collision]
            .into_iter()
            .filter(|wanted| count(*wanted) > 0)
            .map(|wanted| format!("{} {}", count(wanted), word(wanted, true)))
            .collect();
        let more = format!("   and {} more: {} (5 lists all)", rest.len(), counts.join(", "));
        let y = area.y + u16::try_from(shown).unwrap_or_default();
        let more = clip(&more, area.width.into(), theme.signs.more).into_owned();
        buffer.set_stringn(area.x, y, more, area.width.into(), theme.style(Tone::Strong));
    }
}

fn word(wanted: Urgency, narrow: bool) -> &'static str {
    match (wanted, narrow) {
        (Urgency::Person, false) => "waits for you",
        (Urgency::Person, true) => "waits",
        (Urgency::Stuck, _) => "stuck",
        (Urgency::Collision, _) => "collides",
        (Urgency::Notice, _) => "notice",
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
    let text = one_line(alert.text);
    let reserved = if since.is_empty() { 1 } else { width(&since) + 2 };
    let text = clip(&text, max(x).saturating_sub(reserved), theme.signs.more).into_owned();
    buffer.set_stringn(x, area.y, text, max(x), theme.style(Tone::Plain));
    let x = end.saturating_sub(u16::try_from(width(&since) + 1).unwrap_or_default());
    buffer.set_stringn(x, area.y, since, max(x), theme.style(tone));
}
