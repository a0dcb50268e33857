//! A bus and a tree for one test, and the original's rule about claims, written down a second time
//! and from its description alone: the judge of what our files mean to others.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use serde_json::{Value, json};
use zeta_core::bus::item::Item;

use crate::support::{Out, Sandbox, run};

pub struct Place {
    pub sandbox: Sandbox,
    pub bus: PathBuf,
    /// What acquire printed, by holder and item: it shows later that a caller is the holder.
    tokens: Mutex<BTreeMap<(String, String), String>>,
}

impl Place {
    pub fn new() -> Place {
        let sandbox = Sandbox::new();
        let bus = sandbox.dir.join("bus");
        Place { sandbox, bus, tokens: Mutex::default() }
    }

    pub fn cmd(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.cmd(args);
        command.env("ZETA_BUS_DIR", &self.bus);
        command
    }

    pub fn zeta(&self, args: &[&str]) -> Out {
        run(&mut self.cmd(args))
    }

    /// A call that must end with `status`.
    pub fn ends(&self, status: i32, args: &[&str]) -> Out {
        let out = self.zeta(args);
        assert_eq!(out.status, status, "zeta {args:?}: {out:?}");
        out
    }

    pub fn json(&self, status: i32, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().chain(&["--json"]).copied().collect();
        let out = self.ends(status, &args);
        serde_json::from_str(&out.out).unwrap_or_else(|error| panic!("{error}: {out:?}"))
    }

    pub fn acquire(&self, status: i32, from: &str, item: &str) -> Value {
        self.acquire_with(status, from, item, &[])
    }

    pub fn acquire_with(&self, status: i32, from: &str, item: &str, more: &[&str]) -> Value {
        let args = [&["claim", "acquire", "--from", from, "--item", item], more].concat();
        let answer = self.json(status, &args);
        if status == 0 {
            let token = answer["fencing_token"].to_string();
            self.tokens.lock().unwrap().insert((from.to_owned(), item.to_owned()), token);
        }
        answer
    }

    /// The same holder again: it gives its token.
    pub fn again(&self, status: i32, from: &str, item: &str) -> Value {
        self.acquire_with(status, from, item, &["--token", &self.token(from, item)])
    }

    pub fn token(&self, from: &str, item: &str) -> String {
        self.tokens.lock().unwrap()[&(from.to_owned(), item.to_owned())].clone()
    }

    /// A release by the holder, which gives its token if `acquire` got one for it.
    pub fn release(&self, status: i32, from: &str, item: &str) -> Value {
        let known = self.tokens.lock().unwrap().get(&(from.to_owned(), item.to_owned())).cloned();
        let args = ["claim", "release", "--from", from, "--item", item];
        match known {
            Some(token) => self.json(status, &[&args[..], &["--token", &token]].concat()),
            None => self.json(status, &args),
        }
    }

    /// The names of the bus that are not our own directory.
    pub fn files(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.bus) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != ".zeta").collect();
        names.sort();
        names
    }

    /// Who holds an item to the eyes of the original.
    pub fn original_holders(&self, item: &str) -> Vec<String> {
        original_holders(&self.bus, item)
    }

    /// Stores a message as the original does: in place, without a temp.
    pub fn original_publish(&self, from: &str, action: &str, item: &str) -> String {
        original_publish(&self.bus, from, action, item)
    }
}

pub fn original_publish(bus: &std::path::Path, from: &str, action: &str, item: &str) -> String {
    let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
    let id = random.trim().to_owned();
    let now_us = zeta_os::host::wall_us();
    let message = json!({
        "topic": "claim",
        "payload": { "action": action, "itemId": item },
        "id": id,
        "from": from,
        "to": "*",
        "timestamp": zeta_bus::messages::utc_ms(now_us),
        "expiresAt": zeta_bus::messages::utc_ms(now_us + 86_400_000_000),
    });
    let text = serde_json::to_string_pretty(&message).unwrap();
    std::fs::write(bus.join(format!("{id}.json")), text).unwrap();
    id
}

/// Acquires as the original does: an exclusive lock, three tries, the rule, a message, no lock.
pub fn original_acquire(bus: &std::path::Path, from: &str, item: &str) -> bool {
    let lock = bus.join(Item::new(item).unwrap().original_lock());
    for _ in 0..3 {
        match OpenOptions::new().write(true).create_new(true).open(&lock) {
            Ok(mut file) => {
                file.write_all(std::process::id().to_string().as_bytes()).unwrap();
                let holders = original_holders(bus, item);
                let free = holders.iter().all(|holder| holder == from);
                if free {
                    original_publish(bus, from, "claim", item);
                }
                std::fs::remove_file(&lock).unwrap();
                return free;
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => panic!("{error}"),
        }
    }
    false
}

/// Among the claim messages of an item that have not expired, the newest action per sender counts;
/// newest is by timestamp, then by the file's modification time.
pub fn original_holders(bus: &std::path::Path, item: &str) -> Vec<String> {
    let mut newest: BTreeMap<String, ((String, std::time::SystemTime), bool)> = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(bus) else { return Vec::new() };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let Ok(message) = serde_json::from_slice::<Value>(&bytes) else { continue };
        let text = |key: &str| message[key].as_str().map(str::to_owned);
        let (Some(from), Some(timestamp), Some(expires)) =
            (text("from"), text("timestamp"), text("expiresAt"))
        else {
            continue;
        };
        let now = zeta_bus::messages::utc_ms(zeta_os::host::wall_us());
        let payload = &message["payload"];
        if text("topic").as_deref() != Some("claim") || expires < now || payload["itemId"] != item {
            continue;
        }
        let claims = match payload["action"].as_str() {
            Some("claim") => true,
            Some("release") => false,
            _ => continue,
        };
        let Ok(modified) = path.metadata().and_then(|meta| meta.modified()) else { continue };
        let order = (timestamp, modified);
        match newest.get(&from) {
            Some((other, _)) if *other > order => {}
            _ => _ = newest.insert(from, (order, claims)),
        }
    }
    newest.into_iter().filter(|(_, (_, claims))| *claims).map(|(from, _)| from).collect()
}
