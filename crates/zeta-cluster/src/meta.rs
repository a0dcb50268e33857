//! What the cluster is: one record, written by compare-and-set.

use zeta_core::record::{Damage, Fields, Text, parse};
use zeta_core::time::{format_utc, parse_utc};

/// Most bytes of the record.
const MAX: usize = 4096;
/// The kind of the record.
const KIND: &str = "cluster";

/// The record of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// A random number of 128 bits in hex: which cluster this is.
    pub id: String,
    /// Grows when the servers lost what they had acknowledged.
    pub epoch: u64,
    /// Each later fencing token is higher.
    pub token_floor: u64,
    /// Until then (µs since the Unix epoch) no lease is granted.
    pub no_grant_before_us: i64,
    /// A lease has a subject for each node, which a pattern guards. Else it has one for all nodes.
    pub lease_by_pattern: bool,
    /// When the cluster was made, by the clock of the caller (µs since the Unix epoch).
    pub created_us: i64,
}

impl Meta {
    /// Writes the record.
    pub(crate) fn render(&self) -> String {
        let mut fields = Fields::new(KIND);
        fields.push_text("cluster", &self.id);
        fields.push_number("cluster_epoch", self.epoch);
        fields.push_number("token_floor", self.token_floor);
        fields.push_text("no_grant_before", &format_utc(self.no_grant_before_us));
        fields.push_raw("lease_by_pattern", if self.lease_by_pattern { "true" } else { "false" });
        fields.push_text("created", &format_utc(self.created_us));
        fields.render()
    }

    /// Reads the record.
    ///
    /// # Errors
    /// It is damaged, or of another program.
    pub(crate) fn read(bytes: &[u8]) -> Result<Meta, Damage> {
        let Text::Own(fields) = parse(bytes, MAX)? else { return Err(Damage::NoEnd) };
        fields.expect_kind(KIND)?;
        let text = |key| fields.text(key).ok_or(Damage::BadKey(key));
        let number = |key| fields.number(key).ok_or(Damage::BadKey(key));
        let time = |key| parse_utc(&text(key)?).map_err(|_| Damage::BadKey(key));
        let id = text("cluster")?.into_owned();
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(Meta {
            id: if is_id { id } else { return Err(Damage::BadKey("cluster")) },
            epoch: number("cluster_epoch")?,
            token_floor: number("token_floor")?,
            no_grant_before_us: time("no_grant_before")?,
            lease_by_pattern: match fields.raw("lease_by_pattern") {
                Some("true") => true,
                Some("false") => false,
                _ => return Err(Damage::BadKey("lease_by_pattern")),
            },
            created_us: time("created")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta {
            id: "0123456789abcdef0123456789abcdef".to_owned(),
            epoch: 3,
            token_floor: 1_795_899_006_604_563,
            no_grant_before_us: 0,
            lease_by_pattern: true,
            created_us: 1_795_899_006_604_563,
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for lease_by_pattern in [true, false] {
            let meta = Meta { lease_by_pattern, ..meta() };
            assert_eq!(Meta::read(meta.render().as_bytes()), Ok(meta));
        }
    }

    #[test]
    fn a_damaged_record_is_never_read_as_a_cluster() {
        let whole = meta().render();
        for cut in 0..whole.len() {
            assert!(Meta::read(&whole.as_bytes()[..cut]).is_err(), "{cut}");
        }
        for (from, to) in [
            ("0123456789", "012345678"),
            ("epoch: 3", "epoch: -3"),
            ("true\nc", "1\nc"),
            ("Z\"", "\""),
        ] {
            assert!(whole.contains(from), "{from}");
            assert!(Meta::read(whole.replacen(from, to, 1).as_bytes()).is_err(), "{from}");
        }
        assert!(Meta::read(b"cluster: 7\n").is_err());
    }
}
