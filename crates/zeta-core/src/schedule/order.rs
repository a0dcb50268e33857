//! Whose turn it is.

use std::collections::BTreeMap;

use super::policy::{Order, Policy};
use super::state::Served;
use crate::name::Label;

/// Returns the personas in the order in which they come to the next free post: places in the list
/// of the policy.
///
/// While the same personas can stand, all three orders go round: over any number of turns no
/// persona stands more than one turn more often than another one.
pub fn line_up(
    policy: &Policy,
    served: &BTreeMap<Label, Served>,
    last: Option<&Label>,
) -> Vec<usize> {
    let mut places: Vec<usize> = (0..policy.personas.len()).collect();
    let name = |place: &usize| policy.personas.get(*place).map(|persona| &persona.name);
    match policy.rotation.order {
        Order::RoundRobin => {}
        Order::Random => shuffle(&mut places, policy.rotation.seed),
        Order::LeastRecentlyUsed => {
            let number = |place: &usize| Some(served.get(name(place)?)?.number);
            places.sort_by_key(|place| (number(place), *place));
            return places;
        }
    }
    let after = last.and_then(|last| places.iter().position(|place| name(place) == Some(last)));
    places.rotate_left(after.map_or(0, |at| (at + 1) % policy.personas.len().max(1)));
    places
}

/// Shuffles a list (Fisher and Yates) by numbers that a seed gives (SplitMix64).
fn shuffle(list: &mut [usize], seed: u64) {
    let mut state = seed;
    for at in (1..list.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let other = (mixed ^ (mixed >> 31)) % (at as u64 + 1);
        list.swap(at, other as usize);
    }
}
