//! Public keys of operators, one in a line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The types of keys.
pub const TYPES: [&str; 8] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ssh-dss",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];
/// How the types of lines begin that the original writes.
const BEGINNINGS: [&str; 4] = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongKey {
    /// There is none.
    #[error("there is no key")]
    Empty,
    /// It is, or has the words of, a private key.
    #[error("this is a private key: a stick gets the public one, which ends in .pub")]
    Private,
    /// There are several lines.
    #[error("there is more than one line")]
    SeveralLines,
    /// It does not begin with a type of key.
    #[error("it does not begin with a type of key, as in ssh-ed25519")]
    Type,
    /// Nothing follows the type.
    #[error("nothing follows the type of the key")]
    Malformed,
    /// What follows is no base64.
    #[error("what follows the type of the key is no base64")]
    Base64,
    /// What follows says another type.
    #[error("the key is of another type than it says")]
    OtherType,
}

/// A byte order mark counts as white space.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// Returns the text of the file: each line that is not blank, checked by [`check`] and by the type
/// that the key itself says.
///
/// # Errors
/// There is no key, or the line with this number (the first is 1) is none.
pub fn file(text: &str) -> Result<String, (usize, WrongKey)> {
    let lines = text.lines().map(trim).enumerate().filter(|(_, line)| !line.is_empty());
    let mut file = String::new();
    for (at, line) in lines {
        check(line).and_then(|()| check_inner(line)).map_err(|wrong| (at + 1, wrong))?;
        file.push_str(line);
        file.push('\n');
    }
    if file.is_empty() { Err((1, WrongKey::Empty)) } else { Ok(file) }
}

/// Checks a text that must be one key, as the original's writer for Windows does.
///
/// # Errors
/// It is none.
pub fn check(text: &str) -> Result<(), WrongKey> {
    let line = trim(text);
    if line.is_empty() {
        return Err(WrongKey::Empty);
    }
    if line.contains("PRIVATE KEY") {
        return Err(WrongKey::Private);
    }
    if line.lines().count() > 1 {
        return Err(WrongKey::SeveralLines);
    }
    let mut words = line.split_ascii_whitespace();
    if !words.next().is_some_and(|word| TYPES.contains(&word)) {
        return Err(WrongKey::Type);
    }
    let blob = words.next().ok_or(WrongKey::Malformed)?;
    let letters = blob.strip_suffix("==").or_else(|| blob.strip_suffix('=')).unwrap_or(blob);
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    match !letters.is_empty() && letters.bytes().all(is_letter) {
        true => Ok(()),
        false => Err(WrongKey::Base64),
    }
}

/// Checks that the key is of the type that its line says.
fn check_inner(line: &str) -> Result<(), WrongKey> {
    let mut words = line.split_ascii_whitespace();
    let kind = words.next().unwrap_or_default().as_bytes();
    // The type is at the beginning: groups of four letters are enough of it.
    let blob = words.next().unwrap_or_default();
    let groups = blob.len() - blob.len() % 4;
    let blob = STANDARD.decode(blob.get(..groups).unwrap_or_default()).unwrap_or_default();
    let length = u32::try_from(kind.len()).unwrap_or_default().to_be_bytes();
    match blob.strip_prefix(&length).is_some_and(|rest| rest.starts_with(kind)) {
        true => Ok(()),
        false => Err(WrongKey::OtherType),
    }
}

/// The lines that the original puts on a stick; `None` where it refuses the text. It looks at how a
/// line begins and whether something follows, and is kept to compare [`file`] with.
pub fn lines_of_the_original(text: &str) -> Option<String> {
    let lines = trim(text).lines().map(trim).filter(|line| !line.is_empty());
    let mut file = String::new();
    for line in lines {
        let (kind, rest) = line.split_once(' ')?;
        let is_key = BEGINNINGS.iter().any(|begin| kind.starts_with(begin));
        if !is_key || rest.trim().is_empty() {
            return None;
        }
        file.push_str(line);
        file.push('\n');
    }
    (!file.is_empty()).then_some(file)
}
