//! `zeta web` from outside: the real server, and plain sockets that send what no browser would.

mod events;
mod garbage;
mod hostile;
mod rules;
mod start;

use std::cell::OnceCell;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use rustix::process::Signal;

use crate::support::{LIMIT, Out, Sandbox, finish, signal, with_usual_signals};

/// A server, ended when this is dropped.
pub struct Server {
    child: Option<Child>,
    /// What it printed.
    pub line: String,
    pub url: String,
    pub port: u16,
    pub token: String,
    /// What the first page gives: the header line with the cookie, and the path below which it
    /// counts.
    keys: OnceCell<(String, String)>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Server {
    pub fn start(sandbox: &Sandbox, args: &[&str]) -> Server {
        let all = [&["web", "--json"], args].concat();
        Server::run(&mut sandbox.cmd(&all))
    }

    /// Starts a command that becomes a server with `--json`.
    pub fn run(command: &mut Command) -> Server {
        let command = with_usual_signals(command).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        // Byte by byte: what follows is read by `finish`.
        while !line.ends_with('\n') {
            let mut byte = [0];
            assert_eq!(child.stdout.as_mut().unwrap().read(&mut byte).unwrap(), 1, "{line:?}");
            line.push(byte[0].into());
        }
        let object: Value = serde_json::from_str(&line).unwrap();
        let url = object["url"].as_str().unwrap().to_owned();
        let port = u16::try_from(object["port"].as_u64().unwrap()).unwrap();
        let token = url.split_once("?t=").unwrap().1.to_owned();
        Server { child: Some(child), line, url, port, token, keys: OnceCell::new() }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], self.port))).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// Sends bytes, and reads until the server closes the connection.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may answer and close before it has read all.
        let _ = stream.write_all(bytes);
        read_all(&mut stream)
    }

    /// Sends a request with the right host and these header lines.
    pub fn ask(&self, method: &str, target: &str, headers: &str) -> Answer {
        let host = format!("127.0.0.1:{}", self.port);
        self.ask_as(method, target, &host, headers)
    }

    pub fn ask_as(&self, method: &str, target: &str, host: &str, headers: &str) -> Answer {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
        );
        Answer::of(&self.raw(request.as_bytes()))
    }

    /// The target of the first page.
    pub fn first(&self) -> String {
        format!("/?t={}", self.token)
    }

    fn keys(&self) -> &(String, String) {
        self.keys.get_or_init(|| {
            let page = self.ask("GET", &self.first(), "");
            assert_eq!(page.status, 200, "{page:?}");
            let cookie = page.header("set-cookie").unwrap();
            let path = cookie.split_once("; Path=").unwrap().1.to_owned();
            (format!("Cookie: {}\r\n", cookie.split(';').next().unwrap()), path)
        })
    }

    /// The header line with the cookie that the page gives.
    pub fn cookie(&self) -> String {
        self.keys().0.clone()
    }

    /// The target of a file of the page; the page itself has no name.
    pub fn at(&self, name: &str) -> String {
        format!("{}{name}", self.keys().1)
    }

    /// Opens the stream of events.
    pub fn events(&self, cookie: &str) -> Events {
        let mut stream = self.connect();
        let host = format!("127.0.0.1:{}", self.port);
        let target = self.at("events");
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}\r\n{cookie}\r\n").unwrap();
        Events::read(stream)
    }

    /// Ends the server; what it said, and its status.
    pub fn end(mut self) -> Out {
        let child = self.child.take().unwrap();
        signal(child.id(), Signal::TERM);
        finish(child, std::time::Instant::now(), LIMIT)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Reads until the end of a connection.
pub fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        // It closed with something unread.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        read => {
            read.unwrap();
        }
    }
    String::from_utf8(bytes).unwrap()
}

impl Answer {
    pub fn of(text: &str) -> Answer {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no answer: {text:?}"));
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value)
    }
}

/// A stream of events, read one by one.
pub struct Events {
    reader: BufReader<TcpStream>,
    /// What was read and is no whole event yet.
    text: String,
}

/// One event.
#[derive(Debug)]
pub struct Event {
    pub id: u64,
    pub name: String,
    pub data: Value,
}

impl Events {
    fn read(stream: TcpStream) -> Events {
        let mut events = Events { reader: BufReader::new(stream), text: String::new() };
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(events.reader.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/event-stream"), "{head}");
        events
    }

    /// The next event about the state; `None` at the proper end of the stream.
    pub fn next(&mut self) -> Option<Event> {
        loop {
            let text = self.next_text()?;
            if !text.starts_with("event: alive\n") {
                return Some(Event::of(&text));
            }
        }
    }

    /// The text of the next event; `None` at the proper end of the stream.
    pub fn next_text(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = event.to_owned();
                self.text = rest.to_owned();
                return Some(event);
            }
            let piece = self.piece()?;
            self.text.push_str(&piece);
        }
    }

    /// A piece of the body; `None` after its last one.
    fn piece(&mut self) -> Option<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        let len = usize::from_str_radix(line.trim_end(), 16)
            .unwrap_or_else(|_| panic!("no proper end of the stream: {line:?}"));
        let mut bytes = vec![0; len + 2];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes.truncate(len);
        (len > 0).then(|| String::from_utf8(bytes).unwrap())
    }

    /// Reads events until one has what is asked for.
    pub fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        let end = std::time::Instant::now() + LIMIT;
        loop {
            let event = self.next().expect("the stream has ended");
            if wanted(&event) {
                return event;
            }
            assert!(std::time::Instant::now() < end, "the last event was {event:?}");
        }
    }

    /// No event comes within this time.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        assert!(self.text.is_empty() && self.reader.buffer().is_empty());
        self.reader.get_ref().set_read_timeout(Some(time)).unwrap();
        let read = self.reader.fill_buf().map(<[u8]>::len);
        self.reader.get_ref().set_read_timeout(Some(LIMIT)).unwrap();
        matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

impl Event {
    fn of(text: &str) -> Event {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        Event {
            id: field("id: ").parse().unwrap(),
            name: field("event: ").to_owned(),
            data: serde_json::from_str(field("data: ")).unwrap(),
        }
    }

    /// Whether it has an agent of this name, whole or changed, in which this text stands.
    pub fn has_agent(&self, name: &str, text: &str) -> bool {
        let rows = match self.name.as_str() {
            "overview" => &self.data["overview"]["agents"],
            _ => &self.data["agents"],
        };
        let mut rows = rows.as_array().into_iter().flatten();
        rows.any(|row| row["name"] == name && row.to_string().contains(text))
    }
}
