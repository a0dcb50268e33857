//! One connection to a server: each request has its own deadline, and ends as an answer, as a
//! refusal, or as *unknown*.
//!
//! The connection is never made again behind the caller: a request that waited for that would be
//! carried out after its caller was gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::{
    Client, ConnectError, ConnectErrorKind, Event, HeaderMap, Message, Request, RequestErrorKind,
    ServerError, Subscriber, rustls,
};
use tokio::sync::{OnceCell, watch};
use tokio::time::{sleep, timeout};
use zeta_os::error::{Cause, Error, Kind, Result};

use crate::account::Account;
use crate::login;
use crate::setting::{Servers, Setting};
use crate::trouble::Trouble;

/// How long one server may take to answer a new connection.
const CONNECT: Duration = Duration::from_secs(2);
/// How long all of them may take together, with their names.
pub(crate) const CONNECT_ALL: Duration = Duration::from_secs(8);
/// How long a request may take: an election takes up to nine seconds.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
/// The time between two looks at servers that are agreeing on something.
pub(crate) const LOOK: Duration = Duration::from_millis(50);
/// How long a question waits before it is asked again.
pub(crate) const TRY: Duration = Duration::from_secs(1);
/// After this delay the client would connect again; no call lives as long.
const NEVER: Duration = Duration::from_secs(86_400);
/// Most messages of a subscription that wait here. What is more is dropped, and is a gap in the
/// feed: a flood costs a reading of everything, and not the memory of this machine.
const KEPT_MAX: usize = 4096;
/// Most subjects that are remembered as forbidden.
const FORBIDDEN_MAX: usize = 64;

/// What the server said apart from answers.
#[derive(Debug, Default)]
struct News {
    /// The texts of violations of permissions.
    violations: Vec<String>,
    ended: bool,
}

impl News {
    fn add(&mut self, event: Event) {
        match event {
            Event::Disconnected | Event::Closed => self.ended = true,
            Event::ServerError(ServerError::Other(text))
                if is_violation(&text) && self.violations.len() < FORBIDDEN_MAX =>
            {
                self.violations.push(text);
            }
            _ => {}
        }
    }

    /// Returns why a request on this subject will get no answer.
    fn verdict(&self, subject: &str) -> Option<Trouble> {
        let quoted = format!("\"{subject}\"");
        // Without its inbox a caller gets no answers at all.
        let concerns = |text: &&String| text.contains(&quoted) || text.contains("\"_INBOX.");
        match self.violations.iter().find(concerns) {
            Some(text) => Some(Trouble::Forbidden(text.clone())),
            None if self.ended => Some(Trouble::Unknown("the connection ended".to_owned())),
            None => None,
        }
    }
}

fn is_violation(text: &str) -> bool {
    text.to_ascii_lowercase().starts_with("permissions violation")
}

/// A connection; its copies share it.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    client: Client,
    news: watch::Receiver<News>,
    setting: Setting,
    /// Found out by the first question to JetStream.
    pub(crate) account: Arc<OnceCell<Account>>,
}

impl Connection {
    /// Connects to the first server that answers.
    pub(crate) async fn open(setting: &Setting) -> Result<Connection> {
        Connection::open_within(setting, CONNECT_ALL).await
    }

    /// As [`Connection::open`], with a limit.
    pub(crate) async fn open_within(setting: &Setting, limit: Duration) -> Result<Connection> {
        let (tell, news) = watch::channel(News::default());
        let connected = Arc::new(AtomicBool::new(false));
        let is_connected = Arc::clone(&connected);
        let delay =
            move |_| if is_connected.load(Ordering::Relaxed) { NEVER } else { Duration::ZERO };
        let options = login::options(setting)?
            .name("zeta")
            .connection_timeout(CONNECT)
            .ping_interval(Duration::from_secs(5))
            .request_timeout(None)
            .subscription_capacity(KEPT_MAX)
            .ignore_discovered_servers()
            .retain_servers_order()
            .reconnect_delay_callback(delay)
            .event_callback(move |event| {
                tell.send_modify(|news| news.add(event));
                std::future::ready(())
            });
        let opened = timeout(limit.min(CONNECT_ALL), options.connect(setting.servers.list()));
        let client = match opened.await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(not_connected(&setting.servers, &error)),
            Err(_) => return Err(not_reached(&setting.servers, "it did not answer in time")),
        };
        connected.store(true, Ordering::Relaxed);
        Ok(Connection { client, news, setting: setting.clone(), account: Arc::default() })
    }

    /// Makes another connection. They begin with the servers in turn.
    pub(crate) async fn another(&self, at: usize) -> Result<Connection> {
        let setting = self.setting.clone();
        let servers = setting.servers.beginning_with(at);
        Connection::open(&Setting { servers, ..setting }).await
    }

    /// The addresses that were given.
    pub(crate) fn servers(&self) -> &Servers {
        &self.setting.servers
    }

    /// The name and the version of the server that answers.
    pub(crate) fn server(&self) -> (String, String) {
        let info = self.client.server_info();
        (info.server_name, info.version)
    }

    /// The name of the server that answers, for people. One that was given none has its id there,
    /// which says nothing: then it is the address.
    pub(crate) fn shown_server(&self) -> String {
        let info = self.client.server_info();
        match info.server_name.is_empty() || info.server_name == info.server_id {
            true => self.servers().to_string(),
            false => info.server_name,
        }
    }

    /// Subscribes to a pattern.
    pub(crate) async fn subscribe(
        &self,
        pattern: String,
    ) -> std::result::Result<Subscriber, Trouble> {
        let subscribed = self.client.subscribe(pattern).await;
        subscribed.map_err(|error| Trouble::NotSent(error.to_string()))
    }

    /// Waits until the connection has ended.
    pub(crate) async fn ended(&self) {
        let mut news = self.news.clone();
        let _ = news.wait_for(|news| news.ended).await;
    }

    /// Sends a request that may change something, and waits for its answer.
    pub(crate) async fn request(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::result::Result<Message, Trouble> {
        self.send(subject, headers, body, DEADLINE).await?.ok_or_else(|| late(DEADLINE))
    }

    /// Sends a request that changes nothing, again and again until it is answered: servers that are
    /// electing a leader drop it in silence.
    pub(crate) async fn ask(
        &self,
        subject: &str,
        body: &[u8],
    ) -> std::result::Result<Message, Trouble> {
        let begun = Instant::now();
        while begun.elapsed() < DEADLINE {
            if let Some(answer) = self.send(subject, &[], body, TRY).await? {
                return Ok(answer);
            }
        }
        Err(late(DEADLINE))
    }

    /// Sends a request and returns its answer; `None` if none came within the limit.
    async fn send(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        limit: Duration,
    ) -> std::result::Result<Option<Message>, Trouble> {
        let mut request = Request::new().payload(body.to_vec().into()).timeout(None);
        if !headers.is_empty() {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, *value);
            }
            request = request.headers(map);
        }
        tokio::select! {
            biased;
            answer = self.client.send_request(subject.to_owned(), request) => {
                answer.map(Some).map_err(|error| match error.kind() {
                    RequestErrorKind::NoResponders => Trouble::NoResponders(subject.to_owned()),
                    RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                        Trouble::NotSent(error.to_string())
                    }
                    _ => Trouble::Unknown(error.to_string()),
                })
            }
            trouble = self.trouble(subject) => Err(trouble),
            () = sleep(limit) => Ok(None),
        }
    }

    /// Sends a request that changes nothing, and returns its answers as they come.
    pub(crate) async fn ask_many(
        &self,
        subject: &str,
        body: &[u8],
    ) -> std::result::Result<Subscriber, Trouble> {
        let unknown = |error: &dyn std::fmt::Display| Trouble::Unknown(error.to_string());
        let inbox = self.client.new_inbox();
        let answers = self.client.subscribe(inbox.clone()).await.map_err(|e| unknown(&e))?;
        let body = body.to_vec().into();
        let sent = self.client.publish_with_reply(subject.to_owned(), inbox, body).await;
        sent.map_err(|error| unknown(&error))?;
        Ok(answers)
    }

    /// Subscribes to a subject. When this returns, the server knows it.
    pub(crate) async fn follow(&self, subject: String) -> std::result::Result<Subscriber, Trouble> {
        let unknown = |error: &dyn std::fmt::Display| Trouble::Unknown(error.to_string());
        let feed = self.client.subscribe(subject.clone()).await.map_err(|e| unknown(&e))?;
        tokio::select! {
            flushed = timeout(DEADLINE, self.client.flush()) => match flushed {
                Ok(Ok(())) => Ok(feed),
                Ok(Err(error)) => Err(unknown(&error)),
                Err(_) => Err(late(DEADLINE)),
            },
            trouble = self.trouble(&subject) => Err(trouble),
        }
    }

    /// Waits until it is known that a request on this subject gets no answer.
    async fn trouble(&self, subject: &str) -> Trouble {
        let mut news = self.news.clone();
        loop {
            if let Some(trouble) = news.borrow_and_update().verdict(subject) {
                return trouble;
            }
            if news.changed().await.is_err() {
                return Trouble::Unknown("the connection ended".to_owned());
            }
        }
    }
}

pub(crate) fn late(limit: Duration) -> Trouble {
    Trouble::Unknown(format!("no answer in {:.1} s", limit.as_secs_f64()))
}

fn not_connected(servers: &Servers, error: &ConnectError) -> Error {
    let reason = std::error::Error::source(error).map(ToString::to_string);
    let reason = reason.unwrap_or_else(|| error.to_string());
    let wrong = |text: String| Error::new(Kind::Unsafe, text);
    if let Some(reason) = broken_tls(error) {
        return wrong(format!("no TLS with the NATS server at {servers}: {reason}")).hint(
            "certificates that are trusted: --ca or cluster_ca; that of this client: --cert and \
             --key, or cluster_cert and cluster_key",
        );
    }
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            let text = format!("the NATS server at {servers} refuses the login: {reason}");
            wrong(text)
                .with_cause(Cause::LoginRefused)
                .hint("name the file with the login: --credentials, or cluster_credentials")
        }
        ConnectErrorKind::ServerParse => wrong(format!("{servers} is no address: {reason}")),
        _ if is_foreign(error) => {
            wrong(format!("what answers at {servers} is no NATS server: {reason}"))
                .hint("give the address of its port for clients: --server, or cluster_server")
        }
        _ => not_reached(servers, &reason),
    }
}

/// Returns why TLS failed, if it did. A server refuses a client's certificate after the client
/// believes that all is well, so the reason may stand below an error of reading.
fn broken_tls(error: &ConnectError) -> Option<String> {
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let found = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(found) = found.or_else(|| error.downcast_ref::<rustls::Error>()) {
            return Some(found.to_string());
        }
        next = error.source();
    }
    let is_tls = error.kind() == ConnectErrorKind::Tls;
    is_tls.then(|| std::error::Error::source(error).map_or(error.to_string(), |e| e.to_string()))
}

/// Reports whether the other end spoke another protocol.
fn is_foreign(error: &ConnectError) -> bool {
    let source =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|error| {
        matches!(error.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData)
    })
}

fn not_reached(servers: &Servers, reason: &str) -> Error {
    Error::new(Kind::Busy, format!("the NATS server at {servers} is not reached: {reason}"))
        .hint("see whether it runs, and whether --server or cluster_server names it rightly")
        .hint("what is on this machine goes on without it")
}
