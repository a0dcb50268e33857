//! Registering this node: look, decide, and open one pull request if there is none.
//!
//! The order is what keeps it single: ask without any lock; take the lease that one agent of the
//! node holds; ask again; write down the attempt; push the branch, whose name is fixed; check the
//! lease; open; and where an answer is lost, ask again instead of repeating.

use std::path::PathBuf;
use std::time::Duration;

use zeta_core::lease::{Checked, FencingToken, TTL_SESSION_MS};
use zeta_core::name::{Label, RecordName};
use zeta_core::registration::node::ClusterNode;
use zeta_core::registration::receipt::{Receipt, State};
use zeta_core::registration::{
    Next, Policy, Pull, Seen, Stop, body_marker, branch, decide, node_path, title,
};

use super::{IN_FLIGHT, keep_receipt, read_receipt};
use crate::adapters::forge::{Forge, PullDraft, Trouble};
use crate::adapters::git::{Author, Remote, Repo};
use crate::adapters::{host, process, yaml};
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::ops::acquire::{Outcome, Patience, Refusal, acquire, draft};
use crate::ops::lease::{check, release};

/// How often an answer that was lost is asked for again.
const ASK_AGAIN: usize = 5;
/// The first pause before that; it doubles.
const PAUSE: Duration = Duration::from_millis(200);

/// Whom to register, and where.
pub struct Asked<'a> {
    /// The node.
    pub node: Label,
    /// The forge's user that it belongs to.
    pub maintainer: String,
    /// Its file.
    pub file: ClusterNode,
    /// The repository, for git.
    pub remote: Remote,
    /// The branch that nodes are registered on; the default branch for `None`.
    pub base: Option<String>,
    /// The repository, for pull requests.
    pub forge: &'a dyn Forge,
    /// Who the commit is by.
    pub author: Author,
    /// A pull request that was closed may be followed by another one.
    pub reopen: bool,
    /// Least time between attempts, in s.
    pub min_interval_s: i64,
    /// Where the receipt is kept.
    pub receipt: PathBuf,
}

/// What it came to.
#[derive(Debug, Clone)]
pub enum Came {
    /// It is on the default branch.
    Registered,
    /// A pull request waits, whoever opened it.
    Waiting(Pull),
    /// We opened one.
    Opened(Pull),
    /// Nothing was done, and why.
    Stopped(Stop),
    /// Another agent of this node is at it.
    InFlight(Box<Refusal>),
}

impl Asked<'_> {
    fn seen(&self) -> Result<Seen> {
        Ok(Seen {
            receipt: read_receipt(&self.receipt)?,
            on_main: self.forge.file(&node_path(&self.maintainer, self.node.as_str())),
            pulls: self.forge.pulls(self.node.as_str()),
        })
    }

    fn policy(&self) -> Policy {
        let (reopen, min_interval_s) = (self.reopen, self.min_interval_s);
        Policy { reopen, min_interval_s, now_s: host::wall_us() / 1_000_000 }
    }

    /// A receipt of what was just observed; the time of the last attempt stays.
    fn receipt(&self, state: State, detail: String, before: Option<&Receipt>) -> Receipt {
        Receipt {
            state,
            node: self.node.to_string(),
            observed_us: host::wall_us(),
            node_path: node_path(&self.maintainer, self.node.as_str()),
            pr_url: None,
            branch: None,
            detail,
            last_attempt_s: before.and_then(|before| before.last_attempt_s),
        }
    }
}

/// Converges: after this the node is registered, or a pull request waits, or a reason is known.
pub fn register(ctx: &Context, asked: &Asked<'_>) -> Result<(Came, Receipt)> {
    let seen = asked.seen()?;
    let next = decide(&seen, asked.policy());
    if !matches!(next, Next::Open { .. }) {
        return conclude(ctx, asked, &seen, next);
    }
    let (tree, node) = ctx.open()?;
    let lease = RecordName::new("lease", IN_FLIGHT)?;
    let mut ask = draft(ctx, lease.clone(), TTL_SESSION_MS)?;
    ask.processes.own = Some(process::identify_self());
    ask.processes.pid_ns = ctx.host.pid_ns;
    ask.purpose = Some(format!("pull request that registers {}", asked.node));
    let mut patience = Patience { limit_ms: None, on_wait: &mut |_, _| {} };
    let granted = acquire(ctx, &tree, &node, &ask, &mut patience, &mut |_| Ok(()))?;
    let token = match granted {
        Outcome::Granted { record, .. } => record.fencing_token,
        Outcome::Refused(refusal) => {
            let detail = "another agent of this node opens it".to_owned();
            let receipt = asked.receipt(State::Converging, detail, seen.receipt.as_ref());
            return Ok((Came::InFlight(Box::new(refusal)), receipt));
        }
    };
    let came = open_once(ctx, asked, &lease, token);
    // A lease that was lost has another holder already, who asks anew.
    let released = release(ctx, &lease, token);
    let came = came?;
    released?.ok();
    Ok(came)
}

/// What follows without opening anything.
fn conclude(ctx: &Context, asked: &Asked<'_>, seen: &Seen, next: Next) -> Result<(Came, Receipt)> {
    let before = seen.receipt.as_ref();
    let with = |state, detail: String| asked.receipt(state, detail, before);
    let of = |pull: &Pull, receipt: Receipt| Receipt {
        pr_url: Some(pull.url.clone()),
        branch: Some(pull.branch.clone()),
        ..receipt
    };
    let (came, receipt) = match next {
        Next::Registered(blob) => {
            (Came::Registered, with(State::Converged, format!("on the default branch: {blob}")))
        }
        Next::Watch(pull) => {
            let receipt = of(&pull, with(State::Converging, "a pull request waits".to_owned()));
            (Came::Waiting(pull), receipt)
        }
        Next::Open { .. } => return Err(Error::new(Kind::Fault, "nothing is opened here")),
        Next::Stop(stop) => {
            let receipt = match &stop {
                Stop::CouldNotAsk(why) => with(State::CheckFailed, why.clone()),
                Stop::Merging(pull) => of(pull, with(State::Converging, "merged".to_owned())),
                Stop::Closed(pull) => of(pull, with(State::Closed, "it was closed".to_owned())),
                Stop::Removed(pull) => of(pull, with(State::Closed, "it was removed".to_owned())),
                Stop::Throttled(rest_s) => {
                    with(State::Throttled, format!("the next attempt may be made in {rest_s} s"))
                }
            };
            (Came::Stopped(stop), receipt)
        }
    };
    keep_receipt(ctx, &asked.receipt, &receipt)?;
    Ok((came, receipt))
}

/// Opens the pull request, inside the lease.
fn open_once(
    ctx: &Context,
    asked: &Asked<'_>,
    lease: &RecordName,
    token: FencingToken,
) -> Result<(Came, Receipt)> {
    // Who held the lease before us may just have opened it.
    let seen = asked.seen()?;
    let next = decide(&seen, asked.policy());
    let Next::Open { after } = next else { return conclude(ctx, asked, &seen, next) };
    let interrupted = seen.receipt.as_ref().filter(|before| before.state == State::Registering);
    let began_s = interrupted.and_then(|before| before.last_attempt_s);
    let began_s = began_s.unwrap_or_else(|| host::wall_us() / 1_000_000);
    let mut receipt = asked.receipt(State::Registering, "an attempt was begun".to_owned(), None);
    receipt.last_attempt_s = Some(began_s);
    receipt.branch = Some(branch(asked.node.as_str()));
    keep_receipt(ctx, &asked.receipt, &receipt)?;
    let failed = |error: Error, receipt: &Receipt| {
        let receipt =
            Receipt { state: State::PullFailed, detail: error.text.clone(), ..receipt.clone() };
        let kept = keep_receipt(ctx, &asked.receipt, &receipt);
        kept.err().unwrap_or(error)
    };
    let base = push_branch(asked, began_s).map_err(|error| failed(error, &receipt))?;
    match check(ctx, lease, token)? {
        Ok(Checked::Good { .. }) => {}
        _ => {
            return Err(Error::new(
                Kind::Lost,
                format!("lease {lease} was lost: nothing was opened"),
            )
            .hint("whoever has it now goes on; run it again to see"));
        }
    }
    let draft = pull_draft(asked, &base, after.as_ref());
    match asked.forge.open(&draft) {
        Ok(pull) => opened(ctx, asked, pull, &receipt),
        Err(trouble @ (Trouble::Lost(_) | Trouble::Conflict(_))) => {
            match find(asked) {
                Some(pull) => opened(ctx, asked, pull, &receipt),
                // It stays *registering*: the next run asks, and goes on from here.
                None => Err(said(&trouble, asked)),
            }
        }
        Err(trouble) => Err(failed(said(&trouble, asked), &receipt)),
    }
}

fn opened(
    ctx: &Context,
    asked: &Asked<'_>,
    pull: Pull,
    receipt: &Receipt,
) -> Result<(Came, Receipt)> {
    let receipt = Receipt {
        state: State::PullOpened,
        pr_url: Some(pull.url.clone()),
        branch: Some(pull.branch.clone()),
        detail: "we opened it".to_owned(),
        observed_us: host::wall_us(),
        ..receipt.clone()
    };
    keep_receipt(ctx, &asked.receipt, &receipt)?;
    Ok((Came::Opened(pull), receipt))
}

/// Puts the node's file on top of the base and pushes that; returns the base branch.
fn push_branch(asked: &Asked<'_>, began_s: i64) -> Result<String> {
    let repo = Repo::new(asked.remote.clone())?;
    let base = repo.fetch(asked.base.as_deref())?;
    let path = node_path(&asked.maintainer, asked.node.as_str());
    let text = yaml::write(&asked.file)?;
    let message =
        format!("{}\n\nRegistered by {}.\n", title(asked.node.as_str()), asked.maintainer);
    let commit = repo.commit(&base, &path, Some(&text), &message, (&asked.author, began_s))?;
    let name = branch(asked.node.as_str());
    let tips = repo.branches(&format!("refs/heads/{name}"))?;
    let tip = tips.iter().find(|(found, _)| *found == name).map(|(_, commit)| commit.as_str());
    if tip != Some(commit.as_str()) {
        repo.push(&commit, &name, tip)?;
    }
    Ok(base.branch)
}

fn pull_draft(asked: &Asked<'_>, base: &str, after: Option<&Pull>) -> PullDraft {
    let node = asked.node.as_str();
    let mut body = format!(
        "Adds `{}`.\n\nOpened by `zeta node register` on the node itself. Closing this says no: it \
         is not opened again unless somebody asks for it (`--reopen`).\n",
        node_path(&asked.maintainer, node)
    );
    if let Some(after) = after {
        body += &format!("\nIt follows {}, which was closed.\n", after.url);
    }
    body += &format!("\n{}\n", body_marker(node));
    PullDraft { branch: branch(node), base: base.to_owned(), title: title(node), body }
}

/// The open pull request of the node, asked for until somebody answers.
fn find(asked: &Asked<'_>) -> Option<Pull> {
    let mut pause = PAUSE;
    for _ in 0..ASK_AGAIN {
        if let Ok(seen) = asked.seen()
            && let Next::Watch(pull) = decide(&seen, asked.policy())
        {
            return Some(pull);
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    None
}

/// What a forge said, as an error with the next step.
pub(super) fn said(trouble: &Trouble, asked: &Asked<'_>) -> Error {
    self::trouble(trouble, &asked.forge.name())
}

/// What the forge `name` said, as an error with the next step.
pub(super) fn trouble(trouble: &Trouble, name: &str) -> Error {
    let error = |kind: Kind, text: &str| Error::new(kind, format!("{name}: {text}"));
    match trouble {
        Trouble::Lost(text) => error(Kind::Fault, text)
            .hint("it may have happened: run it again, it asks before it repeats anything"),
        Trouble::Unauthenticated(text) => error(Kind::Unsafe, text)
            .hint("log in: 'gh auth login', or set GH_TOKEN, or give --token-file"),
        Trouble::Forbidden(text) => error(Kind::Unsafe, text),
        Trouble::RateLimited(s, text) => {
            error(Kind::Busy, text).hint(format!("try again in {s} s"))
        }
        Trouble::Conflict(text) => {
            error(Kind::Refused, text).hint("run it again: it adopts what is open")
        }
        Trouble::Refused(text) => error(Kind::Fault, text),
    }
}
