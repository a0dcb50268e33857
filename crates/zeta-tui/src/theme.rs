//! Signs and colours, and which of them a terminal can show. A colour never stands alone: a word or
//! a sign says the same.

use ratatui::style::{Color, Modifier, Style};

/// What a text means to a person. As in `zeta status`, nothing is ever green: the evidence shows
/// that an agent is alive, not a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// Nothing is wrong.
    #[default]
    Plain,
    /// Over, or of little weight.
    Faint,
    /// The name of a thing.
    Strong,
    /// A person should look at it at some time; agents that wait for one.
    Doubt,
    /// A person should look at it now.
    Bad,
    /// Work is about to collide.
    Clash,
    /// A key, or the pane that is open.
    Key,
}

/// The signs of a screen. Each has one column, but for `arrow` and `more`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signs {
    /// An agent that is live, a lease that is held.
    pub live: &'static str,
    /// An agent that waits for a person.
    pub waits: &'static str,
    /// Something is stuck.
    pub bad: &'static str,
    /// A process that was stopped.
    pub stopped: &'static str,
    /// A beat or a renewal is late.
    pub late: &'static str,
    /// Nothing is known.
    pub silent: &'static str,
    /// It ended, or nothing holds it.
    pub gone: &'static str,
    /// Work collides.
    pub clash: &'static str,
    /// The row that is selected.
    pub cursor: &'static str,
    /// A part of a bar that is left.
    pub full: &'static str,
    /// A part of a bar that is over.
    pub empty: &'static str,
    /// A text that was cut.
    pub more: &'static str,
    /// From one to another.
    pub arrow: &'static str,
    /// The keys that move.
    pub keys: &'static str,
    /// A horizontal line.
    pub line: &'static str,
}

const UNICODE: Signs = Signs {
    live: "●",
    waits: "?",
    bad: "!",
    stopped: "‖",
    late: "~",
    silent: "·",
    gone: "○",
    clash: "≠",
    cursor: "▸",
    full: "█",
    empty: "░",
    more: "…",
    arrow: "→",
    keys: "↑↓",
    line: "─",
};

const ASCII: Signs = Signs {
    live: "*",
    waits: "?",
    bad: "!",
    stopped: "=",
    late: "~",
    silent: ".",
    gone: "o",
    clash: "#",
    cursor: ">",
    full: "#",
    empty: "-",
    more: "..",
    arrow: "->",
    keys: "j/k",
    line: "-",
};

/// What a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// Whether it shows colours.
    pub colour: bool,
    /// The signs that it can draw.
    pub signs: Signs,
}

impl Theme {
    /// Judges a terminal by its name (`TERM`), the wish of a person for no colours (`NO_COLOR`),
    /// and the locale (the first of `LC_ALL`, `LC_CTYPE` and `LANG` that is not empty).
    pub fn of(term: Option<&str>, no_colour: bool, locale: Option<&str>) -> Theme {
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        let utf8 = locale.contains("utf-8") || locale.contains("utf8");
        // The fonts of the console of Linux lack most signs.
        let simple = matches!(term, None | Some("dumb" | "linux" | "vt100" | "vt220"));
        let signs = if utf8 && !simple { UNICODE } else { ASCII };
        let dumb = matches!(term, None | Some("dumb"));
        Theme { colour: !no_colour && !dumb, signs }
    }

    /// The style of a text. Colours are those of the terminal's own palette.
    pub fn style(&self, tone: Tone) -> Style {
        let style = Style::new();
        let coloured = |colour: Color| if self.colour { style.fg(colour) } else { style };
        match tone {
            Tone::Plain => style,
            Tone::Faint => style.add_modifier(Modifier::DIM),
            Tone::Strong => style.add_modifier(Modifier::BOLD),
            Tone::Doubt => coloured(Color::Yellow).add_modifier(Modifier::BOLD),
            Tone::Bad => coloured(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Clash => coloured(Color::Magenta).add_modifier(Modifier::BOLD),
            Tone::Key => coloured(Color::Cyan).add_modifier(Modifier::BOLD),
        }
    }

    /// The style of the row of the cursor: all of it in one colour, that of its state.
    pub fn cursor(&self, state: Tone) -> Style {
        let colour = self.style(state).fg.unwrap_or(Color::Reset);
        Style::new().fg(colour).add_modifier(Modifier::REVERSED).remove_modifier(Modifier::DIM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_only_what_it_can_show() {
        let utf8 = Some("de_DE.UTF-8");
        for (term, no_colour, locale, colour, signs) in [
            (Some("xterm-256color"), false, utf8, true, UNICODE),
            (Some("xterm-256color"), true, Some("C.utf8"), false, UNICODE),
            (Some("screen"), false, Some("C"), true, ASCII),
            (Some("screen"), false, None, true, ASCII),
            (Some("linux"), false, utf8, true, ASCII),
            (Some("dumb"), false, utf8, false, ASCII),
            (None, false, utf8, false, ASCII),
        ] {
            assert_eq!(Theme::of(term, no_colour, locale), Theme { colour, signs }, "{term:?}");
        }
    }

    #[test]
    fn without_colours_no_style_has_one() {
        let theme = Theme::of(Some("xterm"), true, None);
        for tone in [Tone::Plain, Tone::Faint, Tone::Strong, Tone::Doubt, Tone::Bad, Tone::Clash] {
            assert_eq!(theme.style(tone).fg, None, "{tone:?}");
        }
    }
}
