//! Workers that claim an item: through the command line, and as the original does, by messages and
//! its own lock. Some of the original's messages are written so that they can hardly be read.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zeta_core::time::format_utc;

use super::Outcomes;
use super::arena::now_ns;
use super::command::output;
use super::worker::Worker;

/// The ways in which workers claim an item.
pub const WAYS: [&str; 3] = ["claim", "claim", "foreign"];
/// The item.
pub const ITEM: &str = "torture-item";
/// How long a claim lasts, in ms.
const LIFE_MS: u64 = 400;
/// The end of a right is known to a millisecond, because messages are dated so.
const DATED_NS: u64 = 2_000_000;
/// The prefix of the original's files here.
pub const FOREIGN: &str = "f-";

/// How the original's message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    HalfLetter,
    NotUtf8,
    TextBehind,
    WrongType,
    NoExpiry,
    TooLong,
    OtherId,
}

const FORMS: [Form; 10] = [
    Form::Plain,
    Form::Plain,
    Form::HalfLetter,
    Form::HalfLetter,
    Form::NotUtf8,
    Form::TextBehind,
    Form::WrongType,
    Form::NoExpiry,
    Form::TooLong,
    Form::OtherId,
];

impl Worker<'_> {
    /// Runs one round at the item.
    pub fn item(&mut self, how: &str) -> Outcomes<()> {
        match how {
            "claim" => self.claim(),
            _ => self.claim_by_message(),
        }?;
        self.rest();
        Ok(())
    }

    /// Runs `claim acquire`, perhaps `claim renew`, and `claim release`.
    fn claim(&mut self) -> Outcomes<()> {
        let (from, life) = (format!("w-{}", std::process::id()), format!("{LIFE_MS}ms"));
        let call = |worker: &Worker<'_>, verb: &str, more: &[&str]| {
            let mut command = worker.arena.zeta(Some(worker.lease), "-");
            command.args(["claim", verb, "-q", "--from", &from, "--item", ITEM]).args(more);
            output(&mut command)
        };
        let asked_ns = now_ns();
        let wait = if self.dice.bool() { "100ms" } else { "0s" };
        let acquired = call(self, "acquire", &["--ttl", &life, "--wait", wait])?;
        let got_ns = now_ns();
        let Ok(token) = String::from_utf8_lossy(&acquired.stdout).trim().parse::<u64>() else {
            return self.came_to_nothing(asked_ns, &acquired);
        };
        // The TTL began after the call: with --wait, at most that much later.
        let (until, pid) = (asked_ns + LIFE_MS * 1_000_000, std::process::id());
        self.story.say(&format!("enter {token} {asked_ns} {got_ns} {until} claim {pid}"))?;
        std::thread::sleep(self.stay());
        let word = token.to_string();
        if self.dice.u32(..4) == 0 {
            let asked_ns = now_ns();
            let renewed = call(self, "renew", &["--token", &word, "--ttl", &life])?;
            let until = asked_ns + LIFE_MS * 1_000_000;
            self.after("renew", token, asked_ns, &renewed, &format!(" {until}"))?;
            std::thread::sleep(self.stay());
        }
        self.story.say(&format!("leave {token} {}", now_ns()))?;
        let asked_ns = now_ns();
        let released = call(self, "release", &["--token", &word])?;
        self.after("freed", token, asked_ns, &released, "")
    }

    /// Claims as the original does: an exclusive lock, the rule, a message, no lock; and then a
    /// message that it is released.
    fn claim_by_message(&mut self) -> Outcomes<()> {
        let (bus, pid, asked_ns) = (self.arena.bus(), std::process::id(), now_ns());
        let form = self.dice.choice(FORMS).unwrap_or(Form::Plain);
        let id = format!("{FOREIGN}{pid}-{asked_ns}");
        if !acquire(&bus, &id, form, self.dice.u32(..4) == 0)? {
            return self.story.say(&format!("refused {asked_ns} {} waited", now_ns()));
        }
        // No grant has this number: tokens come from the wall clock.
        let (token, got_ns) = (asked_ns, now_ns());
        let until = (asked_ns + LIFE_MS * 1_000_000).saturating_sub(DATED_NS);
        self.story.say(&format!("enter {token} {asked_ns} {got_ns} {until} foreign {pid}"))?;
        std::thread::sleep(self.stay());
        self.story.say(&format!("leave {token} {}", now_ns()))?;
        // Two messages of one millisecond have no order.
        std::thread::sleep(Duration::from_millis(2));
        let release_ns = now_ns();
        if matches!(form, Form::Plain | Form::HalfLetter) {
            let release = format!("{FOREIGN}{pid}-{release_ns}");
            write(&bus, &release, message(&release, "release", Form::Plain), false)?;
        } else {
            let _ = fs::remove_file(bus.join(format!("{id}.json")));
        }
        self.story.say(&format!("freed {token} {release_ns} {}", now_ns()))
    }
}

/// Tries as the original does, three times; false if the item is held, or another process is at it.
fn acquire(bus: &Path, id: &str, form: Form, halting: bool) -> Outcomes<bool> {
    let lock = bus.join(format!("acquire-{ITEM}.lock"));
    for _ in 0..3 {
        match OpenOptions::new().write(true).create_new(true).open(&lock) {
            Ok(mut file) => {
                file.write_all(std::process::id().to_string().as_bytes())?;
                let free = is_free(bus)?;
                if free {
                    write(bus, id, message(id, "claim", form), halting)?;
                }
                fs::remove_file(&lock)?;
                return Ok(free);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// Writes a message in place, at times with a pause in the midst of it.
fn write(bus: &Path, id: &str, text: Vec<u8>, halting: bool) -> Outcomes<()> {
    let mut file = fs::File::create(bus.join(format!("{id}.json")))?;
    let (half, rest) = text.split_at(if halting { text.len() / 2 } else { 0 });
    file.write_all(half)?;
    if halting {
        std::thread::sleep(Duration::from_millis(3));
    }
    Ok(file.write_all(rest)?)
}

fn wall_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

/// The text of a message about the item.
fn message(id: &str, action: &str, form: Form) -> Vec<u8> {
    let now_us = wall_us();
    let date = |us: i64| format!("{}Z", format_utc(us).get(..23).unwrap_or_default());
    let expires = match form {
        Form::NoExpiry => String::new(),
        _ => format!(",\n  \"expiresAt\": \"{}\"", date(now_us + LIFE_MS as i64 * 1000)),
    };
    let branch = match form {
        Form::HalfLetter => "feat/\\ud83c".to_owned(),
        Form::TooLong => "x".repeat(70_000),
        _ => "feat/B".to_owned(),
    };
    let to = if form == Form::WrongType { "7" } else { "\"*\"" };
    let said = if form == Form::OtherId { "another" } else { id };
    let from = id.rsplit_once('-').map_or(id, |(from, _)| from);
    let behind = if form == Form::TextBehind { "} // the end" } else { "" };
    let text = format!(
        "{{\n  \"topic\": \"claim\",\n  \"payload\": {{ \"action\": \"{action}\", \"itemId\": \
         \"{ITEM}\", \"branch\": \"{branch}\" }},\n  \"id\": \"{said}\",\n  \
         \"from\": \"{from}\",\n  \"to\": {to},\n  \"timestamp\": \"{}\"{expires}\n}}{behind}",
        date(now_us)
    );
    let mut bytes = text.into_bytes();
    if form == Form::NotUtf8
        && let Some(letter) = bytes.iter_mut().find(|letter| **letter == b'B')
    {
        *letter = 0xe9;
    }
    bytes
}

/// Returns whether no message claims the item, by the rule of the original: of each sender the
/// newest message counts. A text is searched for its keys, so that no decoder decides.
fn is_free(bus: &Path) -> Outcomes<bool> {
    let mut newest: std::collections::BTreeMap<String, ((String, SystemTime), bool)> =
        std::collections::BTreeMap::new();
    let now = format_utc(wall_us());
    for entry in fs::read_dir(bus)?.flatten() {
        let path = entry.path();
        let Ok(bytes) = fs::read(&path) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let field = |key: &str| {
            let rest = text.split_once(&format!("\"{key}\": \""))?.1;
            Some(rest.split_once('"')?.0.to_owned())
        };
        let (Some(from), Some(sent)) = (field("from"), field("timestamp")) else { continue };
        let over = field("expiresAt").is_some_and(|date| date < now);
        if over || field("itemId").as_deref() != Some(ITEM) {
            continue;
        }
        let Ok(modified) = entry.metadata().and_then(|meta| meta.modified()) else { continue };
        let order = (sent, modified);
        if newest.get(&from).is_none_or(|(other, _)| *other <= order) {
            newest.insert(from, (order, field("action").as_deref() == Some("claim")));
        }
    }
    Ok(newest.values().all(|(_, claims)| !claims))
}
