//! Reads all values of a stream that fit a pattern: many with one request where the server can,
//! else one by one.

use futures_util::StreamExt as _;
use serde_json::json;
use tokio::time::timeout;

use crate::api::{Info, Stored, of_server};
use crate::connection::{Connection, TRY};
use crate::gate::Version;
use crate::trouble::Trouble;

type Result<T> = std::result::Result<T, Trouble>;

/// The first version that answers one request with many messages.
const HAS_BATCHES: Version = Version(2, 11, 0);
/// How many messages one request asks for: they wait here until they are taken.
const BATCH: usize = 256;
/// How many bytes: a server sends no more than a slow reader can take.
const BATCH_BYTES: u64 = 4 << 20;
/// Headers that the server adds to each message.
const SUBJECT: &str = "Nats-Subject";
const SEQUENCE: &str = "Nats-Sequence";
/// How many more fit the pattern; only servers that know batches say it.
const PENDING: &str = "Nats-Num-Pending";

/// The answer to one request.
enum Batch {
    /// These, and there may be more.
    Some(Vec<Stored>),
    /// There are none.
    None,
    /// The server that answered sends one message only, or not all of them came.
    Unusable,
}

impl Connection {
    /// Lists the messages whose subject fits the pattern, in the order of their sequences, up to
    /// what is the last one now: a peer that writes all the time would make the list endless.
    pub(crate) async fn list(&self, stream: &str, pattern: &str) -> Result<Vec<Stored>> {
        let info = self.info(stream).await?;
        let end = info.as_ref().map_or(0, |info| info.last_sequence);
        let mut in_batches = info.is_some_and(|info| self.has_batches(&info));
        let mut found: Vec<Stored> = Vec::new();
        let mut from = 0;
        loop {
            let more = match in_batches {
                true => match self.batch(stream, pattern, from).await? {
                    Batch::Some(more) => more,
                    Batch::None => return Ok(found),
                    Batch::Unusable => {
                        in_batches = false;
                        continue;
                    }
                },
                false => self.next(stream, pattern, from).await?.into_iter().collect(),
            };
            let Some(last) = more.last().map(|last| last.sequence) else { return Ok(found) };
            found.extend(more.into_iter().filter(|stored| stored.sequence <= end));
            if last >= end {
                return Ok(found);
            }
            from = last.saturating_add(1);
        }
    }

    /// Reports whether a batch is as new as an answer of the leader: any server with a replica
    /// sends it, so each must have all that the leader has.
    fn has_batches(&self, info: &Info) -> bool {
        let version = Version::parse(&self.server().1);
        version.is_some_and(|version| version >= HAS_BATCHES)
            && info.followers.iter().all(|follower| follower.current && follower.lag == 0)
    }

    async fn batch(&self, stream: &str, pattern: &str, from: u64) -> Result<Batch> {
        let subject = format!("{}.DIRECT.GET.{stream}", self.account().await?.api());
        let asked = json!({
            "seq": from, "next_by_subj": pattern, "batch": BATCH, "max_bytes": BATCH_BYTES,
        });
        let mut answers = self.ask_many(&subject, asked.to_string().as_bytes()).await?;
        let mut found = Vec::new();
        loop {
            let Ok(Some(message)) = timeout(TRY, answers.next()).await else {
                return Ok(Batch::Unusable);
            };
            match message.status.map(|status| status.as_u16()) {
                None => {}
                // The end of the batch, or of all that fit.
                Some(204) => return Ok(Batch::Some(found)),
                Some(404) => return Ok(Batch::None),
                Some(_) => return Ok(Batch::Unusable),
            }
            let Some(headers) = &message.headers else { return Ok(Batch::Unusable) };
            let subject = of_server(headers, SUBJECT).map(str::to_owned);
            let sequence = of_server(headers, SEQUENCE).and_then(|text| text.parse().ok());
            let is_batch = of_server(headers, PENDING).is_some();
            let (Some(subject), Some(sequence), true) = (subject, sequence, is_batch) else {
                return Ok(Batch::Unusable);
            };
            let all = headers.iter().flat_map(|(name, values)| {
                values.iter().map(move |value| (name.to_string(), value.as_str().to_owned()))
            });
            let headers = all.collect();
            found.push(Stored { subject, sequence, headers, body: message.payload.to_vec() });
        }
    }
}
