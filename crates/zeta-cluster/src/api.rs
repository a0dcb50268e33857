//! JetStream's own requests: JSON below `$JS.API`, and messages that a stream acknowledges.

use std::time::Instant;

use async_nats::{HeaderMap, HeaderValue, Message};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::sleep;
use zeta_core::time::parse_utc;
use zeta_os::host::wall_us;

use crate::account::Account;
use crate::connection::{Connection, DEADLINE, LOOK};
use crate::trouble::Trouble;

type Result<T> = std::result::Result<T, Trouble>;

/// The header with the last sequence that a writer expects.
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
/// The header with the subjects, by a pattern, that the expected sequence is about; from 2.11 on.
const EXPECTED_ON: &str = "Nats-Expected-Last-Subject-Sequence-Subject";

/// The header with the server's time at which a message was stored. It stands behind those of the
/// writer, who may have written the same name.
const STORED_AT: &str = "Nats-Time-Stamp";

/// A message as its stream keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its subject.
    pub subject: String,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// Its headers, as the writer and the server set them.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Stored {
    /// When the server stored it, by its clock, in µs.
    pub(crate) fn stored_us(&self) -> Option<i64> {
        let (_, time) = self.headers.iter().rfind(|(name, _)| name == STORED_AT)?;
        parse_utc(time).ok()
    }
}

/// A message to be stored.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// Its subject.
    pub subject: &'a str,
    /// The sequence of the last message, 0 if there must be none; `None` asks for nothing.
    pub expected: Option<u64>,
    /// Subjects that the expected sequence is about, by a pattern; `None` is the subject itself.
    /// A server before 2.11 ignores it: see [`crate::gate::Proof`].
    pub expected_on: Option<&'a str>,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// Its body.
    pub body: &'a [u8],
}

/// What a stream is, as its leader says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Info {
    /// All settings that the server knows.
    pub(crate) config: Value,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) last_sequence: u64,
    /// When it was made, in the words of the server.
    pub(crate) created: String,
    /// The clock of the server (2.10 and later), in the same form.
    pub(crate) server_time: Option<String>,
    /// When the server took its last value, in µs.
    pub(crate) last_us: Option<i64>,
    /// It is led by a vote. A server before 2.11 that is alone does not say its name here.
    pub(crate) is_clustered: bool,
    /// The server that leads it.
    pub(crate) leader: Option<String>,
    /// The other servers that keep it.
    pub(crate) followers: Vec<Follower>,
}

/// A server that keeps a stream and does not lead it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    /// Its name.
    pub name: String,
    /// It has all that the leader has, and answers.
    pub current: bool,
    /// How many operations it lacks.
    pub lag: u64,
}

impl Info {
    /// How many servers keep it.
    pub(crate) fn replicas(&self) -> u64 {
        number(&self.config, "num_replicas").max(1)
    }

    /// Reports whether a server takes writes for it.
    pub(crate) fn is_led(&self) -> bool {
        self.leader.is_some() || !self.is_clustered
    }

    /// The clock of the server, in µs.
    pub(crate) fn server_us(&self) -> Option<i64> {
        parse_utc(self.server_time.as_deref()?).ok()
    }

    /// The clock of the server, in µs, as these streams say it. Servers before 2.10 only say when
    /// they took something; then the clock of this machine counts, if it is not behind that.
    pub(crate) fn clock_us<'i>(infos: impl Iterator<Item = &'i Info> + Clone) -> i64 {
        let time = infos.clone().find_map(Info::server_us);
        time.unwrap_or_else(|| infos.filter_map(|info| info.last_us).fold(wall_us(), i64::max))
    }

    /// How many bytes it may have.
    pub(crate) fn max_bytes(&self) -> u64 {
        number(&self.config, "max_bytes")
    }

    pub(crate) fn of(answer: &Value) -> Info {
        let state = answer.get("state").unwrap_or(&Value::Null);
        let cluster = answer.get("cluster");
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let leader = cluster.and_then(|cluster| text(cluster.get("leader")));
        let followers = cluster.and_then(|cluster| cluster.get("replicas")?.as_array());
        let follower = |one: &Value| Follower {
            name: text(one.get("name")).unwrap_or_default(),
            current: one.get("current") == Some(&Value::Bool(true))
                && one.get("offline") != Some(&Value::Bool(true)),
            lag: number(one, "lag"),
        };
        Info {
            config: answer.get("config").cloned().unwrap_or_default(),
            messages: number(state, "messages"),
            bytes: number(state, "bytes"),
            last_sequence: number(state, "last_seq"),
            created: text(answer.get("created")).unwrap_or_default(),
            server_time: text(answer.get("ts")),
            last_us: text(state.get("last_ts")).and_then(|time| parse_utc(&time).ok()),
            is_clustered: cluster.is_some(),
            leader: leader.filter(|name| !name.is_empty()),
            followers: followers.into_iter().flatten().map(follower).collect(),
        }
    }
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

impl Connection {
    /// Finds out in whose account this login is, once for each connection.
    pub(crate) async fn account(&self) -> Result<Account> {
        self.account.get_or_try_init(|| self.find_account()).await.copied()
    }

    async fn find_account(&self) -> Result<Account> {
        let info = |account: Account| async move {
            parse(&self.ask(&format!("{}.INFO", account.api()), b"").await?)
        };
        let trouble = match info(Account::Store).await {
            Ok(_) => return Ok(Account::Store),
            Err(trouble @ Trouble::Unknown(_)) => return Err(trouble),
            Err(trouble) => trouble,
        };
        match info(Account::Node).await {
            Ok(_) => Ok(Account::Node),
            // Neither is there, and the usual subject says why.
            Err(_) => Err(trouble),
        }
    }

    /// Asks JetStream for something that changes nothing, as in `STREAM.INFO.NAME`.
    pub(crate) async fn read(&self, verb: &str, body: &Value) -> Result<Value> {
        let subject = format!("{}.{verb}", self.account().await?.api());
        parse(&self.ask(&subject, text(body).as_bytes()).await?)
    }

    /// Has JetStream change something, as in `STREAM.DELETE.NAME`.
    pub(crate) async fn change(&self, verb: &str, body: &Value) -> Result<Value> {
        let subject = format!("{}.{verb}", self.account().await?.api());
        parse(&self.request(&subject, &[], text(body).as_bytes()).await?)
    }

    /// Returns what a stream is; `None` if there is none.
    pub(crate) async fn info(&self, stream: &str) -> Result<Option<Info>> {
        match self.read(&format!("STREAM.INFO.{stream}"), &Value::Null).await {
            Ok(answer) => Ok(Some(Info::of(&answer))),
            Err(trouble) if trouble.is(Trouble::NO_STREAM) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Returns the subjects of a stream that fit a pattern, in one answer.
    pub(crate) async fn subjects(&self, stream: &str, pattern: &str) -> Result<Vec<String>> {
        let body = json!({ "subjects_filter": pattern });
        let answer = self.read(&format!("STREAM.INFO.{stream}"), &body).await?;
        let subjects = answer.get("state").and_then(|state| state.get("subjects")?.as_object());
        Ok(subjects.into_iter().flat_map(|subjects| subjects.keys().cloned()).collect())
    }

    /// Creates a stream, or finds it with exactly these settings.
    pub(crate) async fn create(&self, name: &str, config: &Value) -> Result<Info> {
        Ok(Info::of(&self.change(&format!("STREAM.CREATE.{name}"), config).await?))
    }

    /// Reads the last message of a subject from the stream's leader: other servers may lag, and
    /// even its own answer may be old when it was cut off.
    pub(crate) async fn last(&self, stream: &str, subject: &str) -> Result<Option<Stored>> {
        self.message(stream, &json!({ "last_by_subj": subject })).await
    }

    /// Reads the first message from a sequence on whose subject fits the pattern.
    pub(crate) async fn next(
        &self,
        stream: &str,
        pattern: &str,
        sequence: u64,
    ) -> Result<Option<Stored>> {
        self.message(stream, &json!({ "seq": sequence, "next_by_subj": pattern })).await
    }

    async fn message(&self, stream: &str, body: &Value) -> Result<Option<Stored>> {
        let answer = match self.read(&format!("STREAM.MSG.GET.{stream}"), body).await {
            Err(trouble) if trouble.is(Trouble::NO_MESSAGE) => return Ok(None),
            answer => answer?,
        };
        let message = answer.get("message").unwrap_or(&Value::Null);
        let bytes = |key| {
            let text = message.get(key).and_then(Value::as_str).unwrap_or_default();
            let bytes = STANDARD.decode(text);
            bytes.map_err(|error| Trouble::Unknown(format!("a broken answer: {error}")))
        };
        let subject = message.get("subject").and_then(Value::as_str).unwrap_or_default();
        let mut headers = headers_of(&bytes("hdrs")?);
        if let Some(time) = message.get("time").and_then(Value::as_str) {
            headers.push((STORED_AT.to_owned(), time.to_owned()));
        }
        Ok(Some(Stored {
            subject: subject.to_owned(),
            sequence: number(message, "seq"),
            headers,
            body: bytes("data")?,
        }))
    }

    /// Removes one message of a stream; false if it was not there any more.
    pub(crate) async fn remove(&self, stream: &str, sequence: u64) -> Result<bool> {
        let body = json!({ "seq": sequence, "no_erase": true });
        match self.change(&format!("STREAM.MSG.DELETE.{stream}"), &body).await {
            Ok(_) => Ok(true),
            // Servers have several numbers for it, and one of them is also for other faults.
            Err(trouble @ Trouble::Refused { .. }) => {
                match self.message(stream, &json!({ "seq": sequence })).await? {
                    None => Ok(false),
                    Some(_) => Err(trouble),
                }
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Sends a message to its stream and returns the sequence that it got.
    pub(crate) async fn publish(&self, write: Write<'_>) -> Result<u64> {
        let expected = write.expected.map(|number| number.to_string());
        let mut headers = write.headers.to_vec();
        headers.extend(expected.as_deref().map(|number| (EXPECTED, number)));
        headers.extend(write.expected_on.map(|pattern| (EXPECTED_ON, pattern)));
        let answer = parse(&self.request(write.subject, &headers, write.body).await?)?;
        match answer.get("seq").and_then(Value::as_u64) {
            Some(sequence) => Ok(sequence),
            None => Err(Trouble::Unknown("the answer has no sequence".to_owned())),
        }
    }

    /// As [`Connection::publish`], to a stream that was just made: until all servers know of it,
    /// some say that nothing listens, and have done nothing.
    pub(crate) async fn publish_to_new(&self, write: Write<'_>) -> Result<u64> {
        let begun = Instant::now();
        loop {
            match self.publish(write).await {
                Err(Trouble::NoResponders(_)) if begun.elapsed() < DEADLINE => sleep(LOOK).await,
                published => return published,
            }
        }
    }
}

/// A header that the server adds. It stands behind those of the writer, who may have written the
/// same name.
pub(crate) fn of_server<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_last(name).map(HeaderValue::as_str)
}

/// Reads headers as the protocol of NATS writes them: a first line, then `Name: value` lines.
fn headers_of(bytes: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

fn text(body: &Value) -> String {
    if body.is_null() { String::new() } else { body.to_string() }
}

fn parse(message: &Message) -> Result<Value> {
    let answer: Value = serde_json::from_slice(&message.payload)
        .map_err(|error| Trouble::Unknown(format!("the answer is no JSON: {error}")))?;
    let Some(error) = answer.get("error") else { return Ok(answer) };
    let text = error.get("description").and_then(Value::as_str).unwrap_or("no reason given");
    Err(Trouble::Refused { code: number(error, "err_code"), text: text.to_owned() })
}
