//! Short logs: those in which the judge must find a violation, and those in which it must not.

use super::*;

fn judged(log: &str, nemesis: &str, epochs: &str) -> Verdict {
    let mut verdict = Verdict::default();
    judge_lease("lease-0", log, &events(nemesis, epochs), &mut verdict);
    verdict
}

/// A grant: its id and token, when it was asked for and got, its deadline and its epoch.
fn grant(id: u64, asked: u64, got: u64, deadline: u64, epoch: u64) -> String {
    format!(
        "ask {id} {asked} {id}\nsent {id} {id} {asked}\n\
         granted {id} {id} {asked} {got} {deadline} {epoch} Free {id}\n"
    )
}

#[test]
fn what_a_lease_may_do_is_not_convicted() {
    let (first, second) = (grant(1, 10, 20, 100, 1), grant(2, 15, 45, 200, 1));
    for (what, log, nemesis) in [
        ("in turn", format!("{first}release 1 30\nreleased 1 30 40\n{second}"), ""),
        (
            "released without an answer",
            format!("{first}release 1 30\nunfreed 1 30 99\n{second}"),
            "",
        ),
        ("killed", format!("{first}{second}"), "fault 40 client killed 1 0\n"),
        ("past its deadline", format!("{first}{}", grant(2, 15, 100, 200, 1)), ""),
        ("renewed", format!("{first}renewed 1 50 60 150\n{}", grant(2, 15, 150, 200, 1)), ""),
        (
            "lost past its right",
            format!("{first}{}lost 1 105 110\n", grant(2, 15, 101, 200, 1)),
            "",
        ),
        (
            "refused, while the write of a killed one stood",
            format!("ask 9 5 9\nsent 9 9 6\n{}", grant(12, 10, 90, 200, 1)),
            "fault 40 client killed 9 0\n",
        ),
        ("unknown, and then known", "ask 9 5 9\nunknown 9 5 7\ndone 9 5 9 Held\n".to_owned(), ""),
    ] {
        let verdict = judged(&log, nemesis, "");
        assert_eq!(verdict.violations, Vec::<String>::new(), "{what}");
    }
}

#[test]
fn writes_that_were_refused_are_judged_however_many_they_are() {
    let sent: String = (200..300).map(|n| format!("sent 9 {n} 6\nrefused 9 {n}\n")).collect();
    let log = format!("ask 9 5 9\n{sent}{}", grant(12, 10, 90, 200, 1));
    let verdict = judged(&log, "fault 40 client killed 9 0\n", "");
    assert_eq!(verdict.violations, Vec::<String>::new());
}

#[test]
fn what_a_lease_must_not_do_is_convicted() {
    let first = grant(1, 10, 20, 100, 1);
    for (what, log, nemesis) in [
        ("two inside", format!("{first}{}", grant(2, 15, 99, 200, 1)), ""),
        (
            "two inside after a renewal",
            { format!("{first}renewed 1 50 60 150\n{}", grant(2, 15, 149, 200, 1)) },
            "",
        ),
        (
            "granted before the kill",
            { format!("{first}{}", grant(2, 15, 39, 200, 1)) },
            "fault 40 client killed 1 0\n",
        ),
        (
            "a token twice",
            format!("{first}release 1 30\nreleased 1 30 35\n{}", { grant(1, 40, 50, 100, 1) }),
            "",
        ),
        (
            "tokens against time",
            format!(
                "{}release 5 30\nreleased 5 30 35\n{}",
                { grant(5, 10, 20, 100, 1) },
                grant(4, 40, 50, 100, 1)
            ),
            "",
        ),
        (
            "a renewal after the next grant",
            format!("{first}{}renewed 1 105 110 300\n", { grant(2, 15, 101, 103, 1) }),
            "",
        ),
        (
            "a release after the next grant",
            format!(
                "{first}{}release 1 112 120\nreleased 1 112 120\nrenewed 2 130 140 300\n",
                grant(2, 15, 101, 200, 1)
            ),
            "",
        ),
        ("lost within its right", format!("{first}lost 1 30 40\n"), ""),
        ("no end", "ask 9 5 9\n".to_owned(), ""),
        ("a call that hung", "ask 9 5 9\ndone 9 5 120000000006 Held\n".to_owned(), ""),
        ("nobody's line", "release 7 30\n".to_owned(), ""),
        ("no line", "garbage\n".to_owned(), ""),
        ("nothing after the rest", first.clone(), "rest 21\n"),
    ] {
        assert!(!judged(&log, nemesis, "").violations.is_empty(), "{what}");
    }
}

#[test]
fn after_a_loss_only_grants_that_did_not_know_of_it_are_excused() {
    let nemesis = "fault 50 rolled back all\nover 55\n";
    let epochs = "seen 60 w RolledBack\nraise 60 2 7 stored\nraise 61 2 7 conflict\n";
    let first = grant(10, 10, 20, 100, 1);
    let unlearned = judged(&format!("{first}{}", grant(11, 51, 56, 90, 1)), nemesis, epochs);
    assert_eq!((unlearned.violations.len(), unlearned.excused, unlearned.unlearned), (0, 1, 1));
    assert_eq!(events(nemesis, epochs).losses, [(50, 2)]);
    assert!(!events(nemesis, epochs).raised_without_loss);
    assert!(events("", epochs).raised_without_loss);
    let learned = judged(&format!("{first}{}", grant(11, 70, 80, 200, 2)), nemesis, epochs);
    assert_eq!((learned.doubles, learned.excused), (1, 0), "the quarantine was too short");
    let unraised = judged(&format!("{first}{}", grant(11, 51, 56, 90, 1)), nemesis, "");
    assert_eq!(unraised.doubles, 1, "nobody noticed the loss");
}

#[test]
fn a_register_that_takes_an_older_token_is_convicted() {
    let judged = |log: &str| {
        let mut verdict = Verdict::default();
        judge_register("lease-0", log, &mut verdict);
        (verdict.writes, verdict.refused_writes, verdict.stale_writes, verdict.violations.len())
    };
    assert_eq!(judged("accepted 1 5 blind\naccepted 2 6 x\nrefused 1 7 blind\n"), (2, 1, 0, 0));
    assert_eq!(judged("accepted 2 5 blind\naccepted 1 6 blind\n"), (2, 0, 1, 1));
    assert_eq!(judged("refused 1 5 blind\n"), (0, 0, 0, 1), "refused without a reason");
}
