//! Real servers of NATS with JetStream, for tests: one alone, or three that keep each other's
//! streams.
//!
//! Ports are free ones, files lie in the directory of the test, and each server is killed by its
//! number at the end, or by the kernel when the test dies. A plain client, without the code that is
//! tested, asks what is there and makes what another program would make.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// The result of a step; an error ends the test with its text.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// How long a server may take to be ready: the machine may be busy.
const READY: Duration = Duration::from_secs(60);
/// How long the plain client waits for one answer.
const ANSWER: Duration = Duration::from_secs(20);
/// How long it waits while a server starts.
const SOON: Duration = Duration::from_secs(1);
/// The time between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// How often a group of servers is started anew, because another program took a port.
const TRIES: u32 = 3;
/// How many lines of the log of a server are shown when a test fails.
const LOG_LINES: usize = 40;

/// The variable with the path of a newer server; `cargo xtask test` sets it.
const NEWER: &str = "ZETA_NATS_SERVER";

/// Returns the server of Debian 12; the error says why there is none.
pub fn debian() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = dirs.map(|dir| dir.join("nats-server")).find(|path| path.is_file());
    let program = found.ok_or("nats-server is not installed (Debian package nats-server)")?;
    let version = version(&program)?;
    match version.starts_with("2.9.") {
        true => Ok(program),
        false => Err(format!("the installed nats-server is {version}, and not Debian 12's 2.9")),
    }
}

/// Returns the newer server; the error says why there is none.
pub fn newer() -> Result<PathBuf, String> {
    let program = std::env::var_os(NEWER).map(PathBuf::from).filter(|path| path.is_file());
    let program = program.ok_or(format!("{NEWER} names no server: 'cargo xtask test' sets it"))?;
    version(&program).map(|_| program)
}

fn version(program: &Path) -> Result<String, String> {
    let out = Command::new(program).arg("--version").output();
    let out = out.map_err(|error| format!("{} does not run: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&out.stdout);
    let number = text.trim().rsplit(' ').next().unwrap_or_default();
    Ok(number.trim_start_matches('v').to_owned())
}

/// A running server. It is killed when this is dropped.
pub struct Server {
    program: PathBuf,
    dir: PathBuf,
    child: Option<Child>,
    port: u16,
}

impl Server {
    /// Starts a server alone. `dir` does not exist yet; `more` is added to its configuration.
    pub fn start(program: &Path, dir: &Path, more: &str) -> Outcome<Server> {
        let server = Server::spawn(program, dir, "alone", more)?;
        server.wait_for_jetstream(1)?;
        Ok(server)
    }

    /// Starts a server without JetStream.
    pub fn start_plain(program: &Path, dir: &Path) -> Outcome<Server> {
        fs::create_dir(dir)?;
        fs::write(dir.join("conf"), listen(dir, "plain"))?;
        Server::run(program, dir)
    }

    fn spawn(program: &Path, dir: &Path, name: &str, more: &str) -> Outcome<Server> {
        fs::create_dir(dir)?;
        let store = match more.contains("jetstream {") {
            true => String::new(),
            false => format!("jetstream {{ store_dir: {:?} }}\n", dir.join("store")),
        };
        fs::write(dir.join("conf"), listen(dir, name) + &store + more)?;
        Server::run(program, dir)
    }

    /// Starts the program with the configuration in the directory.
    fn run(program: &Path, dir: &Path) -> Outcome<Server> {
        let log = File::options().create(true).append(true).open(dir.join("log"))?;
        let mut command = Command::new(program);
        command.arg("-c").arg(dir.join("conf"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // SAFETY: prctl with these arguments is a plain system call, safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let child = Some(command.spawn()?);
        let mut server =
            Server { program: program.to_owned(), dir: dir.to_owned(), child, port: 0 };
        server.port = server.wait_for_port()?;
        Ok(server)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Kills it; what it stored stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again after [`Server::kill`], on another port, with what it stored.
    pub fn restart(&mut self) -> Outcome<()> {
        self.kill();
        let again = Server::run(&self.program, &self.dir)?;
        again.wait_for_jetstream(1)?;
        *self = again;
        Ok(())
    }

    /// Connects the plain client.
    pub fn client(&self) -> Outcome<Client> {
        Client::connect("127.0.0.1", self.port)
    }

    /// Connects the plain client with a login: it gets the nonce of the server, and returns keys of
    /// the object of CONNECT, each with a comma behind it.
    pub fn client_as(&self, login: &dyn Fn(&str) -> String) -> Outcome<Client> {
        Client::connect_as("127.0.0.1", self.port, login)
    }

    /// Starts a server with a whole configuration; `{dir}` in it is `dir`, which does not exist
    /// yet, and `listen` and `ports_file_dir` are added.
    pub fn start_configured(program: &Path, dir: &Path, config: &str) -> Outcome<Server> {
        fs::create_dir(dir)?;
        let config = config.replace("{dir}", &dir.display().to_string());
        let more = format!("listen: \"127.0.0.1:-1\"\nports_file_dir: {dir:?}\n");
        let old = config.lines().filter(|line| !line.starts_with("listen:"));
        let text = more + &old.collect::<Vec<_>>().join("\n");
        fs::write(dir.join("conf"), text)?;
        Server::run(program, dir)
    }

    /// Waits for the file with the ports that the server took.
    fn wait_for_port(&mut self) -> Outcome<u16> {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        let path = self.dir.join(format!("{name}_{}.ports", self.pid()));
        let begun = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(&path)
                && let Ok(ports) = serde_json::from_str::<Value>(&text)
            {
                let port = ports["nats"][0].as_str().and_then(|url| url.rsplit_once(':'));
                let port = port.and_then(|(_, port)| port.parse().ok());
                return port.ok_or_else(|| format!("no port in {text:?}").into());
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || begun.elapsed() > READY {
                return Err(format!("the server did not start: {}", self.log()).into());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until a stream with so many replicas can be made and is led.
    fn wait_for_jetstream(&self, replicas: u32) -> Outcome<()> {
        let begun = Instant::now();
        let mut last = String::new();
        while begun.elapsed() < READY {
            match self.client().and_then(|mut client| client.try_stream(replicas)) {
                Ok(()) => return Ok(()),
                Err(error) => last = error.to_string(),
            }
            std::thread::sleep(LOOK * 5);
        }
        Err(format!("JetStream is not ready: {last}; {}", self.log()).into())
    }

    /// The end of its log.
    fn log(&self) -> String {
        let text = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let end = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default();
        format!("the log in {}:\n{}", self.dir.display(), end.join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        self.kill();
    }
}

fn listen(dir: &Path, name: &str) -> String {
    format!("server_name: {name}\nlisten: \"127.0.0.1:-1\"\nports_file_dir: {dir:?}\n")
}

/// Three servers that keep each other's streams.
pub struct Trio {
    /// The servers `n1`, `n2` and `n3`.
    pub servers: Vec<Server>,
}

impl Trio {
    /// Starts them, and waits until a stream with three replicas can be made. `more` is added to
    /// the configuration of each.
    pub fn start(program: &Path, dir: &Path, more: &str) -> Outcome<Trio> {
        fs::create_dir(dir)?;
        let mut last = String::new();
        for attempt in 0..TRIES {
            match Trio::try_start(program, &dir.join(attempt.to_string()), more) {
                Ok(trio) => return Ok(trio),
                Err(error) => last = error.to_string(),
            }
        }
        Err(last.into())
    }

    fn try_start(program: &Path, dir: &Path, more: &str) -> Outcome<Trio> {
        fs::create_dir(dir)?;
        // Routes must be known before. Another program may take a port in between: see TRIES.
        let held: Vec<TcpListener> =
            (0..3).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let ports: Vec<u16> =
            held.iter().map(|port| Ok(port.local_addr()?.port())).collect::<Outcome<_>>()?;
        drop(held);
        let routes: Vec<String> =
            ports.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let routes = routes.join(", ");
        let mut servers = Vec::new();
        for (at, port) in ports.iter().enumerate() {
            let name = format!("n{}", at + 1);
            let more = format!(
                "cluster {{ name: trio, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}\n{more}"
            );
            servers.push(Server::spawn(program, &dir.join(&name), &name, &more)?);
        }
        servers[0].wait_for_jetstream(3)?;
        Ok(Trio { servers })
    }

    /// The addresses of all servers, with commas.
    pub fn urls(&self) -> String {
        self.servers.iter().map(Server::url).collect::<Vec<_>>().join(",")
    }
}

/// A client of the protocol itself: lines of text.
pub struct Client {
    stream: BufReader<TcpStream>,
    next: u64,
    /// What came for subscriptions of its own: the subject and the body.
    pub received: Vec<(String, Vec<u8>)>,
}

/// One line of the server, with the bytes that belong to it.
enum Said {
    Pong,
    Refusal(String),
    Message { subject: String, body: Vec<u8> },
    Other,
}

impl Client {
    /// Connects to a server.
    pub fn connect(host: &str, port: u16) -> Outcome<Client> {
        Client::connect_as(host, port, &|_| String::new())
    }

    fn connect_as(host: &str, port: u16, login: &dyn Fn(&str) -> String) -> Outcome<Client> {
        let stream = TcpStream::connect((host, port))?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_nodelay(true)?;
        let mut client = Client { stream: BufReader::new(stream), next: 0, received: Vec::new() };
        let greeting = client.line()?;
        let info = greeting.strip_prefix("INFO ").ok_or(format!("no server: {greeting:?}"))?;
        let info: Value = serde_json::from_str(info)?;
        let login = login(info["nonce"].as_str().unwrap_or_default());
        client.send(&format!(
            "CONNECT {{{login}\"verbose\":false,\"pedantic\":false,\"echo\":true,\
             \"headers\":true,\"no_responders\":true}}\r\nPING\r\n"
        ))?;
        loop {
            match client.said()? {
                Said::Pong => return Ok(client),
                Said::Refusal(text) => return Err(text.into()),
                Said::Message { .. } | Said::Other => {}
            }
        }
    }

    fn send(&mut self, text: &str) -> Outcome<()> {
        Ok(self.stream.get_mut().write_all(text.as_bytes())?)
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => Err("the server ended the connection".into()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err("no answer".into()),
            Err(error) => Err(error.into()),
        }
    }

    fn said(&mut self) -> Outcome<Said> {
        let line = self.line()?;
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["PING"] => self.send("PONG\r\n").map(|()| Said::Other),
            ["PONG"] => Ok(Said::Pong),
            ["-ERR", ..] => Ok(Said::Refusal(line)),
            [kind @ ("MSG" | "HMSG"), subject, .., length] => {
                let length: usize = length.parse()?;
                let mut bytes = vec![0; length + 2];
                self.stream.read_exact(&mut bytes)?;
                let head: usize = match (*kind, words.get(words.len().wrapping_sub(2))) {
                    ("HMSG", Some(head)) => head.parse()?,
                    _ => 0,
                };
                let body = bytes[head..length].to_vec();
                let no_responders = bytes[..head].starts_with(b"NATS/1.0 503");
                match no_responders {
                    true => Ok(Said::Refusal(format!("no responders: {subject}"))),
                    false => Ok(Said::Message { subject: (*subject).to_owned(), body }),
                }
            }
            _ => Ok(Said::Other),
        }
    }

    /// Sends a message with headers, to be answered on `reply` if that is not empty.
    pub fn publish(
        &mut self,
        subject: &str,
        reply: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Outcome<()> {
        let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let head = format!("NATS/1.0\r\n{}\r\n", lines.collect::<String>());
        let (head_len, all) = (head.len(), head.len() + body.len());
        let line = match headers.is_empty() {
            true => format!("PUB {subject} {reply} {}\r\n", body.len()),
            false => format!("HPUB {subject} {reply} {head_len} {all}\r\n{head}"),
        };
        let bytes = [line.replace("  ", " ").as_bytes(), body, b"\r\n"].concat();
        Ok(self.stream.get_mut().write_all(&bytes)?)
    }

    /// Subscribes; what comes is in `received`.
    pub fn subscribe(&mut self, subject: &str) -> Outcome<()> {
        self.next += 1;
        let number = self.next;
        self.send(&format!("SUB {subject} {number}\r\n"))
    }

    /// Waits until the server has seen all that was sent; returns what it refused.
    pub fn flush(&mut self) -> Outcome<Vec<String>> {
        self.send("PING\r\n")?;
        let mut refused = Vec::new();
        loop {
            match self.said()? {
                Said::Pong => return Ok(refused),
                Said::Refusal(text) => refused.push(text),
                Said::Message { subject, body } => self.received.push((subject, body)),
                Said::Other => {}
            }
        }
    }

    /// Sends a request and returns its answer.
    pub fn request(&mut self, subject: &str, body: &str) -> Outcome<Value> {
        self.request_with(subject, &[], body.as_bytes())
    }

    /// The same with headers. A refusal of the server is an error.
    pub fn request_with(
        &mut self,
        subject: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Outcome<Value> {
        self.next += 1;
        let number = self.next;
        let inbox = format!("_INBOX.plain.{}.{number}", std::process::id());
        self.send(&format!("SUB {inbox} {number}\r\nUNSUB {number} 1\r\n"))?;
        self.publish(subject, &inbox, headers, body)?;
        loop {
            match self.said()? {
                Said::Refusal(text) => return Err(text.into()),
                Said::Message { subject, body } if subject == inbox => {
                    return Ok(serde_json::from_slice(&body)?);
                }
                // An answer to an earlier request, which was given up, is no answer to this one.
                Said::Message { subject, body } => self.received.push((subject, body)),
                Said::Pong | Said::Other => {}
            }
        }
    }

    /// Asks JetStream; an answer that is an error is one here, too.
    pub fn api(&mut self, verb: &str, body: &Value) -> Outcome<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.request(&format!("$JS.API.{verb}"), &body)?;
        match answer.get("error") {
            Some(error) => Err(error.to_string().into()),
            None => Ok(answer),
        }
    }

    /// The names of all streams, in order.
    pub fn streams(&mut self) -> Outcome<Vec<String>> {
        let answer = self.api("STREAM.NAMES", &Value::Null)?;
        let names = answer["streams"].as_array().cloned().unwrap_or_default();
        let mut names: Vec<String> =
            names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    /// The body of the last message of a subject, as text; `None` if there is none.
    pub fn last(&mut self, stream: &str, subject: &str) -> Outcome<Option<String>> {
        let asked = json!({ "last_by_subj": subject });
        let answer = match self.api(&format!("STREAM.MSG.GET.{stream}"), &asked) {
            Err(error) if error.to_string().contains("10037") => return Ok(None),
            answer => answer?,
        };
        let data = answer["message"]["data"].as_str().unwrap_or_default();
        Ok(Some(String::from_utf8(BASE64.decode(data)?)?))
    }

    fn try_stream(&mut self, replicas: u32) -> Outcome<()> {
        // Servers that have no leader yet drop a request in silence.
        self.stream.get_ref().set_read_timeout(Some(SOON))?;
        let settings = json!({
            "name": "READY", "subjects": ["ready"], "num_replicas": replicas, "storage": "memory",
        });
        self.api("STREAM.CREATE.READY", &settings)?;
        self.api("STREAM.DELETE.READY", &Value::Null).map(|_| ())
    }
}
