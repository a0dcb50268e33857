//! A client of the protocol: it writes lines of JSON and reads lines of JSON.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{LIMIT, Sandbox, wait};

/// The last version with a handshake, and the first without.
pub const LEGACY: &str = "2025-06-18";
pub const STATELESS: &str = "2026-07-28";

pub struct Client {
    pub server: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    number: u64,
    /// What came that answers no request.
    pub notes: Vec<Value>,
    /// The version of each request, in the era without a handshake.
    version: Option<&'static str>,
}

impl Client {
    /// Starts a server of this sandbox, and nothing more.
    pub fn start(sandbox: &Sandbox) -> Client {
        Client::of(&mut sandbox.cmd(&["mcp"]))
    }

    /// Starts a server by this command.
    pub fn of(command: &mut Command) -> Client {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = server.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line);
                let value = value.unwrap_or_else(|_| panic!("the server wrote no JSON: {line:?}"));
                if sender.send(value).is_err() {
                    break;
                }
            }
        });
        let stdin = server.stdin.take();
        Client { server, stdin, lines, number: 0, notes: Vec::new(), version: None }
    }

    /// Starts a server, and greets it with a handshake.
    pub fn greeted(sandbox: &Sandbox, name: &str) -> Client {
        let mut client = Client::start(sandbox);
        client.greet(name, LEGACY);
        client
    }

    pub fn greet(&mut self, name: &str, version: &str) -> Value {
        let info = json!({"name": name, "version": "1"});
        let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": info});
        let answer = self.request("initialize", params);
        self.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        answer["result"].clone()
    }

    /// From now on each request says its version, as in the era without a handshake.
    pub fn without_handshake(&mut self) {
        self.version = Some(STATELESS);
    }

    pub fn write(&mut self, message: &Value) {
        self.write_text(&format!("{message}\n"));
    }

    pub fn write_text(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Sends a request and returns its number.
    pub fn ask(&mut self, method: &str, mut params: Value) -> u64 {
        self.number += 1;
        if let Some(version) = self.version {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = version.into();
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
            let info = json!({"name": "stateless", "version": "1"});
            params["_meta"]["io.modelcontextprotocol/clientInfo"] = info;
        }
        let number = self.number;
        self.write(&json!({"jsonrpc": "2.0", "id": number, "method": method, "params": params}));
        number
    }

    /// Reads one line; `None` after the limit, or at the end.
    pub fn read(&mut self, limit: Duration) -> Option<Value> {
        self.lines.recv_timeout(limit).ok()
    }

    /// Reads the answer to a request.
    pub fn answer(&mut self, number: u64) -> Value {
        if let Some(at) = self.notes.iter().position(|line| line["id"] == number) {
            return self.notes.remove(at);
        }
        loop {
            let line = self.read(LIMIT).unwrap_or_else(|| panic!("no answer to {number}"));
            if line["id"] == number {
                return line;
            }
            self.notes.push(line);
        }
    }

    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let number = self.ask(method, params);
        self.answer(number)
    }

    /// Sends a call of a tool, with a token for its progress.
    pub fn ask_tool(&mut self, tool: &str, arguments: Value) -> u64 {
        let meta = json!({"progressToken": self.number + 1});
        self.ask("tools/call", json!({"name": tool, "arguments": arguments, "_meta": meta}))
    }

    /// Tells the server that nothing waits for the answer to this request any more.
    pub fn cancel(&mut self, request: u64) {
        let params = json!({"requestId": request, "reason": "a person stopped it"});
        self.write(
            &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}),
        );
    }

    /// Calls a tool; its answer, which fits the schema that zeta prints.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Said {
        let number = self.ask_tool(tool, arguments);
        self.said(number)
    }

    /// Reads the answer to a call of a tool.
    pub fn said(&mut self, number: u64) -> Said {
        let answer = self.answer(number);
        let result = &answer["result"];
        assert!(result.is_object(), "{answer}");
        assert!(result.get("structuredContent").is_none(), "some tools show it, and not the text");
        let object = result["_meta"]["zeta/answer"].clone();
        assert_eq!(crate::json::misfits("mcp", &object), Vec::<String>::new(), "{object}");
        let text = result["content"][0]["text"].as_str().unwrap().to_owned();
        Said { text, is_error: result["isError"] == true, object }
    }

    /// Closes the pipe to the server, and returns its exit status.
    pub fn close(&mut self, limit: Duration) -> i32 {
        self.stdin = None;
        wait(&mut self.server, limit)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The answer of a tool.
#[derive(Debug)]
pub struct Said {
    pub text: String,
    pub is_error: bool,
    pub object: Value,
}

impl Said {
    /// The word for what came of the call.
    pub fn outcome(&self) -> &str {
        self.object["outcome"].as_str().unwrap()
    }

    /// The name of the agent that the server speaks for.
    pub fn agent(&self) -> &str {
        self.object["agent"].as_str().unwrap()
    }

    pub fn has(&self, part: &str) -> bool {
        self.text.contains(part)
    }

    pub fn token(&self) -> u64 {
        self.object["fencing_token"].as_u64().unwrap()
    }
}
