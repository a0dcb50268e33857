//! The judgement of one request.

use subtle::ConstantTimeEq;

/// What opens the page.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// What stands in the URL that is printed: at least 128 random bits, as text.
    pub token: String,
    /// The path below which the page lives after that: other random bits. A browser sends a cookie
    /// to all ports of a host, also to that of another user's server; but only below its path, and
    /// there no other server can lead it.
    pub path: String,
    /// What the browser keeps: other random bits, which open nothing without the path.
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
    let asked = asked(request, secrets, is_file);
    // A link on another site may lead to the page: the page itself shows nothing of the agents.
    if asked.route != Ok(Route::Page) {
        let own = |site: &&[u8]| matches!(*site, b"same-origin" | b"none");
        if !request.fetch_sites.iter().all(own) {
            return Err(Refusal::Site);
        }
    }
    let port = port_of(host);
    let has_key = match asked.key {
        Key::Token => true,
        Key::Cookie => has_cookie(&request.cookies, &cookie_name(port), &secrets.cookie),
        Key::None => false,
    };
    if !has_key {
        return Err(Refusal::Key);
    }
    // Only who has a key learns which paths there are.
    let route = asked.route?;
    let is_first = asked.key == Key::Token && route == Route::Page;
    Ok(Verdict::Serve { route, cookie_of: is_first.then_some(port) })
}

/// By what a request may be served.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    /// It has the token.
    Token,
    /// It knows the path of the page, and needs the cookie.
    Cookie,
    None,
}

struct Asked<'a> {
    route: Result<Route<'a>, Refusal>,
    key: Key,
}

/// Finds what a request asks for. The path is compared as it was sent: whatever would have to be
/// made simpler first, as `//`, `/x/..` and `%65`, means nothing.
fn asked<'a>(
    request: &Request<'a>,
    secrets: &Secrets,
    is_file: impl Fn(&str) -> bool,
) -> Asked<'a> {
    let by_token = match request.path {
        "/" => Some(Route::Page),
        "/overview.json" => Some(Route::Overview),
        _ => None,
    };
    if let Some(route) = by_token {
        let token = request.query.and_then(|query| query.strip_prefix("t="));
        let is_right = token.is_some_and(|token| is_same(token, &secrets.token));
        return Asked { route: Ok(route), key: if is_right { Key::Token } else { Key::None } };
    }
    let below = request.path.strip_prefix('/').and_then(|path| path.split_once('/'));
    let Some((_, name)) = below.filter(|(path, _)| is_same(path, &secrets.path)) else {
        return Asked { route: Err(Refusal::Path), key: Key::None };
    };
    let route = match name {
        _ if request.query.is_some() => Err(Refusal::Path),
        "" => Ok(Route::Page),
        "events" => Ok(Route::Events),
        "overview.json" => Ok(Route::Overview),
        name if is_file(name) => Ok(Route::File(name)),
        _ => Err(Refusal::Path),
    };
    Asked { route, key: Key::Cookie }
}

/// Returns the name of the cookie of a page that the browser calls by a port.
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

    fn secrets(cookie: &str) -> Secrets {
        Secrets { token: TOKEN.to_owned(), path: "p4th".to_owned(), cookie: cookie.to_owned() }
    }

    fn good() -> Request<'static> {
        Request {
            method: "GET",
            is_path: true,
            path: "/p4th/events",
            hosts: vec![b"127.0.0.1:8080"],
            cookies: vec![COOKIE],
            ..Request::default()
        }
    }

    fn judged(request: &Request<'static>) -> Result<Route<'static>, u16> {
        let hosts = ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "localhost:9000", "box.lan"];
        let hosts = hosts.map(str::to_owned);
        let secrets = secrets("fedcba9876543210");
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
            ("/p4th/", Route::Page),
            ("/p4th/events", Route::Events),
            ("/p4th/overview.json", Route::Overview),
            ("/p4th/app.js", Route::File("app.js")),
        ] {
            assert_eq!(judged(&Request { path, ..good() }), Ok(route));
            assert_eq!(judged(&Request { method: "HEAD", path, ..good() }), Ok(route));
            assert_eq!(judged(&Request { cookies: Vec::new(), path, ..good() }), Err(403));
            assert_eq!(judged(&with_token(path)), Err(403), "{path}");
        }
        for (path, route) in [("/", Route::Page), ("/overview.json", Route::Overview)] {
            assert_eq!(judged(&with_token(path)), Ok(route));
            // A server on another port may know the cookie, and cannot know the path.
            assert_eq!(judged(&Request { path, ..good() }), Err(403));
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
            for path in ["/p4th/events", "/p4th/overview.json", "/p4th/app.js"] {
                let request = Request { path, fetch_sites: fetch_sites.clone(), ..good() };
                assert_eq!(judged(&request).is_ok(), own, "{path} {site:?}");
            }
            // A link leads to it; its policy and the cookie's keep it out of frames.
            let page = Request { fetch_sites: fetch_sites.clone(), ..with_token("/") };
            assert_eq!(judged(&page), Ok(Route::Page));
            let page = Request { path: "/p4th/", fetch_sites, ..good() };
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
            "/p4th/x/../events",
            "/p4th/./events",
            "/p4th//events",
            "/p4th/events/",
            "/p4th/%65vents",
            "/p4th/EVENTS",
            "/p4th/app.js/",
            "/p4th/../app.js",
            "/p4th/index.html",
            "/p4th/events;x",
            "/p4th/\\events",
        ] {
            assert_eq!(judged(&Request { path, ..good() }), Err(404), "{path}");
            // Without a key, all paths look alike.
            let stranger = Request { path, cookies: Vec::new(), ..good() };
            assert_eq!(judged(&stranger), Err(403), "{path}");
        }
        for path in [
            "",
            "*",
            "//",
            "/events",
            "/app.js",
            "//p4th/events",
            "/x/../p4th/events",
            "p4th/",
            "/p4th",
            "/P4TH/",
            "/p4th%2f",
            "/p4t/events",
            "/p4thh/events",
            "/./p4th/",
        ] {
            assert_eq!(judged(&Request { path, ..good() }), Err(403), "{path}");
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
        let secrets = secrets("c");
        for (host, port) in [("localhost:9000", 9000), ("box.lan", 80), ("[::1]", 80)] {
            let request = Request { hosts: vec![host.as_bytes()], ..with_token("/") };
            let verdict = judge_request(&request, &[host.to_owned()], &secrets, |_| false);
            let wanted = Verdict::Serve { route: Route::Page, cookie_of: Some(port) };
            assert_eq!(verdict, wanted, "{host}");
        }
        // With the cookie alone there is nothing to give.
        let by_cookie = Request { path: "/p4th/", cookies: vec![b"zeta-8080=c"], ..good() };
        let hosts = ["127.0.0.1:8080".to_owned()];
        let verdict = judge_request(&by_cookie, &hosts, &secrets, |_| false);
        assert_eq!(verdict, Verdict::Serve { route: Route::Page, cookie_of: None });
    }

    #[test]
    fn a_page_without_a_secret_is_closed() {
        let none = String::new;
        let secrets = Secrets { token: none(), path: none(), cookie: none() };
        let hosts = ["127.0.0.1:8080".to_owned()];
        let empty = Request { query: Some("t="), cookies: vec![b"zeta-8080="], ..with_token("/") };
        for path in ["/", "//", "//events"] {
            let verdict =
                judge_request(&Request { path, ..empty.clone() }, &hosts, &secrets, |_| true);
            assert_eq!(verdict, Verdict::Refuse(Refusal::Key), "{path}");
        }
    }
}
