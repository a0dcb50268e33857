//! A screen as a picture: text that can be searched and read aloud, and lines and bars as shapes,
//! so that they meet whatever font a reader has.

use std::fmt::Write as _;

use super::picture::escaped;
use super::screen::{Cell, Color, Style};

/// The size of a cell, and of the edge around the screen.
const WIDTH: f32 = 8.4;
const HEIGHT: f32 = 18.0;
const EDGE: f32 = 14.0;

const BACKGROUND: [u8; 3] = [0x16, 0x1b, 0x22];
const FOREGROUND: [u8; 3] = [0xd8, 0xde, 0xe6];
/// The sixteen colours of a terminal with a quiet dark theme.
const PALETTE: [[u8; 3]; 16] = [
    [0x3b, 0x42, 0x4d],
    [0xf0, 0x71, 0x78],
    [0x8c, 0xc2, 0x65],
    [0xe5, 0xb5, 0x5c],
    [0x61, 0xaf, 0xef],
    [0xc6, 0x8a, 0xee],
    [0x4f, 0xc1, 0xcc],
    [0xc3, 0xca, 0xd4],
    [0x6b, 0x75, 0x85],
    [0xff, 0x8a, 0x90],
    [0xa5, 0xda, 0x80],
    [0xff, 0xcf, 0x78],
    [0x82, 0xc4, 0xff],
    [0xdb, 0xa6, 0xff],
    [0x6f, 0xdb, 0xe6],
    [0xff, 0xff, 0xff],
];

/// Draws a screen. `title` is what it shows, in a few words, and `words` are those that it has.
pub(super) fn draw(rows: &[Vec<Cell>], columns: usize, title: &str, words: &str) -> String {
    let width = columns as f32 * WIDTH + 2.0 * EDGE;
    let height = rows.len() as f32 * HEIGHT + 2.0 * EDGE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n<title>{}</title>\n\
         <desc>{}</desc>\n\
         <style>text{{font:14px ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',\
         'Liberation Mono',monospace;white-space:pre}}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"10\" fill=\"{}\"/>\n",
        escaped(title),
        escaped(words),
        hex(BACKGROUND)
    );
    for (at, row) in rows.iter().enumerate() {
        draw_row(&mut svg, row, EDGE + at as f32 * HEIGHT);
    }
    svg + "</svg>\n"
}

/// Cells that are drawn together: same style, same kind.
struct Run {
    text: String,
    columns: usize,
    style: Style,
    at: usize,
}

fn draw_row(svg: &mut String, row: &[Cell], top: f32) {
    let mut runs: Vec<Run> = Vec::new();
    let mut column = 0;
    for cell in row {
        let Cell { text, columns, style } = cell;
        let joins = |run: &Run| {
            // A line or a bar of several cells is one shape: no seam is seen.
            if is_shape(text) && is_level(text) {
                return run.style == *style && run.text == *text;
            }
            let is_text = *columns == 1 && !is_shape(text);
            run.style == *style
                && is_text
                && run.columns == run.text.chars().count()
                && !run.text.chars().next().is_some_and(|first| is_shape(&first.to_string()))
        };
        match runs.last_mut().filter(|run| joins(run)) {
            Some(run) => {
                if !is_shape(text) {
                    run.text += text;
                }
                run.columns += columns;
            }
            None => {
                runs.push(Run { text: text.clone(), columns: *columns, style: *style, at: column });
            }
        }
        column += columns;
    }
    for run in &runs {
        let (_, back) = colors(run.style);
        if back != BACKGROUND {
            let (x, width) = (left(run.at), run.columns as f32 * WIDTH);
            rect(svg, [x, top, width, HEIGHT], back, 1.0);
        }
    }
    for run in &runs {
        draw_run(svg, run, top);
    }
}

fn draw_run(svg: &mut String, run: &Run, top: f32) {
    let (fore, _) = colors(run.style);
    let x = left(run.at);
    if let Some(char) = run.text.chars().next().filter(|_| is_shape(&run.text)) {
        return draw_shape(svg, char, [x, top, run.columns as f32 * WIDTH], fore);
    }
    // Blanks need no ink, unless they are underlined.
    let text = if run.style.underline { run.text.as_str() } else { run.text.trim_end() };
    let blanks = text.len() - text.trim_start().len();
    let text = if run.style.underline { text } else { text.trim_start() };
    if text.is_empty() {
        return;
    }
    let blanks = if run.style.underline { 0 } else { blanks };
    let x = x + blanks as f32 * WIDTH;
    let columns = run.columns - (run.text.chars().count() - text.chars().count());
    let _ = write!(
        svg,
        "<text x=\"{x:.1}\" y=\"{:.1}\" textLength=\"{:.1}\" fill=\"{}\"",
        top + 13.5,
        columns as f32 * WIDTH,
        hex(fore)
    );
    let attributes = [
        (run.style.bold, " font-weight=\"700\""),
        (run.style.italic, " font-style=\"italic\""),
        (run.style.underline, " text-decoration=\"underline\""),
    ];
    attributes.iter().filter(|(is_on, _)| *is_on).for_each(|(_, text)| svg.push_str(text));
    let _ = writeln!(svg, ">{}</text>", escaped(text));
}

fn left(column: usize) -> f32 {
    EDGE + column as f32 * WIDTH
}

/// Whether a character is drawn as a shape.
fn is_shape(text: &str) -> bool {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(char), None) => arms(char).is_some() || block(char).is_some(),
        _ => false,
    }
}

/// Whether a shape goes on in the next cell as if both were one.
fn is_level(text: &str) -> bool {
    matches!(
        text,
        "─" | "━"
            | "█"
            | "▀"
            | "░"
            | "▒"
            | "▓"
            | "▁"
            | "▂"
            | "▃"
            | "▄"
            | "▅"
            | "▆"
            | "▇"
    )
}

/// The lines of a box that leave the middle of a cell: left, right, up, down; 1 light, 2 heavy.
fn arms(char: char) -> Option<[u8; 4]> {
    Some(match char {
        '─' => [1, 1, 0, 0],
        '│' => [0, 0, 1, 1],
        '┌' | '╭' => [0, 1, 0, 1],
        '┐' | '╮' => [1, 0, 0, 1],
        '└' | '╰' => [0, 1, 1, 0],
        '┘' | '╯' => [1, 0, 1, 0],
        '├' => [0, 1, 1, 1],
        '┤' => [1, 0, 1, 1],
        '┬' => [1, 1, 0, 1],
        '┴' => [1, 1, 1, 0],
        '┼' => [1, 1, 1, 1],
        '━' => [2, 2, 0, 0],
        '┃' => [0, 0, 2, 2],
        '╸' => [2, 0, 0, 0],
        '╺' => [0, 2, 0, 0],
        '╴' => [1, 0, 0, 0],
        '╶' => [0, 1, 0, 0],
        _ => return None,
    })
}

/// The part of a cell that a block covers: x, y, width, height as parts of the cell, and how dense.
fn block(char: char) -> Option<[f32; 5]> {
    let eighths = |from: char| (char as u32 - from as u32 + 1) as f32 / 8.0;
    Some(match char {
        '█' => [0.0, 0.0, 1.0, 1.0, 1.0],
        // U+2589 is seven eighths of the width, U+258F one.
        '▉'..='▏' => [0.0, 0.0, 1.0 - eighths('▉'), 1.0, 1.0],
        '▁'..='▇' => [0.0, 1.0 - eighths('▁'), 1.0, eighths('▁'), 1.0],
        '▀' => [0.0, 0.0, 1.0, 0.5, 1.0],
        '▐' => [0.5, 0.0, 0.5, 1.0, 1.0],
        '░' => [0.0, 0.0, 1.0, 1.0, 0.25],
        '▒' => [0.0, 0.0, 1.0, 1.0, 0.5],
        '▓' => [0.0, 0.0, 1.0, 1.0, 0.75],
        _ => return None,
    })
}

fn draw_shape(svg: &mut String, char: char, [x, top, wide]: [f32; 3], fore: [u8; 3]) {
    if let Some([dx, dy, width, height, dense]) = block(char) {
        // A bar leaves a little room to the next row.
        let is_bar = height == 1.0;
        let (top, tall) = if is_bar { (top + 3.0, HEIGHT - 6.0) } else { (top, HEIGHT) };
        rect(svg, [x + dx * wide, top + dy * tall, width * wide, height * tall], fore, dense);
        return;
    }
    let (middle_x, middle_y) = (x + wide / 2.0, top + HEIGHT / 2.0);
    for (side, weight) in arms(char).unwrap_or_default().into_iter().enumerate() {
        let (w, half) = (f32::from(weight), f32::from(weight) / 2.0);
        let area = match (side, weight) {
            (_, 0) => continue,
            (0, _) => [x, middle_y - half, wide / 2.0, w],
            (1, _) => [middle_x, middle_y - half, wide / 2.0, w],
            (2, _) => [middle_x - half, top, w, HEIGHT / 2.0 + half],
            (_, _) => [middle_x - half, middle_y - half, w, HEIGHT / 2.0 + half],
        };
        rect(svg, area, fore, 1.0);
    }
}

fn rect(svg: &mut String, [x, y, width, height]: [f32; 4], fill: [u8; 3], dense: f32) {
    let fill = hex(fill);
    let _ = write!(svg, "<rect x=\"{x:.1}\" y=\"{y:.1}\"");
    let _ = write!(svg, " width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"");
    if dense < 1.0 {
        let _ = write!(svg, " fill-opacity=\"{dense}\"");
    }
    svg.push_str("/>\n");
}

/// The colours of a style: of the text, and behind it.
fn colors(style: Style) -> ([u8; 3], [u8; 3]) {
    let fore = style.foreground.map_or(FOREGROUND, rgb);
    let back = style.background.map_or(BACKGROUND, rgb);
    let (fore, back) = if style.reverse { (back, fore) } else { (fore, back) };
    let mix = |index: usize| ((u16::from(fore[index]) * 6 + u16::from(back[index]) * 4) / 10) as u8;
    (if style.dim { [mix(0), mix(1), mix(2)] } else { fore }, back)
}

fn rgb(color: Color) -> [u8; 3] {
    match color {
        Color::Rgb(red, green, blue) => [red, green, blue],
        Color::Indexed(index @ 0..=15) => PALETTE[usize::from(index)],
        Color::Indexed(index @ 16..=231) => {
            let level = |part: u8| if part == 0 { 0 } else { 55 + part * 40 };
            let index = index - 16;
            [level(index / 36), level(index / 6 % 6), level(index % 6)]
        }
        Color::Indexed(index) => [8 + (index - 232) * 10; 3],
    }
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[test]
fn text_stays_text_and_bars_are_shapes() {
    let rows = super::screen::parse("\x1b[31ma<b\x1b[0m ▌日│\x1b[7m x\n");
    let svg = draw(&rows, 9, "a & b", "words");
    assert!(svg.contains("<title>a &amp; b</title>"), "{svg}");
    assert!(svg.contains("fill=\"#f07178\">a&lt;b</text>"), "{svg}");
    assert!(svg.contains("textLength=\"16.8\" fill=\"#d8dee6\">日</text>"), "{svg}");
    // The window, half a cell, the line up and down, and the field behind `x`.
    assert_eq!(svg.matches("<rect").count(), 1 + 1 + 2 + 1, "{svg}");
    assert!(svg.contains("width=\"4.2\" height=\"12.0\" fill=\"#d8dee6\"/>"), "{svg}");
}
