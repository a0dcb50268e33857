//! The texts of many messages, read at once and parsed only as far as a caller asks.

use zeta_core::bus::{BadEnvelope, Envelope, FileSeen, Header, text_of};
use zeta_core::sum::add_line;

use super::line::{About, Line};
use crate::directory::{Bus, id_of};

/// How far a reader has read in the index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    /// So many bytes of `names`, and the sum of their lines.
    names: usize,
    sum: u64,
}

impl Cursor {
    /// The lines that come after the cursor, and moves it behind them: all lines, unless those
    /// before it are the ones that it was moved behind.
    pub(super) fn rest_of<'t>(&mut self, text: &'t str, epoch: u64) -> &'t str {
        let (mut at, mut sum, mut rest) = (0, epoch, text);
        for line in text.split_inclusive('\n') {
            sum = add_line(sum, line);
            at += line.len();
            if (at, sum) == (self.names, self.sum) {
                rest = text.get(at..).unwrap_or_default();
            }
        }
        *self = Cursor { names: at, sum };
        rest
    }
}

/// The texts of messages, read at once.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) pack: Vec<u8>,
    /// Where in the pack its bytes begin.
    pub(super) from: u64,
    pub(super) extents: Vec<(String, std::result::Result<Line, String>)>,
}

impl Snapshot {
    /// Returns whether the text of a message is here as it was read.
    pub(super) fn has(&self, line: &Line) -> bool {
        line.text_in(&self.pack, self.from).is_some()
    }

    /// Reads the file of a message that the index does not have, or not whole.
    pub(super) fn read_again(&mut self, bus: &Bus, file: &str) {
        let read = match bus.read(file) {
            Ok(None) => return,
            Ok(Some(read)) => {
                let parsed = match id_of(file) {
                    Some(id) => Envelope::parse(&read.bytes, id).map(|_| ()),
                    None => Err(BadEnvelope::BadName),
                };
                parsed.map_err(|error| error.to_string()).map(|()| {
                    let at = self.from + self.pack.len() as u64;
                    let text = text_of(&read.bytes);
                    self.pack.extend_from_slice(text.as_bytes());
                    let about = if read.is_writable { About::Nothing } else { About::Imported };
                    Line::of_message(at, &text, read.times.mtime_us, about)
                })
            }
            Err(error) => Err(error.text),
        };
        self.extents.push((file.to_owned(), read));
    }

    /// The headers of all messages with what their files show, and the files that are no messages.
    pub fn headers(&self) -> (Vec<(Header<'_>, FileOf)>, Vec<Unread>) {
        let (mut headers, mut unread) = (Vec::with_capacity(self.extents.len()), Vec::new());
        for (file, line) in &self.extents {
            let read = line.clone().and_then(|line| {
                let text = line.text_in(&self.pack, self.from).unwrap_or_default();
                let id = id_of(file).unwrap_or_default();
                let header = Header::of(text, id).map_err(|error| error.to_string())?;
                let (mtime_us, is_imported) = (line.mtime_us, line.is_imported());
                Ok((header, FileOf { mtime_us, is_imported }))
            });
            match read {
                Ok(header) => headers.push(header),
                Err(reason) => unread.push(Unread { file: file.clone(), reason }),
            }
        }
        unread.sort_by(|a, b| a.file.cmp(&b.file));
        (headers, unread)
    }

    /// All messages, taken apart.
    pub fn messages(&self) -> (Vec<Message>, Vec<Unread>) {
        let (headers, mut unread) = self.headers();
        let mut messages = Vec::with_capacity(headers.len());
        for (header, file) in headers {
            match header.whole() {
                Ok(envelope) => messages.push(Message { envelope, file }),
                Err(error) => {
                    let file = crate::directory::file_of(&header.id);
                    unread.push(Unread { file, reason: error.to_string() });
                }
            }
        }
        (messages, unread)
    }
}

/// A message of the bus as it was read.
#[derive(Debug, Clone)]
pub struct Message {
    /// What it says.
    pub envelope: Envelope,
    /// What its file shows.
    pub file: FileOf,
}

/// What the file of a message shows beside its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileOf {
    /// Its modification time, in µs.
    pub mtime_us: i64,
    /// It came from another node.
    pub is_imported: bool,
}

impl FileOf {
    /// The file at this time.
    pub fn seen(self, now_us: i64) -> FileSeen {
        FileSeen { mtime_us: self.mtime_us, now_us, is_imported: self.is_imported }
    }
}

/// A file of the bus that is no message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unread {
    /// Its name.
    pub file: String,
    /// Why.
    pub reason: String,
}
