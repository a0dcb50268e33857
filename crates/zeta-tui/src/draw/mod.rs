//! A frame: what needs a person first, then the panes, the list of the open one, and the keys.

mod band;
mod detail;
mod help;
mod row;
mod table;
#[cfg(test)]
mod tests;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::clock::Clock;
use crate::scene::{PANES, Pane, Scene};
use crate::state::{Mode, Room, State};
use crate::text::{clip, clip_path, one_line, width};
use crate::theme::{Theme, Tone};

/// A line of a text that can be longer than the screen: its name, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TextLine {
    label: String,
    text: String,
    tone: Tone,
}

/// The parts of the screen.
struct Parts {
    title: Rect,
    band: Rect,
    tabs: Rect,
    body: Rect,
    /// On a large screen, the details of the row that is selected.
    preview: Rect,
    foot: Rect,
}

/// The rows that a list has before there is a preview below it.
const LIST_ROWS: u16 = 16;

impl Parts {
    fn of(area: Rect, alerts: usize, mode: Mode) -> Parts {
        let line = |y: u16, height: u16| {
            let y = area.y.saturating_add(y).min(area.bottom());
            Rect { x: area.x, y, width: area.width, height: height.min(area.bottom() - y) }
        };
        // The list keeps most of the screen; what does not fit above it is counted.
        let most = (area.height / 3).clamp(1, 12);
        let band = u16::try_from(alerts.max(1)).unwrap_or(u16::MAX).min(most);
        let body = 2 + band;
        let height = area.height.saturating_sub(body + 1);
        let is_list = matches!(mode, Mode::Browse | Mode::Filter);
        let preview = if is_list { height.saturating_sub(LIST_ROWS).min(height / 2) } else { 0 };
        let preview = if preview < 8 { 0 } else { preview };
        Parts {
            title: line(0, 1),
            band: line(1, band),
            tabs: line(1 + band, 1),
            body: line(body, height - preview),
            preview: line(body + height - preview, preview),
            foot: line(area.height.saturating_sub(1), 1),
        }
    }
}

/// Draws everything; returns how much of the list and of the text fits.
pub fn frame(
    buffer: &mut Buffer,
    scene: &Scene<'_>,
    state: &mut State,
    clock: &Clock,
    theme: &Theme,
) -> Room {
    let area = buffer.area;
    if area.width < 20 || area.height < 6 {
        buffer.set_stringn(
            area.x,
            area.y,
            "too small",
            area.width.into(),
            theme.style(Tone::Plain),
        );
        return Room::default();
    }
    let alerts = crate::scene::alerts(scene.overview);
    let parts = Parts::of(area, alerts.len(), state.mode);
    title(buffer, parts.title, scene, theme);
    band::draw(buffer, parts.band, &alerts, clock, theme);
    let mut room =
        Room { rows: usize::from(parts.body.height.saturating_sub(1)), ..Room::default() };
    state.settle(scene, room.rows);
    tabs(buffer, parts.tabs, scene, state, theme);
    match state.mode {
        Mode::Browse | Mode::Filter => {
            list(buffer, parts.body, scene, state, clock, theme);
            preview(buffer, parts.preview, scene, state, clock, theme);
        }
        Mode::Details(top) => {
            let lines = details(scene, state, clock, theme);
            let (lines, length) = text(buffer, parts.body, &lines, top, theme);
            room = Room { lines, length, ..room };
        }
        Mode::Help(top) => {
            let (lines, length) = text(buffer, parts.body, &help::lines(theme), top, theme);
            room = Room { lines, length, ..room };
        }
    }
    help::foot(buffer, parts.foot, state, theme);
    room
}

/// The details of the row that is selected.
fn details(scene: &Scene<'_>, state: &State, clock: &Clock, theme: &Theme) -> Vec<TextLine> {
    let rows = scene.rows(state.pane, &state.shown);
    match rows.get(state.cursor().at) {
        Some(at) => detail::lines(scene, state.pane, *at, clock, theme),
        None => Vec::new(),
    }
}

fn preview(
    buffer: &mut Buffer,
    area: Rect,
    scene: &Scene<'_>,
    state: &State,
    clock: &Clock,
    theme: &Theme,
) {
    // What is not seen must not age.
    if area.height == 0 {
        return;
    }
    let lines = details(scene, state, clock, theme);
    if lines.is_empty() {
        return;
    }
    let line = theme.signs.line.repeat(area.width.into());
    buffer.set_stringn(area.x, area.y, line, area.width.into(), theme.style(Tone::Faint));
    let below = Rect { y: area.y + 1, height: area.height - 1, ..area };
    text(buffer, below, &lines, 0, theme);
}

fn title(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>, theme: &Theme) {
    let known = scene.overview;
    let mut node = one_line(known.node.as_deref().unwrap_or("no node yet")).into_owned();
    if let Some(cluster) = &known.cluster {
        node = format!("{node} ({})", one_line(&cluster.summary()));
    }
    // What is wrong with a cluster must be seen, and the directory is known.
    let share = if known.cluster.is_some() { 75 } else { 50 };
    let max = usize::from(area.width);
    buffer.set_stringn(area.x, area.y, " zeta watch", max, theme.style(Tone::Key));
    let dir = one_line(&known.state_dir);
    let left = max.saturating_sub(13);
    let node = clip(&node, left * share / 100, theme.signs.more);
    let dir = clip_path(&dir, left.saturating_sub(width(&node) + 2), theme.signs.more);
    buffer.set_stringn(area.x + 13, area.y, &*node, left, theme.style(Tone::Strong));
    let x = u16::try_from(max.saturating_sub(width(&dir) + 1)).unwrap_or_default();
    buffer.set_stringn(area.x + x, area.y, &*dir, max, theme.style(Tone::Faint));
}

/// Draws the names of the panes with their counts, the open one marked, and the filter.
fn tabs(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>, state: &State, theme: &Theme) {
    let line = theme.signs.line.repeat(area.width.into());
    buffer.set_stringn(area.x, area.y, line, area.width.into(), theme.style(Tone::Faint));
    let mut x = area.x + 1;
    // Names without their counts, and then numbers alone, where all of it does not fit.
    let full: Vec<String> = PANES.iter().map(|pane| tab(scene, state, *pane)).collect();
    let fits = |tabs: &[String]| {
        tabs.iter().map(|tab| width(tab) + 3).sum::<usize>() < usize::from(area.width)
    };
    let short: Vec<String> = PANES
        .iter()
        .zip(&full)
        .map(|(pane, full)| match *pane == state.pane {
            true => full.clone(),
            false => format!("{} {}", pane.at() + 1, clip(pane.name(), 4, "")),
        })
        .collect();
    for (pane, tab) in PANES.iter().zip(if fits(&full) { full } else { short }) {
        let tone = if *pane == state.pane { Tone::Key } else { Tone::Faint };
        let left = usize::from(area.right().saturating_sub(x));
        let shown = match *pane == state.pane {
            true => format!("[{tab}]"),
            false => format!(" {tab} "),
        };
        (x, _) = buffer.set_stringn(x, area.y, shown, left, theme.style(tone));
        x += 1;
    }
    let rows = scene.rows(state.pane, &state.shown).len();
    let place = format!(" {}/{rows} ", state.cursor().at + 1);
    let start = area.right().saturating_sub(u16::try_from(width(&place) + 1).unwrap_or_default());
    if rows > 0 && start > x {
        buffer.set_stringn(start, area.y, &place, width(&place), theme.style(Tone::Faint));
    }
}

fn tab(scene: &Scene<'_>, state: &State, pane: Pane) -> String {
    let count = scene.count(pane, state.shown.all);
    let shown = match state.shown.filter.is_empty() {
        true => count.to_string(),
        false => format!("{}/{count}", scene.rows(pane, &state.shown).len()),
    };
    format!("{} {} {shown}", pane.at() + 1, pane.name())
}

fn list(
    buffer: &mut Buffer,
    area: Rect,
    scene: &Scene<'_>,
    state: &State,
    clock: &Clock,
    theme: &Theme,
) {
    let rows = scene.rows(state.pane, &state.shown);
    let columns = row::columns(state.pane);
    let line = |y: u16| Rect { y: area.y + y, height: 1, ..area };
    if rows.is_empty() {
        for (y, said) in (0..area.height).zip(help::nothing(scene, state)) {
            let max = usize::from(area.width.saturating_sub(2));
            let tone = if y == 0 { Tone::Plain } else { Tone::Faint };
            let said = clip(&said, max, theme.signs.more).into_owned();
            buffer.set_stringn(area.x + 2, line(y).y, said, max, theme.style(tone));
        }
        return;
    }
    table::head(buffer, line(0), columns, theme);
    let cursor = state.cursor();
    let shown = rows.iter().enumerate().skip(cursor.top);
    for (y, (place, at)) in (1..area.height).zip(shown) {
        let cells = row::cells(scene, state.pane, *at, clock, theme);
        table::line(buffer, line(y), columns, &cells, theme, place == cursor.at);
    }
}

/// Draws a text from its line `top` on; returns how many lines fit, and how many there are.
fn text(
    buffer: &mut Buffer,
    area: Rect,
    lines: &[TextLine],
    top: usize,
    theme: &Theme,
) -> (usize, usize) {
    let labels = lines.iter().map(|line| width(&line.label)).max().unwrap_or_default().min(14);
    let indent = u16::try_from(labels + 4).unwrap_or_default();
    let max = usize::from(area.width.saturating_sub(indent + 1));
    let wrapped = lines.iter().flat_map(|line| {
        let texts = crate::text::wrap(&line.text, max).into_iter().enumerate();
        texts.map(move |(at, text)| {
            (if at == 0 { line.label.as_str() } else { "" }, text, line.tone)
        })
    });
    let wrapped: Vec<(&str, String, Tone)> = wrapped.collect();
    let fit = usize::from(area.height);
    let top = top.min(wrapped.len().saturating_sub(fit));
    for (y, (label, text, tone)) in (area.y..area.bottom()).zip(wrapped.iter().skip(top)) {
        buffer.set_stringn(area.x + 2, y, label, labels, theme.style(Tone::Faint));
        buffer.set_stringn(area.x + indent, y, text, max, theme.style(*tone));
    }
    (fit, wrapped.len())
}
