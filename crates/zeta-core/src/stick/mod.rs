//! The files that a person puts on an install stick, besides its image: what may be in each, and
//! its text. The names and forms are those of the original's stick writer and installer.
//!
//! - [`keys`]: public keys of operators.
//! - [`manifest`]: the list of the files, with their digests.
//! - [`role`]: what the node becomes at its first boot.
//! - [`sums`]: the digest of an image, as its publisher says it.

pub mod keys;
pub mod manifest;
pub mod role;
pub mod sums;
#[cfg(test)]
mod tests;

use serde_json::Value;

/// The name of the file with public keys.
pub const KEYS_FILE: &str = "zeta-authorized-keys.pub";
/// The name of the file with the name of the node.
pub const HOST_NAME_FILE: &str = "zeta-hostname.txt";
/// The name of the file with the wireless network.
pub const WIFI_FILE: &str = "zeta-wifi-credentials.json";
/// The name of the file with the role of the node.
pub const ROLE_FILE: &str = "zeta-firstboot.conf";
/// The name of the file with the token of the servers that the node joins.
pub const TOKEN_FILE: &str = "zeta-join-token";
/// The name of the sealed credentials.
pub const CREDS_FILE: &str = "zeta-creds.enc";

/// What is wrong with something that is to be put on a stick.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A name of a host.
    #[error("the host name {0:?} is none: use 1 to 63 letters, digits and inner dashes")]
    HostName(String),
    /// A wireless network.
    #[error("a wireless network needs the texts ssid (not blank) and password")]
    Wifi,
    /// A token.
    #[error(
        "the join token is none: it is one line, K10, 64 hex digits (the servers' CA), ::, a rest"
    )]
    Token,
    /// A path on the stick.
    #[error("the path {0:?} is none on the stick: it begins with / and has no \"..\"")]
    Path(String),
    /// A value of the role.
    #[error("{key}: {value:?} cannot be used")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// Values that do not go together.
    #[error("{0}")]
    Role(&'static str),
}

/// Returns the text of the file with the name of the node.
///
/// # Errors
/// It is no label.
pub fn host_name(name: &str) -> Result<String, Wrong> {
    match is_label(name) {
        true => Ok(format!("{name}\n")),
        false => Err(Wrong::HostName(name.to_owned())),
    }
}

/// One label of a host name, in both cases of letters.
fn is_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Returns the text of the file with a wireless network: its name, and its password in clear text.
///
/// # Errors
/// It lacks one of the two.
pub fn wifi(network: &Value) -> Result<String, Wrong> {
    let text = |key: &str| network.as_object()?.get(key)?.as_str();
    match (text("ssid"), text("password")) {
        (Some(ssid), Some(password)) if !ssid.trim().is_empty() => {
            let (ssid, password) = (Value::from(ssid), Value::from(password));
            Ok(format!("{{\"ssid\":{ssid},\"password\":{password}}}\n"))
        }
        _ => Err(Wrong::Wifi),
    }
}

/// Returns the text of the file with a join token. One without the digest of the servers' CA would
/// make the node trust any server.
///
/// # Errors
/// It is no such token.
pub fn join_token(token: &str) -> Result<String, Wrong> {
    let token = token.trim();
    let rest = token.strip_prefix("K10").and_then(|rest| rest.split_once("::"));
    let is_hex = |digest: &str| {
        digest.len() == 64
            && digest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    match rest {
        Some((digest, rest))
            if is_hex(digest) && !rest.is_empty() && !rest.contains(char::is_whitespace) =>
        {
            Ok(format!("{token}\n"))
        }
        _ => Err(Wrong::Token),
    }
}

/// Checks a path on the stick.
///
/// # Errors
/// It has other characters than such a path, or leaves the stick.
pub fn path(path: &str) -> Result<&str, Wrong> {
    let trimmed = path.trim();
    let is_inside = trimmed.split('/').all(|part| part != "..");
    match trimmed.starts_with('/') && is_inside && trimmed.chars().all(role::is_plain) {
        true => Ok(trimmed),
        false => Err(Wrong::Path(path.to_owned())),
    }
}
