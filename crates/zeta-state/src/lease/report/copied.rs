//! The lease of another machine as text: whose copy it is, how old that is, and what is left.

use zeta_core::cluster::lease::Scope;
use zeta_core::lease::{Held, Observed, Standing};
use zeta_core::time::format_duration;

use crate::lease::LeaseView;
use crate::lease::cluster::CopyOf;

/// A lease that is none of the cluster, in the copy of another machine's node.
pub(super) fn is_of_node_alone(view: &LeaseView) -> bool {
    view.copy.is_some()
        && matches!(&view.observed, Observed::Ours(record, ..) if Scope::of(record).is_none())
}

/// Says of which machine a record is the copy, how old it is, and whether that machine is heard.
pub fn copied(copy: &CopyOf) -> String {
    let CopyOf { node, verified, age_ms, heard_ms, silent } = copy;
    let ago = |age_ms: u64| format!("{} ago", format_duration(age_ms));
    let first = age_ms.map_or_else(|| "before this machine's last boot".to_owned(), ago);
    let mut text = format!("of a record of {node}, first seen here {first}");
    if !verified {
        text += "; not signed with a key that is known";
    }
    match heard_ms {
        None => text += &format!("; nothing was heard of {node}: it may be another one by now"),
        Some(heard_ms) if *silent => {
            let heard = ago(*heard_ms);
            text += &format!("; {node} was last heard {heard}: it may be another one by now");
        }
        Some(_) => {}
    }
    text
}

/// Says for how long a copied lease lasts by the clock of this machine.
pub(super) fn rest(standing: &Standing) -> Option<String> {
    match standing {
        Standing::Held(Held { rest_ms: Some(rest_ms), .. }) => {
            let rest = format_duration(*rest_ms);
            Some(format!("{rest} by this machine's clock, if it is not renewed"))
        }
        _ => None,
    }
}
