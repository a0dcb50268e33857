//! What tells this machine from every other one, without a secret: digests of its network cards.
//!
//! The reasons are in `docs/decisions/0013-*`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// A network card as the kernel shows it to every user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Its address, as in `00:1b:21:0a:0b:0c`.
    pub address: String,
    /// The address is the card's own: neither random nor set by a program.
    pub own_address: bool,
    /// It can be unplugged and carried to another machine, as one on USB can.
    pub portable: bool,
}

/// Returns the bindings of a machine: one digest for each of its cards, sorted. Two machines have
/// none in common, and a machine that gains or loses a card keeps the others. None are known where
/// no card can be seen, as in most containers: the caller must not guess then.
///
/// An address that its maker assigned names one card in the world. One that was assigned locally,
/// as in a virtual machine, counts only together with the machine id.
pub fn bindings(cards: &[Card], machine_id: Option<&str>) -> Vec<String> {
    let fixed = cards.iter().filter(|card| card.own_address && !card.portable);
    let digests: BTreeSet<String> = fixed
        .filter_map(|card| {
            let by_maker = assigned_by_maker(&card.address)?;
            Some(match (by_maker, machine_id) {
                (true, _) => digest(&card.address, ""),
                (false, Some(id)) => digest(&card.address, id),
                (false, None) => return None,
            })
        })
        .collect();
    digests.into_iter().collect()
}

/// Returns whether an Ethernet address was assigned by the card's maker; `None` if it is not the
/// address of one card.
fn assigned_by_maker(address: &str) -> Option<bool> {
    let octets: Option<Vec<u8>> = address
        .split(':')
        .map(|octet| u8::from_str_radix(octet, 16).ok().filter(|_| octet.len() == 2))
        .collect();
    let octets = octets.filter(|octets| octets.len() == 6)?;
    let first = *octets.first()?;
    let one_card = first & 1 == 0 && octets.iter().any(|octet| *octet != 0);
    one_card.then_some(first & 2 == 0)
}

fn digest(address: &str, machine_id: &str) -> String {
    let text = format!("zeta machine 1\n{}\n{machine_id}\n", address.to_ascii_lowercase());
    let mut hex = String::with_capacity(32);
    for byte in Sha256::digest(text.as_bytes()).iter().take(16) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(address: &str) -> Card {
        Card { address: address.into(), own_address: true, portable: false }
    }

    const MADE: &str = "00:1b:21:0a:0b:0c";
    const LOCAL: &str = "52:54:00:12:34:56";

    #[test]
    fn a_machine_is_known_by_any_of_its_cards() {
        let (one, two) = (card(MADE), card("00:1b:21:0a:0b:0d"));
        let both = bindings(&[two.clone(), one.clone(), one.clone()], Some("m"));
        assert_eq!(both.len(), 2, "each card once");
        assert_eq!(both, bindings(&[one.clone(), two], None), "in one order, of a maker's alone");
        let alone = bindings(&[one], Some("another installation"));
        assert!(both.contains(alone.first().unwrap()), "a card that went leaves the others");
    }

    #[test]
    fn a_local_address_counts_with_the_machine_id_only() {
        let virtual_card = [card(LOCAL)];
        assert_eq!(bindings(&virtual_card, None), Vec::<String>::new());
        let m1 = bindings(&virtual_card, Some("m1"));
        assert_eq!(m1.len(), 1);
        assert_ne!(m1, bindings(&virtual_card, Some("m2")));
        assert_ne!(m1, bindings(&[card("52:54:00:12:34:57")], Some("m1")), "a cloned image");
        assert!(m1.iter().all(|binding| !binding.contains("m1") && !binding.contains("52:54")));
    }

    #[test]
    fn what_does_not_stay_with_the_machine_does_not_count() {
        let set = Card { own_address: false, ..card(MADE) };
        let plugged = Card { portable: true, ..card(MADE) };
        let odd =
            ["", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "0:1:2:3:4:5"];
        let mut cards = Vec::from([set, plugged]);
        cards.extend(odd.map(card));
        cards.push(card("80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:0a:0b:0c"));
        assert_eq!(bindings(&cards, Some("m")), Vec::<String>::new());
    }
}
