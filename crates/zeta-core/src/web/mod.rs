//! Which requests the page of `zeta web` answers, and where it may listen.
//!
//! The page shows what agents do, so it is for one person. Other users of the machine reach its
//! port, and so does each site that a browser shows: by a name that leads to this machine
//! (rebinding), by a link, by a picture, by a script. Each request is judged here before
//! anything else is done with it.

mod listen;
mod request;

pub use listen::{HostError, ListenError, check_host, decide_hosts, host_of};
pub use request::{Refusal, Request, Route, Secrets, Verdict, cookie_name, judge_request};

/// The seconds between two signs of life on a stream without events. A page that hears nothing for
/// more than twice as long says that it is not connected (`stream.js`).
pub const KEEP_ALIVE_S: u64 = 15;

/// The least time between two events, in ms: at most ten a second.
pub const BETWEEN_EVENTS_MS: u64 = 100;

/// What a stream is to send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The whole, because the client has nothing, or has missed a version.
    Whole,
    /// What changed since the version that the client has.
    Changes,
    /// Nothing: the client has all.
    Nothing,
}

/// Decides what a client that has the version `seen` is sent, if `version` is there now. What was
/// missed is not kept for it.
pub fn decide_event(seen: Option<u64>, version: u64) -> Event {
    match seen {
        Some(seen) if seen == version => Event::Nothing,
        Some(seen) if seen.checked_add(1) == Some(version) => Event::Changes,
        _ => Event::Whole,
    }
}

/// Returns the headers that each answer has, the policy of the page with its nonce included.
pub fn headers(nonce: &str) -> [(&'static str, String); 7] {
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    );
    [
        ("content-security-policy", policy),
        ("referrer-policy", "no-referrer".to_owned()),
        ("cache-control", "no-store".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("x-frame-options", "DENY".to_owned()),
        ("cross-origin-resource-policy", "same-origin".to_owned()),
        ("cross-origin-opener-policy", "same-origin".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_missed_a_version_gets_the_whole_again() {
        for (seen, version, event) in [
            (None, 1, Event::Whole),
            (Some(1), 1, Event::Nothing),
            (Some(1), 2, Event::Changes),
            (Some(1), 3, Event::Whole),
            // Of another server.
            (Some(9), 3, Event::Whole),
            (Some(u64::MAX), 0, Event::Whole),
        ] {
            assert_eq!(decide_event(seen, version), event, "{seen:?} {version}");
        }
    }

    #[test]
    fn the_policy_lets_nothing_in_but_the_page_s_own() {
        let [(name, policy), ..] = headers("n0nce");
        assert_eq!(name, "content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'nonce-n0nce';"), "{policy}");
        for never in ["unsafe", "http", "*", "data:"] {
            assert!(!policy.contains(never), "{policy}");
        }
    }
}
