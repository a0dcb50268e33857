//! The rules that are dropped one by one: a model that misses none of them proves nothing.

/// One dropped rule of those that use the core: a store, a bridge or a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A write is accepted whatever it expects: reading instead of comparing.
    NoCas,
    /// A new token is the revision of its write.
    TokenIsRevision,
    /// A holder counts from the answer.
    DeadlineFromAnswer,
    /// A holder acts until the end of its TTL.
    NoMargin,
    /// A renew that was refused is sent again over whatever stands there.
    RenewRecreates,
    /// A reading that shows the own id is a grant.
    ReadingGrants,
    /// An observer counts from when it first saw the lease, whatever was written since.
    AgeByName,
    /// An answer that did not come is a refusal.
    SilenceIsRefusal,
    /// A loss of the store is not noticed.
    NoQuarantine,
}

impl Mutant {
    /// Each of them.
    pub const ALL: [Mutant; 9] = [
        Mutant::NoCas,
        Mutant::TokenIsRevision,
        Mutant::DeadlineFromAnswer,
        Mutant::NoMargin,
        Mutant::RenewRecreates,
        Mutant::ReadingGrants,
        Mutant::AgeByName,
        Mutant::SilenceIsRefusal,
        Mutant::NoQuarantine,
    ];
}
