//! Network namespaces on one machine: a hub that forwards between servers and nodes, and can be
//! told to drop what one of them sends to another. All unsafe code of this program is here.
//!
//! The hub is the namespace of the process that runs everything. Each server and each node has its
//! own, which a sleeping process keeps. All of them go with these processes: nothing is left
//! behind.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::arena::NODES;
use super::{Outcomes, tool};

/// The port for clients, and the one between servers.
pub const CLIENT_PORT: u16 = 4222;
pub const ROUTE_PORT: u16 = 6222;

/// A place in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A server.
    Server(usize),
    /// A node with its clients.
    Node(usize),
}

impl Place {
    fn number(self) -> usize {
        match self {
            Place::Server(at) => 1 + at,
            Place::Node(at) => 101 + at,
        }
    }

    /// Its address.
    pub fn address(self) -> String {
        format!("10.77.{}.2", self.number())
    }
}

/// The namespaces; they go when this is dropped.
pub struct Network {
    keepers: Vec<(Place, Child, File)>,
}

/// Reports whether namespaces can be made here; the error says why not.
pub fn is_permitted() -> Result<(), String> {
    let mut probe = Command::new("ip");
    probe.args(["rule", "add", "from", "10.77.1.2", "to", "10.77.2.2", "blackhole"]);
    probe.stdin(Stdio::null());
    in_new_hub(&mut probe);
    tool(&mut probe).map_err(|error| format!("network namespaces cannot be made here: {error}"))
}

/// Makes a command start in a network and a mount namespace of its own, and end with this process.
pub fn in_new_hub(command: &mut Command) {
    let enter = || {
        die_with_parent();
        // SAFETY: a plain system call.
        check(unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) })?;
        let (none, root) = (std::ptr::null(), c"/".as_ptr());
        // SAFETY: a system call on static texts. Mounts made later stay in this namespace.
        let private = libc::MS_REC | libc::MS_PRIVATE;
        check(unsafe { libc::mount(none, root, none, private, std::ptr::null()) })
    };
    // SAFETY: the closure makes system calls and allocates nothing.
    unsafe { command.pre_exec(enter) };
}

/// Asks the kernel to end the calling process with its parent.
fn die_with_parent() {
    // SAFETY: the call only sets the signal that the kernel sends when the parent ends.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

fn check(came: i32) -> io::Result<()> {
    if came < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl Network {
    /// Builds all of it around the namespace of this process.
    pub fn build() -> Outcomes<Network> {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        tool(Command::new("ip").args(["link", "set", "lo", "up"]))?;
        let mut network = Network { keepers: Vec::new() };
        for at in 0..NODES {
            network.add(Place::Server(at))?;
            network.add(Place::Node(at))?;
        }
        Ok(network)
    }

    fn add(&mut self, place: Place) -> Outcomes<()> {
        let mut sleep = Command::new("sleep");
        sleep.arg("infinity").stdin(Stdio::null()).stdout(Stdio::null());
        let enter = || {
            die_with_parent();
            // SAFETY: a plain system call.
            check(unsafe { libc::unshare(libc::CLONE_NEWNET) })
        };
        // SAFETY: the closure makes system calls and allocates nothing.
        unsafe { sleep.pre_exec(enter) };
        let keeper = sleep.spawn()?;
        let pid = keeper.id();
        let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
        self.keepers.push((place, keeper, namespace));
        let (link, number) = (format!("port{}", place.number()), place.number());
        let pid = pid.to_string();
        tool(
            Command::new("ip").args([
                "link", "add", &link, "type", "veth", "peer", "name", "wire", "netns", &pid,
            ]),
        )?;
        let hub = format!("10.77.{number}.1");
        tool(Command::new("ip").args(["addr", "add", &format!("{hub}/24"), "dev", &link]))?;
        tool(Command::new("ip").args(["link", "set", &link, "up"]))?;
        let own = format!("{}/24", place.address());
        for args in [
            vec!["link", "set", "lo", "up"],
            vec!["addr", "add", own.as_str(), "dev", "wire"],
            vec!["link", "set", "wire", "up"],
            vec!["route", "add", "default", "via", hub.as_str()],
        ] {
            let mut command = Command::new("ip");
            command.args(args);
            self.inside(place, &mut command)?;
            tool(&mut command)?;
        }
        Ok(())
    }

    /// Makes a command start at a place, and end with this process.
    pub fn inside(&self, place: Place, command: &mut Command) -> Outcomes<()> {
        let found = self.keepers.iter().find(|(there, ..)| *there == place);
        let (_, _, namespace) = found.ok_or("no such place")?;
        let fd = namespace.as_raw_fd();
        let enter = move || {
            die_with_parent();
            // SAFETY: a plain system call; the descriptor is open in the parent and its copy.
            check(unsafe { libc::setns(fd, libc::CLONE_NEWNET) })
        };
        // SAFETY: the closure makes system calls and allocates nothing.
        unsafe { command.pre_exec(enter) };
        Ok(())
    }

    /// Drops in silence what `from` sends to `to`.
    pub fn cut(&self, from: Place, to: Place) -> Outcomes<()> {
        rule("add", from, to)
    }

    /// Ends [`Network::cut`].
    pub fn heal(&self, from: Place, to: Place) -> Outcomes<()> {
        rule("del", from, to)
    }
}

fn rule(verb: &str, from: Place, to: Place) -> Outcomes<()> {
    let (from, to) = (from.address(), to.address());
    tool(Command::new("ip").args(["rule", verb, "from", &from, "to", &to, "blackhole"]))
}

impl Drop for Network {
    fn drop(&mut self) {
        for (_, keeper, _) in &mut self.keepers {
            let _ = keeper.kill();
            let _ = keeper.wait();
        }
    }
}
