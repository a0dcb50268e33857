//! The messages of the bus across nodes: carries the questions of the exchange to the store.

use std::time::Duration;

use tokio::time::Instant;
use zeta_bus::exchange::{Answer, Ask, Carried, Ends, Exchange, Sending};
use zeta_core::cluster::envelope::Trust;
use zeta_core::cluster::mail::LEFT;
use zeta_core::cluster::subject::{Item, Stream, Subject};
use zeta_core::record::Fields;
use zeta_os::error::Result as OsResult;
use zeta_state::context::Context;

use super::readable::Readable;
use super::wire::{End, Put, Result, Wire};
use crate::api::Stored;
use crate::identity::Identity;

/// Most questions that are asked before anything else has its turn.
const ASKS_MAX: usize = 64;
/// When the bus is looked at again after a fault, or while something is full.
const AGAIN: Duration = Duration::from_secs(5);
/// After a look at the bus it rests for so many times as long as that took.
const REST: u32 = 20;
/// When a write is tried again after one that another writer, or no server, has met.
const SOON: Duration = Duration::from_millis(200);

/// The outbox and the inbox of this node.
pub(super) struct Mail<'b> {
    ctx: &'b Context,
    exchange: Option<Exchange<'b>>,
    changed: Readable,
    /// When the bus is looked at.
    look_at: Option<Instant>,
    /// It is not looked at before: looks at a bus of many messages take long.
    rest_until: Instant,
    /// When the store is asked again.
    ask_at: Option<Instant>,
    /// Why no messages go out or come in.
    fault: Option<String>,
}

impl<'b> Mail<'b> {
    /// The messages of the caller's bus, which is opened when there is a connection.
    pub(super) fn new(ctx: &'b Context) -> OsResult<Mail<'b>> {
        Ok(Mail {
            ctx,
            exchange: None,
            changed: Readable::new(None)?,
            look_at: None,
            rest_until: Instant::now(),
            ask_at: None,
            fault: None,
        })
    }

    /// Waits until something changed in the bus directory. It is not known already.
    pub(super) async fn changed(&self) {
        match self.look_at {
            Some(_) => std::future::pending().await,
            None => self.changed.changed().await,
        }
    }

    /// Takes the news that something changed there.
    pub(super) fn look_soon(&mut self) {
        self.look_at = Some(self.rest_until.max(Instant::now()));
    }

    /// When there is something to do, if nothing else happens.
    pub(super) fn due_at(&self) -> Option<Instant> {
        [self.look_at, self.ask_at].into_iter().flatten().min()
    }

    /// Begins on a new connection: reads what came meanwhile, and what the outbox sent last. Also
    /// called when the feed has a gap, and when everything is read again.
    pub(super) fn begin(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.doubt();
        }
        self.look_soon();
    }

    /// Takes the news that there is a message of another node.
    pub(super) fn take(&mut self, sequence: u64) {
        if let Some(exchange) = &mut self.exchange {
            exchange.hear(sequence);
            self.ask_at = Some(Instant::now());
        }
    }

    /// Does what is due.
    pub(super) async fn work(&mut self, wire: &Wire) -> Result<()> {
        let begun = Instant::now();
        if self.look_at.is_some_and(|at| at <= begun) {
            self.look_at = None;
            if let Err(error) = self.open(&wire.signer.identity).and_then(Exchange::look) {
                self.fail(error.text);
                return Ok(());
            }
            let ended = Instant::now();
            self.rest_until = ended + ended.duration_since(begun) * REST;
            self.ask_at = Some(begun);
        }
        match self.ask_at {
            Some(at) if at <= begun => self.ask(wire).await,
            _ => Ok(()),
        }
    }

    fn open(&mut self, identity: &Identity) -> OsResult<&mut Exchange<'b>> {
        let exchange = match self.exchange.take() {
            Some(exchange) => exchange,
            None => {
                let (bus, node) = (&self.ctx.bus_dir, &identity.node);
                let (cluster, dir) = (&identity.cluster, &identity.dir);
                let mut exchange = Exchange::open(self.ctx, bus, node, cluster, dir)?;
                self.changed = Readable::new(exchange.watch())?;
                exchange
            }
        };
        Ok(self.exchange.insert(exchange))
    }

    /// Nothing goes on for a while. The bus is opened anew then: it may be another directory.
    fn fail(&mut self, text: String) {
        self.exchange = None;
        self.changed = Readable::default();
        self.fault = Some(text);
        self.ask_at = None;
        self.look_at = Some(Instant::now() + AGAIN);
    }

    /// Asks the store until there is nothing to ask, or for a while.
    async fn ask(&mut self, wire: &Wire) -> Result<()> {
        self.ask_at = None;
        let Some(exchange) = &mut self.exchange else { return Ok(()) };
        match ask_all(exchange, wire).await? {
            Ok(pause) => {
                self.fault = None;
                self.ask_at = pause.map(|pause| Instant::now() + pause);
                let state = exchange.state();
                if (state.is_bus_full || state.is_store_full) && self.look_at.is_none() {
                    self.look_at = Some(Instant::now() + AGAIN);
                }
            }
            Err(text) => self.fail(text),
        }
        Ok(())
    }

    /// Adds what is told of the mail to the state of the bridge.
    pub(super) fn write_status(&self, fields: &mut Fields<'_>) {
        if let Some(exchange) = &self.exchange {
            let state = exchange.state();
            fields.push_number("mail_pending", state.pending);
            fields.push_number("mail_sent", state.sent);
            fields.push_number("mail_imported", state.imported);
            fields.push_number("mail_cursor", state.cursor);
            fields.push_number("mail_lag", state.last.saturating_sub(state.cursor));
            fields.push_number("mail_refused", state.refused);
            if let Some((node, reason)) = &state.last_refusal {
                fields.push_text("mail_refused_node", node.as_str());
                fields.push_text("mail_refused_reason", reason);
            }
            let full = [("bus", state.is_bus_full), ("store", state.is_store_full)];
            for (word, _) in full.iter().filter(|(_, is_full)| *is_full) {
                fields.push_text("mail_full", word);
            }
        }
        if let Some(fault) = &self.fault {
            fields.push_text("mail_fault", fault);
        }
    }
}

/// Asks until there is nothing to ask; returns when to go on, if there is. The inner error is one
/// of the bus, and the outer one ends the connection.
async fn ask_all(
    exchange: &mut Exchange<'_>,
    wire: &Wire,
) -> Result<std::result::Result<Option<Duration>, String>> {
    for _ in 0..ASKS_MAX {
        let answer = match exchange.ask() {
            Ok(Some(ask)) => answer(wire, ask).await?,
            Ok(None) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(error.text)),
        };
        let is_doubtful = answer == Answer::Sending(Sending::Doubtful);
        if let Err(error) = exchange.answer(answer) {
            return Ok(Err(error.text));
        }
        if is_doubtful {
            return Ok(Ok(Some(SOON)));
        }
    }
    Ok(Ok(Some(Duration::ZERO)))
}

async fn answer(wire: &Wire, ask: Ask) -> Result<Answer> {
    let own = Subject::Bus(wire.signer.identity.node.clone());
    let stream = Stream::Bus.name();
    Ok(match ask {
        Ask::Ends => {
            let info = wire.connection.info(stream).await?;
            let info = info.ok_or_else(|| End::Again(format!("the stream {stream} is missing")))?;
            let epoch = wire.meta.held.epoch;
            Answer::Ends(Ends { epoch, last: info.last_sequence })
        }
        Ask::Last => {
            let last = wire.connection.last(stream, &own.to_string()).await?;
            Answer::Message(match last {
                Some(stored) => carried(wire, stored).await?,
                None => None,
            })
        }
        Ask::Next { after, only_own } => {
            let own = own.to_string();
            let pattern = if only_own { own.as_str() } else { Stream::Bus.pattern() };
            let mut from = after.saturating_add(1);
            loop {
                let Some(stored) = wire.connection.next(stream, pattern, from).await? else {
                    return Ok(Answer::Message(None));
                };
                from = stored.sequence.saturating_add(1);
                // A subject that names no node is no message.
                if let Some(carried) = carried(wire, stored).await? {
                    return Ok(Answer::Message(Some(carried)));
                }
            }
        }
        Ask::Send { expected, left_ms, body } => {
            Answer::Sending(match wire.write_message(&own, expected, left_ms, &body).await? {
                Put::Stored(sequence) => Sending::Stored(sequence),
                Put::Conflict | Put::Unknown => Sending::Doubtful,
                Put::Full(_) => Sending::Full,
            })
        }
    })
}

/// Judges a message; `None` if its subject names no node.
async fn carried(wire: &Wire, stored: Stored) -> Result<Option<Carried>> {
    let Ok(Subject::Bus(node)) = Subject::parse(&stored.subject) else { return Ok(None) };
    let (sequence, body) = (stored.sequence, stored.body.clone());
    let mut opened = wire.open(stored.clone())?;
    if opened.as_ref().is_ok_and(|value| value.trust == Trust::UnknownKey) {
        // Its first card may not have been seen yet: that makes its key known.
        let card = Subject::State { node: node.clone(), item: Item::Card };
        wire.last(&card).await?;
        opened = wire.open(stored)?;
    }
    let (verified, left_ms, counter) = match opened {
        Ok(value) => {
            let left_ms = value.envelope.extra.get(LEFT).and_then(|text| text.parse().ok());
            let verified = match value.trust {
                Trust::Verified => Ok(()),
                other => Err(other.word().to_owned()),
            };
            (verified, left_ms, value.envelope.counter)
        }
        Err((_, dropped)) => (Err(dropped.to_string()), None, 0),
    };
    Ok(Some(Carried { sequence, node, verified, left_ms, counter, body }))
}
