//! The adapter of GitHub: what it finds, and what each fault of each call comes to.

use std::time::{Duration, Instant};

use zeroize::Zeroizing;
use zeta_core::registration::{Answer, Pull, PullState, body_marker, branch, node_path, title};
use zeta_registration::forge::github::{GitHub, Limits, RepoName};
use zeta_registration::forge::token::Token;
use zeta_registration::forge::{Forge, ForgeError, PullDraft, Search};

use super::fake_github::{FakeGithub, Fault, TOKEN};
use super::github_model::{Call, NAME, OWNER};

const NODE: &str = "node-1a";

/// Generous, for a slow machine.
const PATIENT: Limits = Limits {
    call: Duration::from_secs(20),
    patience: Duration::from_secs(40),
    pause: Duration::from_millis(10),
    bytes: 8 << 20,
};

/// For those who wait for an answer that does not come.
const HASTY: Limits =
    Limits { call: Duration::from_millis(700), patience: Duration::from_millis(2500), ..PATIENT };

fn github(fake: &FakeGithub) -> GitHub {
    github_with(fake, TOKEN, None, PATIENT)
}

fn github_with(fake: &FakeGithub, token: &str, base: Option<&str>, limits: Limits) -> GitHub {
    let repository = RepoName {
        api: fake.url.clone(),
        owner: OWNER.to_owned(),
        name: NAME.to_owned(),
        base: base.map(str::to_owned),
        fork: None,
    };
    let token = Token::new(Zeroizing::new(token.to_owned()), "this test").unwrap();
    GitHub::new(repository, token, limits).unwrap()
}

fn hasty(fake: &FakeGithub) -> GitHub {
    github_with(fake, TOKEN, None, HASTY)
}

fn draft() -> PullDraft {
    PullDraft {
        branch: branch(NODE),
        base: "main".to_owned(),
        title: title(NODE),
        body: body_marker(NODE),
    }
}

fn path() -> String {
    node_path("ace", NODE)
}

/// A fake to which the branch was pushed.
fn pushed() -> FakeGithub {
    let fake = FakeGithub::new();
    fake.model(|model| model.commit(&branch(NODE), &path(), "kind: ClusterNode\n"));
    fake
}

fn why<T: std::fmt::Debug>(answer: Answer<T>) -> String {
    let Answer::Unknown(why) = answer else { panic!("{answer:?}") };
    assert!(!why.contains(TOKEN), "{why}");
    why
}

fn numbers(answer: Answer<Vec<Pull>>) -> Vec<u64> {
    match answer {
        Answer::Found(pulls) => pulls.iter().map(|pull| pull.number).collect(),
        Answer::Absent => vec![],
        Answer::Unknown(why) => panic!("{why}"),
    }
}

#[test]
fn a_node_goes_from_absent_through_one_pull_request_to_the_default_branch() {
    let fake = pushed();
    let github = github(&fake);
    assert_eq!(github.file(&path()), Answer::Absent);
    assert_eq!(github.pulls(NODE, &path(), Search::Exhaustive), Answer::Absent);
    let opened = github.open(&draft()).unwrap();
    assert_eq!((opened.state, opened.branch.as_str()), (PullState::Open, branch(NODE).as_str()));
    assert_eq!(
        github.pulls(NODE, &path(), Search::Exhaustive),
        Answer::Found(vec![opened.clone()])
    );
    let again = github.open(&draft()).unwrap_err();
    assert!(
        matches!(&again, ForgeError::Conflict(why) if why.contains("already exists")),
        "{again:?}"
    );
    for text in ["still here, mark", "once more, mark"] {
        github.comment_once(opened.number, "mark", text).unwrap();
    }
    assert_eq!(fake.model(|model| model.comments.clone()), [(1, "still here, mark".to_owned())]);
    assert_eq!(github.arm_auto_merge(&opened), Ok(true));
    assert_eq!(github.arm_auto_merge(&opened), Ok(true), "armed already");
    assert_eq!(fake.asked(Call::Graphql), 1);
    fake.model(|model| model.merge(1));
    assert!(matches!(github.file(&path()), Answer::Found(blob) if blob.len() == 40));
    let Answer::Found(pulls) = github.pulls(NODE, &path(), Search::Exhaustive) else { panic!() };
    assert_eq!(pulls[0].state, PullState::Merged(1_779_185_472));
    assert!(why(github.file("maintainers/ace")).contains("not a file"));
}

#[test]
fn pull_requests_are_found_by_branch_title_and_body_whoever_opened_them_and_when() {
    let fake = FakeGithub::new();
    fake.model(|model| {
        for n in 0..230 {
            model.foreign(&format!("work-{n}"), "other work", "");
        }
        model.foreign("register-node-1a-20260519T101112Z", "odd", "");
        model.foreign("a", "feat(node-register): node-1a self-registers", "");
        model.foreign("b", "renamed", &body_marker(NODE));
        model.foreign("register/node-1a-20260519T101112Z", "closed long ago", "");
        model.close(234);
        // Enough that came after it, so that only a search finds it.
        for n in 0..120 {
            let number = model.foreign(&format!("later-{n}"), "other work", "");
            model.close(number);
        }
        model.foreign(
            "register-node-node-1ab",
            "node-register: node-1ab",
            &body_marker("node-1ab"),
        );
        model.foreign("register-node-node-1a", "of us, closed a moment ago", "");
        model.close(356);
    });
    let github = github(&fake);
    let whole = || numbers(github.pulls(NODE, &path(), Search::Exhaustive));
    assert_eq!(whole(), [231, 232, 233, 356], "one that is open is enough");
    assert_eq!((fake.asked(Call::Search), fake.asked(Call::Files)), (0, 0));
    fake.model(|model| [231, 232, 233].map(|number| model.close(number)));
    assert_eq!(whole(), [231, 232, 233, 234, 356]);
    fake.model(|model| model.search_lags = true);
    assert_eq!(whole(), [231, 232, 233, 356]);
    // Under another branch, title and text: it adds the file.
    let foreign = fake.model(|model| {
        model.commit("from-the-installer", &path(), "kind: ClusterNode\n");
        model.foreign("from-the-installer", "a new machine", "")
    });
    assert!(whole().contains(&foreign));
    fake.model(|model| model.close(foreign));
    fake.model(|model| (model.search_lags, model.search_incomplete) = (false, true));
    assert!(
        why(github.pulls(NODE, &path(), Search::Exhaustive)).contains("did not come to its end")
    );
}

#[test]
fn what_the_token_may_not_see_is_not_absent() {
    let fake = FakeGithub::new();
    let github = github(&fake);
    fake.model(|model| model.hidden = true);
    assert!(why(github.file(&path())).contains("may not see it"));
    assert!(why(github.pulls(NODE, &path(), Search::Exhaustive)).contains("may not see it"));
    fake.model(|model| (model.hidden, model.sealed) = (false, true));
    assert!(why(github.file(&path())).contains("may not see it"));
    fake.model(|model| model.sealed = false);
    assert_eq!(github.file(&path()), Answer::Absent);
    let other = github_with(&fake, TOKEN, Some("no-such-branch"), PATIENT);
    assert!(why(other.file(&path())).contains("git/ref/heads/no-such-branch"));
    let main = github_with(&fake, TOKEN, Some("main"), PATIENT);
    assert_eq!(main.file(&path()), Answer::Absent);
}

/// Every question that an answer to `file` or `pulls` rests on.
const QUESTIONS: [Call; 6] =
    [Call::Contents, Call::Repository, Call::Ref, Call::Pulls, Call::Pull, Call::Search];

fn with_one() -> FakeGithub {
    let fake = FakeGithub::new();
    // Closed, and found by the search only, so that it is asked for by its number too.
    fake.model(|model| {
        model.foreign("register-node-1a-20260519T101112Z", "odd", "");
        model.close(1);
        for n in 0..101 {
            let number = model.foreign(&format!("w{n}"), "", "");
            model.close(number);
        }
    });
    fake
}

#[test]
fn a_question_is_asked_again_after_a_fault_that_passes() {
    let fake = with_one();
    let github = github(&fake);
    for fault in [
        Fault::LostBefore,
        Fault::LostAfter,
        Fault::Status(500),
        Fault::Status(502),
        Fault::Malformed,
        Fault::Secondary(1),
        Fault::Primary(1),
    ] {
        for call in QUESTIONS {
            fake.fault(call, fault, 1);
        }
        assert_eq!(github.file(&path()), Answer::Absent, "{fault:?}");
        assert_eq!(numbers(github.pulls(NODE, &path(), Search::Exhaustive)), [1], "{fault:?}");
    }
}

/// Faults that last: each question is Unknown, and says why.
fn fails_for_good(calls: &[Call], limits: Limits, faults: &[(Fault, &str)]) {
    let fake = with_one();
    let github = github_with(&fake, TOKEN, None, limits);
    for (fault, words) in faults {
        for call in calls {
            fake.fault(*call, *fault, 20);
            let begun = Instant::now();
            let said = match call {
                Call::Contents | Call::Repository | Call::Ref => why(github.file(&path())),
                _ => why(github.pulls(NODE, &path(), Search::Exhaustive)),
            };
            let most = limits.patience + limits.call;
            assert!(begun.elapsed() < most, "{call:?} {fault:?}: {:?}", begun.elapsed());
            // A slow machine may come to the end of a short patience before the fault.
            let so = said.contains(words) || said.contains("timeout");
            assert!(so && said.contains("GET http://127.0.0.1:"), "{call:?} {fault:?}: {said}");
            assert!(!said.contains("s3cret"), "{said}");
            fake.fault(*call, *fault, 0);
        }
    }
}

/// What may pass by itself, and does not.
const LASTING: [(Fault, &str); 5] = [
    (Fault::LostBefore, ""),
    (Fault::Status(500), "500"),
    (Fault::Hang, "timeout"),
    (Fault::Huge, "larger than"),
    (Fault::Malformed, "cannot be read"),
];

#[test]
fn a_file_is_unknown_if_a_fault_does_not_pass_in_bounded_time() {
    fails_for_good(&QUESTIONS[..3], HASTY, &LASTING);
}

#[test]
fn pull_requests_are_unknown_if_a_fault_does_not_pass_in_bounded_time() {
    fails_for_good(&QUESTIONS[3..], HASTY, &LASTING);
}

#[test]
fn a_question_that_is_refused_is_unknown_and_says_what_would_help() {
    let refusals = [
        (Fault::Status(301), "has moved"),
        (Fault::Secondary(3600), "not before 3600 s"),
        (Fault::Primary(3600), "rate limit"),
        (Fault::Status(401), "gh auth login"),
        (Fault::TwoFactor, "two-factor"),
        (Fault::MissingScope, "gh auth refresh"),
        (Fault::SingleSignOn, "single sign-on"),
        (Fault::Permission, "pull_requests=write"),
        (Fault::Echo, "xxx"),
    ];
    fails_for_good(&QUESTIONS, PATIENT, &refusals);
}

/// What a fault of a change comes to.
fn expected(fault: Fault) -> (fn(&ForgeError) -> bool, &'static str) {
    let lost: fn(&ForgeError) -> bool = |trouble| matches!(trouble, ForgeError::Lost(_));
    let forbidden: fn(&ForgeError) -> bool = |trouble| matches!(trouble, ForgeError::Forbidden(_));
    let is_logged_out: fn(&ForgeError) -> bool =
        |trouble| matches!(trouble, ForgeError::Unauthenticated(_));
    let refused: fn(&ForgeError) -> bool = |trouble| matches!(trouble, ForgeError::Refused(_));
    match fault {
        Fault::Status(401) => (is_logged_out, "gh auth login"),
        Fault::TwoFactor => (is_logged_out, "two-factor"),
        Fault::Status(404) => (refused, "may not see it"),
        Fault::Status(307) => (refused, "has moved"),
        Fault::Echo => (refused, ""),
        Fault::Primary(_) => (|t| matches!(t, ForgeError::RateLimited(1..=60, _)), "not before"),
        Fault::Secondary(_) => (|t| matches!(t, ForgeError::RateLimited(60, _)), "not before 60 s"),
        Fault::MissingScope => (forbidden, "one of public_repo, repo"),
        Fault::SingleSignOn => (forbidden, "single sign-on"),
        Fault::NoWrite => (forbidden, "to a fork"),
        Fault::Protected => (forbidden, "the branch is protected"),
        Fault::Permission => (forbidden, "pull_requests=write"),
        _ => (lost, ""),
    }
}

#[test]
fn a_change_is_asked_for_once_whatever_happens_and_its_trouble_is_named() {
    for fault in [
        Fault::LostAfter,
        Fault::LostBefore,
        Fault::StatusAfter(502),
        Fault::Status(500),
        Fault::Status(404),
        Fault::Status(401),
        Fault::Status(307),
        Fault::Hang,
        Fault::Malformed,
        Fault::Huge,
        Fault::Primary(60),
        Fault::Secondary(60),
        Fault::TwoFactor,
        Fault::MissingScope,
        Fault::SingleSignOn,
        Fault::NoWrite,
        Fault::Protected,
        Fault::Permission,
        Fault::Echo,
    ] {
        let fake = pushed();
        let hangs = fault == Fault::Hang;
        let asking = if hangs { hasty(&fake) } else { github(&fake) };
        let (fits, words) = expected(fault);
        let check = |trouble: &ForgeError, call: Call| {
            let said = trouble.to_string();
            assert!(fits(trouble) && said.contains(words), "{call:?} {fault:?}: {trouble:?}");
            assert!(said.contains("POST http://127.0.0.1:"), "{said}");
            assert!(!said.contains(TOKEN) && !said.contains(&TOKEN[..20]), "{said}");
            assert!(!said.contains("s3cret"), "{said}");
            assert_eq!(fake.asked(call), 1, "{call:?} {fault:?}");
        };
        fake.fault(Call::Open, fault, 1);
        check(&asking.open(&draft()).unwrap_err(), Call::Open);
        // A caller that looks before it repeats a request duplicates nothing.
        let github = github(&fake);
        let there = numbers(github.pulls(NODE, &path(), Search::Exhaustive));
        assert_eq!(there.len(), usize::from(fault.does()), "{fault:?}");
        let second = github.open(&draft());
        assert_eq!(matches!(second, Err(ForgeError::Conflict(_))), fault.does(), "{second:?}");
        let Answer::Found(pulls) = github.pulls(NODE, &path(), Search::Exhaustive) else {
            panic!()
        };
        assert_eq!(pulls.len(), 1, "{fault:?}");

        fake.fault(Call::Graphql, fault, 1);
        check(&asking.arm_auto_merge(&pulls[0]).unwrap_err(), Call::Graphql);
        assert_eq!(fake.model(|model| model.pulls[0].armed), fault.does(), "{fault:?}");
        if fault == Fault::Malformed || fault == Fault::Huge {
            continue; // what it answers to a comment is not read
        }
        fake.fault(Call::Comment, fault, 1);
        check(&asking.comment_once(1, "hello", "hello").unwrap_err(), Call::Comment);
        assert_eq!(fake.model(|model| model.comments.len()), usize::from(fault.does()));
    }
}

#[test]
fn a_pull_request_that_cannot_be_is_refused_with_the_words_of_the_forge() {
    let fake = FakeGithub::new();
    let github = github(&fake);
    let refused = github.open(&draft()).unwrap_err();
    assert!(matches!(&refused, ForgeError::Refused(why) if why.contains("head is invalid")));
    let same = PullDraft { branch: "main".to_owned(), ..draft() };
    let refused = github.open(&same).unwrap_err();
    assert!(matches!(&refused, ForgeError::Refused(why) if why.contains("No commits between")));
    let refused = github.comment_once(9, "x", "x").unwrap_err();
    assert!(matches!(&refused, ForgeError::Refused(why) if why.contains("404")));
}

#[test]
fn a_repository_without_auto_merge_says_no_and_that_is_no_trouble() {
    let fake = pushed();
    let github = github(&fake);
    let pull = github.open(&draft()).unwrap();
    fake.model(|model| model.auto_merge = false);
    assert_eq!(github.arm_auto_merge(&pull), Ok(false));
    assert_eq!(fake.asked(Call::Graphql), 0);
}

#[test]
fn a_token_that_is_not_accepted_and_a_place_without_tls_are_told() {
    let fake = FakeGithub::new();
    let github = github_with(&fake, "ghp_other", None, PATIENT);
    assert!(why(github.file(&path())).contains("Bad credentials"));
    let refused = github.open(&draft()).unwrap_err();
    assert!(matches!(&refused, ForgeError::Unauthenticated(_)), "{refused:?}");
    for api in [
        "http://example.org",
        "http://127.0.0.1.example.org",
        "http://127.0.0.1@example.org",
        "http://127.0.0.1:x@example.org",
    ] {
        let (owner, name) = (OWNER.to_owned(), NAME.to_owned());
        let repository = RepoName { api: api.to_owned(), owner, name, base: None, fork: None };
        let token = Token::new(Zeroizing::new(TOKEN.to_owned()), "this test").unwrap();
        let refused = GitHub::new(repository, token, PATIENT).err();
        assert!(
            matches!(&refused, Some(ForgeError::Refused(why)) if why.contains("https")),
            "{api}"
        );
    }
}
