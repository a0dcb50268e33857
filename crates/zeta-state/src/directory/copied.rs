//! Directories that only the bridge of this machine writes: the copies of other nodes' records, and
//! `cluster/`, where it keeps what the short verbs read.
//!
//! The directory of a copied node holds the mark [`layout::COPY_MARK`] from the moment at which it
//! has its name, so that no verb takes a lease in it, and no directory of this tree becomes a copy.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use zeta_core::layout;
use zeta_core::name::Label;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::{Listing, list, write_temp};
use zeta_os::flock::lock_within;
use zeta_os::host;

use super::create::{publish_dir, publish_dir_with};
use super::tree::{Bytes, Node, Tree, read};
use super::trusted_dir::open_inner;

/// Returns whether the directory of a node is a copy.
///
/// # Errors
/// The kernel does not say it: then nothing is changed there.
pub fn is_copied(node: &Node) -> Result<bool> {
    match statat(node.as_fd(), layout::COPY_MARK, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(Error::io("cannot look at", &node.path.join(layout::COPY_MARK), errno)),
    }
}

/// Refuses to change anything in the directory of a copied node.
///
/// # Errors
/// It is a copy.
pub fn refuse_copied(node: &Node) -> Result<()> {
    if !is_copied(node)? {
        return Ok(());
    }
    let text = format!("the records of the node {} are copies of another machine's", node.name);
    Err(Error::new(Kind::Unsafe, text)
        .hint("they can be read, as in 'zeta status --node NODE'; change them on that machine")
        .hint(
            "a lease for all machines is one of the cluster: 'zeta lease acquire --scope cluster'",
        ))
}

/// Returns the other machine's node on which an agent of this name has a record, by the copies.
pub fn node_of_agent(tree: &Tree, agent: &str) -> Option<Label> {
    let file = layout::persona_file(agent);
    let names = tree.nodes().ok()?.names;
    names.iter().filter_map(|name| tree.node(&name.parse().ok()?).ok()?).find_map(|node| {
        let has = statat(node.as_fd(), file.as_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok();
        (has && is_copied(&node).unwrap_or(false)).then(|| node.name.clone())
    })
}

/// A directory that the bridge writes.
#[derive(Debug)]
pub struct BridgeDir {
    fd: OwnedFd,
    /// Its path.
    pub path: PathBuf,
}

impl BridgeDir {
    /// Opens the directory of a copied node, and makes it with its mark if there is none; `None` if
    /// a directory of this tree has the name.
    ///
    /// # Errors
    /// It cannot be made, or is not a directory that zeta trusts.
    pub fn of_node(tree: &Tree, node: &Label, mark: &str) -> Result<Option<BridgeDir>> {
        if let Some(found) = BridgeDir::find_node(tree, node)? {
            return Ok(found);
        }
        let nodes = tree.base.path.join(layout::NODES);
        let opened = open_inner(tree.base.as_fd(), layout::NODES, &tree.base, || nodes.clone())?;
        let (dir, _) = opened.ok_or_else(|| Error::not_safe(&nodes, "it is missing"))?;
        let (path, mode) = (nodes.join(node.as_str()), tree.base.sharing.file_mode());
        publish_dir_with(
            dir.as_fd(),
            node.as_str(),
            &tree.base,
            &path,
            layout::COPY_MARK,
            |new| write_temp(new, layout::COPY_MARK, mark.as_bytes(), mode),
        )?;
        Ok(BridgeDir::find_node(tree, node)?.flatten())
    }

    /// Opens the directory of a copied node: `None` if there is none, `Some(None)` if a directory
    /// of this tree has the name.
    ///
    /// # Errors
    /// It is not a directory that zeta trusts.
    pub fn find_node(tree: &Tree, node: &Label) -> Result<Option<Option<BridgeDir>>> {
        let Some(found) = tree.node(node)? else { return Ok(None) };
        if !is_copied(&found)? {
            return Ok(Some(None));
        }
        let path = found.path.clone();
        Ok(Some(Some(BridgeDir { fd: found.into(), path })))
    }

    /// Removes the directory of a copied node, if there is one. It has its mark for as long as it
    /// has its name.
    ///
    /// # Errors
    /// As the kernel says, or it is not a directory that zeta trusts.
    pub fn remove_node(tree: &Tree, node: &Label) -> Result<()> {
        let Some(Some(dir)) = BridgeDir::find_node(tree, node)? else { return Ok(()) };
        for name in dir.list()?.names.iter().filter(|name| *name != layout::COPY_MARK) {
            dir.remove(name)?;
        }
        let nodes = tree.base.path.join(layout::NODES);
        let opened = open_inner(tree.base.as_fd(), layout::NODES, &tree.base, || nodes.clone())?;
        let Some((parent, _)) = opened else { return Ok(()) };
        let temp = format!("{}{}", layout::NEW_PREFIX, host::random_hex()?);
        renameat(&parent, node.as_str(), &parent, temp.as_str())
            .and_then(|()| unlinkat(&dir, layout::COPY_MARK, AtFlags::empty()))
            .and_then(|()| unlinkat(&parent, temp.as_str(), AtFlags::REMOVEDIR))
            .map_err(|errno| Error::io("cannot remove", &dir.path, errno))
    }

    /// Opens `cluster/` below the tree, or a directory in it, and makes what is missing.
    ///
    /// # Errors
    /// It cannot be made, or is not a directory that zeta trusts.
    pub fn of_cluster(tree: &Tree, inner: Option<&str>) -> Result<BridgeDir> {
        let opened = match BridgeDir::find_cluster(tree, inner)? {
            Some(opened) => opened,
            None => {
                let outer = tree.base.path.join(layout::CLUSTER);
                match inner {
                    // In a group's tree root has made it, and nobody else may make it.
                    Some(inner) => {
                        let dir = BridgeDir::of_cluster(tree, None)?;
                        publish_dir(dir.fd.as_fd(), inner, &tree.base, &outer.join(inner))?;
                    }
                    None => publish_dir(tree.base.as_fd(), layout::CLUSTER, &tree.base, &outer)?,
                }
                BridgeDir::find_cluster(tree, inner)?
                    .ok_or_else(|| Error::not_safe(&outer, "it vanishes at once"))?
            }
        };
        Ok(opened)
    }

    /// As [`BridgeDir::of_cluster`]; `None` if it is missing.
    ///
    /// # Errors
    /// It is not a directory that zeta trusts.
    pub fn find_cluster(tree: &Tree, inner: Option<&str>) -> Result<Option<BridgeDir>> {
        let relative = match inner {
            Some(inner) => format!("{}/{inner}", layout::CLUSTER),
            None => layout::CLUSTER.to_owned(),
        };
        let path = tree.base.path.join(&relative);
        let opened = open_inner(tree.base.as_fd(), &relative, &tree.base, || path.clone())?;
        Ok(opened.map(|(fd, _)| BridgeDir { fd, path }))
    }

    /// Writes a file whole, in place of the one that is there.
    ///
    /// # Errors
    /// As the kernel says: the disk may be full. The file that is there stays.
    pub fn put(&self, tree: &Tree, file: &str, text: &str) -> Result<()> {
        let cannot = |errno| Error::io("cannot write", &self.path.join(file), errno);
        let temp = format!("{}{}", layout::TEMP_PREFIX, host::random_hex()?);
        let mode = tree.base.sharing.file_mode();
        let put = write_temp(self.fd.as_fd(), &temp, text.as_bytes(), mode)
            .and_then(|()| renameat(&self.fd, temp.as_str(), &self.fd, file));
        if put.is_err() {
            let _ = unlinkat(&self.fd, temp.as_str(), AtFlags::empty());
        }
        put.map_err(cannot)
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn remove(&self, file: &str) -> Result<()> {
        match unlinkat(&self.fd, file, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::io("cannot remove", &self.path.join(file), errno)),
        }
    }

    /// Reads a file under rule R8; `None` if it is not there.
    ///
    /// # Errors
    /// It is not a plain file of a trusted owner.
    pub fn read(&self, tree: &Tree, file: &str, max: usize) -> Result<Option<Bytes>> {
        read(self.fd.as_fd(), file, max, &tree.base, || self.path.join(file))
    }

    /// Lists the names.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn list(&self) -> Result<Listing> {
        list(self.fd.as_fd(), layout::ENTRIES_MAX, &self.path)
    }

    /// Locks a file of the directory, which it makes if there is none; `None` if another process
    /// has locked it. The lock ends with the descriptor.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn lock(&self, file: &str) -> Result<Option<OwnedFd>> {
        let cannot = |errno| Error::io("cannot lock", &self.path.join(file), errno);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&self.fd, file, flags, Mode::from_raw_mode(0o600)).map_err(cannot)?;
        match lock_within(&fd, Duration::ZERO) {
            Ok(()) => Ok(Some(fd)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(cannot(errno)),
        }
    }

    /// Removes what a bridge that was killed had not finished. No other one writes here.
    pub fn sweep(&self) {
        let names = self.list().map(|listing| listing.names).unwrap_or_default();
        for name in names.iter().filter(|name| name.starts_with(layout::TEMP_PREFIX)) {
            let _ = unlinkat(&self.fd, name.as_str(), AtFlags::empty());
        }
    }
}

impl AsFd for BridgeDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Returns the path of `cluster/` below a state directory.
pub fn cluster_path(state_dir: &Path) -> PathBuf {
    state_dir.join(layout::CLUSTER)
}
