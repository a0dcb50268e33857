//! `zeta web`: one page that shows what agents do, to one person, read-only.
//!
//! - `server`: accepts connections within limits, until a signal ends it.
//! - `answer`: what a request is answered; `zeta_core::web` judges it before.
//! - `feed`: one thread that follows the state while a page is open, and what each page is sent.
//! - `body`: the body of an answer. `stall`: a client that does not read any more.
//! - `page`: the files of the page. `browser`: opens it.
#![forbid(unsafe_code)]

mod answer;
mod body;
mod browser;
mod feed;
mod page;
mod server;
mod source;
mod stall;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

use zeta_core::web::{ListenError, Secrets, decide_hosts, host_of};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host::random_hex;
use zeta_os::signal::Signals;
use zeta_state::context::Context;

/// What is shown, and where.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The caller, and the tree.
    pub ctx: Context,
    /// The address to listen on.
    pub address: IpAddr,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// An address that other machines reach is meant.
    pub allow_remote: bool,
    /// Further values of the header `Host` that are served.
    pub hosts: Vec<String>,
}

/// A page that listens, and is not served yet.
pub struct Page {
    listener: TcpListener,
    address: SocketAddr,
    hosts: Vec<String>,
    secrets: Secrets,
    ctx: Context,
    signals: Signals,
}

impl Page {
    /// Begins to listen.
    ///
    /// # Errors
    /// The address is not allowed or not there, the port is taken, a host is none.
    pub fn listen(setting: Setting) -> Result<Page> {
        let Setting { ctx, address, port, allow_remote, hosts: named } = setting;
        for host in &named {
            zeta_core::web::check_host(host).map_err(|rule| {
                Error::usage(format!("--host {host:?} is not valid: {rule}"))
                    .hint("give what the browser shows between http:// and the path")
            })?;
        }
        // Before the port is known, so that nothing listens where it must not.
        decide_hosts(address, port, allow_remote, &named).map_err(|why| refused(address, &why))?;
        let listener = TcpListener::bind(SocketAddr::new(address, port))
            .map_err(|error| cannot_listen(address, port, &error))?;
        let address = listener.local_addr().map_err(|error| fault(&error))?;
        let hosts = decide_hosts(address.ip(), address.port(), allow_remote, &named)
            .map_err(|why| refused(address.ip(), &why))?;
        // Before anything is printed, and before the threads, which inherit it.
        let signals = Signals::take_over()?;
        let (token, path, cookie) = (random_hex()?, random_hex()?, random_hex()?);
        let secrets = Secrets { token, path, cookie };
        Ok(Page { listener, address, hosts, secrets, ctx, signals })
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the page, with its token: who has it sees the page.
    pub fn url(&self) -> String {
        // The address of all addresses is none that a browser calls.
        let host = match self.address.ip().is_unspecified() {
            true => format!("127.0.0.1:{}", self.address.port()),
            false => host_of(self.address.ip(), self.address.port()),
        };
        format!("http://{host}/?t={}", self.secrets.token)
    }

    /// Shows the page in the browser of the person; `Err` says why not.
    ///
    /// # Errors
    /// There is no screen or no browser, or the caller is root.
    pub fn open(&self) -> Result<Opened> {
        browser::open(&self.url(), &self.signals)
    }

    /// Serves the page until a signal ends this process.
    ///
    /// # Errors
    /// It cannot be served.
    pub fn serve(self, opened: Option<Opened>) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| fault(&error))?;
        let Page { listener, hosts, secrets, ctx, signals, .. } = self;
        let feed =
            feed::Feed::start(move || source::Source::open(&ctx)).map_err(|error| fault(&error))?;
        let site = Arc::new(answer::Site::new(hosts, secrets, feed.clone(), opened));
        let served = runtime.block_on(server::run(listener, &site, signals));
        feed.end();
        served.map_err(|error| fault(&error))
    }
}

pub use browser::Opened;

fn fault(error: &std::io::Error) -> Error {
    Error::new(Kind::Fault, format!("the page cannot be served: {error}"))
}

fn refused(address: IpAddr, why: &ListenError) -> Error {
    let error = Error::new(Kind::Refused, format!("--address {address}: {why}"));
    match why {
        ListenError::Remote(_) => error
            .hint("from another machine: ssh -L 9000:127.0.0.1:PORT, with --host localhost:9000")
            .hint("if they shall reach it all the same: --allow-remote"),
        ListenError::Nameless(_) => {
            error.hint("name it as the browser shows it: --host box.lan:8080")
        }
    }
}

fn cannot_listen(address: IpAddr, port: u16, error: &std::io::Error) -> Error {
    let text = format!("cannot listen on {}: {error}", host_of(address, port));
    let failed = Error::new(Kind::Fault, text);
    match error.kind() {
        std::io::ErrorKind::AddrInUse => failed.hint("leave --port away: a free one is taken"),
        std::io::ErrorKind::PermissionDenied => {
            failed.hint("ports below 1024 are root's: give another --port")
        }
        std::io::ErrorKind::AddrNotAvailable => {
            failed.hint("see the addresses of this machine: ip address")
        }
        _ => failed,
    }
}
