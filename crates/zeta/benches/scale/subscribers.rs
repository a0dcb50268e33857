//! Many connections that follow the live feed of a server, and count what they receive.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::measure::Outcomes;
use crate::nats::Server;

/// How long messages that are on their way are waited for.
const LATE: Duration = Duration::from_secs(20);

/// What all connections received together.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    pub messages: u64,
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    messages: AtomicU64,
    bytes: AtomicU64,
    ended: AtomicBool,
}

/// The connections; they end when this is dropped.
pub struct Subscribers {
    counters: Arc<Counters>,
    reader: Option<JoinHandle<()>>,
}

/// Lets this process open as many files as it may.
pub fn raise_limit() -> Outcomes<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

impl Subscribers {
    /// Connects, and returns when the server has taken all subscriptions.
    pub fn connect(server: &Server, count: usize, subjects: &[&str]) -> Outcomes<Subscribers> {
        let address = server.url().replace("nats://", "");
        let mut text = String::from("CONNECT {\"verbose\":false,\"headers\":true}\r\n");
        for (number, subject) in subjects.iter().enumerate() {
            text += &format!("SUB {subject} {}\r\n", number + 1);
        }
        text += "PING\r\n";
        let mut streams = Vec::new();
        for _ in 0..count {
            let mut stream = TcpStream::connect(&address)?;
            stream.set_read_timeout(Some(LATE))?;
            stream.write_all(text.as_bytes())?;
            let mut said = Vec::new();
            while !said.ends_with(b"PONG\r\n") {
                let mut bytes = [0; 4096];
                match stream.read(&mut bytes)? {
                    0 => return Err("the server ended a connection".into()),
                    length => said.extend_from_slice(bytes.get(..length).unwrap_or_default()),
                }
            }
            stream.set_nonblocking(true)?;
            streams.push(stream);
        }
        let counters = Arc::new(Counters::default());
        let counted = Arc::clone(&counters);
        let reader = std::thread::spawn(move || {
            if let Err(error) = read(streams, &counted) {
                eprintln!("the subscribers ended: {error}");
            }
        });
        Ok(Subscribers { counters, reader: Some(reader) })
    }

    /// What was received until now.
    pub fn received(&self) -> Count {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Count { messages: value(&self.counters.messages), bytes: value(&self.counters.bytes) }
    }

    /// Waits until so many messages have come, or no more are to be expected.
    pub fn wait_for(&self, messages: u64) {
        let begun = Instant::now();
        while self.received().messages < messages && begun.elapsed() < LATE {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Subscribers {
    fn drop(&mut self) {
        self.counters.ended.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Reads all connections until the end is asked for.
fn read(mut streams: Vec<TcpStream>, counters: &Counters) -> Outcomes<()> {
    let waiting = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (number, stream) in streams.iter().enumerate() {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&waiting, stream.as_fd(), data, epoll::EventFlags::IN)?;
    }
    let mut ready = Vec::with_capacity(256);
    let mut bytes = vec![0; 1 << 16];
    // The end of a head may come with the next bytes.
    let mut rest = vec![Vec::new(); streams.len()];
    let limit = rustix::time::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    while !counters.ended.load(Ordering::Relaxed) {
        ready.clear();
        epoll::wait(&waiting, rustix::buffer::spare_capacity(&mut ready), Some(&limit))?;
        for event in &ready {
            let number = event.data.u64() as usize;
            let (Some(stream), Some(rest)) = (streams.get_mut(number), rest.get_mut(number)) else {
                continue;
            };
            let length = stream.read(&mut bytes)?;
            if length == 0 {
                return Err("the server ended a connection".into());
            }
            counters.bytes.fetch_add(length as u64, Ordering::Relaxed);
            rest.extend_from_slice(bytes.get(..length).unwrap_or_default());
            let messages = take_messages(rest, stream)?;
            counters.messages.fetch_add(messages, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Takes whole messages from what a connection received; returns how many.
fn take_messages(rest: &mut Vec<u8>, stream: &mut TcpStream) -> Outcomes<u64> {
    let (mut at, mut messages) = (0, 0);
    while let Some(left) = rest.get(at..)
        && let Some(end) = left.windows(2).position(|two| two == b"\r\n")
    {
        let line = String::from_utf8_lossy(left.get(..end).unwrap_or_default());
        let whole = match line.split(' ').next() {
            Some("HMSG" | "MSG") => {
                let length: usize = line.rsplit(' ').next().unwrap_or_default().parse()?;
                end + 2 + length + 2
            }
            Some("PING") => {
                stream.write_all(b"PONG\r\n")?;
                end + 2
            }
            _ => end + 2,
        };
        if left.len() < whole {
            break;
        }
        messages += u64::from(line.contains("MSG "));
        at += whole;
    }
    rest.drain(..at);
    Ok(messages)
}
