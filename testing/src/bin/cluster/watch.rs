//! What stands in for the bridge of a node here: it remembers how far it has seen the store, finds
//! a loss by the rules of the core, and raises the epoch.
//!
//! A reading that shows less than what is remembered may be that of a server that was cut off. So a
//! loss counts only after a write to the same stream was accepted on such a reading.

use std::time::Duration;

use zeta_cluster::store::Written;
use zeta_core::cluster::epoch::{Judged, Remembered, Seen, Verdict, judge_store};
use zeta_core::cluster::subject::{Stream, Subject};
use zeta_core::name::RecordName;
use zeta_os::host;

use super::Outcomes;
use super::arena::{Arena, LEASES, lease_name, now_ns};
use super::client::node_name;
use super::link::Link;
use super::register::Highest;
use super::story::Story;

const LOOK: Duration = Duration::from_millis(200);

struct Watch {
    link: Link,
    own: RecordName,
    leases: Vec<RecordName>,
    last: Vec<u64>,
    remembered: Option<Remembered>,
    highest: Highest,
    story: Story,
}

/// Watches until the run is over.
pub fn watch(arena: &Arena, node: usize) -> Outcomes<()> {
    let name = |text: &str| RecordName::new("lease", text);
    let leases = (0..LEASES).map(|at| name(&lease_name(at))).collect::<Result<Vec<_>, _>>()?;
    let mut watch = Watch {
        link: Link::new(arena, node),
        own: name(&format!("watch-{}", node_name(node)?))?,
        last: vec![0; leases.len()],
        leases,
        remembered: None,
        highest: Highest::open(&arena.dir, node)?,
        story: Story::open(&arena.dir, "epochs")?,
    };
    while !arena.over() {
        watch.look()?;
        std::thread::sleep(LOOK);
    }
    Ok(())
}

impl Watch {
    /// Looks once; an answer that does not come is no loss.
    fn look(&mut self) -> Outcomes<()> {
        let Some(sequence) = self.write_own() else { return Ok(()) };
        let Some(meta_revision) = self.link.read_meta() else { return Ok(()) };
        let Some(member) = self.link.member() else { return Ok(()) };
        let meta = member.meta().0.held.clone();
        let mut revisions = Vec::with_capacity(self.leases.len());
        for lease in &self.leases {
            let Some((revision, entry)) = self.link.read(lease) else { return Ok(()) };
            let token = entry.fencing_token().map_or(0, |token| token.get());
            self.highest.raise(token)?;
            revisions.push(revision);
        }
        let same = self.remembered.as_ref().is_some_and(|it| it.meta.epoch == meta.epoch);
        let went_back = same && revisions.iter().zip(&self.last).any(|(now, last)| now < last);
        let last = revisions.iter().copied().max().unwrap_or(0).max(sequence);
        let of = |stream| {
            let number = match stream {
                Stream::Lease => last,
                Stream::Meta => meta_revision,
                Stream::State | Stream::Bus => 0,
            };
            (stream, String::new(), number)
        };
        let seen = Seen {
            streams: Stream::ALL.map(of).to_vec(),
            meta: Some((meta.clone(), meta_revision)),
            card: None,
            went_back,
            server_us: host::wall_us(),
        };
        if let Some(remembered) = &mut self.remembered {
            remembered.highest_token = self.highest.raise(0)?;
        }
        let Judged { verdict, write } = judge_store(self.remembered.as_ref(), &seen);
        if verdict != Verdict::Same {
            self.story.say(&format!("seen {} {} {verdict:?}", now_ns(), self.own))?;
        }
        match write {
            Some((raised, expected)) => self.raise(&raised, expected)?,
            None => {
                self.last = revisions;
                self.remembered = Some(Remembered {
                    meta,
                    streams: seen.streams,
                    highest_token: self.highest.raise(0)?,
                    card: None,
                    counter_sent: 0,
                });
            }
        }
        Ok(())
    }

    /// Writes the own value over the one that is read; returns the revision that it got.
    fn write_own(&mut self) -> Option<u64> {
        let (expected, _) = self.link.read(&self.own)?;
        let member = self.link.member()?;
        match member.write_lease(&self.own, expected, b"watched\n") {
            Ok(Written::Stored(revision)) => Some(revision),
            _ => None,
        }
    }

    fn raise(&mut self, raised: &zeta_core::cluster::epoch::Meta, expected: u64) -> Outcomes<()> {
        let body = raised.to_fields().render();
        let Some(member) = self.link.member() else { return Ok(()) };
        let word = match member.write(&Subject::Meta, expected, body.as_bytes(), None) {
            Ok(Written::Stored(_)) => "stored",
            Ok(Written::Conflict) => "conflict",
            _ => "unknown",
        };
        let line = format!("raise {} {} {} {word}", now_ns(), raised.epoch, raised.floor);
        self.story.say(&line)
    }
}
