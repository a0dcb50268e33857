//! The public keys of nodes, in the file `keys`: one line `NODE KEY` for each.
//!
//! A key that is not there is added when the node's signed card is first seen, as `ssh` does it
//! with hosts; from then on no other key counts for this node. A line `strict` forbids that: then
//! only the operator adds keys. Lines that begin with `#` are remarks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use nkeys::KeyPairType;
use zeta_core::cluster::envelope::{Checked, SIGNATURE_LEN};
use zeta_core::name::Label;
use zeta_os::error::Result;
use zeta_os::files::read_plain;
use zeta_os::{flock, temp_file};

use crate::identity::{self, broken};

/// The name of the file.
pub const KEYS_FILE: &str = "keys";
/// The line that forbids to add a key at first sight.
const STRICT: &str = "strict";
const TEMP: &str = ".keys.";
const BYTES_MAX: u64 = 2 << 20;

/// The keys that are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// The text of each, and the key that it means: to read it takes a part of the time of a check.
    known: BTreeMap<Label, (String, VerifyingKey)>,
    /// Only the operator adds keys.
    pub strict: bool,
    path: PathBuf,
}

impl Keys {
    /// Reads the file; no file is no keys.
    ///
    /// # Errors
    /// It cannot be read, or a line is not one of its kinds.
    pub fn load(dir: &Path) -> Result<Keys> {
        let path = dir.join(KEYS_FILE);
        match read_plain(&path, BYTES_MAX) {
            Ok(bytes) => Keys::parse(&bytes, path),
            Err(error) if error.kind() == ErrorKind::NotFound => Keys::parse(b"", path),
            Err(error) => Err(broken(&path, &error)),
        }
    }

    /// Reads a file of the same form, which must be there.
    ///
    /// # Errors
    /// As [`Keys::load`].
    pub fn read(path: &Path) -> Result<Keys> {
        let bytes = read_plain(path, BYTES_MAX).map_err(|error| broken(path, &error))?;
        Keys::parse(&bytes, path.to_owned())
    }

    fn parse(bytes: &[u8], path: PathBuf) -> Result<Keys> {
        let mut keys = Keys { path, ..Keys::default() };
        for (at, line) in String::from_utf8_lossy(bytes).lines().enumerate() {
            if keys.add_line(line.trim()).is_none() {
                let why = format!("line {} is not 'NODE KEY', with a key U… for each node", at + 1);
                return Err(broken(&keys.path, &why));
            }
        }
        Ok(keys)
    }

    fn add_line(&mut self, line: &str) -> Option<()> {
        if line.is_empty() || line.starts_with('#') {
            return Some(());
        }
        if line == STRICT {
            self.strict = true;
            return Some(());
        }
        self.add(line)
    }

    /// Adds the line of a node; `None` if it is none, or if the node has a key already.
    pub fn add(&mut self, line: &str) -> Option<()> {
        let (node, key) = line.split_once(char::is_whitespace)?;
        let (node, key) = (node.parse::<Label>().ok()?, key.trim());
        let read = read_key(key)?;
        // Two keys for one node would both count.
        self.known.insert(node, (key.to_owned(), read)).is_none().then_some(())
    }

    /// The key of a node.
    pub fn of(&self, node: &Label) -> Option<&str> {
        self.known.get(node).map(|(text, _)| text.as_str())
    }

    /// The nodes with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Label, &str)> {
        self.known.iter().map(|(node, (text, _))| (node, text.as_str()))
    }

    /// Checks a signature of a node.
    pub fn check(&self, node: &Label, bytes: &[u8], signature: &[u8; SIGNATURE_LEN]) -> Checked {
        match self.known.get(node) {
            Some((_, key)) => verify(key, bytes, signature),
            None => Checked::NoKey,
        }
    }

    /// Adds the key of a node, if none is known and the file allows it; returns whether this key
    /// is the node's now.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn pin(&mut self, node: &Label, key: &str) -> Result<bool> {
        let Some(read) = read_key(key) else { return Ok(false) };
        temp_file::private_dir(&self.path).map_err(|error| broken(&self.path, &error))?;
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        let lock = std::fs::File::open(dir).map_err(|error| broken(&self.path, &error))?;
        flock::lock_within(&lock, std::time::Duration::from_secs(5))
            .map_err(|error| broken(&self.path, &error))?;
        // Another process may have added one meanwhile.
        *self = Keys::load(dir)?;
        if let Some(known) = self.of(node) {
            return Ok(known == key);
        }
        if self.strict {
            return Ok(false);
        }
        let mut text = match read_plain(&self.path, BYTES_MAX) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(broken(&self.path, &error)),
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let _ = writeln!(text, "{node} {key}");
        // A longer file would not be read again, and no verb would work.
        if text.len() as u64 > BYTES_MAX {
            return Ok(false);
        }
        identity::keep(&self.path, TEMP, text.as_bytes())
            .map_err(|error| broken(&self.path, &error))?;
        self.known.insert(node.clone(), (key.to_owned(), read));
        Ok(true)
    }
}

/// Checks a signature of a key.
pub fn check(key: &str, bytes: &[u8], signature: &[u8; SIGNATURE_LEN]) -> Checked {
    read_key(key).map_or(Checked::Wrong, |key| verify(&key, bytes, signature))
}

fn verify(key: &VerifyingKey, bytes: &[u8], signature: &[u8; SIGNATURE_LEN]) -> Checked {
    match key.verify(bytes, &Signature::from_bytes(signature)) {
        Ok(()) => Checked::Good,
        Err(_) => Checked::Wrong,
    }
}

/// Reports whether a text is the public key of a user.
pub fn is_public_key(text: &str) -> bool {
    read_key(text).is_some()
}

/// Reads the public key of a user.
fn read_key(text: &str) -> Option<VerifyingKey> {
    let (kind, bytes) = nkeys::from_public_key(text).ok()?;
    let is_user = KeyPairType::from(kind) == KeyPairType::User && text.len() == 56;
    VerifyingKey::from_bytes(&bytes).ok().filter(|_| is_user)
}
