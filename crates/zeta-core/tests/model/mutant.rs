//! The rules that are dropped one by one: a model that misses none of them proves nothing.

/// One dropped rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The flock is not taken.
    NoFlock,
    /// The guard is a file: temps are made beside the record, and nothing is compared afterwards.
    GuardIsAFile,
    /// The guard is a directory, but is not compared with its name after the commit.
    NoIdentityAfterCommit,
    /// A mismatch after the commit is tried again instead of reported.
    RetryAfterMismatch,
    /// The clock is read before the flock is taken.
    ClockBeforeFlock,
    /// The record is read before the flock is taken.
    NoReadInside,
    /// A release unlinks the record by its name.
    ReleaseByUnlink,
    /// The token file is written after the commit.
    TokenAfterCommit,
    /// A token is not larger than the record's.
    TokenWithoutRecord,
    /// A token is not larger than the token file's.
    TokenWithoutFile,
    /// Another boot id is another boot.
    BootIdAlone,
    /// A repeated lease id is known without its session.
    LeaseIdWithoutSession,
    /// A holder that cannot be shown to live is dead.
    UnknownIsDead,
    /// A wrapper's death is the holder's, whatever its child does.
    WrapperAlone,
    /// A fenced command runs without a look inside the guard.
    FencedWithoutCheck,
    /// A living holder has no grace.
    NoGrace,
}

impl Mutant {
    /// Each of them.
    pub const ALL: [Mutant; 16] = [
        Mutant::NoFlock,
        Mutant::GuardIsAFile,
        Mutant::NoIdentityAfterCommit,
        Mutant::RetryAfterMismatch,
        Mutant::ClockBeforeFlock,
        Mutant::NoReadInside,
        Mutant::ReleaseByUnlink,
        Mutant::TokenAfterCommit,
        Mutant::TokenWithoutRecord,
        Mutant::TokenWithoutFile,
        Mutant::BootIdAlone,
        Mutant::LeaseIdWithoutSession,
        Mutant::UnknownIsDead,
        Mutant::WrapperAlone,
        Mutant::FencedWithoutCheck,
        Mutant::NoGrace,
    ];
}
