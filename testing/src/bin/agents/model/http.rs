//! As much of HTTP/1.1 as the agents need: a request with a length or in chunks, and an answer.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// The most that a request may have; an agent sends some hundred kilobytes.
const MOST: usize = 64 << 20;

/// A request.
pub struct Request {
    /// Whether only the head of the answer is wanted.
    pub head: bool,
    /// Its path, with the query.
    pub path: String,
    /// Its body, whole.
    pub body: Vec<u8>,
}

/// Reads a request; nothing at the end of the connection.
pub fn read(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let head = read_until(stream, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&head);
    let Some(path) = head.split(' ').nth(1) else { return Ok(None) };
    let field = |name: &str| {
        let named = |line: &str| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
        };
        head.lines().find_map(named)
    };
    if field("expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let body = match field("transfer-encoding").is_some_and(|how| how.contains("chunked")) {
        true => read_chunks(stream)?,
        false => {
            let length = field("content-length").and_then(|length| length.parse().ok());
            read_exactly(stream, length.unwrap_or(0))?
        }
    };
    Ok(Some(Request { head: head.starts_with("HEAD "), path: path.to_owned(), body }))
}

/// Writes an answer; the connection stays open.
pub fn write(stream: &mut TcpStream, kind: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n");
    stream.write_all(format!("{head}\r\n{body}").as_bytes())
}

fn read_chunks(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_until(stream, b"\r\n")?;
        let line = String::from_utf8_lossy(&line);
        let length = line.trim().split(';').next().unwrap_or_default();
        let length = usize::from_str_radix(length, 16).map_err(io::Error::other)?;
        let chunk = read_exactly(stream, length)?;
        read_until(stream, b"\r\n")?;
        if length == 0 {
            return Ok(body);
        }
        body.extend(chunk);
        limit(body.len())?;
    }
}

fn read_exactly(stream: &mut TcpStream, length: usize) -> io::Result<Vec<u8>> {
    limit(length)?;
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads up to and with an end, or what there is before the connection ends.
fn read_until(stream: &mut TcpStream, end: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(end) && stream.read(&mut byte)? == 1 {
        bytes.extend(byte);
        limit(bytes.len())?;
    }
    Ok(bytes)
}

fn limit(length: usize) -> io::Result<()> {
    match length <= MOST {
        true => Ok(()),
        false => Err(io::Error::other("a request without an end")),
    }
}
