//! A server of the Model Context Protocol on standard input and output: eight tools by which a
//! model sees the other agents, acquires leases, claims work and leaves messages.
//!
//! - [`tool`]: the tools as a client lists them, and the check of their arguments.
//! - `server`: the protocol, of both eras; the only async code.
//! - `worker`: one thread that carries out the calls in order, and renews what the agent holds.
//! - `agent`: the session that the calls belong to; `holding`: what it holds.
//! - `verb`: what each tool does. `waiting`: a place in the line of a lease, kept between calls.
//! - `given`: what the last answers gave, until it is sure that the client took them.
//! - `transport`: which answers were written. `ending`: the ends of the client, which end this
//!   process at once.
#![forbid(unsafe_code)]

mod agent;
mod answer;
mod ending;
mod given;
mod holding;
mod news;
mod server;
pub mod tool;
mod transport;
mod verb;
mod waiting;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use rmcp::ServiceExt;
use rmcp::service::ServerInitializeError;
use rmcp::transport::async_rw::AsyncRwTransport;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::signal::Signals;
use zeta_state::context::Context;

/// Who is served, and about which tree.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The caller, as options, environment and files name it.
    pub ctx: Context,
    /// The name of the agent was given in the call itself.
    pub name_given: bool,
    /// The default TTL of a lease, in ms.
    pub ttl_ms: u64,
    /// Leases are those of the cluster where a call does not say it.
    pub leases_in_cluster: bool,
    /// So are claims of items.
    pub claims_in_cluster: bool,
    /// The directory from which relative paths are meant.
    pub cwd: PathBuf,
}

/// Serves one client until it ends. What is held by the session of an agent tool stays with that;
/// everything else is released.
///
/// # Errors
/// The client's first message was no request.
pub fn serve(setting: Setting) -> Result<()> {
    let fault = |error: std::io::Error| {
        Error::new(Kind::Fault, format!("the server cannot be started: {error}"))
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fault)?;
    // Before the threads, which inherit it.
    let signals = Signals::take_over()?;
    let ctx = setting.ctx.clone();
    let (worker, thread) = worker::start(setting).map_err(fault)?;
    let end = Arc::new(ending::End::new(worker.clone()));
    ending::watch(worker.clone(), signals);
    let served = runtime.block_on(async {
        let (reader, writer) = rmcp::transport::stdio_pipes();
        let reader = ending::EndReader::new(reader, end.clone());
        let server = server::Server::new(worker.clone(), end.clone(), ctx);
        let lines = AsyncRwTransport::new_server(reader, writer);
        match server.serve(transport::Reporting::new(lines, worker.clone())).await {
            Ok(running) => running.waiting().await.map(|_| ()).map_err(|error| {
                Error::new(Kind::Fault, format!("the server has failed: {error}"))
            }),
            Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            Err(ServerInitializeError::ExpectedInitializeRequest(_)) => {
                Err(Error::usage("the first message of the client was no request")
                    .hint("a client of the Model Context Protocol starts this program"))
            }
            // The client learns it by the answer; it may have gone before.
            Err(error) => Err(Error::new(Kind::Fault, error.to_string())),
        }
    });
    worker.end();
    let _ = thread.join();
    // A thread may be reading from a stdin that no process closes.
    runtime.shutdown_background();
    served
}
