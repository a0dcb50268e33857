//! Requests that lack one thing that is needed, changed at random: none is told anything, and the
//! server goes on.

use std::io::{Read, Write};
use std::time::Duration;

use super::Server;
use crate::support::Sandbox;

const SECRET: &str = "what-an-agent-does";
const REQUESTS: usize = 2_000;

/// What may mean another thing to another reader of a request.
const PIECES: [&str; 22] = [
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    "\0",
    ":",
    "/",
    "..",
    "%2e",
    "%00",
    "?",
    "#",
    ";",
    ",",
    "Host: x\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Content-Length: 10\r\n",
    "HTTP/1.0",
    "GET ",
    "Expect: 100-continue\r\n",
    "Upgrade: h2c\r\nConnection: Upgrade\r\n",
];

fn ask(server: &Server, bytes: &[u8]) -> String {
    let mut stream = server.connect();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    // One that is not closed waits for more; what it said until then counts.
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

fn change(request: &mut Vec<u8>, bases: &[Vec<u8>], rng: &mut fastrand::Rng) {
    let at = rng.usize(..=request.len());
    match rng.u8(..5) {
        0 => drop(request.splice(at..at, PIECES[rng.usize(..PIECES.len())].bytes())),
        1 => drop(request.drain(at..request.len().min(at + rng.usize(1..6)))),
        2 if at < request.len() => request[at] = rng.u8(..),
        3 => drop(request.splice(at..at, bases[rng.usize(..bases.len())].iter().copied())),
        _ => request.insert(at, rng.u8(..)),
    }
}

#[test]
fn a_request_that_lacks_one_thing_is_told_nothing_however_it_is_changed() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["persona", "set", "ann", "--task", SECRET]);
    let server = Server::start(&sandbox, &[]);
    let host = format!("Host: 127.0.0.1:{}\r\n", server.port);
    let (cookie, path) = (server.cookie(), server.at(""));
    let good =
        format!("GET {path}overview.json HTTP/1.1\r\n{host}{cookie}Connection: close\r\n\r\n");
    assert!(ask(&server, good.as_bytes()).contains(SECRET));
    let bases = [
        good.replace(&cookie, &format!("{}x\r\n", &cookie[..cookie.len() - 3])),
        good.replace(&path, &format!("{}x/", &path[..path.len() - 2])),
        good.replace(&host, "Host: evil.example\r\n"),
        good.replace("GET", "POST"),
        good.replace("Cookie", "Kookie"),
        good.replace("Connection: close", "Sec-Fetch-Site: cross-site"),
        good.replace("Connection: close", "Origin: null"),
        format!("GET /?t={}x HTTP/1.1\r\n{host}\r\n", &server.token[1..]),
    ];
    let bases = bases.map(String::into_bytes);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..REQUESTS {
        let mut request = bases[rng.usize(..bases.len())].clone();
        for _ in 0..rng.usize(..4) {
            change(&mut request, &bases, &mut rng);
        }
        request.extend_from_slice(b"\r\n\r\n\r\n");
        let sent = String::from_utf8_lossy(&request);
        // Two halves of different requests may be a good one.
        let is_whole = [&host, &path, cookie.trim_end()].iter().all(|part| sent.contains(*part));
        let said = ask(&server, &request);
        assert!(is_whole || !said.contains(SECRET), "{sent:?}: {said}");
    }
    assert!(ask(&server, good.as_bytes()).contains(SECRET));
    assert_eq!(server.end().status, 0);
}
