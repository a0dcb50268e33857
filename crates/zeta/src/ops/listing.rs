//! What a listing of a node leaves out is said, and never dropped in silence.

use zeta_core::layout::{self, Kind};
use zeta_core::record::printable;

use crate::adapters::node::{Listing, Node};
use crate::error::{self, Error};

/// Findings about a listing that was cut, and about names that no record can have. `is_good` says
/// of the kind that is listed whether its name is one, and `None` of all others.
pub fn findings(
    node: &Node,
    listing: &Listing,
    is_good: impl Fn(Kind<'_>) -> Option<bool>,
) -> Vec<Error> {
    let mut findings = Vec::new();
    if listing.cut {
        let text = format!(
            "{}: more than {} entries; the rest was not looked at",
            node.path.display(),
            layout::ENTRIES_MAX
        );
        findings.push(
            Error::new(error::Kind::Unsafe, text)
                .hint("see what is provably dead: zeta clean --dry-run"),
        );
    }
    let odd = listing.odd.iter().filter(|name| is_good(layout::kind_of(name)).is_some());
    let bad = listing.names.iter().filter(|name| is_good(layout::kind_of(name)) == Some(false));
    for name in odd.chain(bad) {
        let text = format!(
            "{}: \"{}\" is not a name of the standard; nobody reads it",
            node.path.display(),
            printable(name)
        );
        findings.push(Error::new(error::Kind::Unsafe, text).hint("if it is yours, move it away"));
    }
    findings
}
