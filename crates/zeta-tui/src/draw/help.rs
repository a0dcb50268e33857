//! What the keys do: all of them in the help, those of the moment in the last line; and what to do
//! where there is nothing to see.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::TextLine;
use crate::scene::{Pane, Scene};
use crate::state::{Mode, State};
use crate::text::{clip, clip_start, one_line, width};
use crate::theme::{Theme, Tone};

/// The keys of the moment, the most useful first: those that do not fit are left out.
fn keys(mode: Mode, has_filter: bool) -> &'static [(&'static str, &'static str)] {
    match (mode, has_filter) {
        (Mode::Browse, false) => &[
            ("MOVE", "move"),
            ("Enter", "details"),
            ("Tab", "pane"),
            ("/", "filter"),
            ("?", "help"),
            ("q", "quit"),
        ],
        (Mode::Browse, true) => &[
            ("Esc", "all rows again"),
            ("MOVE", "move"),
            ("Enter", "details"),
            ("Tab", "pane"),
            ("/", "filter"),
            ("q", "quit"),
        ],
        (Mode::Filter, _) => &[("Enter", "keep"), ("Esc", "no filter"), ("MOVE", "move")],
        (Mode::Details(_), _) => {
            &[("Esc", "back"), ("MOVE", "scroll"), ("?", "help"), ("q", "quit")]
        }
        (Mode::Help(_), _) => &[("Esc", "back"), ("MOVE", "scroll"), ("q", "quit")],
    }
}

/// Draws the last line: the keys, and the filter.
pub fn foot(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    let mut x = area.x + 1;
    let end = area.right();
    let max = |x: u16| usize::from(end.saturating_sub(x));
    let is_typing = state.mode == Mode::Filter;
    if is_typing || !state.shown.filter.is_empty() {
        let cursor = if is_typing { "_" } else { "" };
        let filter = format!("/{}{cursor}", one_line(&state.shown.filter));
        let filter =
            clip_start(&filter, usize::from(area.width / 2), theme.signs.more).into_owned();
        (x, _) = buffer.set_stringn(x, area.y, filter, max(x), theme.style(Tone::Doubt));
        x += 2;
    }
    let has_filter = !state.shown.filter.is_empty();
    for (key, does) in keys(state.mode, has_filter) {
        let key = if *key == "MOVE" { theme.signs.keys } else { key };
        if max(x) < width(key) + 1 + width(does) {
            break;
        }
        (x, _) = buffer.set_stringn(x, area.y, key, max(x), theme.style(Tone::Key));
        (x, _) = buffer.set_stringn(x + 1, area.y, does, max(x + 1), theme.style(Tone::Faint));
        x += 2;
    }
}

/// The help.
pub fn lines(theme: &Theme) -> Vec<TextLine> {
    let signs = &theme.signs;
    let states = format!(
        "{} live   {} waits for a person   {} hung   {} stopped   {} late   {} silent   {} gone",
        signs.live, signs.waits, signs.bad, signs.stopped, signs.late, signs.silent, signs.gone
    );
    let rest = format!(
        "{} renewed just now; it empties until the lease counts no more. +40s: its holder lives, \
         and has a grace of 40 s. free: the next caller gets it",
        signs.full.repeat(3)
    );
    let alerts = format!(
        "{} an agent waits for a person   {} work is stuck   {} work collides",
        signs.waits, signs.bad, signs.clash
    );
    [
        (signs.keys, "move; also j and k, PgUp and PgDn, Home and End"),
        ("Tab, 1 to 5", "another pane; also the arrows left and right"),
        ("Enter", "all that is known of the row, with the next steps; Esc leads back"),
        ("/", "show only rows with a text; Enter keeps it, Esc shows all again"),
        ("a", "also agents that have ended, and other nodes; once more leaves them out"),
        ("q, Ctrl-C", "end; Ctrl-Z stops this program until fg, Ctrl-L draws again"),
        ("", ""),
        ("first lines", &alerts),
        ("agents", &states),
        ("UP, MAIL", "how long its session lasts, and how many messages it has not read"),
        ("REST", &rest),
        ("WAIT", "how many wait for the lease; the details name them in their order"),
        ("", ""),
        ("", "This view only reads. What it proposes as a next step is a command for your shell."),
    ]
    .into_iter()
    .map(|(label, text)| TextLine { label: label.into(), text: text.into(), tone: Tone::Plain })
    .collect()
}

/// What to say where no row is.
pub fn nothing(scene: &Scene<'_>, state: &State) -> Vec<String> {
    if scene.count(state.pane, state.shown.all) > 0 {
        let filter = clip(&state.shown.filter, 40, "").into_owned();
        return vec![format!("no row has {filter:?}"), "Esc shows all rows again".into()];
    }
    let said: &[&str] = match state.pane {
        Pane::Agents => &[
            "no agent is here yet",
            "start one:         zeta run --as otto -- claude",
            "or see it at work: zeta demo",
        ],
        Pane::Leases => &[
            "nothing is held",
            "hold a name while a command runs:  zeta lease exec deploy -- ./deploy.sh",
            "let one agent alone edit files:    zeta claim acquire --path 'src/**'",
        ],
        Pane::Messages => {
            &["no message is on the bus", "send one: zeta bus send otto 'the tests are green'"]
        }
        Pane::Log => &["no lease has changed hands yet"],
        Pane::Findings => &["nothing is wrong, as far as zeta can see"],
    };
    said.iter().map(|line| (*line).to_owned()).collect()
}
