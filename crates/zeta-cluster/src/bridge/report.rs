//! What the files of the bridge say, for `zeta cluster status`: its state, and the other nodes.

use std::fmt::Write as _;

use zeta_bus::report::count;
use zeta_core::cluster::card::{Copied, is_silent};
use zeta_core::cluster::copy::copy_max;
use zeta_core::cluster::subject::{Item, Stream};
use zeta_core::evidence::{Process, ProcessState, Processes};
use zeta_core::json::Object;
use zeta_core::layout::{self, RECORD_MAX};
use zeta_core::name::Label;
use zeta_core::record::{Fields, Text, parse, printable};
use zeta_core::time::format_duration;
use zeta_os::error::Result;
use zeta_os::process;
use zeta_state::context::Context;
use zeta_state::directory::copied::BridgeDir;
use zeta_state::directory::tree::Tree;

use crate::status::{Status, StreamStatus};
use crate::stream;

/// Most bytes of the file that are read.
const STATUS_MAX: usize = 64 * 1024;
/// How the keys begin of values that were refused of a node, of those that came in its name, and of
/// those that were passed over.
const REFUSED: &str = "refused_";
const FORGED: &str = "forged_";
const FLOOD: &str = "flood_";

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub node: Label,
    /// Its card; none if none has come.
    pub card: Option<Copied>,
    /// How many of its records are here.
    pub records: u64,
}

/// What the files say.
#[derive(Debug, Default)]
pub struct Seen {
    /// The file of the bridge; none if none has run.
    pub status: Option<Fields<'static>>,
    /// The process that wrote it is there.
    pub runs: bool,
    /// The other nodes.
    pub peers: Vec<Peer>,
}

/// Reads the files of a tree.
///
/// # Errors
/// The tree is not one that zeta trusts.
pub fn look(ctx: &Context) -> Result<Seen> {
    let mut seen = Seen::default();
    let Some(tree) = Tree::open(&ctx.state_dir)? else { return Ok(seen) };
    if let Some(dir) = BridgeDir::find_cluster(&tree, None)?
        && let Some(read) = dir.read(&tree, layout::CLUSTER_STATUS, STATUS_MAX)?
        && let Ok(Text::Own(fields)) = parse(&read.bytes, STATUS_MAX)
        && fields.expect_kind(super::STATUS_KIND).is_ok()
    {
        let own = fields.number("pid").and_then(|pid| u32::try_from(pid).ok()).map(|pid| Process {
            pid,
            start_ticks: fields.number("pid_start_ticks"),
            pidfs_ino: fields.number("pidfs_ino"),
        });
        let recorded = Processes { own, child: None, pid_ns: fields.number("pid_ns") };
        let same_boot = fields.text("boot_id").is_some_and(|id| id == ctx.host.boot_id);
        seen.runs = same_boot && process::life(&recorded, &ctx.host) == ProcessState::Alive;
        seen.status = Some(fields.into_owned());
    }
    for name in tree.nodes()?.names {
        let Ok(node) = Label::new("node", &name) else { continue };
        // What is no directory of a node is the matter of `zeta doctor`.
        let Ok(Some(Some(dir))) = BridgeDir::find_node(&tree, &node) else { continue };
        let mark = dir.read(&tree, layout::COPY_MARK, copy_max(RECORD_MAX)).ok().flatten();
        let card = mark.and_then(|mark| Copied::read(&mark.bytes).ok());
        let names = dir.list()?.names;
        let records = names.iter().filter(|file| Item::of_file(file).is_some()).count() as u64;
        seen.peers.push(Peer { node, card, records });
    }
    Ok(seen)
}

impl Seen {
    /// How many values the streams have that the bridge had not seen when it wrote its file. None
    /// if it is no bridge of this cluster and epoch.
    fn behind(&self, store: &Status) -> Option<u64> {
        let (fields, held) = (self.status.as_ref()?, &store.meta.as_ref()?.held);
        let is_same = fields.text("cluster").is_some_and(|id| id == held.cluster.as_str())
            && fields.number("epoch") == Some(held.epoch);
        let seen = |stream: Stream| fields.number(&format!("{}_sequence", stream.word()));
        let is_part = fields.text("follow").is_some_and(|follow| follow != "all");
        is_same.then(|| behind(&store.streams, is_part, seen))
    }

    /// What is listed of nodes under keys with such a beginning: the node, how many, and why.
    fn listed(&self, word: &'static str) -> impl Iterator<Item = (String, u64, String)> + '_ {
        let fields = self.status.iter();
        fields.flat_map(move |fields| {
            (0_usize..).map_while(move |at| {
                let key = |what: &str| format!("{word}{at}_{what}");
                let count = fields.number(&key("count")).unwrap_or(0);
                let reason = fields.text(&key("reason")).unwrap_or_default();
                Some((fields.text(&key("node"))?.into_owned(), count, reason.into_owned()))
            })
        })
    }

    /// How many values are listed of one node.
    fn count(&self, word: &'static str, of: &Label) -> u64 {
        self.listed(word).find(|(node, ..)| node == of.as_str()).map_or(0, |(_, count, _)| count)
    }
}

/// How many values the streams have that a bridge has not seen; `seen` is how far it has.
pub(super) fn behind(
    streams: &[StreamStatus],
    is_part: bool,
    seen: impl Fn(Stream) -> Option<u64>,
) -> u64 {
    // Where a part is followed, the numbers of the others' records are not seen.
    let counted = stream::ALL.into_iter().filter(|one| !is_part || *one != Stream::State);
    let behind = |stream: Stream| {
        let there = streams.iter().find(|there| there.name == stream.name())?;
        Some(there.last_sequence.saturating_sub(seen(stream)?))
    };
    counted.filter_map(behind).sum()
}

/// Adds it to the answer of `zeta cluster status`, with what the store said to it.
pub fn add(object: &mut Object, seen: &Seen, store: &Status, ctx: &Context) {
    let now = ctx.now();
    if let Some(fields) = &seen.status {
        object.objects("bridge", [fields], |object, fields| {
            object.flag("runs", seen.runs);
            if let Some(behind) = seen.behind(store) {
                object.number("behind", behind);
            }
            object.fields(fields);
        });
    }
    object.objects("peers", &seen.peers, |object, peer| {
        let card = peer.card.as_ref();
        object.text("node", peer.node.as_str());
        object.flag("silent", card.is_some_and(|card| is_silent(&card.seen, &now)));
        object.flag("verified", card.is_some_and(|card| card.verified));
        if let Some(age_ms) = card.and_then(|card| card.age_ms(&now)) {
            object.number("card_age_ms", age_ms);
        }
        object.text_if("machine_id", card.and_then(|card| card.seen.card.machine_id.as_deref()));
        object.number("records", peer.records);
        object.number("refused", seen.count(REFUSED, &peer.node));
        object.number("forged", seen.count(FORGED, &peer.node));
        object.number("passed_over", seen.count(FLOOD, &peer.node));
        if let Some(card) = card {
            object.number("damaged", card.seen.card.damaged);
        }
    });
}

/// What the bridge did not take of other nodes, for people.
fn add_refused(text: &mut String, seen: &Seen, fields: &Fields<'_>) {
    for (word, of) in [(REFUSED, "refused  "), (FORGED, "forged   in the name of ")] {
        for (node, count, reason) in seen.listed(word) {
            let (node, reason) = (printable(&node), printable(&reason));
            let _ = write!(text, "\n{of}{node}: {count} values, the last because {reason}");
        }
    }
    let flood = seen.listed(FLOOD).map(|(node, count, _)| (printable(&node).into_owned(), count));
    let strangers = fields.number("flood_of_strangers");
    let strangers = strangers.map(|count| ("nodes whose keys are not known".to_owned(), count));
    for (node, count) in flood.chain(strangers) {
        let _ = write!(
            text,
            "\nflood    of {node}: {count} values were passed over, because more came than this \
             bridge takes at once; they are read every 30 s"
        );
    }
}

/// The same for people; empty if there is nothing to say.
pub fn text(seen: &Seen, store: &Status, ctx: &Context) -> String {
    let now = ctx.now();
    let mut text = String::new();
    if let Some(fields) = &seen.status {
        let get = |key: &str| printable(&fields.text(key).unwrap_or_default()).into_owned();
        let state = if seen.runs { get("state") } else { "does not run".to_owned() };
        let _ = write!(text, "\nbridge   of {}: {state} since {}", get("node"), get("since"));
        if let Some(behind) = seen.behind(store) {
            let number = |key: &str| fields.number(key).unwrap_or(0);
            let _ = write!(
                text,
                "\nlag      behind by {}, {} to send; messages: behind by {}, {} to send",
                count(behind as usize, "value"),
                number("own_unsent"),
                number("mail_lag"),
                number("mail_pending"),
            );
        }
        if let Some(ms) = fields.raw("server_clock_ahead_ms") {
            let _ = write!(text, "\nclock    of the server: {} ms ahead", printable(ms));
        }
        if fields.raw("renewed_because").is_some() {
            let _ = write!(
                text,
                "\nepoch    {} since {}: {}",
                fields.number("renewed_epoch").unwrap_or(0),
                get("renewed_at"),
                get("renewed_because")
            );
        }
        if fields.text("follow").is_some_and(|follow| follow != "all") {
            let left = fields.number("not_followed").unwrap_or(0) as usize;
            let left = count(left, "other node");
            let _ = write!(text, "\nfollow   {}; not followed: {left}", get("follow"));
        }
        add_refused(&mut text, seen, fields);
        if fields.raw("fault").is_some() {
            let count = fields.number("fault_count").unwrap_or(1);
            let _ =
                write!(text, "\nfault    {} ({count} times, {})", get("fault"), get("fault_at"));
        }
    }
    for peer in &seen.peers {
        let card = match &peer.card {
            None => "no card yet".to_owned(),
            Some(card) => {
                let silent = if is_silent(&card.seen, &now) { ", silent" } else { "" };
                let odd = if card.verified { "" } else { ", not verified" };
                match card.age_ms(&now) {
                    Some(age_ms) => format!("card {} ago{silent}{odd}", format_duration(age_ms)),
                    None => format!("card of before the last boot{odd}"),
                }
            }
        };
        let _ = write!(
            text,
            "\npeer     {}: {card}, {}",
            peer.node,
            count(peer.records as usize, "record")
        );
    }
    text
}
