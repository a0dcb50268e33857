//! The record of a persona says at which post it stands, and with what it works there. The
//! supervisor of the post is the evidence: it beats for the persona, also between two ticks, and
//! when it ends, the persona stands there no more.

use zeta_core::evidence::Processes;
use zeta_core::name::Label;
use zeta_core::presence::{OWN_KEYS, set_beat, set_processes};
use zeta_core::record::Fields;
use zeta_core::schedule::Post;
use zeta_core::time::format_utc;
use zeta_os::error::Result;
use zeta_os::{host, process};
use zeta_state::context::Context;
use zeta_state::directory::guard::ENTER_LIMIT;
use zeta_state::presence::records::{RecordKey, list, publish, read_or_new, session_over};

use super::lease::RENEW_MS;

/// The key of the number of the post.
const POST: &str = "post";
/// The keys that say where a persona stands.
const KEYS: [&str; 4] = [POST, "line", "tier", "harness"];

/// A post as the records of personas show it.
#[derive(Debug)]
pub(super) struct Advert {
    number: u32,
    /// The session of the supervisor, which stands for the persona.
    session: String,
}

impl Advert {
    /// That of a post, by a new session.
    ///
    /// # Errors
    /// The kernel gives no random number.
    pub(super) fn new(number: u32) -> Result<Advert> {
        Ok(Advert { number, session: host::random_hex()? })
    }

    /// Writes that a persona stands here, with a beat. Where the persona has another session that
    /// lives, that one goes on to beat.
    ///
    /// # Errors
    /// The record cannot be written.
    pub(super) fn put(&self, ctx: &Context, post: &Post) -> Result<()> {
        let Post { persona, choice } = post;
        change(ctx, persona, |fields| {
            let is_own = fields.text("session").is_some_and(|known| known == self.session);
            let now = host::reading();
            if !is_own && (fields.raw("session").is_none() || session_over(ctx, fields)) {
                fields.remove("ended_at");
                fields.remove("exit_status");
                fields.set_text("persona", persona.as_str());
                fields.set_text("agent", persona.as_str());
                fields.set_text("session", &self.session);
                fields.set_text("started_at", &format_utc(now.wall_us));
                let own = Some(process::identify_self());
                let pid_ns = ctx.host.pid_ns;
                set_processes(fields, &Processes { own, child: None, pid_ns });
            }
            if fields.text("session").is_some_and(|known| known == self.session) {
                set_beat(fields, now, &ctx.host, RENEW_MS);
            }
            fields.set_text("updated_at", &format_utc(now.wall_us));
            fields.set_number(POST, self.number.into());
            fields.set_text("line", choice.line.as_str());
            fields.set_text("tier", choice.tier.word());
            fields.set_text("harness", choice.harness.as_str());
            true
        })
    }

    /// Writes that a persona does not stand here any more. What another post wrote stays.
    ///
    /// # Errors
    /// The record cannot be written.
    pub(super) fn take(&self, ctx: &Context, persona: &Label) -> Result<()> {
        change(ctx, persona, |fields| {
            if fields.number(POST) != Some(self.number.into()) {
                return false;
            }
            KEYS.iter().for_each(|key| fields.remove(key));
            let is_own = fields.text("session").is_some_and(|known| known == self.session);
            if is_own || session_over(ctx, fields) {
                fields.set_text("ended_at", &format_utc(host::wall_us()));
            }
            true
        })
    }

    /// Takes back what an earlier supervisor of this post left in the records of personas.
    ///
    /// # Errors
    /// The tree cannot be read, or a record cannot be written.
    pub(super) fn sweep(&self, ctx: &Context) -> Result<()> {
        for (name, found) in list(ctx, false)? {
            let fields = found.ok().and_then(|found| found.own());
            let is_here =
                fields.is_some_and(|fields| fields.number(POST) == Some(self.number.into()));
            if let (true, Ok(persona)) = (is_here, Label::new("persona", &name)) {
                self.take(ctx, &persona)?;
            }
        }
        Ok(())
    }
}

/// Changes the record of a persona, if `with` says that it did. One of a session that has ended,
/// and that says nothing more, is removed.
fn change(
    ctx: &Context,
    persona: &Label,
    with: impl FnOnce(&mut Fields<'static>) -> bool,
) -> Result<()> {
    let handle = ctx.open()?;
    let name = RecordKey::Persona(persona.clone());
    let section = handle.enter(name.file(), ENTER_LIMIT)?;
    let (exists, mut fields) = read_or_new(&section, &handle.node, &name)?;
    if !with(&mut fields) {
        return Ok(());
    }
    let says_more = fields.iter().any(|(key, _)| !OWN_KEYS.contains(&key));
    match says_more || fields.raw("ended_at").is_none() {
        true => publish(&section, &handle.node, &name, &fields, exists),
        false => section.remove(),
    }
}
