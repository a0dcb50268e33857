//! What a request is answered.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use zeta_core::web::{self, Refusal, Route, Secrets, Verdict, cookie_name, judge_request};
use zeta_os::host::random_hex;

use crate::body::Body;
use crate::browser::Opened;
use crate::feed::Feed;
use crate::page;

/// What all connections share.
pub struct Site {
    hosts: Vec<String>,
    secrets: Secrets,
    feed: Arc<Feed>,
    /// The file that leads the browser here; it goes when the browser has come.
    opened: Mutex<Option<Opened>>,
}

impl Site {
    /// Makes a site.
    pub fn new(
        hosts: Vec<String>,
        secrets: Secrets,
        feed: Arc<Feed>,
        opened: Option<Opened>,
    ) -> Site {
        Site { hosts, secrets, feed, opened: Mutex::new(opened) }
    }

    /// Answers a request. Sets `has_key` if it had the token or the cookie.
    pub async fn answer(
        &self,
        request: Request<Incoming>,
        has_key: &AtomicBool,
    ) -> Result<Response<Body>, Infallible> {
        let Ok(nonce) = random_hex() else {
            let text = "zeta: the system gives no random number\n";
            return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, text));
        };
        let verdict = self.judge(&request);
        let mut response = match verdict {
            Verdict::Refuse(refusal) => refuse(refusal),
            Verdict::Serve { route, .. } => {
                has_key.store(true, Ordering::Relaxed);
                self.serve(route, &nonce, request.method() == Method::HEAD).await
            }
        };
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(name, value);
            }
        };
        for (name, value) in web::headers(&nonce) {
            set(HeaderName::from_static(name), &value);
        }
        if let Verdict::Serve { cookie_of: Some(port), .. } = verdict {
            let (name, value) = (cookie_name(port), &self.secrets.cookie);
            let path = self.base();
            let cookie = format!("{name}={value}; HttpOnly; SameSite=Strict; Path={path}");
            set(header::SET_COOKIE, &cookie);
            self.opened.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        Ok(response)
    }

    /// The path below which the page lives.
    fn base(&self) -> String {
        format!("/{}/", self.secrets.path)
    }

    /// Ends all streams.
    pub fn end(&self) {
        self.feed.end();
    }

    fn judge<'a>(&self, request: &'a Request<Incoming>) -> Verdict<'a> {
        let uri = request.uri();
        let all = |name: HeaderName| -> Vec<&[u8]> {
            request.headers().get_all(name).iter().map(HeaderValue::as_bytes).collect()
        };
        let has = |name| request.headers().contains_key(name);
        let asked = web::Request {
            method: request.method().as_str(),
            is_path: uri.scheme().is_none() && uri.authority().is_none(),
            path: uri.path(),
            query: uri.query(),
            // Two lengths are how a second request hides in the first.
            has_body: !request.body().is_end_stream()
                || has(header::TRANSFER_ENCODING)
                || all(header::CONTENT_LENGTH).iter().any(|length| *length != b"0"),
            hosts: all(header::HOST),
            origins: all(header::ORIGIN),
            fetch_sites: all(HeaderName::from_static("sec-fetch-site")),
            cookies: all(header::COOKIE),
        };
        judge_request(&asked, &self.hosts, &self.secrets, |name| page::file(name).is_some())
    }

    async fn serve(&self, route: Route<'_>, nonce: &str, is_head: bool) -> Response<Body> {
        match route {
            Route::Page => {
                of_type("text/html; charset=utf-8", page::index(nonce, &self.base()).into())
            }
            Route::File(name) => {
                let content = page::file(name).unwrap_or_default();
                of_type(page::media_type(name), content.into())
            }
            Route::Events if is_head => of_type(EVENTS, "".into()),
            Route::Overview if is_head => of_type(JSON, "".into()),
            Route::Events => {
                let body = Body::events(self.feed.reader());
                let mut response = Response::new(body);
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENTS));
                response
            }
            Route::Overview => match self.feed.reader().whole().await {
                Some(whole) => of_type(JSON, whole.into()),
                None => plain(StatusCode::SERVICE_UNAVAILABLE, "zeta: the page ends\n"),
            },
        }
    }
}

const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";

fn refuse(refusal: Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::FORBIDDEN);
    let mut response = plain(status, refusal.text());
    let headers = response.headers_mut();
    // What may follow on this connection is not looked at.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if refusal == Refusal::Method {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = of_type("text/plain; charset=utf-8", text.into());
    *response.status_mut() = status;
    response
}

fn of_type(media: &'static str, content: hyper::body::Bytes) -> Response<Body> {
    let mut response = Response::new(Body::whole(content));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}
