//! The state of the bridge as a file of the tree, for `cat` and for `zeta cluster status`.

use std::time::Duration;

use tokio::time::Instant;
use zeta_core::cluster::peer::Refused;
use zeta_core::layout;
use zeta_core::name::Label;
use zeta_core::overview::Quorum;
use zeta_core::record::Fields;
use zeta_core::time::format_utc;
use zeta_os::process;

use super::{Bridge, Level};

/// The `kind` of the file.
pub const KIND: &str = "bridge_status";
/// How long what is to be told is collected.
const TELL: Duration = Duration::from_secs(1);
/// Most peers of which refusals are listed.
const REFUSED_MAX: usize = 16;

/// What a bridge says of itself.
#[derive(Debug, Default)]
pub(super) struct Status {
    /// `connected`, `away`, `missing`, `waiting`, `stopped`.
    pub(super) word: &'static str,
    /// Since when, by the wall clock.
    pub(super) since_us: i64,
    /// The name and the version of the server.
    pub(super) server: Option<(String, String)>,
    /// The clock of the server when this machine's was at the second value.
    pub(super) server_us: Option<(i64, i64)>,
    /// Values that were sent by this run.
    pub(super) sent: u64,
    /// Values that were taken by this run.
    pub(super) taken: u64,
    /// Nodes that have a card and are not followed.
    pub(super) not_followed: u64,
    /// How often everything was read again.
    pub(super) relisted: u64,
    /// Why everything was renewed last, the epoch then, and when.
    pub(super) renewed: Option<(&'static str, u64, i64)>,
    /// How many servers had what was written, when this bridge looked last.
    pub(super) quorum: Option<Quorum>,
    /// The servers said then that they are too few to write.
    pub(super) no_quorum: bool,
    /// How many values the streams had then that it had not seen.
    pub(super) lag: Option<u64>,
    /// The last thing that went wrong, how often, and when first and last.
    pub(super) fault: Option<(String, u64, i64)>,
}

impl Bridge<'_> {
    /// Changes the word of the state, and writes it.
    pub(super) fn set_word(&mut self, word: &'static str) {
        if self.status.word != word {
            self.status.word = word;
            self.status.since_us = zeta_os::host::wall_us();
        }
        self.write_status();
    }

    /// Keeps what went wrong, and logs it once for as long as nothing else does.
    pub(super) fn fault(&mut self, text: &str) {
        self.tell_soon();
        let now_us = zeta_os::host::wall_us();
        match &mut self.status.fault {
            Some((known, count, at_us)) if known == text => {
                *count += 1;
                *at_us = now_us;
                (self.log)(Level::Debug, text);
            }
            fault => {
                *fault = Some((text.to_owned(), 1, now_us));
                (self.log)(Level::Warning, text);
            }
        }
    }

    /// Writes the file in a moment: what is told comes in floods.
    pub(super) fn tell_soon(&mut self) {
        self.tell_at.get_or_insert(Instant::now() + TELL);
    }

    /// Writes the file. A full disk is told by the log, and the next beat tries again.
    pub(super) fn write_status(&mut self) {
        let text = self.render_status();
        if let Err(error) = self.home.put(&self.directory.tree, layout::CLUSTER_STATUS, &text) {
            self.fault(&error.text);
        }
        self.tell_at = None;
    }

    fn render_status(&self) -> String {
        let status = &self.status;
        let mut fields = Fields::new(KIND);
        fields.push_text("node", self.own.as_str());
        fields.push_text("state", status.word);
        fields.push_text("since", &format_utc(status.since_us));
        fields.push_text("written_at", &format_utc(zeta_os::host::wall_us()));
        fields.push_number("written_boot_ns", zeta_os::host::reading().boot_ns);
        fields.push_text("boot_id", &self.ctx.host.boot_id);
        let own = process::identify_self();
        fields.push_number("pid", own.pid.into());
        for (key, number) in [
            ("pid_start_ticks", own.start_ticks),
            ("pidfs_ino", own.pidfs_ino),
            ("pid_ns", self.ctx.host.pid_ns),
        ] {
            if let Some(number) = number {
                fields.push_number(key, number);
            }
        }
        if let Some((name, version)) = &status.server {
            fields.push_text("server", name);
            fields.push_text("server_version", version);
        }
        if let Some((server_us, here_us)) = status.server_us {
            let offset_ms = server_us.saturating_sub(here_us) / 1000;
            fields.push_raw("server_clock_ahead_ms", &offset_ms.to_string());
        }
        if let Some(known) = &self.memory.known {
            fields.push_text("cluster", known.meta.cluster.as_str());
            fields.push_number("epoch", known.meta.epoch);
            fields.push_number("floor", known.meta.floor);
            let us = known.meta.no_grant_before_us;
            if us > 0 {
                fields.push_text("no_grant_before", &format_utc(us));
            }
            for (stream, _, last) in &known.streams {
                fields.push_number(&format!("{}_sequence", stream.word()), *last);
            }
        }
        self.render_streams(&mut fields);
        fields.push_text("follow", &self.follow.to_string());
        fields.push_number("not_followed", status.not_followed);
        let (peers, records) = self.copies.count();
        fields.push_number("peers", peers as u64);
        fields.push_number("peer_records", records as u64);
        fields.push_number("own_records", self.directory.records.len() as u64);
        fields.push_number("own_damaged", self.directory.damaged());
        fields.push_number("own_unsent", self.directory.unsent.len() as u64);
        let (leases, granted) = self.leases.count();
        fields.push_number("leases", leases as u64);
        fields.push_number("leases_granted", granted as u64);
        fields.push_number("sent", status.sent);
        fields.push_number("taken", status.taken);
        fields.push_number("relisted", status.relisted);
        if let Some((why, epoch, us)) = status.renewed {
            fields.push_text("renewed_because", why);
            fields.push_number("renewed_epoch", epoch);
            fields.push_text("renewed_at", &format_utc(us));
        }
        self.mail.write_status(&mut fields);
        self.render_faults(&mut fields);
        fields.render()
    }

    /// What the bridge saw when it looked at the streams.
    fn render_streams(&self, fields: &mut Fields<'_>) {
        if let Some(quorum) = self.status.quorum {
            fields.push_number("quorum_servers", quorum.servers);
            fields.push_number("quorum_current", quorum.current);
            fields.push_number("quorum_needed", quorum.needed);
        }
        if self.status.no_quorum {
            fields.push_raw("no_quorum", "true");
        }
        if let Some(lag) = self.status.lag {
            fields.push_number("lag", lag);
        }
    }

    fn render_faults(&self, fields: &mut Fields<'_>) {
        let now_ms = super::send::boot_ms();
        let told = |fields: &mut Fields<'_>, key: &str, node: &Label, refused: &Refused| {
            fields.push_text(&format!("{key}_node"), node.as_str());
            fields.push_number(&format!("{key}_count"), refused.count);
            fields.push_text(&format!("{key}_reason"), &refused.reason);
        };
        let peers = || self.copies.refused();
        let own = peers().filter(|(_, refusals, _)| refusals.own.count > 0);
        for (at, (node, refusals, _)) in own.take(REFUSED_MAX).enumerate() {
            told(fields, &format!("refused_{at}"), node, &refusals.own);
            if let Some(ignored_ms) = refusals.ignored_ms(now_ms) {
                fields.push_number(&format!("refused_{at}_ignored_ms"), ignored_ms);
            }
        }
        let forged = peers().filter(|(_, refusals, _)| refusals.forged.count > 0);
        for (at, (node, refusals, _)) in forged.take(REFUSED_MAX).enumerate() {
            told(fields, &format!("forged_{at}"), node, &refusals.forged);
        }
        let flood = peers().filter(|(_, _, passed_over)| *passed_over > 0);
        for (at, (node, _, passed_over)) in flood.take(REFUSED_MAX).enumerate() {
            fields.push_text(&format!("flood_{at}_node"), node.as_str());
            fields.push_number(&format!("flood_{at}_count"), passed_over);
        }
        let strangers = self.copies.strangers_passed_over();
        if strangers > 0 {
            fields.push_number("flood_of_strangers", strangers);
        }
        if let Some((text, count, us)) = &self.status.fault {
            fields.push_text("fault", text);
            fields.push_number("fault_count", *count);
            fields.push_text("fault_at", &format_utc(*us));
        }
    }
}
