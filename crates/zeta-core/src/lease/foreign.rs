//! What the record of another program says about its lease. Nothing is decided by it: people and
//! scripts read it.

use crate::record::Fields;
use crate::time::parse_utc;

/// The keys of the founding text: any program may write them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// `agent:`
    pub agent: Option<String>,
    /// `pid:`
    pub pid: Option<u64>,
    /// `timestamp:`, in microseconds since the Unix epoch.
    pub since_us: Option<i64>,
    /// `pr:`
    pub pr: Option<u64>,
}

impl Said {
    /// Reads the keys that are there and can be understood.
    pub fn from_fields(fields: &Fields<'_>) -> Said {
        let text = |key| fields.text(key).filter(|text| !text.is_empty());
        let number = |key| text(key).and_then(|text| text.trim_start_matches('#').parse().ok());
        Said {
            agent: text("agent").map(|text| text.into_owned()),
            pid: number("pid"),
            since_us: text("timestamp").and_then(|text| parse_utc(&text).ok()),
            pr: number("pr"),
        }
    }

    /// Names the holder: by its agent, else by its process.
    pub fn who(&self) -> Option<String> {
        self.agent.clone().or_else(|| Some(format!("pid {}", self.pid?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Text, parse};

    #[test]
    fn a_record_by_another_hand_says_what_can_be_understood() {
        let read = |text: &str| match parse(text.as_bytes(), 4096) {
            Ok(Text::Foreign(fields)) => Said::from_fields(&fields),
            other => panic!("{other:?}"),
        };
        let said = read("agent: otto\npid: 77\ntimestamp: \"1970-01-01T00:00:01Z\"\npr: #42\n");
        let agent = Some("otto".to_owned());
        let whole = Said { agent, pid: Some(77), since_us: Some(1_000_000), pr: Some(42) };
        assert_eq!((said.who().as_deref(), said), (Some("otto"), whole));
        let said = read("agent:\npid: 77\ntimestamp: soon\npr: many\n");
        assert_eq!(said, Said { pid: Some(77), ..Said::default() });
        assert_eq!(said.who().as_deref(), Some("pid 77"));
        assert_eq!(read("12345\n").who(), None);
    }
}
