//! `zeta repair`: the gate that an agent asks before it repairs something.

use clap::Args;
use zeta_core::lease::FencingToken;
use zeta_core::name::Label;
use zeta_core::repair::persona_of;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::host;
use zeta_posts::config::SYSTEM_DIR;
use zeta_posts::repair::policy::Places;
use zeta_posts::repair::{self, Answer, log, report};

use super::{Call, Noun, Verb, lease, needs_verb, run_verb};
use crate::environment;

pub(super) const NOUN: Noun = Noun {
    name: "repair",
    about: "Ask whether a persona may repair something, by the operator's policy",
    build: |noun| needs_verb(noun).after_help(EXAMPLES),
    verbs: VERBS,
    run: |call| run_verb(call, VERBS),
};

const EXAMPLES: &str = "\
The operator writes repair-policy.toml in /etc/zeta, or a user in ~/.config/zeta where the machine
has none. An agent asks before each repair, and goes on only if the call ends with 0:

Examples:
  zeta repair check restart --unit k3s.service --as otto && systemctl restart k3s.service
  zeta repair list           # what each persona may do
  zeta repair log            # who asked for what, and the answers";

const VERBS: &[Verb] = &[
    Verb {
        name: "check",
        about: "Allow or refuse a repair; every answer is logged",
        args: CheckArgs::augment_args,
        run: run_check,
    },
    Verb {
        name: "list",
        about: "Show what each persona may do, and check the policy",
        args: ListArgs::augment_args,
        run: run_list,
    },
    Verb {
        name: "log",
        about: "Show who asked for which repair, and the answers",
        args: LogArgs::augment_args,
        run: run_log,
    },
];

#[derive(Debug, Args)]
#[command(after_help = "\
Scopes, each with those before it: read-only, restart, rebuild, write-cluster. What changes
something is allowed only in a tick of a guard post: its supervisor is above the caller, and above
the holder of the lease guard-post.PERSONA. The policy may say needs_post = false.

Exit status: 0 allowed; 3 refused; 2 if the scope is not known; 7 if the policy is missing, broken
or not safe, or if the answer cannot be logged. Only 0 allows.

Examples:
  zeta repair check read-only --as otto
  zeta repair check restart --unit k3s.service --as otto
  zeta repair check rebuild --persona otto --token 1795899006604563")]
struct CheckArgs {
    /// How far the repair goes: read-only, restart, rebuild or write-cluster
    #[arg(value_name = "SCOPE")]
    scope: String,
    /// The unit that would be restarted
    #[arg(long, value_name = "UNIT", allow_hyphen_values = true)]
    unit: Option<String>,
    /// The persona that would repair [default: that of the caller's guard post, or its name]
    #[arg(long, value_name = "PERSONA")]
    persona: Option<String>,
    /// The token of the persona's lease [default: that of ZETA_FENCING_TOKEN]
    #[arg(long, value_name = "N")]
    token: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A policy:
  [personas.otto]
  scope = \"restart\"
  units = [\"k3s.service\", \"zeta-*\"]      # without it, all units

  [[personas.otto.grants]]               # for one incident
  scope = \"write-cluster\"
  until = \"2026-11-30T18:00:00Z\"
  reason = \"INC-42\"

Exit status: 7 if the policy is missing, broken, or could have been written by another user.

Examples:
  zeta repair list
  zeta repair list --json")]
struct ListArgs {}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  zeta repair log
  zeta repair log --limit 200 --json")]
struct LogArgs {
    /// How many answers are shown, the newest
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

/// The directories that may have a policy: the machine's, then the user's.
fn places() -> Places {
    Places(std::iter::once(SYSTEM_DIR.into()).chain(environment::config_dir()).collect())
}

fn run_check(call: &Call) -> Result<u8> {
    let CheckArgs { scope, unit, persona, token } = call.args()?;
    let ctx = call.context()?;
    let at_post = variable("ZETA_LEASE").and_then(|lease| persona_of(&lease));
    let token = match &token {
        Some(text) => Some(lease::token(text)?),
        None => inherited_token(persona.as_deref(), at_post.as_ref()),
    };
    let persona = persona.or_else(|| at_post.map(|persona| persona.to_string()));
    let asked = repair::Call { scope, unit, persona, token };
    match repair::check(&ctx, &places(), &asked)? {
        Answer::Allowed(asked, permission) => {
            let object = || report::allowed_json(&asked, &permission);
            call.out.either(object, || report::allowed_text(&asked, &permission))?;
            Ok(0)
        }
        Answer::Refused(asked, refusal) => {
            let error = Error::new(Kind::Refused, refusal.to_string())
                .hint("see what is allowed: zeta repair list");
            call.out.error(&error, Some(report::asked_json(report::REFUSED, &asked)));
            Ok(Kind::Refused.status())
        }
    }
}

/// The token of the environment, if it may be that of the persona's lease: a command that holds
/// another lease has the name of that one beside it.
fn inherited_token(persona: Option<&str>, at_post: Option<&Label>) -> Option<FencingToken> {
    let is_own = match (variable("ZETA_LEASE"), persona) {
        (None, _) => true,
        (Some(_), Some(persona)) => at_post.is_some_and(|at_post| at_post.as_str() == persona),
        (Some(_), None) => at_post.is_some(),
    };
    variable("ZETA_FENCING_TOKEN").filter(|_| is_own)?.parse().ok()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn run_list(call: &Call) -> Result<u8> {
    let ListArgs {} = call.args()?;
    let found = places().read()?;
    let (path, now_us) = (found.path.display().to_string(), host::wall_us());
    call.out.either(
        || report::policy_json(&path, &found.policy, now_us),
        || report::policy_text(&found.policy, now_us),
    )?;
    Ok(0)
}

fn run_log(call: &Call) -> Result<u8> {
    let LogArgs { limit } = call.args()?;
    let ctx = call.context()?;
    let dir = ctx.lasting_dir.as_deref().ok_or_else(|| {
        Error::new(Kind::Unsafe, "there is no log: this user has no home directory")
    })?;
    let (entries, left_out) = log::read(dir, limit)?;
    call.out.either(|| report::log_json(&entries, left_out), || report::log_text(&entries))?;
    if left_out && !call.out.json {
        call.out.note("older answers are left out: see --limit");
    }
    Ok(0)
}
