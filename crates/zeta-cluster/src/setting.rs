//! Where the servers are, and which files have the login and the certificates.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use async_nats::ServerAddr;

/// What a call says about its connection.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The servers of one cluster; the first one that answers is used.
    pub servers: Servers,
    /// The file with the login; without it, none is sent.
    pub credentials: Option<PathBuf>,
    /// The files of TLS.
    pub tls: Tls,
}

/// The files of TLS. Where one is named, a connection without TLS is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates that are trusted, in place of the system's.
    pub ca: Option<PathBuf>,
    /// The certificate of this client.
    pub cert: Option<PathBuf>,
    /// The key of that certificate.
    pub key: Option<PathBuf>,
}

impl Setting {
    /// These servers, without a login and without certificates.
    pub fn new(servers: Servers) -> Setting {
        Setting { servers, credentials: None, tls: Tls::default() }
    }
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
