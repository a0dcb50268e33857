//! Bugs in the page: who is answered, and what a page is sent.

use super::bugs::{Bug, bug};

const REQUEST: &str = "crates/zeta-core/src/web/request.rs";
const FEED: &str = "crates/zeta-web/src/feed.rs";

/// The tests of the core, and those of the feed.
const CORE: &[&str] = &["-p", "zeta-core", "--lib", "web::"];
const FED: &[&str] = &["-p", "zeta-web", "--lib", "feed::tests"];

const fn suite(test: &'static str) -> [&'static str; 5] {
    ["-p", "zeta", "--test", "suite", test]
}

/// All bugs of this subject.
pub const BUGS: [Bug; 7] = [
    bug(
        "a page is served under any name that leads here",
        REQUEST,
        "hosts.iter().find(|known| known.as_bytes() == *host)",
        "hosts.iter().find(|_| !host.is_empty())",
        CORE,
    ),
    bug(
        "the cookie opens the page without its path",
        REQUEST,
        "below.filter(|(path, _)| is_same(path, &secrets.path))",
        "below.filter(|_| true)",
        CORE,
    ),
    bug(
        "a site that makes a request is not asked which it is",
        REQUEST,
        "if !request.fetch_sites.iter().all(own) {",
        "if !request.fetch_sites.iter().any(own) && request.fetch_sites.len() > 1 {",
        CORE,
    ),
    bug(
        "the cookie is sent to the servers of all ports",
        "crates/zeta-web/src/answer.rs",
        "let path = self.base();",
        "let path = '/';",
        &suite("web::rules::the_token_opens_the_page_and_its_cookie_the_rest"),
    ),
    bug(
        "connections without a key keep those with one out",
        "crates/zeta-web/src/server.rs",
        "!table.close_one_without_key()",
        "!(table.all.is_empty() && table.close_one_without_key())",
        &suite("web::hostile::idle_connections_keep_nobody_out"),
    ),
    bug(
        "a page that missed a version is sent the changes since another",
        "crates/zeta-core/src/web/mod.rs",
        "Some(seen) if seen.checked_add(1) == Some(version) =>",
        "Some(seen) if seen < version =>",
        FED,
    ),
    bug(
        "what a page showed is followed on without it",
        FEED,
        "let rests = shown.readers == 0 || shown.has_ended;",
        "let rests = shown.has_ended;",
        FED,
    ),
];
