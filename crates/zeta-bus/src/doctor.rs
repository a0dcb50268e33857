//! Findings about the bus: who may use it, what in it is no message, and what would age it.

use zeta_os::error::{Kind, Result};
use zeta_os::users;
use zeta_state::context::Context;
use zeta_state::directory::purpose::{BUS, STATE};
use zeta_state::directory::trusted_dir::{self, Sharing};
use zeta_state::upkeep::doctor::{Diagnosis, Severity, ageing};

use crate::messages::{Filter, show};

/// Most findings about single messages.
const SHOWN_MAX: usize = 20;

/// Examines the caller's bus, and adds what it finds.
pub fn examine(ctx: &Context, diagnosis: &mut Diagnosis) {
    let dir = &ctx.bus_dir;
    diagnosis.fact("bus_dir", dir.display().to_string());
    if let Ok(Some(stat)) = trusted_dir::stat(dir) {
        let owner = users::user(stat.st_uid);
        diagnosis.fact("bus_owner", format!("{owner}, mode {:04o}", stat.st_mode & 0o7777));
        ageing::examine(dir, "bus_ageing", "messages and claims that still count, too", diagnosis);
    }
    match zeta_state::directory::open(dir, &BUS) {
        Err(error) => return diagnosis.add_error("bus", &error),
        Ok(bus) => shared(ctx, bus.map(|bus| bus.sharing), diagnosis),
    }
    if let Err(error) = messages(ctx, diagnosis) {
        match error.kind {
            Kind::Busy => diagnosis.add(
                Severity::Warning,
                "bus_index",
                error.text.clone(),
                error.hints.first().map_or("repeat it", |hint| hint.as_str()),
            ),
            _ => diagnosis.add_error("bus_index", &error),
        }
    }
    diagnosis.sort();
}

/// Reports a tree that a group shares beside a bus that it does not share.
fn shared(ctx: &Context, bus: Option<Sharing>, diagnosis: &mut Diagnosis) {
    let Ok(Some(tree)) = zeta_state::directory::open(&ctx.state_dir, &STATE) else { return };
    let Sharing::Group { gid } = tree.sharing else { return };
    let what = match bus {
        Some(Sharing::Group { .. }) => return,
        Some(Sharing::Private) => "is one user's alone",
        None => "does not exist",
    };
    let (bus, tree) = (ctx.bus_dir.display(), ctx.state_dir.display());
    diagnosis.add(
        Severity::Broken,
        "bus",
        format!(
            "{bus} {what}, and {tree} is shared by {}: its members cannot claim items",
            users::group(gid)
        ),
        "as root, with these directories: zeta init --group NAME (--replace: moves another aside)",
    );
}

/// Reads every message, through the index.
fn messages(ctx: &Context, diagnosis: &mut Diagnosis) -> Result<()> {
    show(&ctx.bus_dir, &Filter { expired: true, ..Filter::default() }, |rows, findings| {
        diagnosis.fact("bus_messages", rows.len().to_string());
        for error in findings.iter().take(SHOWN_MAX) {
            let hints: Vec<&str> = error.hints.iter().map(|hint| hint.as_str()).collect();
            let remedy = hints.join("; ");
            diagnosis.add(Severity::Warning, "bus_message", error.text.clone(), remedy);
        }
        if let Some(more) = findings.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
            let reason = format!("{more} more files of the bus are wrong");
            diagnosis.add(Severity::Warning, "bus_message", reason, "see them all: zeta bus list");
        }
        Ok(())
    })
}
