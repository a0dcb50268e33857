//! The way of this node into a cluster's repository, and out of it.
//!
//! [`register`] leads from nothing to an open pull request, `proposal` is the pull request itself,
//! `renew` follows once it is merged, [`steward`] carries an intent out, [`deregister`] leads out
//! again. Here is what all of them need: the receipt, and its mirror in the tree.

mod address;
pub mod deregister;
mod exclusive;
mod proposal;
pub mod register;
mod renew;
pub mod repository;
pub mod request;
pub mod steward;

use std::io::ErrorKind;
use std::iter;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use zeta_core::name::{Label, RecordName};
use zeta_core::record::Fields;
use zeta_core::registration::node::About;
use zeta_core::registration::node_path;
use zeta_core::registration::receipt::{Receipt, State};

use self::repository::Repository;
use crate::node_yaml;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::{files, host, machine, temp_file};
use zeta_state::context::Context;
use zeta_state::directory::trusted_dir::Sharing;
use zeta_state::presence::records;
use zeta_state::presence::records::RecordKey;

/// The marker of the tree that mirrors the receipt: gone after each boot, and written again.
pub const MARKER: &str = "self-registered";
/// The lease that one agent of the node holds while it opens the pull request.
pub const IN_FLIGHT: &str = "register-pr-in-flight";

/// The directory of the receipt where the caller has no home.
const SYSTEM: &str = "/var/lib/zeta";
/// The file name of the receipt.
const RECEIPT: &str = "self-registered.marker";
/// Most bytes of a receipt that is read.
const RECEIPT_MAX: u64 = 64 << 10;

/// The path of this node's receipt, which outlives the boot.
pub fn receipt_path() -> PathBuf {
    let first = receipt_places().into_iter().next();
    first.unwrap_or_else(|| Path::new(SYSTEM).join(RECEIPT))
}

/// The places where a receipt of this caller may be: the one that is written to, and the home of an
/// agent that the service of another program started, or of the user who became root.
fn receipt_places() -> Vec<PathBuf> {
    if let Some(path) = std::env::var_os("ZETA_SELF_REGISTER_MARKER").filter(|p| !p.is_empty()) {
        return vec![PathBuf::from(path)];
    }
    let home = host::home().map(|home| home.join(".config/zeta"));
    // What root makes in the home of another user, that user cannot enter.
    let is_strange = |dir: &PathBuf| geteuid().is_root() && !files::is_own_dir(dir);
    let system = || home.as_ref().filter(|dir| is_strange(dir)).map(|_| PathBuf::from(SYSTEM));
    let places = match host::state_directory().or_else(system) {
        // A service has a directory of its own, and may see no home (`ProtectHome=`).
        Some(own) => iter::once(own).chain(home.filter(|home| home.is_dir())).collect(),
        None => Vec::from_iter(home),
    };
    places.into_iter().map(|dir| dir.join(RECEIPT)).collect()
}

/// Reads a receipt of this machine; `None` if there is none, or it says nothing that can be
/// understood. One that was carried here, with a stick, a home or an image, says nothing about this
/// machine.
pub fn read_receipt(path: &Path) -> Result<Option<Receipt>> {
    let Some(receipt) = read_text(path)?.and_then(|text| Receipt::parse(&text)) else {
        return Ok(None);
    };
    let another = receipt.is_of_another_machine(&machine::bindings()?);
    Ok(Some(receipt).filter(|_| !another))
}

fn read_text(path: &Path) -> Result<Option<String>> {
    let text = files::read_plain(path, RECEIPT_MAX)
        .and_then(|bytes| String::from_utf8(bytes).map_err(std::io::Error::other));
    match text {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => {
            Err(Error::new(Kind::Unsafe, format!("cannot read {}: {error}", path.display()))
                .hint("the receipt of this node's registration belongs there: see who made it"))
        }
    }
}

/// Keeps a receipt, bound to this machine: on the disk, across boots, and as a marker in the tree,
/// for this boot.
pub fn keep_receipt(ctx: &Context, path: &Path, receipt: &Receipt) -> Result<()> {
    let receipt = &Receipt { machine: machine::bindings()?, ..receipt.clone() };
    temp_file::keep(path, ".self-registered.", receipt.render().as_bytes()).map_err(|error| {
        Error::new(Kind::Unsafe, format!("cannot write {}: {error}", path.display()))
            .hint("without a receipt an attempt could be doubled, so none is made")
    })?;
    let mut pairs = vec![
        ("state".to_owned(), receipt.state.word().to_owned()),
        ("node_path".to_owned(), receipt.node_path.clone()),
        ("observed_at".to_owned(), zeta_core::time::format_utc(receipt.observed_us)),
        ("detail".to_owned(), receipt.detail.clone()),
    ];
    for (key, value) in [("pr_url", &receipt.pr_url), ("branch", &receipt.branch)] {
        pairs.extend(value.clone().map(|value| (key.to_owned(), value)));
    }
    let marker = RecordKey::Marker(RecordName::new("marker", MARKER)?);
    records::set(ctx, &marker, &pairs).map(|_| ())
}

/// Notes in the receipt that no account is logged in. An attempt that was cut off stays one.
pub fn note_logged_out(ctx: &Context, path: &Path, about: &About, why: &Error) -> Result<()> {
    let before = read_receipt(path)?;
    if before.as_ref().is_some_and(|before| before.state == State::Registering) {
        return Ok(());
    }
    let receipt = Receipt {
        state: State::Unauthenticated,
        node: about.node.clone(),
        observed_us: host::wall_us(),
        node_path: node_path(&about.maintainer, &about.node),
        pr_url: None,
        branch: None,
        detail: why.text.clone(),
        last_attempt_s: None,
        retry_after_s: None,
        opened_url: None,
        machine: Vec::new(),
    }
    .following(before.as_ref());
    keep_receipt(ctx, path, &receipt)
}

/// The name of this node: that of its receipt, for the tree's ends with each boot; else the tree's,
/// which is opaque, or the host's if the caller asks for that, or if the first generation of the
/// original registered this machine, which named every node so.
pub fn name(ctx: &Context, host_name: bool) -> Result<Label> {
    if let Some(node) = &ctx.node
        && !is_of_session(ctx, node)?
    {
        return Ok(node.clone());
    }
    let mut first = false;
    for path in receipt_places() {
        if let Some(receipt) = read_receipt(&path)?.filter(|receipt| !receipt.node.is_empty()) {
            return Label::new("node", &receipt.node).map_err(|error| {
                Error::new(Kind::Unsafe, format!("{}: {error}", path.display())).hint(
                    "this machine was registered under that name; to give it another: --node NAME",
                )
            });
        }
        first |= read_text(&path)?.is_some_and(|text| Receipt::is_of_first_generation(&text));
    }
    if !host_name && !first {
        return Ok(ctx.open()?.node.name);
    }
    let host = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let short = host.split('.').next().unwrap_or_default();
    Label::new("node", short).map_err(|error| {
        Error::usage(error.to_string()).hint("the host's name is none; use the opaque one")
    })
}

/// Returns whether a node is named because the call runs in a session, to which the tree gave its
/// own name. That is no wish of a person.
fn is_of_session(ctx: &Context, node: &Label) -> Result<bool> {
    if std::env::var("ZETA_NODE").ok().as_deref() != Some(node.as_str()) {
        return Ok(false);
    }
    let own = ctx.find()?.map(|handle| handle.tree.read_local_node()).transpose()?.flatten();
    // A session outlives its tree. Without one, nothing shows that a person chose the name.
    Ok(own.map_or(ctx.session.is_some(), |own| own == *node))
}

/// The file that would be committed.
pub fn preview(about: &About) -> Result<String> {
    node_yaml::write(&repository::compose_here(about))
}

/// Writes the intent for the steward: all of it, so that nothing of an earlier one stays.
pub fn intend(ctx: &Context, about: &About, place: &Repository, reopen: bool) -> Result<()> {
    place.check()?;
    let mut pairs = vec![
        ("node".to_owned(), about.node.clone()),
        ("maintainer".to_owned(), about.maintainer.clone()),
        ("roles".to_owned(), about.roles.join(",")),
        ("wanted_at".to_owned(), about.timestamp.clone()),
        ("reopen".to_owned(), reopen.to_string()),
    ];
    for (key, value) in [
        ("expires_at", &about.expires_at),
        ("flake_commit", &about.flake_commit),
        ("flake_host", &about.flake_host),
        ("cluster_key", &about.cluster_key),
        ("repo", &place.repo),
        ("remote", &place.remote),
        ("fork", &place.fork),
        ("fork_remote", &place.fork_remote),
        ("api", &place.api),
        ("base", &place.base),
    ] {
        pairs.push((key.to_owned(), value.clone().unwrap_or_default()));
    }
    steward::intend(ctx, &pairs)
}

/// The request in an intent, for a steward whose call is for `own`, if it `said` so.
///
/// An intent does not say where the token is: that is the steward's own. In a tree that others
/// write, any of them may have written the intent, and the token is sent to the place that it
/// names: there the call has to name the same place.
pub fn wanted(
    ctx: &Context,
    intent: &Fields<'_>,
    (own, said): (&Repository, bool),
) -> Result<(About, Repository, bool)> {
    let text = |key: &str| intent.text(key).map(|t| t.into_owned()).filter(|t| !t.is_empty());
    let need = |key: &str| {
        text(key).ok_or_else(|| {
            Error::new(Kind::Unsafe, format!("the intent says nothing of {key:?}"))
                .hint("write it anew: zeta node register --intent …")
        })
    };
    let maintainer = need("maintainer")?;
    repository::check_maintainer(&maintainer)?;
    let about = About {
        node: need("node")?,
        maintainer,
        roles: need("roles")?.split(',').map(str::to_owned).collect(),
        timestamp: need("wanted_at")?,
        expires_at: text("expires_at"),
        flake_commit: text("flake_commit"),
        flake_host: text("flake_host"),
        cluster_key: text("cluster_key"),
    };
    let place = Repository {
        repo: text("repo"),
        remote: text("remote"),
        fork: text("fork"),
        fork_remote: text("fork_remote"),
        api: text("api"),
        base: text("base"),
        token_file: None,
    };
    let sharing = ctx.open()?.tree.base.sharing;
    let place = Repository::of_intent(place, own, said || sharing != Sharing::Private)?;
    Ok((about, place, text("reopen").as_deref() == Some("true")))
}
