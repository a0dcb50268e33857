//! What binds a name or a receipt to this machine: its network cards and its machine id.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, openat, readlinkat, statat};
use rustix::io::Errno;
use zeta_core::machine::{Card, bindings as bindings_of};

use crate::error::{Error, Result};
use crate::files::list_from_here;
use crate::host;
use crate::open_beneath::DIRECTORY;

/// The network interfaces that this process sees; those of a container are its own.
const INTERFACES: &str = "/sys/class/net";
/// The radios of wireless cards: an interface may have a random address, its radio has not.
const RADIOS: &str = "/sys/class/ieee80211";
/// `addr_assign_type` of an address that is the card's own.
const PERMANENT: &str = "0";
/// Most interfaces that are looked at; a host of containers has hundreds.
const CARDS_MAX: usize = 4096;

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
        if let Some(address) = line(&format!("{radio}/macaddress"))? {
            cards.push(Card { address, own_address: true, portable: is_portable(&radio)? });
        }
    }
    Ok(bindings_of(&cards, host::machine_id()?.as_deref()))
}

/// The card behind an interface; `None` for one that programs made, as bridges and tunnels are.
fn card_of_interface(path: &str) -> Result<Option<Card>> {
    let device = format!("{path}/device");
    let seen = statat(CWD, &device, AtFlags::empty()).map(|_| true);
    if !seen.or_else(|errno| absent(&device, errno))? {
        return Ok(None);
    }
    let portable = is_portable(path)?;
    // A bond gives all its cards one address.
    if let Some(address) = line(&format!("{path}/bonding_slave/perm_hwaddr"))? {
        return Ok(Some(Card { address, own_address: true, portable }));
    }
    let own_address = line(&format!("{path}/addr_assign_type"))?.as_deref() == Some(PERMANENT);
    let address = line(&format!("{path}/address"))?;
    Ok(address.map(|address| Card { address, own_address, portable }))
}

/// Returns true for a card on USB, by the path of its device, to which its name is a link.
fn is_portable(path: &str) -> Result<bool> {
    let link = readlinkat(CWD, path, Vec::with_capacity(256));
    let link = link.map(|link| link.to_string_lossy().into_owned());
    let device: String = link.or_else(|errno| absent(path, errno))?;
    Ok(device.split('/').any(|part| part.starts_with("usb")))
}

/// The paths of the entries of a directory.
fn entries(dir: &str) -> Result<Vec<String>> {
    let fd = match openat(CWD, dir, DIRECTORY, Mode::empty()) {
        Ok(fd) => fd,
        Err(errno) => return absent(dir, errno),
    };
    let listing = list_from_here(fd.as_fd(), CARDS_MAX, Path::new(dir))?;
    Ok(listing.names.iter().map(|name| format!("{dir}/{name}")).collect())
}

fn line(path: &str) -> Result<Option<String>> {
    match host::read_line(path) {
        Ok(line) => Ok(Some(line).filter(|line| !line.is_empty())),
        Err(errno) => absent(path, errno),
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
