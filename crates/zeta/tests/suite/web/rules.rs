//! Each rule of what is answered, one by one.

use std::io::Write;

use super::{Answer, Server, read_all};
use crate::support::{Sandbox, can, is_root, run, skip, test_name};

/// Debian's own: another one on the path may be in the home of root.
const PYTHON: &str = "/usr/bin/python3";
/// The page and its files.
const NAMES: [&str; 4] = ["", "app.js", "overview.json", "events"];

#[test]
fn the_token_opens_the_page_and_its_cookie_the_rest() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let page = server.ask("GET", &server.first(), "");
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.starts_with("<!doctype html>"), "{page:?}");
    let cookie = page.header("set-cookie").unwrap();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    let path = attributes.strip_prefix("HttpOnly; SameSite=Strict; Path=").unwrap();
    assert!(path.len() == 34 && path.starts_with('/') && path.ends_with('/'), "{attributes}");
    assert!(page.body.contains(&format!("src=\"{path}app.js\"")), "{page:?}");
    let (name, value) = pair.split_once('=').unwrap();
    assert_eq!(name, format!("zeta-{}", server.port));
    assert!(value.len() == 32 && value != server.token, "{cookie}");
    assert!(!page.body.contains(&server.token) && !page.body.contains(value), "{page:?}");
    let header = format!("Cookie: a=b; {pair}\r\n");
    for path in ["", "app.js", "style.css", "icon.svg", "overview.json"] {
        let answer = server.ask("GET", &server.at(path), &header);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        // It has the cookie already.
        assert_eq!(answer.header("set-cookie"), None, "{path}");
    }
    let once = server.ask("GET", &format!("/overview.json?t={}", server.token), "");
    assert!(once.body.contains("\"agents\":["), "{once:?}");
}

#[test]
fn each_answer_has_the_rules_of_the_page() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let cookie = server.cookie();
    let answers = [
        server.ask("GET", &server.first(), ""),
        server.ask("GET", &server.at("app.js"), &cookie),
        server.ask("GET", &server.at("overview.json"), &cookie),
        server.ask("HEAD", &server.at("events"), &cookie),
        server.ask("GET", &server.at("nosuch"), &cookie),
        server.ask("GET", "/", ""),
        server.ask("POST", &server.at(""), &cookie),
        server.ask_as("GET", "/", "evil.example", ""),
    ];
    let mut nonces = Vec::new();
    for answer in &answers {
        let is = |name: &str, value: &str| {
            assert_eq!(answer.header(name), Some(value), "{name}: {answer:?}");
        };
        is("referrer-policy", "no-referrer");
        is("cache-control", "no-store");
        is("x-content-type-options", "nosniff");
        is("x-frame-options", "DENY");
        is("cross-origin-resource-policy", "same-origin");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'nonce-"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        for never in ["access-control-allow-origin", "server", "location"] {
            assert_eq!(answer.header(never), None, "{answer:?}");
        }
        nonces.push(policy.split('\'').nth(3).unwrap().strip_prefix("nonce-").unwrap());
    }
    assert!(answers[0].body.contains(&format!("nonce=\"{}\"", nonces[0])));
    nonces.sort_unstable();
    nonces.dedup();
    assert_eq!(nonces.len(), answers.len(), "a nonce is used once");
}

#[test]
fn without_a_key_nothing_is_told() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let cookie = server.cookie();
    let wrong_token = format!("/?t={}", "0".repeat(32));
    let swapped = format!("Cookie: zeta-{}={}\r\n", server.port, server.token);
    let other_port = cookie.replace(&format!("zeta-{}", server.port), "zeta-1");
    let mut told = Vec::new();
    let at = |name: &str| server.at(name);
    let with_token = |target: &str| format!("{target}?t={}", server.token);
    let bearer = format!("Authorization: Bearer {}\r\n", server.token);
    for (target, headers) in [
        ("/".to_owned(), ""),
        (wrong_token, ""),
        (at(""), ""),
        (at("app.js"), ""),
        (at("events"), ""),
        (at("overview.json"), ""),
        (at("nosuch"), ""),
        (at("events"), swapped.as_str()),
        (at("events"), &other_port),
        (at("events"), &bearer),
        (with_token(&at("events")), ""),
        (with_token(&at("app.js")), ""),
        // What another server of this host may learn: cookies are sent to all its ports.
        ("/".to_owned(), &cookie),
        ("/events".to_owned(), &cookie),
        ("/overview.json".to_owned(), &cookie),
        (format!("/{}/events", "0".repeat(32)), &cookie),
        (at("").to_uppercase(), &cookie),
        (at("").trim_end_matches('/').to_owned(), &cookie),
    ] {
        let answer = server.ask("GET", &target, headers);
        assert_eq!(answer.status, 403, "{target} {headers}: {answer:?}");
        assert_eq!(answer.header("set-cookie"), None);
        told.push(answer.body);
    }
    told.dedup();
    assert_eq!(told.len(), 1, "what there is cannot be told from what there is not: {told:?}");
    assert!(told[0].contains("zeta web printed"), "{told:?}");
}

#[test]
fn a_rebound_name_gets_nothing_whatever_it_knows() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let (port, cookie) = (server.port, server.cookie());
    for host in [
        "evil.example",
        &format!("evil.example:{port}"),
        "127.0.0.1",
        "localhost",
        &format!("127.0.0.1:{}", port ^ 1),
        &format!("127.0.0.1.evil.example:{port}"),
        &format!("LOCALHOST:{port}"),
        &format!("0.0.0.0:{port}"),
        &format!("127.1:{port}"),
        &format!("user@127.0.0.1:{port}"),
        "",
    ] {
        for target in NAMES.map(|name| server.at(name)).into_iter().chain([server.first()]) {
            let answer = server.ask_as("GET", &target, host, &cookie);
            assert_eq!(answer.status, 421, "{host:?} {target}: {answer:?}");
            assert!(!answer.body.contains('<') && !answer.body.contains('{'), "{answer:?}");
        }
    }
    for host in ["127.0.0.1", "localhost", "[::1]"] {
        let answer = server.ask_as("GET", &server.first(), &format!("{host}:{port}"), "");
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
    }
    let twice = format!("Host: 127.0.0.1:{port}\r\n{cookie}");
    assert_eq!(server.ask("GET", &server.at(""), &twice).status, 400);
    let evil = format!("Host: evil.example\r\n{cookie}");
    assert_eq!(server.ask("GET", &server.at(""), &evil).status, 400);
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        let page = server.at("");
        let none = server.raw(format!("GET {page} {version}\r\n{cookie}\r\n").as_bytes());
        assert_eq!(Answer::of(&none).status, 421, "{none}");
    }
}

#[test]
fn another_site_gets_nothing_of_what_agents_do() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let (port, cookie) = (server.port, server.cookie());
    for line in [
        "Origin: http://evil.example".to_owned(),
        "Origin: null".to_owned(),
        format!("Origin: http://localhost:{port}"),
        format!("Origin: http://127.0.0.1:{}", port ^ 1),
        "Sec-Fetch-Site: cross-site".to_owned(),
        "Sec-Fetch-Site: same-site".to_owned(),
        format!("Origin: http://127.0.0.1:{port}\r\nOrigin: null"),
        "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site".to_owned(),
    ] {
        for path in ["app.js", "overview.json", "events"] {
            let answer = server.ask("GET", &server.at(path), &format!("{line}\r\n{cookie}"));
            assert_eq!(answer.status, 403, "{line} {path}: {answer:?}");
        }
    }
    let own = format!("Origin: http://127.0.0.1:{port}\r\nSec-Fetch-Site: same-origin\r\n{cookie}");
    assert_eq!(server.ask("GET", &server.at("overview.json"), &own).status, 200);
    // A link in a mail leads to the page itself.
    let link = server.ask("GET", &server.first(), "Sec-Fetch-Site: cross-site\r\n");
    assert_eq!(link.status, 200, "{link:?}");
}

#[test]
fn the_page_can_only_be_read() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let cookie = server.cookie();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get"] {
        for path in NAMES {
            let answer = server.ask(method, &server.at(path), &cookie);
            assert_eq!(answer.status, 405, "{method} {path}: {answer:?}");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"));
        }
    }
    let preflight = "Origin: http://evil.example\r\nAccess-Control-Request-Method: GET\r\n\
                     Access-Control-Request-Private-Network: true\r\n";
    let answer = server.ask("OPTIONS", &server.at("events"), preflight);
    assert!(!answer.head.to_lowercase().contains("access-control"), "{answer:?}");
    for path in NAMES {
        let head = server.ask("HEAD", &server.at(path), &cookie);
        assert!(head.status == 200 && head.body.is_empty(), "{path}: {head:?}");
    }
}

#[test]
fn a_target_means_what_it_says_or_nothing() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let (port, cookie) = (server.port, server.cookie());
    for name in [
        "x/../events",
        "./events",
        "/events",
        "events/",
        "%65vents",
        "EVENTS",
        "../../etc",
        "..%2fevents",
        "index.html",
        "page/index.html",
        "app.js/..",
        "events?x=1",
        "?x",
        "app.js?v=1",
        "favicon.ico",
    ] {
        let answer = server.ask("GET", &server.at(name), &cookie);
        assert_eq!(answer.status, 404, "{name}: {answer:?}");
    }
    for target in ["/favicon.ico", "/robots.txt", "//", "/x/..", "/%2e%2e/"] {
        let answer = server.ask("GET", target, &cookie);
        assert_eq!(answer.status, 403, "{target}: {answer:?}");
    }
    let page = server.at("");
    for target in [format!("http://127.0.0.1:{port}{page}"), format!("http://evil.example{page}")] {
        let answer = server.ask("GET", &target, &cookie);
        assert_eq!(answer.status, 400, "{target}: {answer:?}");
    }
    let connect = server.ask("CONNECT", "evil.example:80", &cookie);
    assert_eq!(connect.status, 405, "{connect:?}");
    assert_eq!(server.ask("OPTIONS", "*", &cookie).status, 405);
}

#[test]
fn no_second_request_hides_in_the_first() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let (port, cookie) = (server.port, server.cookie());
    let (file, secret) = (server.at("app.js"), server.at("overview.json"));
    let hidden = format!("GET {secret} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{cookie}\r\n");
    let chunked = format!("0\r\n\r\n{hidden}");
    for (lengths, body) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunked.as_str()),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", &chunked),
        ("Transfer-Encoding: chunked\r\n", &chunked),
        ("Transfer-Encoding: xchunked\r\n", &chunked),
        ("Transfer-Encoding : chunked\r\n", &chunked),
        ("Transfer-Encoding:\x0bchunked\r\nContent-Length: 5\r\n", &chunked),
        ("Content-Length: 0\r\nContent-Length: 5\r\n", &hidden),
        ("Content-Length: 5\r\n", &hidden),
        ("Content-Length: 5, 5\r\n", &hidden),
        ("Content-Length: +0\r\n", &hidden),
        ("Content-Length: -1\r\n", &hidden),
        ("Content-Length: 99999999999999999999\r\n", &hidden),
    ] {
        let request =
            format!("GET {file} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{cookie}{lengths}\r\n{body}");
        let said = server.raw(request.as_bytes());
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{lengths}: {said}");
        assert_eq!(Answer::of(&said).status, 400, "{lengths}: {said}");
        assert!(!said.contains("agents"), "{lengths}: {said}");
    }
    // Bare line ends, folded lines and stray characters are no way in.
    for request in [
        format!("GET {file} HTTP/1.1\nHost: 127.0.0.1:{port}\nX: y\n\n"),
        format!("GET {file} HTTP/1.1\r\nHost: evil.example\r\n 127.0.0.1:{port}\r\n{cookie}\r\n"),
        format!("GET {file} HTTP/1.1\r\nHost: 127.0.0.1:{port}\0\r\n{cookie}\r\n"),
        format!("GET /\u{e9} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"),
        format!("GET {file} HTTP/1.1\r\nHost\t: 127.0.0.1:{port}\r\n{cookie}\r\n"),
        format!("GET {file} HTTP/2.0\r\nHost: 127.0.0.1:{port}\r\n{cookie}\r\n"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\0\u{5}hello\r\n\r\n".to_owned(),
    ] {
        let said = server.raw(request.as_bytes());
        assert!(!said.contains(" 200 "), "{request:?}: {said}");
    }
    assert_eq!(server.ask("GET", &server.at("app.js"), &cookie).status, 200);
}

#[test]
fn requests_one_after_the_other_are_answered_in_order() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let (port, cookie) = (server.port, server.cookie());
    let one = |path: &str, more: &str| {
        let target = server.at(path);
        format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{cookie}{more}\r\n")
    };
    let mut stream = server.connect();
    let two = one("app.js", "") + &one("style.css", "Connection: close\r\n");
    stream.write_all(two.as_bytes()).unwrap();
    let said = read_all(&mut stream);
    let (first, second) = (said.find("text/javascript").unwrap(), said.find("text/css").unwrap());
    assert!(first < second, "{said}");
    // What follows a refusal is not looked at.
    let said = server.raw((one("nosuch", "") + &one("app.js", "")).as_bytes());
    assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
}

#[test]
fn another_user_of_the_machine_gets_nothing() {
    if !is_root() || !can("setpriv", &["--version"]) || !can(PYTHON, &["--version"]) {
        return skip(test_name!(), "needs root, setpriv and python3");
    }
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let script = format!(
        "import socket\n\
         for path in ['/', '/events', '/overview.json', '/app.js']:\n\
         \x20   s = socket.create_connection(('127.0.0.1', {port}), 10)\n\
         \x20   s.sendall(f'GET {{path}} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}'.encode())\n\
         \x20   s.sendall(b'\\r\\n\\r\\n')\n\
         \x20   print(s.recv(4096).split()[1].decode())\n\
         def read(name):\n\
         \x20   try: return open(f'/proc/{pid}/{{name}}', 'rb').read()\n\
         \x20   except PermissionError: return b''\n\
         print(b'{token}' in read('cmdline') + read('environ'))\n",
        port = server.port,
        pid = server.pid(),
        token = server.token,
    );
    let id = ["--reuid", "12345", "--regid", "12345", "--clear-groups", PYTHON, "-c", &script];
    let out = run(&mut sandbox.other("setpriv", &id));
    assert_eq!((out.status, out.out.as_str()), (0, "403\n403\n403\n403\nFalse\n"), "{out:?}");
}
