//! One JSON document from standard input. Agent tools leave that open, so its end is found in the
//! document and not in the stream.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::Value;

/// Most bytes of a document.
const BYTES_MAX: usize = 1024 * 1024;
/// How long a document may take to arrive: a tool that is busy writes it long after it started the
/// hook, and an event that is not read goes unchecked.
const LIMIT: Duration = Duration::from_millis(1500);

/// Reads a document. The error is one sentence.
pub(super) fn read(from: impl AsFd) -> Result<Value, String> {
    let deadline = Instant::now() + LIMIT;
    let mut bytes = Vec::new();
    let mut end = End::default();
    let mut chunk = [0; 16 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).unwrap_or_default();
        let fd = from.as_fd();
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)) {
            Ok(0) => return Err("the event on standard input is not complete after 1.5 s".into()),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(format!("standard input cannot be read: {errno}")),
        }
        match rustix::io::read(fd, &mut chunk) {
            Ok(0) => break,
            Ok(len) => {
                let new = chunk.get(..len).unwrap_or_default();
                bytes.extend_from_slice(new);
                if bytes.len() > BYTES_MAX {
                    return Err("the event on standard input is longer than 1 MiB".into());
                }
                if end.is_in(new) {
                    break;
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(format!("standard input cannot be read: {errno}")),
        }
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut documents = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
    match documents.next() {
        Some(Ok(value @ Value::Object(_))) => Ok(value),
        Some(Ok(_)) => Err("the event on standard input is no JSON object".into()),
        Some(Err(error)) => Err(format!("the event on standard input is not JSON: {error}")),
        None => Err("there is no event on standard input".into()),
    }
}

/// Finds the end of a JSON object, piece by piece.
#[derive(Default)]
struct End {
    depth: usize,
    in_text: bool,
    escaped: bool,
}

impl End {
    /// Returns whether the object ends in these bytes.
    fn is_in(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if self.in_text {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_text = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return true;
                    }
                }
                _ => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads what is written into a pipe whose other end stays open.
    fn of_open_pipe(text: &[u8]) -> Result<Value, String> {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&writer, text).unwrap();
        let read = read(&reader);
        drop(writer);
        read
    }

    #[test]
    fn a_document_ends_where_its_braces_do() {
        let began = Instant::now();
        for text in [r#"{"a":"}\"]{","b":[{}]}"#, "{}\n", "\u{feff}{\"a\":1} trailing {"] {
            assert!(of_open_pipe(text.as_bytes()).is_ok(), "{text}");
        }
        assert!(began.elapsed() < LIMIT, "no document waited for the end of the stream");
    }

    #[test]
    fn what_is_no_document_is_said_in_time() {
        let deep = "[".repeat(10_000);
        for (text, part) in [
            (&b"{\"a\":"[..], "1.5 s"),
            (b"", "1.5 s"),
            (b"[1]", "no JSON object"),
            (b"{a}", "not JSON"),
            (b"}{", "not JSON"),
            (b"{\"a\":\"\xff\"}", "not JSON"),
            (deep.as_bytes(), "1.5 s"),
        ] {
            let error = of_open_pipe(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn an_end_without_a_document_and_a_flood_are_errors() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(writer);
        assert!(read(&reader).unwrap_err().contains("no event"));
        let flood = std::fs::File::open("/dev/zero").unwrap();
        assert!(read(&flood).unwrap_err().contains("1 MiB"));
    }
}
