//! Registration in words and as JSON: how it stands, the receipt, the nodes of a repository.

use std::path::Path;

use zeta_core::json::Object;
use zeta_core::record::{printable, quote};
use zeta_core::registration::expiry::Expiry;
use zeta_core::registration::node::{About, CLUSTER_KEY, EXPIRES_AT};
use zeta_core::registration::receipt::Receipt;
use zeta_core::registration::{Pull, Stop, node_path};
use zeta_core::time::{format_duration, format_utc};

use crate::node::deregister::{Left, Listed};
use crate::node::request::{OPENED, RegisterOutcome, WAITS};
use zeta_os::error::{Error, Kind};
use zeta_state::lease::acquire::Refusal;

/// How a registration stands.
#[derive(Debug)]
pub enum Standing<'a> {
    /// It goes on or is done.
    Good(Object, String),
    /// It is refused.
    Refused(Error, Object),
    /// Another agent of this node has the lease.
    Taken(&'a Refusal),
}

/// Reports how a registration stands after one attempt.
pub fn standing<'a>(outcome: &'a RegisterOutcome, receipt: &Receipt) -> Standing<'a> {
    let good = |word: &str, text: String| {
        let mut object = Object::new();
        object.text("outcome", word);
        add_receipt(&mut object, receipt);
        Standing::Good(object, printable(&text).into_owned())
    };
    let refused_as = |kind, text: String, hint: &str| {
        let mut object = Object::new();
        add_receipt(&mut object, receipt);
        Standing::Refused(Error::new(kind, text).hint(hint), object)
    };
    let stop = match outcome {
        RegisterOutcome::Registered => {
            return good("registered", format!("registered: {}", receipt.node_path));
        }
        // What is usual needs no words; what a person has to do does.
        RegisterOutcome::Waiting(Pull { url, .. }) if receipt.detail == WAITS => {
            return good("waiting", format!("waits for {url}"));
        }
        RegisterOutcome::Waiting(Pull { url, .. }) => {
            return good("waiting", format!("waits for {url}: {}", receipt.detail));
        }
        RegisterOutcome::Opened(Pull { url, .. }) if receipt.detail == OPENED => {
            return good("opened", format!("opened {url}"));
        }
        RegisterOutcome::Opened(Pull { url, .. }) => {
            return good("opened", format!("opened {url}: {}", receipt.detail));
        }
        RegisterOutcome::InFlight(refusal) => return Standing::Taken(refusal),
        RegisterOutcome::Stopped(stop) => stop,
    };
    match stop {
        Stop::Merging(pull) => good("merged", format!("{} was merged a moment ago", pull.url)),
        Stop::CouldNotAsk(why) => refused_as(
            Kind::Fault,
            format!("could not ask the forge: {why}"),
            "nothing was done; try again",
        ),
        Stop::Closed(pull) => refused_as(
            Kind::Refused,
            format!("{} was closed without a merge", pull.url),
            "to open another one: --reopen",
        ),
        Stop::Removed(pull) => refused_as(
            Kind::Refused,
            format!("{} was merged, and the node was removed since", pull.url),
            "to join again: --reopen",
        ),
        Stop::Throttled { rest_s, refused } => {
            let ms = u64::try_from(*rest_s).unwrap_or(0).saturating_mul(1000);
            let (text, hint) = match refused {
                true => {
                    ("the last one was refused", "put right what failed ('zeta node show'), then")
                }
                false => {
                    ("the last one succeeded, but its pull request is gone", "to make one now")
                }
            };
            let why = if *refused { format!(": {}", receipt.detail) } else { String::new() };
            refused_as(
                Kind::Busy,
                format!("the next attempt is due in {}; {text}{why}", format_duration(ms)),
                &format!("{hint}: --min-interval 0s"),
            )
        }
    }
}

/// A registration that was only written down, as JSON.
pub fn intended(about: &About) -> Object {
    let mut object = Object::new();
    object.text("node", &about.node).text("outcome", "intended");
    object
}

/// The same in words.
pub fn intended_text() -> String {
    "written down; 'zeta node steward' opens the pull request".to_owned()
}

/// The file that would be committed, as JSON.
pub fn preview(about: &About, yaml: &str) -> Object {
    let mut object = Object::new();
    object.text("outcome", "dry_run").text("node", &about.node);
    object.text("node_path", &node_path(&about.maintainer, &about.node)).text("yaml", yaml);
    object
}

/// A receipt as JSON, with the public key of the node in its cluster of machines.
pub fn receipt(receipt: &Receipt, cluster_key: Option<&str>) -> Object {
    let mut object = Object::new();
    add_receipt(&mut object, receipt);
    object.text_if("cluster_key", cluster_key);
    object
}

fn add_receipt(object: &mut Object, receipt: &Receipt) {
    object.text("node", &receipt.node).text("state", receipt.state.word());
    object.text("node_path", &receipt.node_path);
    for (key, value) in [("pr_url", &receipt.pr_url), ("branch", &receipt.branch)] {
        if let Some(value) = value {
            object.text(key, value);
        }
    }
    object.text("observed_at", &format_utc(receipt.observed_us));
    object.text("detail", &receipt.detail);
}

/// A receipt in words.
pub fn receipt_text(receipt: &Receipt, path: &Path, cluster_key: Option<&str>) -> String {
    let url = receipt.pr_url.as_deref().unwrap_or("-");
    let mut lines = vec![
        format!("{}: {} ({})", receipt.node, receipt.state.word(), receipt.detail),
        format!("  pull request {url}"),
        format!("  observed at {}", format_utc(receipt.observed_us)),
        format!("  receipt {}", path.display()),
    ];
    lines.extend(cluster_key.map(|key| format!("  cluster key {key}")));
    let lines: Vec<_> = lines.iter().map(|line| printable(line)).collect();
    lines.join("\n")
}

/// The refusal where there is no receipt; `intended` says that an intent was written down.
pub fn no_receipt(path: &Path, intended: bool) -> Error {
    let text = format!("{}: this node has no receipt: it was never registered", path.display());
    Error::new(Kind::NotFound, text).hint(match intended {
        true => "an intent was written down; to carry it out: zeta node steward",
        false => {
            "to see what would be registered: \
             zeta node register --repo OWNER/NAME --maintainer USER --dry-run"
        }
    })
}

/// The refusal where there is a file that is no receipt of this machine.
pub fn foreign_receipt(path: &Path) -> Error {
    let text = format!(
        "{}: it is no receipt of this machine, but of another machine or an older program",
        path.display()
    );
    Error::new(Kind::NotFound, text)
        .hint("'zeta node register' asks the repository, and writes a new one")
}

/// A steward without work, as JSON.
pub fn no_intent() -> Object {
    let mut object = Object::new();
    object.text("outcome", "no_intent");
    object
}

/// The same in words.
pub fn no_intent_text() -> String {
    "there is no intent: nothing to do".to_owned()
}

/// The nodes of a repository as JSON.
pub fn nodes(nodes: &[Listed]) -> Object {
    let mut object = Object::new();
    object.objects("nodes", nodes, |object, listed| {
        object.text("path", &listed.path).flag("dead", listed.expiry == Some(Expiry::Dead));
        match &listed.node {
            Ok(node) => {
                if let Some(end) = node.metadata.annotations.get(EXPIRES_AT) {
                    object.text("expires_at", end);
                }
                let key = node.metadata.annotations.get(CLUSTER_KEY);
                object.text_if("cluster_key", key.map(String::as_str));
                object.text("node", &node.metadata.name);
                object.text("maintainer", &node.spec.registration.maintainer);
                object.list("roles", node.spec.roles.iter().map(|role| quote(role)));
            }
            Err(why) => _ = object.text("damage", why),
        }
    });
    object
}

/// The same in words, a line each.
pub fn nodes_text(nodes: &[Listed]) -> String {
    let line = |listed: &Listed| match &listed.node {
        Ok(node) => format!(
            "{:<20} {:<16} {}{}",
            node.metadata.name,
            node.spec.registration.maintainer,
            node.spec.roles.join(","),
            match listed.expiry {
                Some(Expiry::Dead) => "  (dead: it expired more than three days ago)",
                Some(Expiry::Due) => "  (it expires soon, or expired less than three days ago)",
                Some(Expiry::Unreadable) => "  (its expiry cannot be read)",
                _ => "",
            }
        ),
        Err(why) => format!("{}: {why}", listed.path),
    };
    let lines = nodes.iter().map(|listed| printable(&line(listed)).into_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// The refusal of a node that is not there.
pub fn no_such_node(maintainer: &str, node: &str) -> Error {
    Error::new(Kind::NotFound, format!("maintainer {maintainer} has no node {node} there"))
        .hint("to see all nodes: zeta node list, with the same repository")
}

/// Nodes that were taken off, as JSON.
pub fn deregistered(gone: &[(String, Left)]) -> Object {
    let mut object = Object::new();
    object.objects("nodes", gone, |object, (node, left)| {
        let (word, pull) = match left {
            Left::Gone => ("gone", None),
            Left::Opened(pull) => ("opened", Some(pull)),
            Left::Waiting(pull) => ("waiting", Some(pull)),
            Left::Stays(pull) => ("stays", Some(pull)),
            Left::InFlight(_) => ("in_flight", None),
        };
        object.text("node", node).text("outcome", word);
        if let Some(pull) = pull {
            object.text("pr_url", &pull.url);
        }
    });
    object
}

/// The same in words, a line each.
pub fn deregistered_text(gone: &[(String, Left)]) -> String {
    let line = |(node, left): &(String, Left)| match left {
        Left::Gone => format!("{node} is not registered"),
        Left::Opened(pull) => format!("{node}: opened {}", pull.url),
        Left::Waiting(pull) => format!("{node}: {} is open already and removes it", pull.url),
        Left::Stays(pull) => format!("{node} stays: {} was closed", pull.url),
        Left::InFlight(_) => format!("{node}: another agent opens a pull request right now"),
    };
    match gone {
        [] => "no node is dead".to_owned(),
        gone => {
            let lines = gone.iter().map(|left| printable(&line(left)).into_owned());
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}
