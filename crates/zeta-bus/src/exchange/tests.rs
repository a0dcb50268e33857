//! Three nodes, one store in memory, and processes that are killed between any two of their steps:
//! each message arrives once, whole, and in the order of its sender.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use proptest::prelude::*;
use zeta_core::bus::item::Item;
use zeta_core::bus::{Address, Recipient};

use super::*;
use crate::claim::{self, ClaimRequest};
use crate::messages::{self, Filter, NewMessage, inbox as marks};

const CLUSTER_ID: &str = "0123456789abcdef0123456789abcdef";
const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];

/// A directory of its own, which goes with the value.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        let name = format!("zeta-exchange-{}", zeta_os::host::random_hex().unwrap());
        let dir = Dir(std::env::temp_dir().join(name));
        fs::DirBuilder::new().create(&dir.0).unwrap();
        dir
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a write meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// It is stored, and its answer is lost.
    AnswerLost,
    /// It is stored when its writer has given it up.
    Late,
    /// It is lost.
    Dropped,
}

#[derive(Debug, Default)]
struct Store {
    epoch: u64,
    last: u64,
    /// How often a message was sent.
    counter: u64,
    messages: Vec<Carried>,
    late: Vec<(u64, Carried)>,
    faults: Vec<Fault>,
}

impl Store {
    fn end_of(&self, node: &Label) -> u64 {
        self.messages.iter().rfind(|one| one.node == *node).map_or(0, |one| one.sequence)
    }

    fn put(&mut self, expected: u64, mut message: Carried) -> Option<u64> {
        if self.end_of(&message.node) != expected {
            return None;
        }
        self.last += 1;
        message.sequence = self.last;
        self.messages.push(message);
        Some(self.last)
    }

    fn put_late(&mut self) {
        for (expected, message) in std::mem::take(&mut self.late) {
            self.put(expected, message);
        }
    }

    /// Loses the newest messages; at the same time the numbers may begin anew.
    fn lose(&mut self, keep: usize) {
        self.messages.truncate(keep);
        self.last = self.messages.last().map_or(0, |one| one.sequence);
    }
}

struct Line<'s> {
    node: Label,
    store: &'s mut Store,
}

impl Line<'_> {
    fn answer(&mut self, ask: Ask) -> Answer {
        let own = |one: &&Carried| one.node == self.node;
        match ask {
            Ask::Ends => Answer::Ends(Ends { epoch: self.store.epoch, last: self.store.last }),
            Ask::Last => Answer::Message(self.store.messages.iter().rfind(own).cloned()),
            Ask::Next { after, only_own } => {
                let is_next = |one: &&Carried| one.sequence > after && (!only_own || own(one));
                Answer::Message(self.store.messages.iter().find(is_next).cloned())
            }
            Ask::Send { expected, left_ms, body } => {
                Answer::Sending(self.send(expected, left_ms, body))
            }
        }
    }

    fn send(&mut self, expected: u64, left_ms: u64, body: Vec<u8>) -> Sending {
        let fault = self.store.faults.pop().unwrap_or(Fault::None);
        let (node, verified, left_ms) = (self.node.clone(), Ok(()), Some(left_ms));
        self.store.counter += 1;
        let counter = self.store.counter;
        let message = Carried { sequence: 0, node, verified, left_ms, counter, body };
        match fault {
            Fault::None => {
                let stored = self.store.put(expected, message);
                return stored.map_or(Sending::Doubtful, Sending::Stored);
            }
            Fault::AnswerLost => _ = self.store.put(expected, message),
            Fault::Late => self.store.late.push((expected, message)),
            Fault::Dropped => {}
        }
        Sending::Doubtful
    }
}

/// A node: its directories, and a bridge that was started anew for each step.
struct Node {
    name: Label,
    ctx: Context,
    memory: PathBuf,
}

impl Node {
    fn new(dir: &Dir, name: &str) -> Node {
        let base = dir.0.join(name);
        let memory = base.join("memory");
        fs::create_dir_all(&memory).unwrap();
        fs::set_permissions(&base, fs::Permissions::from_mode(0o700)).unwrap();
        let ctx = Context {
            state_dir: base.join("tree"),
            node: None,
            agent: Label::new("agent", "tester").unwrap(),
            agent_named: true,
            session: None,
            fenced: None,
            lasting_dir: Some(memory.clone()),
            bus_dir: base.join("bus"),
            cluster: None,
            lease_ended: |_, _| {},
            host: zeta_os::host::host().unwrap(),
        };
        Node { name: Label::new("node", name).unwrap(), ctx, memory }
    }

    fn open(&self) -> Exchange<'_> {
        let cluster = CLUSTER_ID.parse().unwrap();
        Exchange::open(&self.ctx, &self.ctx.bus_dir, &self.name, &cluster, &self.memory).unwrap()
    }

    /// Runs a bridge until it has nothing to do, or for so many questions.
    fn run(&self, store: &mut Store, most: usize) -> bool {
        let mut exchange = self.open();
        let mut line = Line { node: self.name.clone(), store };
        exchange.look().unwrap();
        for _ in 0..most {
            let Some(ask) = exchange.ask().unwrap() else { return true };
            exchange.answer(line.answer(ask)).unwrap();
        }
        false
    }

    fn publish(&self, to: &str, number: u64) -> String {
        let to = match to {
            "*" => Recipient::All,
            name => Recipient::Agent(Address::new(name).unwrap()),
        };
        let message = NewMessage {
            from: Address::new(&format!("agent-{}", self.name)).unwrap(),
            to,
            topic: "text".to_owned(),
            payload: serde_json::json!({ "text": format!("number {number} \u{1f980}") }),
            life_ms: None,
            unchecked: false,
            reply: None,
        };
        messages::publish(&self.ctx.bus_dir, &message).unwrap().id
    }

    fn file(&self, id: &str) -> PathBuf {
        self.ctx.bus_dir.join(format!("{id}.json"))
    }

    fn own(&self, name: &str) -> PathBuf {
        self.ctx.bus_dir.join(".zeta/cluster").join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.own(name)).unwrap_or_default()
    }

    /// The ids of what came from other nodes, in the order in which they came.
    fn imported(&self) -> Vec<String> {
        let text = self.text("imported");
        text.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
    }

    /// Makes what a kill leaves: as if the last step had ended before this point.
    fn undo(&self, what: u8, cursor: Option<&[u8]>) {
        let sent = self.text("sent");
        match what {
            // The message was sent, and is not noted, or half of its line was written.
            0 | 1 if sent.lines().count() > 1 => {
                let end = sent.trim_end().rfind('\n').map_or(0, |at| at + 1);
                let end = if what == 0 { end } else { end + 2 };
                fs::write(self.own("sent"), &sent[..end]).unwrap();
            }
            // The message has its name in the bus, and the cursor stands before it.
            2 => self.put_back_cursor(cursor),
            // It is listed, and has no name yet.
            3 => {
                self.put_back_cursor(cursor);
                self.take_name();
            }
            // It is not listed yet.
            4 => {
                self.put_back_cursor(cursor);
                if self.take_name() {
                    let text = self.text("imported");
                    let end = text.trim_end().rfind('\n').map_or(0, |at| at + 1);
                    fs::write(self.own("imported"), &text[..end]).unwrap();
                }
            }
            _ => {}
        }
    }

    fn put_back_cursor(&self, cursor: Option<&[u8]>) {
        let path = self.memory.join("bus-cursor");
        match cursor {
            Some(bytes) => fs::write(path, bytes).unwrap(),
            None => _ = fs::remove_file(path),
        }
    }

    fn take_name(&self) -> bool {
        let Some(id) = self.imported().pop() else { return false };
        let incoming = self.ctx.bus_dir.join(".zeta/incoming").join(&id);
        fs::rename(self.file(&id), incoming).is_ok()
    }
}

#[derive(Debug, Clone)]
enum Event {
    Publish(usize, bool),
    /// A bridge runs for so many questions, and is killed.
    Run(usize, usize),
    /// The same, and it is killed before the end of its last act.
    Killed(usize, usize, u8),
    Faults(Vec<u8>),
    /// A receiver removes what came.
    Clean(usize),
    /// The store loses its newest messages, also all; the epoch is raised or not.
    Lose(usize, bool),
}

fn event() -> impl Strategy<Value = Event> {
    let node = 0..NODES.len();
    prop_oneof![
        4 => (node.clone(), any::<bool>()).prop_map(|(at, to)| Event::Publish(at, to)),
        4 => (node.clone(), 1usize..30).prop_map(|(at, most)| Event::Run(at, most)),
        4 => (node.clone(), 1usize..30, 0u8..5)
            .prop_map(|(at, most, what)| Event::Killed(at, most, what)),
        2 => prop::collection::vec(0u8..4, 1..4).prop_map(Event::Faults),
        1 => node.prop_map(Event::Clean),
        1 => (0usize..6, any::<bool>()).prop_map(|(lost, raised)| Event::Lose(lost, raised)),
    ]
}

/// What happened, for the oracle.
#[derive(Default)]
struct Seen {
    /// Each message: its sender and its bytes, in the order in which they were published.
    published: BTreeMap<usize, Vec<(String, Vec<u8>)>>,
    removed: BTreeMap<usize, BTreeSet<String>>,
}

fn play(nodes: &[Node], store: &mut Store, seen: &mut Seen, event: &Event, number: u64) {
    match event {
        Event::Publish(at, to_all) => {
            let id = nodes[*at].publish(if *to_all { "*" } else { "some-agent" }, number);
            let bytes = fs::read(nodes[*at].file(&id)).unwrap();
            seen.published.entry(*at).or_default().push((id, bytes));
        }
        Event::Run(at, most) => _ = nodes[*at].run(store, *most),
        Event::Killed(at, most, what) => {
            let cursor = fs::read(nodes[*at].memory.join("bus-cursor")).ok();
            let before = nodes[*at].imported().len();
            nodes[*at].run(store, *most);
            // The cursor is put back as far as it was: a kill between two messages.
            if *what < 2 || nodes[*at].imported().len() > before {
                nodes[*at].undo(*what, cursor.as_deref());
            }
        }
        Event::Faults(faults) => {
            let fault = |number: &u8| {
                [Fault::None, Fault::AnswerLost, Fault::Late, Fault::Dropped][*number as usize]
            };
            store.faults = faults.iter().map(fault).collect();
        }
        Event::Clean(at) => {
            for id in nodes[*at].imported() {
                if fs::remove_file(nodes[*at].file(&id)).is_ok() {
                    seen.removed.entry(*at).or_default().insert(id);
                }
            }
        }
        Event::Lose(lost, raised) => {
            let keep = store.messages.len().saturating_sub(*lost);
            store.lose(keep);
            store.epoch += u64::from(*raised);
        }
    }
    store.put_late();
}

/// Plays events on three nodes, lets them come to rest, and looks at what each of them has.
fn judge(events: &[Event]) -> std::result::Result<(), TestCaseError> {
    let dir = Dir::new();
    let nodes = NODES.map(|name| Node::new(&dir, name));
    let (mut store, mut seen) = (Store { epoch: 1, ..Store::default() }, Seen::default());
    for (number, event) in events.iter().enumerate() {
        play(&nodes, &mut store, &mut seen, event, number as u64);
    }
    store.faults.clear();
    // Twice: the last one to send was behind the first one to receive.
    for node in nodes.iter().chain(&nodes) {
        prop_assert!(node.run(&mut store, 10_000), "{} does not come to rest", node.name);
    }
    for (at, node) in nodes.iter().enumerate() {
        let imported = node.imported();
        let removed = seen.removed.get(&at).cloned().unwrap_or_default();
        for (sender, published) in seen.published.iter().filter(|(sender, _)| **sender != at) {
            let ids: Vec<&String> = published.iter().map(|(id, _)| id).collect();
            let arrived: Vec<&String> = imported.iter().filter(|id| ids.contains(id)).collect();
            prop_assert_eq!(&arrived, &ids, "from {} to {}", sender, at);
            for (id, bytes) in published {
                let found = fs::read(node.file(id)).ok();
                let wanted = (!removed.contains(id)).then_some(bytes);
                prop_assert_eq!(found.as_ref(), wanted, "{} at {}", id, at);
            }
        }
        let listed = messages::list(&node.ctx.bus_dir, &Filter::default()).unwrap();
        prop_assert!(listed.findings.is_empty(), "{:?}", listed.findings);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn each_message_arrives_once_whole_and_in_order(
        events in prop::collection::vec(event(), 1..40)
    ) {
        judge(&events)?;
    }
}

#[test]
fn a_message_that_is_sent_again_into_its_old_place_hides_no_other() {
    let (run, publish) = (Event::Run, |at| Event::Publish(at, false));
    let killed = |at| Event::Killed(at, 5, 0);
    let before = [publish(1), publish(2), publish(1), killed(1), publish(0), run(0, 4)];
    // The newest message is that of the reader itself. It comes third again, behind two new ones.
    let lost = [publish(2), run(0, 6), Event::Lose(3, false), killed(2), run(0, 4)];
    judge(&[&before[..], &lost].concat()).unwrap();
}

/// A message that some node has sent, as the store has it.
fn carried(sequence: u64, node: &str, id: &str) -> Carried {
    let body = serde_json::json!({
        "topic": "text", "payload": { "text": "x" }, "id": id, "from": "vera", "to": "*",
        "timestamp": "2026-11-22T20:00:00.000Z", "expiresAt": "2026-11-23T20:00:00.000Z",
    });
    let node = Label::new("node", node).unwrap();
    let (verified, left_ms) = (Ok(()), Some(60_000));
    let counter = sequence;
    Carried { sequence, node, verified, left_ms, counter, body: body.to_string().into_bytes() }
}

fn store_of(messages: Vec<Carried>) -> Store {
    let last = messages.last().map_or(0, |one| one.sequence);
    Store { epoch: 1, last, messages, ..Store::default() }
}

#[test]
fn a_claim_of_another_node_holds_nothing_here() {
    let dir = Dir::new();
    let (a, b) = (Node::new(&dir, "node-a"), Node::new(&dir, "node-b"));
    let mut store = store_of(Vec::new());
    let request =
        |from: &str| ClaimRequest::new(Address::new(from).unwrap(), Item::new("B-0856").unwrap());
    let acquire = |node: &Node, from: &str| {
        claim::acquire(&node.ctx, &node.ctx.bus_dir, &request(from), &mut |_, _| ()).unwrap()
    };
    assert!(matches!(acquire(&a, "vera"), claim::Acquired::Granted(_)));
    assert!(matches!(acquire(&a, "otto"), claim::Acquired::Taken(_)), "the claim holds there");
    assert!(a.run(&mut store, 100) && b.run(&mut store, 100));
    let listed = messages::list(&b.ctx.bus_dir, &Filter::default()).unwrap().messages;
    assert_eq!(listed.len(), 1, "the announcement is here");
    assert!(claim::list(&b.ctx, &b.ctx.bus_dir).unwrap().is_empty());
    assert!(claim::check(&b.ctx, &b.ctx.bus_dir, &request("otto")).unwrap().is_empty());
    assert!(matches!(acquire(&b, "otto"), claim::Acquired::Granted(_)));
    // And the claim of this node holds as before.
    assert!(matches!(acquire(&b, "lior"), claim::Acquired::Taken(_)));
    let held = claim::list(&b.ctx, &b.ctx.bus_dir).unwrap();
    assert_eq!(held.iter().map(|one| one.from.as_str()).collect::<Vec<_>>(), ["otto"]);
}

#[test]
fn what_came_from_another_node_never_goes_out_again() {
    let dir = Dir::new();
    let b = Node::new(&dir, "node-b");
    let mut store = store_of(vec![carried(5, "node-a", "one"), carried(6, "node-a", "two")]);
    assert!(b.run(&mut store, 100));
    let mode = |id| fs::metadata(b.file(id)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("one"), mode("two")), (0o400, 0o400));
    // Its file says so where the list is gone, and the list where the file does not say so.
    fs::remove_dir_all(b.ctx.bus_dir.join(".zeta/cluster")).unwrap();
    assert!(b.run(&mut store, 100));
    fs::write(b.own("imported"), format!("two {}\n", i64::MAX)).unwrap();
    fs::set_permissions(b.file("two"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(b.run(&mut store, 100));
    assert_eq!(store.messages.len(), 2, "nothing was sent");
    let id = b.publish("*", 1);
    assert!(b.run(&mut store, 100));
    let sent = store.messages.last().unwrap();
    assert_eq!((sent.sequence, &sent.body), (7, &fs::read(b.file(&id)).unwrap()));
}

#[test]
fn a_message_that_is_none_is_refused_and_holds_up_no_other() {
    let dir = Dir::new();
    let b = Node::new(&dir, "node-b");
    let bad = |sequence, id: &str| carried(sequence, "node-x", id);
    let forged = Carried { verified: Err("forged".to_owned()), ..bad(1, "forged") };
    let endless = Carried { left_ms: None, ..bad(2, "endless") };
    let broken = Carried { body: b"{".to_vec(), ..bad(3, "broken") };
    let long = Carried { body: vec![b' '; 70_000], ..bad(4, "long") };
    let mut store = store_of(vec![
        forged,
        endless,
        broken,
        long,
        bad(5, "../x"),
        bad(6, ".zeta"),
        bad(7, "seen-otto"),
        bad(8, "assignment-history"),
        Carried { left_ms: Some(0), ..bad(9, "over") },
        carried(10, "node-a", "good"),
    ]);
    let mut exchange = b.open();
    let mut line = Line { node: b.name.clone(), store: &mut store };
    exchange.look().unwrap();
    while let Some(ask) = exchange.ask().unwrap() {
        exchange.answer(line.answer(ask)).unwrap();
    }
    let State { imported, refused, cursor, last_refusal, .. } = exchange.state();
    assert_eq!((*imported, *refused, *cursor), (1, 8, 10));
    assert_eq!(last_refusal.as_ref().unwrap().0.as_str(), "node-x");
    let names = fs::read_dir(&b.ctx.bus_dir).unwrap().map(|one| one.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".zeta", "good.json"]);
}

#[test]
fn a_full_bus_takes_nothing_in_and_loses_nothing() {
    let dir = Dir::new();
    let b = Node::new(&dir, "node-b");
    let mut store = store_of(vec![carried(5, "node-a", "one")]);
    let mut exchange = b.open();
    exchange.look().unwrap();
    exchange.inbox.count(inbox::COUNT_MAX);
    let mut line = Line { node: b.name.clone(), store: &mut store };
    while let Some(ask) = exchange.ask().unwrap() {
        exchange.answer(line.answer(ask)).unwrap();
    }
    assert!(exchange.state().is_bus_full);
    assert_eq!((exchange.state().cursor, exchange.state().imported), (0, 0));
    exchange.look().unwrap();
    while let Some(ask) = exchange.ask().unwrap() {
        exchange.answer(line.answer(ask)).unwrap();
    }
    assert!(!exchange.state().is_bus_full);
    assert_eq!((exchange.state().cursor, exchange.state().imported), (5, 1));
}

#[test]
fn a_message_of_another_node_is_unread_until_its_recipient_reads_it() {
    let dir = Dir::new();
    let (a, b) = (Node::new(&dir, "node-a"), Node::new(&dir, "node-b"));
    let mut store = store_of(Vec::new());
    let id = a.publish("some-agent", 1);
    assert!(a.run(&mut store, 100) && b.run(&mut store, 100));
    assert_eq!(marks::counts(&b.ctx.bus_dir).get("some-agent"), Some(&1));
    messages::read(&b.ctx.bus_dir, &id, Some("some-agent")).unwrap().unwrap();
    assert_eq!(marks::counts(&b.ctx.bus_dir).get("some-agent"), None);
}

#[test]
fn nothing_is_behind_in_a_stream_that_has_no_messages() {
    let dir = Dir::new();
    let node = Node::new(&dir, "node-a");
    // The number with which a stream was made.
    let mut store = Store { last: 1_796_032_736_230_225, ..store_of(Vec::new()) };
    let mut exchange = node.open();
    exchange.look().unwrap();
    let mut line = Line { node: node.name.clone(), store: &mut store };
    let mut asked = 0;
    while let Some(ask) = exchange.ask().unwrap() {
        asked += 1;
        assert!(asked < 100, "it asks for ever");
        let answer = line.answer(ask);
        exchange.answer(answer).unwrap();
    }
    assert_eq!((exchange.state().last, exchange.state().cursor), (0, 0));
}

#[test]
fn one_process_at_a_time_has_the_exchange_of_a_bus() {
    let dir = Dir::new();
    let a = Node::new(&dir, "node-a");
    let _first = a.open();
    let cluster = CLUSTER_ID.parse().unwrap();
    let second = Exchange::open(&a.ctx, &a.ctx.bus_dir, &a.name, &cluster, &a.memory);
    assert_eq!(second.err().map(|error| error.kind), Some(Kind::Busy));
}

#[test]
fn a_node_of_another_cluster_begins_anew() {
    let dir = Dir::new();
    let a = Node::new(&dir, "node-a");
    let mut first = store_of(vec![carried(5, "node-b", "one")]);
    let id = a.publish("*", 1);
    assert!(a.run(&mut first, 100));
    assert_eq!(first.messages.len(), 2);
    let other = "f".repeat(32).parse().unwrap();
    let mut second = store_of(vec![carried(5, "node-c", "two")]);
    let mut exchange = Exchange::open(&a.ctx, &a.ctx.bus_dir, &a.name, &other, &a.memory).unwrap();
    let mut line = Line { node: a.name.clone(), store: &mut second };
    exchange.look().unwrap();
    while let Some(ask) = exchange.ask().unwrap() {
        exchange.answer(line.answer(ask)).unwrap();
    }
    assert_eq!(exchange.state().imported, 1);
    let sent = second.messages.iter().filter(|one| one.node == a.name);
    assert_eq!(sent.map(|one| &one.body).collect::<Vec<_>>(), [&fs::read(a.file(&id)).unwrap()]);
}
