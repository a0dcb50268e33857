//! Clients that want to harm: too many, too slow, too long, never reading.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Answer, Server, read_all};
use crate::support::{LIMIT, Sandbox, can, skip, test_name, wait_for};

/// The memory of a process, in KiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Whether the server closed a connection: it has an end now, and did not before.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0; 4096]);
    stream.set_nonblocking(false).unwrap();
    match read {
        Ok(len) => len == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

#[test]
fn idle_connections_keep_nobody_out() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let cookie = server.cookie();
    let mut page = server.events(&cookie);
    page.next().unwrap();
    let _idle: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    for _ in 0..5 {
        assert_eq!(server.ask("GET", &server.at("app.js"), &cookie).status, 200);
    }
    assert!(descriptors(server.pid()) < 100, "{}", descriptors(server.pid()));
    // The page of the person was not what had to go.
    sandbox.ok(&["heartbeat", "--as", "ann"]);
    page.until(|event| event.has_agent("ann", ""));
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let mut silent: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    let mut slow = server.connect();
    let cookie = server.cookie();
    let started = Instant::now();
    let head = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nX: ", server.port);
    slow.write_all(head.as_bytes()).unwrap();
    // One character a second would last for ever.
    while slow.write_all(b"x").is_ok() && !is_closed(&mut slow) {
        assert!(started.elapsed() < LIMIT + Duration::from_secs(10), "it is open after all");
        assert_eq!(server.ask("GET", &server.at("app.js"), &cookie).status, 200);
        std::thread::sleep(Duration::from_millis(500));
    }
    wait_for("all are closed", || silent.iter_mut().all(is_closed));
}

#[test]
fn a_long_head_is_refused_before_it_is_kept() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let before = memory(server.pid());
    let begin = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n", server.port);
    let mut many = begin.clone();
    for number in 0..60_000 {
        write!(many, "X-{number}: y\r\n").unwrap();
    }
    for request in [
        format!("{begin}X: {}\r\n\r\n", "y".repeat(1 << 20)),
        format!("{begin}{}: y\r\n\r\n", "X".repeat(1 << 20)),
        format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(1 << 20)),
        format!("{begin}Cookie: {}\r\n\r\n", "zeta-1=2; ".repeat(100_000)),
        "y".repeat(1 << 20),
        many,
    ] {
        let said = server.raw(request.as_bytes());
        let begin = &request[..40];
        if !said.is_empty() {
            let status = Answer::of(&said).status;
            assert!(matches!(status, 400 | 414 | 431), "{begin:?}: {said}");
        }
    }
    let grown = memory(server.pid()).saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB");
    server.cookie();
}

#[test]
fn a_thousand_visits_leave_nothing_behind() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["heartbeat", "--as", "ann"]);
    let server = Server::start(&sandbox, &[]);
    let cookie = server.cookie();
    let visit = || {
        let mut page = server.events(&cookie);
        assert_eq!(page.next().unwrap().name, "overview");
    };
    (0..100).for_each(|_| visit());
    let before = (memory(server.pid()), descriptors(server.pid()));
    (0..1000).for_each(|_| visit());
    wait_for("all are closed", || descriptors(server.pid()) <= before.1);
    let grown = memory(server.pid()).saturating_sub(before.0);
    assert!(grown < 2 * 1024, "{grown} KiB after 1000 visits");
}

#[test]
fn a_client_that_never_reads_stops_nobody_and_is_cut_off() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["heartbeat", "--as", "a0"]);
    let record = sandbox.node().join("persona-a0.state");
    let text = std::fs::read_to_string(&record).unwrap();
    // Agents whose records are long: a change of all of them is more than a connection takes.
    let write = |round: usize| {
        for number in 0..150 {
            let task = format!("task: \"{round} {}\"\nend: true", "x".repeat(3000));
            let agent = text.replace("a0", &format!("a{number}")).replacen("end: true", &task, 1);
            std::fs::write(sandbox.node().join(".temp-of-a-test"), agent).unwrap();
            let name = sandbox.node().join(format!("persona-a{number}.state"));
            std::fs::rename(sandbox.node().join(".temp-of-a-test"), name).unwrap();
        }
    };
    write(0);
    let server = Server::start(&sandbox, &[]);
    let cookie = server.cookie();
    let mut page = server.events(&cookie);
    assert_eq!(page.next().unwrap().name, "overview");
    let mut deaf: Vec<TcpStream> = (0..8).map(|_| server.connect()).collect();
    for stream in &mut deaf {
        let host = format!("127.0.0.1:{}", server.port);
        let target = server.at("events");
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}\r\n{cookie}\r\n").unwrap();
    }
    let before = memory(server.pid());
    let (started, mut round, mut most) = (Instant::now(), 0, 0);
    let is_cut = |stream: &TcpStream| {
        // Nothing was read, so only the state of the socket tells.
        stream.take_error().unwrap().is_some() || stream.write_all_one().is_err()
    };
    while !deaf.iter().all(is_cut) {
        assert!(started.elapsed() < Duration::from_secs(90), "they are open after all");
        round += 1;
        write(round);
        let mark = format!("\"{round} x");
        page.until(|event| event.has_agent("a149", &mark));
        most = most.max(memory(server.pid()));
    }
    let grown = most.saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB for eight clients that never read");
    drop(deaf);
}

trait WriteOne {
    fn write_all_one(&self) -> std::io::Result<()>;
}

impl WriteOne for TcpStream {
    /// Sends one byte, which a server that streams does not look at.
    fn write_all_one(&self) -> std::io::Result<()> {
        let mut stream = self;
        stream.write_all(b"x")
    }
}

#[test]
fn too_few_descriptors_are_no_end() {
    let sandbox = Sandbox::new();
    if !can("prlimit", &["--version"]) {
        return skip(test_name!(), "needs prlimit");
    }
    let program = sandbox.cmd(&[]).get_program().to_owned().into_string().unwrap();
    let args = ["--nofile=30:30", &program, "web", "--json"];
    let server = Server::run(&mut sandbox.other("prlimit", &args));
    let cookie = server.cookie();
    let crowd: Vec<TcpStream> = (0..60).map(|_| server.connect()).collect();
    std::thread::sleep(Duration::from_millis(300));
    drop(crowd);
    assert_eq!(server.ask("GET", &server.at("app.js"), &cookie).status, 200);
    let mut page = server.events(&cookie);
    assert_eq!(page.next().unwrap().name, "overview");
    assert_eq!(server.end().status, 0);
}

#[test]
fn all_tabs_of_a_person_are_too_many_and_are_told_so() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let cookie = server.cookie();
    let mut tabs: Vec<_> = (0..64).map(|_| server.events(&cookie)).collect();
    let said = read_all(&mut server.connect());
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("close some tabs"), "{said}");
    tabs.pop();
    wait_for("a place", || server.try_status(&cookie) == Some(200));
    for tab in &mut tabs {
        assert_eq!(tab.next().unwrap().name, "overview");
    }
}

impl Server {
    /// The status of an answer, if there is one.
    fn try_status(&self, cookie: &str) -> Option<u16> {
        let host = format!("127.0.0.1:{}", self.port);
        let close = "Connection: close\r\n";
        let target = self.at("app.js");
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{close}{cookie}\r\n");
        self.raw(request.as_bytes()).split(' ').nth(1)?.parse().ok()
    }
}
