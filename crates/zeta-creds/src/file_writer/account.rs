//! A user of the machine, as `/etc/passwd` and `/etc/group` have him.
//!
//! The program is static and has no name service: users of a directory server (LDAP, homed) are not
//! seen here, and whoever needs one fills in an [`Account`] by itself.

use std::io::Read;
use std::path::Path;

use zeta_os::error::{Error, Kind, Result};

/// Both files are read up to here, in bytes.
const MAX: u64 = 4 * 1024 * 1024;

/// What is needed to become a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// All group ids, the primary one too.
    pub groups: Vec<u32>,
    /// Home, an absolute path.
    pub home: String,
}

/// The user with this name below `root`.
///
/// # Errors
/// There is none, or the files cannot be read.
pub fn find(root: &Path, name: &str) -> Result<Account> {
    search(root, |line| line.name == name, &format!("user {name:?}"))
}

/// The user with this number below `root`.
///
/// # Errors
/// As [`find`].
pub fn of_uid(root: &Path, uid: u32) -> Result<Account> {
    search(root, |line| line.uid == uid, &format!("user with the id {uid}"))
}

struct Line<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn search(root: &Path, wanted: impl Fn(&Line<'_>) -> bool, who: &str) -> Result<Account> {
    let passwd = root.join("etc/passwd");
    let text = read(&passwd)?;
    let line = text.lines().filter_map(parse).find(wanted).ok_or_else(|| {
        Error::new(Kind::NotFound, format!("{}: there is no {who}", passwd.display()))
            .hint("users of a directory server are not seen: zeta reads that file alone")
    })?;
    if !line.home.starts_with('/') {
        return Err(Error::not_safe(&passwd, format!("{who} has no absolute home")));
    }
    let mut groups = vec![line.gid];
    groups.extend(read(&root.join("etc/group"))?.lines().filter_map(|group| {
        let fields: Vec<&str> = group.split(':').collect();
        let [_, _, gid, members] = fields.as_slice() else { return None };
        members.split(',').any(|member| member == line.name).then_some(())?;
        gid.parse::<u32>().ok()
    }));
    groups.sort_unstable();
    groups.dedup();
    Ok(Account {
        name: line.name.to_owned(),
        uid: line.uid,
        gid: line.gid,
        groups,
        home: line.home.trim_end_matches('/').to_owned(),
    })
}

fn parse(line: &str) -> Option<Line<'_>> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, _] = fields.as_slice() else { return None };
    Some(Line { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
}

fn read(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(MAX).read_to_end(&mut bytes)).map_err(
        |error| {
            let errno = rustix::io::Errno::from_io_error(&error);
            Error::io("cannot read", path, errno.unwrap_or(rustix::io::Errno::IO))
        },
    )?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
