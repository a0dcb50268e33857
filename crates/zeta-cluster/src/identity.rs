//! Which node this is in its cluster, and the key that says so.
//!
//! The directory of the identity outlives the boot. It belongs to one user, or to the members of a
//! group who share one tree: then it has the mode 2770, and they are one node. It holds:
//!
//! - `node.nk`: the seed of an nkey (`SU…`). It logs in to NATS and signs the node's records.
//! - `identity`: the node, its cluster and its public key, as a record that is no secret.
//! - `keys`: the public keys of nodes, see [`crate::keys`].

use std::fmt;
use std::fs::{Metadata, Permissions};
use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nkeys::{KeyPair, KeyPairType};
use zeta_core::cluster::Id;
use zeta_core::cluster::envelope::SIGNATURE_LEN;
use zeta_core::name::Label;
use zeta_core::record::{Damage, Fields, Text, parse};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::{put_file, read_plain};
use zeta_os::{given_path, temp_file};

/// The file with the seed.
pub const SEED_FILE: &str = "node.nk";
/// The file that binds the key to a node and a cluster.
pub const IDENTITY_FILE: &str = "identity";
const KIND: &str = "cluster_identity";
const TEMP: &str = ".identity.";
const BYTES_MAX: u64 = 4096;

/// A node of a cluster, with its key.
pub struct Identity {
    /// The node.
    pub node: Label,
    /// The cluster.
    pub cluster: Id,
    /// The directory that it stands in.
    pub dir: PathBuf,
    key: KeyPair,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} in {}, {})", self.node, self.cluster, self.public_key())
    }
}

impl Identity {
    /// Reads the identity in a directory; `None` if this machine has joined no cluster.
    ///
    /// # Errors
    /// A file is damaged or can be read by others, or the key is not that of the identity.
    pub fn find(dir: &Path) -> Result<Option<Identity>> {
        let path = dir.join(IDENTITY_FILE);
        let bytes = match read_plain(&path, BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(broken(&path, &error)),
        };
        let (node, cluster, public) = read(&bytes).map_err(|damage| broken(&path, &damage))?;
        let key = find_key(&dir.join(SEED_FILE))?
            .ok_or_else(|| broken(&dir.join(SEED_FILE), &"it is missing"))?;
        if key.public_key() != public {
            let why = format!("it is not the key of {public}, which {IDENTITY_FILE} names");
            return Err(broken(&dir.join(SEED_FILE), &why));
        }
        Ok(Some(Identity { node, cluster, dir: dir.to_owned(), key }))
    }

    /// Binds the key in a directory to a node and a cluster, and makes the key if there is none.
    ///
    /// # Errors
    /// The directory belongs to another node or cluster already, or cannot be written.
    pub fn bind(dir: &Path, node: &Label, cluster: &Id) -> Result<Identity> {
        let key = find_or_make_key(&dir.join(SEED_FILE))?;
        if let Some(found) = Identity::find(dir)? {
            return match found.node == *node && found.cluster == *cluster {
                true => Ok(found),
                false => Err(bound_otherwise(&found, node, cluster)),
            };
        }
        let mut fields = Fields::new(KIND);
        fields.push_text("node", node.as_str());
        fields.push_text("cluster", cluster.as_str());
        fields.push_text("public_key", &key.public_key());
        let path = dir.join(IDENTITY_FILE);
        keep(&path, TEMP, fields.render().as_bytes()).map_err(|error| broken(&path, &error))?;
        Ok(Identity { node: node.clone(), cluster: cluster.clone(), dir: dir.to_owned(), key })
    }

    /// Refuses another node.
    ///
    /// # Errors
    /// The identity is that of another node.
    pub fn expect_node(&self, node: &Label) -> Result<()> {
        match self.node == *node {
            true => Ok(()),
            false => Err(bound_otherwise(self, node, &self.cluster)),
        }
    }

    /// The public half of the key: `U` and 55 letters and digits.
    pub fn public_key(&self) -> String {
        self.key.public_key()
    }

    /// Signs bytes (Ed25519).
    ///
    /// # Errors
    /// Never for a key that was made from a seed.
    pub fn sign(&self, bytes: &[u8]) -> Result<[u8; SIGNATURE_LEN]> {
        let signed = self.key.sign(bytes).ok().and_then(|signature| signature.try_into().ok());
        signed.ok_or_else(|| Error::new(Kind::Fault, "the key of this node cannot sign"))
    }
}

fn read(bytes: &[u8]) -> std::result::Result<(Label, Id, String), Damage> {
    let Text::Own(fields) = parse(bytes, 4096)? else { return Err(Damage::NoEnd) };
    fields.expect_kind(KIND)?;
    let text = |key| fields.text(key).ok_or(Damage::BadKey(key));
    let node = text("node")?.parse().map_err(|_| Damage::BadKey("node"))?;
    let cluster = text("cluster")?.parse().map_err(|_| Damage::BadKey("cluster"))?;
    Ok((node, cluster, text("public_key")?.into_owned()))
}

/// Reads the key in a file; `None` if there is none.
///
/// # Errors
/// Others can read it, or it is no seed of a user.
pub fn find_key(path: &Path) -> Result<Option<KeyPair>> {
    let bytes = match read_plain(path, BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(broken(path, &error)),
    };
    let meta = path.metadata().map_err(|error| broken(path, &error))?;
    if let Some(mode) = open_mode(path, &meta) {
        let why = format!("others may read or write it (mode {mode:04o})");
        return Err(broken(path, &why)
            .hint("it needs the mode 0600; if another user read it already, make a new key"));
    }
    let text = String::from_utf8(bytes).map_err(|_| broken(path, &"it holds no seed"))?;
    match KeyPair::from_seed(text.trim()) {
        Ok(key) if key.key_pair_type() == KeyPairType::User => Ok(Some(key)),
        _ => Err(broken(path, &"it holds no seed of a user (SU…)")),
    }
}

/// Reads the key in a file, and makes it first if there is none. Of several callers at once, all
/// get the same.
///
/// # Errors
/// The directory cannot be written, or the file holds something else.
pub fn find_or_make_key(path: &Path) -> Result<KeyPair> {
    if let Some(key) = find_key(path)? {
        return Ok(key);
    }
    match make_key(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(broken(path, &error)),
        _ => find_key(path)?.ok_or_else(|| broken(path, &"it is gone again")),
    }
}

fn make_key(path: &Path) -> std::io::Result<()> {
    temp_file::private_dir(path)?;
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or(std::io::Error::from(ErrorKind::InvalidInput))?;
    let seed = KeyPair::new_user().seed().map_err(std::io::Error::other)?;
    let dir = std::fs::File::open(
        path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new(".")),
    )?;
    put_file(dir.as_fd(), name, format!("{seed}\n").as_bytes(), 0o600.into())?;
    if name == SEED_FILE && is_of_group(path) {
        std::fs::set_permissions(path, Permissions::from_mode(0o640))?;
    }
    dir.sync_all()
}

/// Keeps a file beside the identity, which all who are this node may write.
pub(crate) fn keep(path: &Path, prefix: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mode = if is_of_group(path) { 0o660 } else { 0o600 };
    temp_file::keep_with_mode(path, prefix, bytes, mode.into())
}

/// Reports whether the directory of a file is that of a group: its files get the group, and no
/// other user has a right.
fn is_of_group(path: &Path) -> bool {
    let dir = path.parent().and_then(|dir| dir.metadata().ok());
    dir.is_some_and(|dir| dir.mode() & 0o2777 == 0o2770)
}

/// The mode of a file with a secret, if more than may have rights. A group whose members are one
/// node may read its seed: with their tree they have what it signs in their hands anyway.
pub(crate) fn open_mode(path: &Path, meta: &Metadata) -> Option<u32> {
    let dir = path.parent().and_then(|dir| dir.metadata().ok());
    let of_group = path.file_name().is_some_and(|name| name == SEED_FILE)
        && is_of_group(path)
        && dir.is_some_and(|dir| dir.gid() == meta.gid());
    let allowed = if of_group { 0o640 } else { 0o600 };
    let mode = meta.mode() & 0o7777;
    (mode & 0o077 & !allowed != 0).then_some(mode)
}

fn bound_otherwise(found: &Identity, node: &Label, cluster: &Id) -> Error {
    let shown = given_path::shown(&found.dir);
    let text = match found.cluster == *cluster {
        true => format!("{shown} is the identity of the node {}, not of {node}", found.node),
        false => format!("{shown} belongs to the cluster {}, not to {cluster}", found.cluster),
    };
    Error::new(Kind::Unsafe, text)
        .hint("name another directory: cluster_dir in the configuration, or ZETA_CLUSTER_DIR")
        .hint(
            "if its own cluster is lost for good, move this directory away, after its longest TTL",
        )
}

pub(crate) fn broken(path: &Path, why: &dyn fmt::Display) -> Error {
    let shown = given_path::shown(path);
    Error::new(Kind::Unsafe, format!("the identity in the cluster: {shown}: {why}"))
}
