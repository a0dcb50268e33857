//! A browser without a window, driven by its own protocol over two pipes: for tests of the page,
//! and for its pictures. It needs no port, no driver and no other program than Chromium.

use std::collections::VecDeque;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The result of a step; an error ends the caller's work with its text.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// How long one answer may take: the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);

/// The name of the program, as Debian calls it.
pub const PROGRAM: &str = "chromium";

/// A running browser. It and its directory are gone when this is dropped.
pub struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    /// What arrived and was not an answer.
    events: VecDeque<Value>,
    next: u64,
    session: String,
    dir: PathBuf,
}

impl Browser {
    /// Starts a browser with one empty page. `dir` does not exist yet.
    pub fn start(dir: &Path, args: &[&str]) -> Outcome<Browser> {
        fs::create_dir(dir)?;
        let mut command = Command::new("/bin/sh");
        // It reads from descriptor 3 and writes to 4.
        command.args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >"$HOME/log" 2>&1"#, PROGRAM]);
        command.args([
            "--headless=new",
            "--remote-debugging-pipe",
            // Its sandbox needs what containers do not give; it sees pages of this machine alone.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--no-default-browser-check",
            "--hide-scrollbars",
            "--lang=en-GB",
        ]);
        command.arg(format!("--user-data-dir={}", dir.join("profile").display()));
        command.args(args).arg("about:blank").env("HOME", dir).env("TZ", "UTC");
        // What it keeps beside its profile goes with the directory.
        command.env("TMPDIR", dir);
        command.env_remove("DISPLAY").process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("no pipe")?;
        let output = child.stdout.take().ok_or("no pipe")?;
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut bytes = Vec::new();
            while output.read_until(0, &mut bytes).is_ok_and(|read| read > 0) {
                bytes.pop();
                let Ok(message) = serde_json::from_slice(&bytes) else { break };
                if sender.send(message).is_err() {
                    break;
                }
                bytes.clear();
            }
        });
        let (events, session) = Default::default();
        let dir = dir.to_path_buf();
        let mut browser = Browser { child, input, messages, events, next: 0, session, dir };
        browser.attach()?;
        Ok(browser)
    }

    /// Opens a page of its own, and listens to what happens in it.
    fn attach(&mut self) -> Outcome<()> {
        let target = self.call("Target.createTarget", &json!({"url": "about:blank"}))?;
        let wanted = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.call("Target.attachToTarget", &wanted)?;
        self.session = attached["sessionId"].as_str().ok_or("no session")?.to_owned();
        for domain in ["Page", "Runtime", "Network", "Log"] {
            self.call(&format!("{domain}.enable"), &json!({}))?;
        }
        Ok(())
    }

    /// Calls a method of the protocol, and waits for its answer.
    pub fn call(&mut self, method: &str, params: &Value) -> Outcome<Value> {
        self.next += 1;
        let id = self.next;
        let mut message = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.input.write_all(&bytes)?;
        let end = Instant::now() + LIMIT;
        loop {
            let rest = end.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(rest).map_err(|why| {
                let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                format!("{method}: no answer ({why}); the browser says: {log}")
            })?;
            if message["id"] != json!(id) {
                self.events.push_back(message);
            } else if let Some(error) = message.get("error") {
                return Err(format!("{method} {params}: {error}").into());
            } else {
                return Ok(message["result"].clone());
            }
        }
    }

    /// Opens an address, and waits until its document is there.
    pub fn open(&mut self, url: &str) -> Outcome<()> {
        let answer = self.call("Page.navigate", &json!({"url": url}))?;
        if let Some(why) = answer.get("errorText") {
            return Err(format!("{url}: {why}").into());
        }
        self.until("document.readyState === 'complete'")
    }

    /// What an expression of JavaScript gives, also if that is a promise.
    pub fn eval(&mut self, expression: &str) -> Outcome<Value> {
        let params = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true,
            "userGesture": true,
        });
        let answer = self.call("Runtime.evaluate", &params)?;
        match answer.get("exceptionDetails") {
            Some(thrown) => Err(format!("{expression}: {thrown}").into()),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Waits until an expression is true.
    pub fn until(&mut self, expression: &str) -> Outcome<()> {
        let end = Instant::now() + LIMIT;
        loop {
            // While another document is loaded, there is no place to ask in.
            match self.eval(expression) {
                Ok(Value::Bool(true)) => return Ok(()),
                last if Instant::now() > end => {
                    let text = self.eval("document.body?.innerText ?? ''").unwrap_or_default();
                    return Err(format!("{expression} is not true: {last:?}; page: {text}").into());
                }
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Sets the size of the page, in CSS pixels.
    pub fn resize(&mut self, width: u32, height: u32) -> Outcome<()> {
        let params = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.call("Emulation.setDeviceMetricsOverride", &params).map(drop)
    }

    /// Sets what the reader prefers: `light` or `dark`.
    pub fn prefer(&mut self, scheme: &str) -> Outcome<()> {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.call("Emulation.setEmulatedMedia", &json!({"features": [feature]})).map(drop)
    }

    /// Presses and releases a key: a letter or sign, or a name such as `Enter`.
    pub fn press(&mut self, key: &str, shift: bool) -> Outcome<()> {
        let number = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => 0,
        };
        let text = match key {
            "Enter" => "\r",
            key if key.chars().count() == 1 => key,
            _ => "",
        };
        let modifiers = if shift { 8 } else { 0 };
        for kind in ["keyDown", "keyUp"] {
            let mut params = json!({
                "type": kind, "key": key, "windowsVirtualKeyCode": number, "modifiers": modifiers,
            });
            if kind == "keyDown" && !text.is_empty() {
                params["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", &params)?;
        }
        Ok(())
    }

    /// Types a text, key by key.
    pub fn write(&mut self, text: &str) -> Outcome<()> {
        text.chars().try_for_each(|each| self.press(each.encode_utf8(&mut [0; 4]), false))
    }

    /// Sends an event of the mouse: `mouseMoved`, `mousePressed`, `mouseReleased`.
    pub fn mouse(&mut self, kind: &str, x: f64, y: f64) -> Outcome<()> {
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        let params = json!({"type": kind, "x": x, "y": y, "button": button, "clickCount": 1});
        self.call("Input.dispatchMouseEvent", &params).map(drop)
    }

    /// Turns the wheel of the mouse.
    pub fn wheel(&mut self, x: f64, y: f64, delta: f64) -> Outcome<()> {
        let params = json!({"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": delta});
        self.call("Input.dispatchMouseEvent", &params).map(drop)
    }

    /// Takes the events with this name that arrived until now.
    pub fn take_events(&mut self, method: &str) -> Vec<Value> {
        self.events.extend(self.messages.try_iter());
        let events = self.events.drain(..);
        let (taken, kept): (VecDeque<_>, _) = events.partition(|event| event["method"] == method);
        self.events = kept;
        taken.into()
    }

    /// Takes what a person would see in red in the console: errors, warnings and refused loads.
    pub fn take_complaints(&mut self) -> Vec<String> {
        let thrown = self.take_events("Runtime.exceptionThrown");
        let logged = self.take_events("Log.entryAdded").into_iter();
        let logged = logged.filter(|event| event["params"]["entry"]["level"] != "verbose");
        let said = self.take_events("Runtime.consoleAPICalled");
        thrown.into_iter().chain(logged).chain(said).map(|event| event.to_string()).collect()
    }

    /// Takes the addresses of all requests until now.
    pub fn take_requests(&mut self) -> Vec<String> {
        let sent = self.take_events("Network.requestWillBeSent").into_iter();
        sent.map(|event| event["params"]["request"]["url"].as_str().unwrap_or("?").to_owned())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        // All of its processes are in a group of their own.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
        // One of them may still write for a moment.
        let end = Instant::now() + Duration::from_secs(10);
        while fs::remove_dir_all(&self.dir).is_err() && self.dir.exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
