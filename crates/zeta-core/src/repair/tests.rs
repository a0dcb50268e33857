//! The gate as tables, and what must hold whatever it is asked.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_000_000;

fn label(name: &str) -> Label {
    name.parse().unwrap()
}

fn patterns(texts: &[&str]) -> Option<Vec<UnitPattern>> {
    Some(texts.iter().map(|text| UnitPattern::try_from((*text).to_owned()).unwrap()).collect())
}

fn permission(scope: Scope, until_us: Option<i64>) -> Permission {
    Permission { scope, units: None, until_us, reason: None }
}

fn policy(needs_post: bool, permissions: Vec<Permission>) -> Policy {
    let rules = Rules { needs_post, permissions };
    Policy { personas: BTreeMap::from([(label("otto"), rules)]) }
}

fn token() -> FencingToken {
    FencingToken::new(7).unwrap()
}

/// Asks for otto, and returns the reason of a refusal.
fn ask(policy: &Policy, scope: Scope, unit: Option<&str>, who: Who) -> Result<(), String> {
    let (otto, unit) = (label("otto"), unit.map(|unit| Unit::new(unit).unwrap()));
    let asked = Question { persona: &otto, scope, unit: unit.as_ref(), who };
    match decide(policy, &asked, NOW) {
        Verdict::Allowed(permission) => {
            assert!(permission.scope >= scope);
            Ok(())
        }
        Verdict::Refused(refusal) => Err(refusal.to_string()),
    }
}

#[test]
fn a_scope_includes_those_below_it_and_none_above() {
    for (level, most) in Scope::ALL.iter().enumerate() {
        let policy = policy(true, vec![permission(*most, None)]);
        for (asked, scope) in Scope::ALL.iter().enumerate() {
            let answer = ask(&policy, *scope, None, Who::AtPost(token()));
            assert_eq!(answer.is_ok(), asked <= level, "{scope} with {most}: {answer:?}");
        }
    }
    let refused = ask(
        &policy(true, vec![permission(Scope::Restart, None)]),
        Scope::Rebuild,
        None,
        Who::AtPost(token()),
    );
    assert_eq!(refused, Err("otto may go as far as restart, and rebuild is more".to_owned()));
}

#[test]
fn who_may_look_and_who_may_change_something() {
    let ok = Ok(());
    let stranger = "the caller is not otto: it has another name, and no post of that persona";
    let not_there = "another session stands at a guard post as otto";
    let no_tick = "the lease guard-post.otto is held, but no supervisor of a guard post is seen \
                   above it";
    let needs = "otto stands at no guard post, and its rules ask for one";
    for (who, needs_post, look, restart) in [
        (Who::AtPost(token()), true, ok, ok),
        (Who::AtPost(token()), false, ok, ok),
        (Who::NoTick(token()), true, ok, Err(no_tick)),
        (Who::NoTick(token()), false, ok, ok),
        (Who::Named, true, ok, Err(needs)),
        (Who::Named, false, ok, ok),
        (Who::NotAtPost(Some(token())), true, ok, Err(not_there)),
        (Who::NotAtPost(None), false, ok, Err(not_there)),
        (Who::Stranger, true, Err(stranger), Err(stranger)),
        (Who::Stranger, false, Err(stranger), Err(stranger)),
    ] {
        let policy = policy(needs_post, vec![permission(Scope::Restart, None)]);
        let text = |answer: Result<(), &str>| answer.map_err(str::to_owned);
        assert_eq!(ask(&policy, Scope::ReadOnly, None, who), text(look), "{who:?}");
        assert_eq!(ask(&policy, Scope::Restart, None, who), text(restart), "{who:?}");
    }
    let nobody = Policy::default();
    let refused = ask(&nobody, Scope::ReadOnly, None, Who::AtPost(token()));
    assert_eq!(refused, Err("the policy has no persona otto".to_owned()));
}

#[test]
fn a_grant_ends_at_its_time_and_says_so() {
    for (until_us, answer) in [
        (NOW + 1, Ok(())),
        (
            NOW,
            Err("the grant of write-cluster to otto ended at 1970-01-01T00:00:01.000000Z"
                .to_owned()),
        ),
    ] {
        let granted = permission(Scope::WriteCluster, Some(until_us));
        let policy = policy(true, vec![permission(Scope::ReadOnly, None), granted]);
        assert_eq!(ask(&policy, Scope::WriteCluster, None, Who::AtPost(token())), answer);
    }
}

#[test]
fn units_of_a_restart_are_those_of_one_permission() {
    let some =
        Permission { units: patterns(&["k3s", "zeta-*"]), ..permission(Scope::Restart, None) };
    let policy = policy(true, vec![some.clone()]);
    let restart = |unit| ask(&policy, Scope::Restart, unit, Who::AtPost(token()));
    assert_eq!(restart(Some("k3s.service")), Ok(()));
    assert_eq!(restart(Some("k3s")), Ok(()));
    assert_eq!(restart(Some("zeta-guard-post@1.service")), Ok(()));
    let refused = Err("otto may not restart ssh.service".to_owned());
    assert_eq!(restart(Some("ssh")), refused);
    let missing = Err("otto may restart some units only, and none was named".to_owned());
    assert_eq!(restart(None), missing);
    // A wider permission with units has them for restarts only.
    let wide = Permission { scope: Scope::Rebuild, ..some };
    let policy = super::tests::policy(true, vec![wide]);
    assert_eq!(ask(&policy, Scope::Rebuild, None, Who::AtPost(token())), Ok(()));
    assert_eq!(ask(&policy, Scope::Restart, Some("ssh"), Who::AtPost(token())), refused);
    // No unit at all is not the same as all units.
    let none = Permission { units: Some(Vec::new()), ..permission(Scope::Restart, None) };
    let policy = super::tests::policy(true, vec![none]);
    assert!(ask(&policy, Scope::Restart, Some("k3s"), Who::AtPost(token())).is_err());
}

#[test]
fn a_unit_has_the_name_that_systemd_gives_it() {
    for (name, whole) in [
        ("k3s", Some("k3s.service")),
        ("k3s.service", Some("k3s.service")),
        ("fstrim.timer", Some("fstrim.timer")),
        ("a.b", Some("a.b.service")),
        ("getty@tty1.service", Some("getty@tty1.service")),
        ("-.slice", Some("-.slice")),
        ("", None),
        ("k3s.service ", None),
        ("a\nb", None),
        ("*", None),
        ("/etc/passwd", None),
        ("ü", None),
    ] {
        let unit = Unit::new(name).ok();
        assert_eq!(unit.as_ref().map(Unit::as_str), whole, "{name:?}");
    }
    assert!(Unit::new(&"x".repeat(247)).is_ok() && Unit::new(&"x".repeat(248)).is_err());
    for (pattern, unit, is_match) in [
        ("*", "k3s.service", true),
        ("k3s", "k3s.service", true),
        ("k3s", "k3s.socket", false),
        ("k3s*", "k3s.socket", true),
        ("*.timer", "fstrim.timer", true),
        ("*.timer", "timer.service", false),
        ("a*a.service", "a.service", false),
        ("a*b*c.service", "axbxbxc.service", true),
        ("a*b*c.service", "acb.service", false),
    ] {
        let pattern = UnitPattern::try_from(pattern.to_owned()).unwrap();
        assert_eq!(pattern.matches(&Unit::new(unit).unwrap()), is_match, "{pattern:?} {unit}");
    }
    for bad in ["", "a b", "k3s/*", "[ab]"] {
        assert!(UnitPattern::try_from(bad.to_owned()).is_err(), "{bad:?}");
    }
}

#[test]
fn a_line_of_the_log_is_short_and_comes_back_and_a_torn_one_is_none() {
    let entry = Entry {
        outcome: "refused".to_owned(),
        persona: "p".repeat(5000),
        scope: "é".repeat(5000),
        unit: Some("a\"b\nc".to_owned()),
        fencing_token: Some(7),
        reason: "because".to_owned(),
        ..Entry::default()
    };
    let line = entry.render(NOW);
    assert!(line.len() < 2000 && line.ends_with('\n') && line.trim_end().lines().count() == 1);
    let read = Entry::parse(line.trim_end()).unwrap();
    assert_eq!((read.at.as_str(), read.fencing_token), ("1970-01-01T00:00:01.000000Z", Some(7)));
    assert_eq!((read.unit.as_deref(), read.reason.as_str()), (Some("a\"b\nc"), "because"));
    assert!(read.persona.ends_with('…') && read.scope.ends_with('…'));
    (0..line.len() - 1).filter(|at| line.is_char_boundary(*at)).for_each(|at| {
        assert_eq!(Entry::parse(&line[..at]), None, "{at}");
    });
}

fn scopes() -> impl Strategy<Value = Scope> {
    prop::sample::select(Scope::ALL.to_vec())
}

fn permissions() -> impl Strategy<Value = Permission> {
    let until = prop::option::of(NOW - 2..NOW + 2);
    let units = prop::option::of(prop::collection::vec("[ab*]{1,4}", 0..3));
    (scopes(), until, units).prop_map(|(scope, until_us, units)| {
        let units = units.map(|texts| {
            texts.into_iter().map(|text| UnitPattern::try_from(text).unwrap()).collect()
        });
        Permission { scope, units, until_us, reason: None }
    })
}

proptest! {
    #[test]
    fn what_is_allowed_is_covered_by_one_permission_of_now(
        permissions in prop::collection::vec(permissions(), 0..4),
        needs_post: bool, scope in scopes(), unit in prop::option::of("[ab]{1,4}"), who in 0..6,
    ) {
        let who = [
            Who::AtPost(token()), Who::Named, Who::Stranger, Who::NotAtPost(None),
            Who::NotAtPost(Some(token())), Who::NoTick(token()),
        ][who as usize];
        let unit = unit.map(|unit| Unit::new(&unit).unwrap());
        let policy = policy(needs_post, permissions.clone());
        let otto = label("otto");
        let asked = Question { persona: &otto, scope, unit: unit.as_ref(), who };
        let is_allowed = matches!(decide(&policy, &asked, NOW), Verdict::Allowed(_));
        // The same, said in another way.
        let is_known = matches!(who, Who::AtPost(_))
            || matches!(who, Who::Named | Who::NoTick(_)) && !needs_post
            || scope == Scope::ReadOnly && who != Who::Stranger;
        let covers = |one: &Permission| {
            let names = one.units.as_ref().is_none_or(|patterns| {
                unit.as_ref().is_some_and(|unit| patterns.iter().any(|one| one.matches(unit)))
            });
            one.scope >= scope
                && one.until_us.unwrap_or(i64::MAX) > NOW
                && (scope != Scope::Restart || names)
        };
        prop_assert_eq!(is_allowed, is_known && permissions.iter().any(covers));
    }
}

#[test]
fn the_lease_of_a_supervisor_is_known_by_its_number() {
    for (lease, is_one) in [
        ("guard-post-1", true),
        ("guard-post-12", true),
        ("guard-post-", false),
        ("guard-post-scheduler", false),
        ("guard-post-1.otto", false),
        ("guard-post.otto", false),
        ("deploy", false),
    ] {
        assert_eq!(is_of_supervisor(lease), is_one, "{lease}");
    }
}
