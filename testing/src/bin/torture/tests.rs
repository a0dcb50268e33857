//! Short logs: those in which the judge must find a violation, and those in which it must not.

use super::*;

fn judged(name: &str, log: &str, torment: &str) -> Verdict {
    let mut verdict = Verdict::default();
    judge_lease(name, log, &super::torment(torment), &mut verdict);
    verdict
}

#[test]
fn grants_that_were_lost_before_they_could_be_read_are_judged_however_many_they_are() {
    let round = |n: u64| {
        let (at, next) = (n * 100, n * 100 + 10);
        let late = next + 5;
        format!("enter {n} {at} {next} 0 command 7\nleave {n} {late}\nlost {n} {late} {late}\n")
    };
    let log: String = (1..200).map(round).collect();
    let verdict = judged("short-1", &log, "");
    assert_eq!(verdict.violations, Vec::<String>::new());
}

#[test]
fn what_a_lease_may_do_is_not_convicted() {
    for (what, log, torment) in [
        (
            "in turn",
            "enter 1 10 20 900 plain 7\nleave 1 30\nfreed 1 31 40\n\
                     enter 2 15 35 900 plain 8\nleave 2 50\nfreed 2 51 60\n",
            "",
        ),
        (
            "killed inside",
            "enter 1 10 20 900 plain 7\nenter 2 15 45 900 plain 8\nleave 2 50\n",
            "kill 40 7\n",
        ),
        (
            "asked and killed between the stamp and the signal",
            "enter 1 10 20 900 plain 7\nenter 2 15 45 900 plain 8\nleave 2 50\n",
            "kill 5 7\nkilled 30 7\n",
        ),
        (
            "the wrapper was killed",
            "enter 1 10 20 900 exec 7,6,5\nenter 2 15 45 900 plain 8\n\
                     leave 2 50\n",
            "kill 40 6\n",
        ),
        (
            "replaced past its right, and told so",
            "enter 1 10 20 100 plain 7\n\
                     enter 2 15 105 900 plain 8\nleave 2 140\nleave 1 150\nlost 1 151 160\n",
            "",
        ),
        (
            "renewed, then replaced",
            "enter 1 10 20 100 renew 7\nrenew 1 90 95 195\n\
                     enter 2 15 200 900 plain 8\nleave 1 300\nlost 1 301 302\nleave 2 310\n",
            "",
        ),
        (
            "lines out of order",
            "enter 2 15 35 900 plain 8\nenter 1 10 20 900 plain 7\n\
                     leave 2 40\nleave 1 30\nfreed 1 31 36\n",
            "",
        ),
    ] {
        let verdict = judged("short-1", log, torment);
        assert_eq!(verdict.violations, Vec::<String>::new(), "{what}");
    }
    let verdict = judged(
        "calm-0",
        "enter 1 10 20 900 plain 7\nenter 2 15 45 900 plain 8\n\
                     leave 2 50\n",
        "kill 40 7\n",
    );
    assert_eq!((verdict.killed_inside, verdict.takeovers), (1, vec![5]));
}

#[test]
fn what_a_lease_must_not_do_is_convicted() {
    for (what, log, torment) in [
        (
            "two inside",
            "enter 1 10 20 900 plain 7\nenter 2 15 25 900 plain 8\nleave 1 30\n\
                     leave 2 40\n",
            "",
        ),
        (
            "granted before the kill",
            "enter 1 10 20 900 plain 7\nenter 2 15 35 900 plain 8\n\
                     leave 2 50\n",
            "kill 40 7\n",
        ),
        (
            "granted while nobody but time could end it",
            "enter 1 10 20 900 command 7\nenter 2 15 45 900 plain 8\n\
                     leave 2 50\n",
            "kill 40 7\n",
        ),
        (
            "robbed within its right",
            "enter 1 10 20 100 plain 7\nenter 2 15 95 900 plain 8\n\
                     leave 2 140\nleave 1 150\nlost 1 151 160\n",
            "",
        ),
        (
            "tokens against time",
            "enter 2 10 20 900 plain 7\nleave 2 30\nenter 1 40 50 900 plain 8\n\
                     leave 1 60\n",
            "",
        ),
        (
            "the same token twice",
            "enter 1 10 20 900 plain 7\nleave 1 30\nenter 1 40 50 900 plain 8\n\
                     leave 1 60\n",
            "",
        ),
        (
            "a late release that succeeds",
            "enter 1 10 20 100 plain 7\nenter 2 15 105 900 plain 8\n\
                     leave 2 140\nleave 1 150\nfreed 1 151 160\n",
            "",
        ),
        (
            "a late renewal that succeeds",
            "enter 1 10 20 100 plain 7\nenter 2 15 105 900 plain 8\n\
                     leave 2 140\nrenew 1 145 149 249\nleave 1 150\n",
            "",
        ),
        ("lost within its right", "enter 1 10 20 900 plain 7\nleave 1 30\nlost 1 31 40\n", ""),
        ("never left", "enter 1 10 20 900 plain 7\n", ""),
        ("a fault", "fault 10 20 fault the disk\n", ""),
        ("a call that hung", "refused 10 40000000011 waited\n", ""),
        ("nobody's line", "leave 1 10\n", ""),
        ("no line", "garbage\n", ""),
    ] {
        assert!(!judged("short-1", log, torment).violations.is_empty(), "{what}");
    }
}

#[test]
fn the_wild_lease_owes_nothing_but_the_order_of_its_grants() {
    let two_inside = "enter 1 10 20 900 plain 7\nenter 2 15 25 900 plain 8\nfault 1 2 unsafe x\n";
    assert_eq!(judged("wild-2", two_inside, "").violations, Vec::<String>::new());
    let back = "enter 2 10 20 900 plain 7\nenter 1 40 50 900 plain 8\n";
    assert!(!judged("wild-2", back, "").violations.is_empty());
    assert!(!judged("wild-2", "fault 1 2 fault x\n", "").violations.is_empty());
}

#[test]
fn a_torn_read_and_a_token_that_goes_back_are_convicted() {
    let mut verdict = Verdict::default();
    judge_reads("reads 0 5\nreads 1 4\nreads 0 9\n", &mut verdict);
    assert_eq!((verdict.reads, verdict.violations.len()), (13, 0));
    judge_reads("torn x y: z\nback x 1 after 2\n", &mut verdict);
    assert_eq!((verdict.torn, verdict.violations.len()), (1, 2));
}

#[test]
fn a_refusal_counts_only_while_nobody_can_have_the_lease_unseen() {
    let log = |how: &str, more: &str| {
        format!("enter 1 10 20 900 {how} 7\nleave 1 30\nfreed 1 31 40\n{more}")
    };
    let start = "start 5 7 calm-0 plain\n";
    let killed = "kill 90 7 7 plain calm-0\nkilled 91 7\ndead 95 7\n";
    for (what, how, more, torment, count, convicted) in [
        ("while held", "plain", "refused 25 28 held\n", start.to_owned(), 1, false),
        ("at the end", "plain", "refused 25 60 held\n", start.to_owned(), 1, false),
        ("while free", "plain", "refused 50 60 held\n", start.to_owned(), 0, true),
        ("after a wait", "plain", "refused 50 60 waited\n", start.to_owned(), 0, false),
        ("beside a kill", "plain", "refused 50 60 held\n", format!("{start}{killed}"), 0, false),
        ("after a death", "plain", "refused 96 97 held\n", format!("{start}{killed}"), 0, true),
        (
            "beside what a killed command may have taken",
            "command",
            "refused 96 97 held\n",
            "kill 90 8 7 command calm-0\nkilled 91 8\n".to_owned(),
            0,
            false,
        ),
        (
            "beside a kill at another lease",
            "plain",
            "refused 50 60 held\n",
            format!("{start}kill 90 9 9 plain calm-3\nkilled 91 9\ndead 95 9\n"),
            0,
            true,
        ),
    ] {
        let verdict = judged("calm-0", &log(how, more), &torment);
        assert_eq!(!verdict.violations.is_empty(), convicted, "{what}: {:?}", verdict.violations);
        assert_eq!(verdict.judged_refusals, count, "{what}");
    }
}

#[test]
fn a_holder_that_was_reaped_refuses_nobody() {
    let log = |refused| format!("enter 1 10 20 900 plain 7\nrefused {refused} held\n");
    let torment = "kill 30 7 7 plain calm-0\nkilled 31 7\ndead 40 7\n";
    assert!(judged("calm-0", &log("35 45"), torment).violations.is_empty());
    assert!(!judged("calm-0", &log("41 45"), torment).violations.is_empty());
}

#[test]
fn two_that_have_an_item_at_once_are_convicted() {
    let one = "enter 5 10 20 900 claim 7\nleave 5 40\nfreed 5 41 50\n";
    let convicted =
        |other: &str| !judged("item-7", &format!("{one}{other}"), "").violations.is_empty();
    // A token of the clock that runs since the boot is smaller than any of zeta.
    assert!(!convicted("enter 2 30 45 900 foreign 8\nleave 2 60\n"));
    assert!(convicted("enter 2 30 39 900 foreign 8\nleave 2 60\n"));
    assert!(convicted("enter 2 1 5 900 foreign 8\n"), "a kill ends no right");
    assert!(!convicted("enter 2 1 5 15 foreign 8\n"), "its right ended before");
    assert!(convicted("enter 6 1 5 8 claim 8\n"), "a later token was granted earlier");
    assert!(convicted("fault 1 2 fault x\n"));
    assert!(!convicted("fault 1 2 busy x\n"));
}
