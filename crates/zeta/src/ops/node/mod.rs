//! How this node joins and leaves a cluster's repository.
//!
//! [`register`] is the way from nothing to an open pull request, [`steward`] what carries an
//! intent across, and here is what both need: the receipt, and its mirror in the tree.

pub mod hardware;
pub mod leave;
pub mod register;
pub mod steward;

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeta_core::name::RecordName;
use zeta_core::registration::receipt::Receipt;

use super::document::{self, Name};
use crate::adapters::host;
use crate::context::Context;
use crate::error::{Error, Kind, Result};

/// The marker of the tree that mirrors the receipt: gone after each boot, and written again.
pub const MARKER: &str = "self-registered";
/// The lease that one agent of the node holds while it opens the pull request.
pub const IN_FLIGHT: &str = "register-pr-in-flight";

/// Where the receipt of this node is kept, which outlives the boot.
pub fn receipt_path() -> PathBuf {
    if let Some(path) = std::env::var_os("ZETA_SELF_REGISTER_MARKER").filter(|p| !p.is_empty()) {
        return PathBuf::from(path);
    }
    let file = "self-registered.marker";
    let set = |key: &str| std::env::var_os(key).filter(|value| !value.is_empty());
    match (set("STATE_DIRECTORY"), set("HOME")) {
        // A service has a directory of its own.
        (Some(dir), _) => PathBuf::from(dir).join(file),
        (None, Some(home)) => PathBuf::from(home).join(".config/zeta").join(file),
        (None, None) => PathBuf::from("/var/lib/zeta").join(file),
    }
}

/// Reads a receipt; `None` if there is none, or it says nothing that can be understood.
pub fn read_receipt(path: &Path) -> Result<Option<Receipt>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Receipt::parse(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(Error::new(Kind::Unsafe, format!("cannot read {}: {error}", path.display()))
                .hint("it is the receipt of this node's registration; move it away to go on"))
        }
    }
}

/// Keeps a receipt: on the disk, for good, and as a marker in the tree, for this boot.
pub fn keep_receipt(ctx: &Context, path: &Path, receipt: &Receipt) -> Result<()> {
    write_whole(path, &receipt.render()).map_err(|error| {
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
    let marker = Name::Marker(RecordName::new("marker", MARKER)?);
    document::set(ctx, &marker, &pairs).map(|_| ())
}

/// A file and its directory, on the disk when this returns: the receipt has to outlive a power cut.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let random = host::random_hex().map_err(|error| std::io::Error::other(error.text))?;
    let temp = dir.join(format!(".self-registered.{random}"));
    let written = (|| {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&temp)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temp, path)?;
        std::fs::File::open(dir)?.sync_all()
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temp);
    }
    written
}
