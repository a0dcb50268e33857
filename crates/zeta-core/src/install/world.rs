//! A machine in memory, for the tests: disks that change in single steps, and a power supply that
//! ends after a number of them.

use super::journal::{Chosen, Event, Journal, whole_len};
use super::manifest::Manifest;
use super::next::{Action, PROTECTION, next};
use super::plan::{Given, PASSWORD, Plan, WIPE};
use super::seen::{Disk, DiskId, PartSeen, Prior, Seen};
use super::step::Step;

pub(super) const DIGEST: &str = "digest of the manifest";
pub(super) const RUN: &str = "0123456789abcdef0123456789abcdef";

/// The power is off.
#[derive(Debug)]
pub(super) struct Cut;

/// How a call of `run` ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Finished,
    Refused(&'static str),
    Cut,
    ToolFailed,
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) manifest: Manifest,
    pub(super) digest: &'static str,
    pub(super) seen: Seen,
    pub(super) journal: String,
    /// What its lines say, as the call knows it that is at work.
    read: Journal,
    /// How many single changes the power lasts for.
    pub(super) power: usize,
    /// A step whose tool fails once.
    pub(super) fails: Option<Step>,
    /// The system was built on these disks.
    pub(super) is_built: bool,
    /// Something of a system that was built was destroyed.
    pub(super) was_destroyed: bool,
    /// An older file system begins on the disk where a new partition will.
    pub(super) older: [bool; 2],
    /// How often each table was made, and each file system.
    pub(super) made: Vec<String>,
}

pub(super) fn disk(path: &str, serial: &str, size: u64) -> Disk {
    let id = DiskId { serial: serial.to_owned(), size, ..DiskId::default() };
    Disk { path: path.to_owned(), id, ..Disk::default() }
}

pub(super) fn manifest(text: &str) -> Manifest {
    serde_json::from_str(text).unwrap()
}

pub(super) const MANIFEST: &str = r#"{"schema": 1, "ace": {
    "disks": {"boot": "A1", "data": "rest", "wipe_strategy": "full"},
    "partitions": {"boot": {"root": "16G"}},
    "source": "https://example.org/nodes.git",
    "initial_password": {"source": "generate"},
    "nixos_install": {"flake": "worker"}}}"#;

impl World {
    /// A machine with a node that was there before, and a second disk with a file system.
    pub(super) fn new() -> World {
        let part = |number: u32, guid: &str, content: &str| PartSeen {
            path: format!("/dev/sda{number}"),
            guid: guid.to_owned(),
            content: content.to_owned(),
            ..PartSeen::default()
        };
        let old = Disk {
            content: "gpt:old".to_owned(),
            parts: vec![part(1, "o1", "vfat:AAAA-0001"), part(2, "o2", "ext4:old-root")],
            prior: Some(Prior { node: Some("kestrel".to_owned()), ..Prior::default() }),
            ..disk("/dev/sda", "A1", 64 << 30)
        };
        let data = Disk { content: "ext4:old-data".to_owned(), ..disk("/dev/sdb", "B2", 32 << 30) };
        World {
            manifest: manifest(MANIFEST),
            digest: DIGEST,
            seen: Seen { disks: vec![old, data], ..Seen::default() },
            journal: String::new(),
            read: Journal::default(),
            power: usize::MAX,
            fails: None,
            is_built: false,
            was_destroyed: false,
            older: [true; 2],
            made: Vec::new(),
        }
    }

    pub(super) fn plan(&self, given: &Given) -> (Plan, Journal) {
        let journal = self.read.clone();
        let plan = Plan::new(&self.manifest, self.digest, &self.seen, &journal, given, RUN);
        (plan, journal)
    }

    /// One call: until the end, a refusal or a cut.
    pub(super) fn run(&mut self, phrase: &str) -> End {
        let mut given = Given::default();
        given.answers.insert(WIPE.to_owned(), phrase.to_owned());
        given.secrets.insert(PASSWORD.to_owned());
        let mut checked = false;
        // What a call that was cut off left of a line goes first.
        self.journal.truncate(whole_len(self.journal.as_bytes()));
        self.read = Journal::read(self.journal.as_bytes());
        for _ in 0..100 {
            let (plan, journal) = self.plan(&given);
            let done = match next(&plan, &journal, &self.seen, checked) {
                Action::Refuse(refusal) => return End::Refused(refusal.word()),
                Action::Ask(questions) => return End::Refused(questions[0].id),
                Action::Finished if journal.is_finished => return End::Finished,
                Action::Finished => {
                    // The program writes the end on the node, too.
                    assert!(self.seen.is_mounted, "finished without the node");
                    self.append(Event::Finished).map_err(|_| End::Cut)
                }
                Action::Check => {
                    checked = true;
                    Ok(())
                }
                Action::Mount => {
                    self.seen.is_mounted = true;
                    Ok(())
                }
                Action::Do(step) => self.carry_out(step, &plan),
            };
            match done {
                Ok(()) => {}
                Err(end) => return end,
            }
        }
        panic!("it does not end: {}", self.journal);
    }

    fn carry_out(&mut self, step: Step, plan: &Plan) -> Result<(), End> {
        let cut = |_: Cut| End::Cut;
        if self.read.run.is_empty() {
            let event = Event::Begun { run: RUN.to_owned(), manifest: self.digest.to_owned() };
            self.append(event).map_err(cut)?;
        }
        self.append(Event::Intent { step }).map_err(cut)?;
        if self.fails.take_if(|fails| *fails == step).is_some() {
            self.append(Event::Failed { step, why: "it said no".to_owned() }).map_err(cut)?;
            return Err(End::ToolFailed);
        }
        match step {
            Step::Choose => self.append(Event::Chosen { disks: plan.chosen.clone() }),
            Step::Wipe => self.each(plan, World::wipe),
            Step::Partition => self.each(plan, World::partition),
            Step::Format => self.each(plan, World::format),
            step => self.change(|world| {
                world.is_built |= step == Step::Build;
                world.seen.holds.insert(step);
            }),
        }
        .map_err(cut)?;
        self.append(Event::Done { step, found: String::new() }).map_err(cut)
    }

    fn append(&mut self, event: Event) -> Result<(), Cut> {
        let line = self.read.render("2026-11-30T09:00:00.000000Z", &event);
        let (begin, end) = line.split_at(line.len() / 2);
        self.change(|world| world.journal.push_str(begin))?;
        self.change(|world| {
            world.journal.push_str(end);
            world.read.add(event);
        })
    }

    /// One change that happens whole or not at all.
    fn change(&mut self, change: impl FnOnce(&mut World)) -> Result<(), Cut> {
        self.power = self.power.checked_sub(1).ok_or(Cut)?;
        change(self);
        Ok(())
    }

    fn each(
        &mut self,
        plan: &Plan,
        what: impl Fn(&mut World, usize, &super::layout::Table) -> Result<(), Cut>,
    ) -> Result<(), Cut> {
        let chosen: Vec<&Chosen> = plan.chosen.iter().collect();
        for (chosen, table) in chosen.into_iter().zip(&plan.tables) {
            let at = self.seen.disks.iter().position(|disk| disk.id == chosen.id);
            what(self, at.unwrap(), table)?;
        }
        Ok(())
    }

    fn destroys(&mut self, at: usize) {
        self.was_destroyed |= self.is_built && at == 0;
    }

    fn wipe(&mut self, at: usize, _: &super::layout::Table) -> Result<(), Cut> {
        for part in 0..self.seen.disks[at].parts.len() {
            self.change(|world| {
                world.destroys(at);
                world.seen.disks[at].parts[part].content.clear();
            })?;
        }
        self.change(|world| {
            let is_gpt = world.seen.disks[at].content.starts_with("gpt:");
            world.seen.disks[at].parts.clear();
            world.seen.disks[at].prior = None;
            world.seen.disks[at].content = if is_gpt { PROTECTION.into() } else { String::new() };
        })?;
        self.change(|world| world.seen.disks[at].content.clear())?;
        self.change(|world| world.older[at] = false)
    }

    fn partition(&mut self, at: usize, table: &super::layout::Table) -> Result<(), Cut> {
        if !table.is_on(&self.seen.disks[at]) {
            self.change(|world| {
                world.destroys(at);
                world.made.push(table.guid.clone());
                world.seen.disks[at].content = table.content();
                world.seen.disks[at].parts.clear();
            })?;
            for part in &table.parts {
                let seen = PartSeen {
                    path: String::new(),
                    guid: part.guid.clone(),
                    start: part.start,
                    end: part.end,
                    content: if self.older[at] { "ext4:older".to_owned() } else { String::new() },
                };
                self.change(|world| world.seen.disks[at].parts.push(seen))?;
            }
        }
        Ok(())
    }

    fn format(&mut self, at: usize, table: &super::layout::Table) -> Result<(), Cut> {
        for (number, part) in table.parts.iter().enumerate() {
            if self.seen.disks[at].parts[number].content == part.content() {
                continue;
            }
            self.change(|world| {
                world.destroys(at);
                world.made.push(part.fs_id.clone());
                world.seen.disks[at].parts[number].content = part.content();
            })?;
        }
        Ok(())
    }
}
