//! Where the servers are, and how the caller logs in there.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use async_nats::{ConnectOptions, ServerAddr};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::read_plain;

/// Most bytes of a file with credentials.
const CREDENTIALS_MAX: u64 = 16 * 1024;

/// What a call says about its connection.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The servers of one cluster; the first one that answers is used.
    pub servers: Servers,
    /// The file with the login; without it, none is sent.
    pub credentials: Option<PathBuf>,
}

/// Addresses of servers, as in `nats://a.lan:4222,nats://b.lan:4222`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Servers(Vec<ServerAddr>);

/// The rule that an address broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressError(pub(crate) &'static str);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl FromStr for Servers {
    type Err = AddressError;

    fn from_str(text: &str) -> std::result::Result<Servers, AddressError> {
        text.split(',')
            .map(|one| address(one.trim()))
            .collect::<std::result::Result<_, _>>()
            .map(Servers)
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, server) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            f.write_str(server.as_url_str())?;
        }
        Ok(())
    }
}

impl Servers {
    /// The same servers, beginning with another one.
    pub(crate) fn beginning_with(mut self, at: usize) -> Servers {
        let first = at % self.0.len().max(1);
        self.0.rotate_left(first);
        self
    }

    /// The addresses.
    pub(crate) fn list(&self) -> &[ServerAddr] {
        &self.0
    }
}

fn address(text: &str) -> std::result::Result<ServerAddr, AddressError> {
    let rule = "give nats://HOST:PORT or tls://HOST:PORT, several with commas";
    let server = ServerAddr::from_str(text).map_err(|_| AddressError(rule))?;
    if !matches!(server.scheme(), "nats" | "tls") || server.host().is_empty() {
        return Err(AddressError(rule));
    }
    // Each user of the machine reads the arguments of a process, and errors show addresses.
    if server.has_user_pass() || server.password().is_some() {
        return Err(AddressError(
            "an address has no login in it: put it into a file, and name that with --credentials",
        ));
    }
    Ok(server)
}

/// Adds the login in the file to the options of a connection.
pub(crate) fn log_in(options: ConnectOptions, path: &Path) -> Result<ConnectOptions> {
    let text = read(path)?;
    if text.contains("-----BEGIN NATS USER JWT-----") {
        return options.credentials(&text).map_err(|_| unknown_form(path));
    }
    let line = text.trim();
    if line.contains(char::is_whitespace) {
        return Err(unknown_form(path));
    }
    match line.split_once(':') {
        Some((user, password)) => {
            Ok(options.user_and_password(user.to_owned(), password.to_owned()))
        }
        None if line.starts_with("SU") => Ok(options.nkey(line.to_owned())),
        None => Err(unknown_form(path)),
    }
}

/// Reads a file that only its owner can read, who is this user or root.
fn read(path: &Path) -> Result<String> {
    let shown = zeta_os::given_path::shown(path);
    let unsafe_because =
        |why: String| Error::new(Kind::Unsafe, format!("the credentials: {shown}: {why}"));
    let bytes =
        read_plain(path, CREDENTIALS_MAX).map_err(|error| unsafe_because(error.to_string()))?;
    let meta = path.metadata().map_err(|error| unsafe_because(error.to_string()))?;
    if meta.mode() & 0o077 != 0 {
        let why = format!("others may read or write it (mode {:04o})", meta.mode() & 0o7777);
        return Err(unsafe_because(why)
            .hint("it needs the mode 0600; if another user read it already, make a new login"));
    }
    String::from_utf8(bytes).map_err(|_| unknown_form(path))
}

fn unknown_form(path: &Path) -> Error {
    let shown = zeta_os::given_path::shown(path);
    Error::new(Kind::Unsafe, format!("the credentials: {shown}: it holds no login of NATS"))
        .hint("a login is a .creds file, the seed of an nkey (SU…), or a line USER:PASSWORD")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_a_host_and_no_login() {
        for (text, shown) in [
            ("nats://a.lan:4222", Some("nats://a.lan:4222")),
            ("a.lan", Some("nats://a.lan")),
            ("tls://[::1]:7000, nats://b", Some("tls://[::1]:7000,nats://b")),
            ("", None),
            ("nats://", None),
            ("http://a.lan", None),
            ("ws://a.lan", None),
            ("nats://a.lan,", None),
            ("nats://otto:hunter2@a.lan", None),
            ("nats://:hunter2@a.lan", None),
        ] {
            match (text.parse::<Servers>(), shown) {
                (Ok(servers), Some(shown)) => assert_eq!(servers.to_string(), shown),
                (Err(error), None) => assert!(!error.to_string().contains("hunter2"), "{text}"),
                (parsed, _) => panic!("{text:?}: {parsed:?}"),
            }
        }
    }
}
