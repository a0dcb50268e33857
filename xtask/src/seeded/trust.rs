//! The bugs of trust: a directory that another user could have prepared or could replace.

use super::bugs::{Bug, bug};

const TRUST: &str = "crates/zeta-core/src/trust.rs";
const TRUSTED_DIR: &str = "crates/zeta-state/src/directory/trusted_dir.rs";
const OPEN_BENEATH: &str = "crates/zeta-os/src/open_beneath.rs";
const CREATE: &str = "crates/zeta-state/src/directory/create.rs";
const TREE: &str = "crates/zeta-state/src/directory/tree.rs";

/// All of them.
pub const BUGS: [Bug; 10] = [
    bug(
        "a directory of somebody else is adopted",
        TRUST,
        "        (Owner::Other, _) => Base::ForeignOwner,",
        "        (Owner::Other, _) => Base::Private,",
        &[
            "-p",
            "zeta",
            "--test",
            "suite",
            "it::files::a_tree_of_another_user",
            "it::files::a_base_that_others",
        ],
    ),
    bug(
        "a parent that others may write to is trusted",
        TRUST,
        "        _ if mode & 0o022 != 0 && !sticky => Ancestor::Writable,",
        "        _ if mode & 0o022 != 0 && !sticky && mode == 0 => Ancestor::Writable,",
        &["-p", "zeta", "--test", "suite", "it::files::a_base_that_others"],
    ),
    bug(
        "nobody's parents are one's own",
        TRUST,
        "        Owner::Unmapped if !of_root() => Ancestor::UnknownOwner,",
        "        Owner::Unmapped if path == Path::new(\"\") => Ancestor::UnknownOwner,",
        &["-p", "zeta", "--test", "attacks", "time::a24_user_namespace"],
    ),
    bug(
        "an owner without a number is root everywhere",
        TRUST,
        "        OVERFLOW_UID if root_is_unmapped => Owner::Unmapped,",
        "        OVERFLOW_UID => Owner::Unmapped,",
        &["-p", "zeta", "--test", "attacks", "namespace::a24_an_owner_without_a_number"],
    ),
    bug(
        "a group's tree needs no anchor where root has no number",
        "crates/zeta-state/src/directory/mod.rs",
        "if base.unproven && anchored != Anchored::Same {",
        "if base.unproven && anchored != Anchored::Same && path.as_os_str().is_empty() {",
        &["-p", "zeta", "--test", "attacks", "namespace::a24_a_tree_that_looks_like"],
    ),
    bug(
        "a device number decides what is mounted inside",
        TREE,
        "    if stat.st_nlink > 1 {",
        "    if stat.st_dev != base.identity.0 {
        return Err(\"another file system is mounted there\".to_owned());
    }
    if stat.st_nlink > 1 {",
        &["-p", "zeta", "--test", "suite", "place::overlay"],
    ),
    bug(
        "root adopts by chown",
        TRUSTED_DIR,
        "    let kind = check_base(path, &stat, euid, purpose)?;",
        "    let _ = rustix::fs::fchown(&fd, Some(geteuid()), None);
    let stat = fstat(&fd).map_err(|errno| Error::io(\"cannot look at\", path, errno))?;
    let kind = check_base(path, &stat, euid, purpose)?;",
        &["-p", "zeta", "--test", "attacks", "base::a01_base_made"],
    ),
    bug(
        "a mount inside is walked into without openat2",
        OPEN_BENEATH,
        "    if mount_of(opened.as_fd())? == mount {",
        "    if mount_of(opened.as_fd())? == mount || way() == COMPONENTS {",
        &["-p", "zeta", "--test", "attacks", "place::a25_another_directory"],
    ),
    bug(
        "a member makes a group's tree again",
        CREATE,
        "if anchor::exists(path)? || (is_default && is_announced()?) {",
        "if is_default && is_announced()? {",
        &["-p", "zeta", "--test", "attacks", "place::a26_cleaned_away"],
    ),
    bug(
        "an ACL is not looked for",
        TRUSTED_DIR,
        "name.starts_with(b\"system.posix_acl_\")",
        "name.starts_with(b\"system.no_such_thing\")",
        &["-p", "zeta", "--test", "suite", "it::files::links_and_acls_inside_the_tree"],
    ),
];
