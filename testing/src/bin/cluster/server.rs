//! The servers of a run, each in its own namespace and on a small file system of its own.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use zeta_cluster::identity::Identity;
use zeta_cluster::init;
use zeta_cluster::store::Store;
use zeta_core::cluster::subject::Stream;

use super::arena::{Arena, NODES};
use super::client::node_name;
use super::link;
use super::network::{CLIENT_PORT, Network, Place, ROUTE_PORT};
use super::{Outcomes, tool};

#[path = "../../nats.rs"]
#[expect(dead_code, reason = "the tests of the suite use the rest of it")]
mod nats;

/// Room of one server, in MiB; the streams of a run stay far below it.
const ROOM_MIB: u64 = 192;
/// How long the servers may take to be ready.
const READY: Duration = Duration::from_secs(90);
/// The longest TTL of a cluster that loses values, in ms; it is the time without grants as well.
pub const MAX_TTL_MS: u64 = 6_000;
/// The file that fills a file system up.
const BALLAST: &str = "ballast";

/// A server, which may be down at the moment.
pub struct Server {
    at: usize,
    dir: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// The file system that it stores on.
    fn disk(&self) -> PathBuf {
        self.dir.join("disk")
    }

    /// Makes a file system in a file.
    fn make_image(&self) -> Outcomes<()> {
        let image = self.dir.join("image");
        File::create(&image)?.set_len(ROOM_MIB << 20)?;
        tool(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        self.mount_image()
    }

    fn mount_image(&self) -> Outcomes<()> {
        let mut mount = Command::new("mount");
        tool(mount.args(["-o", "loop"]).arg(self.dir.join("image")).arg(self.disk()))
    }

    /// Replaces the file system of a server that is stopped with what has reached its device.
    fn copy_image(&self) -> Outcomes<()> {
        let (image, copy) = (self.dir.join("image"), self.dir.join("copy"));
        tool(Command::new("cp").arg("--sparse=always").arg(&image).arg(&copy))?;
        tool(Command::new("umount").arg("--lazy").arg(self.disk()))?;
        Ok(fs::rename(copy, image)?)
    }
}

/// All servers.
pub struct Servers<'a> {
    arena: &'a Arena,
    network: &'a Network,
    servers: Vec<Server>,
    /// There are copies of all stores.
    pub are_saved: bool,
}

impl<'a> Servers<'a> {
    /// Starts all of them, and makes the cluster and the identities of its nodes.
    pub fn start(arena: &'a Arena, network: &'a Network) -> Outcomes<Servers<'a>> {
        let mut servers = Servers { arena, network, servers: Vec::new(), are_saved: false };
        for at in 0..arena.replicas {
            let dir = arena.dir.join(format!("server-{at}"));
            fs::create_dir_all(dir.join("disk"))?;
            fs::write(dir.join("conf"), conf(arena, at, &dir))?;
            let server = Server { at, dir, child: None };
            match arena.power {
                true => server.make_image()?,
                false => {
                    let room = format!("size={ROOM_MIB}m");
                    let mut mount = Command::new("mount");
                    mount.args(["-t", "tmpfs", "-o", &room, "tmpfs"]);
                    tool(mount.arg(server.disk()))?;
                }
            }
            servers.servers.push(server);
            servers.up(at)?;
        }
        servers.make_cluster()?;
        Ok(servers)
    }

    fn get(&mut self, at: usize) -> Outcomes<&mut Server> {
        self.servers.get_mut(at).ok_or_else(|| "no such server".into())
    }

    /// Starts a server that is down.
    pub fn up(&mut self, at: usize) -> Outcomes<()> {
        let (program, network) = (self.arena.server.clone(), self.network);
        let server = self.get(at)?;
        let log = File::options().create(true).append(true).open(server.dir.join("out"))?;
        let mut command = Command::new(program);
        command.arg("-c").arg(server.dir.join("conf"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        network.inside(Place::Server(server.at), &mut command)?;
        server.child = Some(command.spawn()?);
        Ok(())
    }

    /// Kills a server.
    pub fn kill(&mut self, at: usize) -> Outcomes<()> {
        if let Some(mut child) = self.get(at)?.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Takes the power from servers, at the same moment as far as they can tell: each is stopped
    /// before the file system of any is copied, without what the kernel had not written yet.
    pub fn lose_power(&mut self, drawn: &[usize]) -> Outcomes<()> {
        for at in drawn {
            let pid = self.pid(*at).and_then(|pid| Pid::from_raw(pid.cast_signed()));
            kill_process(pid.ok_or("it is not up")?, Signal::STOP)?;
        }
        for at in drawn {
            self.get(*at)?.copy_image()?;
            self.kill(*at)?;
            self.get(*at)?.mount_image()?;
        }
        Ok(())
    }

    /// The process of a server that is up.
    pub fn pid(&self, at: usize) -> Option<u32> {
        self.servers.get(at)?.child.as_ref().map(Child::id)
    }

    /// Fills the file system of a server.
    pub fn fill(&mut self, at: usize) -> Outcomes<()> {
        let mut ballast = File::create(self.get(at)?.disk().join(BALLAST))?;
        let block = vec![b'x'; 1 << 20];
        while ballast.write_all(&block).is_ok() {}
        Ok(())
    }

    /// Makes room again. The server needs a new start, as all of them do.
    pub fn clear(&mut self, at: usize) -> Outcomes<()> {
        Ok(fs::remove_file(self.get(at)?.disk().join(BALLAST))?)
    }

    /// Copies the stores of all servers, which are down, or puts the copies in their place.
    pub fn save_or_roll_back(&mut self) -> Outcomes<()> {
        for server in &self.servers {
            let (store, old) = (server.dir.join("disk/store"), server.dir.join("old"));
            match self.are_saved {
                true => replace(&old, &store)?,
                false => replace(&store, &old)?,
            }
        }
        self.are_saved = !self.are_saved;
        Ok(())
    }

    fn make_cluster(&self) -> Outcomes<()> {
        let arena = self.arena;
        let setting = link::setting(&link::servers(arena, 0))?;
        // What the gate refuses is tried here all the same: made with one replica, and raised.
        let replicas = if arena.expects_double { 1 } else { arena.replicas as u64 };
        // The time without grants after a loss is so short that a run sees its end.
        let (replicas, max_ttl_ms) = (Some(replicas), Some(MAX_TTL_MS));
        let asked = init::Asked { replicas, max_ttl_ms, member_of: None };
        let begun = Instant::now();
        let made = loop {
            let made = Store::open(&setting).and_then(|store| init::init(&store, asked.clone()));
            match made {
                Ok(made) => break made,
                Err(error) if begun.elapsed() > READY => return Err(Box::new(error)),
                Err(_) => std::thread::sleep(Duration::from_millis(200)),
            }
        };
        if arena.expects_double {
            self.raise_replicas()?;
        }
        let mut keys = String::from("strict\n");
        for node in 0..NODES {
            let dir = link::identity_dir(arena, node);
            let identity = Identity::bind(&dir, &node_name(node)?, &made.meta.held.cluster)?;
            keys += &format!("{} {}\n", identity.node, identity.public_key());
        }
        for node in 0..NODES {
            fs::write(link::identity_dir(arena, node).join("keys"), &keys)?;
        }
        Ok(())
    }

    /// Has three servers keep the leases, past the gate.
    fn raise_replicas(&self) -> Outcomes<()> {
        let mut client = nats::Client::connect(&Place::Server(0).address(), CLIENT_PORT)?;
        let name = Stream::Lease.name();
        let mut info = client.api(&format!("STREAM.INFO.{name}"), &Value::Null)?;
        info["config"]["num_replicas"] = json!(self.arena.replicas);
        client.api(&format!("STREAM.UPDATE.{name}"), &info["config"])?;
        let begun = Instant::now();
        while begun.elapsed() < READY {
            let info = client.api(&format!("STREAM.INFO.{name}"), &Value::Null)?;
            let peers = info["cluster"]["replicas"].as_array().cloned().unwrap_or_default();
            let current = peers.iter().filter(|peer| peer["current"] == json!(true)).count();
            if current + 1 >= self.arena.replicas {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Err("the servers do not keep the leases together".into())
    }
}

impl Drop for Servers<'_> {
    fn drop(&mut self) {
        for server in &mut self.servers {
            if let Some(child) = &mut server.child {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn conf(arena: &Arena, at: usize, dir: &Path) -> String {
    let address = Place::Server(at).address();
    let store = dir.join("disk/store");
    let sync = if arena.power { ", sync_interval: always" } else { "" };
    let mut text = format!(
        "server_name: n{}\nlisten: \"{address}:{CLIENT_PORT}\"\nping_interval: \"10s\"\n\
         ping_max: 2\nwrite_deadline: \"5s\"\n\
         jetstream {{ store_dir: {store:?}, max_file_store: 1GB{sync} }}\n",
        at + 1,
    );
    if arena.replicas > 1 {
        let route = |other| format!("\"nats://{}:{ROUTE_PORT}\"", Place::Server(other).address());
        let routes: Vec<String> = (0..arena.replicas).map(route).collect();
        text += &format!(
            "cluster {{ name: trio, listen: \"{address}:{ROUTE_PORT}\", routes: [{}] }}\n",
            routes.join(", ")
        );
    }
    text
}

/// Puts a copy of a directory in place of another.
fn replace(from: &Path, to: &Path) -> Outcomes<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    tool(Command::new("cp").arg("-a").arg(from).arg(to))
}
