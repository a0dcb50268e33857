//! Ranges of addresses, and whether one overlaps those that the network here has.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::Error as _};

/// A range of addresses of IPv4, as in `10.42.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    first: u32,
    bits: u8,
}

impl Range {
    fn new(address: u32, bits: u8) -> Option<Range> {
        let range = Range { first: address & mask(bits), bits };
        (bits <= 32).then_some(range)
    }

    /// Returns whether both have an address.
    pub fn overlaps(self, other: Range) -> bool {
        let shorter = mask(self.bits.min(other.bits));
        self.first & shorter == other.first & shorter
    }
}

fn mask(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0)
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.first), self.bits)
    }
}

impl FromStr for Range {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Range, &'static str> {
        let parse = || {
            let (address, bits) = text.split_once('/')?;
            Range::new(address.parse::<Ipv4Addr>().ok()?.into(), bits.parse().ok()?)
        };
        parse().ok_or("a range of addresses is written as in \"10.42.0.0/16\"")
    }
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Range, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// The ranges of `/proc/net/route`, without the route to everything; `None` if it is no such text.
pub fn here(text: &str) -> Option<Vec<Range>> {
    let mut lines = text.lines();
    lines.next().filter(|line| line.starts_with("Iface"))?;
    let range = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Numbers of the network, in the order of bytes of the machine.
        let number = |at: usize| {
            let number = u32::from_str_radix(fields.get(at)?, 16).ok()?;
            Some(u32::from_be_bytes(number.to_ne_bytes()))
        };
        Range::new(number(1)?, number(7)?.count_ones() as u8)
    };
    let lines = lines.filter(|line| !line.trim().is_empty());
    let ranges: Option<Vec<Range>> = lines.map(range).collect();
    ranges.map(|ranges| ranges.into_iter().filter(|range| range.bits > 0).collect())
}

/// The pairs of a wanted range and one of the network here that overlap.
pub fn overlaps(wanted: &[Range], here: &[Range]) -> Vec<(Range, Range)> {
    let pairs = wanted.iter().flat_map(|one| here.iter().map(move |other| (*one, *other)));
    pairs.filter(|(one, other)| one.overlaps(*other)).collect()
}
