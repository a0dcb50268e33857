//! Which messages speak of claims of which item: one small note per item.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, unlinkat};
use zeta_core::bus::claim::ClaimMessage;
use zeta_core::bus::item::Item;
use zeta_core::bus::{Envelope, FileSeen};
use zeta_core::time::parse_utc;

use super::{INDEX, Index};
use crate::directory::{INNER, NAMES_MAX, file_of, replace, sub};
use zeta_os::error::{Error, Result};
use zeta_os::{files, host};
use zeta_state::directory::tree;

const ITEMS: &str = "items";
/// More messages than this on one item are sorted out.
const ITEM_LINES: usize = 16;
/// Most bytes of an item's file.
const ITEM_BYTES: usize = 1 << 20;

/// The directory of the notes of items, below `.zeta`.
pub(in crate::directory) fn path_of_items() -> String {
    format!("{INDEX}/{ITEMS}")
}

impl Index<'_> {
    /// The messages that speak of claims of an item. Call [`Index::refresh`] before.
    pub fn notices(&self, item: &Item, now_us: i64) -> Result<Vec<ClaimMessage>> {
        let mut notices = self.notices_by_digest(item.digest(), now_us)?;
        notices.retain(|notice| notice.item == item.as_str());
        Ok(notices)
    }

    /// Forgets an item that no message speaks of any more.
    pub fn forget_item(&self, digest: &str) -> Result<()> {
        let _ = unlinkat(self.items()?, digest, AtFlags::empty());
        Ok(())
    }

    /// Digests of the items that messages speak of.
    pub fn item_digests(&self) -> Result<Vec<String>> {
        let items = self.items()?;
        let path = self.bus.base.path.join(INNER).join(INDEX).join(ITEMS);
        let mut names = files::list(items.as_fd(), NAMES_MAX, &path)?.names;
        // What a killed call left is no item.
        names.retain(|name| !name.starts_with('.'));
        Ok(names)
    }

    /// The messages that speak of claims of the item with this digest.
    pub fn notices_by_digest(&self, digest: &str, now_us: i64) -> Result<Vec<ClaimMessage>> {
        let items = self.items()?;
        let mut notices = Vec::new();
        for id in self.item_lines(&items, digest)? {
            let read = match self.bus.read(&file_of(&id)) {
                Ok(Some(read)) => read,
                Ok(None) => continue,
                Err(error) => {
                    self.no_message(&file_of(&id), error)?;
                    continue;
                }
            };
            let Ok(envelope) = Envelope::parse(&read.bytes, &id) else { continue };
            let seen = FileSeen { mtime_us: read.times.mtime_us, now_us };
            notices.extend(ClaimMessage::of(&envelope, seen));
        }
        Ok(notices)
    }

    fn items(&self) -> Result<OwnedFd> {
        let path = self.bus.base.path.join(INNER).join(INDEX).join(ITEMS);
        sub(self.dir.as_fd(), ITEMS, &self.bus.base, &path)
    }

    /// A note that cannot be read is not an empty one: a caller could claim what another agent has.
    fn item_lines(&self, items: &OwnedFd, digest: &str) -> Result<Vec<String>> {
        let path = || self.bus.base.path.join(INNER).join(INDEX).join(ITEMS).join(digest);
        let read = tree::read(items.as_fd(), digest, ITEM_BYTES, &self.bus.base, path)?;
        let bytes = read.map(|read| read.bytes).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.lines().filter(|line| zeta_core::bus::is_id(line)).map(str::to_owned).collect())
    }

    /// Remembers that a message speaks of an item.
    pub(super) fn add_to_item(&self, notice: &ClaimMessage) -> Result<()> {
        let Ok(item) = Item::new(&notice.item) else { return Ok(()) };
        let items = self.items()?;
        let mut lines = self.item_lines(&items, item.digest())?;
        if lines.contains(&notice.id) {
            return Ok(());
        }
        lines.push(notice.id.clone());
        if lines.len() > ITEM_LINES {
            let notices = self.notices_by_digest(item.digest(), host::wall_us())?;
            lines.retain(|id| {
                let Some(notice) = notices.iter().find(|n| n.id == *id) else {
                    return *id == notice.id;
                };
                // Not by the clock, which may be wrong for a moment: a later word that lasts as
                // long makes an earlier one idle.
                let until_us = |n: &ClaimMessage| parse_utc(&n.expires_at).unwrap_or(i64::MIN);
                let idle = |n: &ClaimMessage| {
                    n.from == notice.from
                        && n.order > notice.order
                        && until_us(n) >= until_us(notice)
                };
                !notices.iter().any(idle)
            });
        }
        let text = lines.join("\n") + "\n";
        let mode = self.bus.base.sharing.file_mode();
        replace(items.as_fd(), item.digest(), text.as_bytes(), mode)
            .map_err(|errno| Error::io("cannot write below", &self.bus.path(INNER), errno))
    }
}
