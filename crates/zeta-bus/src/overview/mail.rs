//! The newest messages of a bus, and how many messages each agent has not read, as files come and
//! go. No lock is taken, nothing is written, and of the messages only the newest are read.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, statat};
use zeta_core::bus::{ENVELOPE_MAX, Envelope, FileSeen, topic};
use zeta_core::overview::finding::judge_urgency;
use zeta_core::overview::order::message_place;
use zeta_core::overview::{Finding, MESSAGES_MAX, Message, Overview, TEXT_MAX};

use super::marks::Marks;
use crate::directory::{NAMES_MAX, file_of, id_of};
use crate::messages::inbox::INBOX_PATH;
use crate::messages::status::field;
use zeta_os::error::{Error, Result};
use zeta_os::files::{list, times};
use zeta_os::host;
use zeta_os::inotify::{DirectoryWatcher, Event};
use zeta_state::directory::purpose::BUS;
use zeta_state::directory::tree::{Bytes, read};
use zeta_state::directory::trusted_dir::{TrustedDir, open_inner};

/// The bus as far as an overview shows it.
#[derive(Debug)]
pub(super) struct Mail {
    dir: PathBuf,
    watcher: Option<DirectoryWatcher>,
    followed: Followed,
    fault: Option<Error>,
    must_load: bool,
    /// The newest messages by the times of their files, and their ids.
    newest: BTreeMap<(i64, String), Message>,
    /// The times of the files of these messages.
    times: BTreeMap<String, i64>,
    /// There are files of older messages.
    has_older: bool,
    marks: Marks,
}

/// What is followed. No directory is kept open: the kernel tells of the removal of one only when no
/// process has it open any more.
#[derive(Debug, Default)]
struct Followed {
    /// The identity of the bus.
    identity: Option<(u64, u64)>,
    /// The watcher's number for it.
    bus: Option<i32>,
    /// There is a directory of marks.
    has_inbox: bool,
    /// The watcher's number for that.
    inbox: Option<i32>,
}

/// A bus that is there, opened.
#[derive(Debug)]
struct Opened {
    base: TrustedDir,
    inbox: Option<OwnedFd>,
}

/// What [`Mail::refresh`] changed.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Changed {
    /// The messages.
    pub(super) messages: bool,
    /// The numbers of unread messages, or the fault.
    pub(super) counts: bool,
}

impl Mail {
    pub(super) fn new(dir: PathBuf) -> Mail {
        Mail {
            dir,
            watcher: DirectoryWatcher::new(),
            followed: Followed::default(),
            fault: None,
            must_load: true,
            newest: BTreeMap::new(),
            times: BTreeMap::new(),
            has_older: false,
            marks: Marks::default(),
        }
    }

    /// Tells that a directory on the way to the bus changed.
    pub(super) fn look_again(&mut self) {
        self.must_load = true;
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watcher.as_ref().map(AsFd::as_fd)
    }

    /// When something changes by time alone, by the boot clock.
    pub(super) fn until_ns(&self) -> Option<u64> {
        let reading = host::reading();
        let left_us = self.marks.until_us()?.saturating_sub(reading.wall_us).max(0);
        Some(reading.boot_ns.saturating_add(left_us.unsigned_abs().saturating_mul(1000)))
    }

    /// The number of messages that an agent has not read.
    pub(super) fn unread(&self, agent: &str) -> usize {
        self.marks.counts().get(agent).copied().unwrap_or(0)
    }

    pub(super) fn all_unread(&self) -> impl Iterator<Item = (&str, usize)> {
        self.marks.counts().iter().map(|(agent, count)| (agent.as_str(), *count))
    }

    /// The finding about a bus that cannot be read.
    pub(super) fn fault(&self) -> Option<Finding> {
        let error = self.fault.as_ref()?;
        let word = "unsafe_file";
        Some(Finding {
            word: word.to_owned(),
            node: None,
            about: self.dir.display().to_string(),
            text: error.text.clone(),
            hints: error.hints.iter().map(ToString::to_string).collect(),
            urgency: judge_urgency(word, 0),
        })
    }

    /// Takes in what changed on the bus.
    pub(super) fn refresh(&mut self, out: &mut Overview) -> Changed {
        let counts = self.marks.counts().clone();
        let fault = self.fault.clone();
        let (mut files, mut marks) = (BTreeSet::new(), BTreeSet::new());
        self.drain(&mut files, &mut marks);
        let mut messages = !files.is_empty();
        if messages || !marks.is_empty() {
            self.take(&files, &marks);
        }
        if self.must_load || self.must_poll() {
            messages = true;
            self.load();
        }
        self.marks.expire(host::wall_us());
        if messages {
            let mut newest: Vec<Message> = self.newest.values().cloned().collect();
            newest.sort_by(|a, b| message_place(a).cmp(&message_place(b)));
            messages = newest != out.messages;
            out.messages = newest;
        }
        let is_same = counts == *self.marks.counts() && fault == self.fault;
        Changed { messages, counts: !is_same }
    }

    /// Returns whether changes come without an event.
    pub(super) fn must_poll(&self) -> bool {
        let Followed { identity, bus, has_inbox, inbox } = &self.followed;
        identity.is_some() && bus.is_none()
            || *has_inbox && inbox.is_none()
            || self.watcher.is_none()
    }

    fn drain(&mut self, files: &mut BTreeSet<String>, marks: &mut BTreeSet<String>) {
        let Some(watcher) = &self.watcher else { return };
        let Followed { bus, inbox, .. } = self.followed;
        let mut must_load = false;
        watcher.drain(|event| match event {
            Event::Lost => must_load = true,
            Event::Itself(number) => must_load |= [bus, inbox].contains(&Some(number)),
            Event::In(number, name) => {
                let Ok(name) = std::str::from_utf8(name) else { return };
                if bus == Some(number) && id_of(name).is_some() {
                    files.insert(name.to_owned());
                } else if inbox == Some(number) {
                    marks.insert(name.to_owned());
                }
            }
        });
        self.must_load |= must_load;
    }

    /// Takes in files and marks that came, changed or went.
    fn take(&mut self, files: &BTreeSet<String>, marks: &BTreeSet<String>) {
        let opened = match self.open() {
            Ok(Some(opened)) if Some(opened.base.identity) == self.followed.identity => opened,
            // It is another bus now, or none.
            _ => return self.look_again(),
        };
        for file in files {
            self.take_file(&opened, file);
        }
        for mark in marks {
            let is_there =
                |inbox: &OwnedFd| statat(inbox, mark.as_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok();
            self.marks.set(mark, opened.inbox.as_ref().is_some_and(is_there));
        }
    }

    /// Reads everything.
    fn load(&mut self) {
        self.must_load = false;
        (self.newest, self.times, self.marks) = Default::default();
        (self.has_older, self.followed, self.fault) = Default::default();
        let mut load = || {
            let Some(opened) = self.open()? else { return Ok(()) };
            // Followed before it is read.
            let follow = |dir: BorrowedFd<'_>| self.watcher.as_ref()?.follow(dir);
            self.followed = Followed {
                identity: Some(opened.base.identity),
                bus: follow(opened.base.as_fd()),
                has_inbox: opened.inbox.is_some(),
                inbox: opened.inbox.as_ref().and_then(|inbox| follow(inbox.as_fd())),
            };
            self.load_files(&opened)?;
            self.load_marks(&opened)
        };
        self.fault = load().err();
    }

    fn open(&self) -> Result<Option<Opened>> {
        let Some(base) = zeta_state::directory::open(&self.dir, &BUS)? else { return Ok(None) };
        let path = || self.dir.join(INBOX_PATH);
        let inbox = open_inner(base.as_fd(), INBOX_PATH, &base, path)?;
        Ok(Some(Opened { base, inbox: inbox.map(|(inbox, _)| inbox) }))
    }

    fn load_files(&mut self, opened: &Opened) -> Result<()> {
        let names = list(opened.base.as_fd(), NAMES_MAX, &self.dir)?.names;
        let dir = opened.base.as_fd();
        let time = |file: String| {
            id_of(&file)?;
            let stat = statat(dir, file.as_str(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
            Some((times(&stat).mtime_us, file))
        };
        let mut files: Vec<(i64, String)> = names.into_iter().filter_map(time).collect();
        files.sort_unstable();
        while let Some((_, file)) = files.pop() {
            if self.newest.len() >= MESSAGES_MAX {
                self.has_older = true;
                break;
            }
            self.add_file(opened, &file);
        }
        Ok(())
    }

    fn load_marks(&mut self, opened: &Opened) -> Result<()> {
        let Some(inbox) = &opened.inbox else { return Ok(()) };
        for mark in list(inbox.as_fd(), NAMES_MAX, &self.dir.join(INBOX_PATH))?.names {
            self.marks.set(&mark, true);
        }
        Ok(())
    }

    /// Takes in a file that is new, changed or gone.
    fn take_file(&mut self, opened: &Opened, file: &str) {
        let Some(id) = id_of(file) else { return };
        let before = self.times.remove(id);
        if let Some(before) = before {
            self.newest.remove(&(before, id.to_owned()));
        }
        self.add_file(opened, file);
        let after = self.times.get(id);
        // One that is gone or became older leaves room for a message that was not read.
        self.must_load |= self.has_older && before.is_some() && after < before.as_ref();
        while self.newest.len() > MESSAGES_MAX {
            self.has_older = true;
            if let Some(((_, id), _)) = self.newest.pop_first() {
                self.times.remove(&id);
            }
        }
    }

    fn add_file(&mut self, opened: &Opened, file: &str) {
        let Some(id) = id_of(file) else { return };
        let path = || opened.base.path.join(file_of(id));
        let read = read(opened.base.as_fd(), file, ENVELOPE_MAX, &opened.base, path);
        // What is no message is named by a list of the bus.
        let Ok(Some(Bytes { bytes, times, .. })) = read else { return };
        let Ok(envelope) = Envelope::parse(&bytes, id) else { return };
        self.times.insert(id.to_owned(), times.mtime_us);
        self.newest.insert((times.mtime_us, id.to_owned()), message(&envelope, times.mtime_us));
    }
}

/// What a message says, in words where zeta knows its topic.
fn said(envelope: &Envelope) -> String {
    let text = |key| field(envelope, key);
    match (envelope.topic.as_str(), text("text"), text("action"), text("itemId")) {
        (topic::TEXT, Some(text), _, _) => text.to_owned(),
        (topic::CLAIM, _, Some("claim"), Some(item)) => match text("branch") {
            Some(branch) => format!("claims {item}, on branch {branch}"),
            None => format!("claims {item}"),
        },
        (topic::CLAIM, _, Some("release"), Some(item)) => format!("releases {item}"),
        _ => envelope.payload.to_string(),
    }
}

fn message(envelope: &Envelope, mtime_us: i64) -> Message {
    // The time of a file that lies in the future stays what it is.
    let seen = FileSeen { mtime_us, now_us: i64::MAX, is_imported: false };
    let sent_us = envelope.when().sent_us(seen);
    let said = said(envelope);
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    Message {
        id: envelope.id.clone(),
        at_us: if sent_us == i64::MIN { mtime_us } else { sent_us },
        topic: envelope.topic.clone(),
        from: envelope.from.clone(),
        to: envelope.to.clone(),
        text: words.chars().take(TEXT_MAX).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_said_in_words_and_an_unknown_form_as_it_is() {
        let item = "path:shop:src";
        for (topic, payload, wanted) in [
            ("text", json!({"text": "main is red"}), "main is red"),
            ("claim", json!({"action": "claim", "itemId": item}), "claims path:shop:src"),
            (
                "claim",
                json!({"action": "claim", "itemId": "B-1", "branch": "fix/b", "lease": "b-1"}),
                "claims B-1, on branch fix/b",
            ),
            ("claim", json!({"action": "release", "itemId": "B-1"}), "releases B-1"),
            ("claim", json!({"action": "claim"}), r#"{"action":"claim"}"#),
            ("note", json!({"text": "x"}), r#"{"text":"x"}"#),
        ] {
            let now = "2026-11-29T20:00:00.000Z";
            let whole = json!({"id": "a1", "topic": topic, "from": "ann", "to": "*",
                "timestamp": now, "expiresAt": now, "payload": payload});
            let envelope = Envelope::parse(whole.to_string().as_bytes(), "a1").unwrap();
            assert_eq!(message(&envelope, 0).text, wanted);
        }
    }
}
