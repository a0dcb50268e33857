//! The texts of many messages, read at once and parsed only as far as a caller asks.

use zeta_core::bus::{Envelope, Header};

use crate::directory::{Bus, id_of};

/// A message that was read, and where its text lies in the pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) at: u64,
    /// 0 for a file that is no message.
    pub(super) len: u64,
    pub(super) mtime_us: i64,
}

/// A file that is known to be no message.
pub(super) const NO_MESSAGE: Extent = Extent { at: 0, len: 0, mtime_us: 0 };

impl Extent {
    /// Its text, in what was read of the pack from `start` on.
    pub(super) fn text(self, pack: &[u8], start: u64) -> &[u8] {
        let from = usize::try_from(self.at.saturating_sub(start)).unwrap_or(usize::MAX);
        let to = from.saturating_add(usize::try_from(self.len).unwrap_or(usize::MAX));
        pack.get(from..to).unwrap_or_default()
    }
}

/// The texts of messages, read at once.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) pack: Vec<u8>,
    /// Where in the pack its bytes begin.
    pub(super) from: u64,
    pub(super) extents: Vec<(String, std::result::Result<Extent, String>)>,
}

impl Snapshot {
    pub(super) fn read_again(&mut self, bus: &Bus, file: String) {
        let extent = match bus.read(&file) {
            Ok(None) => return,
            Ok(Some(read)) => {
                let at = self.from + self.pack.len() as u64;
                self.pack.extend_from_slice(&read.bytes);
                let (len, mtime_us) = (read.bytes.len() as u64, read.times.mtime_us);
                Ok(Extent { at, len, mtime_us })
            }
            Err(error) => Err(error.text),
        };
        self.extents.push((file, extent));
    }

    /// The headers of all messages with the modification times of their files, and the files that
    /// are no messages.
    pub fn headers(&self) -> (Vec<(Header<'_>, i64)>, Vec<Unread>) {
        let (mut headers, mut unread) = (Vec::with_capacity(self.extents.len()), Vec::new());
        for (file, extent) in &self.extents {
            let Some(id) = id_of(file) else { continue };
            let read = extent.clone().and_then(|extent| {
                let text = extent.text(&self.pack, self.from);
                let header = Header::parse(text, id).map_err(|error| error.to_string())?;
                Ok((header, extent.mtime_us))
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
        let (headers, unread) = self.headers();
        let whole = |(header, mtime_us): (Header<'_>, i64)| {
            let envelope = Envelope::parse(header.text.as_bytes(), &header.id).ok()?;
            Some(Message { envelope, mtime_us })
        };
        (headers.into_iter().filter_map(whole).collect(), unread)
    }
}

/// A message of the bus as it was read.
#[derive(Debug, Clone)]
pub struct Message {
    /// What it says.
    pub envelope: Envelope,
    /// The modification time of its file, in µs.
    pub mtime_us: i64,
}

/// A file of the bus that is no message.
#[derive(Debug, Clone)]
pub struct Unread {
    /// Its name.
    pub file: String,
    /// Why.
    pub reason: String,
}
