//! The loop of the bridge: one connection after another, and what happens on each.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use zeta_core::cluster::card::BEAT_MS;
use zeta_core::cluster::envelope::NODE;
use zeta_core::cluster::epoch::decide_meta;
use zeta_core::cluster::peer::{Follows, Writer};
use zeta_core::cluster::subject::{Item, Stream, Subject};
use zeta_core::name::Label;
use zeta_core::record::printable;
use zeta_os::error::Result as OsResult;
use zeta_os::host;
use zeta_os::signal::Signals;

use super::copies::{Place, Taken};
use super::feed::{Arrived, Feed};
use super::judge::read_meta;
use super::readable::Readable;
use super::relist::RELIST;
use super::report::behind;
use super::send::boot_ms;
use super::wire::{End, Opened, Result, Wire, back_off, due_at};
use super::{Bridge, Level};
use crate::api::Stored;
use crate::connection::Connection;
use crate::follow::Follow;
use crate::meta::Meta;
use crate::signer::Received;
use crate::status;
use crate::trouble::Trouble;

/// The first change is sent at once, and those within this time after it as one.
const COALESCE: Duration = Duration::from_millis(20);
/// The longest sleep without a connection, in which the manager learns that this process works.
const BEAT: Duration = Duration::from_millis(BEAT_MS);
/// When everything is read again after the tree could not be written.
const AFTER_FAULT: Duration = Duration::from_secs(30);
/// How often the streams are looked at, for people: that costs the servers a request for each.
const LOOK: Duration = Duration::from_secs(60);
/// When everything is read again after values were passed over, because a peer wrote too many.
const AFTER_FLOOD: Duration = Duration::from_secs(30);
/// A connection that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(60);

impl Bridge<'_> {
    /// Bridges until a signal asks for the end.
    pub(super) async fn run(&mut self, signals: &Signals) -> OsResult<()> {
        let asked = Readable::new(Some(signals.fd()))?;
        self.set_word("away");
        self.manager.tell("READY=1\nSTATUS=connecting");
        (self.log)(Level::Notice, &format!("the bridge of {} begins", self.own));
        let ended = tokio::select! {
            biased;
            () = end_asked(&asked, signals) => Ok(()),
            error = self.connect_for_ever() => Err(error),
        };
        self.manager.tell("STOPPING=1");
        if let Err(error) = &ended {
            self.fault(&error.text);
        }
        self.remember();
        self.set_word("stopped");
        (self.log)(Level::Notice, "the bridge ends");
        ended
    }

    /// Returns only if the bridge must not go on.
    async fn connect_for_ever(&mut self) -> zeta_os::error::Error {
        let mut attempt = 0_u32;
        loop {
            let begun = Instant::now();
            self.status.word = "away";
            // What the last connection showed says nothing about the next one.
            (self.status.quorum, self.status.lag) = (None, None);
            self.status.no_quorum = false;
            let end = match self.session().await {
                Ok(never) => match never {},
                Err(end) => end,
            };
            if begun.elapsed() > GOOD {
                attempt = 0;
            }
            let random = host::random().unwrap_or(0) as u64;
            let pause = match end {
                End::Refused(error) => return error,
                End::Again(text) if attempt == 0 => {
                    (self.log)(Level::Warning, &text);
                    Duration::ZERO
                }
                End::Lost(text) | End::Again(text) => {
                    self.fault(&text);
                    back_off(attempt, random)
                }
            };
            attempt = attempt.saturating_add(1);
            let word = if self.status.word == "missing" { "missing" } else { "away" };
            self.set_word(word);
            self.sleep_without_server(pause).await;
        }
    }

    /// Sleeps, and tells the manager that this process works.
    async fn sleep_without_server(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            let next = self.watchdog_at.map_or(until, |at| at.min(until));
            sleep_until(next).await;
            self.feed_watchdog();
        }
    }

    pub(super) fn feed_watchdog(&mut self) {
        let Some(every) = self.manager.watchdog() else { return };
        if self.watchdog_at.is_some_and(|at| at <= Instant::now()) {
            self.manager.tell("WATCHDOG=1");
            self.watchdog_at = Some(Instant::now() + every);
        }
    }

    /// Works on one connection, until it ends.
    async fn session(&mut self) -> Result<std::convert::Infallible> {
        let connection = Connection::open(&self.setting).await?;
        // Servers that are too few say so now, and nothing else. How far this bridge is behind
        // shows once it has taken what came meanwhile.
        self.look_at_streams(&connection).await;
        self.status.lag = None;
        self.look_at = Instant::now();
        let mut feed = Feed::open(&connection, &self.follow, &self.own).await?;
        self.status.server = Some((connection.shown_server(), connection.server().1));
        let meta = match read_meta(&connection).await? {
            Some(found) => found,
            None => return Err(self.missing(Stream::Meta)),
        };
        if meta.0.held.cluster != self.signer.identity.cluster {
            return Err(self.other_cluster(&meta.0.held.cluster));
        }
        let signer = self.signer.clone();
        let mut wire = Wire { connection, signer, meta: meta.0, revision: meta.1 };
        self.begin(&mut wire, &mut feed).await?;
        loop {
            self.step(&mut wire, &mut feed).await?;
        }
    }

    /// Judges the store, takes the name, and reads everything.
    async fn begin(&mut self, wire: &mut Wire, feed: &mut Feed) -> Result<()> {
        let mut values = Vec::new();
        for pattern in self.follow.patterns(&self.own, Stream::State) {
            values.extend(wire.list(Stream::State, &pattern).await?);
        }
        let went_back = self.look_back(wire, &values)?;
        if self.judge(wire, feed, went_back).await? {
            self.copies.forget_revisions();
            self.leases.forget();
        }
        self.set_word("waiting");
        self.take_name(wire).await?;
        self.beat_at = Instant::now() + BEAT;
        self.read_everything(wire, feed).await?;
        self.set_word("connected");
        let (name, version) = self.status.server.clone().unwrap_or_default();
        (self.log)(Level::Notice, &format!("connected to {name} ({version})"));
        // Its name is the server's to choose, and a line feed would begin another message.
        self.manager.tell(&format!("STATUS=connected to {}", printable(&name)));
        Ok(())
    }

    /// Waits for the next thing that happens, and does what follows from it.
    async fn step(&mut self, wire: &mut Wire, feed: &mut Feed) -> Result<()> {
        let due = self.next_due().min(self.relist_at);
        // In no order: a peer that floods the feed keeps this node from nothing else.
        tokio::select! {
            () = wire.connection.ended() => Err(End::Lost("the connection ended".to_owned())),
            () = self.leases.process_ended() => {
                self.leases.take_ends();
                self.speak_for_node(wire).await
            }
            arrived = feed.next() => match arrived {
                Some(arrived) => self.take_arrived(wire, arrived),
                None => Err(End::Lost("the feed ended".to_owned())),
            },
            () = self.directory.changed(), if self.send_at.is_none() => {
                if self.directory.take_hints() {
                    self.send_at = Some(Instant::now().max(self.sent_at + COALESCE));
                }
                Ok(())
            }
            () = self.mail.changed() => {
                self.mail.look_soon();
                self.mail.work(wire).await
            }
            () = due_at(due) => {
                self.do_due(wire, feed).await?;
                self.read_again_if_due(wire, feed).await
            }
        }
    }

    /// When there is something to do by the clock, but the reading of everything.
    pub(super) fn next_due(&self) -> Instant {
        let mine = [self.send_at, self.tell_at, self.watchdog_at, self.own_at];
        let others = [self.leases.look_at, self.mail.due_at()];
        mine.into_iter().chain(others).flatten().fold(self.beat_at, Instant::min)
    }

    /// Does what is due by the clock, but the reading of everything.
    pub(super) async fn do_due(&mut self, wire: &mut Wire, feed: &Feed) -> Result<()> {
        let now = Instant::now();
        self.feed_watchdog();
        if self.leases.look_at.is_some_and(|at| at <= now) {
            self.speak_for_node(wire).await?;
        }
        if self.own_at.is_some_and(|at| at <= now) {
            self.read_own(wire).await?;
            self.send_at = Some(now);
        }
        if self.send_at.is_some_and(|at| at <= now) {
            self.send_at = None;
            self.sent_at = now;
            self.directory.take_hints();
            self.send_changes(wire).await?;
        }
        self.mail.work(wire).await?;
        if self.tell_at.is_some_and(|at| at <= now) {
            self.write_status();
        }
        if self.beat_at <= now {
            self.beat_at = now + BEAT;
            self.count_streams(feed);
            if self.look_at <= now {
                self.look_at_streams(&wire.connection).await;
            }
            self.directory.look_at_all();
            self.send_changes(wire).await?;
            self.beat(wire).await?;
            self.speak_for_node(wire).await?;
            if self.copies.take_ends(boot_ms()) {
                self.relist_soon();
            }
            self.write_status();
        }
        Ok(())
    }

    /// Looks how many servers have the streams, and how far this bridge is behind. Servers that do
    /// not say it are no reason to end: the next write tells.
    async fn look_at_streams(&mut self, connection: &Connection) {
        self.look_at = Instant::now() + LOOK;
        let looked = status::streams(connection).await;
        self.status.no_quorum = looked.as_ref().is_err_and(Trouble::is_no_quorum);
        let streams = looked.ok();
        self.status.quorum = streams.as_deref().and_then(status::quorum);
        let known = self.memory.known.as_ref();
        self.status.lag = streams.zip(known).map(|(streams, known)| {
            let seen = |stream| known.streams.iter().find(|(one, ..)| *one == stream);
            behind(&streams, self.follow != Follow::All, |stream| Some(seen(stream)?.2))
        });
    }

    /// Remembers how far each stream was seen.
    fn count_streams(&mut self, feed: &Feed) {
        let Some(known) = &mut self.memory.known else { return };
        for (stream, _, last) in &mut known.streams {
            *last = feed.last(*stream).max(*last);
        }
    }

    fn take_arrived(&mut self, wire: &mut Wire, arrived: Arrived) -> Result<()> {
        if let Some(stream) = arrived.gap {
            (self.log)(Level::Info, &format!("the feed of {} has a gap", stream.name()));
            self.relist_soon();
        }
        match arrived.value {
            Some(stored) if self.has_turn(wire, &stored) => self.take_stored(wire, stored),
            Some(_) | None => Ok(()),
        }
    }

    /// Returns whether a value of the feed is taken now. What is passed over is read with all
    /// others in a while.
    fn has_turn(&mut self, wire: &Wire, stored: &Stored) -> bool {
        let node = match Subject::parse(&stored.subject) {
            Ok(Subject::State { node, .. } | Subject::Lease { node: Some(node), .. }) => Some(node),
            // All nodes write it.
            Ok(Subject::Lease { node: None, .. }) => named_writer(stored),
            Ok(Subject::Bus(_) | Subject::Meta) | Err(_) => return true,
        };
        if node.as_ref() == Some(&self.own) {
            return true;
        }
        let known = node.filter(|node| wire.signer.keys().of(node).is_some());
        let Some(passed_over) = self.copies.pass_over(known.as_ref(), boot_ms()) else {
            return true;
        };
        if passed_over == 1 {
            let whose =
                known.map_or("nodes whose keys are not known".to_owned(), |n| n.to_string());
            let text = "more values at once than are taken: they are read every 30 s";
            (self.log)(Level::Warning, &format!("{whose}: {text}"));
        }
        self.tell_soon();
        self.relist_at = self.relist_at.min(Instant::now() + AFTER_FLOOD);
        false
    }

    /// Takes a value: a copy, a lease, a message, or the record of the cluster.
    pub(super) fn take_stored(&mut self, wire: &mut Wire, stored: Stored) -> Result<()> {
        if stored.subject == Subject::Meta.to_string() {
            return self.take_meta(wire, &stored);
        }
        if let Ok(Subject::Bus(node)) = Subject::parse(&stored.subject) {
            // It is read in its turn, and judged then.
            if node != self.own {
                self.mail.take(stored.sequence);
            }
            return Ok(());
        }
        match Subject::parse(&stored.subject) {
            Ok(Subject::State { node, item }) if node == self.own => {
                self.take_own(&item, stored.sequence);
                return Ok(());
            }
            // A signature costs more than a flood may: the name of its node is enough.
            Ok(subject)
                if subject.node().is_some_and(|node| self.copies.is_ignored(node, boot_ms())) =>
            {
                return Ok(());
            }
            Ok(_) | Err(_) => {}
        }
        let value = match self.open_value(wire, stored)? {
            Some(value) => value,
            None => return Ok(()),
        };
        match &value.subject {
            Subject::State { item, .. } => self.take_record(wire, item, &value),
            Subject::Lease { .. } => self.take_lease(wire, &value),
            Subject::Bus(_) | Subject::Meta => {}
        }
        Ok(())
    }

    /// Judges a value; none if it is refused, or if its node is ignored.
    fn open_value(&mut self, wire: &Wire, stored: Stored) -> Result<Option<Received>> {
        let opened: Opened = wire.open(stored)?;
        let now_ms = boot_ms();
        match opened {
            Ok(value) => {
                let ignored = self.copies.is_ignored(&value.envelope.node, now_ms);
                Ok((!ignored).then_some(value))
            }
            Err((Some(node), _)) if self.copies.is_ignored(&node, now_ms) => Ok(None),
            // What breaks the rules of its form shows no signature.
            Err((Some(node), dropped)) => {
                self.refuse(&node, Writer::Unknown, dropped.to_string());
                Ok(None)
            }
            Err((None, dropped)) => {
                self.fault(&format!("a value is refused: {dropped}"));
                Ok(None)
            }
        }
    }

    pub(super) fn refuse(&mut self, node: &Label, writer: Writer, reason: String) {
        self.tell_soon();
        let of = match writer {
            Writer::Node => "of",
            Writer::Unknown => "in the name of",
        };
        let line = format!("a value {of} {node} is refused: {reason}");
        let follows = self.copies.refuse(node, writer, reason, boot_ms());
        if follows != Follows::Counted {
            (self.log)(Level::Warning, &line);
        }
        if follows == Follows::Ignored {
            (self.log)(
                Level::Error,
                &format!("{node} sends too much that is refused: it is ignored for 10 min"),
            );
        }
    }

    /// Tells that a copy could not be written: the disk is full, as a rule. What is missing now is
    /// read again.
    pub(super) fn missed(&mut self, error: &zeta_os::error::Error) {
        self.fault(&error.text);
        self.relist_at = self.relist_at.min(Instant::now() + AFTER_FAULT);
    }

    fn take_record(&mut self, wire: &Wire, item: &Item, value: &Received) {
        let held = &wire.meta.held;
        let (tree, now) = (&self.directory.tree, self.ctx.now());
        let rarely = self.follow == Follow::Records;
        let card_every_ms = rarely.then_some(RELIST.as_millis() as u64);
        let at = Place { tree, cluster: &held.cluster, epoch: held.epoch, now, card_every_ms };
        match self.copies.take(at, item, value) {
            Ok(Taken::Written) => self.status.taken += 1,
            Ok(Taken::Known) => {}
            Ok(Taken::Refused(writer, reason)) => {
                self.refuse(&value.envelope.node, writer, reason);
            }
            Err(error) => self.missed(&error),
        }
    }

    /// Believes another node's word about the cluster as far as it raises what is known.
    fn take_meta(&mut self, wire: &mut Wire, stored: &Stored) -> Result<()> {
        if stored.sequence <= wire.revision {
            return Ok(());
        }
        let read = Meta::read(&stored.body);
        let Ok(read) = read else {
            return Err(End::Again("the record of the cluster is damaged".to_owned()));
        };
        match decide_meta(&wire.meta.held, &read.held) {
            Some(held) if held.epoch == wire.meta.held.epoch => {
                if let Some(known) = &mut self.memory.known {
                    known.meta = held.clone();
                }
                (wire.meta.held, wire.revision) = (held, stored.sequence);
                Ok(())
            }
            _ => Err(End::Again("the record of the cluster has changed".to_owned())),
        }
    }
}

/// The node that a value names as its writer, where its subject names none.
fn named_writer(stored: &Stored) -> Option<Label> {
    let named = stored.headers.iter().find(|(name, _)| name == NODE);
    named.and_then(|(_, node)| node.parse().ok())
}

/// Waits until a signal asks this process to end.
async fn end_asked(asked: &Readable, signals: &Signals) {
    loop {
        while let Some(received) = signals.next() {
            if received.is_to_end() {
                return;
            }
        }
        asked.changed().await;
    }
}
