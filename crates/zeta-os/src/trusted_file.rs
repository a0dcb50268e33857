//! A file that decides what is allowed: it is read only if no other user could have written it or
//! put another one into its place.
//!
//! Links are followed, as NixOS makes its configuration of them: each directory on the way counts.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;
use zeta_core::trust::{Ancestor, OVERFLOW_UID, Owner, judge_ancestor, judge_owner};

use crate::error::{Error, Kind, Result};
use crate::user_namespace::root_is_unmapped;
use crate::users::user;

/// Most symbolic links on the way to a file, as the kernel has it.
const LINKS_MAX: usize = 40;

/// Reads a file of at most `max` bytes; `None` if there is none of that name.
///
/// # Errors
/// Another user could have written it, it is no regular file, or it cannot be read.
pub fn read(path: &Path, max: u64) -> Result<Option<Vec<u8>>> {
    let Some(real) = resolve(path)? else { return Ok(None) };
    let unread = |error: std::io::Error| unreadable(&real, &error);
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&real).map_err(unread)?;
    check(&real, &file.metadata().map_err(unread)?)?;
    let bytes = read_all(file, max).map_err(unread)?;
    match bytes.len() as u64 > max {
        true => Err(Error::not_safe(&real, format!("it has more than {max} bytes"))),
        false => Ok(Some(bytes)),
    }
}

/// Refuses a file that users other than root and the owner of its directory could have written: for
/// readers who are another user. Links are not followed.
///
/// # Errors
/// What is wrong with it, or it cannot be looked at.
pub fn check_beside(path: &Path) -> std::io::Result<std::result::Result<(), String>> {
    let meta = std::fs::symlink_metadata(path)?;
    let dir = std::fs::metadata(path.parent().unwrap_or(Path::new("/")))?;
    Ok(if !meta.is_file() {
        Err("it is not a regular file".to_owned())
    } else if meta.uid() != 0 && meta.uid() != dir.uid() {
        Err(format!("it belongs to {}", user(meta.uid())))
    } else if meta.mode() & 0o022 != 0 {
        Err(format!("other users may write to it: its mode is {:04o}", meta.mode() & 0o7777))
    } else {
        Ok(())
    })
}

/// Refuses a file that is no regular one, or that a user other than root and the caller may write.
///
/// # Errors
/// What is wrong with it.
pub fn check(path: &Path, meta: &Metadata) -> Result<()> {
    if !meta.is_file() {
        return Err(Error::not_safe(path, "it is not a regular file"));
    }
    if !matches!(owner(meta), Owner::Root | Owner::Caller) {
        return Err(Error::not_safe(path, format!("it belongs to {}", user(meta.uid()))));
    }
    match meta.mode() & 0o022 {
        0 => Ok(()),
        _ => Err(writable(path, meta)),
    }
}

/// Refuses the place of a file that is to be written: a directory on the way to it in which another
/// user could put a file under its name. A sticky directory of all is refused as the last one: the
/// file may not be there yet.
///
/// # Errors
/// What is wrong with the directory, or it is not there.
pub fn check_place(path: &Path) -> Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let dir = std::path::absolute(dir).map_err(|error| unreadable(dir, &error))?;
    let not_there = || Error::not_safe(&dir, "it is not there");
    let real = resolve(&dir)?.ok_or_else(not_there)?;
    check_dir(&real)?;
    let meta = std::fs::symlink_metadata(&real).map_err(|error| unreadable(&real, &error))?;
    match (meta.is_dir(), meta.mode() & 0o022) {
        (false, _) => Err(Error::not_safe(&real, "it is not a directory")),
        (true, 0) => Ok(()),
        (true, _) => Err(writable(&real, &meta)),
    }
}

fn read_all(file: File, max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Follows all links of a path, and checks each directory in which a name is looked up.
fn resolve(path: &Path) -> Result<Option<PathBuf>> {
    let mut at = PathBuf::from("/");
    let mut links = 0;
    let mut left: VecDeque<OsString> = names(path);
    check_dir(&at)?;
    while let Some(name) = left.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        let meta = match std::fs::symlink_metadata(&next) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            meta => meta.map_err(|error| unreadable(&next, &error))?,
        };
        if meta.is_symlink() {
            links += 1;
            if links > LINKS_MAX {
                return Err(Error::not_safe(path, "it goes over too many symbolic links"));
            }
            // In a directory that is open to all, another user may have made the link.
            if !matches!(owner(&meta), Owner::Root | Owner::Caller) {
                let text = format!("the link belongs to {}", user(meta.uid()));
                return Err(Error::not_safe(&next, text));
            }
            let target = std::fs::read_link(&next).map_err(|error| unreadable(&next, &error))?;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            names(&target).into_iter().rev().for_each(|name| left.push_front(name));
            continue;
        }
        if !left.is_empty() {
            check_dir(&next)?;
        }
        at = next;
    }
    Ok(Some(at))
}

/// The names of a path; `..` is kept.
fn names(path: &Path) -> VecDeque<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        _ => None,
    };
    path.components().filter_map(name).collect()
}

fn check_dir(dir: &Path) -> Result<()> {
    let meta = std::fs::symlink_metadata(dir).map_err(|error| unreadable(dir, &error))?;
    match judge_ancestor(dir, owner(&meta), meta.mode()) {
        Ancestor::Trusted => Ok(()),
        Ancestor::Writable => Err(writable(dir, &meta)),
        Ancestor::ForeignOwner | Ancestor::UnknownOwner => {
            Err(Error::not_safe(dir, format!("it belongs to {}", user(meta.uid()))))
        }
    }
}

fn owner(meta: &Metadata) -> Owner {
    let unmapped = meta.uid() == OVERFLOW_UID && root_is_unmapped();
    judge_owner(meta.uid(), geteuid().as_raw(), unmapped)
}

fn writable(path: &Path, meta: &Metadata) -> Error {
    let mode = meta.mode() & 0o7777;
    Error::not_safe(path, format!("other users may write to it: its mode is {mode:04o}"))
        .hint("only its owner, root or this user, may have the right to write there")
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Unsafe, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn dir() -> PathBuf {
        let name = format!("zeta-trusted-{}", crate::host::random_hex().unwrap());
        let dir = fs::canonicalize(std::env::temp_dir()).unwrap().join(name);
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        dir
    }

    fn refused(path: &Path, why: &str) {
        let error = read(path, 100).unwrap_err();
        assert_eq!(error.kind, Kind::Unsafe);
        assert!(error.text.contains(why), "{error}");
    }

    #[test]
    fn a_file_that_others_could_have_written_is_refused_wherever_they_could() {
        let dir = dir();
        let file = dir.join("policy");
        assert_eq!(read(&file, 100), Ok(None));
        assert_eq!(read(&dir.join("none/policy"), 100), Ok(None));
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read(&file, 100), Ok(Some(b"x".to_vec())));
        for mode in [0o664, 0o646, 0o666] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            refused(&file, "other users may write to it");
        }
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        for mode in [0o775, 0o757] {
            fs::set_permissions(&dir, Permissions::from_mode(mode)).unwrap();
            refused(&file, "other users may write to it");
        }
        fs::set_permissions(&dir, Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(read(&file, 100), Ok(Some(b"x".to_vec())));
        fs::write(&file, [b'x'; 101]).unwrap();
        refused(&file, "more than 100 bytes");
        refused(&dir, "not a regular file");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn links_are_followed_and_each_directory_on_the_way_counts() {
        let dir = dir();
        for name in ["static", "store", "open"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        fs::write(dir.join("store/policy"), "x").unwrap();
        fs::set_permissions(dir.join("store/policy"), Permissions::from_mode(0o444)).unwrap();
        symlink(dir.join("store"), dir.join("static/zeta")).unwrap();
        symlink("static/zeta/../store", dir.join("etc")).unwrap();
        let path = dir.join("etc/policy");
        assert_eq!(read(&path, 100), Ok(Some(b"x".to_vec())));
        symlink(dir.join("store/policy"), dir.join("open/policy")).unwrap();
        assert_eq!(read(&dir.join("open/policy"), 100), Ok(Some(b"x".to_vec())));
        fs::set_permissions(dir.join("open"), Permissions::from_mode(0o777)).unwrap();
        refused(&dir.join("open/policy"), "other users may write to it");
        fs::set_permissions(dir.join("store"), Permissions::from_mode(0o777)).unwrap();
        refused(&path, "other users may write to it");
        symlink("round", dir.join("round")).unwrap();
        refused(&dir.join("round"), "too many symbolic links");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_place_in_which_others_could_put_a_file_is_refused() {
        let dir = dir();
        let (above, file) = (dir.join("above"), dir.join("above/own/log"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        for mode in [0o700, 0o755] {
            fs::set_permissions(dir.join("above/own"), Permissions::from_mode(mode)).unwrap();
            fs::set_permissions(&above, Permissions::from_mode(0o755)).unwrap();
            assert_eq!(check_place(&file), Ok(()));
        }
        let refused = |file: &Path, why: &str| {
            let error = check_place(file).unwrap_err();
            assert!(error.kind == Kind::Unsafe && error.text.contains(why), "{error}");
        };
        for mode in [0o775, 0o777, 0o1777] {
            fs::set_permissions(dir.join("above/own"), Permissions::from_mode(mode)).unwrap();
            refused(&file, "above/own: other users may write to it");
        }
        fs::set_permissions(dir.join("above/own"), Permissions::from_mode(0o700)).unwrap();
        symlink(dir.join("above/own"), dir.join("link")).unwrap();
        assert_eq!(check_place(&dir.join("link/log")), Ok(()));
        fs::set_permissions(&above, Permissions::from_mode(0o777)).unwrap();
        refused(&file, "above: other users may write to it");
        refused(&dir.join("link/log"), "above: other users may write to it");
        refused(&dir.join("none/log"), "it is not there");
        if geteuid().is_root() {
            fs::set_permissions(&above, Permissions::from_mode(0o755)).unwrap();
            std::os::unix::fs::chown(dir.join("above/own"), Some(1), None).unwrap();
            refused(&file, "above/own: it belongs to");
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_pipe_is_refused_and_never_waited_for() {
        let dir = dir();
        let pipe = dir.join("policy");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
        refused(&pipe, "not a regular file");
        fs::remove_dir_all(dir).unwrap();
    }
}
