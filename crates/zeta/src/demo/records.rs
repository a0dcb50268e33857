//! The files of the state directory as any reader sees them, and their changes since the last call.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use zeta_core::layout;
use zeta_core::lease::Record;
use zeta_core::name::RecordName;
use zeta_core::record::{Fields, Text, parse};

use zeta_os::error::{Error, Kind, Result};

/// The keys whose changes are shown; the others are for programs.
const SHOWN: [&str; 15] = [
    "agent",
    "fencing_token",
    "status",
    "task",
    "pid",
    "child_pid",
    "ttl_ms",
    "grace_ms",
    "renew_seq",
    "acquired_at",
    "expires_at",
    "pr_url",
    "branch",
    "ended_at",
    "exit_status",
];

/// The node directory under observation.
pub(super) struct Records {
    /// The path of the directory.
    pub(super) dir: PathBuf,
    lease: RecordName,
    marker: RecordName,
    files: Vec<String>,
    shown: BTreeMap<String, Vec<String>>,
}

/// A file that changed.
pub(super) struct Change {
    pub(super) file: String,
    pub(super) what: &'static str,
    pub(super) lines: Vec<String>,
}

impl Records {
    pub(super) fn new(dir: PathBuf, lease: &str, marker: &str, agents: &[&str]) -> Result<Records> {
        let lease = RecordName::new("lease", lease)?;
        let marker = RecordName::new("marker", marker)?;
        let mut files = vec![layout::lease_file(&lease), layout::marker_file(&marker)];
        files.extend(agents.iter().map(|agent| layout::persona_file(agent)));
        Ok(Records { dir, lease, marker, files, shown: BTreeMap::new() })
    }

    /// Returns what changed since the last call.
    pub(super) fn changes(&mut self) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for file in &self.files {
            let now = self.read(file)?.map(|fields| shown(&fields));
            let what = match (self.shown.get(file), &now) {
                (None, Some(_)) => "appears",
                (Some(_), None) => "is removed",
                (Some(before), Some(now)) if before != now => "changes",
                _ => continue,
            };
            let before = self.shown.remove(file).unwrap_or_default();
            let lines = now.iter().flatten().filter(|line| !before.contains(line)).cloned();
            changes.push(Change { file: file.clone(), what, lines: lines.collect() });
            if let Some(now) = now {
                self.shown.insert(file.clone(), now);
            }
        }
        Ok(changes)
    }

    /// Reads the current record of the lease.
    pub(super) fn lease(&self) -> Result<Option<Record>> {
        let file = layout::lease_file(&self.lease);
        let Some(fields) = self.read(&file)? else { return Ok(None) };
        let record = Record::from_fields(&fields, &self.lease);
        record.map(Some).map_err(|damage| self.damaged(&file, &damage.to_string()))
    }

    /// Reads the current marker.
    pub(super) fn marker(&self) -> Result<Option<Fields<'static>>> {
        self.read(&layout::marker_file(&self.marker))
    }

    /// Reads the current record of an agent.
    pub(super) fn persona(&self, agent: &str) -> Result<Option<Fields<'static>>> {
        self.read(&layout::persona_file(agent))
    }

    /// Counts the tickets in the lease's queue.
    pub(super) fn queue_length(&self) -> usize {
        std::fs::read_dir(self.guard().join(layout::QUEUE)).map_or(0, |tickets| {
            tickets
                .flatten()
                .filter(|t| !t.file_name().as_encoded_bytes().starts_with(b"."))
                .count()
        })
    }

    /// Reads the highest token ever granted from the guard's own file.
    pub(super) fn highest_token(&self) -> Option<u64> {
        let text = std::fs::read_to_string(self.guard().join(layout::TOKEN_FILE)).ok()?;
        text.trim().parse().ok()
    }

    /// Reports whether the guard of the lease can be entered. A process that is stopped inside
    /// keeps all others out.
    pub(super) fn guard_is_free(&self) -> bool {
        File::open(self.guard()).is_ok_and(|guard| guard.try_lock().is_ok())
    }

    fn guard(&self) -> PathBuf {
        self.dir.join(layout::GUARDS).join(layout::lease_file(&self.lease))
    }

    fn read(&self, file: &str) -> Result<Option<Fields<'static>>> {
        let bytes = match std::fs::read(self.dir.join(file)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.damaged(file, &error.to_string())),
        };
        match parse(&bytes, layout::PERSONA_MAX) {
            Ok(Text::Own(fields)) => Ok(Some(fields.into_owned())),
            Ok(Text::Foreign(_)) => Err(self.damaged(file, "it is not a record of this standard")),
            Err(damage) => Err(self.damaged(file, &damage.to_string())),
        }
    }

    fn damaged(&self, file: &str, reason: &str) -> Error {
        let path: &Path = &self.dir.join(file);
        Error::new(Kind::Fault, format!("{}: {reason}", path.display()))
    }
}

fn shown(fields: &Fields<'_>) -> Vec<String> {
    let shown = fields.iter().filter(|(key, _)| SHOWN.contains(key));
    shown.map(|(key, value)| format!("{key}: {value}")).collect()
}
