//! The users and groups of the machine, as `/etc/passwd` and `/etc/group` list them.
//!
//! The program is static and has no name service: users of a directory server (LDAP, homed) are
//! not found in these files. Only [`group_id`] asks the system for them.

use std::path::Path;
use std::process::Command;

use rustix::io::Errno;

use crate::error::{Error, Kind, Result};
use crate::files;

/// Most bytes of either file.
const MAX: u64 = 16 << 20;

/// A user with all that a process needs to become this user.
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

/// A user for people: the name where `/etc/passwd` has one, and the number.
pub fn user(uid: u32) -> String {
    match name_of(Path::new("/etc/passwd"), uid) {
        Some(name) => format!("user {name} ({uid})"),
        None => format!("user id {uid}"),
    }
}

/// A group for people: its name where `/etc/group` has one, and the number.
pub fn group(gid: u32) -> String {
    match name_of(Path::new("/etc/group"), gid) {
        Some(name) => format!("group {name} ({gid})"),
        None => format!("group id {gid}"),
    }
}

/// The id of a group, by name; asks the system's name service, so that a directory server counts.
pub fn group_id(name: &str) -> Option<u32> {
    let out = Command::new("getent").args(["group", "--", name]).output().ok()?;
    Some(Entry::parse(String::from_utf8_lossy(&out.stdout).trim())?.id)
}

/// The user with this name in the files below `root`.
///
/// # Errors
/// There is none, or the files cannot be read.
pub fn account_by_name(root: &Path, name: &str) -> Result<Account> {
    search(root, |entry| entry.name == name, &format!("user {name:?}"))
}

/// The user with this number in the files below `root`.
///
/// # Errors
/// As [`account_by_name`].
pub fn account_by_uid(root: &Path, uid: u32) -> Result<Account> {
    search(root, |entry| entry.id == uid, &format!("user with the id {uid}"))
}

/// A line of either file: the name, the number, and the fields that follow.
struct Entry<'a> {
    name: &'a str,
    id: u32,
    rest: Vec<&'a str>,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Entry<'a>> {
        let mut fields = line.split(':');
        let (name, _) = (fields.next()?, fields.next()?);
        let id = fields.next()?.parse().ok()?;
        Some(Entry { name, id, rest: fields.collect() })
    }

    /// The primary group and the home of a user; `None` if the line lacks a field.
    fn group_and_home(&self) -> Option<(u32, &'a str)> {
        let [gid, _, home, _] = self.rest.as_slice() else { return None };
        Some((gid.parse().ok()?, home))
    }

    /// Returns true for the line of a group that has this user as a member.
    fn has_member(&self, user: &str) -> bool {
        let [members] = self.rest.as_slice() else { return false };
        members.split(',').any(|member| member == user)
    }
}

fn name_of(file: &Path, id: u32) -> Option<String> {
    let text = read(file).unwrap_or_default();
    let entry = text.lines().filter_map(Entry::parse).find(|entry| entry.id == id)?;
    Some(entry.name.to_owned())
}

fn search(root: &Path, wanted: impl Fn(&Entry<'_>) -> bool, who: &str) -> Result<Account> {
    let passwd = root.join("etc/passwd");
    let text = read(&passwd)?;
    let mut users = text.lines().filter_map(Entry::parse).filter(wanted);
    let user = users.find_map(|entry| entry.group_and_home().map(|more| (entry, more)));
    let (entry, (gid, home)) = user.ok_or_else(|| {
        Error::new(Kind::NotFound, format!("{}: there is no {who}", passwd.display()))
            .hint("users of a directory server are not seen: zeta reads that file alone")
    })?;
    if !home.starts_with('/') {
        return Err(Error::not_safe(&passwd, format!("{who} has no absolute home")));
    }
    let text = read(&root.join("etc/group"))?;
    let of_user =
        text.lines().filter_map(Entry::parse).filter(|group| group.has_member(entry.name));
    let mut groups = vec![gid];
    groups.extend(of_user.map(|group| group.id));
    groups.sort_unstable();
    groups.dedup();
    let home = home.trim_end_matches('/').to_owned();
    Ok(Account { name: entry.name.to_owned(), uid: entry.id, gid, groups, home })
}

fn read(path: &Path) -> Result<String> {
    let bytes =
        files::read_plain(path, MAX).map_err(|error| match Errno::from_io_error(&error) {
            Some(errno) => Error::io("cannot read", path, errno),
            None => Error::not_safe(path, error),
        })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/bash
half:x:1000
otto:x:1000:1000:Otto,,,:/home/otto/:/bin/bash
adrift:x:1001:1001::home:/bin/sh
# no line of a user
";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,otto\notto:x:1000:\nottos:x:11:ottokar\n";

    fn machine() -> std::path::PathBuf {
        let root =
            std::env::temp_dir().join(format!("zeta-users-{}", crate::host::random_hex().unwrap()));
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::write(root.join("etc/passwd"), PASSWD).unwrap();
        std::fs::write(root.join("etc/group"), GROUP).unwrap();
        root
    }

    #[test]
    fn an_account_has_its_groups_and_its_home() {
        let root = machine();
        let otto = account_by_name(&root, "otto").unwrap();
        assert_eq!((otto.uid, otto.gid, otto.groups.as_slice()), (1000, 1000, &[10, 1000][..]));
        assert_eq!(otto.home, "/home/otto");
        // A line that lacks fields is passed over.
        assert_eq!(account_by_uid(&root, 1000).unwrap(), otto);
        let text = |error: Error| (error.kind, error.text.replace(root.to_str().unwrap(), "R"));
        assert_eq!(
            text(account_by_name(&root, "half").unwrap_err()),
            (Kind::NotFound, "R/etc/passwd: there is no user \"half\"".to_owned())
        );
        assert_eq!(
            text(account_by_uid(&root, 7).unwrap_err()),
            (Kind::NotFound, "R/etc/passwd: there is no user with the id 7".to_owned())
        );
        assert_eq!(
            text(account_by_name(&root, "adrift").unwrap_err()),
            (Kind::Unsafe, "R/etc/passwd: user \"adrift\" has no absolute home".to_owned())
        );
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_name_is_found_by_its_number_in_either_file() {
        let root = machine();
        let (passwd, group) = (root.join("etc/passwd"), root.join("etc/group"));
        assert_eq!(name_of(&passwd, 1000).as_deref(), Some("half"));
        assert_eq!(name_of(&group, 10).as_deref(), Some("wheel"));
        assert_eq!(name_of(&group, 12), None);
        assert_eq!(name_of(&root.join("etc/none"), 10), None);
        std::fs::remove_dir_all(root).unwrap();
        assert_eq!((user(0), group_id("root")), ("user root (0)".to_owned(), Some(0)));
        assert_eq!((super::group(0), group_id("no such")), ("group root (0)".to_owned(), None));
    }
}
