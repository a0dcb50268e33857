//! The copy of another node's record: a readable file that gives the signed bytes back.
//!
//! The keys of the observer stand before the last line and begin with `copy_`. No record of a node
//! may have such a key, so it is always clear who says what. Text by another program is wrapped
//! into a record of the kind `foreign`.

use super::Id;
use super::replay::{Counter, Mark};
use crate::evidence::{Age, Stamp, is_same_boot};
use crate::name::Label;
use crate::record::{self, Damage, Fields, KEYS_MAX, Text};
use crate::time::{Host, NS_PER_MS, Now};

/// How a key of the observer begins.
pub const PREFIX: &str = "copy_";
/// The kind of a record that holds text by another program.
pub const FOREIGN_KIND: &str = "foreign";
/// The last line of a record.
const END: &str = "end: true\n";
/// Most keys that the observer adds.
const ADDED: usize = 14;
/// Most bytes that they add.
const ADDED_BYTES: usize = 1024;

/// The key by which a copy is known.
const OBSERVED: &str = "copy_observed_boot_ns";

/// The keys of the counters.
const COUNTER: &str = "copy_counter";
const COUNTER_EPOCH: &str = "copy_counter_epoch";
const GONE_COUNTER: &str = "copy_gone_counter";
const GONE_EPOCH: &str = "copy_gone_epoch";
const GONE_SEQUENCE: &str = "copy_gone_sequence";
/// The key that says how rarely the observer reads cards.
const CARD_EVERY: &str = "copy_card_every_ms";

/// Returns whether a record is the copy of another node's.
pub fn is_copy(fields: &Fields<'_>) -> bool {
    fields.raw(OBSERVED).is_some()
}

/// The stamp by which a copy is judged: that of its observer. The clocks of the other machine
/// cannot be compared with those of this one.
pub(crate) fn stamp_of(fields: &Fields<'_>) -> Result<Stamp, Damage> {
    let Moment { boot_ns, boot_id, time_ns } = About::of(fields)?.observed;
    Ok(Stamp { boot_id, machine_id: None, time_ns, boot_ns, wall_us: None })
}

/// Most bytes of the copy of a record that may have `max`. A wrapped character has at most six.
pub const fn copy_max(max: usize) -> usize {
    6 * max + ADDED_BYTES
}

/// What the observer says about a record of another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The node that wrote the record.
    pub node: Label,
    /// The cluster.
    pub cluster: Id,
    /// The epoch of the cluster in which it was read.
    pub epoch: u64,
    /// The revision of the record in the store.
    pub sequence: u64,
    /// When the observer first saw this revision.
    pub observed: Moment,
    /// The key of the node signed it.
    pub verified: bool,
    /// The counter of the value, if the key of the node signed it.
    pub counter: Option<Counter>,
    /// In the copy of a card: the record of this node that was taken back after it, as the number
    /// and the counter of the value that said so.
    pub gone: Option<(u64, Counter)>,
    /// In the copy of a card: the longest time between two readings, of an observer to whom cards
    /// are not sent as they are written.
    pub card_every_ms: Option<u64>,
}

/// A moment by the boot clock of an observer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// The boot clock.
    pub boot_ns: u64,
    /// The boot.
    pub boot_id: String,
    /// The time namespace, which shifts the boot clock.
    pub time_ns: Option<u64>,
}

impl Moment {
    /// This moment.
    pub fn at(now: &Now) -> Moment {
        let Host { boot_id, time_ns, .. } = now.host;
        Moment { boot_ns: now.reading.boot_ns, boot_id: boot_id.clone(), time_ns: *time_ns }
    }

    /// How long ago it was. A moment of another boot or of another clock says nothing.
    pub fn age(&self, now: &Now) -> Age {
        let comparable = is_same_boot(&self.boot_id, now.host) && self.time_ns == now.host.time_ns;
        match now.reading.boot_ns.checked_sub(self.boot_ns) {
            Some(age_ns) if comparable => Age::Ms(age_ns / NS_PER_MS),
            _ => Age::Unclear,
        }
    }
}

/// Decides when the observer first saw a revision: as it remembers, if it saw the same one, or a
/// value with the same counter, before by the same clock, else now.
pub fn decide_observed(
    before: Option<&About>,
    cluster: &Id,
    (epoch, sequence): (u64, u64),
    counter: Option<Counter>,
    now: &Now,
) -> Moment {
    let same = before.filter(|before| {
        let same_value = (before.epoch, before.sequence) == (epoch, sequence)
            || (counter.is_some() && counter == before.counter);
        before.cluster == *cluster && same_value && before.observed.age(now) != Age::Unclear
    });
    same.map_or_else(|| Moment::at(now), |before| before.observed.clone())
}

/// Why a record of another node does not become a copy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is damaged.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// It has a key that belongs to observers.
    #[error("it has the key {0:?}, which only an observer may write")]
    ForgedKey(String),
    /// It says that it is a wrapped text, which only an observer may say.
    #[error("its kind is {FOREIGN_KIND:?}, which only an observer may write")]
    ForgedKind,
}

/// Writes the copy of a record that may have `max` bytes.
pub fn write(original: &[u8], max: usize, about: &About) -> Result<String, Refusal> {
    let mut text = match record::parse(original, max)? {
        Text::Own(fields) => {
            if let Some((key, _)) = fields.iter().find(|(key, _)| key.starts_with(PREFIX)) {
                return Err(Refusal::ForgedKey(key.to_owned()));
            }
            if fields.text("kind").is_some_and(|kind| kind == FOREIGN_KIND) {
                return Err(Refusal::ForgedKind);
            }
            if fields.iter().count() > KEYS_MAX - ADDED {
                return Err(Damage::TooManyKeys(KEYS_MAX - ADDED).into());
            }
            fields.render()
        }
        Text::Foreign(_) => {
            let text = std::str::from_utf8(original).map_err(|_| Damage::NotUtf8)?;
            let mut wrapped = Fields::new(FOREIGN_KIND);
            wrapped.push_text("text", text);
            wrapped.render()
        }
    };
    text.truncate(text.len() - END.len());
    text.push_str(&about.to_lines());
    Ok(text)
}

/// Reads a copy of a record that may have `max` bytes: what the observer says, and the original
/// byte by byte.
pub fn read(copy: &[u8], max: usize) -> Result<(About, Vec<u8>), Damage> {
    let Text::Own(fields) = record::parse(copy, copy_max(max))? else {
        return Err(Damage::BadKey("schema"));
    };
    let about = About::of(&fields)?;
    if fields.text("kind").is_some_and(|kind| kind == FOREIGN_KIND) {
        let text = fields.text("text").ok_or(Damage::BadKey("text"))?;
        return Ok((about, text.as_bytes().to_vec()));
    }
    let text = std::str::from_utf8(copy).map_err(|_| Damage::NotUtf8)?;
    let lines = text.split_inclusive('\n').filter(|line| !line.starts_with(PREFIX));
    Ok((about, lines.collect::<String>().into_bytes()))
}

impl About {
    /// Reads what the observer says in the record of a copy.
    pub fn of(fields: &Fields<'_>) -> Result<About, Damage> {
        let text = |key| fields.text(key).ok_or(Damage::BadKey(key));
        let number = |key| fields.number(key).ok_or(Damage::BadKey(key));
        let time_ns = match fields.raw("copy_time_ns") {
            None => None,
            Some(_) => Some(number("copy_time_ns")?),
        };
        let epoch = number("copy_epoch")?;
        Ok(About {
            node: text("copy_node")?.parse().map_err(|_| Damage::BadKey("copy_node"))?,
            cluster: text("copy_cluster")?.parse().map_err(|_| Damage::BadKey("copy_cluster"))?,
            epoch,
            sequence: number("copy_sequence")?,
            observed: Moment {
                boot_ns: number(OBSERVED)?,
                boot_id: text("copy_boot_id")?.into_owned(),
                time_ns,
            },
            verified: match fields.raw("copy_verified") {
                Some("true") => true,
                Some("false") => false,
                _ => return Err(Damage::BadKey("copy_verified")),
            },
            counter: read_counter(fields, epoch, COUNTER, COUNTER_EPOCH)?,
            gone: match read_counter(fields, epoch, GONE_COUNTER, GONE_EPOCH)? {
                None => None,
                Some(counter) => Some((number(GONE_SEQUENCE)?, counter)),
            },
            card_every_ms: match fields.raw(CARD_EVERY) {
                None => None,
                Some(_) => Some(number(CARD_EVERY)?),
            },
        })
    }

    /// The value as the last one that was taken of its record; none if its node's key did not
    /// sign it, or if it is one of another cluster.
    pub fn mark(&self, cluster: &Id) -> Option<Mark> {
        let counter = self.counter.filter(|_| self.verified && self.cluster == *cluster)?;
        Some(Mark { store_epoch: self.epoch, sequence: self.sequence, counter })
    }

    /// In the copy of a card: the last value that is known to have come from its node.
    pub fn last_mark(&self, cluster: &Id) -> Option<Mark> {
        let card = self.mark(cluster)?;
        let gone = self.gone.map(|(sequence, counter)| Mark { sequence, counter, ..card });
        Some(gone.filter(|gone| gone.counter > card.counter).unwrap_or(card))
    }

    /// The lines of the observer, and the last line of the record.
    fn to_lines(&self) -> String {
        let mut fields = Fields::default();
        fields.push_text("copy_node", self.node.as_str());
        fields.push_text("copy_cluster", self.cluster.as_str());
        fields.push_number("copy_epoch", self.epoch);
        fields.push_number("copy_sequence", self.sequence);
        fields.push_number(OBSERVED, self.observed.boot_ns);
        fields.push_text("copy_boot_id", &self.observed.boot_id);
        if let Some(time_ns) = self.observed.time_ns {
            fields.push_number("copy_time_ns", time_ns);
        }
        fields.push_raw("copy_verified", if self.verified { "true" } else { "false" });
        let mut push = |(epoch, counter): Counter, key, epoch_key| {
            fields.push_number(key, counter);
            if epoch != self.epoch {
                fields.push_number(epoch_key, epoch);
            }
        };
        if let Some(counter) = self.counter {
            push(counter, COUNTER, COUNTER_EPOCH);
        }
        if let Some((sequence, counter)) = self.gone {
            push(counter, GONE_COUNTER, GONE_EPOCH);
            fields.push_number(GONE_SEQUENCE, sequence);
        }
        if let Some(every_ms) = self.card_every_ms {
            fields.push_number(CARD_EVERY, every_ms);
        }
        fields.render()
    }
}

/// Reads a counter, whose epoch has a key of its own only if it is not that of the copy.
fn read_counter(
    fields: &Fields<'_>,
    epoch: u64,
    key: &'static str,
    epoch_key: &'static str,
) -> Result<Option<Counter>, Damage> {
    let number = |key| match fields.raw(key) {
        None => Ok(None),
        Some(_) => fields.number(key).map(Some).ok_or(Damage::BadKey(key)),
    };
    let epoch = number(epoch_key)?.unwrap_or(epoch);
    Ok(number(key)?.map(|counter| (epoch, counter)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::layout::RECORD_MAX;
    use crate::time::Reading;

    const OWN: &str = "schema: 1\nkind: \"lease\"\nlease: \"deploy\"\nttl_ms: 5\nend: true\n";

    fn host(boot_id: &str, time_ns: u64) -> Host {
        Host { boot_id: boot_id.into(), time_ns: Some(time_ns), ..Host::default() }
    }

    fn reading(boot_s: u64) -> Reading {
        Reading { boot_ns: boot_s * 1_000_000_000, awake_ns: 0, wall_us: 0 }
    }

    fn about() -> About {
        About {
            node: "node-b".parse().unwrap(),
            cluster: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            epoch: 3,
            sequence: 41,
            observed: Moment { boot_ns: 7_000_000_000, boot_id: "b1".into(), time_ns: Some(1) },
            verified: true,
            counter: Some((3, 77)),
            gone: None,
            card_every_ms: None,
        }
    }

    #[test]
    fn a_copy_is_the_original_with_the_words_of_the_observer() {
        let copy = write(OWN.as_bytes(), RECORD_MAX, &about()).unwrap();
        let expected = "schema: 1\nkind: \"lease\"\nlease: \"deploy\"\nttl_ms: 5\n\
                        copy_node: \"node-b\"\n\
                        copy_cluster: \"0123456789abcdef0123456789abcdef\"\n\
                        copy_epoch: 3\ncopy_sequence: 41\ncopy_observed_boot_ns: 7000000000\n\
                        copy_boot_id: \"b1\"\ncopy_time_ns: 1\ncopy_verified: true\n\
                        copy_counter: 77\nend: true\n";
        assert_eq!(copy, expected);
        assert_eq!(read(copy.as_bytes(), RECORD_MAX), Ok((about(), OWN.as_bytes().to_vec())));
        assert!(copy.len() - OWN.len() <= ADDED_BYTES);
    }

    #[test]
    fn a_copy_is_judged_by_the_clock_of_its_observer_and_by_no_process_of_this_machine() {
        use crate::evidence::Processes;
        let own = "schema: 1\nkind: \"lease\"\nlease: \"deploy\"\nfencing_token: 7\n\
                   lease_id: \"x\"\nagent: \"otto\"\npid: 4711\npid_ns: 9\n\
                   boot_id: \"far away\"\nacquired_boot_ns: 1\nrenewed_boot_ns: 5\n\
                   ttl_ms: 60000\nend: true\n";
        let name = crate::name::RecordName::new("lease", "deploy").unwrap();
        let record = |text: &str| {
            let Ok(Text::Own(fields)) = record::parse(text.as_bytes(), 1 << 20) else {
                panic!("{text}");
            };
            crate::lease::Record::from_fields(&fields, &name).unwrap()
        };
        let copy = record(&write(own.as_bytes(), RECORD_MAX, &about()).unwrap());
        assert_eq!(copy.processes, Processes::default());
        assert_eq!((copy.renewed.boot_id.as_str(), copy.renewed.boot_ns), ("b1", 7_000_000_000));
        assert!(record(own).processes.own.is_some());
    }

    #[test]
    fn a_peer_does_not_speak_for_the_observer() {
        let with = |line: &str| OWN.replace("end:", &format!("{line}\nend:"));
        let refused = |text: &str| write(text.as_bytes(), RECORD_MAX, &about()).unwrap_err();
        let forged = Refusal::ForgedKey("copy_verified".into());
        assert_eq!(refused(&with("copy_verified: true")), forged);
        assert_eq!(refused(&OWN.replace("\"lease\"", "\"foreign\"")), Refusal::ForgedKind);
        // Also where the word is written in another way.
        assert_eq!(refused(&OWN.replace("\"lease\"", "\"f\\u006freign\"")), Refusal::ForgedKind);
        assert_eq!(refused("schema: 2\nend: true\n"), Damage::UnknownSchema("2".into()).into());
        assert_eq!(refused(&"x".repeat(RECORD_MAX + 1)), Damage::TooLong(RECORD_MAX).into());
        let keys: String = (0..KEYS_MAX - ADDED).map(|at| format!("k{at}: 1\n")).collect();
        let many = format!("schema: 1\n{keys}end: true\n");
        let too_many = Refusal::Damaged(Damage::TooManyKeys(KEYS_MAX - ADDED));
        assert_eq!(write(many.as_bytes(), 1 << 20, &about()), Err(too_many));
    }

    #[test]
    fn a_copy_without_the_words_of_the_observer_is_damaged() {
        let copy = write(OWN.as_bytes(), RECORD_MAX, &about()).unwrap();
        for (from, to, key) in [
            ("copy_node: \"node-b\"\n", "", "copy_node"),
            ("node-b", "..", "copy_node"),
            ("89abcdef\"", "\"", "copy_cluster"),
            ("copy_epoch: 3", "copy_epoch: \"3\"", "copy_epoch"),
            ("copy_verified: true", "copy_verified: 1", "copy_verified"),
            ("copy_time_ns: 1", "copy_time_ns: true", "copy_time_ns"),
            ("copy_counter: 77", "copy_counter: \"77\"", "copy_counter"),
            ("copy_counter: 77", "copy_gone_counter: 77", "copy_gone_sequence"),
        ] {
            let changed = copy.replacen(from, to, 1);
            assert_eq!(read(changed.as_bytes(), RECORD_MAX), Err(Damage::BadKey(key)), "{from}");
        }
        assert_eq!(read(b"a text", RECORD_MAX), Err(Damage::BadKey("schema")));
    }

    #[test]
    fn the_age_of_a_revision_is_counted_by_one_clock_only() {
        let moment = about().observed;
        for (host, boot_s, age) in [
            (host("b1", 1), 9, Age::Ms(2_000)),
            (host("b1", 1), 7, Age::Ms(0)),
            (host("b1", 1), 6, Age::Unclear),
            (host("b2", 1), 9, Age::Unclear),
            (host("b1", 2), 9, Age::Unclear),
        ] {
            let now = Now { reading: reading(boot_s), host: &host };
            assert_eq!(moment.age(&now), age, "{host:?}");
        }
    }

    #[test]
    fn a_revision_is_observed_once_and_a_new_one_anew() {
        let (here, about) = (host("b1", 1), about());
        let now = Now { reading: reading(9), host: &here };
        let other: Id = "f".repeat(32).parse().unwrap();
        let observed = |before, cluster: &Id, of| decide_observed(before, cluster, of, None, &now);
        assert_eq!(observed(Some(&about), &about.cluster, (3, 41)), about.observed);
        // The same value in a store that counts anew, and another one.
        let again = |counter| {
            decide_observed(Some(&about), &about.cluster, (4, 7), Some((3, counter)), &now)
        };
        assert_eq!((again(77), again(78)), (about.observed.clone(), Moment::at(&now)));
        for (before, cluster, of) in [
            (None, &about.cluster, (3, 41)),
            (Some(&about), &other, (3, 41)),
            (Some(&about), &about.cluster, (3, 42)),
            (Some(&about), &about.cluster, (4, 41)),
        ] {
            assert_eq!(observed(before, cluster, of), Moment::at(&now), "{of:?}");
        }
        let rebooted = host("b2", 1);
        let later = Now { reading: reading(9), host: &rebooted };
        let again = decide_observed(Some(&about), &about.cluster, (3, 41), None, &later);
        assert_eq!(again, Moment::at(&later), "a moment of another boot says nothing");
    }

    #[test]
    fn a_copy_keeps_the_counters_by_which_an_older_value_is_known() {
        let cluster = about().cluster;
        let mark = |sequence, counter| Some(Mark { store_epoch: 3, sequence, counter });
        let later = About { counter: Some((2, 9)), gone: Some((44, (3, 80))), ..about() };
        for (about, own, last) in [
            (about(), mark(41, (3, 77)), mark(41, (3, 77))),
            (later.clone(), mark(41, (2, 9)), mark(44, (3, 80))),
            (
                About { gone: Some((40, (1, 80))), ..later.clone() },
                mark(41, (2, 9)),
                mark(41, (2, 9)),
            ),
            // What is not signed says nothing, and a copy of a former version has no counter.
            (About { verified: false, ..later.clone() }, None, None),
            (About { counter: None, gone: None, ..about() }, None, None),
        ] {
            let copy = write(OWN.as_bytes(), RECORD_MAX, &about).unwrap();
            let (read, _) = read(copy.as_bytes(), RECORD_MAX).unwrap();
            assert_eq!(read, about, "{copy}");
            assert_eq!((read.mark(&cluster), read.last_mark(&cluster)), (own, last), "{copy}");
        }
        assert_eq!(later.mark(&"f".repeat(32).parse().unwrap()), None);
    }

    proptest! {
        #[test]
        fn any_text_of_another_program_comes_back_byte_by_byte(text in "(?s).{0,300}") {
            if matches!(record::parse(text.as_bytes(), RECORD_MAX), Ok(Text::Foreign(_))) {
                let copy = write(text.as_bytes(), RECORD_MAX, &about()).unwrap();
                let back = read(copy.as_bytes(), RECORD_MAX);
                prop_assert_eq!(back, Ok((about(), text.into_bytes())));
            }
        }

        #[test]
        fn any_record_comes_back_byte_by_byte(
            values in proptest::collection::vec(("[a-z][a-z0-9_]{0,20}", "(?s).{0,30}"), 0..20),
        ) {
            let mut text = "schema: 1\nkind: \"x\"\n".to_owned();
            for (at, (key, value)) in values.iter().enumerate() {
                text.push_str(&format!("x{at}{key}: {}\n", record::quote(value)));
            }
            text.push_str(END);
            let copy = write(text.as_bytes(), RECORD_MAX * 4, &about()).unwrap();
            let back = read(copy.as_bytes(), RECORD_MAX * 4);
            prop_assert_eq!(back, Ok((about(), text.into_bytes())));
        }

        #[test]
        fn no_bytes_are_a_reason_to_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            lines in "(schema: 1\n)?(kind: \"foreign\"\n)?(copy_[a-z]{1,9}: [a-z0-9\"]{1,9}\n)*",
        ) {
            let text = [lines.as_bytes(), END.as_bytes()].concat();
            for bytes in [bytes, text] {
                let _ = write(&bytes, RECORD_MAX, &about());
                let _ = read(&bytes, RECORD_MAX);
            }
        }
    }
}
