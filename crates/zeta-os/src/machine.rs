//! What binds a name or a receipt to this machine: its network cards and its machine id.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use zeta_core::machine::{Card, bindings as bindings_of};

use crate::error::{Error, Result};
use crate::host;

/// The network interfaces that this process sees; those of a container are its own.
const INTERFACES: &str = "/sys/class/net";
/// The radios of wireless cards: an interface may have a random address, its radio has not.
const RADIOS: &str = "/sys/class/ieee80211";
/// `addr_assign_type` of an address that is the card's own.
const PERMANENT: &str = "0";

/// Returns the bindings of this machine, sorted: every user reads the same ones, they outlive the
/// boot, and two machines have none in common. They are no secret and hold no machine id. Empty
/// where no card can be seen. `docs/decisions/0013-*` has the reasons.
///
/// # Errors
/// A fault that may pass: what was written under a binding would be missed.
pub fn bindings() -> Result<Vec<String>> {
    let mut cards = Vec::new();
    for interface in entries(INTERFACES)? {
        cards.extend(card_of_interface(&interface)?);
    }
    for radio in entries(RADIOS)? {
        if let Some(address) = line(&radio.join("macaddress"))? {
            cards.push(Card { address, own_address: true, portable: is_portable(&radio) });
        }
    }
    Ok(bindings_of(&cards, host::machine_id()?.as_deref()))
}

/// The card behind an interface; `None` for one that programs made, as bridges and tunnels are.
fn card_of_interface(path: &Path) -> Result<Option<Card>> {
    if std::fs::symlink_metadata(path.join("device")).is_err() {
        return Ok(None);
    }
    let portable = is_portable(path);
    // A bond gives all its cards one address.
    if let Some(address) = line(&path.join("bonding_slave/perm_hwaddr"))? {
        return Ok(Some(Card { address, own_address: true, portable }));
    }
    let own_address = line(&path.join("addr_assign_type"))?.as_deref() == Some(PERMANENT);
    let address = line(&path.join("address"))?;
    Ok(address.map(|address| Card { address, own_address, portable }))
}

/// Returns true for a card on USB, by the path of its device.
fn is_portable(path: &Path) -> bool {
    let device = std::fs::canonicalize(path.join("device")).unwrap_or_default();
    device.iter().any(|part| part.to_string_lossy().starts_with("usb"))
}

fn entries(dir: &str) -> Result<Vec<PathBuf>> {
    let listed =
        std::fs::read_dir(dir).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    listed.or_else(|error| absent(dir, Errno::from_io_error(&error).unwrap_or(Errno::IO)))
}

fn line(path: &Path) -> Result<Option<String>> {
    let path = path.to_string_lossy();
    match host::read_line(&path) {
        Ok(line) => Ok(Some(line).filter(|line| !line.is_empty())),
        Err(errno) => absent(&path, errno),
    }
}

/// Returns nothing for what this machine does not show; a fault that may pass is an error. An
/// interface that goes away meanwhile shows `EINVAL` or `ENODEV`.
fn absent<T: Default>(path: &str, errno: Errno) -> Result<T> {
    match errno {
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::ACCESS
        | Errno::PERM
        | Errno::INVAL
        | Errno::NODEV
        | Errno::OPNOTSUPP => Ok(T::default()),
        errno => Err(Error::io("cannot read", Path::new(path), errno)),
    }
}
