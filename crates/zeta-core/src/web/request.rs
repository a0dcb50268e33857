//! The judgement of one request.

use subtle::ConstantTimeEq;

/// What opens the page.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// What stands in the URL that is printed: at least 128 random bits, as text.
    pub token: String,
    /// What the browser keeps after that: other random bits, which are worth nothing elsewhere.
    pub cookie: String,
}

/// A request, as far as it is judged.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The target is a path, and no URL and no `*`.
    pub is_path: bool,
    /// The path, as it was sent.
    pub path: &'a str,
    /// What follows the question mark.
    pub query: Option<&'a str>,
    /// A body follows, or seems to.
    pub has_body: bool,
    /// The values of each header `Host`.
    pub hosts: Vec<&'a [u8]>,
    /// The values of each header `Origin`.
    pub origins: Vec<&'a [u8]>,
    /// The values of each header `Sec-Fetch-Site`.
    pub fetch_sites: Vec<&'a [u8]>,
    /// The values of each header `Cookie`.
    pub cookies: Vec<&'a [u8]>,
}

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// The page itself.
    Page,
    /// A file of the page, by its name.
    File(&'a str),
    /// The stream of events.
    Events,
    /// What there is to see, once.
    Overview,
}

/// What is done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It is served.
    Serve {
        /// What.
        route: Route<'a>,
        /// The port by which the browser calls the page, if it came with the token and is given
        /// the cookie.
        cookie_of: Option<u16>,
    },
    /// It is refused.
    Refuse(Refusal),
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not of the shape that is understood.
    Malformed,
    /// It calls a host that is not the page's.
    Host,
    /// It wants to do more than read.
    Method,
    /// Another site made it.
    Site,
    /// It has neither the token nor the cookie.
    Key,
    /// There is no such path.
    Path,
}

impl Refusal {
    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Refusal::Malformed => 400,
            Refusal::Site | Refusal::Key => 403,
            Refusal::Path => 404,
            Refusal::Method => 405,
            Refusal::Host => 421,
        }
    }

    /// What the answer says.
    pub fn text(self) -> &'static str {
        match self {
            Refusal::Malformed => {
                "zeta: this request is not understood: send a path, one Host, and no body\n"
            }
            Refusal::Host => {
                "zeta: the page is not served under this name: open the address that zeta web \
                 printed, or name the host with --host\n"
            }
            Refusal::Method => "zeta: this page can only be read: send GET or HEAD\n",
            Refusal::Site => "zeta: another site made this request, and it is not answered\n",
            Refusal::Key => {
                "zeta: this page needs a key: open the address that zeta web printed, with its \
                 token (?t=...)\n"
            }
            Refusal::Path => "zeta: there is no such page\n",
        }
    }
}

/// Judges a request. Each rule stands alone: a good token does not excuse a wrong host.
pub fn judge_request<'a>(
    request: &Request<'a>,
    hosts: &[String],
    secrets: &Secrets,
    is_file: impl Fn(&str) -> bool,
) -> Verdict<'a> {
    judge(request, hosts, secrets, is_file).unwrap_or_else(Verdict::Refuse)
}

fn judge<'a>(
    request: &Request<'a>,
    hosts: &[String],
    secrets: &Secrets,
    is_file: impl Fn(&str) -> bool,
) -> Result<Verdict<'a>, Refusal> {
    // First: a page under another name that leads here is another site, whatever it knows.
    let host = match request.hosts.as_slice() {
        [host] => hosts.iter().find(|known| known.as_bytes() == *host).ok_or(Refusal::Host)?,
        [] => return Err(Refusal::Host),
        _ => return Err(Refusal::Malformed),
    };
    if !matches!(request.method, "GET" | "HEAD") {
        return Err(Refusal::Method);
    }
    if !request.is_path || request.has_body {
        return Err(Refusal::Malformed);
    }
    for origin in &request.origins {
        let of = |scheme: &str| origin.strip_prefix(scheme.as_bytes()) == Some(host.as_bytes());
        if !of("http://") && !of("https://") {
            return Err(Refusal::Site);
        }
    }
    let route = route(request.path, is_file);
    // A link on another site may lead to the page: the page itself shows nothing of the agents.
    if route != Ok(Route::Page) {
        let own = |site: &&[u8]| matches!(*site, b"same-origin" | b"none");
        if !request.fetch_sites.iter().all(own) {
            return Err(Refusal::Site);
        }
    }
    let port = port_of(host);
    let token = request.query.and_then(|query| query.strip_prefix("t="));
    let takes_token = matches!(route, Ok(Route::Page | Route::Overview));
    let has_token = takes_token && token.is_some_and(|token| is_same(token, &secrets.token));
    if !has_token && !has_cookie(&request.cookies, &cookie_name(port), &secrets.cookie) {
        return Err(Refusal::Key);
    }
    // Only who has a key learns which paths there are.
    let route = route?;
    match request.query {
        Some(_) if token.is_none() || !takes_token => Err(Refusal::Path),
        _ => Ok(Verdict::Serve { route, cookie_of: has_token.then_some(port) }),
    }
}

/// Finds what a path means. It is compared as it was sent: whatever would have to be made simpler
/// first, as `//`, `/x/..` and `%65`, means nothing.
fn route(path: &str, is_file: impl Fn(&str) -> bool) -> Result<Route<'_>, Refusal> {
    match path {
        "/" => Ok(Route::Page),
        "/events" => Ok(Route::Events),
        "/overview.json" => Ok(Route::Overview),
        _ => match path.strip_prefix('/') {
            Some(name) if is_file(name) => Ok(Route::File(name)),
            _ => Err(Refusal::Path),
        },
    }
}

/// Returns the name of the cookie of a page that the browser calls by a port. A browser sends
/// cookies to all ports of a host, so pages of two ports must not overwrite each other's.
pub fn cookie_name(port: u16) -> String {
    format!("zeta-{port}")
}

fn port_of(host: &str) -> u16 {
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.unwrap_or(80)
}

fn has_cookie(headers: &[&[u8]], name: &str, value: &str) -> bool {
    let pairs = headers.iter().filter_map(|header| std::str::from_utf8(header).ok());
    let pairs = pairs.flat_map(|header| header.split(';')).map(str::trim);
    let values = pairs.filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    // All are compared: how long this takes says nothing about which of them is right.
    values.fold(false, |found, given| is_same(given, value) | found)
}

/// Compares in a time that does not depend on where the texts differ. That their lengths do, an
/// attacker knows anyway.
fn is_same(given: &str, secret: &str) -> bool {
    !secret.is_empty() && bool::from(given.as_bytes().ct_eq(secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    const COOKIE: &[u8] = b"zeta-8080=fedcba9876543210";

    fn good() -> Request<'static> {
        Request {
            method: "GET",
            is_path: true,
            path: "/events",
            hosts: vec![b"127.0.0.1:8080"],
            cookies: vec![COOKIE],
            ..Request::default()
        }
    }

    fn judged(request: &Request<'static>) -> Result<Route<'static>, u16> {
        let hosts = ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "localhost:9000", "box.lan"];
        let hosts = hosts.map(str::to_owned);
        let secrets = Secrets { token: TOKEN.to_owned(), cookie: "fedcba9876543210".to_owned() };
        match judge_request(request, &hosts, &secrets, |name| name == "app.js") {
            Verdict::Serve { route, .. } => Ok(route),
            Verdict::Refuse(refusal) => Err(refusal.status()),
        }
    }

    fn with_token(path: &'static str) -> Request<'static> {
        let query = Some("t=0123456789abcdef0123456789abcdef");
        Request { path, query, cookies: Vec::new(), ..good() }
    }

    #[test]
    fn the_cookie_opens_all_and_the_token_the_page() {
        for (path, route) in [
            ("/", Route::Page),
            ("/events", Route::Events),
            ("/overview.json", Route::Overview),
            ("/app.js", Route::File("app.js")),
        ] {
            assert_eq!(judged(&Request { path, ..good() }), Ok(route));
            assert_eq!(judged(&Request { method: "HEAD", path, ..good() }), Ok(route));
            let by_token = matches!(route, Route::Page | Route::Overview);
            let wanted = if by_token { Ok(route) } else { Err(403) };
            assert_eq!(judged(&with_token(path)), wanted, "{path}");
        }
    }

    #[test]
    fn a_wrong_host_is_refused_also_with_a_good_token_and_cookie() {
        let hosts: [&[u8]; 14] = [
            b"evil.example",
            b"evil.example:8080",
            b"127.0.0.1",
            b"127.0.0.1:8081",
            b"localhost",
            b"",
            b"LOCALHOST:8080",
            b"127.0.0.1:8080.evil.example",
            b"127.1:8080",
            b"0.0.0.0:8080",
            b"127.0.0.1:8080 ",
            b"x@127.0.0.1:8080",
            b"127.0.0.1:08080",
            b"[::ffff:127.0.0.1]:8080",
        ];
        for host in hosts {
            for request in [good(), with_token("/"), Request { method: "POST", ..good() }] {
                let request = Request { hosts: vec![host], ..request };
                assert_eq!(judged(&request), Err(421), "{host:?}");
            }
        }
        assert_eq!(judged(&Request { hosts: Vec::new(), ..good() }), Err(421));
        let two: Vec<&[u8]> = vec![b"127.0.0.1:8080", b"127.0.0.1:8080"];
        assert_eq!(judged(&Request { hosts: two, ..good() }), Err(400));
        for host in [b"localhost:8080".as_slice(), b"[::1]:8080"] {
            assert_eq!(judged(&Request { hosts: vec![host], ..good() }), Ok(Route::Events));
        }
    }

    #[test]
    fn another_site_gets_the_page_at_most() {
        let origins: [(&[u8], bool); 8] = [
            (b"http://127.0.0.1:8080", true),
            (b"https://127.0.0.1:8080", true),
            // Another name of the same page is another origin.
            (b"http://localhost:8080", false),
            (b"null", false),
            (b"", false),
            (b"http://evil.example", false),
            (b"http://127.0.0.1:8080.evil.example", false),
            (b"127.0.0.1:8080", false),
        ];
        for (origin, own) in origins {
            let wanted = if own { Ok(Route::Events) } else { Err(403) };
            assert_eq!(judged(&Request { origins: vec![origin], ..good() }), wanted);
            let page = Request { origins: vec![origin], ..with_token("/") };
            assert_eq!(judged(&page).is_ok(), own, "{origin:?}");
        }
        let sites: [(&[u8], bool); 6] = [
            (b"none", true),
            (b"same-origin", true),
            (b"same-site", false),
            (b"cross-site", false),
            (b"", false),
            (b"what-comes-later", false),
        ];
        for (site, own) in sites {
            let fetch_sites = vec![site];
            for path in ["/events", "/overview.json", "/app.js"] {
                let request = Request { path, fetch_sites: fetch_sites.clone(), ..good() };
                assert_eq!(judged(&request).is_ok(), own, "{path} {site:?}");
            }
            // A link leads to it; its policy and the cookie's keep it out of frames.
            let page = Request { fetch_sites, ..with_token("/") };
            assert_eq!(judged(&page), Ok(Route::Page));
        }
    }

    #[test]
    fn a_request_does_nothing_but_read_and_has_one_meaning() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", ""] {
            assert_eq!(judged(&Request { method, ..good() }), Err(405), "{method}");
        }
        assert_eq!(judged(&Request { is_path: false, ..good() }), Err(400));
        assert_eq!(judged(&Request { has_body: true, ..good() }), Err(400));
        for path in [
            "",
            "*",
            "//",
            "/x/../events",
            "/./events",
            "//events",
            "/events/",
            "/%65vents",
            "/EVENTS",
            "/app.js/",
            "/../app.js",
            "/index.html",
            "/events;x",
            "events",
            "/\\events",
        ] {
            assert_eq!(judged(&Request { path, ..good() }), Err(404), "{path}");
            // Without a key, all paths look alike.
            let stranger = Request { path, cookies: Vec::new(), ..good() };
            assert_eq!(judged(&stranger), Err(403), "{path}");
        }
        for query in ["", "x=1", "t=1&x=1", "T=1"] {
            let query = Some(query);
            assert_eq!(judged(&Request { query, ..good() }), Err(404), "{query:?}");
        }
    }

    #[test]
    fn only_the_whole_key_opens() {
        for query in [
            None,
            Some(""),
            Some("t"),
            Some("t="),
            Some("t=0123456789abcdef0123456789abcde"),
            Some("t=0123456789abcdef0123456789abcdef0"),
            Some("x=0123456789abcdef0123456789abcdef"),
            Some("t=0123456789ABCDEF0123456789ABCDEF"),
            Some("t=fedcba9876543210"),
            Some("t=0123456789abcdef0123456789abcdef&x=1"),
        ] {
            let request = Request { query, ..with_token("/") };
            assert_eq!(judged(&request), Err(403), "{query:?}");
        }
        let cookies: [(&[u8], bool); 11] = [
            (b"a=b; zeta-8080=fedcba9876543210; c=d", true),
            (b"zeta-8080=old; zeta-8080=fedcba9876543210", true),
            (b"zeta-8080=", false),
            (b"zeta-8080", false),
            (b"", false),
            (b"zeta-8080=fedcba987654321", false),
            (b"zeta-8081=fedcba9876543210", false),
            (b"xzeta-8080=fedcba9876543210", false),
            (b"zeta-80=80=fedcba9876543210", false),
            (b"zeta-8080=0123456789abcdef0123456789abcdef", false),
            (b"zeta-8080=\xff", false),
        ];
        for (cookie, opens) in cookies {
            let request = Request { cookies: vec![cookie], ..good() };
            let wanted = if opens { Ok(Route::Events) } else { Err(403) };
            assert_eq!(judged(&request), wanted, "{:?}", String::from_utf8_lossy(cookie));
        }
        let two = Request { cookies: vec![b"a=b", COOKIE], ..good() };
        assert_eq!(judged(&two), Ok(Route::Events));
    }

    #[test]
    fn the_cookie_has_the_port_that_the_browser_sees() {
        let secrets = Secrets { token: TOKEN.to_owned(), cookie: "c".to_owned() };
        for (host, port) in [("localhost:9000", 9000), ("box.lan", 80), ("[::1]", 80)] {
            let request = Request { hosts: vec![host.as_bytes()], ..with_token("/") };
            let verdict = judge_request(&request, &[host.to_owned()], &secrets, |_| false);
            let wanted = Verdict::Serve { route: Route::Page, cookie_of: Some(port) };
            assert_eq!(verdict, wanted, "{host}");
        }
        // With the cookie alone there is nothing to give.
        let by_cookie = Request { path: "/", cookies: vec![b"zeta-8080=c"], ..good() };
        let hosts = ["127.0.0.1:8080".to_owned()];
        let verdict = judge_request(&by_cookie, &hosts, &secrets, |_| false);
        assert_eq!(verdict, Verdict::Serve { route: Route::Page, cookie_of: None });
    }

    #[test]
    fn a_page_without_a_secret_is_closed() {
        let secrets = Secrets { token: String::new(), cookie: String::new() };
        let hosts = ["127.0.0.1:8080".to_owned()];
        let empty = Request { query: Some("t="), cookies: vec![b"zeta-8080="], ..with_token("/") };
        let verdict = judge_request(&empty, &hosts, &secrets, |_| false);
        assert_eq!(verdict, Verdict::Refuse(Refusal::Key));
    }
}
