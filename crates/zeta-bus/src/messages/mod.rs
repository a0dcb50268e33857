//! Publishes, lists and reads messages. [`follow`] follows the bus, [`wake`] waits for mail.

pub mod channel;
pub mod follow;
pub mod inbox;
pub mod mailbox;
pub mod report;
pub mod send;
pub mod state_changes;
pub mod status;
pub mod wake;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use zeta_core::bus::{
    Address, DEPTH_MAX, ENVELOPE_MAX, Envelope, Fate, FileSeen, Header, IN_REPLY_TO, Reader,
    Recipient, THREAD, is_for_many, is_id, topic,
};
use zeta_core::record::printable;
use zeta_core::time::{format_duration, format_utc};

use crate::directory::index::{Cursor, INDEX_LIMIT, Index, Message, Unread};
use crate::directory::{Bus, delivery_log, file_of};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;

/// Most messages of a bus: beyond that, new ones are refused until the bus is cleaned.
pub const MESSAGES_MAX: u64 = 100_000;
/// Most dead letters; the oldest are removed first.
const DEAD_MAX: usize = 500;

/// A message to publish.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// The sender.
    pub from: Address,
    /// The recipient.
    pub to: Recipient,
    /// The topic.
    pub topic: String,
    /// The payload.
    pub payload: Value,
    /// The time until it expires, in ms; a known topic has a default.
    pub life_ms: Option<u64>,
    /// Whether the payload is published without the check of its topic.
    pub unchecked: bool,
    /// The message that it answers.
    pub reply: Option<Reply>,
}

/// The message that another one answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its id.
    pub to: String,
    /// The id of the first message of its thread.
    pub thread: String,
}

/// A selection of messages.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only messages of this topic.
    pub topic: Option<String>,
    /// Only messages of this sender.
    pub from: Option<String>,
    /// Only messages that this reader gets.
    pub to: Option<Reader>,
    /// Only messages of the thread that begins with this one.
    pub thread: Option<String>,
    /// Also expired messages.
    pub expired: bool,
    /// How long to wait for another process in the index, if not [`INDEX_LIMIT`].
    pub busy_limit: Option<Duration>,
}

/// What a [`Filter`] looks at.
struct Sent<'a> {
    topic: &'a str,
    from: &'a str,
    to: &'a str,
    us: i64,
    fate: Fate,
}

impl Filter {
    fn wants(&self, sent: &Sent<'_>, is_in_thread: impl FnOnce(&str) -> bool) -> bool {
        self.topic.as_ref().is_none_or(|wanted| wanted == sent.topic)
            && self.from.as_ref().is_none_or(|wanted| wanted == sent.from)
            && self.to.as_ref().is_none_or(|reader| reader.gets(sent.from, sent.to, sent.us))
            && (self.expired || matches!(sent.fate, Fate::Lives(_)))
            && self.thread.as_deref().is_none_or(is_in_thread)
    }
}

/// A message, and whether it has expired.
#[derive(Debug, Clone)]
pub struct MessageView {
    /// The message.
    pub envelope: Envelope,
    /// The time when it was sent, corrected if it is in the future, in µs.
    pub sent_us: i64,
    /// The modification time of its file, in µs: the order of messages that were sent at one time.
    pub stored_us: i64,
    /// Whether it has expired.
    pub fate: Fate,
}

/// Messages in the order in which they were sent, and findings.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The messages.
    pub messages: Vec<MessageView>,
    /// Files that are not messages, and messages with wrong times.
    pub findings: Vec<Error>,
}

impl NewMessage {
    /// Makes the envelope of the message, checked against its topic and all limits.
    pub fn envelope(&self) -> Result<Envelope> {
        let refuse = |text: String| Error::usage(format!("message refused: {text}"));
        let known = topic::known(&self.topic);
        if known.is_none() && !topic::is_name(&self.topic) {
            return Err(refuse(format!("topic {:?} is not a name", self.topic)));
        }
        let life_ms = match (self.life_ms, known) {
            (Some(ms), _) if ms == 0 || ms > topic::LIFE_MAX_MS => {
                let most = format_duration(topic::LIFE_MAX_MS);
                return Err(refuse(format!("a message lives up to {most}")));
            }
            (Some(ms), _) => ms,
            (None, Some(topic)) => topic.life_ms,
            (None, None) => return Err(unknown_topic(&self.topic)),
        };
        if let Some(topic) = known
            && !self.unchecked
        {
            topic.check(&self.payload).map_err(|wrong| {
                refuse(format!("topic {}: {wrong}", self.topic))
                    .hint("to publish it anyway: --unchecked")
            })?;
        }
        let now_us = host::wall_us();
        let life_us = i64::try_from(life_ms).unwrap_or(i64::MAX).saturating_mul(1000);
        let mut extra = serde_json::Map::new();
        if let Some(reply) = &self.reply {
            extra.insert(IN_REPLY_TO.to_owned(), reply.to.as_str().into());
            extra.insert(THREAD.to_owned(), reply.thread.as_str().into());
        }
        let envelope = Envelope {
            topic: self.topic.clone(),
            payload: self.payload.clone(),
            id: uuid()?,
            from: self.from.to_string(),
            to: self.to.as_str().to_owned(),
            timestamp: utc_ms(now_us),
            expires_at: utc_ms(now_us.saturating_add(life_us)),
            extra,
        };
        let text = envelope.render();
        match Envelope::parse(text.as_bytes(), &envelope.id) {
            Ok(_) => Ok(envelope),
            Err(error) => Err(refuse(error.to_string())
                .hint(format!("at most {ENVELOPE_MAX} bytes, nested {DEPTH_MAX} deep"))
                .hint("put a longer text into a file, and its path into the message")),
        }
    }
}

fn unknown_topic(name: &str) -> Error {
    let names = topic::TOPICS.iter().map(|topic| topic.name);
    let near = names.clone().min_by_key(|known| strsim::levenshtein(known, name));
    let error = Error::usage(format!("message refused: topic {name:?} is not known"))
        .hint("for another topic, set the time until its messages expire: --topic-ttl 1h");
    match near {
        Some(near) if strsim::levenshtein(near, name) <= 3 => {
            error.hint(format!("did you mean {near}?"))
        }
        _ => error.hint(format!("known: {}", names.collect::<Vec<_>>().join(", "))),
    }
}

/// Publishes a message. When this returns, every reader finds it whole.
pub fn publish(dir: &Path, message: &NewMessage) -> Result<Envelope> {
    let envelope = message.envelope()?;
    let bus = Bus::open_or_create(dir)?;
    let recipients = match &message.to {
        Recipient::All => Vec::new(),
        Recipient::Agent(address) => vec![address.as_str().to_owned()],
        Recipient::Channel(channel) => channel::members(&bus, channel)?,
    };
    publish_to(&bus, &envelope, &recipients)?;
    Ok(envelope)
}

/// Publishes a message, and marks it as unread for these recipients.
pub(crate) fn publish_to(bus: &Bus, envelope: &Envelope, recipients: &[String]) -> Result<()> {
    let is_sender = |one: &String| is_for_many(&envelope.to) && *one == envelope.from;
    let marked: Vec<&String> = recipients.iter().filter(|one| !is_sender(one)).collect();
    // Before the message: a subscriber that gets it at once removes the mark.
    marked.iter().for_each(|one| inbox::mark(bus, one, envelope));
    let stored = store(bus, envelope);
    if stored.is_err() {
        marked.iter().for_each(|one| inbox::unmark(bus, one, envelope));
    }
    stored
}

/// Publishes an envelope. It does not wait for a process inside the index.
pub fn store(bus: &Bus, envelope: &Envelope) -> Result<()> {
    match Index::enter(bus, Duration::ZERO)? {
        None => bus.publish(&envelope.id, &envelope.render()).map(|_| ()),
        Some(mut index) => {
            if index.count() >= MESSAGES_MAX {
                // The bus may have been cleaned since the count.
                index.refresh()?;
            }
            refuse_when_full(bus, index.count())?;
            store_inside(bus, &mut index, envelope)
        }
    }
}

/// As [`store`], on a full bus, too: a release must be published.
pub(crate) fn store_always(bus: &Bus, envelope: &Envelope) -> Result<()> {
    store_all_always(bus, std::slice::from_ref(envelope))
}

/// As [`store_always`], several messages at once.
pub(crate) fn store_all_always(bus: &Bus, envelopes: &[Envelope]) -> Result<()> {
    let mut index = Index::enter(bus, Duration::ZERO)?;
    envelopes.iter().try_for_each(|envelope| match &mut index {
        None => bus.publish(&envelope.id, &envelope.render()).map(|_| ()),
        Some(index) => store_inside(bus, index, envelope),
    })
}

/// As [`store`], for a caller inside the index.
pub(crate) fn store_inside(bus: &Bus, index: &mut Index<'_>, envelope: &Envelope) -> Result<()> {
    let mtime_us = bus.publish(&envelope.id, &envelope.render())?;
    index.remember(envelope, mtime_us);
    Ok(())
}

fn refuse_when_full(bus: &Bus, count: u64) -> Result<()> {
    if count < MESSAGES_MAX {
        Ok(())
    } else {
        Err(Error::new(
            Kind::Refused,
            format!("{}: the bus is full: {count} messages", bus.base.path.display()),
        )
        .hint("remove expired messages: zeta bus clean --expired"))
    }
}

/// A message as a list shows it.
#[derive(Debug)]
pub struct Row<'a> {
    /// The message.
    pub header: Header<'a>,
    /// The time when it was sent, corrected if it is in the future, in µs.
    pub sent_us: i64,
    /// The modification time of its file, in µs.
    pub stored_us: i64,
    /// Whether it has expired.
    pub fate: Fate,
}

/// As [`list`], without parsing payloads: `show` gets the rows and the findings.
pub fn show<T>(
    dir: &Path,
    filter: &Filter,
    show: impl FnOnce(&[Row<'_>], &[Error]) -> Result<T>,
) -> Result<T> {
    let Some(bus) = Bus::open(dir)? else { return show(&[], &[]) };
    let mut index = Index::enter_or_fail(&bus, filter.busy_limit.unwrap_or(INDEX_LIMIT))?;
    index.refresh()?;
    let snapshot = index.snapshot(&mut Cursor::default());
    drop(index);
    let (headers, unread) = snapshot.headers();
    let mut findings: Vec<Error> =
        unread.iter().map(|unread| not_a_message(&bus, unread)).collect();
    let now_us = host::wall_us();
    let mut rows = Vec::with_capacity(headers.len());
    for (header, file) in headers {
        let seen = file.seen(now_us);
        let fate = header.when().fate(seen);
        findings.extend(finding(&header, seen));
        let (us, stored_us) = (header.when().sent_us(seen), file.mtime_us);
        let sent = Sent { topic: &header.topic, from: &header.from, to: &header.to, us, fate };
        if filter.wants(&sent, |first| header.is_in_thread(first)) {
            rows.push(Row { sent_us: us, stored_us, header, fate });
        }
    }
    let order = |row: &Row<'_>| (row.sent_us, row.stored_us);
    rows.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.header.id.cmp(&b.header.id)));
    show(&rows, &findings)
}

/// Lists the messages of the bus, parsed.
pub fn list(dir: &Path, filter: &Filter) -> Result<Listing> {
    show(dir, filter, |rows, findings| {
        let mut listing = Listing { messages: Vec::new(), findings: findings.to_vec() };
        for Row { header, sent_us, stored_us, fate } in rows {
            match header.whole() {
                Ok(envelope) => {
                    let (sent_us, stored_us, fate) = (*sent_us, *stored_us, *fate);
                    listing.messages.push(MessageView { envelope, sent_us, stored_us, fate });
                }
                Err(error) => listing.findings.push(
                    Error::new(Kind::Unsafe, format!("message {}: {error}", header.id)).hint(STAYS),
                ),
            }
        }
        Ok(listing)
    })
}

/// What becomes of a file that is no message.
const STAYS: &str = "it cannot be read as a message, and zeta leaves it where it is: \
                     find the program that wrote it";

/// Makes the finding about a file that is no message.
pub(crate) fn not_a_message(bus: &Bus, unread: &Unread) -> Error {
    let path = bus.path(&unread.file);
    let (path, reason) = (printable(&path.to_string_lossy()).into_owned(), &unread.reason);
    // A reason that comes from the file system names the path itself.
    let text = match reason.contains(&path) {
        true => reason.clone(),
        false => format!("{path}: {reason}"),
    };
    Error::new(Kind::Unsafe, text).hint(STAYS)
}

/// Selects messages, and sorts them by time.
pub(crate) fn sort_out(messages: Vec<Message>, filter: &Filter) -> Vec<MessageView> {
    let now_us = host::wall_us();
    let mut wanted = Vec::new();
    for Message { envelope, file } in messages {
        let seen = file.seen(now_us);
        let fate = envelope.when().fate(seen);
        let us = envelope.when().sent_us(seen);
        let Envelope { topic, from, to, .. } = &envelope;
        if filter.wants(&Sent { topic, from, to, us, fate }, |first| envelope.is_in_thread(first)) {
            wanted.push(MessageView { sent_us: us, stored_us: file.mtime_us, envelope, fate });
        }
    }
    let order = |view: &MessageView| (view.sent_us, view.stored_us);
    wanted.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.envelope.id.cmp(&b.envelope.id)));
    wanted
}

fn finding(header: &Header<'_>, seen: FileSeen) -> Option<Error> {
    let id = &header.id;
    if header.when().is_endless() {
        let what = printable(&header.expires_at);
        let text = format!(
            "message {id}: its expiry {what:?} is not a time, so it counts from the time of its \
             file for as long as its topic"
        );
        let hint = "after that, 'zeta bus clean --expired' removes it";
        return Some(Error::new(Kind::Unsafe, text).hint(hint));
    }
    if header.when().is_future(seen) {
        let when = printable(&header.timestamp);
        let text =
            format!("message {id} has a time in the future ({when}): the time of its file counts");
        return Some(Error::new(Kind::Unsafe, text).hint("the clock of its sender is wrong"));
    }
    None
}

/// Reads one message, expired or not; `None` if there is none with this id. If `reader` is given,
/// its log records that it read the message.
pub fn read(dir: &Path, id: &str, reader: Option<&str>) -> Result<Option<MessageView>> {
    check_id(id)?;
    let Some(bus) = Bus::open(dir)? else { return Ok(None) };
    let Some(read) = bus.read(&file_of(id))? else { return Ok(None) };
    let path = bus.path(&file_of(id));
    let envelope = Envelope::parse(&read.bytes, id)
        .map_err(|error| Error::not_safe(&path, error).hint("it is not a message"))?;
    let (mtime_us, is_imported) = (read.times.mtime_us, !read.is_writable);
    let file = FileSeen { mtime_us, now_us: host::wall_us(), is_imported };
    if let Some(reader) = reader {
        check_surface(reader)?;
        match delivery_log::DeliveryLog::enter(&bus, reader, Duration::ZERO) {
            Ok(mut seen) => {
                seen.note(id, delivery_log::Delivery::Read)?;
                seen.finish()?;
            }
            // It is being delivered to this very reader, whose handler reads it.
            Err(error) if error.kind == Kind::Busy => {}
            Err(error) => return Err(error),
        }
        inbox::unmark(&bus, reader, &envelope);
    }
    Ok(Some(MessageView {
        sent_us: envelope.when().sent_us(file),
        stored_us: file.mtime_us,
        fate: envelope.when().fate(file),
        envelope,
    }))
}

/// Returns the first message of the thread that a message is in, on the bus or not.
pub fn thread_of(dir: &Path, id: &str) -> Result<String> {
    let found = read(dir, id, None)?;
    Ok(found.map_or(id.to_owned(), |seen| seen.envelope.thread().to_owned()))
}

/// Refuses an id that would leave the directory.
pub fn check_id(id: &str) -> Result<()> {
    if is_id(id) {
        Ok(())
    } else {
        Err(Error::usage(format!("message id {id:?} is not valid"))
            .hint("ids are printed by 'zeta bus publish' and 'zeta bus list'"))
    }
}

/// Refuses a name of a subscriber that is not valid.
pub fn check_surface(surface: &str) -> Result<()> {
    if delivery_log::is_surface(surface) {
        Ok(())
    } else {
        Err(Error::usage(format!(
            "subscriber {surface:?} is not valid: write an address, as in otto-cli or otto/cli@node"
        )))
    }
}

pub(crate) fn limit_dead_letters(bus: &Bus) -> Result<()> {
    let mut dead = bus.dead_letters()?;
    if dead.len() <= DEAD_MAX {
        return Ok(());
    }
    dead.sort_by_key(|(_, read)| read.times.ctime_us);
    for (file, _) in dead.iter().take(dead.len() - DEAD_MAX) {
        bus.remove_dead_letter(file)?;
    }
    Ok(())
}

/// Returns the dead letters.
pub fn dead_letters(dir: &Path) -> Result<Vec<Envelope>> {
    let Some(bus) = Bus::open(dir)? else { return Ok(Vec::new()) };
    let mut dead = Vec::new();
    for (file, read) in bus.dead_letters()? {
        // Nothing is put there but whole messages; another program's file is none.
        let Some(id) = crate::directory::id_of(&file) else { continue };
        if let Ok(envelope) = Envelope::parse(&read.bytes, id) {
            dead.push((envelope.timestamp.clone(), read.times.mtime_us, envelope));
        }
    }
    dead.sort_by(|a, b| (&a.0, a.1, &a.2.id).cmp(&(&b.0, b.1, &b.2.id)));
    Ok(dead.into_iter().map(|(_, _, envelope)| envelope).collect())
}

/// Formats a time as the original does: ISO 8601 with milliseconds.
pub fn utc_ms(wall_us: i64) -> String {
    let text = format_utc(wall_us);
    format!("{}Z", text.get(..23).unwrap_or(&text))
}

/// Makes a random UUID of version 4.
fn uuid() -> Result<String> {
    let bits = host::random()?;
    let bits = bits & !(0xf << 76) | (0x4 << 76);
    let bits = bits & !(0x3 << 62) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}
