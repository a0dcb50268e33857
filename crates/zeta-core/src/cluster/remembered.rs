//! The file in which a bridge keeps what it remembers of its cluster, over restarts and reboots.

use super::epoch::{CardSeen, Meta, Remembered};
use super::subject::Stream;
use crate::record::{Damage, Fields, Text, parse};

/// The `kind` of the record.
pub const KIND: &str = "cluster_memory";
/// Most bytes of the file.
pub const MAX: usize = 16 * 1024;

const HIGHEST_TOKEN: &str = "highest_token";
const COUNTER_SENT: &str = "counter_sent";
const META: &str = "meta";

impl Remembered {
    /// Writes it.
    pub fn render(&self) -> String {
        let mut fields = Fields::new(KIND);
        fields.push_text(META, &self.meta.to_fields().render());
        for (stream, made, last) in &self.streams {
            let word = stream.word();
            fields.push_text(&format!("{word}_made"), made);
            fields.push_number(&format!("{word}_last"), *last);
        }
        fields.push_number(HIGHEST_TOKEN, self.highest_token);
        fields.push_number(COUNTER_SENT, self.counter_sent);
        if let Some(card) = &self.card {
            fields.push_text("card_instance", card.instance.as_str());
            fields.push_number("card_counter", card.counter);
            fields.push_number("card_sequence", card.sequence);
        }
        fields.render()
    }

    /// Reads it.
    pub fn read(bytes: &[u8]) -> Result<Remembered, Damage> {
        let Text::Own(fields) = parse(bytes, MAX)? else { return Err(Damage::NoEnd) };
        fields.expect_kind(KIND)?;
        let meta = fields.text(META).ok_or(Damage::BadKey(META))?;
        let Text::Own(meta) = parse(meta.as_bytes(), MAX)? else { return Err(Damage::NoEnd) };
        let number = |key: &'static str| fields.number(key).ok_or(Damage::BadKey(key));
        let stream = |stream: Stream| {
            let word = stream.word();
            let made = fields.text(&format!("{word}_made"))?.into_owned();
            Some((stream, made, fields.number(&format!("{word}_last"))?))
        };
        let card = match fields.text("card_instance") {
            None => None,
            Some(instance) => Some(CardSeen {
                instance: instance.parse().map_err(|_| Damage::BadKey("card_instance"))?,
                counter: number("card_counter")?,
                sequence: number("card_sequence")?,
            }),
        };
        Ok(Remembered {
            meta: Meta::of(&meta)?,
            streams: Stream::ALL.into_iter().filter_map(stream).collect(),
            highest_token: number(HIGHEST_TOKEN)?,
            card,
            counter_sent: number(COUNTER_SENT)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(card: Option<CardSeen>) -> Remembered {
        Remembered {
            meta: Meta {
                cluster: "0123456789abcdef0123456789abcdef".parse().unwrap(),
                epoch: 3,
                floor: 9,
                no_grant_before_us: 77,
                max_ttl_ms: 5,
                wire_min: 1,
                wire_max: 1,
                extra: vec![("lease_by_pattern".into(), "true".into())],
            },
            streams: vec![
                (Stream::State, "2026-11-28T01:02:03.4Z".into(), 41),
                (Stream::Meta, "x".into(), 1),
            ],
            highest_token: 700,
            card,
            counter_sent: 31,
        }
    }

    #[test]
    fn what_is_remembered_reads_back_and_a_cut_file_is_damaged() {
        let instance = "f".repeat(32).parse().unwrap();
        let card = CardSeen { instance, counter: 30, sequence: 39 };
        for memory in [remembered(None), remembered(Some(card))] {
            let text = memory.render();
            assert_eq!(Remembered::read(text.as_bytes()), Ok(memory));
            for cut in 0..text.len() {
                assert!(Remembered::read(&text.as_bytes()[..cut]).is_err(), "{cut}");
            }
        }
    }
}
