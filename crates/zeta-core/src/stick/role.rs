//! What a node becomes at its first boot: `NAME='value'` lines, which the installer reads and never
//! runs.

use super::{Wrong, path};

/// The host of the flake that joins others, where none is named.
const WORKER: &str = "worker-template";
/// The host of the flake that the others join.
const CONTROL_PLANE: &str = "control-plane";

/// A character that may be in a value.
pub(super) fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "._:/@-".contains(character)
}

/// What a person asked for. A blank text counts as none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked<'a> {
    /// `first-control-plane` or `joiner`.
    pub role: Option<&'a str>,
    /// The server that it joins, as in `https://cp.example:6443`.
    pub server: Option<&'a str>,
    /// The host of the flake.
    pub host: Option<&'a str>,
    /// Where on the stick its join token is, if it has one.
    pub token_path: Option<&'a str>,
}

/// Returns the lines of the file; none if no role is asked for.
///
/// # Errors
/// The values do not go together, or one cannot be written.
pub fn lines(asked: &Asked<'_>) -> Result<Vec<String>, Wrong> {
    let filled = |value: Option<&'_ str>| {
        value.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let (server, host) = (filled(asked.server), filled(asked.host));
    let is_joiner = match filled(asked.role).as_deref() {
        None if server.is_some() || asked.token_path.is_some() => {
            return Err(Wrong::Role("a server or a join token is for the role joiner"));
        }
        None => return Ok(Vec::new()),
        Some("first-control-plane") if server.is_some() || asked.token_path.is_some() => {
            return Err(Wrong::Role("the first control plane joins no server"));
        }
        Some("first-control-plane") => false,
        Some("joiner") if server.is_none() => {
            return Err(Wrong::Role("the role joiner needs the address of a server"));
        }
        Some("joiner") => true,
        Some(_) => return Err(Wrong::Role("a role is first-control-plane or joiner")),
    };
    let (role, default) = match is_joiner {
        true => ("joiner", WORKER),
        false => ("first-control-plane", CONTROL_PLANE),
    };
    let host = host.unwrap_or_else(|| default.to_owned());
    if !super::is_label(&host) || host.contains(|c: char| c.is_ascii_uppercase()) {
        return Err(Wrong::Value { key: "HOST", value: host });
    }
    let mut lines = vec![line("ZETA_ROLE", role), line("HOST", &host)];
    if let Some(server) = server {
        if !is_server(&server) {
            return Err(Wrong::Value { key: "ZETA_JOIN_SERVER_URL", value: server });
        }
        lines.push(line("ZETA_JOIN_SERVER_URL", &server));
    }
    if let Some(token) = asked.token_path {
        lines.push(line("ZETA_JOIN_TOKEN_ESP_PATH", path(token)?));
    }
    Ok(lines)
}

fn line(key: &str, value: &str) -> String {
    format!("{key}='{value}'")
}

/// The address of a server: https, a host, and a port if one is given.
fn is_server(address: &str) -> bool {
    let Some(rest) = address.strip_prefix("https://") else { return false };
    let is_host = |host: &str| {
        !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".:-".contains(c))
    };
    match rest.rsplit_once(':') {
        None => is_host(rest),
        Some((host, port)) => {
            let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let is_port = is_number && port.parse::<u16>().is_ok_and(|port| port > 0);
            is_host(host) && is_port
        }
    }
}
