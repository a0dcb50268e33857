//! The caller and the tree of a call: [`Context`] before the tree is opened, [`NodeHandle`] after.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zeta_core::lease::Record;
use zeta_core::name::Label;
use zeta_core::time::{Host, Now, Reading};

use crate::directory::copied::refuse_copied;
use crate::directory::guard::Section;
use crate::directory::purpose::STATE;
use crate::directory::tree::{Bytes, Node, Tree};
use crate::directory::{create, guard};
use crate::lease::cluster::Cluster;
use zeta_os::error::{Cause, Error, Result};
use zeta_os::host;

/// The caller, the state directory and the options that every verb has.
#[derive(Debug, Clone)]
pub struct Context {
    /// The state directory.
    pub state_dir: PathBuf,
    /// The node that the caller named; `None` means this machine's own.
    pub node: Option<Label>,
    /// The agent that calls.
    pub agent: Label,
    /// The agent's name was given by an option or a variable, not derived from the user's name.
    pub agent_named: bool,
    /// The session of the caller (`ZETA_SESSION`).
    pub session: Option<String>,
    /// The leases inside whose guards the caller runs (`ZETA_FENCED`).
    pub fenced: Option<String>,
    /// The directory of what outlives the tree and the boot; `None` for a caller without a home.
    pub lasting_dir: Option<PathBuf>,
    /// The bus directory, unless an option of a verb names another one.
    pub bus_dir: PathBuf,
    /// Called with the record of a lease that ended without its holder: broken, cleaned away, or
    /// released at the end of its session. A claim on it announces its end then.
    pub lease_ended: fn(&Context, &Record),
    /// The leases of the cluster; `None` in a program without them.
    pub cluster: Option<Arc<Cluster>>,
    /// The machine, boot and namespaces that clocks and process ids belong to.
    pub host: Host,
}

/// A node of an opened tree, and the caller that opened it.
#[derive(Debug)]
pub struct NodeHandle<'c> {
    /// The caller.
    pub ctx: &'c Context,
    /// The opened directory of the node.
    pub node: Node,
    /// The opened tree.
    pub tree: Tree,
}

impl Context {
    /// Returns the same caller, on the machine that this process runs on.
    pub fn on_this_host(self) -> Result<Context> {
        Ok(Context { host: host::host()?, ..self })
    }

    /// Opens the tree and the node, making them if this is their first use.
    pub fn open(&self) -> Result<NodeHandle<'_>> {
        let tree = Tree::open_or_create(&self.state_dir).map_err(|error| self.explain(error))?;
        let name = match &self.node {
            Some(name) => name.clone(),
            None => tree.local_node(self.lasting_dir.as_deref())?,
        };
        let node = tree.node_or_create(&name)?;
        if self.node.is_some() {
            refuse_copied(&node)?;
        }
        Ok(NodeHandle { ctx: self, tree, node })
    }

    /// Opens the tree and the node for reading; `None` if either does not exist yet. Where a tree
    /// may not be made, its absence is an error: other processes may see one.
    pub fn find(&self) -> Result<Option<NodeHandle<'_>>> {
        let tree = Tree::open(&self.state_dir).map_err(|error| self.explain(error))?;
        let Some(tree) = tree else {
            create::refuse_creation(&self.state_dir, &STATE)?;
            return Ok(None);
        };
        let name = match &self.node {
            Some(name) => Some(name.clone()),
            None => tree.read_local_node()?,
        };
        let Some(name) = name else { return Ok(None) };
        Ok(tree.node(&name)?.map(|node| NodeHandle { ctx: self, tree, node }))
    }

    /// Adds that `/tmp` is private to this process, if it is and the error does not say so: a tree
    /// that is refused may be one that no other process sees.
    fn explain(&self, error: Error) -> Error {
        if error.cause == Cause::OtherView {
            return error;
        }
        match create::private_tmp(&self.state_dir) {
            Ok(Some(root)) => error.doctor_hint(format!(
                "/tmp is private to this process ({root}): see 'zeta doctor'"
            )),
            _ => error,
        }
    }

    /// Returns a reading together with its host, as the decisions need it.
    pub fn at(&self, reading: Reading) -> Now<'_> {
        Now { reading, host: &self.host }
    }

    /// Reads all clocks.
    pub fn now(&self) -> Now<'_> {
        self.at(host::reading())
    }

    /// Derives an agent's name from the name of a user.
    pub fn agent_of_user(user: &str, uid: u32) -> Result<Label> {
        let lower = user.to_ascii_lowercase();
        let plain: String =
            lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let plain = plain.trim_matches('-');
        let plain = plain.get(..63).unwrap_or(plain).trim_end_matches('-');
        match plain {
            "" => Ok(Label::new("agent", &format!("uid-{uid}"))?),
            plain => Label::new("agent", plain).map_err(Error::from),
        }
    }
}

impl NodeHandle<'_> {
    /// Reads the file of a record without any lock; `None` if it does not exist.
    pub fn read(&self, file: &str, max: usize) -> Result<Option<Bytes>> {
        self.node.read(&self.tree.base, file, max)
    }

    /// Enters the guard of a record, and makes the guard if there is none.
    pub fn enter<'a>(
        &'a self,
        file: impl Into<Cow<'a, str>>,
        limit: Duration,
    ) -> Result<Section<'a>> {
        guard::enter(&self.tree.base, &self.node, file, limit)
    }
}
