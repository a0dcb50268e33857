//! A file of digests, as `sha256sum` writes it, and what it says of an image. It proves that the
//! image is whole, and not whose it is.

/// Why an image is not the one of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SumError {
    /// A line that is none.
    #[error("line {0} of the digests is none: a line is 64 hex digits and a name")]
    Line(usize),
    /// There is no line.
    #[error("there is no digest")]
    Empty,
    /// The image is not named.
    #[error("the digests do not name {0:?}")]
    NotNamed(String),
    /// It is named with two digests.
    #[error("the digests name {0:?} twice, and differ")]
    Contradiction(String),
    /// It is another one.
    #[error("{name:?} is not the one that was published: its digest is {actual}")]
    Differs {
        /// The image.
        name: String,
        /// Its digest.
        actual: String,
    },
}

/// Returns the digest that a file gives an image, in small letters.
///
/// # Errors
/// The file is none, or does not name it, or contradicts itself.
pub fn digest_of(text: &str, name: &str) -> Result<String, SumError> {
    let mut found: Option<String> = None;
    let mut is_empty = true;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        is_empty = false;
        let (digest, named) = split(line).ok_or(SumError::Line(at + 1))?;
        if named != name {
            continue;
        }
        match &found {
            Some(first) if *first != digest => {
                return Err(SumError::Contradiction(name.to_owned()));
            }
            _ => found = Some(digest),
        }
    }
    match found {
        Some(digest) => Ok(digest),
        None if is_empty => Err(SumError::Empty),
        None => Err(SumError::NotNamed(name.to_owned())),
    }
}

fn split(line: &str) -> Option<(String, &str)> {
    let (digest, rest) = line.split_once([' ', '\t'])?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let rest = rest.trim_start();
    let name = rest.strip_prefix('*').unwrap_or(rest);
    let is_name = !name.is_empty() && !name.contains(char::is_whitespace);
    (is_digest && is_name).then(|| (digest.to_ascii_lowercase(), name))
}

/// Compares the digest of an image with what a file gives it.
///
/// # Errors
/// As [`digest_of`]; or the digests differ.
pub fn check(text: &str, name: &str, actual: &str) -> Result<String, SumError> {
    let digest = digest_of(text, name)?;
    match digest.eq_ignore_ascii_case(actual) {
        true => Ok(digest),
        false => Err(SumError::Differs { name: name.to_owned(), actual: actual.to_owned() }),
    }
}
