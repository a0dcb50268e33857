//! Words of a shell command, for texts that a person may paste.

use std::borrow::Cow;

/// Quotes a text as one word of a shell command.
pub fn quote_word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@+".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(format!("'{}'", text.replace('\'', "'\\''"))),
    }
}

/// Writes a text as an argument of a command. One that begins with a dash would be an option there,
/// so it becomes the value of `option`.
pub fn argument<'t>(option: &str, text: &'t str) -> Cow<'t, str> {
    match text.starts_with('-') {
        true => Cow::Owned(format!("{option}={}", quote_word(text))),
        false => quote_word(text),
    }
}

#[cfg(test)]
mod tests {
    use super::{argument, quote_word};

    #[test]
    fn no_text_becomes_an_option() {
        assert_eq!(argument("--item", "B 1"), "'B 1'");
        assert_eq!(argument("--item", "--path=:/"), "--item='--path=:/'");
    }

    #[test]
    fn a_text_is_one_word() {
        for (text, word) in
            [("B-1", "B-1"), ("", "''"), ("a b", "'a b'"), ("it's $x", "'it'\\''s $x'")]
        {
            assert_eq!(quote_word(text), word);
        }
    }
}
