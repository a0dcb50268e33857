//! Where the page may listen, and by which names a browser may call it.

use std::net::IpAddr;

use thiserror::Error;

/// Why a page does not listen where it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ListenError {
    /// Other machines reach the address, and the caller did not say that it knows.
    #[error("other machines reach {0}, and what they read is not encrypted")]
    Remote(IpAddr),
    /// The address stands for all of the machine, and no browser calls that.
    #[error("{0} is every address of this machine: it must be said by which name it is called")]
    Nameless(IpAddr),
}

/// Why a text is no name that a browser calls.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "a host is a name or an address in lower case, and may have a port: box.lan:8080, [::1]:80"
)]
pub struct HostError;

/// Decides which values of the header `Host` are served on a port of an address: those of this
/// machine's own loopback, that of an address beyond it, and the `named` ones.
///
/// # Errors
/// The address is not loopback and `allow_remote` is not set; or it has no name.
pub fn decide_hosts(
    address: IpAddr,
    port: u16,
    allow_remote: bool,
    named: &[String],
) -> Result<Vec<String>, ListenError> {
    if !address.is_loopback() && !allow_remote {
        return Err(ListenError::Remote(address));
    }
    if address.is_unspecified() && named.is_empty() {
        return Err(ListenError::Nameless(address));
    }
    let loopback = ["127.0.0.1", "localhost", "[::1]"].map(str::to_owned);
    let own = (!address.is_unspecified()).then(|| in_url(address));
    let names = loopback.into_iter().chain(own);
    let mut hosts: Vec<String> = Vec::new();
    for name in names {
        // A browser does not write the port of plain HTTP.
        let bare = (port == 80).then(|| name.clone());
        hosts.extend(bare.into_iter().chain([format!("{name}:{port}")]));
    }
    hosts.extend(named.iter().cloned());
    hosts.sort();
    hosts.dedup();
    Ok(hosts)
}

/// Returns an address as it stands in a URL.
fn in_url(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Returns the host with the port, as it stands in the URL of a page.
pub fn host_of(address: IpAddr, port: u16) -> String {
    format!("{}:{port}", in_url(address))
}

/// Checks a value of the header `Host` that a person names: what a browser sends, to the letter.
///
/// # Errors
/// It is none.
pub fn check_host(text: &str) -> Result<(), HostError> {
    let (name, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, rest))) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(HostError);
            }
            ("v6", rest.strip_prefix(':').or(if rest.is_empty() { None } else { Some("") }))
        }
        Some(None) => return Err(HostError),
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    let is_port = |port: &str| !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok();
    let good = !name.is_empty() && name.len() <= 253 && name.chars().all(is_plain);
    (good && port.is_none_or(is_port)).then_some(()).ok_or(HostError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(address: &str, port: u16, remote: bool, named: &[&str]) -> Result<String, String> {
        let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
        let address: IpAddr = address.parse().unwrap();
        let hosts = decide_hosts(address, port, remote, &named);
        hosts.map(|hosts| hosts.join(" ")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_page_listens_on_loopback_unless_it_is_said_twice() {
        let own = "127.0.0.1:8080 [::1]:8080 localhost:8080";
        for address in ["127.0.0.1", "::1"] {
            assert_eq!(hosts(address, 8080, false, &[]).unwrap(), own, "{address}");
        }
        for address in ["192.0.2.7", "0.0.0.0", "::", "2001:db8::7", "::ffff:127.0.0.1"] {
            let refused = hosts(address, 8080, false, &["box.lan:8080"]).unwrap_err();
            assert!(refused.contains("other machines reach"), "{address}: {refused}");
        }
        let remote = hosts("192.0.2.7", 8080, true, &[]).unwrap();
        assert_eq!(remote, "127.0.0.1:8080 192.0.2.7:8080 [::1]:8080 localhost:8080");
        assert!(hosts("0.0.0.0", 8080, true, &[]).unwrap_err().contains("every address"));
        let named = hosts("::", 8080, true, &["box.lan:8080"]).unwrap();
        assert_eq!(named, "127.0.0.1:8080 [::1]:8080 box.lan:8080 localhost:8080");
    }

    #[test]
    fn the_port_of_plain_http_may_be_left_away() {
        let all = "127.0.0.1 127.0.0.1:80 [::1] [::1]:80 localhost localhost:80";
        assert_eq!(hosts("127.0.0.1", 80, false, &[]).unwrap(), all);
    }

    #[test]
    fn a_host_is_what_a_browser_sends() {
        for good in ["localhost:9000", "box.lan", "192.0.2.7:80", "[::1]:80", "[2001:db8::7]"] {
            assert_eq!(check_host(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "Box.lan",
            "http://box.lan",
            "box.lan:",
            "box.lan:0",
            "box.lan:080",
            "a b",
            "box.lan:65536",
            "box.lan/",
            "a,b",
            "*",
            "[::1",
            "[::1]80",
            "[box]:80",
            "::1",
            "a\nb",
            "[::1]:",
            "é.lan",
            "a@b",
        ] {
            assert_eq!(check_host(bad), Err(HostError), "{bad:?}");
        }
    }
}
