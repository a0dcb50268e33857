//! What agents write is never markup, the token stays secret, and another site sees nothing.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use super::live::wait_row;
use super::{Shown, shown_of, shown_with};
use crate::support::{Sandbox, test_name};

const MARKUP: &str = "<img src=x onerror=alert(1)><script>alert(2)</script><b>bold</b>";

#[test]
fn markup_of_agents_is_shown_as_text() {
    let sandbox = Sandbox::new();
    sandbox.acquire(&["deploy", "--as", "ann", "--purpose", MARKUP]);
    sandbox.ok(&["persona", "set", "ann", "--task", MARKUP]);
    sandbox.ok(&["bus", "send", "ann", MARKUP, "--as", "bob"]);
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    for list in ["agents", "leases", "messages"] {
        wait_row(&mut page, list, &["<img src=x onerror=alert(1)>"]);
    }
    page.press("2");
    page.press("Enter");
    page.until("document.querySelector('#details').innerText.includes('<script>alert(2)')");
    page.press("Escape");
    page.press("3");
    page.press("Enter");
    page.until("document.querySelector('#details').innerText.includes('<b>bold</b>')");
    let elements = "document.querySelectorAll(`main img, main script, dialog img, dialog script,
                     .row > .does b, .row > .text b`).length";
    assert_eq!(page.eval(elements), 0);
    page.end_clean();
}

#[test]
fn the_token_leaves_the_address_and_a_reload_needs_none() {
    let sandbox = Sandbox::new();
    sandbox.acquire(&["deploy", "--as", "ann"]);
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    let token = page.web.url.split("t=").nth(1).unwrap().to_owned();
    let holds_none = |page: &mut Shown| {
        let places = "[location.href, document.referrer, document.cookie,
            JSON.stringify({ ...localStorage }), document.documentElement.outerHTML].join(' ')";
        let places = page.text(places);
        assert!(!places.contains(&token), "{places}");
        let path = page.text("location.href").replace(&format!("{}/", page.web.origin()), "");
        assert!(path.len() == 33 && path.ends_with('/'), "{path}");
    };
    holds_none(&mut page);
    page.eval("location.reload()");
    page.until("performance.getEntriesByType('navigation')[0].type === 'reload'");
    page.until("document.body.dataset.link === 'live'");
    wait_row(&mut page, "leases", &["deploy", "ann"]);
    holds_none(&mut page);
    let history = page.browser.call("Page.getNavigationHistory", &serde_json::json!({})).unwrap();
    let entries = history["entries"].as_array().unwrap();
    assert!(entries.iter().all(|entry| !entry["url"].to_string().contains(&token)), "{history}");
    page.end_clean();
}

#[test]
fn a_host_that_leads_here_by_its_name_alone_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.acquire(&["secret-lease", "--as", "ann"]);
    let zeta = sandbox.cmd(&["web", "--json"]);
    let rebound = ["--host-resolver-rules=MAP evil.example 127.0.0.1"];
    let Some(mut page) = shown_with(test_name!(), zeta, &rebound) else { return };
    let token = page.web.url.split("t=").nth(1).unwrap().to_owned();
    for path in [format!("/?t={token}"), "/".to_owned(), "/overview.json".to_owned()] {
        page.browser.take_events("Network.responseReceived");
        let url = format!("http://evil.example:{}{path}", page.web.port);
        // A browser may show a page of its own in place of an error without a text.
        let _ = page.browser.open(&url);
        let mut answers = page.browser.take_events("Network.responseReceived");
        // The icon of the page before may come late.
        let of_rebound = |event: &serde_json::Value| {
            event["params"]["response"]["url"].as_str().unwrap().starts_with("http://evil.")
        };
        answers.retain(of_rebound);
        let status = |event: &serde_json::Value| event["params"]["response"]["status"].clone();
        assert!(!answers.is_empty(), "{url}");
        assert!(answers.iter().all(|event| status(event) == 421), "{url}: {answers:?}");
        let text = page.text("document.documentElement.outerHTML");
        assert!(!text.contains("secret-lease"), "{text}");
    }
}

#[test]
fn a_page_of_another_site_reads_nothing() {
    let sandbox = Sandbox::new();
    sandbox.acquire(&["secret-lease", "--as", "ann"]);
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    // It knows even the path below which the cookie counts.
    let (place, url) = (page.text("location.href"), page.web.url.clone());
    // A document of no site at all: each of its requests crosses origins.
    page.browser.open("data:text/html,<title>other</title>").unwrap();
    let read = |what: &str| {
        format!(
            "fetch('{what}', {{ credentials: 'include' }}).then((answer) => answer.text())
             .then((text) => text.includes('secret-lease') ? 'READ' : 'nothing', () => 'nothing')"
        )
    };
    for what in [format!("{place}overview.json"), url.clone(), format!("{place}events")] {
        assert_eq!(page.text(&read(&what)), "nothing", "{what}");
    }
    let framed = format!(
        "new Promise((done) => {{
            const frame = document.body.appendChild(document.createElement('iframe'));
            frame.onload = () => {{
                let text = '';
                try {{ text = frame.contentDocument?.body.innerText ?? ''; }} catch {{ }}
                done(text.includes('zeta') ? 'READ' : 'nothing');
            }};
            frame.src = '{url}';
        }})"
    );
    assert_eq!(page.text(&framed), "nothing");
}

#[test]
fn a_server_on_another_port_is_sent_no_key() {
    let sandbox = Sandbox::new();
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    // That of another user, say. A browser tells hosts apart, and not their ports.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let (send, heads) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in other.incoming().flatten() {
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or(0);
            let _ = send.send(String::from_utf8_lossy(&head[..read]).into_owned());
            let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\
                          Set-Cookie: own=x; Path=/\r\n\r\n<!doctype html><title>other</title>";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    for _ in 0..2 {
        page.browser.open(&format!("http://127.0.0.1:{port}/")).unwrap();
    }
    page.eval("fetch('/events').then((answer) => answer.text())");
    let heads: Vec<String> = heads.try_iter().collect();
    assert!(heads.iter().any(|head| head.contains("own=x")), "cookies are sent: {heads:?}");
    assert!(heads.iter().all(|head| !head.contains("zeta-")), "{heads:?}");
}
