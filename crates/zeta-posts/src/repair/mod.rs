//! The gate of repairs: an agent asks it before it restarts, rebuilds or changes something.
//!
//! [`zeta_core::repair`] decides. This module reads the policy, finds out who asks, and keeps a log
//! of every answer. What cannot be logged is not allowed.

pub mod log;
pub mod policy;
pub mod report;

use std::path::PathBuf;

use rustix::process::getuid;
use zeta_core::evidence::{ProcessState, Processes};
use zeta_core::lease::{FencingToken, Observed, Record, Standing};
use zeta_core::name::{Label, RecordName};
use zeta_core::repair::{
    Entry, Permission, Question, Refusal, Scope, Unit, Verdict, Who, decide, is_of_supervisor,
    lease_of,
};
use zeta_os::error::{Error, Kind, Result};
use zeta_os::{host, process};
use zeta_state::context::{Context, NodeHandle};

use self::policy::{Found, Places};

/// A call of the gate, in the words of the caller.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// The scope.
    pub scope: String,
    /// The unit of a restart.
    pub unit: Option<String>,
    /// The persona; without it, the agent that calls.
    pub persona: Option<String>,
    /// A token that the caller has, of the persona's lease.
    pub token: Option<FencingToken>,
}

/// What was asked, checked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The persona that would repair.
    pub persona: Label,
    /// How far.
    pub scope: Scope,
    /// The unit of a restart.
    pub unit: Option<Unit>,
    /// The token of the persona's lease, if it is the caller's.
    pub token: Option<FencingToken>,
    /// The policy that decided.
    pub policy: PathBuf,
}

/// The answer of the gate.
#[derive(Debug)]
pub enum Answer {
    /// By this permission.
    Allowed(Asked, Permission),
    /// For this reason.
    Refused(Asked, Refusal),
}

/// Asks the gate. Every answer is in the log when this returns, also faults of the call and of the
/// policy.
///
/// # Errors
/// The call, the policy or the state directory is wrong, or the answer cannot be logged: then
/// nothing is allowed.
pub fn check(ctx: &Context, places: &Places, call: &Call) -> Result<Answer> {
    let dir = ctx.lasting_dir.as_deref().ok_or_else(|| {
        Error::new(Kind::Unsafe, "there is no place for the log: this user has no home directory")
    })?;
    let mut entry = Entry {
        persona: call.persona.clone().unwrap_or_else(|| ctx.agent.to_string()),
        scope: call.scope.clone(),
        unit: call.unit.clone(),
        agent: ctx.agent.to_string(),
        session: ctx.session.clone(),
        uid: getuid().as_raw(),
        pid: std::process::id(),
        outcome: report::REFUSED.to_owned(),
        ..Entry::default()
    };
    let answer = answer(ctx, places, call, &mut entry);
    match &answer {
        Ok(Answer::Allowed(_, permission)) => {
            report::ALLOWED.clone_into(&mut entry.outcome);
            entry.reason = report::permission_text(permission);
        }
        Ok(Answer::Refused(_, refusal)) => entry.reason = refusal.to_string(),
        Err(error) => error.text.clone_into(&mut entry.reason),
    }
    log::append(dir, &entry.render(host::wall_us()))?;
    answer
}

/// Answers, and adds to the entry what is known of the call.
fn answer(ctx: &Context, places: &Places, call: &Call, entry: &mut Entry) -> Result<Answer> {
    let persona = match &call.persona {
        Some(name) => Label::new("persona", name)?,
        None if ctx.agent_named => ctx.agent.clone(),
        None => {
            return Err(Error::usage("no persona is named, and the agent that calls has no name")
                .hint("name it: --persona NAME, or run the agent under 'zeta run --as NAME'"));
        }
    };
    let scope: Scope = call
        .scope
        .parse()
        .map_err(|rule| Error::usage(format!("the scope {:?} is not known: {rule}", call.scope)))?;
    let unit = call.unit.as_deref().map(Unit::new).transpose();
    let unit = unit.map_err(|rule| Error::usage(format!("--unit is not valid: {rule}")))?;
    if unit.is_some() && scope != Scope::Restart {
        return Err(Error::usage(format!("--unit is for the scope restart, not for {scope}")));
    }
    let Found { policy, path } = places.read()?;
    entry.policy = Some(path.display().to_string());
    let who = who(ctx, &persona, call.token)?;
    let token = match who {
        Who::AtPost(token) | Who::NoTick(token) => Some(token),
        _ => None,
    };
    entry.fencing_token = token.map(FencingToken::get);
    let question = Question { persona: &persona, scope, unit: unit.as_ref(), who };
    let verdict = decide(&policy, &question, host::wall_us());
    let asked = Asked { persona: persona.clone(), scope, unit: unit.clone(), token, policy: path };
    Ok(match verdict {
        Verdict::Allowed(permission) => Answer::Allowed(asked, permission.clone()),
        Verdict::Refused(refusal) => Answer::Refused(asked, refusal),
    })
}

/// Finds out who asks: by the lease that the tick of a guard post holds for its persona, by the
/// processes above the caller, and by the name.
fn who(ctx: &Context, persona: &Label, token: Option<FencingToken>) -> Result<Who> {
    let lease = RecordName::new("lease", &lease_of(persona))?;
    let node = ctx.find()?;
    let view = match &node {
        Some(node) => node.view(&lease)?,
        None => None,
    };
    let held = view.filter(|view| !matches!(view.standing, Standing::Grantable(_)));
    let has_name = ctx.agent_named && ctx.agent == *persona;
    let record = match held.map(|view| view.observed) {
        None if has_name => return Ok(Who::Named),
        None => return Ok(Who::Stranger),
        Some(Observed::Ours(record, ..)) => Some(record),
        Some(_) => None,
    };
    let is_own = |record: &Record| {
        let is_of_session = record.session.is_some() && record.session == ctx.session;
        is_of_session || token == Some(record.fencing_token)
    };
    if let (Some(node), Some(record)) = (&node, record.as_deref().filter(|one| is_own(one))) {
        match supervisor(ctx, node, record)? {
            None => return Ok(Who::NoTick(record.fencing_token)),
            // The token is no secret: it counts in the tick alone.
            Some(supervisor) if process::is_below(std::process::id(), supervisor) => {
                return Ok(Who::AtPost(record.fencing_token));
            }
            Some(_) => {}
        }
    }
    Ok(match record.map(|record| record.fencing_token) {
        token if has_name => Who::NotAtPost(token),
        _ => Who::Stranger,
    })
}

/// The process of the supervisor whose tick holds a lease: the parent of the holder, if that has
/// the lease of a post. `None` also where processes of another pid namespace cannot be seen.
fn supervisor(ctx: &Context, node: &NodeHandle<'_>, tick: &Record) -> Result<Option<u32>> {
    let lives = |record: &Record| {
        let own = Processes { child: None, ..record.processes };
        own.own.filter(|_| process::life(&own, &ctx.host) == ProcessState::Alive)
    };
    let Some(holder) = lives(tick).filter(|_| process::proc_is_own()) else { return Ok(None) };
    let Some(above) = process::parent(holder.pid) else { return Ok(None) };
    let (leases, _) = node.leases()?;
    let is_it = |record: &Record| lives(record).is_some_and(|process| process.pid == above);
    let found = leases.iter().any(|view| match &view.observed {
        Observed::Ours(record, ..) => is_of_supervisor(view.lease.as_str()) && is_it(record),
        _ => false,
    });
    Ok(found.then_some(above))
}
