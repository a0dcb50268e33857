//! One thing that a step does, and whether it is done: a person can read it beforehand, and it is
//! observed afterwards.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use zeroize::Zeroizing;
use zeta_core::install::journal::{Event, Journal};
use zeta_core::install::manifest::Hash;
use zeta_core::shell::quote_word;
use zeta_os::disk::{Aligned, Disk, Identity};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::{files, temp_file};

use crate::observe;
use crate::tool::Tool;

/// How long the kernel may take to show new partitions.
const APPEAR: Duration = Duration::from_secs(30);
/// The longest file that is compared, in bytes.
const FILE_MAX: u64 = 8 << 20;
/// What the name of a file begins with that is not whole.
const TEMP: &str = ".zeta-install-";
/// So many bytes are zeroed at once.
const PIECE: usize = 1 << 20;

/// One thing that a step does.
#[derive(Debug, Clone)]
pub enum Call {
    /// Runs a program. What it leaves is observed elsewhere.
    Tool(Tool),
    /// Nothing, if a disk is still the one that was observed, and not in use.
    Same {
        /// The disk, or a partition of it.
        path: String,
        /// What tells it from others.
        identity: Identity,
    },
    /// Zeroes parts of a disk that is opened alone, if it is still the one that was observed.
    Zero {
        /// The disk.
        path: String,
        /// What tells it from others.
        identity: Identity,
        /// From where to where, in bytes.
        ranges: Vec<(u64, u64)>,
    },
    /// Waits until the kernel shows partitions.
    Appear(Vec<String>),
    /// Makes a file system, if it is not there whole.
    Make {
        /// The partition.
        path: String,
        /// What is on it then.
        content: String,
        /// Makes it.
        make: Tool,
        /// Says whether it is whole.
        check: Tool,
    },
    /// Clones a repository, whole or not at all.
    Clone {
        /// Its address.
        source: String,
        /// The commit that it must have.
        commit: Option<String>,
        /// The directory.
        to: PathBuf,
    },
    /// Writes a file.
    File {
        /// The file.
        path: PathBuf,
        /// What is in it.
        bytes: Zeroizing<Vec<u8>>,
        /// Its mode; none on a file system without modes.
        mode: Option<u32>,
    },
    /// Writes the digest of a password.
    Password {
        /// The file.
        path: PathBuf,
        /// The password; none before it is known.
        password: Option<Zeroizing<Vec<u8>>>,
        /// The kind of the digest.
        hash: Hash,
    },
    /// Makes a link.
    Link {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        to: PathBuf,
    },
    /// Nothing: something has to be there.
    There(PathBuf),
    /// Copies the journal.
    Journal {
        /// The journal.
        from: PathBuf,
        /// The copy.
        to: PathBuf,
    },
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull => Kind::Unsafe,
        _ => Kind::Fault,
    };
    Error::new(kind, format!("cannot write {}: {error}", path.display()))
}

impl Call {
    /// It as a person would do it.
    pub fn text(&self) -> String {
        let word = |path: &Path| quote_word(&path.display().to_string()).into_owned();
        match self {
            Call::Tool(tool) => tool.text(),
            Call::Same { path, identity } => {
                format!("# is {path} on the disk {} that was seen, and free", identity.serial)
            }
            Call::Zero { path, ranges, .. } => {
                let ranges: Vec<String> =
                    ranges.iter().map(|(from, to)| format!("{from}-{to}")).collect();
                format!("# zero the bytes {} of {path}", ranges.join(", "))
            }
            Call::Appear(paths) => format!("# wait for {}", paths.join(" ")),
            Call::Make { make, .. } => make.text(),
            Call::Clone { source, commit, to } => {
                let clone = format!("git clone -- {} {}", quote_word(source), word(to));
                match commit {
                    Some(commit) => {
                        format!("{clone} && git -C {} checkout --detach {commit}", word(to))
                    }
                    None => clone,
                }
            }
            Call::File { path, bytes, mode } => {
                let mode = mode.map_or(String::new(), |mode| format!(", mode {mode:04o}"));
                format!("# write {} ({} bytes{mode})", word(path), bytes.len())
            }
            Call::Password { path, hash, .. } => {
                format!("mkpasswd --method={} --stdin > {}", hash.method(), word(path))
            }
            Call::Link { path, to } => format!("# link {} to {}", word(path), word(to)),
            Call::There(path) => format!("test -e {}", word(path)),
            Call::Journal { from, to } => format!("cp {} {}", word(from), word(to)),
        }
    }

    /// Returns whether what it leaves is there, and nothing that a cut left beside it. A program
    /// alone leaves nothing that is known here.
    pub fn holds(&self) -> bool {
        let beside = match self {
            Call::File { path, .. } | Call::Password { path, .. } => Some(path),
            Call::Journal { to, .. } => Some(to),
            _ => None,
        };
        if beside.is_some_and(|path| temp_file::is_left_beside(path, TEMP)) {
            return false;
        }
        match self {
            Call::Tool(_) | Call::Same { .. } | Call::Zero { .. } | Call::Appear(_) => true,
            Call::Make { path, content, check, .. } => {
                observe::content_of(path).is_ok_and(|seen| seen == *content) && check.run().is_ok()
            }
            Call::Clone { commit, to, .. } => {
                head(to).is_some_and(|head| commit.as_ref().is_none_or(|commit| *commit == head))
            }
            Call::File { path, bytes, mode } => {
                let same = files::read_plain(path, FILE_MAX).map(Zeroizing::new);
                same.is_ok_and(|same| *same == **bytes)
                    && mode.is_none_or(|mode| has_mode(path, mode))
            }
            Call::Password { path, hash, .. } => {
                let text = files::read_plain(path, FILE_MAX).unwrap_or_default();
                text.starts_with(hash.prefix().as_bytes()) && has_mode(path, 0o600)
            }
            Call::Link { path, to } => fs::read_link(path).is_ok_and(|known| known == *to),
            Call::There(path) => fs::symlink_metadata(path).is_ok(),
            Call::Journal { to, .. } => {
                let copy = files::read_plain(to, FILE_MAX).unwrap_or_default();
                Journal::read(&copy).lines > 0
            }
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// It could not be done; what it left is observed before it is done again.
    pub fn run(&self) -> Result<()> {
        match self {
            Call::Tool(tool) => tool.run().map(|_| ()),
            Call::Same { path, identity } => {
                is_same(path, &Disk::identity_at(Path::new(path))?, identity)
            }
            Call::Zero { path, identity, ranges } => zero(path, identity, ranges),
            Call::Appear(paths) => appear(paths),
            Call::Make { make, .. } => match self.holds() {
                true => Ok(()),
                false => make.run().map(|_| ()),
            },
            Call::Clone { source, commit, to } => match self.holds() {
                true => Ok(()),
                false => clone(source, commit.as_deref(), to),
            },
            Call::File { path, bytes, mode } => write(path, bytes, *mode),
            Call::Password { path, password, hash } => {
                let none = || Error::new(Kind::Fault, "the password is not known");
                let password = password.as_ref().ok_or_else(none)?;
                let method = format!("--method={}", hash.method());
                let said = Tool::new("mkpasswd", &[&method, "--stdin"]).input(password).run()?;
                let digest = Zeroizing::new(said.text());
                if !digest.starts_with(hash.prefix()) {
                    let text =
                        format!("mkpasswd did not make a digest that begins {}", hash.prefix());
                    return Err(Error::new(Kind::Fault, text));
                }
                write(path, format!("{}\n", *digest).as_bytes(), Some(0o600))
            }
            Call::Link { path, to } => link(path, to),
            Call::There(path) => match self.holds() {
                true => Ok(()),
                false => Err(Error::new(Kind::Fault, format!("{} is not there", path.display()))),
            },
            Call::Journal { from, to } => {
                let bytes =
                    files::read_plain(from, FILE_MAX).map_err(|error| failed(from, &error))?;
                write(to, &bytes, Some(0o600))
            }
        }
    }
}

fn has_mode(path: &Path, mode: u32) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o7777 == mode)
}

/// The commit of a clone.
pub fn head(dir: &Path) -> Option<String> {
    let dir = dir.join(".git").is_dir().then(|| dir.display().to_string())?;
    Some(Tool::new("git", &["-C", &dir, "rev-parse", "--verify", "HEAD"]).run().ok()?.text())
}

fn write(path: &Path, bytes: &[u8], mode: Option<u32>) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    // A directory that is made is open to all, as those of a system are: files have modes.
    let kept = fs::create_dir_all(dir).and_then(|()| match mode {
        Some(mode) => {
            let kept = Mode::from_raw_mode(mode);
            temp_file::keep_with_mode(path, TEMP, bytes, kept)?;
            // The umask may have taken some of it.
            fs::set_permissions(path, Permissions::from_mode(mode))
        }
        // FAT has no modes. What a cut leaves of the file is known by its contents.
        None => fs::write(path, bytes).and_then(|()| fs::File::open(path)?.sync_all()),
    });
    kept.map_err(|error| failed(path, &error))
}

fn link(path: &Path, to: &Path) -> Result<()> {
    let make = || {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_symlink() => fs::remove_file(path)?,
            // What is no link is not this program's.
            Ok(_) => return Err(std::io::ErrorKind::AlreadyExists.into()),
            Err(_) => {}
        }
        std::os::unix::fs::symlink(to, path)
    };
    make().map_err(|error| failed(path, &error))
}

/// A clone gets its name when it is whole.
fn clone(source: &str, commit: Option<&str>, to: &Path) -> Result<()> {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let temp = to.with_file_name(format!(".{name}.zeta-install"));
    let wrong = |error: std::io::Error| failed(to, &error);
    if fs::symlink_metadata(&temp).is_ok() {
        fs::remove_dir_all(&temp).map_err(wrong)?;
    }
    fs::create_dir_all(to.parent().unwrap_or(Path::new("/"))).map_err(wrong)?;
    let dir = temp.display().to_string();
    Tool::new("git", &["clone", "--quiet", "--", source, &dir]).long().run()?;
    if let Some(commit) = commit {
        Tool::new("git", &["-C", &dir, "checkout", "--quiet", "--detach", commit]).run()?;
    }
    fs::rename(&temp, to).map_err(wrong)
}

fn zero(path: &str, identity: &Identity, ranges: &[(u64, u64)]) -> Result<()> {
    let disk = Disk::open(Path::new(path))?;
    is_same(path, &disk.identity()?, identity)?;
    let zeros = Aligned::zeroed(PIECE);
    for (from, to) in ranges {
        let mut at = *from;
        while at < *to {
            let len = usize::try_from(to - at).unwrap_or(PIECE).min(PIECE);
            disk.write_at(zeros.bytes().get(..len).unwrap_or_default(), at)?;
            at += len as u64;
        }
    }
    disk.flush()
}

fn is_same(path: &str, found: &Identity, seen: &Identity) -> Result<()> {
    match found == seen {
        true => Ok(()),
        false => {
            let text = format!("{path} is another disk than the one that was looked at");
            Err(Error::new(Kind::Refused, text))
        }
    }
}

fn appear(paths: &[String]) -> Result<()> {
    let until = Instant::now() + APPEAR;
    loop {
        let Some(missing) = paths.iter().find(|path| !Path::new(path).exists()) else {
            return Ok(());
        };
        if Instant::now() >= until {
            return Err(Error::new(Kind::Fault, format!("the kernel does not show {missing}")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The event of a step that failed.
pub fn failure(step: zeta_core::install::Step, error: &Error) -> Event {
    Event::Failed { step, why: error.text.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_when_it_is_alone() {
        let dir = zeta_os::temp_dir::TempDir::new().unwrap();
        let path = dir.path().join("password");
        let bytes = Zeroizing::new(b"secret".to_vec());
        let call = Call::File { path: path.clone(), bytes, mode: Some(0o600) };
        assert!(!call.holds());
        call.run().unwrap();
        assert!(call.holds());
        // A cut left the file of a later write, before it got its name.
        let left = dir.path().join(format!("{TEMP}{}", "0".repeat(32)));
        fs::write(&left, "secret").unwrap();
        assert!(!call.holds());
        call.run().unwrap();
        assert!(call.holds() && !left.exists());
    }
}
