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

#[cfg(test)]
mod tests {
    use super::quote_word;

    #[test]
    fn a_text_is_one_word() {
        for (text, word) in
            [("B-1", "B-1"), ("", "''"), ("a b", "'a b'"), ("it's $x", "'it'\\''s $x'")]
        {
            assert_eq!(quote_word(text), word);
        }
    }
}
