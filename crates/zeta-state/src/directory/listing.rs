//! Reports what a listing of a node leaves out, so that nothing is dropped in silence.

use zeta_core::layout::{self, Kind};
use zeta_core::name::{Label, RecordName};
use zeta_core::record::printable;

use crate::directory::tree::Node;
use zeta_os::error;
use zeta_os::error::Error;
use zeta_os::files::Listing;

/// The next step about a name that no record can have.
pub const NOT_READ: &str = "zeta leaves it alone: find out which program makes it";

/// Reports a listing that was cut, and names that no record can have. For the kind that is listed,
/// `is_good` returns whether the name is valid; for all other kinds it returns `None`.
pub fn findings(
    node: &Node,
    listing: &Listing,
    is_good: impl Fn(Kind<'_>) -> Option<bool>,
) -> Vec<Error> {
    let mut findings = Vec::new();
    findings.extend(cut(node, listing));
    let odd = listing.odd.iter().filter(|name| is_good(layout::kind_of(name)).is_some());
    let bad = listing.names.iter().filter(|name| is_good(layout::kind_of(name)) == Some(false));
    for name in odd.chain(bad) {
        let text = format!(
            "{}: \"{}\" is not a name of the standard, so zeta does not read it",
            node.path.display(),
            printable(name)
        );
        findings.push(Error::new(error::Kind::Unsafe, text).hint(NOT_READ));
    }
    findings
}

/// Reports a listing that was cut.
pub fn cut(node: &Node, listing: &Listing) -> Option<Error> {
    let text = format!(
        "{}: more than {} entries; the rest was not read",
        node.path.display(),
        layout::ENTRIES_MAX
    );
    let error = || Error::new(error::Kind::Unsafe, text);
    listing.cut.then(|| error().hint("list what can be removed: zeta clean --dry-run"))
}

/// Returns the maximum length of a file of the standard, in bytes; `None` for other files.
pub fn limit(file: &str) -> Option<usize> {
    match layout::kind_of(file) {
        Kind::Lease(name) | Kind::Marker(name) => {
            RecordName::is_valid(name).then_some(layout::RECORD_MAX)
        }
        Kind::Persona(name) => Label::new("persona", name).is_ok().then_some(layout::PERSONA_MAX),
        Kind::LastSeen => Some(layout::LINE_MAX),
        Kind::Note(_) | Kind::History | Kind::Guards | Kind::Grants(_) => None,
        Kind::CopyMark | Kind::Other => None,
    }
}
