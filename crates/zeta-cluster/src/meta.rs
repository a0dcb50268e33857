//! The record of the cluster as `init` writes it: that of the core, with what was proven and when.

use zeta_core::cluster::Id;
use zeta_core::cluster::epoch::{self, WIRE};
use zeta_core::record::{Damage, Fields, Text, parse, quote};
use zeta_core::time::{format_utc, parse_utc};

/// Most bytes of the record.
const MAX: usize = 4096;
/// The longest TTL of a lease of the cluster, in ms, if a caller of `init` names no
/// other one. For as long no lease is granted after a loss, so it is short.
pub const MAX_TTL_DEFAULT_MS: u64 = 15 * 60_000;
/// The keys that are added to those of the core.
const BY_PATTERN: &str = "lease_by_pattern";
const CREATED: &str = "created";

/// The record of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// What holds for the whole cluster.
    pub held: epoch::Meta,
    /// A lease has a subject for each node, which a pattern guards. Else it has one for all nodes.
    pub lease_by_pattern: bool,
    /// When the cluster was made, by the clock of the caller (µs since the Unix epoch).
    pub created_us: i64,
}

impl Meta {
    /// The record of a new cluster.
    pub(crate) fn new(
        cluster: Id,
        lease_by_pattern: bool,
        max_ttl_ms: u64,
        created_us: i64,
    ) -> Meta {
        let held = epoch::Meta {
            cluster,
            epoch: 1,
            floor: 0,
            no_grant_before_us: 0,
            max_ttl_ms,
            wire_min: WIRE,
            wire_max: WIRE,
            extra: vec![
                (BY_PATTERN.to_owned(), lease_by_pattern.to_string()),
                (CREATED.to_owned(), quote(&format_utc(created_us))),
            ],
        };
        Meta { held, lease_by_pattern, created_us }
    }

    /// Writes the record.
    pub(crate) fn render(&self) -> String {
        self.held.to_fields().render()
    }

    /// Reads the record.
    ///
    /// # Errors
    /// It is damaged, or of another program.
    pub(crate) fn read(bytes: &[u8]) -> Result<Meta, Damage> {
        let Text::Own(fields) = parse(bytes, MAX)? else { return Err(Damage::NoEnd) };
        Ok(Meta {
            held: epoch::Meta::of(&fields)?,
            lease_by_pattern: match fields.raw(BY_PATTERN) {
                Some("true") => true,
                Some("false") => false,
                _ => return Err(Damage::BadKey(BY_PATTERN)),
            },
            created_us: time(&fields, CREATED)?,
        })
    }
}

fn time(fields: &Fields<'_>, key: &'static str) -> Result<i64, Damage> {
    let text = fields.text(key).ok_or(Damage::BadKey(key))?;
    parse_utc(&text).map_err(|_| Damage::BadKey(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(lease_by_pattern: bool) -> Meta {
        let id = "0123456789abcdef0123456789abcdef".parse().unwrap();
        Meta::new(id, lease_by_pattern, 900_000, 1_795_899_006_604_563)
    }

    #[test]
    fn what_is_written_reads_back() {
        for lease_by_pattern in [true, false] {
            let meta = meta(lease_by_pattern);
            assert_eq!(Meta::read(meta.render().as_bytes()), Ok(meta));
        }
    }

    #[test]
    fn a_damaged_record_is_never_read_as_a_cluster() {
        let whole = meta(true).render();
        for cut in 0..whole.len() {
            assert!(Meta::read(&whole.as_bytes()[..cut]).is_err(), "{cut}");
        }
        for (from, to) in [
            ("0123456789", "012345678"),
            ("epoch: 1", "epoch: -1"),
            ("pattern: true", "pattern: 1"),
            ("Z\"", "\""),
        ] {
            assert!(whole.contains(from), "{from} is not in {whole}");
            assert!(Meta::read(whole.replacen(from, to, 1).as_bytes()).is_err(), "{from}");
        }
        assert!(Meta::read(b"cluster: 7\n").is_err());
    }
}
