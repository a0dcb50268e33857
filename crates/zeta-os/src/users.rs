//! The names of users and groups, for messages and for what an administrator typed.

use std::process::Command;

/// A user for people: the name where `/etc/passwd` has one, and the number.
pub fn user(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    match name {
        Some(name) => format!("user {name} ({uid})"),
        None => format!("user id {uid}"),
    }
}

/// A group for people: its name where `/etc/group` has one, and the number.
pub fn group(gid: u32) -> String {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let name = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    });
    match name {
        Some(name) => format!("group {name} ({gid})"),
        None => format!("group id {gid}"),
    }
}

/// The id of a group, by name; asks the system's name service, so that a directory server counts.
pub fn group_id(name: &str) -> Option<u32> {
    let out = Command::new("getent").args(["group", "--", name]).output().ok()?;
    String::from_utf8_lossy(&out.stdout).trim().split(':').nth(2)?.parse().ok()
}
