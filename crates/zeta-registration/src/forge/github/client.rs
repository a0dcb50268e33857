//! One request to GitHub over HTTPS: bounded in time and size, and repeated only if it changes
//! nothing.

use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::HeaderValue;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};

use super::{Limits, error};
use crate::forge::ForgeError;
use crate::forge::github::response::Response;
use crate::forge::token::Token;
use zeta_os::files;

/// The version of the API that this code was written for.
const API_VERSION: &str = "2022-11-28";
/// Most attempts at one request.
const MAX_TRIES: u32 = 4;
/// Most bytes of a file of certificates; that of a distribution has a quarter of one MiB.
const CERTIFICATES_MAX: u64 = 8 << 20;

/// The connection to one API, with its token.
pub struct Client {
    agent: ureq::Agent,
    api: String,
    token: Token,
    limits: Limits,
}

impl Client {
    /// Makes a client. A token is sent over TLS only, or to this machine.
    pub fn new(api: &str, token: Token, limits: Limits) -> Result<Client, ForgeError> {
        let here = is_here(api);
        if !here && !api.starts_with("https://") {
            let why = format!("{api}: a token is sent only over https; configure such an address");
            return Err(ForgeError::Refused(why));
        }
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A token is never carried to where an answer points.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .https_only(!here)
            .timeout_connect(Some(limits.call / 2))
            .user_agent(concat!("zeta/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots()?).build());
        if here {
            config = config.proxy(None);
        }
        let api = api.trim_end_matches('/').to_owned();
        Ok(Client { agent: config.build().new_agent(), api, token, limits })
    }

    /// The time at which an operation that begins now must have ended.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.limits.patience
    }

    /// Sends a GET. The result is 200 with a value, or 404 with none; all else is an error.
    pub fn get_json<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        until: Instant,
    ) -> Result<(Response, Option<T>), ForgeError> {
        let what = self.named("GET", path);
        let mut pause = self.limits.pause;
        for attempt in 1.. {
            let limit = until.saturating_duration_since(Instant::now()).min(self.limits.call);
            let answer = self.call(&what, path, None, limit).and_then(|reply| match reply.status {
                200 => reply.read(&what).map(|value| (reply, Some(value))),
                // A proxy or a half answer may have this status too: then GitHub did not answer.
                404 if error::message(&reply).is_empty() => {
                    Err(ForgeError::Lost(format!("{what}: the answer 404 cannot be read")))
                }
                404 => Ok((reply, None)),
                _ => Err(error::judge(&what, &reply)),
            });
            let trouble = match answer {
                Ok(answer) => return Ok(answer),
                Err(trouble) => self.scrubbed(trouble),
            };
            let wait = match &trouble {
                ForgeError::Lost(_) => pause,
                ForgeError::RateLimited(s, _) => Duration::from_secs(*s),
                _ => return Err(trouble),
            };
            if attempt >= MAX_TRIES || Instant::now() + wait >= until {
                return Err(trouble);
            }
            std::thread::sleep(wait);
            pause *= 2;
        }
        Err(ForgeError::Lost(what))
    }

    /// Sends a POST, once: a caller whose answer was lost must look before it repeats the request.
    pub fn post(&self, path: &str, body: &serde_json::Value) -> Result<Response, ForgeError> {
        let what = self.named("POST", path);
        let reply = self.call(&what, path, Some(body), self.limits.call);
        let reply = reply.map_err(|trouble| self.scrubbed(trouble))?;
        match reply.status {
            200..=299 => Ok(reply),
            _ => Err(self.scrubbed(error::judge(&what, &reply))),
        }
    }

    /// The request in words, for people.
    pub fn named(&self, method: &str, path: &str) -> String {
        let path = path.split('?').next().unwrap_or(path);
        format!("{method} {}", self.address(path))
    }

    fn address(&self, path: &str) -> String {
        match (path, self.api.strip_suffix("/v3")) {
            // On a GitHub Enterprise server, the other API is beside this one.
            ("/graphql", Some(root)) => format!("{root}{path}"),
            _ => format!("{}{path}", self.api),
        }
    }

    fn call(
        &self,
        what: &str,
        path: &str,
        body: Option<&serde_json::Value>,
        limit: Duration,
    ) -> Result<Response, ForgeError> {
        let lost = |error: ureq::Error| ForgeError::Lost(format!("{what}: {error}"));
        let secret = zeroize::Zeroizing::new(format!("Bearer {}", self.token.secret()));
        let mut bearer = HeaderValue::from_str(&secret)
            .map_err(|_| ForgeError::Unauthenticated(format!("{what}: the token is none")))?;
        bearer.set_sensitive(true);
        let address = self.address(path);
        let limit = Some(limit.max(Duration::from_millis(1)));
        let sent = match body {
            None => self
                .agent
                .get(&address)
                .header("authorization", bearer)
                .header("accept", "application/vnd.github+json")
                .header("x-github-api-version", API_VERSION)
                .config()
                .timeout_global(limit)
                .build()
                .call(),
            Some(body) => self
                .agent
                .post(&address)
                .header("authorization", bearer)
                .header("accept", "application/vnd.github+json")
                .header("content-type", "application/json")
                .header("x-github-api-version", API_VERSION)
                .config()
                .timeout_global(limit)
                .build()
                .send(body.to_string().as_bytes()),
        };
        let (head, body) = sent.map_err(lost)?.into_parts();
        let read = body.into_with_config().limit(self.limits.bytes).read_to_vec();
        let mut body = read.map_err(lost)?;
        if !head.status.is_success() {
            // Before a message is cut: half of a token is a secret too.
            body = self.clean(&String::from_utf8_lossy(&body)).into_bytes();
        }
        Ok(Response { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// Removes the token from an error: an answer may repeat what it was sent; a message may not.
    fn scrubbed(&self, trouble: ForgeError) -> ForgeError {
        let clean = |text: String| self.clean(&text);
        match trouble {
            ForgeError::Lost(text) => ForgeError::Lost(clean(text)),
            ForgeError::Unauthenticated(text) => ForgeError::Unauthenticated(clean(text)),
            ForgeError::Forbidden(text) => ForgeError::Forbidden(clean(text)),
            ForgeError::RateLimited(s, text) => ForgeError::RateLimited(s, clean(text)),
            ForgeError::Conflict(text) => ForgeError::Conflict(clean(text)),
            ForgeError::Refused(text) => ForgeError::Refused(clean(text)),
        }
    }

    fn clean(&self, text: &str) -> String {
        text.replace(self.token.secret(), "(the token)")
    }
}

/// Returns true for an address of this machine.
fn is_here(api: &str) -> bool {
    let Some(rest) = api.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Only a port may follow: what looks like one may be the password before another host.
    let port = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let host = authority.rsplit_once(':').filter(|(_, rest)| port(rest));
    let host = host.map_or(authority, |(host, _)| host);
    matches!(host, "127.0.0.1" | "[::1]" | "localhost")
}

/// The certificates that are trusted: those in `SSL_CERT_FILE`, else those in this program.
fn roots() -> Result<RootCerts, ForgeError> {
    let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) else {
        return Ok(RootCerts::WebPki);
    };
    let named = std::path::Path::new(&path).display();
    let bytes = files::read_plain(path.as_ref(), CERTIFICATES_MAX)
        .map_err(|error| ForgeError::Refused(format!("SSL_CERT_FILE: {named}: {error}")))?;
    let certificates: Vec<Certificate<'static>> = ureq::tls::parse_pem(&bytes)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    Ok(RootCerts::new_with_certs(&certificates))
}

/// The characters that are encoded: all but those that RFC 3986 allows in any part of an address.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same, without the slash between the parts of a path.
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// Encodes a part of a path or query; a slash stays one only in paths.
pub fn encoded(text: &str, in_path: bool) -> String {
    utf8_percent_encode(text, if in_path { PATH } else { UNRESERVED }).to_string()
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn only_what_an_address_may_hold_stays_as_it_is() {
        let plain = "azAZ09-._~";
        assert_eq!(encoded(plain, false), plain);
        assert_eq!(encoded("a/b c", true), "a/b%20c");
        assert_eq!(encoded("a/b c", false), "a%2Fb%20c");
        assert_eq!(encoded("é&?#+%\n\x7f", true), "%C3%A9%26%3F%23%2B%25%0A%7F");
    }
}
