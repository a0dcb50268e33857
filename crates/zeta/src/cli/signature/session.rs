//! What is known of the caller when it signs: its agent, its tool, and the item that it claimed.

use std::path::Path;

use zeta_core::hook::Tool;
use zeta_core::record::Fields;
use zeta_core::signature::block::NONE;
use zeta_core::signature::message::{check_values, task_of};
use zeta_core::signature::{Block, Key};
use zeta_os::error::{Error, Result};
use zeta_signature::repository;
use zeta_state::context::Context;
use zeta_state::presence::ancestor::nearest;
use zeta_state::presence::records::{self, RecordKey};
use zeta_state::presence::tool_session::HOOKED_BY;

use super::super::Call;
use super::args::WriteArgs;

/// What stands for a runtime, a model or an account that nothing names.
const UNKNOWN: &str = "unknown";
/// The mode of work that claims no part of a person.
const AUTONOMOUS: &str = "autonomous-fail-open";

/// Reports whether the caller is an agent: a session or a variable names it. The name in the
/// configuration is also that of a person at the keyboard.
pub(super) fn is_agent(ctx: &Context) -> bool {
    let named = std::env::var_os("ZETA_AGENT").is_some_and(|name| !name.is_empty());
    named || ctx.session.is_some()
}

/// Makes the block of a commit of the caller.
///
/// # Errors
/// A value cannot stand in a block.
pub(super) fn block(
    call: &Call,
    ctx: &Context,
    args: &WriteArgs,
    dir: &Path,
) -> Result<Block<'static>> {
    let config = &call.config()?.signature;
    let record = records::get(ctx, &RecordKey::Persona(ctx.agent.clone())).ok().flatten();
    let record = record.and_then(records::RecordState::own);
    let text = |key: &str| record.as_ref().and_then(|record| text_of(record, key));
    let first = |values: [Option<String>; 3], last: &dyn Fn() -> Option<String>| {
        let given = values.into_iter().flatten().find(|value| !value.is_empty());
        given.or_else(last)
    };
    let variable = |name| std::env::var(name).ok();
    let harness = || text("harness").or_else(|| tool_of(ctx, record.as_ref()));
    let line = || Some(format!("{}/{}", text("line")?, text("tier")?));
    let runtime = [args.runtime.clone(), variable("ZETA_AGENT_RUNTIME"), config.runtime.clone()];
    let model = [args.model.clone(), variable("ZETA_AGENT_MODEL"), config.model.clone()];
    let identity = [args.identity.clone(), config.identity.clone(), None];
    let mode = [args.credential_mode.clone(), config.credential_mode.clone(), None];
    let action = [args.action_mode.clone(), config.action_mode.clone(), None];
    let unknown = || UNKNOWN.to_owned();
    let mut block = Block::default();
    block.set(Key::Version, "1");
    block.set(Key::Agent, ctx.agent.to_string());
    block.set(Key::Runtime, first(runtime, &harness).unwrap_or_else(unknown));
    block.set(Key::Model, first(model, &line).unwrap_or_else(unknown));
    let committer = || repository::committer(dir);
    block.set(Key::CredentialIdentity, first(identity, &committer).unwrap_or_else(unknown));
    block.set(Key::CredentialMode, first(mode, &|| None).unwrap_or_else(unknown));
    block.set(Key::HumanReview, args.review.clone().unwrap_or_else(|| NONE.to_owned()));
    block.set(Key::HumanReviewEvidence, args.evidence.clone().unwrap_or_else(|| NONE.to_owned()));
    block.set(Key::ActionMode, first(action, &|| None).unwrap_or_else(|| AUTONOMOUS.to_owned()));
    let task = args.task.clone().or_else(|| claimed_task(ctx));
    let task = task.or_else(|| task_of(text("task").as_deref()).map(str::to_owned));
    block.set(Key::Task, task.unwrap_or_else(|| NONE.to_owned()));
    check_values(&block).map_err(|bad| Error::usage(bad.to_string()))?;
    Ok(block)
}

fn text_of(record: &Fields<'_>, key: &str) -> Option<String> {
    record.text(key).map(|text| text.into_owned()).filter(|text| !text.is_empty())
}

/// The tool that the agent runs in: that of its record, or of the nearest session above it.
fn tool_of(ctx: &Context, record: Option<&Fields<'static>>) -> Option<String> {
    let hooked = record.and_then(|record| text_of(record, HOOKED_BY));
    let found = || {
        let handle = ctx.find().ok()??;
        Some(nearest(&handle, None)?.way()?.tool)
    };
    let word = hooked.or_else(found)?;
    let name = match word.parse().ok()? {
        Tool::Claude => "Claude Code",
        Tool::Codex => "Codex CLI",
        Tool::Gemini => "Gemini CLI",
        Tool::Copilot => "GitHub Copilot CLI",
        Tool::OpenCode => "OpenCode",
        Tool::Cursor => "Cursor",
    };
    Some(name.to_owned())
}

/// The only item that the session of the caller has claimed and that has the form of a task.
fn claimed_task(ctx: &Context) -> Option<String> {
    let all = zeta_bus::claim::list(ctx, &ctx.bus_dir).unwrap_or_default();
    let is_own = |claimant: &&zeta_bus::claim::Claimant| {
        let session = claimant.session();
        let same = ctx.session.is_some() && session == ctx.session.as_deref();
        let named = session.is_none() && claimant.from == ctx.agent.as_str();
        claimant.copy().is_none() && (same || named)
    };
    let items = all.iter().filter(is_own).map(|claimant| claimant.item.as_str());
    task_of(items).map(str::to_owned)
}
