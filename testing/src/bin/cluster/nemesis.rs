//! Starts the servers and the clients of a run, and disturbs them until nothing may be disturbed
//! any more. Each event is printed and logged with the time before it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Outcomes;
use super::arena::{Arena, CLIENTS, LEASES, NODES, lease_name, now_ns};
use super::network::{Network, Place};
use super::server::Servers;
use super::story::Story;
use super::verbs;

const TICK: Duration = Duration::from_millis(10);
/// How long clients may take for their last round.
const LAST_ROUND: Duration = Duration::from_secs(70);
/// The shifts of the wall clock of a node.
const JUMPS_MS: [i64; 7] = [0, -86_400_000, 86_400_000, -3_600_000, 3_600_000, -700, 700];

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    /// Events by name.
    pub events: std::collections::BTreeMap<&'static str, usize>,
    /// Clients that ended by themselves.
    pub complaints: Vec<String>,
}

/// What ends a disturbance.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Undo {
    Up(Vec<usize>),
    GoOn(usize),
    Heal(Vec<(Place, Place)>),
    Clear(usize),
    GoOnClient(u32),
}

struct Nemesis<'a> {
    arena: &'a Arena,
    network: &'a Network,
    servers: Servers<'a>,
    clients: Vec<(usize, Child)>,
    /// The bridges of the nodes, or what stands in for them.
    bridges: Vec<(usize, Child)>,
    /// The administrator, who removes what nobody needs.
    administrator: Option<Child>,
    undo: Vec<(Instant, Undo)>,
    dice: fastrand::Rng,
    generation: u64,
    log: Story,
    done: Done,
}

/// Makes the whole run; returns what was done.
pub fn disturb(arena: &Arena, network: &Network) -> Outcomes<Done> {
    let servers = Servers::start(arena, network)?;
    let mut nemesis = Nemesis {
        arena,
        network,
        servers,
        clients: Vec::new(),
        bridges: Vec::new(),
        administrator: None,
        undo: Vec::new(),
        dice: fastrand::Rng::with_seed(arena.seed),
        generation: 0,
        log: Story::open(&arena.dir, "nemesis")?,
        done: Done::default(),
    };
    for node in 0..NODES {
        if arena.verbs {
            verbs::make_tree(arena, node)?;
        }
        nemesis.start_bridge(node)?;
    }
    for number in 0..NODES * CLIENTS {
        nemesis.start_client(number)?;
    }
    nemesis.say(&format!("begin {}", now_ns()))?;
    nemesis.run()?;
    nemesis.rest()?;
    Ok(nemesis.done)
}

impl Nemesis<'_> {
    fn say(&mut self, line: &str) -> Outcomes<()> {
        self.log.say(line)
    }

    fn start(&mut self, node: usize, role: &str) -> Outcomes<Child> {
        let mut command = self.arena.part_on(node, role)?;
        let errors =
            File::options().create(true).append(true).open(self.arena.dir.join("errors"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        self.network.inside(Place::Node(node), &mut command)?;
        Ok(command.spawn()?)
    }

    fn start_client(&mut self, number: usize) -> Outcomes<()> {
        self.generation += 1;
        let seed = self.arena.seed.wrapping_mul(1_000).wrapping_add(self.generation);
        let role = if self.arena.verbs { "verbs" } else { "client" };
        let child = self.start(number / CLIENTS, &format!("{role} {number} {seed}"))?;
        self.clients.push((number, child));
        Ok(())
    }

    fn start_bridge(&mut self, node: usize) -> Outcomes<()> {
        let role = match (self.arena.verbs, self.arena.loss) {
            (true, _) => "bridge",
            (false, true) => "watch",
            (false, false) => return Ok(()),
        };
        let child = self.start(node, &format!("{role} {node}"))?;
        self.bridges.push((node, child));
        Ok(())
    }

    /// Disturbs until it is time to rest.
    fn run(&mut self) -> Outcomes<()> {
        let mut next_server = self.soon(1_000..4_000);
        let mut next_client = self.soon(500..1_500);
        while now_ns() < self.arena.rest_ns() {
            std::thread::sleep(TICK);
            self.undo(Instant::now())?;
            self.reap()?;
            if self.arena.calm {
                continue;
            }
            if Instant::now() >= next_client {
                self.disturb_client()?;
                next_client = self.soon(200..1_500);
            }
            // One disturbance of servers at a time, so that there is a majority again soon.
            let is_busy = self.undo.iter().any(|(_, undo)| !matches!(undo, Undo::GoOnClient(_)));
            if Instant::now() >= next_server && !is_busy {
                self.disturb_servers()?;
                next_server = self.soon(2_000..10_000);
            }
        }
        Ok(())
    }

    fn soon(&mut self, ms: std::ops::Range<u64>) -> Instant {
        Instant::now() + Duration::from_millis(self.dice.u64(ms))
    }

    /// Ends all disturbances, lets the clients finish, and ends them.
    fn rest(&mut self) -> Outcomes<()> {
        self.undo(Instant::now() + Duration::from_secs(3_600))?;
        self.say(&format!("rest {}", now_ns()))?;
        let late = Instant::now() + Duration::from_secs(40) + LAST_ROUND;
        let mut running = true;
        while running && Instant::now() < late {
            std::thread::sleep(TICK);
            running = false;
            for (_, child) in &mut self.clients {
                running |= child.try_wait()?.is_none();
            }
        }
        for (number, mut child) in std::mem::take(&mut self.clients) {
            match child.try_wait()? {
                Some(status) if status.success() => {}
                Some(status) => self.done.complaints.push(format!("client {number}: {status}")),
                None => {
                    self.done.complaints.push(format!("client {number} did not end"));
                    child.kill()?;
                    child.wait()?;
                }
            }
        }
        let bridges = self.bridges.iter_mut().map(|(_, child)| child);
        for child in bridges.chain(&mut self.administrator) {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Notices clients that ended by themselves.
    fn reap(&mut self) -> Outcomes<()> {
        for at in (0..self.clients.len()).rev() {
            let Some((number, child)) = self.clients.get_mut(at) else { continue };
            if let Some(status) = child.try_wait()? {
                let number = *number;
                self.done.complaints.push(format!("client {number} ended: {status}"));
                self.clients.remove(at);
                self.start_client(number)?;
            }
        }
        Ok(())
    }

    fn event(&mut self, name: &'static str, details: &str) -> Outcomes<()> {
        *self.done.events.entry(name).or_default() += 1;
        self.say(&format!("fault {} {name} {details}", now_ns()))
    }

    fn until(&mut self, ms: std::ops::Range<u64>, undo: Undo) {
        let at = self.soon(ms);
        self.undo.push((at, undo));
    }

    /// Draws some servers, each at most once.
    fn draw(&mut self, count: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.arena.replicas).collect();
        self.dice.shuffle(&mut all);
        all.truncate(count);
        all
    }

    fn disturb_servers(&mut self) -> Outcomes<()> {
        let all = self.arena.replicas;
        let one = self.draw(1).first().copied().unwrap_or(0);
        if self.arena.loss && self.dice.bool() {
            return self.roll_back();
        }
        match self.dice.u32(..12) {
            0..4 => {
                let count = self.dice.usize(1..=all);
                let drawn = self.draw(count);
                if self.arena.power {
                    self.event("power lost", &format!("{drawn:?}"))?;
                    self.servers.lose_power(&drawn)?;
                } else {
                    self.event("servers killed", &format!("{drawn:?}"))?;
                    for at in &drawn {
                        self.servers.kill(*at)?;
                    }
                }
                let longest = if self.dice.bool() { 15_000 } else { 2_000 };
                self.until(100..longest, Undo::Up(drawn));
            }
            4..6 => {
                self.event("server stopped", &one.to_string())?;
                self.signal(self.servers.pid(one), Signal::STOP)?;
                let longest = if self.dice.bool() { 20_000 } else { 4_000 };
                self.until(500..longest, Undo::GoOn(one));
            }
            6..11 => self.cut(one)?,
            _ => {
                self.event("disk full", &one.to_string())?;
                self.servers.fill(one)?;
                self.until(2_000..6_000, Undo::Clear(one));
            }
        }
        Ok(())
    }

    /// Cuts a server off from the others or from nodes, in one direction or in both.
    fn cut(&mut self, one: usize) -> Outcomes<()> {
        let (own, others) = (Place::Server(one), 0..self.arena.replicas);
        let others: Vec<Place> = others.filter(|at| *at != one).map(Place::Server).collect();
        let node = Place::Node(self.dice.usize(..NODES));
        let out = |to: &[Place]| to.iter().map(|to| (own, *to)).collect::<Vec<_>>();
        let into = |from: &[Place]| from.iter().map(|from| (*from, own)).collect::<Vec<_>>();
        let servers: Vec<Place> = (0..self.arena.replicas).map(Place::Server).collect();
        let (name, cuts) = match self.dice.u32(..7) {
            // The server and its clients, which still see it, against the rest.
            0 | 1 if !others.is_empty() => {
                ("cut off both ways", [out(&others), into(&others)].concat())
            }
            2 if !others.is_empty() => ("cut off, sends nothing", out(&others)),
            3 if !others.is_empty() => ("cut off, hears nothing", into(&others)),
            4 => ("node cut off both ways", {
                let to = servers.iter().map(|to| (node, *to));
                to.chain(servers.iter().map(|from| (*from, node))).collect()
            }),
            5 => ("node hears nothing", servers.iter().map(|from| (*from, node)).collect()),
            _ => ("node cut off from one server", vec![(node, own), (own, node)]),
        };
        self.event(name, &format!("{cuts:?}").replace(' ', ""))?;
        for (from, to) in &cuts {
            self.network.cut(*from, *to)?;
        }
        self.until(1_000..25_000, Undo::Heal(cuts));
        Ok(())
    }

    /// Kills all servers, and starts them with older copies of their stores, if there are any;
    /// else makes these copies.
    fn roll_back(&mut self) -> Outcomes<()> {
        let all: Vec<usize> = (0..self.arena.replicas).collect();
        let name = if self.servers.are_saved { "rolled back" } else { "servers killed" };
        self.event(name, "all")?;
        for at in &all {
            self.servers.kill(*at)?;
        }
        self.servers.save_or_roll_back()?;
        self.until(100..1_000, Undo::Up(all));
        Ok(())
    }

    fn disturb_client(&mut self) -> Outcomes<()> {
        let at = self.draw_client();
        let Some((number, child)) = self.clients.get_mut(at) else { return Ok(()) };
        let (number, pid) = (*number, child.id());
        let is_stopped =
            self.undo.iter().any(|(_, undo)| matches!(undo, Undo::GoOnClient(p) if *p == pid));
        match self.dice.u32(..12) {
            9 if self.arena.verbs => self.kill_bridge(),
            10 if self.arena.verbs => self.compact(),
            0..5 => {
                self.event("client killed", &format!("{pid} {number}"))?;
                let (_, mut child) = self.clients.remove(at);
                child.kill()?;
                child.wait()?;
                self.say(&format!("dead {} {pid}", now_ns()))?;
                self.undo.retain(|(_, undo)| *undo != Undo::GoOnClient(pid));
                self.start_client(number)
            }
            5..9 if !is_stopped => {
                let longest = if self.dice.u32(..3) == 0 { 9_000 } else { 500 };
                self.event("client stopped", &format!("{pid} {number}"))?;
                self.signal(Some(pid), Signal::STOP)?;
                self.until(20..longest, Undo::GoOnClient(pid));
                Ok(())
            }
            // Without the server's own clock, a node would not know how long nobody is granted
            // anything after a loss.
            _ if self.arena.loss => Ok(()),
            _ => {
                let node = number / CLIENTS;
                let shift_ms = self.dice.choice(JUMPS_MS).unwrap_or(0);
                self.event("clock of a node set", &format!("{node} {shift_ms}"))?;
                let file = File::options().write(true).open(self.arena.clock(node))?;
                Ok(file.write_all_at(&(shift_ms * 1_000_000).to_ne_bytes(), 0)?)
            }
        }
    }

    /// Kills a bridge, and starts it again.
    fn kill_bridge(&mut self) -> Outcomes<()> {
        let at = self.dice.usize(..self.bridges.len().max(1));
        if at >= self.bridges.len() {
            return Ok(());
        }
        let (node, mut child) = self.bridges.remove(at);
        self.event("bridge killed", &node.to_string())?;
        child.kill()?;
        child.wait()?;
        self.start_bridge(node)
    }

    /// Has the ends of leases removed. A call that is not done yet is killed first.
    fn compact(&mut self) -> Outcomes<()> {
        if let Some(mut child) = self.administrator.take() {
            let ended = child.try_wait()?;
            child.kill()?;
            child.wait()?;
            let how = if ended.is_some_and(|status| status.success()) { "done" } else { "cut off" };
            self.say(&format!("compact {how}"))?;
        }
        let node = self.dice.usize(..NODES);
        self.event("store compacted", &node.to_string())?;
        self.administrator = Some(self.start(node, &format!("compact {node}"))?);
        Ok(())
    }

    /// Draws a client; half of the time one that holds a lease, if its log ends with a grant.
    fn draw_client(&mut self) -> usize {
        let lease = self.dice.usize(..LEASES);
        let log = self.arena.dir.join(lease_name(lease) + ".log");
        let inside = last_line(&log).ok().and_then(|line| {
            line.strip_prefix("granted ")?.rsplit(' ').next()?.parse::<u32>().ok()
        });
        let holder = self.clients.iter().position(|(_, child)| Some(child.id()) == inside);
        let any = self.dice.usize(..self.clients.len().max(1));
        holder.filter(|_| self.dice.bool()).unwrap_or(any)
    }

    fn signal(&self, pid: Option<u32>, signal: Signal) -> Outcomes<()> {
        let pid = pid.and_then(|pid| Pid::from_raw(pid.cast_signed())).ok_or("it is not up")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Ends what is due.
    fn undo(&mut self, now: Instant) -> Outcomes<()> {
        let all = std::mem::take(&mut self.undo);
        let (due, later): (Vec<_>, Vec<_>) = all.into_iter().partition(|(at, _)| *at <= now);
        self.undo = later;
        for (_, undo) in due {
            match &undo {
                Undo::Up(servers) => {
                    for at in servers {
                        self.servers.up(*at)?;
                    }
                }
                Undo::GoOn(at) => self.signal(self.servers.pid(*at), Signal::CONT)?,
                Undo::Heal(cuts) => {
                    for (from, to) in cuts {
                        self.network.heal(*from, *to)?;
                    }
                }
                Undo::Clear(at) => {
                    self.servers.clear(*at)?;
                    self.servers.kill(*at)?;
                    self.servers.up(*at)?;
                }
                // It may have ended by itself, which is noticed elsewhere.
                Undo::GoOnClient(pid) => drop(self.signal(Some(*pid), Signal::CONT)),
            }
            if !matches!(undo, Undo::GoOnClient(_)) {
                self.say(&format!("over {}", now_ns()))?;
            }
        }
        Ok(())
    }
}

/// Reads the last line of a log.
fn last_line(path: &Path) -> Outcomes<String> {
    let file = File::open(path)?;
    let mut bytes = vec![0; 512];
    let from = file.metadata()?.len().saturating_sub(bytes.len() as u64);
    let read = file.read_at(&mut bytes, from)?;
    bytes.truncate(read);
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_end().rsplit('\n').next().unwrap_or_default().to_owned())
}
