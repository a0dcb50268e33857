//! An HTTP server on the loopback interface that answers as GitHub does, or fails as a test wants.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::github_model::{Call, GithubModel, Request};
use super::schema;
use crate::support::Sandbox;

/// The token that is accepted.
pub const TOKEN: &str = "ghp_0123456789abcdefghijKLMNOPQRSTUVWXYZ";

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request is carried out, and the connection closed without an answer.
    LostAfter,
    /// The connection is closed and nothing done.
    LostBefore,
    /// The request is carried out and answered with this status.
    StatusAfter(u16),
    /// The request is not carried out and answered with this status.
    Status(u16),
    /// The request is carried out, and no answer comes.
    Hang,
    /// The hour's calls are used up; so many seconds are left.
    Primary(u64),
    /// Too fast; come again after so many seconds.
    Secondary(u64),
    TwoFactor,
    MissingScope,
    SingleSignOn,
    NoWrite,
    Protected,
    /// The permissions of a token of the finer kind do not suffice.
    Permission,
    /// The request is carried out, and the answer ends in the middle.
    Malformed,
    /// The request is carried out, and the answer has no end.
    Huge,
    /// The answer repeats the token.
    Echo,
    /// The answer has a character that turns the text of a terminal around.
    Odd,
}

/// A request and what it was answered; `None` if nothing was.
pub struct Exchange {
    pub request: Request,
    pub answered: Option<(u16, Value)>,
    pub faulty: bool,
}

struct Inside {
    model: GithubModel,
    faults: HashMap<Call, VecDeque<Fault>>,
    log: Vec<Exchange>,
}

pub struct FakeGithub {
    pub url: String,
    inside: Arc<Mutex<Inside>>,
    _stage: Sandbox,
}

impl FakeGithub {
    pub fn new() -> FakeGithub {
        let sandbox = Sandbox::new();
        let model = GithubModel::new(&sandbox.dir);
        let inside = Inside { model, faults: HashMap::new(), log: Vec::new() };
        let inside = Arc::new(Mutex::new(inside));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = Arc::clone(&inside);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inside = Arc::clone(&serving);
                thread::spawn(move || serve(stream, &inside));
            }
        });
        FakeGithub { url, inside, _stage: sandbox }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The model itself, for what happens past the API.
    pub fn model<T>(&self, act: impl FnOnce(&mut GithubModel) -> T) -> T {
        act(&mut self.lock().model)
    }

    /// The next `times` calls of this kind fail.
    pub fn fault(&self, call: Call, fault: Fault, times: usize) {
        let queue = std::iter::repeat_n(fault, times).collect();
        self.lock().faults.insert(call, queue);
    }

    /// The requests of this kind, in their order.
    pub fn requests(&self, wanted: impl Fn(&Request) -> bool) -> Vec<Request> {
        let inside = self.lock();
        let requests = inside.log.iter().map(|exchange| &exchange.request);
        requests.filter(|request| wanted(request)).cloned().collect()
    }

    /// How often it was asked so.
    pub fn asked(&self, call: Call) -> usize {
        self.lock().log.iter().filter(|exchange| exchange.request.call() == call).count()
    }
}

impl Drop for FakeGithub {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let Some(description) = schema::description() else { return };
        let inside = self.lock();
        // The description knows no pull request whose fork is gone.
        if inside.model.gone.is_some() {
            return;
        }
        // What git asks is no part of the API.
        let of_api = |exchange: &&Exchange| !exchange.request.path.ends_with("/info/refs");
        for exchange in inside.log.iter().filter(of_api) {
            if let Err(why) = description.check(exchange) {
                let Request { method, path, query, .. } = &exchange.request;
                panic!("{method} {path} {query:?}: {why}");
            }
        }
    }
}

fn serve(stream: TcpStream, inside: &Mutex<Inside>) {
    let limit = Some(Duration::from_secs(10));
    stream.set_read_timeout(limit).unwrap();
    stream.set_write_timeout(limit).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let Some(request) = read(&mut reader) else { return };
    let mut guard = inside.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let call = request.call();
    let fault = guard.faults.get_mut(&call).and_then(VecDeque::pop_front);
    let accepted = request.header("authorization") == Some(format!("Bearer {TOKEN}").as_str());
    let (answered, headers) = match fault {
        _ if !accepted => (Some(refusal(401, "Bad credentials")), vec![]),
        Some(fault) if !fault.does() => fault.refusal(),
        _ => (Some(guard.model.answer(&request)), vec![]),
    };
    let (answered, faulty) = (answered, fault.is_some() || !accepted);
    guard.log.push(Exchange { request, answered: answered.clone(), faulty });
    drop(guard);
    let Some((status, body)) = answered else { return };
    let text = body.to_string();
    match fault {
        Some(Fault::LostAfter) => {}
        Some(Fault::Hang) => {
            // Waits until the client closes the connection.
            let _ = reader.read(&mut [0]);
        }
        Some(Fault::StatusAfter(status)) => write(&stream, status, &headers, "{}"),
        Some(Fault::Malformed) => {
            write(&stream, status, &headers, text.get(..text.len() / 2).unwrap_or(""));
        }
        Some(Fault::Huge) => endless(&stream, status),
        _ => write(&stream, status, &headers, &text),
    }
}

fn refusal(status: u16, message: &str) -> (u16, Value) {
    let link = "https://docs.github.com/rest";
    (status, json!({ "message": message, "documentation_url": link, "status": status.to_string() }))
}

type Refusal = (Option<(u16, Value)>, Vec<(&'static str, String)>);

impl Fault {
    /// Reports whether the request is carried out nevertheless.
    pub fn does(self) -> bool {
        use Fault::{Hang, Huge, LostAfter, Malformed, StatusAfter};
        matches!(self, LostAfter | StatusAfter(_) | Hang | Malformed | Huge)
    }

    fn refusal(self) -> Refusal {
        let header = |name, value: &str| vec![(name, value.to_owned())];
        let scope = |value: &str| vec![("x-oauth-scopes", value.to_owned())];
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let (answered, headers) = match self {
            Fault::LostBefore => return (None, vec![]),
            Fault::Status(status) => (refusal(status, "Something went wrong"), vec![]),
            Fault::Primary(s) => {
                let mut headers = header("x-ratelimit-remaining", "0");
                headers.push(("x-ratelimit-reset", (now + s).to_string()));
                (refusal(403, "API rate limit exceeded for user ID 1."), headers)
            }
            Fault::Secondary(s) => (
                refusal(429, "You have exceeded a secondary rate limit."),
                header("retry-after", &s.to_string()),
            ),
            Fault::TwoFactor => (
                refusal(401, "Must specify two-factor authentication OTP code."),
                header("x-github-otp", "required; app"),
            ),
            Fault::MissingScope => {
                let mut headers = scope("gist, read:org");
                headers.push(("x-accepted-oauth-scopes", "public_repo, repo".to_owned()));
                (refusal(403, "Not enough scopes"), headers)
            }
            Fault::SingleSignOn => (
                refusal(403, "Resource protected by organization SAML enforcement."),
                header("x-github-sso", "required; url=https://github.com/orgs/x/sso?r=s3cret"),
            ),
            Fault::NoWrite => (refusal(403, "Must have push access"), scope("repo")),
            Fault::Protected => (refusal(403, "Protected branch update failed"), scope("repo")),
            Fault::Permission => (
                refusal(403, "Resource not accessible by personal access token"),
                header("x-accepted-github-permissions", "pull_requests=write"),
            ),
            Fault::Echo => (refusal(422, &format!("{}{TOKEN} is odd", "x".repeat(280))), vec![]),
            Fault::Odd => (refusal(422, "odd \u{202e} text"), vec![]),
            _ => unreachable!("it is done and answered"),
        };
        (Some(answered), headers)
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, n)| n.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    Some(Request {
        method,
        path: decoded(path),
        query: pairs.map(|(key, value)| (decoded(key), decoded(value))).collect(),
        headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    })
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                let hex = std::str::from_utf8(&hex).unwrap();
                out.push(u8::from_str_radix(hex, 16).unwrap());
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).unwrap()
}

fn write(mut stream: &TcpStream, status: u16, headers: &[(&str, String)], body: &str) {
    let mut head = format!("HTTP/1.1 {status} Said\r\nconnection: close\r\n");
    head += "content-type: application/json; charset=utf-8\r\n";
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let _ = write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len());
}

fn endless(mut stream: &TcpStream, status: u16) {
    let _ = write!(stream, "HTTP/1.1 {status} Said\r\nconnection: close\r\n\r\n[");
    let blanks = vec![b' '; 1 << 16];
    while stream.write_all(&blanks).is_ok() {}
}
