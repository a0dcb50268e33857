//! `zeta run`: runs an agent's command, beats for it and renews its leases.

use std::ffi::OsString;

use clap::Args;
use zeta_core::name::Label;
use zeta_core::presence::BEAT_MS;
use zeta_core::time::{parse_duration, parse_ttl};

use super::{Call, Noun};
use zeta_bus::messages::mailbox::Mailbox;
use zeta_os::error::{Kind, Result};
use zeta_state::lease::report;
use zeta_state::presence::report::{came_back, held_too_long};
use zeta_state::presence::run::{Event, Finished, Mail, Plan, run as run_plan};

pub(super) const NOUN: Noun = Noun {
    name: "run",
    about: "Run an agent: send its heartbeats, and keep its leases until it ends",
    build: RunArgs::augment_args,
    verbs: &[],
    run,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta run --as otto-cli -- claude
  zeta run --as otto-cli --persona otto --on-lost term -- ./agent.sh
  zeta run --as otto-cli claude --resume   # options after the command are its own
  zeta run --as otto-cli --pty --wake -- claude   # a message to otto-cli begins a turn

The command's environment has ZETA_AGENT, ZETA_SESSION, ZETA_NODE and ZETA_STATE_DIR. A lease that
the command takes with 'zeta lease acquire' is renewed while the command runs and released when it
ends. The end of the terminal ends the command, and a signal reaches it once, also if it is sent to
the whole process group. If the state directory is removed, the session is back in a new one after
one beat; its leases are lost then. It ends as --on-lost says if another session has its name now.
With --pty the command has a terminal of its own between it and yours, of 80 columns and 24 rows
where there is none. With --wake, a message to the agent that arrives while it waits for a prompt
is announced there by one typed line. The hooks of its tool say when it waits: see 'zeta hook'.
Exit status: the command's; 128+n if signal n ended it; 3 if an agent of that name is
already running; 5 if --on-lost ended the command; 127 if there is no such command, 126 if it
cannot run.")]
struct RunArgs {
    /// Persona of the agent [default: the agent's name]
    #[arg(long, value_name = "PERSONA")]
    persona: Option<String>,
    /// Time between beats [default: beat_every in the configuration, or 10s]
    #[arg(long, value_name = "DURATION")]
    beat: Option<String>,
    /// Do not renew leases that are held longer than this
    #[arg(long, value_name = "DURATION", default_value = "12h")]
    max_hold: String,
    /// What to do if a lease of the session is lost: warn, term or kill the command
    #[arg(long, value_name = "WHAT", default_value = "warn")]
    on_lost: String,
    /// Run this with sh if a lease of the session is lost; ZETA_LEASE names the lease
    #[arg(long, value_name = "COMMAND")]
    on_lost_exec: Option<String>,
    /// Give the command a terminal of its own; its screen and keys are passed on
    #[arg(long)]
    pty: bool,
    /// With --pty: type a line that names the sender when a message arrives and the agent is idle
    #[arg(long, requires = "pty")]
    wake: bool,
    /// Command and arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

fn run(call: &Call) -> Result<u8> {
    let args: RunArgs = call.args()?;
    let default_ms = call.config()?.beat_every_ms.unwrap_or(BEAT_MS);
    let beat_ms = args.beat.as_deref().map(parse_ttl).transpose()?.unwrap_or(default_ms);
    let plan = Plan {
        argv: args.command,
        persona: args.persona.map(|name| Label::new("persona", &name)).transpose()?,
        every_ms: beat_ms,
        max_hold_ms: parse_duration("max-hold", &args.max_hold)?,
        on_lost: super::on_lost(&args.on_lost)?,
        on_lost_exec: args.on_lost_exec,
        pty: args.pty,
    };
    let ctx = call.context()?;
    let out = call.out;
    let mut on_event = |event: Event<'_>| match event {
        // Stdout belongs to the command.
        Event::Lost(lost) => out.warn(&report::lost(lost, &ctx)),
        Event::Trouble(error) | Event::Unrenewed(error) => out.warn(error),
        Event::Renewed(lease) => out.note(&report::renewed_again(lease)),
        Event::CameBack(dir) => out.note(&came_back(dir)),
        Event::HeldTooLong(lease) => out.note(&held_too_long(lease, plan.max_hold_ms)),
    };
    let mail = || Mailbox::open(&ctx.bus_dir, ctx.agent.as_str());
    let mail: Option<Box<dyn Mail>> = match args.wake {
        true => Some(Box::new(mail()?)),
        false => None,
    };
    let finished = match run_plan(&ctx, &plan, mail, &mut on_event) {
        Ok(finished) => finished,
        Err(error) => {
            out.error_on_stderr(&error, error.kind.status(), None);
            return Ok(error.kind.status());
        }
    };
    match finished {
        Finished::Ran { lost: true, .. } => Ok(Kind::Lost.status()),
        Finished::Ran { ended, .. } => Ok(ended.status()),
        Finished::NotStarted(status, error) => {
            let error = match plan.argv.as_slice() {
                // Perhaps a name, as 'lease exec' takes one.
                [name, dashes, ..] if dashes == "--" => error.hint(format!(
                    "the name of the agent is an option: zeta run --as {} -- ...",
                    name.to_string_lossy()
                )),
                _ => error,
            };
            out.error_on_stderr(&error, status, None);
            Ok(status)
        }
    }
}
