//! Servers that a bench compares with: started on loopback in its own scratch directory, used with
//! minimal clients, and ended by their process id.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Outcomes, command};

/// A server that this bench started; dropping it ends the server.
pub struct Server {
    child: Child,
    port: u16,
    /// The address of the server: a path or a URL.
    pub address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Splits a command line whose arguments have no spaces.
pub fn line(words: &str) -> Vec<OsString> {
    words.split(' ').map(OsString::from).collect()
}

/// Reports whether a program is installed; prints a note if not.
pub fn here(program: &str) -> bool {
    let dirs = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"];
    dirs.iter().any(|dir| Path::new(dir).join(program).is_file())
}

/// Returns the directory in which `cargo xtask bench` installs the anchors.
pub fn anchors() -> PathBuf {
    std::env::var_os("ZETA_ANCHORS").map(PathBuf::from).unwrap_or_default()
}

/// Returns the path of the clients of NATS and etcd, if they were built.
pub fn client() -> Option<PathBuf> {
    Some(anchors().join("zeta-anchors")).filter(|path| path.is_file())
}

/// Returns a port of loopback that was free a moment ago.
fn free_port() -> Outcomes<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Starts a server and waits until it answers. The server ends with this process, even if that is
/// killed.
fn serve(
    words: &str,
    dir: &Path,
    port: u16,
    address: String,
    answers: impl Fn(&str) -> bool,
) -> Outcomes<Server> {
    let argv = line(&format!("setpriv --pdeathsig KILL {words}"));
    let mut command = command(&argv, dir);
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin").current_dir(dir);
    let server = Server { child: command.spawn()?, port, address };
    let started = Instant::now();
    while !answers(&server.address) {
        if started.elapsed() > Duration::from_secs(10) {
            return Err(format!("it does not answer: {words}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(server)
}

/// Starts Redis without persistence, on a socket of its own and a port.
pub fn redis(dir: &Path) -> Outcomes<Option<Server>> {
    if !here("redis-server") {
        return Ok(None);
    }
    let port = free_port()?;
    let socket = dir.join("redis.sock").display().to_string();
    let words =
        format!("redis-server --bind 127.0.0.1 --port {port} --unixsocket {socket} --save ");
    let answers =
        |socket: &str| Redis::connect(socket).is_ok_and(|mut redis| redis.ask(&["PING"]).is_ok());
    serve(&words, dir, port, socket, answers).map(Some)
}

/// Starts etcd with default options and its data below `dir`.
pub fn etcd(dir: &Path) -> Outcomes<Option<Server>> {
    if !here("etcd") {
        return Ok(None);
    }
    let (client, peer) = (free_port()?, free_port()?);
    let port = client;
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let words = format!(
        "etcd --data-dir {} --listen-client-urls {client} --advertise-client-urls {client} \
         --listen-peer-urls {peer} --initial-advertise-peer-urls {peer} \
         --initial-cluster default={peer} --log-level error",
        dir.join("etcd").display()
    );
    let healthy = |url: &str| {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(url.trim_start_matches("http://"))?;
            stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.contains("\"true\""))
    };
    serve(&words, dir, port, client, healthy).map(Some)
}

/// Starts NATS with a bucket in `storage` (memory or file); this needs the built client.
pub fn nats(dir: &Path, storage: &str) -> Outcomes<Option<Server>> {
    let Some(client) = client() else { return Ok(None) };
    if !here("nats-server") {
        return Ok(None);
    }
    let port = free_port()?;
    let store = dir.join("nats").display().to_string();
    let words = format!("nats-server -a 127.0.0.1 -p {port} -js -sd {store}");
    let make = |url: &str| {
        let argv =
            [client.as_os_str(), "nats".as_ref(), "make".as_ref(), url.as_ref(), storage.as_ref()];
        command(&argv.map(OsString::from), dir).status().is_ok_and(|status| status.success())
    };
    serve(&words, dir, port, format!("nats://127.0.0.1:{port}"), make).map(Some)
}

impl Server {
    /// Connects to a Redis by its port, as most clients do.
    pub fn redis_by_tcp(&self) -> Outcomes<Redis> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        Ok(Redis(BufReader::new(OwnedFd::from(stream).into())))
    }

    /// Returns the process id of the server.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the CPU time that the server used so far, in ns.
    pub fn cpu_ns(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        let stat = stat.unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(12) + ticks(13)) * 1e7
    }
}

/// A client that only writes a command and reads its answer.
pub struct Redis(BufReader<File>);

impl Redis {
    /// Connects by the path of the socket.
    pub fn connect(socket: &str) -> Outcomes<Redis> {
        let stream = OwnedFd::from(UnixStream::connect(socket)?);
        Ok(Redis(BufReader::new(stream.into())))
    }

    /// Sends a command; returns the end of the answer.
    pub fn ask(&mut self, words: &[&str]) -> Outcomes<String> {
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.0.get_mut().write_all(text.as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> Outcomes<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let (kind, rest) = line.trim_end().split_at_checked(1).ok_or("redis hung up")?;
        match kind {
            "-" => Err(format!("redis: {rest}").into()),
            "$" if rest != "-1" => {
                let mut bytes = vec![0; rest.parse::<usize>()? + 2];
                self.0.read_exact(&mut bytes)?;
                Ok(String::from_utf8(bytes)?.trim_end().to_owned())
            }
            "*" if rest != "-1" => {
                let mut last = String::new();
                for _ in 0..rest.parse::<usize>()? {
                    last = self.answer()?;
                }
                Ok(last)
            }
            _ => Ok(rest.to_owned()),
        }
    }
}

/// A program that reads a number of repetitions from a line, and answers with the median in ns.
pub struct Asked {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Asked {
    /// Starts the program.
    pub fn start(argv: &[OsString], dir: &Path) -> Outcomes<Asked> {
        let mut command: Command = command(argv, dir);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().ok_or("no pipe")?;
        let stdout = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        Ok(Asked { child, stdin, stdout })
    }

    /// Runs `count` repetitions; returns the median.
    pub fn times(&mut self, count: usize) -> Outcomes<f64> {
        writeln!(self.stdin, "{count}")?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Restricts a process to these processors; all of them if `None`.
pub fn pin(pid: u32, core: Option<usize>) -> Outcomes<()> {
    let all = 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get).max(64);
    let cores = core.map_or(all, |core| core..core + 1);
    // SAFETY: a set of bits that is zeroed, filled and passed with its own size.
    let done = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        cores.for_each(|core| libc::CPU_SET(core, &mut set));
        libc::sched_setaffinity(pid.try_into()?, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().into()) }
}
