//! The tree below the state directory: node directories, their records, and how a file is read.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, FileType, Mode, Stat, fstat, statat};
use rustix::io::Errno;
use zeta_core::evidence::FileTimes;
use zeta_core::layout::{self, Kind};
use zeta_core::name::Label;
use zeta_core::record::{Text, parse};

use super::copied::is_copied;
use super::create;
use super::node_name;
use super::purpose::STATE;
use super::refusal;
use super::trusted_dir;
use crate::directory::trusted_dir::{Sharing, TrustedDir, open_inner};
use zeta_os::error::{Error, Result};
use zeta_os::files::{Listing, list, list_from_here, put_file, times};
use zeta_os::host;
use zeta_os::open_beneath::{RECORD, open_below};
use zeta_os::users::user;

/// The opened state directory.
#[derive(Debug)]
pub struct Tree {
    /// Its base, checked.
    pub base: TrustedDir,
}

/// The opened directory of the node directories.
#[derive(Debug)]
pub struct Nodes {
    fd: OwnedFd,
    path: PathBuf,
}

/// An opened node directory.
#[derive(Debug)]
pub struct Node {
    fd: OwnedFd,
    /// The directory was read through this descriptor, so its position is not at the start.
    moved: bool,
    /// Name of the node.
    pub name: Label,
    /// Path of the directory.
    pub path: PathBuf,
}

/// The content of a file and its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes {
    /// Content; a file that is longer than the limit is cut, but stays longer than the limit.
    pub bytes: Vec<u8>,
    /// Times.
    pub times: FileTimes,
    /// Its owner may write it.
    pub is_writable: bool,
}

/// The identity and the times of a file or directory when it was examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    ino: u64,
    /// Its times.
    pub times: FileTimes,
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Node> for OwnedFd {
    fn from(node: Node) -> OwnedFd {
        node.fd
    }
}

impl AsFd for Nodes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Tree {
    /// Opens the tree; `None` if there is none.
    pub fn open(path: &Path) -> Result<Option<Tree>> {
        Ok(super::open(path, &STATE)?.map(|base| Tree { base }))
    }

    /// Opens the tree or creates a private one; never where root makes a group's tree, and never in
    /// a private `/tmp`.
    pub fn open_or_create(path: &Path) -> Result<Tree> {
        if let Some(tree) = Tree::open(path)? {
            return Ok(tree);
        }
        create::refuse_creation(path, &STATE)?;
        let base = create::create_private(path, layout::NODES, &STATE, |dir, mode| {
            put_file(dir, layout::README, trusted_dir::README_TEXT.as_bytes(), mode)
                .map_err(|errno| Error::io("cannot write README.md in", path, errno))
        })?;
        Ok(Tree { base })
    }

    /// Fails if this directory is not a state directory of zeta.
    pub fn check(&self) -> Result<()> {
        match self.open_nodes()? {
            Some(_) => Ok(()),
            None => Err(refusal::not_a_tree(&self.base.path)),
        }
    }

    /// Returns the name of this machine's own node, and chooses it if this is the first use of the
    /// tree: below `lasting_dir` it may be kept from an earlier one.
    pub fn local_node(&self, lasting_dir: Option<&Path>) -> Result<Label> {
        self.local_node_or(|| match self.node_in_use()? {
            Some(name) => Ok(name),
            None => node_name::choose(lasting_dir),
        })
    }

    /// Returns the node whose leases were granted under this boot. A cleaner that goes by age may
    /// remove `local-node` alone, which is written once; under a new name the same leases would be
    /// granted a second time.
    fn node_in_use(&self) -> Result<Option<Label>> {
        let boot_id = host::boot_id();
        for name in self.nodes()?.names {
            let Ok(name) = Label::new("node", &name) else { continue };
            let Some(node) = self.node(&name)? else { continue };
            if is_copied(&node)? {
                continue;
            }
            for file in node.list()?.names {
                let Kind::Lease(_) = layout::kind_of(&file) else { continue };
                let Some(record) = node.read(&self.base, &file, layout::RECORD_MAX)? else {
                    continue;
                };
                if let Ok(Text::Own(fields)) = parse(&record.bytes, layout::RECORD_MAX)
                    && fields.text("boot_id").is_some_and(|text| text == boot_id)
                {
                    return Ok(Some(name));
                }
            }
        }
        Ok(None)
    }

    /// As [`Tree::local_node`]; on the first use of the tree, `choose` gives the name.
    pub fn local_node_or(&self, choose: impl FnOnce() -> Result<Label>) -> Result<Label> {
        if let Some(name) = self.read_local_node()? {
            return Ok(name);
        }
        self.check()?;
        let name = choose()?;
        let file_mode = match self.base.sharing {
            Sharing::Private => Mode::from_raw_mode(0o600),
            Sharing::Group { .. } => Mode::from_raw_mode(0o640),
        };
        let text = format!("{name}\n");
        match put_file(self.base.as_fd(), layout::LOCAL_NODE, text.as_bytes(), file_mode) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => {
                let path = self.base.path.join(layout::LOCAL_NODE);
                return Err(Error::io("cannot write", &path, errno)
                    .hint("in a group's tree root decides the name: 'zeta init --group zeta'"));
            }
        }
        self.read_local_node()?.ok_or_else(|| {
            Error::not_safe(&self.base.path.join(layout::LOCAL_NODE), "it vanished at once")
        })
    }

    /// Reads the name in `local-node`; `None` if it was not chosen yet.
    pub fn read_local_node(&self) -> Result<Option<Label>> {
        let path = || self.base.path.join(layout::LOCAL_NODE);
        let file = read(self.base.as_fd(), layout::LOCAL_NODE, layout::LINE_MAX, &self.base, path)?;
        let Some(file) = file else { return Ok(None) };
        let text = String::from_utf8_lossy(&file.bytes);
        match Label::new("node", text.trim_end_matches('\n')) {
            Ok(name) => Ok(Some(name)),
            Err(error) => Err(Error::not_safe(&path(), error)
                .hint("write one line with the name, or remove the file to get a new one")),
        }
    }

    /// Opens a node directory; `None` if there is none.
    pub fn node(&self, name: &Label) -> Result<Option<Node>> {
        let path = || self.base.path.join(layout::NODES).join(name.as_str());
        let relative = format!("{}/{name}", layout::NODES);
        let opened = open_inner(self.base.as_fd(), &relative, &self.base, path)?;
        Ok(opened.map(|(fd, _)| Node { fd, moved: false, name: name.clone(), path: path() }))
    }

    /// Opens a node directory or creates it.
    pub fn node_or_create(&self, name: &Label) -> Result<Node> {
        if let Some(node) = self.node(name)? {
            return Ok(node);
        }
        let nodes = self.base.path.join(layout::NODES);
        let opened = open_inner(self.base.as_fd(), layout::NODES, &self.base, || nodes.clone())?;
        let (dir, _) = opened.ok_or_else(|| {
            Error::not_safe(&nodes, "it is missing: another program changed the tree")
        })?;
        create::publish_dir(dir.as_fd(), name.as_str(), &self.base, &nodes.join(name.as_str()))?;
        self.node(name)?.ok_or_else(|| {
            Error::not_safe(&nodes.join(name.as_str()), "it vanished as soon as it was created")
        })
    }

    /// Lists the names of all nodes.
    pub fn nodes(&self) -> Result<Listing> {
        match self.open_nodes()? {
            Some(nodes) => nodes.list(),
            None => Ok(Listing::default()),
        }
    }

    /// Opens the directory of the nodes, to read many of them; `None` if there is none.
    pub fn open_nodes(&self) -> Result<Option<Nodes>> {
        let path = self.base.path.join(layout::NODES);
        let opened = open_inner(self.base.as_fd(), layout::NODES, &self.base, || path.clone())?;
        Ok(opened.map(|(fd, _)| Nodes { fd, path }))
    }
}

impl Nodes {
    /// Lists the names of all nodes.
    pub fn list(&self) -> Result<Listing> {
        list(self.fd.as_fd(), layout::NODES_MAX, &self.path)
    }

    /// Opens one of the nodes; `None` if it is gone.
    pub fn node(&self, base: &TrustedDir, name: &Label) -> Result<Option<Node>> {
        let path = || self.path.join(name.as_str());
        let opened = open_inner(self.fd.as_fd(), name.as_str(), base, path)?;
        Ok(opened.map(|(fd, _)| Node { fd, moved: false, name: name.clone(), path: path() }))
    }

    /// Returns the stamp of a node, of a file in one (`NODE/FILE`), or of the directory itself
    /// (`.`).
    pub fn stamp(&self, name: &str) -> Option<Stamp> {
        statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| stamp(&stat))
    }

    /// Returns whether the directory was removed or moved away, so that its name means another one
    /// or none.
    pub fn is_gone(&self) -> bool {
        is_gone(&self.fd, &self.path)
    }
}

impl Node {
    /// Reads a file of the node under the rules of R8; `None` if it does not exist.
    pub fn read(&self, base: &TrustedDir, file: &str, max: usize) -> Result<Option<Bytes>> {
        read(self.fd.as_fd(), file, max, base, || self.path.join(file))
    }

    /// As [`Node::read`], into a buffer that the caller reuses.
    pub fn read_into(
        &self,
        base: &TrustedDir,
        file: &str,
        max: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<Option<FileTimes>> {
        let stat = read_into(self.fd.as_fd(), file, max, base, || self.path.join(file), bytes)?;
        Ok(stat.map(|stat| times(&stat)))
    }

    /// Returns whether the directory was removed or moved away, so that its name means another one
    /// or none.
    pub fn is_gone(&self) -> bool {
        is_gone(&self.fd, &self.path)
    }

    /// Returns what tells this directory apart from all others of this boot, and is no path: a copy
    /// of a tree has another one.
    pub fn mark(&self) -> Result<String> {
        let cannot = |errno| Error::io("cannot look at", &self.path, errno);
        trusted_dir::mark(self.fd.as_fd()).map_err(cannot)
    }

    /// Returns the stamp of the node; `None` if it cannot be read.
    pub fn stamp(&self) -> Option<Stamp> {
        fstat(&self.fd).ok().map(|stat| stamp(&stat))
    }

    /// Lists the files of the node.
    pub fn list(&self) -> Result<Listing> {
        list(self.fd.as_fd(), layout::ENTRIES_MAX, &self.path)
    }

    /// As [`Node::list`], through the node's own descriptor: `&mut` ensures that no other call
    /// moves its position.
    pub fn list_alone(&mut self) -> Result<Listing> {
        let cannot = |errno| Error::io("cannot list", &self.path, errno);
        if std::mem::replace(&mut self.moved, true) {
            rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::Start(0)).map_err(cannot)?;
        }
        list_from_here(self.fd.as_fd(), layout::ENTRIES_MAX, &self.path)
    }
}

fn is_gone(fd: &OwnedFd, path: &Path) -> bool {
    let identity = |stat: Stat| (stat.st_dev, stat.st_ino);
    let opened = fstat(fd).map(identity);
    let named = statat(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW).map(identity);
    match (opened, named) {
        (Ok(opened), Ok(named)) => opened != named,
        (_, Err(errno)) => errno == Errno::NOENT,
        _ => false,
    }
}

/// Reads a file of the tree (R8). It never blocks, never follows a link, and never reads more than
/// `max` bytes and one.
pub fn read(
    dir: BorrowedFd<'_>,
    file: &str,
    max: usize,
    base: &TrustedDir,
    path: impl Fn() -> PathBuf,
) -> Result<Option<Bytes>> {
    let mut bytes = Vec::new();
    let stat = read_into(dir, file, max, base, path, &mut bytes)?;
    let is_writable = |stat: &Stat| stat.st_mode & 0o200 != 0;
    Ok(stat.map(|stat| Bytes { bytes, times: times(&stat), is_writable: is_writable(&stat) }))
}

fn read_into(
    dir: BorrowedFd<'_>,
    file: &str,
    max: usize,
    base: &TrustedDir,
    path: impl Fn() -> PathBuf,
    bytes: &mut Vec<u8>,
) -> Result<Option<Stat>> {
    bytes.clear();
    let fd = match open_below(dir, file, RECORD) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(unreadable(dir, file, &path(), errno)),
    };
    let cannot = |errno| Error::io("cannot read", &path(), errno);
    let stat = fstat(&fd).map_err(cannot)?;
    check_file(&stat, base).map_err(|reason| not_a_record(&path(), &reason))?;
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    bytes.reserve(size.min(max) + 1);
    while bytes.len() <= max {
        match rustix::io::read(&fd, spare_capacity(bytes)) {
            Ok(0) => break,
            // Records are never written in place, so the size does not change.
            Ok(_) if bytes.len() == size => break,
            Ok(_) => bytes.reserve(1),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(cannot(errno)),
        }
    }
    if size > max && bytes.len() <= max {
        bytes.resize(max + 1, 0);
    }
    Ok(Some(stat))
}

/// Refuses everything that is not a plain file of a trusted owner (R8).
pub fn check_file(stat: &Stat, base: &TrustedDir) -> std::result::Result<(), String> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err("it is a directory".to_owned()),
        FileType::Fifo => return Err("it is a FIFO".to_owned()),
        FileType::CharacterDevice | FileType::BlockDevice => {
            return Err("it is a device".to_owned());
        }
        _ => return Err("it is not a regular file".to_owned()),
    }
    if stat.st_nlink > 1 {
        return Err("it has a second hard link".to_owned());
    }
    if !base.trusts(stat.st_uid) {
        return Err(format!("it belongs to {}", user(stat.st_uid)));
    }
    match stat.st_mode & 0o002 {
        0 => Ok(()),
        _ => Err(format!("everybody may write to it (mode {:04o})", stat.st_mode & 0o7777)),
    }
}

fn unreadable(dir: BorrowedFd<'_>, file: &str, path: &Path, errno: Errno) -> Error {
    let kind = statat(dir, file, AtFlags::SYMLINK_NOFOLLOW)
        .map(|stat| FileType::from_raw_mode(stat.st_mode));
    match kind {
        Ok(FileType::Symlink) => not_a_record(path, "it is a symbolic link"),
        Ok(FileType::Socket) => not_a_record(path, "it is a socket"),
        _ => Error::open("cannot read", path, errno),
    }
}

/// Makes the error for a file that is not a record.
pub fn not_a_record(path: &Path, reason: &str) -> Error {
    Error::not_safe(path, format!("{reason}, where a record belongs"))
        .hint("zeta leaves it alone, and goes on once nothing stands there: find out who made it")
}

fn stamp(stat: &Stat) -> Stamp {
    Stamp { ino: stat.st_ino, times: times(stat) }
}
