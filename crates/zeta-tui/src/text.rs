//! Texts of agents as a terminal may show them: on one line or wrapped, never wider than asked.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};
use zeta_core::record::printable;

/// A text on one line, with nothing that moves a cursor.
pub fn one_line(text: &str) -> Cow<'_, str> {
    match text.contains(['\n', '\r', '\t']) {
        true => {
            let words: Vec<&str> = text.split(['\n', '\r', '\t']).map(str::trim).collect();
            Cow::Owned(printable(words.join(" ").trim()).into_owned())
        }
        false => printable(text),
    }
}

/// The number of columns that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Cuts a text that is wider than `max` columns, and ends it with `more`.
pub fn clip<'t>(text: &'t str, max: usize, more: &str) -> Cow<'t, str> {
    if text.width() <= max {
        return Cow::Borrowed(text);
    }
    let mut cut = prefix(text, max.saturating_sub(more.width())).trim_end().to_owned();
    if more.width() <= max {
        cut.push_str(more);
    }
    Cow::Owned(cut)
}

/// Cuts the beginning of a path that is wider than `max` columns: its end tells most. No part of it
/// is cut in two, but the last one.
pub fn clip_path<'t>(path: &'t str, max: usize, more: &str) -> Cow<'t, str> {
    let clipped = clip_start(path, max, more);
    let Some(rest) = clipped.strip_prefix(more) else { return clipped };
    match rest.find('/') {
        Some(at) if at + 1 < rest.len() => {
            Cow::Owned(format!("{more}{}", rest.get(at..).unwrap_or_default()))
        }
        _ => clipped,
    }
}

/// Cuts the beginning of a text that is wider than `max` columns.
pub fn clip_start<'t>(text: &'t str, max: usize, more: &str) -> Cow<'t, str> {
    if text.width() <= max || more.width() > max {
        return clip(text, max, more);
    }
    let mut left = max - more.width();
    let start = text.char_indices().rev().take_while(|(_, letter)| {
        let width = letter.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    });
    let start = start.last().map_or(text.len(), |(at, _)| at);
    Cow::Owned(format!("{more}{}", text.get(start..).unwrap_or_default()))
}

/// The longest beginning of a text that takes at most `max` columns.
fn prefix(text: &str, max: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, letter)| {
        used += letter.width().unwrap_or(0);
        used > max
    });
    text.get(..end.map_or(text.len(), |(at, _)| at)).unwrap_or(text)
}

/// Breaks a text into lines of at most `max` columns, between words where that is possible.
pub fn wrap(text: &str, max: usize) -> Vec<String> {
    let max = max.max(2);
    text.split('\n').flat_map(|line| wrap_line(&printable(line.trim_end()), max)).collect()
}

fn wrap_line(text: &str, max: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let mut word = word;
        if !line.is_empty() && line.width() + 1 + word.width() > max {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        while line.width() + word.width() > max {
            let head = prefix(word, max - line.width());
            if head.is_empty() {
                break;
            }
            line.push_str(head);
            lines.push(std::mem::take(&mut line));
            word = word.get(head.len()..).unwrap_or_default();
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_columns_and_not_by_letters() {
        for (text, max, cut) in [
            ("short", 5, "short"),
            ("longer", 5, "long…"),
            ("a word more", 7, "a word…"),
            ("日本語の仕事", 6, "日本…"),
            ("日本語の仕事", 7, "日本語…"),
            ("日本", 1, "…"),
            ("日本", 0, ""),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
        ] {
            assert_eq!(clip(text, max, "…"), cut, "{text} {max}");
            assert!(clip(text, max, "…").width() <= max);
        }
        for (text, max, cut) in [
            ("/home/a/wt-1", 12, "/home/a/wt-1"),
            ("/home/a/wt-1", 6, "…/wt-1"),
            ("日本語", 4, "…語"),
        ] {
            assert_eq!(clip_start(text, max, "…"), cut);
        }
        for (path, max, cut) in [
            ("/home/a/wt-1", 12, "/home/a/wt-1"),
            ("/home/a/wt-1", 11, "…/a/wt-1"),
            ("/home/a/wt-1", 7, "…/wt-1"),
            ("/home/a/wt-1", 4, "…t-1"),
            ("/home/a/", 4, "…/a/"),
            ("/home/aa/", 3, "…a/"),
        ] {
            assert_eq!(clip_path(path, max, "…"), cut);
        }
    }

    #[test]
    fn a_text_of_an_agent_moves_no_cursor() {
        assert_eq!(one_line("a\n  b\tc"), "a b c");
        for text in ["\u{1b}[2Jx", "a\u{202e}b", "\u{7}", "x\r\u{1b}]0;t\u{7}"] {
            assert!(one_line(text).chars().all(|c| c >= ' '), "{text:?}");
            assert!(wrap(text, 10).concat().chars().all(|c| c >= ' '), "{text:?}");
            assert!(!one_line(text).contains('\u{202e}'));
        }
    }

    #[test]
    fn wrapped_lines_keep_every_word_and_the_width() {
        let text = "May I delete the branch feat/x? It has-one-very-long-word-that-fits-nowhere \
                    and 日本語の長い仕事の名前です\nand a second line";
        for max in [2, 3, 9, 20, 200] {
            let lines = wrap(text, max);
            assert!(lines.iter().all(|line| line.width() <= max), "{max}: {lines:?}");
            let kept: String = lines.concat().split(' ').collect();
            assert_eq!(kept, text.replace([' ', '\n'], ""), "{max}");
        }
        assert_eq!(wrap("", 10), [""]);
    }
}
