//! What must hold in every state that can be reached.

use std::collections::BTreeSet;

use stateright::Property;

use super::bridge::is_good;
use super::protocol::Protocol;
use super::world::{Clock, Fault, GRACE_TICKS, Kind, Life, Pc, Seen, TTL_TICKS, World};

/// All claims.
pub fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always("at most one believer passes a check", one_passes_check),
        Property::always("at most one reckons with a lease", one_reckons),
        Property::always("tokens grow", |_: &Protocol, w: &World| {
            !w.faults.has(Fault::TokenNotLarger)
        }),
        Property::always("fenced commits are in order", |_: &Protocol, w: &World| {
            !w.faults.has(Fault::FencedOutOfOrder)
        }),
        Property::always("a documented limit", |protocol: &Protocol, w: &World| {
            protocol.limit.is_none_or(|limit| !w.faults.has(limit))
        }),
        Property::always("nobody is robbed early", |_: &Protocol, w: &World| {
            !w.faults.has(Fault::RobbedEarly)
        }),
        Property::always("only the dead are called dead", |_: &Protocol, w: &World| {
            !w.faults.has(Fault::LivingCalledDead)
        }),
        Property::always("this boot is not another one", |_: &Protocol, w: &World| {
            !w.faults.has(Fault::OtherBootOnThisBoot)
        }),
        Property::always("only a holder changes its lease", |_: &Protocol, w: &World| {
            !w.faults.has(Fault::NotTheHoldersChange)
        }),
        Property::always("a guard without its name grants nothing", |_: &Protocol, w: &World| {
            !w.faults.has(Fault::NamelessGuardGrants)
        }),
        Property::always("no older token is answered again", |_: &Protocol, w: &World| {
            !w.faults.has(Fault::OldTokenAgain)
        }),
        Property::always("no lease is wedged", not_wedged),
    ]
}

/// Sessions, because two calls of one session are one holder.
fn sessions<F: Fn(usize) -> bool>(protocol: &Protocol, world: &World, holds: F) -> usize {
    let holders = (0..world.procs.len()).filter(|at| {
        let proc = &world.procs[*at];
        let works = proc.alive || proc.child_alive || protocol.kinds[*at] == Kind::Session;
        works && holds(*at)
    });
    holders.map(|at| protocol.sessions[at]).collect::<BTreeSet<u8>>().len()
}

fn one_passes_check(protocol: &Protocol, world: &World) -> bool {
    // Two with different tokens cannot both pass; the core is asked where it matters.
    let believers = world.procs.iter().filter(|proc| proc.belief.is_some()).count();
    let seen = Seen { lease: world.lease, life: Life::Unknown };
    believers <= 1
        || sessions(protocol, world, |at| {
            world.procs[at]
                .belief
                .is_some_and(|belief| protocol.passes_check(at, belief.token, &seen, world.clock()))
        }) <= 1
}

fn one_reckons(protocol: &Protocol, world: &World) -> bool {
    let reckoning = sessions(protocol, world, |at| {
        world.procs[at].belief.is_some_and(|belief| is_good(belief.renewed, world.tick))
    });
    reckoning <= 1 || world.meddled
}

/// Nobody dead keeps a flock, the dead hold nothing, and time frees everything.
fn not_wedged(protocol: &Protocol, world: &World) -> bool {
    let inside = |at: u8| !matches!(world.procs[usize::from(at)].pc, Pc::Idle | Pc::Dead);
    if !world.guards.iter().filter_map(|guard| guard.locked_by).all(inside) {
        return false;
    }
    let Some(lease) = world.lease else { return true };
    if world.procs.iter().any(|proc| !matches!(proc.pc, Pc::Idle | Pc::Dead)) {
        return true;
    }
    let owner = usize::from(lease.owner);
    let proc = &world.procs[owner];
    let dead = proc.incarnation != lease.incarnation || !proc.alive && !proc.child_alive;
    if protocol.kinds[owner] != Kind::Session && dead {
        return protocol.is_grantable(world, world.clock(), lease);
    }
    let late = lease.renewed.tick.max(world.tick) + TTL_TICKS + GRACE_TICKS + 1;
    let clock = Clock { tick: late, ..world.clock() };
    protocol.is_grantable(world, clock, lease)
}
