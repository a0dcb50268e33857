//! The hardware of this machine, as `/proc` and `/sys` show it to any user; the rest is left out.
//!
//! Nothing here fails: a fact sheet with less on it is still one. Each file is read only up to a
//! limit and never waited for, because a container may have put anything in its place.

mod text;

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use zeta_core::registration::node::{Hardware, Network};

/// Most bytes of a file that has one value.
const SMALL: u64 = 16 << 10;
/// Most bytes of `/proc/cpuinfo`: as many processors as Linux can have on amd64.
const CPUINFO: u64 = 16 << 20;
/// Most bytes of the table of PCI names, which has 1.5 million today.
const TABLE: u64 = 8 << 20;
/// Most entries of a directory.
const ENTRIES: usize = 4096;

/// An address of an interface that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    interface: String,
    ip: IpAddr,
}

/// Looks at this machine.
pub fn probe() -> Hardware {
    look(Path::new("/"), &addresses())
}

/// Looks at the machine whose `/proc`, `/sys` and `/usr` stand below `root`.
fn look(root: &Path, addresses: &[Address]) -> Hardware {
    let proc = |name: &str| read(&root.join("proc").join(name), SMALL);
    let sys = root.join("sys");
    // The first part names every kind of processor; the rest repeats it.
    let cpuinfo = proc("cpuinfo").unwrap_or_default();
    let board = read(&sys.join("firmware/devicetree/base/model"), SMALL);
    Hardware {
        cpu: text::cpu(&cpuinfo, board.as_deref()),
        memory: proc("meminfo").and_then(|text| text::memory(&text)).map(text::size),
        cores: cores(root),
        gpu: gpu(root),
        storage: storage(&sys.join("block")),
        network: network(&sys.join("class/net"), addresses),
        kernel: proc("sys/kernel/osrelease").and_then(|text| text::name(&text)),
    }
}

/// The first bytes of a file as text; `None` where none can be had at once.
fn read(path: &Path, limit: u64) -> Option<String> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path).ok()?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The names in a directory, in order.
fn list(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let names =
        entries.take(ENTRIES).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

fn cores(root: &Path) -> Option<u64> {
    let online = read(&root.join("sys/devices/system/cpu/online"), SMALL);
    online.and_then(|list| text::count(&list)).or_else(|| {
        let cpuinfo = read(&root.join("proc/cpuinfo"), CPUINFO)?;
        text::processors(&cpuinfo)
    })
}

/// Disks only: what is made of other devices has no `device` behind it.
fn storage(block: &Path) -> Vec<String> {
    let disk = |name: String| {
        let dir = block.join(&name);
        let hidden = read(&dir.join("hidden"), SMALL).is_some_and(|flag| flag.trim() == "1");
        if text::is_no_disk(&name) || hidden || !dir.join("device").exists() {
            return None;
        }
        text::disk(&name, &read(&dir.join("size"), SMALL)?)
    };
    list(block).into_iter().filter_map(disk).collect()
}

/// The card with the lowest number whose maker or driver is known.
fn gpu(root: &Path) -> Option<String> {
    let drm = root.join("sys/class/drm");
    let number = |name: &str| name.strip_prefix("card")?.parse::<u32>().ok();
    let mut cards: Vec<u32> = list(&drm).iter().filter_map(|name| number(name)).collect();
    cards.sort_unstable();
    cards.into_iter().find_map(|card| gpu_name(root, &drm.join(format!("card{card}/device"))))
}

fn gpu_name(root: &Path, device: &Path) -> Option<String> {
    let uevent = read(&device.join("uevent"), SMALL).unwrap_or_default();
    let number = |file: &str| text::hex(&read(&device.join(file), SMALL)?);
    let Some((vendor, own)) = number("vendor").zip(number("device")) else {
        // On a board the card is no PCI device; its binding in the device tree names it.
        return text::value(&uevent, "OF_COMPATIBLE_0", '=').and_then(text::name);
    };
    let driver_says = || {
        let slot = text::value(&uevent, "PCI_SLOT_NAME", '=')?;
        let sound = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
        let about = format!("proc/driver/nvidia/gpus/{slot}/information");
        let about = slot.chars().all(sound).then(|| read(&root.join(about), SMALL))??;
        text::value(&about, "Model", ':').and_then(text::name)
    };
    driver_says().or_else(|| {
        let tables = ["usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"];
        let table = tables.iter().find_map(|table| read(&root.join(table), TABLE));
        text::name(&text::card(table.as_deref(), vendor, own))
    })
}

/// An interface by which other machines may reach this one.
struct Interface {
    ip: Option<IpAddr>,
    /// True if hardware is behind it: a tunnel has none.
    real: bool,
    index: u32,
    mac: Option<String>,
}

/// The first interface with an address; else the first that is up. Hardware comes before tunnels.
fn network(net: &Path, addresses: &[Address]) -> Option<Network> {
    let mut names = list(net);
    // Without /sys the addresses still say which interfaces there are.
    names.extend(addresses.iter().map(|address| address.interface.clone()));
    let usable = names.into_iter().filter_map(|name| interface(net, &name, addresses));
    let first = usable.min_by_key(|this| (this.ip.is_none(), !this.real, this.index))?;
    let network = Network { ip: first.ip.map(|ip| ip.to_string()), mac: first.mac };
    (network.ip.is_some() || network.mac.is_some()).then_some(network)
}

fn interface(net: &Path, name: &str, addresses: &[Address]) -> Option<Interface> {
    const LOOPBACK: &str = "772";
    let dir = net.join(text::name(name).filter(|plain| !plain.contains('/'))?);
    let says = |file: &str| read(&dir.join(file), SMALL).map(|text| text.trim().to_owned());
    let own = |address: &&Address| address.interface == name && is_global(address.ip);
    let ip = addresses.iter().find(own).map(|address| address.ip);
    let up = says("operstate").is_some_and(|state| state == "up") || ip.is_some();
    let inner = text::is_inner(name)
        || dir.join("bridge").exists()
        || says("type").is_some_and(|kind| kind == LOOPBACK);
    (up && !inner).then(|| Interface {
        ip,
        real: dir.join("device").exists(),
        index: says("ifindex").and_then(|index| index.parse().ok()).unwrap_or(u32::MAX),
        mac: says("address").and_then(|address| text::mac(&address)),
    })
}

/// True for an address that means the same on more than one link.
fn is_global(ip: IpAddr) -> bool {
    let here = ip.is_loopback() || ip.is_unspecified() || ip.is_multicast();
    let link = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !here && !link
}

/// The addresses that the kernel lists over netlink; a service that may not ask gets none.
fn addresses() -> Vec<Address> {
    let found = if_addrs::get_if_addrs().unwrap_or_default();
    let up = found.into_iter().filter(if_addrs::Interface::is_oper_up);
    up.map(|found| Address { ip: found.ip(), interface: found.name }).collect()
}

#[cfg(test)]
mod tests;
