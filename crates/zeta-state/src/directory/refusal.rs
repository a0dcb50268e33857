//! What is wrong with a directory that is refused, and what works in its place.
//!
//! No next step changes the mode, the owner or the place of a file: zeta does not know who else
//! uses it. A place is proposed only after a look at it.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, FileType, Stat, accessat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeta_core::layout;
use zeta_core::trust::{Ancestor, OVERFLOW_UID, Owner, judge_ancestor, judge_owner};

use super::purpose::{Purpose, STATE};
use zeta_os::error::{Cause, Error};
use zeta_os::user_namespace::root_is_unmapped;
use zeta_os::users::{group, user};

/// Where a directory can lie if its usual place is refused, the best first.
/// Sandboxes have a `/dev/shm` of their own more often than the others.
const PLACES: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// Makes the error for a path that is not a plain absolute one.
pub fn not_plain(path: &Path, purpose: &Purpose) -> Error {
    Error::usage(format!(
        "{} {:?} is not valid: give an absolute path in UTF-8 without '..', as in {}",
        purpose.noun,
        path.display().to_string(),
        purpose.default
    ))
}

/// Makes the error for a directory above the trusted one, `whole`.
pub fn ancestor(
    path: &Path,
    stat: &Stat,
    verdict: Ancestor,
    whole: &Path,
    purpose: &Purpose,
) -> Error {
    let noun = purpose.noun;
    match verdict {
        Ancestor::Writable => {
            let bits = stat.st_mode & 0o7777;
            let reason = format!("others may write to it and it is not sticky ({bits:04o})");
            let error = Error::not_safe(path, reason).hint(format!(
                "a directory that several users write to needs the sticky bit, as /tmp has it; \
                 without it each of them could replace the {noun}"
            ));
            elsewhere(error, whole, purpose)
        }
        Ancestor::UnknownOwner => {
            let reason = format!(
                "you are in a user namespace in which root has no number, so its owner cannot be \
                 known: it appears as {}, as all others do",
                user(stat.st_uid)
            );
            elsewhere(Error::not_safe(path, reason), whole, purpose)
                .hint("or run zeta outside of the sandbox")
        }
        Ancestor::ForeignOwner | Ancestor::Trusted => {
            let reason =
                format!("it belongs to {}, who could replace the {noun}", user(stat.st_uid));
            elsewhere(Error::not_safe(path, reason), whole, purpose)
        }
    }
}

/// Makes the error for a caller that has no number of its own.
pub fn no_number(path: &Path, uid: u32) -> Error {
    Error::not_safe(
        path,
        format!(
            "you are in a user namespace in which you have no number of your own: zeta runs as \
             {uid}, which stands for every user without one"
        ),
    )
    .hint("map your user id in it: 'unshare --map-current-user'; bubblewrap does so by itself")
    .hint("or run zeta outside of the sandbox")
}

/// Makes the error for a group's tree whose owner cannot be shown to be root.
pub fn unproven(path: &Path) -> Error {
    Error::not_safe(
        path,
        format!(
            "it looks like a group's, but you are in a user namespace in which root has no \
             number: it appears to belong to {}, and root's record of it below /run/zeta is not \
             to be seen",
            user(OVERFLOW_UID)
        ),
    )
    .with_cause(Cause::ForeignOwner)
    .hint("let the sandbox see /run/zeta, for example: bwrap --ro-bind /run/zeta /run/zeta")
    .hint("or run zeta outside of the sandbox")
    .hint("as root, if that record is missing: 'zeta init --group NAME'")
}

/// Makes the error for a trusted directory of another user.
pub fn foreign_owner(path: &Path, uid: u32, bits: u32, purpose: &Purpose) -> Error {
    let error = Error::not_safe(path, format!("it belongs to {} (mode {bits:04o})", user(uid)))
        .with_cause(Cause::ForeignOwner);
    purpose
        .hint_own(error)
        .hint("for one that several users share: 'sudo zeta init --group zeta'")
        .hint("two do not exclude each other: all agents of one project need the same one")
}

/// Makes the error for a directory of the caller's, or of root's, with the mode of neither kind.
pub fn wrong_mode(path: &Path, bits: u32, purpose: &Purpose) -> Error {
    let reason = format!(
        "its mode is {bits:04o}; a private one has 0700, a group's has {:04o} and belongs to root",
        purpose.group_mode
    );
    let error = Error::not_safe(path, reason);
    if purpose.is_made_here(path) {
        let never = "zeta never repairs a directory that other users could have written to";
        let mine = path.symlink_metadata().is_ok_and(|meta| meta.uid() == geteuid().as_raw());
        return match mine && bits & 0o022 == 0 {
            true => error.hint(format!("if only you use it: chmod 700 {}", shown(path))),
            false => elsewhere(error, path, purpose),
        }
        .hint(never);
    }
    not_made_here(error.hint(format!("it is not a {} of zeta", purpose.noun)), path, purpose)
}

/// Makes the error for a directory with the owner and the mode of a tree that is none.
pub fn not_a_tree(path: &Path) -> Error {
    let error = Error::not_safe(path, "it is not a state directory of zeta: it has no 'nodes'");
    match STATE.is_made_here(path) {
        true => error.hint("another program changed it; look what is in it"),
        false => not_made_here(error, path, &STATE),
    }
}

/// Adds what works in place of a directory that zeta did not make.
fn not_made_here(error: Error, path: &Path, purpose: &Purpose) -> Error {
    let inside = path.join(usual_name(purpose));
    match can_be_made(&inside) {
        true => {
            error.hint(format!("give one that zeta makes: {} {}", purpose.flag, shown(&inside)))
        }
        false => elsewhere(error, path, purpose),
    }
}

/// Makes the error for `name` in `parent`, which cannot be opened as a directory. `path` is its
/// path, on the way to `whole`.
pub fn at(
    parent: &OwnedFd,
    name: &str,
    path: &Path,
    whole: &Path,
    errno: Errno,
    purpose: &Purpose,
) -> Error {
    let Ok(stat) = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) else {
        return Error::io("cannot open", path, errno);
    };
    let bits = stat.st_mode & 0o7777;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => link(path, whole, &stat, purpose),
        FileType::Directory if errno == Errno::ACCESS && path != whole => {
            let error = Error::not_safe(path, "you may not search it")
                .hint(format!("it belongs to {} (mode {bits:04o})", user(stat.st_uid)));
            elsewhere(error, whole, purpose)
        }
        FileType::Directory if errno == Errno::ACCESS && bits == purpose.group_mode => {
            closed(path, &stat, bits, purpose)
        }
        FileType::Directory if errno == Errno::ACCESS => {
            foreign_owner(path, stat.st_uid, bits, purpose)
        }
        FileType::Directory => Error::io("cannot open", path, errno),
        _ => {
            let error = Error::not_safe(path, "it is not a directory")
                .hint(format!("it belongs to {}", user(stat.st_uid)));
            elsewhere(error, whole, purpose)
        }
    }
}

/// Makes the error for a directory with the mode of a group's tree, which lets its members in only.
fn closed(path: &Path, stat: &Stat, bits: u32, purpose: &Purpose) -> Error {
    let add = |group: &str| format!("as root: 'gpasswd --add USER GROUP' for {group}");
    match owner_of(stat.st_uid) {
        Owner::Root => {
            let group = group(stat.st_gid);
            let reason = format!("it is shared by {group}, and you are not a member");
            let error = Error::not_safe(path, reason);
            purpose.hint_own(error.hint(format!("{}, then log in again", add(&group))))
        }
        // The numbers of its owner and of its group are other ones outside of this namespace.
        Owner::Unmapped => {
            let owner = user(stat.st_uid);
            let reason = format!(
                "it is closed to you (mode {bits:04o}), and in this user namespace its owner \
                 appears as {owner}"
            );
            Error::not_safe(path, reason)
                .hint(format!("if it is a group's tree: {}, then log in again", add("its group")))
        }
        Owner::Caller | Owner::Other => foreign_owner(path, stat.st_uid, bits, purpose),
    }
}

/// Makes the error for a symbolic link at `path`, on the way to `whole`. The real path is offered
/// if the link is root's or the caller's, and the real path is not refused, too.
fn link(path: &Path, whole: &Path, stat: &Stat, purpose: &Purpose) -> Error {
    let error = Error::not_safe(path, "it is a symbolic link, and zeta follows none")
        .hint(format!("it belongs to {}", user(stat.st_uid)));
    let rest = whole.strip_prefix(path).unwrap_or(Path::new(""));
    let target = path.canonicalize().map(|target| match rest.as_os_str().is_empty() {
        true => target,
        false => target.join(rest),
    });
    let owner = owner_of(stat.st_uid);
    match target {
        Ok(real) if matches!(owner, Owner::Root | Owner::Caller) && can_be_made(&real) => error
            .hint(format!("give the real path: {} {}", purpose.flag, shown(&real)))
            .hint(format!("or for every agent: export {}={}", purpose.variable, shown(&real))),
        _ => elsewhere(error, whole, purpose),
    }
}

/// Adds a place that is not refused, if there is one.
fn elsewhere(error: Error, refused: &Path, purpose: &Purpose) -> Error {
    let places = PLACES.iter().map(|dir| Path::new(dir).join(usual_name(purpose)));
    match places.filter(|place| place != refused).find(|place| can_be_made(place)) {
        Some(place) => error.hint(format!(
            "to use another {}, for every agent: export {}={}",
            purpose.noun,
            purpose.variable,
            shown(&place)
        )),
        None => error.hint(format!(
            "use a {} whose parents belong to root or to you: {} DIR",
            purpose.noun, purpose.flag
        )),
    }
}

fn usual_name(purpose: &Purpose) -> &'static Path {
    Path::new(Path::new(purpose.default).file_name().unwrap_or_default())
}

/// Returns whether a directory can be made at `path`, or a private one of the caller's is there: no
/// link is on the way, R1 holds, and the caller may write there.
fn can_be_made(path: &Path) -> bool {
    let is_plain = |dir: &Path| {
        dir.symlink_metadata().is_ok_and(|meta| {
            meta.is_dir()
                && judge_ancestor(dir, owner_of(meta.uid()), meta.mode()) == Ancestor::Trusted
        })
    };
    let Some(parent) = path.parent() else { return false };
    if !parent.ancestors().all(is_plain) {
        return false;
    }
    match path.symlink_metadata() {
        Ok(meta) => {
            meta.is_dir()
                && meta.mode() & 0o7777 == 0o700
                && meta.uid() == geteuid().as_raw()
                && [layout::NODES, ".zeta"].iter().any(|inner| path.join(inner).is_dir())
        }
        Err(_) => {
            accessat(CWD, parent, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
        }
    }
}

fn owner_of(uid: u32) -> Owner {
    judge_owner(uid, geteuid().as_raw(), uid == OVERFLOW_UID && root_is_unmapped())
}

/// A path as one word of a shell command.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
