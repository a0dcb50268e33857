//! What a server says of itself on its monitoring port: whether a write is on its disk before its
//! answer. No login for clients is shown that.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use crate::setting::AddressError;

/// How long a server may take to accept, and to say the next piece.
const LIMIT: Duration = Duration::from_secs(2);
/// Most bytes of an answer: the usual one has four thousand.
const ANSWER_MAX: u64 = 1 << 20;

/// Addresses of monitoring ports, as in `http://a.lan:8222,http://b.lan:8222`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Monitors(Vec<String>);

impl FromStr for Monitors {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Monitors, AddressError> {
        let rule = AddressError("give http://HOST:PORT, several with commas");
        let one = |text: &str| {
            let rest = text.trim().strip_prefix("http://").ok_or(rule)?;
            let place = rest.trim_end_matches('/');
            let (host, port) = place.rsplit_once(':').ok_or(rule)?;
            let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
            let is_good = !host.is_empty() && host.bytes().all(is_host);
            match port.parse::<u16>() {
                Ok(_) if is_good => Ok(place.to_owned()),
                _ => Err(rule),
            }
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Monitors)
    }
}

impl fmt::Display for Monitors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// What one server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// Its name.
    pub(crate) server: String,
    /// Each write is on its disk before its answer.
    pub(crate) syncs_always: bool,
}

impl Monitors {
    /// Asks each of them; the error has the address and the reason.
    pub(crate) fn ask(&self) -> Vec<Result<Said, String>> {
        let ask = |place: &String| get(place).map_err(|why| format!("http://{place}: {why}"));
        self.0.iter().map(ask).collect()
    }
}

fn get(place: &str) -> Result<Said, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut addresses = place.to_socket_addrs().map_err(text)?;
    let address = addresses.next().ok_or("the name has no address")?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).map_err(text)?;
    stream.set_read_timeout(Some(LIMIT)).map_err(text)?;
    stream.set_write_timeout(Some(LIMIT)).map_err(text)?;
    let request = format!("GET /varz HTTP/1.0\r\nHost: {place}\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(text)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).map_err(text)?;
    read(&answer).ok_or_else(|| "it is no monitoring port of a server with JetStream".to_owned())
}

fn read(answer: &[u8]) -> Option<Said> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    if !head.starts_with("HTTP/1.") || head.split(' ').nth(1) != Some("200") {
        return None;
    }
    let body: Value = serde_json::from_str(body).ok()?;
    // A server without JetStream has no configuration of it.
    let config = body.get("jetstream")?.get("config")?;
    Some(Said {
        server: body.get("server_name")?.as_str()?.to_owned(),
        syncs_always: config.get("sync_always") == Some(&Value::Bool(true)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_http_with_a_port() {
        for good in ["http://a.lan:8222", "http://[::1]:8222/", "http://a:1, http://b:2"] {
            assert!(good.parse::<Monitors>().is_ok(), "{good}");
        }
        for odd in
            ["", "a.lan:8222", "https://a:1", "http://a", "http://:1", "http://a:x", "http://a/b:1"]
        {
            assert!(odd.parse::<Monitors>().is_err(), "{odd}");
        }
    }

    #[test]
    fn only_a_whole_answer_of_a_server_with_jetstream_counts() {
        let answer = |status: &str, body: &str| format!("HTTP/1.0 {status}\r\nA: b\r\n\r\n{body}");
        let body = |sync: &str| {
            format!(r#"{{"server_name":"n1","jetstream":{{"config":{{"store_dir":"/s"{sync}}}}}}}"#)
        };
        for (text, always) in [
            (answer("200 OK", &body(r#","sync_always":true"#)), Some(true)),
            (answer("200 OK", &body(r#","sync_always":false"#)), Some(false)),
            (answer("200 OK", &body("")), Some(false)),
            (answer("404 Not Found", &body(r#","sync_always":true"#)), None),
            (answer("200 OK", r#"{"server_name":"n1","jetstream":{}}"#), None),
            (answer("200 OK", "<html>"), None),
            ("SSH-2.0-x\r\n\r\n".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(read(text.as_bytes()).map(|said| said.syncs_always), always, "{text}");
        }
    }
}
