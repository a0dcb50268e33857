//! `zeta guide`: how an agent uses zeta, and who the caller is: its name, its mail, what it holds
//! and which agents are here.

use clap::Command;
use zeta_core::bus::grant::{ClaimRecord, is_handed_over};
use zeta_core::hook::cut;
use zeta_core::json::Object;
use zeta_core::lease::{Observed, Record, Standing};
use zeta_core::pattern::PathClaim;
use zeta_core::record::quote;

use super::{Call, Noun};
use zeta_bus::claim::paths::report;
use zeta_bus::messages::inbox;
use zeta_os::error::Result;
use zeta_state::context::Context;
use zeta_state::lease::space::Space;
use zeta_state::presence::tool_session::living;

pub(super) const NOUN: Noun = Noun {
    name: "guide",
    about: "Print how to use zeta, for an agent's CLAUDE.md or AGENTS.md, and who you are",
    build,
    verbs: &[],
    run,
};

const TEXT: &str = include_str!("guide.txt");
/// Most characters of a line about the caller.
const LINE_MAX: usize = 400;

fn build(verb: Command) -> Command {
    verb.after_help(
        "\
An agent that has a name also reads, on standard error, that name, how many messages wait for it,
what it holds, and which agents are here. So the guide can be appended to a file.

Examples:
  zeta guide
  zeta guide >> CLAUDE.md",
    )
}

fn run(call: &Call) -> Result<u8> {
    // The guide is there also where no state directory can be used.
    let caller = call.context().ok().filter(|ctx| ctx.agent_named).map(|ctx| Caller::find(&ctx));
    if let Some(caller) = caller.as_ref().filter(|_| !call.out.json) {
        call.out.note(&caller.text());
    }
    let object = || {
        let mut object = Object::new();
        object.text("guide", TEXT);
        if let Some(caller) = &caller {
            object.raw("you", &caller.object().done());
        }
        object
    };
    call.out.either(object, || TEXT.trim_end().to_owned())?;
    Ok(0)
}

/// The agent that calls, as far as it can be seen.
struct Caller {
    name: String,
    unread: usize,
    /// The leases and claims of its session, or of its name where it has no session.
    holds: Vec<String>,
    /// The other agents that live.
    here: Vec<String>,
}

impl Caller {
    fn find(ctx: &Context) -> Caller {
        let name = ctx.agent.to_string();
        let unread = inbox::counts(&ctx.bus_dir).get(&name).copied().unwrap_or(0);
        let (mut holds, mut here) = (Vec::new(), Vec::new());
        if let Ok(Some(handle)) = ctx.find() {
            here.extend(living(&handle).into_iter().map(|(name, _)| name));
            here.retain(|other| *other != name);
            let here = std::env::current_dir().ok().and_then(|dir| Space::find(&dir).ok());
            let is_own = |record: &Record| match (&ctx.session, &record.session) {
                (own, Some(session)) => own.as_ref() == Some(session),
                // Until it is acquired, a claim that was handed over is that of its name.
                (own, None) => {
                    record.agent == ctx.agent && (own.is_none() || is_handed_over(&record.extra))
                }
            };
            for view in handle.leases().map(|(views, _)| views).unwrap_or_default() {
                match (view.standing, &view.observed) {
                    (Standing::Grantable(_), _) => {}
                    (_, Observed::Ours(record, ..)) if is_own(record) => {
                        holds.push(named(record, here.as_ref()));
                    }
                    _ => {}
                }
            }
        }
        Caller { name, unread, holds, here }
    }

    fn text(&self) -> String {
        let Caller { name, unread, holds, here } = self;
        let list = |names: &[String], none: &str| match names.is_empty() {
            true => none.to_owned(),
            false => cut(&names.join(", "), LINE_MAX),
        };
        let mail = match unread {
            0 => "No message waits.".to_owned(),
            1 => "1 message waits: zeta bus inbox.".to_owned(),
            many => format!("{many} messages wait: zeta bus inbox."),
        };
        let (holds, here) = (list(holds, "nothing"), list(here, "no other agent"));
        format!("you are agent {name}. {mail} You hold: {holds}. Also here: {here}.")
    }

    fn object(&self) -> Object {
        let mut object = Object::new();
        object.text("agent", &self.name);
        object.number("unread", u64::try_from(self.unread).unwrap_or(u64::MAX));
        object.list("holds", self.holds.iter().map(|what| quote(what)));
        object.list("here", self.here.iter().map(|name| quote(name)));
        object
    }
}

/// Names what a grant is for: the item of a claim, its paths, or the lease.
fn named(record: &Record, here: Option<&Space>) -> String {
    let is_paths = zeta_core::bus::item::space_of(record.lease.as_str()).is_some();
    let what = match ClaimRecord::of(record) {
        Some(claim) => format!("claim {:?}", claim.item),
        None if is_paths => {
            let place = report::elsewhere(record, here).map(|place| format!(" in {place}"));
            report::paths(&PathClaim::of(&record.extra)) + &place.unwrap_or_default()
        }
        None => format!("lease {}", record.lease),
    };
    match is_handed_over(&record.extra) {
        true => format!("{what} (handed over to you: acquire it)"),
        false => what,
    }
}
