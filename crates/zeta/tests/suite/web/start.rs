//! How the page is started and ended: where it listens, what it prints, what it keeps for itself.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Answer, Server, read_all};
use rustix::process::Signal;

use crate::support::{
    LIMIT, Sandbox, finish, is_root, signal, skip, test_name, wait, wait_for, with_usual_signals,
};

#[test]
fn the_address_is_one_line_and_loopback() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.cmd(&["web"]);
    let piped = with_usual_signals(&mut command).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        assert_eq!(child.stdout.as_mut().unwrap().read(&mut byte).unwrap(), 1);
        line.push(byte[0]);
    }
    let line = String::from_utf8(line).unwrap();
    let (address, token) = line.trim_end().split_once("/?t=").unwrap();
    assert!(address.starts_with("http://127.0.0.1:"), "{line}");
    assert!(token.len() == 32 && token.chars().all(|c| c.is_ascii_hexdigit()), "{line}");
    signal(child.id(), Signal::INT);
    let out = finish(child, Instant::now(), LIMIT);
    assert_eq!((out.status, out.out.as_str()), (0, ""), "{out:?}");
    assert!(!out.err.contains(token), "{out:?}");
}

#[test]
fn two_pages_have_two_tokens() {
    let sandbox = Sandbox::new();
    let (one, two) = (Server::start(&sandbox, &[]), Server::start(&sandbox, &[]));
    assert!(one.port != two.port && one.token != two.token);
    let cookie = one.cookie();
    assert_eq!(two.ask("GET", &two.at(""), &cookie).status, 403);
    assert_eq!(two.ask("GET", &one.at(""), &cookie).status, 403);
    let renamed = cookie.replace(&one.port.to_string(), &two.port.to_string());
    assert_eq!(two.ask("GET", &two.at(""), &renamed).status, 403);
}

#[test]
fn other_machines_reach_it_only_if_that_is_said() {
    let sandbox = Sandbox::new();
    for address in ["0.0.0.0", "::", "192.0.2.7"] {
        let out = sandbox.refused(&["web", "--address", address], 3);
        assert!(out.err.contains("other machines reach") && out.err.contains("ssh -L"), "{out:?}");
    }
    let out = sandbox.refused(&["web", "--address", "0.0.0.0", "--allow-remote"], 3);
    assert!(out.err.contains("--host"), "{out:?}");
    // An address for documentation: no machine has it.
    let out = sandbox.refused(&["web", "--address", "192.0.2.7", "--allow-remote"], 1);
    assert!(out.err.contains("cannot listen on 192.0.2.7:0"), "{out:?}");
    for wrong in ["nosuch", "127.0.0.1:80", ""] {
        sandbox.refused(&["web", "--address", wrong], 2);
    }
    for wrong in ["http://box.lan", "Box.lan", "box.lan/", "a b", ""] {
        let out = sandbox.refused(&["web", "--host", wrong], 2);
        assert!(out.err.contains("is not valid"), "{out:?}");
    }
    let remote = ["--address", "0.0.0.0", "--allow-remote", "--host", "box.lan:8080"];
    let server = Server::start(&sandbox, &remote);
    let page = |host: &str| server.ask_as("GET", &server.first(), host, "").status;
    assert_eq!(page("box.lan:8080"), 200);
    assert_eq!(page(&format!("127.0.0.1:{}", server.port)), 200);
    assert_eq!(page(&format!("0.0.0.0:{}", server.port)), 421);
    let out = server.end();
    assert!(out.status == 0 && out.err.contains("not encrypted"), "{out:?}");
}

#[test]
fn it_listens_on_the_other_loopback_if_there_is_one() {
    if TcpListener::bind("[::1]:0").is_err() {
        return skip(test_name!(), "this machine has no IPv6");
    }
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &["--address", "::1"]);
    assert!(server.url.starts_with(&format!("http://[::1]:{}/?t=", server.port)), "{}", server.url);
    let mut stream = TcpStream::connect(("::1", server.port)).unwrap();
    let host = format!("[::1]:{}", server.port);
    let close = "Connection: close\r\n\r\n";
    write!(stream, "GET {} HTTP/1.1\r\nHost: {host}\r\n{close}", server.first()).unwrap();
    assert_eq!(Answer::of(&read_all(&mut stream)).status, 200);
    assert_eq!(server.end().status, 0);
}

#[test]
fn a_tunnel_calls_it_by_the_name_that_was_given() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &["--host", "localhost:9000", "--host", "box.lan"]);
    for (host, name) in [("localhost:9000", "zeta-9000"), ("box.lan", "zeta-80")] {
        let page = server.ask_as("GET", &server.first(), host, "");
        let cookie = page.header("set-cookie").unwrap_or_default().to_owned();
        assert!(page.status == 200 && cookie.starts_with(&format!("{name}=")), "{page:?}");
        let origin = format!("Origin: http://{host}\r\nCookie: {cookie}\r\n");
        assert_eq!(server.ask_as("GET", &server.at("overview.json"), host, &origin).status, 200);
    }
    assert_eq!(server.ask_as("GET", &server.first(), "localhost:9001", "").status, 421);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let sandbox = Sandbox::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let out = sandbox.refused(&["web", "--port", &port], 1);
    assert!(out.err.contains(&format!("127.0.0.1:{port}")), "{out:?}");
    assert!(out.err.contains("leave --port away"), "{out:?}");
    drop(taken);
    let server = Server::start(&sandbox, &["--port", &port]);
    assert_eq!(server.port.to_string(), port);
    let first = server.ask("GET", &server.first(), "");
    assert_eq!(first.status, 200);
    // Right after its end, with connections of before, the port serves again.
    let (old, page) = (server.cookie(), server.at(""));
    assert_eq!(server.end().status, 0);
    let again = Server::start(&sandbox, &["--port", &port]);
    assert_eq!(again.ask("GET", &page, &old).status, 403);
    sandbox.refused(&["web", "--port", "65536"], 2);
}

#[test]
fn the_token_stands_in_no_list_of_processes() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let read = |name: &str| std::fs::read(format!("/proc/{}/{name}", server.pid())).unwrap();
    for name in ["cmdline", "environ", "comm"] {
        let text = String::from_utf8_lossy(&read(name)).into_owned();
        assert!(!text.contains(&server.token), "{name}: {text}");
    }
    server.cookie();
    let token = server.token.clone();
    let out = server.end();
    assert!(!out.err.contains(&token) && out.out.is_empty(), "{out:?}");
}

/// A stand-in of the program that opens a browser: it writes its arguments, and what the file says.
const OPENER: &str = "#!/bin/sh\necho \"$@\" > \"$HOME/args\"\nstat -c %a \"$1\" > \"$HOME/mode\"\n\
                      grep SigBlk /proc/$$/status > \"$HOME/mask\"\n\
                      cp \"$1\" \"$HOME/file.new\" && mv \"$HOME/file.new\" \"$HOME/file\"\n\
                      exec sleep 2\n";

#[test]
fn the_browser_gets_a_private_file_and_no_argument_with_the_token() {
    let sandbox = Sandbox::new();
    let bin = sandbox.dir.join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("xdg-open"), OPENER).unwrap();
    std::fs::set_permissions(bin.join("xdg-open"), PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let tmp = sandbox.dir.join("tmp");
    std::fs::create_dir(&tmp).unwrap();
    let mut command = sandbox.cmd(&["web", "--json", "--open"]);
    command.env("PATH", path).env("DISPLAY", ":7").env("TMPDIR", &tmp);
    let server = Server::run(&mut command);
    if is_root() {
        let out = server.end();
        assert!(out.err.contains("would run as root"), "{out:?}");
        assert!(!sandbox.dir.join("args").exists());
        return skip(test_name!(), "what is opened: no browser is opened as root");
    }
    wait_for("the browser", || sandbox.dir.join("file").exists());
    let read = |name: &str| std::fs::read_to_string(sandbox.dir.join(name)).unwrap();
    assert!(!read("args").contains(&server.token), "{}", read("args"));
    assert_eq!(read("mode"), "600\n");
    assert!(read("mask").ends_with("\t0000000000000000\n"), "{}", read("mask"));
    assert!(read("file").contains(&format!("url={}", server.url)), "{}", read("file"));
    let count = || std::fs::read_dir(&tmp).unwrap().count();
    assert_eq!(count(), 1);
    server.cookie();
    assert_eq!(count(), 0, "the file goes when the browser has come");
    assert_eq!(server.end().status, 0);
}

#[test]
fn without_a_screen_the_page_is_served_all_the_same() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.cmd(&["web", "--json", "--open"]);
    command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    let server = Server::run(&mut command);
    server.cookie();
    let out = server.end();
    let why = ["there is no screen", "would run as root"];
    assert!(out.status == 0 && why.iter().any(|why| out.err.contains(why)), "{out:?}");
}

#[test]
fn it_ends_by_each_signal_in_time_also_with_open_streams() {
    for end in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let sandbox = Sandbox::new();
        let server = Server::start(&sandbox, &[]);
        let cookie = server.cookie();
        let mut streams: Vec<_> = (0..3).map(|_| server.events(&cookie)).collect();
        for stream in &mut streams {
            assert_eq!(stream.next().unwrap().name, "overview");
        }
        // One that never reads, and one that is in the middle of a request.
        let _idle = server.connect();
        let mut server = server;
        let mut child = server.child.take().unwrap();
        let started = Instant::now();
        signal(child.id(), end);
        assert_eq!(wait(&mut child, LIMIT), 0, "{end:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{end:?}: {:?}", started.elapsed());
        for stream in &mut streams {
            while stream.next().is_some() {}
        }
    }
}

#[test]
fn a_signal_that_is_no_end_changes_nothing() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    signal(server.pid(), Signal::USR1);
    signal(server.pid(), Signal::USR2);
    server.cookie();
    assert_eq!(server.end().status, 0);
}
