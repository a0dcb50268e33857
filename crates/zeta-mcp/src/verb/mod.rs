//! What each tool does.

mod claim;
pub mod lease;
mod message;
mod overview;

use zeta_os::error::{Error, Kind, Result};
use zeta_state::context::Context;

use crate::answer::Answer;
use crate::tool::{Args, Tool};
use crate::worker::Worker;

/// Carries out a call of a tool that answers at once.
pub fn run(worker: &mut Worker, tool: &Tool, args: &Args) -> Result<Answer> {
    match tool.name {
        "status" => overview::status(worker, args),
        "release" => lease::release(worker, args),
        "check" => overview::check(worker, args),
        "claim" => claim::claim(worker, args),
        "unclaim" => claim::unclaim(worker, args),
        "send" => message::send(worker, args),
        "inbox" => message::inbox(worker),
        other => Err(Error::usage(format!("there is no tool {other:?}"))),
    }
}

/// Returns the caller, once it is known.
fn caller(worker: &Worker) -> Result<Context> {
    let agent = worker.agent.as_ref();
    agent.map(|agent| agent.ctx.clone()).ok_or_else(|| Error::new(Kind::Fault, "no agent is known"))
}
