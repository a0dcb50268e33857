//! A stand-in of a model's API on loopback. A scene answers each request of the agent by hand.
//!
//! The four dialects (Anthropic messages, OpenAI responses, OpenAI chat completions, Gemini) share
//! one server: the path of a request says which it is. Requests without tools (titles, routers)
//! are answered at once, and the scene does not see them.

mod anthropic;
mod chat;
mod gemini;
mod http;
mod responses;

use std::collections::HashSet;
use std::io;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::Outcome;

/// How long an agent may take from one request to the next, its start included.
const LIMIT: Duration = Duration::from_secs(60);

/// What the model answers.
pub enum Turn {
    /// A call of a tool of the agent: its name and its arguments.
    Call(String, Value),
    /// A text, which ends the turn of the agent.
    Say(String),
}

/// The model of one agent.
pub struct Model {
    /// The port on 127.0.0.1.
    pub port: u16,
    requests: Receiver<(Value, Sender<Turn>)>,
    /// The strings of all requests so far.
    heard: HashSet<String>,
}

/// A request of the agent, which waits for its answer.
pub struct Asked {
    /// What the model reads for the first time: the strings that no earlier request had.
    pub news: String,
    reply: Sender<Turn>,
}

impl Model {
    /// Starts the server. Its threads end with the process.
    pub fn start() -> Outcome<Model> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let (send, requests) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let send = send.clone();
                // A connection that breaks is one that the agent closed.
                thread::spawn(move || {
                    let _closed = serve(stream, &send);
                });
            }
        });
        Ok(Model { port, requests, heard: HashSet::new() })
    }

    /// Waits for the next request of the agent.
    pub fn asked(&mut self) -> Outcome<Asked> {
        let silent = |_| format!("the agent asked its model nothing for {} s", LIMIT.as_secs());
        let (body, reply) = self.requests.recv_timeout(LIMIT).map_err(silent)?;
        let mut strings = Vec::new();
        collect(&body, &mut strings);
        strings.retain(|text| self.heard.insert((*text).to_owned()));
        Ok(Asked { news: strings.join("\n"), reply })
    }
}

impl Asked {
    /// Answers.
    pub fn answer(self, turn: Turn) {
        // The agent may be dead by now; then the scene notices by what does not happen.
        let _gone = self.reply.send(turn);
    }
}

/// Collects all strings of a document.
fn collect<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => into.push(text),
        Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, into)),
        _ => {}
    }
}

/// How a dialect writes an answer.
type Write = fn(&Turn, count: u64) -> String;

/// Finds the dialect by the path of the request.
fn dialect(path: &str) -> Option<Write> {
    let path = path.split('?').next().unwrap_or(path);
    let dialects: [(&str, Write); 4] = [
        ("/v1/messages", anthropic::write),
        ("/responses", responses::write),
        ("/chat/completions", chat::write),
        (":streamGenerateContent", gemini::write),
    ];
    dialects.into_iter().find(|(end, _)| path.ends_with(end)).map(|(_, write)| write)
}

/// Answers the requests of one connection, until the agent closes it.
fn serve(mut stream: std::net::TcpStream, send: &Sender<(Value, Sender<Turn>)>) -> io::Result<()> {
    let mut count = 0;
    while let Some(request) = http::read(&mut stream)? {
        count += 1;
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let Some(write) = dialect(&request.path).filter(|_| !request.head) else {
            let body = if request.head { String::new() } else { aside(&request.path) };
            http::write(&mut stream, "application/json", &body)?;
            continue;
        };
        let tools = body.get("tools").and_then(Value::as_array);
        let turn = match tools.is_some_and(|tools| !tools.is_empty()) {
            true => ask(body, send),
            false => Turn::Say("A title".to_owned()),
        };
        http::write(&mut stream, "text/event-stream", &write(&turn, count))?;
    }
    Ok(())
}

/// Passes a request to the scene and waits for its answer. A scene that is over says nothing more.
fn ask(body: Value, send: &Sender<(Value, Sender<Turn>)>) -> Turn {
    let (reply, answer) = channel();
    let sent = send.send((body, reply));
    let turn = sent.ok().and_then(|()| answer.recv().ok());
    turn.unwrap_or_else(|| Turn::Say("The scene is over.".to_owned()))
}

/// What requests are answered that are not the conversation.
fn aside(path: &str) -> String {
    match path {
        path if path.contains("count_tokens") => r#"{"input_tokens":1}"#.to_owned(),
        path if path.contains(":generateContent") => gemini::routed(),
        _ => "{}".to_owned(),
    }
}

/// Writes an event of a stream.
fn event(name: Option<&str>, data: &Value) -> String {
    let name = name.map(|name| format!("event: {name}\n")).unwrap_or_default();
    format!("{name}data: {data}\n\n")
}

/// Writes events whose name is in their field `type`.
fn typed(events: &[Value]) -> String {
    let name = |event: &Value| event.get("type").and_then(Value::as_str).map(str::to_owned);
    events.iter().map(|data| event(name(data).as_deref(), data)).collect()
}
