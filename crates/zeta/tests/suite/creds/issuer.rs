//! An issuer of logins on the loopback interface, and a tool that refreshes one.
//!
//! The issuer does what real ones do: each refresh gives a new refresh token, and a refresh token
//! that comes a second time ends the whole login. The tool is a process of its own and writes its
//! file in place, as several real ones do.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{until, wait_for};

/// What the issuer has seen.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Every refresh token that was given, the last one is good.
    pub given: Vec<String>,
    /// How many refreshes it gave.
    pub refreshes: usize,
    /// A token came a second time: the login is over.
    pub revoked: bool,
}

pub struct Issuer {
    pub port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Issuer {
    /// Starts one that has given one refresh token, `r0`.
    pub fn new() -> Issuer {
        let seen = Seen { given: vec!["r0".to_owned()], ..Seen::default() };
        let seen = Arc::new(Mutex::new(seen));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&serving);
                thread::spawn(move || serve(&stream, &seen));
            }
        });
        Issuer { port, seen }
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

/// Answers one request, whose body is a refresh token.
fn serve(stream: &TcpStream, seen: &Mutex<Seen>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut len = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some(("content-length", value)) => len = value.parse().ok()?,
            _ if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut token = vec![0; len];
    reader.read_exact(&mut token).ok()?;
    let token = String::from_utf8(token).ok()?;
    let body = {
        let mut seen = seen.lock().unwrap();
        let good = seen.given.last() == Some(&token);
        seen.revoked |= !good && seen.given.contains(&token);
        match good && !seen.revoked {
            true => {
                seen.refreshes += 1;
                let fresh = format!("r{}", seen.refreshes);
                seen.given.push(fresh.clone());
                json!({"refresh_token": fresh, "number": seen.refreshes})
            }
            false => json!({"error": "invalid_grant"}),
        }
    };
    let body = body.to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    (&*stream).write_all((head + &body).as_bytes()).ok()
}

/// Asks the issuer for a refresh.
fn ask(port: u16, token: &str) -> Value {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!("POST /token HTTP/1.1\r\ncontent-length: {}\r\n\r\n", token.len());
    stream.write_all((head + token).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// A login as Claude Code writes it. `number` makes the later one good for longer.
pub fn login(token: &str, number: u64) -> String {
    let expires_ms = 4_000_000_000_000 + number * 1000;
    let pad = "x".repeat(2000);
    json!({"claudeAiOauth": {"accessToken": format!("a-{token}"), "refreshToken": token,
        "expiresAt": expires_ms, "scopes": [pad]}})
    .to_string()
}

/// The refresh token in a login file; `None` if it is no login.
pub fn token_of(path: &Path) -> Option<String> {
    let login: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    Some(login["claudeAiOauth"]["refreshToken"].as_str()?.to_owned())
}

/// Plays the tool: reads its login, refreshes it, and writes it in place. `how` says what happens
/// on the way; a step that waits makes a file `<login>.<step>`, and goes on when `<login>.go` is
/// there.
pub fn play(port: &str, path: &str, how: &str) -> u8 {
    let pause = |step: &str| {
        if how == step {
            fs::write(format!("{path}.{step}"), "").unwrap();
            wait_for("the test says go", || fs::exists(format!("{path}.go")).unwrap());
        }
    };
    let mut token = token_of(Path::new(path));
    if token.is_none() {
        // Another tool is writing, in place.
        until(Duration::from_secs(1), || {
            token = token_of(Path::new(path));
            token.is_some()
        });
    }
    let Some(token) = token else { return 1 };
    pause("before");
    if how == "nothing" {
        return 0;
    }
    let answer = ask(port.parse().unwrap(), &token);
    let Some(fresh) = answer["refresh_token"].as_str() else { return 1 };
    pause("asked");
    let text = login(fresh, answer["number"].as_u64().unwrap());
    if how == "fills" {
        // Another program takes all room that the disk has, and that this tool is about to free.
        let fill = Path::new(path).with_file_name("fill");
        let mut fill = fs::File::create(fill).unwrap();
        while fill.write_all(&[0; 512]).is_ok() {}
        fs::write(path, "").unwrap();
        while fill.write_all(&[0; 512]).is_ok() {}
    }
    let mut file = fs::File::options().write(true).truncate(true).open(path).unwrap();
    let (first, rest) = text.as_bytes().split_at(text.len() / 2);
    let written = file.write_all(first).and_then(|()| {
        pause("half");
        if how == "cut" { Err(std::io::Error::other("cut")) } else { file.write_all(rest) }
    });
    match (written, how) {
        (Err(_), _) => 1,
        (Ok(()), "removed") => {
            fs::remove_file(path).unwrap();
            0
        }
        (Ok(()), "fails") => 7,
        (Ok(()), _) => 0,
    }
}
