//! The cells of a terminal's screen, from the text that tmux gives with its sequences of colours.

use unicode_width::UnicodeWidthChar;

use crate::support::{Tmux, test_name};

/// A colour of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Color {
    /// One of the 256 of a terminal.
    Indexed(u8),
    Rgb(u8, u8, u8),
}

/// How a cell is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) foreground: Option<Color>,
    pub(super) background: Option<Color>,
    pub(super) bold: bool,
    pub(super) dim: bool,
    pub(super) italic: bool,
    pub(super) underline: bool,
    pub(super) reverse: bool,
}

/// A character, with what combines with it, and how many columns it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) columns: usize,
    pub(super) style: Style,
}

/// Reads a screen: the cells of each row. A style goes on in the next row, as tmux means it.
pub(super) fn parse(styled: &str) -> Vec<Vec<Cell>> {
    let mut style = Style::default();
    styled.lines().map(|line| row(line, &mut style)).collect()
}

fn row(line: &str, style: &mut Style) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        if char == '\x1b' {
            let mut sequence = String::new();
            assert_eq!(chars.next(), Some('['), "{line:?}");
            let end = chars.by_ref().find(|char| {
                sequence.push(*char);
                char.is_ascii_alphabetic()
            });
            assert_eq!(end, Some('m'), "{line:?}");
            apply(sequence.trim_end_matches('m'), style);
            continue;
        }
        match char.width().unwrap_or(0) {
            0 => cells.last_mut().expect("a base").text.push(char),
            columns => cells.push(Cell { text: char.into(), columns, style: *style }),
        }
    }
    cells
}

fn apply(sequence: &str, style: &mut Style) {
    // `4:3` is a kind of underline; what is behind the colon is a matter of taste.
    let mut numbers = sequence.split(';').map(|part| {
        let number = part.split(':').next().unwrap_or_default();
        number.parse::<u8>().unwrap_or(0)
    });
    while let Some(number) = numbers.next() {
        match number {
            0 => *style = Style::default(),
            1 => style.bold = true,
            2 => style.dim = true,
            3 => style.italic = true,
            4 => style.underline = true,
            7 => style.reverse = true,
            22 => (style.bold, style.dim) = (false, false),
            23 => style.italic = false,
            24 => style.underline = false,
            27 => style.reverse = false,
            30..=37 => style.foreground = Some(Color::Indexed(number - 30)),
            90..=97 => style.foreground = Some(Color::Indexed(number - 90 + 8)),
            40..=47 => style.background = Some(Color::Indexed(number - 40)),
            100..=107 => style.background = Some(Color::Indexed(number - 100 + 8)),
            38 => style.foreground = color(&mut numbers),
            48 => style.background = color(&mut numbers),
            39 => style.foreground = None,
            49 => style.background = None,
            _ => panic!("{sequence:?} has {number}, which is not known"),
        }
    }
}

fn color(numbers: &mut impl Iterator<Item = u8>) -> Option<Color> {
    match numbers.next()? {
        5 => Some(Color::Indexed(numbers.next()?)),
        2 => Some(Color::Rgb(numbers.next()?, numbers.next()?, numbers.next()?)),
        _ => None,
    }
}

#[test]
fn colours_attributes_and_wide_characters_are_read() {
    let rows = parse("a\x1b[1;31mb\x1b[48;5;200m日e\u{301}\n\x1b[38;2;1;2;3;7mc\x1b[0md");
    let all: Vec<(&str, usize)> =
        rows.iter().flatten().map(|cell| (cell.text.as_str(), cell.columns)).collect();
    assert_eq!(all, [("a", 1), ("b", 1), ("日", 2), ("e\u{301}", 1), ("c", 1), ("d", 1)]);
    assert_eq!(rows[0][0].style, Style::default());
    let red = Style { foreground: Some(Color::Indexed(1)), bold: true, ..Style::default() };
    assert_eq!(rows[0][1].style, red);
    let on_pink = Style { background: Some(Color::Indexed(200)), ..red };
    assert_eq!(rows[0][2].style, on_pink);
    let foreground = Some(Color::Rgb(1, 2, 3));
    assert_eq!(rows[1][0].style, Style { foreground, reverse: true, ..on_pink }, "it goes on");
    assert_eq!(rows[1][1].style, Style::default());
}

#[test]
fn the_screen_of_a_real_terminal_is_read() {
    let mut command = std::process::Command::new("sh");
    let script = r"printf '\033[1;38;2;10;20;30mto\033[m 日本 \033[7m│ ▌\033[m'
        read -r word; stty size; exit 3";
    command.args(["-c", script]);
    let Some(tmux) = Tmux::start(test_name!(), 20, 4, &command) else { return };
    tmux.wait_for("▌");
    let rows = parse(&tmux.styled());
    let text = |row: &[Cell]| row.iter().map(|cell| cell.text.as_str()).collect::<String>();
    assert_eq!(text(&rows[0]).trim_end(), "to 日本 │ ▌");
    let first = rows[0][0].style;
    assert_eq!((first.foreground, first.bold), (Some(Color::Rgb(10, 20, 30)), true));
    assert!(rows[0][6].style.reverse, "{rows:?}");
    tmux.resize(30, 5);
    assert_eq!(tmux.format("#{pane_width} #{pane_dead}"), "30 0");
    tmux.keys(&["x", "Enter"]);
    assert_eq!(tmux.end(), Some(3));
    tmux.wait_for("5 30");
}
