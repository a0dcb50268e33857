//! The resource that the leases protect: it takes a write only with a token that is not lower than
//! that of the write before.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::Outcomes;
use super::arena::now_ns;
use super::story::Story;

/// The register of one lease.
pub struct Register {
    file: File,
    log: Story,
}

impl Register {
    /// Opens the register of a lease.
    pub fn open(dir: &Path, lease: &str) -> Outcomes<Register> {
        let path = dir.join(format!("{lease}.register"));
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Register { file, log: Story::open(dir, &format!("{lease}-register"))? })
    }

    /// Writes with this token, and logs whether that was accepted.
    pub fn write(&mut self, token: u64, how: &str) -> Outcomes<bool> {
        flock(&self.file, FlockOperation::LockExclusive)?;
        let mut bytes = [0; 8];
        let read = self.file.read_at(&mut bytes, 0)?;
        let highest = if read == bytes.len() { u64::from_ne_bytes(bytes) } else { 0 };
        let accepted = token >= highest;
        if accepted {
            self.file.write_all_at(&token.to_ne_bytes(), 0)?;
        }
        let word = if accepted { "accepted" } else { "refused" };
        self.log.say(&format!("{word} {token} {} {how}", now_ns()))?;
        flock(&self.file, FlockOperation::Unlock)?;
        Ok(accepted)
    }
}

/// The highest token that any process of a node has seen.
pub struct Highest(File);

impl Highest {
    /// Opens that of a node.
    pub fn open(dir: &Path, node: usize) -> Outcomes<Highest> {
        let path = dir.join(format!("highest-{node}"));
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Highest(file))
    }

    /// Raises it to at least this token, and returns it.
    pub fn raise(&self, token: u64) -> Outcomes<u64> {
        flock(&self.0, FlockOperation::LockExclusive)?;
        let mut bytes = [0; 8];
        let read = self.0.read_at(&mut bytes, 0)?;
        let highest = if read == bytes.len() { u64::from_ne_bytes(bytes) } else { 0 };
        if token > highest {
            self.0.write_all_at(&token.to_ne_bytes(), 0)?;
        }
        flock(&self.0, FlockOperation::Unlock)?;
        Ok(highest.max(token))
    }
}
