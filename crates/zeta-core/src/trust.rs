//! Who could have prepared a directory: rules R1 and R2 of the standard (§3), as far as owner and
//! mode show it.
//!
//! In a user namespace a user without a number there appears as [`OVERFLOW_UID`], and two such
//! users cannot be told apart. Mostly the machine's root is one of them. Its directories are known
//! by their place then; `docs/decisions/0014-*` has the reasons.

use std::path::Path;

/// The user id as which the kernel shows a user who has no number in the reader's user namespace.
pub const OVERFLOW_UID: u32 = 65_534;

/// The directories that belong to root on every Linux, and above which a state directory may lie.
/// An installer lists only what is needed here: each is a place where an owner without a number is
/// taken for root.
const OF_ROOT: [&str; 12] = [
    "/",
    "/dev",
    "/dev/shm",
    "/home",
    "/run",
    "/run/user",
    "/run/zeta",
    "/tmp",
    "/var",
    "/var/home",
    "/var/lib",
    "/var/tmp",
];

/// The owner of a file or directory, as the caller can know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The user id 0 of the caller's user namespace.
    Root,
    /// The caller.
    Caller,
    /// A user without a number in the caller's user namespace, in which the machine's root has none
    /// either.
    Unmapped,
    /// Another user.
    Other,
}

/// Judges an owner. `root_is_unmapped` says whether the machine's root has no number in the user
/// namespace of the caller.
pub fn judge_owner(uid: u32, caller: u32, root_is_unmapped: bool) -> Owner {
    match uid {
        OVERFLOW_UID if root_is_unmapped => Owner::Unmapped,
        // Perhaps even the caller's own number: it stands for many users.
        OVERFLOW_UID => Owner::Other,
        0 => Owner::Root,
        uid if uid == caller => Owner::Caller,
        _ => Owner::Other,
    }
}

/// The verdict on a directory above a trusted one (R1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ancestor {
    /// No other user could have replaced what is below it.
    Trusted,
    /// Its owner could have.
    ForeignOwner,
    /// Its owner has no number here and its place does not say who it is.
    UnknownOwner,
    /// Every user who may write to it could have.
    Writable,
}

/// Judges a directory above a trusted one by its path, its owner and its mode (R1).
pub fn judge_ancestor(path: &Path, owner: Owner, mode: u32) -> Ancestor {
    let of_root = || OF_ROOT.iter().any(|dir| Path::new(dir) == path);
    let sticky = mode & 0o1000 != 0;
    match owner {
        Owner::Other => Ancestor::ForeignOwner,
        Owner::Unmapped if !of_root() => Ancestor::UnknownOwner,
        _ if mode & 0o022 != 0 && !sticky => Ancestor::Writable,
        _ => Ancestor::Trusted,
    }
}

/// The verdict on a trusted directory itself (R2 and R3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The caller's own.
    Private,
    /// A group's, made by root.
    Group,
    /// A group's, if the anchor of root names this very directory.
    GroupIfAnchored,
    /// It belongs to another user.
    ForeignOwner,
    /// It belongs to the caller or to root, and its mode is not the one of either kind.
    WrongMode,
}

/// Judges a trusted directory by its owner and its mode (R2 and R3). `bits` are those of the mode,
/// `group_mode` those of a directory of this kind that a group shares.
pub fn judge_base(owner: Owner, caller_is_owner: bool, bits: u32, group_mode: u32) -> Base {
    match (owner, bits) {
        (Owner::Other, _) => Base::ForeignOwner,
        (Owner::Unmapped, bits) if bits == group_mode => Base::GroupIfAnchored,
        (Owner::Unmapped, _) => Base::ForeignOwner,
        (_, 0o700) if caller_is_owner => Base::Private,
        (_, 0o700) => Base::ForeignOwner,
        (Owner::Root, bits) if bits == group_mode => Base::Group,
        _ => Base::WrongMode,
    }
}

/// What a process sees of a state directory: device and inode number of the directory itself, and
/// of the one above it. `None` stands for what is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// The state directory.
    pub base: Option<(u64, u64)>,
    /// The directory above it.
    pub above: Option<(u64, u64)>,
}

impl Sight {
    /// Reads what [`Sight`] writes; `None` for any other text.
    pub fn parse(text: &str) -> Option<Sight> {
        let pair = |text: &str| {
            let (dev, ino) = text.split_once(':')?;
            Some((dev.parse().ok()?, ino.parse().ok()?))
        };
        let (base, above) = text.split_once(',')?;
        Some(Sight { base: pair(base), above: pair(above) })
    }
}

impl std::fmt::Display for Sight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pair = |pair: Option<(u64, u64)>| match pair {
            Some((dev, ino)) => format!("{dev}:{ino}"),
            None => "-".to_owned(),
        };
        write!(f, "{},{}", pair(self.base), pair(self.above))
    }
}

/// Judges whether a process sees the state directory of its session: the directory itself is the
/// same, or it was removed and made again in the same place.
pub fn judge_sight(of_session: Sight, seen: Sight) -> bool {
    let same = |then: Option<(u64, u64)>, now| then.is_some() && then == now;
    same(of_session.base, seen.base) || same(of_session.above, seen.above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_without_a_number_is_never_the_caller_and_root_only_where_root_has_none() {
        for (uid, caller, unmapped, owner) in [
            (0, 7, false, Owner::Root),
            (0, 7, true, Owner::Root),
            (0, 0, true, Owner::Root),
            (7, 7, false, Owner::Caller),
            (7, 7, true, Owner::Caller),
            (8, 7, true, Owner::Other),
            (OVERFLOW_UID, 7, false, Owner::Other),
            (OVERFLOW_UID, 7, true, Owner::Unmapped),
            (OVERFLOW_UID, OVERFLOW_UID, false, Owner::Other),
            (OVERFLOW_UID, OVERFLOW_UID, true, Owner::Unmapped),
        ] {
            assert_eq!(judge_owner(uid, caller, unmapped), owner, "{uid} {caller} {unmapped}");
        }
    }

    #[test]
    fn a_directory_above_is_of_root_or_of_the_caller_and_only_sticky_ones_are_open() {
        use Ancestor::{ForeignOwner, Trusted, UnknownOwner, Writable};
        for (path, owner, mode, verdict) in [
            ("/tmp", Owner::Root, 0o1777, Trusted),
            ("/tmp", Owner::Root, 0o0777, Writable),
            ("/tmp", Owner::Root, 0o0775, Writable),
            ("/x", Owner::Caller, 0o0755, Trusted),
            ("/x", Owner::Caller, 0o0757, Writable),
            ("/x", Owner::Other, 0o1777, ForeignOwner),
            ("/", Owner::Unmapped, 0o0755, Trusted),
            ("/tmp", Owner::Unmapped, 0o1777, Trusted),
            ("/tmp", Owner::Unmapped, 0o0777, Writable),
            ("/tmp", Owner::Other, 0o1777, ForeignOwner),
            ("/home/v", Owner::Unmapped, 0o0755, UnknownOwner),
            ("/tmp/v", Owner::Unmapped, 0o1777, UnknownOwner),
            ("/tmp/zeta", Owner::Unmapped, 0o0700, UnknownOwner),
            ("/scratch", Owner::Unmapped, 0o1777, UnknownOwner),
        ] {
            assert_eq!(judge_ancestor(Path::new(path), owner, mode), verdict, "{path} {mode:o}");
        }
    }

    #[test]
    fn a_tree_is_the_caller_s_or_root_s_and_of_an_unknown_owner_only_with_an_anchor() {
        for (owner, mine, bits, verdict) in [
            (Owner::Caller, true, 0o700, Base::Private),
            (Owner::Caller, true, 0o755, Base::WrongMode),
            (Owner::Caller, true, 0o2750, Base::WrongMode),
            (Owner::Root, true, 0o700, Base::Private),
            (Owner::Root, false, 0o700, Base::ForeignOwner),
            (Owner::Root, false, 0o2750, Base::Group),
            (Owner::Root, false, 0o2770, Base::WrongMode),
            (Owner::Other, false, 0o2750, Base::ForeignOwner),
            (Owner::Unmapped, false, 0o700, Base::ForeignOwner),
            (Owner::Unmapped, true, 0o700, Base::ForeignOwner),
            (Owner::Unmapped, false, 0o2770, Base::ForeignOwner),
            (Owner::Unmapped, false, 0o2750, Base::GroupIfAnchored),
        ] {
            let judged = judge_base(owner, mine, bits, 0o2750);
            assert_eq!(judged, verdict, "{owner:?} {mine} {bits:o}");
        }
        assert_eq!(judge_base(Owner::Root, false, 0o2770, 0o2770), Base::Group);
        assert_eq!(judge_base(Owner::Root, false, 0o2750, 0o2770), Base::WrongMode);
        assert_eq!(judge_base(Owner::Unmapped, false, 0o2770, 0o2770), Base::GroupIfAnchored);
    }

    #[test]
    fn a_session_knows_its_directory_and_the_place_where_it_was_made_again() {
        let sight = |text: &str| Sight::parse(text).unwrap();
        let session = sight("1:2,1:9");
        assert_eq!(session.to_string(), "1:2,1:9");
        assert_eq!(sight("-,1:9"), Sight { base: None, above: Some((1, 9)) });
        for (seen, same) in [
            ("1:2,1:9", true),
            ("1:2,7:7", true),
            ("1:2,-", true),
            ("1:3,1:9", true),
            ("-,1:9", true),
            ("1:3,7:7", false),
            ("-,7:7", false),
            ("-,-", false),
        ] {
            assert_eq!(judge_sight(session, sight(seen)), same, "{seen}");
        }
        assert!(!judge_sight(sight("-,-"), sight("-,-")));
        for text in ["", "1:2", "nonsense"] {
            assert_eq!(Sight::parse(text), None, "{text}");
        }
    }
}
