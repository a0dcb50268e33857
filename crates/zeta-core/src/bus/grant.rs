//! A claim as the record of its lease holds it, and whether a caller is its holder.

use std::collections::BTreeMap;

use crate::lease::Record;
use crate::record::unquote;

/// Keys that only records of claims have.
pub mod key {
    /// The item.
    pub const ITEM: &str = "item";
    /// The address of the holder.
    pub const FROM: &str = "claim_from";
    /// The branch of the work.
    pub const BRANCH: &str = "branch";
    /// The worktree of the work.
    pub const WORKTREE: &str = "worktree";
    /// Other surfaces of the persona may claim the item, too.
    pub const SHAREABLE: &str = "shareable";
    /// The id of the newest claim message.
    pub const MESSAGE: &str = "message";
    /// The bus on which the claim is announced.
    pub const BUS: &str = "bus_dir";
    /// When a claim on paths was announced, in µs of the wall clock.
    pub const ANNOUNCED: &str = "announced_us";
    /// The claim was handed over, and its new holder has not acquired it yet.
    pub const HANDED_OVER: &str = "handed_over";
}

/// The data of a claim in the record of its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRecord {
    /// The item.
    pub item: String,
    /// The holder.
    pub from: String,
    /// The branch of the work.
    pub branch: Option<String>,
    /// The worktree of the work.
    pub worktree: Option<String>,
    /// Whether other surfaces of the persona may claim the item, too.
    pub shareable: bool,
    /// The id of the newest claim message.
    pub message: Option<String>,
    /// The bus on which it is announced.
    pub bus_dir: Option<String>,
    /// Whether it was handed over, and its new holder has not acquired it yet.
    pub handed_over: bool,
}

impl ClaimRecord {
    /// Reads the claim from the record of a lease; `None` if the lease is no claim.
    pub fn of(record: &Record) -> Option<ClaimRecord> {
        let text = |key: &str| {
            let (_, value) = record.extra.iter().find(|(known, _)| known == key)?;
            Some(unquote(value)?.into_owned())
        };
        let flag = |key: &str| is_set(&record.extra, key);
        Some(ClaimRecord {
            item: text(key::ITEM)?,
            from: text(key::FROM)?,
            branch: text(key::BRANCH),
            worktree: text(key::WORKTREE),
            shareable: flag(key::SHAREABLE),
            message: text(key::MESSAGE),
            bus_dir: text(key::BUS),
            handed_over: flag(key::HANDED_OVER),
        })
    }
}

/// Returns whether the keys of a record say that its claim was handed over, and that its new holder
/// has not acquired it yet.
pub fn is_handed_over(entries: &[(String, String)]) -> bool {
    is_set(entries, key::HANDED_OVER)
}

fn is_set(entries: &[(String, String)], key: &str) -> bool {
    entries.iter().any(|(known, value)| known == key && value == "true")
}

/// What is known of the holder of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holder<'a> {
    /// Its name.
    pub from: &'a str,
    /// Its session.
    pub session: Option<&'a str>,
    /// The branch of its work.
    pub branch: Option<&'a str>,
    /// The worktree of its work.
    pub worktree: Option<&'a str>,
    /// The number of its grant; a claim of the original has none.
    pub fencing_token: Option<u64>,
    /// It has the claim from a handover, and has not acquired it yet.
    pub handed_over: bool,
}

/// A caller that asks about a claim, and what it gives to show that it is the holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caller<'a> {
    /// Its name.
    pub from: &'a str,
    /// Its session.
    pub session: Option<&'a str>,
    /// The branch that it gives.
    pub branch: Option<&'a str>,
    /// The worktree that it gives.
    pub worktree: Option<&'a str>,
    /// The fencing token that it gives.
    pub fencing_token: Option<u64>,
    /// The original's rule holds: callers of one name are one caller.
    pub by_name: bool,
}

/// Whether a caller is the holder of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Identity {
    /// The holder has another name.
    #[default]
    Other,
    /// The caller is the holder.
    Same,
    /// The holder has the caller's name, and nothing shows that it is the caller: two agents may
    /// have been started under one name.
    Unproven,
}

/// Judges whether a caller is the holder of a claim. A name alone shows nothing: two agents that
/// one user starts have the same name by default.
pub fn judge_identity(holder: &Holder<'_>, caller: &Caller<'_>) -> Identity {
    let both = |one: Option<&str>, other: Option<&str>| one.is_some() && one == other;
    let same = match (caller.fencing_token, holder.session) {
        _ if holder.from != caller.from => return Identity::Other,
        (Some(token), _) => holder.fencing_token == Some(token),
        // A session that lives is asked by its number alone.
        (None, Some(session)) => caller.session == Some(session),
        (None, None) => {
            caller.by_name
                || holder.handed_over
                // A call that is repeated, or another one of the same work.
                || (both(holder.branch, caller.branch) && both(holder.worktree, caller.worktree))
        }
    };
    if same { Identity::Same } else { Identity::Unproven }
}

/// A claim whose lease is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldClaim<'a> {
    /// The claim.
    pub claim: &'a ClaimRecord,
    /// The session of its holder.
    pub session: Option<&'a str>,
}

/// What several claims share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlaceKind {
    /// A worktree.
    Worktree,
    /// A branch.
    Branch,
}

/// A branch or a worktree in which several holders work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedPlace<'a> {
    /// Which of both.
    pub kind: PlaceKind,
    /// The branch or the worktree.
    pub place: &'a str,
    /// The claims, in the order in which they were given.
    pub claims: Vec<HeldClaim<'a>>,
}

impl SharedPlace<'_> {
    /// The word of the finding.
    pub fn word(&self) -> &'static str {
        match self.kind {
            PlaceKind::Worktree => "shared_worktree",
            PlaceKind::Branch => "shared_branch",
        }
    }

    /// The sentence of the finding. It begins with the agents: on a narrow screen its end is cut.
    pub fn text(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for HeldClaim { claim, .. } in &self.claims {
            if !names.contains(&claim.from.as_str()) {
                names.push(&claim.from);
            }
        }
        let who = match names.as_slice() {
            [one] => format!("several sessions of {one}"),
            names => names.join(" and "),
        };
        let place = match self.kind {
            PlaceKind::Worktree => "in one worktree",
            PlaceKind::Branch => "on one branch",
        };
        format!("{who} work {place}: {}", self.place)
    }

    /// The next step, with the claims that are meant.
    pub fn hint(&self) -> String {
        let claims = self.claims.iter();
        let claims = claims.map(|held| format!("{:?} of {}", held.claim.item, held.claim.from));
        let claims: Vec<String> = claims.collect();
        let claims = claims.join(", ");
        format!("give each claim a place of its own, with --branch and --worktree: {claims}")
    }
}

/// Returns the branches and worktrees that claims of several holders name. What one holder does in
/// one place, or several do who share one item, is no finding.
pub fn shared_places<'a>(claims: &[HeldClaim<'a>]) -> Vec<SharedPlace<'a>> {
    let mut places: BTreeMap<(PlaceKind, &'a str), Vec<HeldClaim<'a>>> = BTreeMap::new();
    for held in claims {
        let HeldClaim { claim, .. } = held;
        let named = [(PlaceKind::Worktree, &claim.worktree), (PlaceKind::Branch, &claim.branch)];
        for (kind, place) in named {
            if let Some(place) = place.as_deref() {
                let place = place.strip_suffix('/').unwrap_or(place);
                places.entry((kind, place)).or_default().push(*held);
            }
        }
    }
    let holder = |held: &HeldClaim<'a>| (held.claim.from.as_str(), held.session);
    places.retain(|_, claims| {
        let Some(first) = claims.first() else { return false };
        claims.iter().any(|held| {
            let (one, other) = (held.claim, first.claim);
            let shared_item = one.shareable && other.shareable && one.item == other.item;
            holder(held) != holder(first) && !shared_item
        })
    });
    let shared = |((kind, place), claims)| SharedPlace { kind, place, claims };
    places.into_iter().map(shared).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A caller or holder as its name, session, branch, worktree and token.
    type Facts = (
        &'static str,
        Option<&'static str>,
        Option<&'static str>,
        Option<&'static str>,
        Option<u64>,
    );

    fn judged(holder: Facts, caller: Facts) -> Identity {
        let (from, session, branch, worktree, fencing_token) = holder;
        let handed_over = false;
        let holder = Holder { from, session, branch, worktree, fencing_token, handed_over };
        let (from, session, branch, worktree, fencing_token) = caller;
        let by_name = false;
        let caller = Caller { from, session, branch, worktree, fencing_token, by_name };
        judge_identity(&holder, &caller)
    }

    #[test]
    fn a_name_alone_does_not_make_a_caller_the_holder() {
        use Identity::{Other, Same, Unproven};
        let alone = ("ann", None, None, None, Some(7));
        let placed = ("ann", None, Some("b"), Some("/w"), Some(7));
        let in_session = ("ann", Some("s"), Some("b"), Some("/w"), Some(7));
        let original = ("ann", None, None, None, None);
        let table = [
            (alone, ("bob", None, None, None, Some(7)), Other),
            (alone, ("ann", None, None, None, None), Unproven),
            (alone, ("ann", Some("s"), None, None, None), Unproven),
            (alone, ("ann", None, None, None, Some(7)), Same),
            (alone, ("ann", None, None, None, Some(8)), Unproven),
            (placed, ("ann", None, None, None, None), Unproven),
            (placed, ("ann", None, Some("b"), None, None), Unproven),
            (placed, ("ann", None, None, Some("/w"), None), Unproven),
            (placed, ("ann", None, Some("b"), Some("/v"), None), Unproven),
            (placed, ("ann", None, Some("a"), Some("/w"), None), Unproven),
            (placed, ("ann", None, Some("b"), Some("/w"), None), Same),
            (placed, ("ann", Some("s"), Some("b"), Some("/w"), None), Same),
            // A wrong token is not made good by the rest.
            (placed, ("ann", None, Some("b"), Some("/w"), Some(8)), Unproven),
            (in_session, ("ann", Some("s"), None, None, None), Same),
            (in_session, ("ann", Some("t"), Some("b"), Some("/w"), None), Unproven),
            (in_session, ("ann", None, Some("b"), Some("/w"), None), Unproven),
            (in_session, ("ann", Some("t"), None, None, Some(7)), Same),
            (original, ("ann", None, None, None, None), Unproven),
            (original, ("ann", None, None, None, Some(7)), Unproven),
        ];
        for (holder, caller, wanted) in table {
            assert_eq!(judged(holder, caller), wanted, "{holder:?} {caller:?}");
        }
    }

    #[test]
    fn the_original_s_rule_goes_by_the_name_and_leaves_sessions_alone() {
        let caller = Caller { from: "ann", by_name: true, ..Caller::default() };
        let holder = Holder { from: "ann", fencing_token: Some(7), ..Holder::default() };
        assert_eq!(judge_identity(&holder, &caller), Identity::Same);
        let holder = Holder { session: Some("s"), ..holder };
        assert_eq!(judge_identity(&holder, &caller), Identity::Unproven);
    }

    #[test]
    fn who_got_a_claim_by_handover_has_only_its_name_to_show() {
        let caller = Caller { from: "ann", session: Some("t"), ..Caller::default() };
        let holder = Holder { from: "ann", handed_over: true, ..Holder::default() };
        assert_eq!(judge_identity(&holder, &caller), Identity::Same);
        let other = Caller { from: "bob", ..caller };
        assert_eq!(judge_identity(&holder, &other), Identity::Other);
    }

    fn claim(item: &str, from: &str, branch: &str, worktree: &str) -> ClaimRecord {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        ClaimRecord {
            item: item.to_owned(),
            from: from.to_owned(),
            branch: text(branch),
            worktree: text(worktree),
            shareable: false,
            message: None,
            bus_dir: None,
            handed_over: false,
        }
    }

    #[test]
    fn one_place_for_two_holders_is_found_and_for_one_holder_is_not() {
        let claims = [
            claim("A", "ann", "main", "/w/1"),
            claim("B", "ann", "main", "/w/1"),
            claim("C", "bob", "main", "/w/2"),
            claim("D", "cat", "", "/w/2/"),
            claim("E", "cat", "feat", ""),
        ];
        let held: Vec<HeldClaim<'_>> =
            claims.iter().map(|claim| HeldClaim { claim, session: None }).collect();
        let found = shared_places(&held);
        let shown: Vec<String> = found.iter().map(SharedPlace::text).collect();
        assert_eq!(
            shown,
            ["bob and cat work in one worktree: /w/2", "ann and bob work on one branch: main",]
        );
        assert_eq!(
            found[1].hint(),
            "give each claim a place of its own, with --branch and --worktree: \"A\" of ann, \
             \"B\" of ann, \"C\" of bob"
        );
        assert_eq!(found[0].word(), "shared_worktree");
        // One name in two sessions is two holders.
        let one = |session| HeldClaim { claim: &claims[0], session };
        assert_eq!(shared_places(&[one(Some("s")), one(Some("s"))]), []);
        let sessions = [one(Some("s")), one(Some("t"))];
        let found = shared_places(&sessions);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].text(), "several sessions of ann work on one branch: main");
        // Those that share an item do so in one place.
        let share = |from| ClaimRecord { shareable: true, ..claim("S", from, "main", "/w") };
        let mut claims = ["otto-cli", "otto-desktop"].map(share);
        let found = |claims: &[ClaimRecord; 2]| {
            let held = claims.each_ref().map(|claim| HeldClaim { claim, session: None });
            shared_places(&held).len()
        };
        assert_eq!(found(&claims), 0);
        claims[1].item = "T".to_owned();
        assert_eq!(found(&claims), 2, "another item");
        for shares in [[true, false], [false, true]] {
            let mut claims = ["otto-cli", "otto-desktop"].map(share);
            claims[0].shareable = shares[0];
            claims[1].shareable = shares[1];
            assert_eq!(found(&claims), 2, "both must say that they share");
        }
    }
}
