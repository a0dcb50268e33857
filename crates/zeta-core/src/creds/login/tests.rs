//! Which login is newer: as a table, and for any two of them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::{
    Age, Ask, By, Choice, Login, Next, Seal, Verdict, Watch, decide_refresh, decide_restore,
    decide_seal, judge_age, judge_refreshed,
};
use crate::creds::bake::BadBake;
use crate::creds::manifest::{Entry, Manifest};

fn entry(id: &str) -> Entry {
    Manifest::default().get(id).unwrap().clone()
}

fn claude(token: &str, expires_ms: &str) -> String {
    let tokens = format!(r#""accessToken":"a{token}","refreshToken":"r{token}""#);
    format!(r#"{{"claudeAiOauth":{{{tokens},"expiresAt":{expires_ms}}}}}"#)
}

fn gemini(token: &str, expires_ms: i64) -> String {
    format!(r#"{{"refresh_token":"r","access_token":"{token}","expiry_date":{expires_ms}}}"#)
}

fn codex(token: &str, exp: Option<i64>, last: &str, account: &str) -> String {
    let claims = exp.map_or("{}".to_owned(), |exp| format!(r#"{{"exp":{exp}}}"#));
    let jwt = format!("h{token}.{}.s", URL_SAFE_NO_PAD.encode(claims));
    let tokens = format!(r#""access_token":"{jwt}","refresh_token":"r{token}""#);
    let tokens = format!(r#"{{{tokens},"account_id":"{account}"}}"#);
    format!(r#"{{"OPENAI_API_KEY":null,"tokens":{tokens},"last_refresh":"{last}"}}"#)
}

#[test]
fn the_times_of_each_tool_are_read() {
    let ms = 1_795_000_000_123;
    let us = Some(ms * 1000);
    let of = |id: &str, text: &str| {
        let entry = entry(id);
        let login = Login::read(&entry, text.as_bytes()).unwrap();
        (login.expires_us, login.issued_us)
    };
    assert_eq!(of("claude", &claude("1", &ms.to_string())), (us, None));
    assert_eq!(of("gemini", &gemini("1", ms)), (us, None));
    let last = "2026-11-18T10:11:12.374291841Z";
    let issued = Some(1_795_000_000_000_000 - 3_328_000_000 + 374_291);
    let times = of("codex", &codex("1", Some(1_795_000_000), last, "u"));
    assert_eq!(times, (Some(1_795_000_000_000_000), issued));
    assert_eq!(of("codex", &codex("1", None, "yesterday", "u")), (None, None));
    for odd in ["0", "-5", "1e300", "\"x\"", "null", "[1]"] {
        assert_eq!(of("claude", &claude("1", odd)), (None, None), "{odd}");
    }
    let gh = entry("gh-cli");
    let hosts = Login::read(&gh, b"github.com:\n  oauth_token: x");
    assert!(matches!(hosts, Err(BadBake::NoLogin(_))), "gh refreshes nothing");
}

#[test]
fn a_login_is_newer_by_its_limit_then_by_its_issue_and_only_of_one_account() {
    let early = "2026-11-18T10:11:12Z";
    let late = "2026-11-19T10:11:12Z";
    let age = |first: &str, second: &str| {
        let entry = entry("codex");
        judge_age(
            &Login::read(&entry, first.as_bytes()).unwrap(),
            &Login::read(&entry, second.as_bytes()).unwrap(),
        )
    };
    let by = |age: Age| match age {
        Age::Newer(compared) => (1, Some(compared.by)),
        Age::Older(compared) => (-1, Some(compared.by)),
        Age::Same => (0, None),
        Age::Unknown => (9, None),
    };
    let one = codex("1", Some(2_000), late, "u");
    assert_eq!(by(age(&one, &one)), (0, None));
    // A clock that was wrong at the issue does not count against the issuer's own time limit.
    assert_eq!(by(age(&one, &codex("2", Some(3_000), early, "u"))), (-1, Some(By::Expiry)));
    assert_eq!(by(age(&one, &codex("2", Some(2_000), early, "u"))), (1, Some(By::Issue)));
    assert_eq!(by(age(&one, &codex("2", None, early, "u"))), (1, Some(By::Issue)));
    assert_eq!(by(age(&one, &codex("2", Some(2_000), late, "u"))), (9, None));
    assert_eq!(by(age(&one, &codex("2", Some(9_000), late, "v"))), (9, None));
}

#[test]
fn a_restore_takes_the_newer_one_and_mends_what_no_tool_can_read() {
    let (old, new) = (claude("1", "1000"), claude("2", "2000"));
    let of = |id: &str, blob: &str, file: &str| {
        let came = decide_restore(&entry(id), blob.as_bytes(), file.as_bytes());
        match came {
            Choice::Newer(_) => "newer",
            Choice::Broken => "broken",
            Choice::Older(_) => "older",
            Choice::Unknown => "unknown",
        }
    };
    let choice = |blob: &str, file: &str| of("claude", blob, file);
    let same_account = new.replace("r2", "r1");
    let cases = [
        (same_account.as_str(), old.as_str(), "newer"),
        // Nothing shows that it is not the login of another account.
        (&new, &old, "unknown"),
        (&old, &new, "older"),
        (&old, &claude("2", "1000"), "unknown"),
        (&old, &claude("2", "null"), "unknown"),
        (&old, "", "broken"),
        (&old, "\n", "broken"),
        (&old, &new[..new.len() / 2], "broken"),
        (&old, "{}", "unknown"),
        (&old, "v2:AES-GCM:c2VhbGVk", "unknown"),
        (&old, "{]", "unknown"),
        (&old, " {", "broken"),
        (&old, r#"{"mcpOAuth":{}}"#, "unknown"),
        ("{}", &new, "unknown"),
        ("", "", "unknown"),
    ];
    for (blob, file, expect) in cases {
        assert_eq!(choice(blob, file), expect, "{blob} over {file}");
    }
    assert_eq!(of("gemini", &gemini("2", 2_000), &gemini("1", 1_000)), "newer");
    let (early, late) = ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z");
    let of_codex = |account| {
        let (blob, file) = (codex("2", None, late, "u"), codex("1", None, early, account));
        of("codex", &blob, &file)
    };
    assert_eq!((of_codex("u"), of_codex("v")), ("newer", "unknown"));
    let hosts = decide_restore(&entry("gh-cli"), b"github.com:\n oauth_token: x", b"");
    assert_eq!(hosts, Choice::Unknown, "only logins that are refreshed are compared");
}

const HOUR_US: i64 = 3_600_000_000;
const NOW_US: i64 = 1_795_000_000_000_000;

fn at(hours: i64) -> String {
    ((NOW_US + hours * HOUR_US) / 1000).to_string()
}

#[test]
fn one_refreshes_and_the_others_see_it() {
    let next = |before: Option<&str>, now: &str, margin_ms: u64, force: bool| {
        let entry = entry("claude");
        let before = before.map(|text| Login::read(&entry, text.as_bytes()).unwrap());
        let now = Login::read(&entry, now.as_bytes()).unwrap();
        decide_refresh(before.as_ref(), &now, &Ask { now_us: NOW_US, margin_ms, force })
    };
    let margin = 300_000;
    let (due, good) = (claude("1", &at(0)), claude("2", &at(8)));
    let valid = Next::Valid(NOW_US + 8 * HOUR_US);
    assert_eq!(next(Some(&due), &due, margin, false), Next::Refresh);
    assert_eq!(next(Some(&due), &good, margin, false), Next::Renewed);
    assert_eq!(next(Some(&due), &good, margin, true), Next::Renewed);
    assert_eq!(next(Some(&good), &good, margin, false), valid);
    assert_eq!(next(Some(&good), &good, margin, true), Next::Refresh);
    assert_eq!(next(Some(&good), &good, u64::MAX, false), Next::Refresh);
    assert_eq!(next(None, &good, margin, false), valid);
    assert_eq!(next(None, &due, margin, false), Next::Refresh);
    // One that was renewed and is over already, and one that became older, are refreshed.
    assert_eq!(next(Some(&due), &claude("3", &at(-1)), margin, false), Next::Refresh);
    assert_eq!(next(Some(&good), &claude("1", &at(1)), margin, true), Next::Refresh);
    // Without a time in it, another token means that it was renewed.
    assert_eq!(next(Some(&due), &claude("4", "null"), margin, false), Next::Renewed);
    assert_eq!(next(None, &claude("4", "null"), margin, false), Next::Refresh);
    // What else the tool writes into its file is no renewal.
    let other = due.replace("{\"claude", "{\"mcpOAuth\":{},\"claude");
    assert_eq!(next(Some(&due), &other, margin, false), Next::Refresh);
}

#[test]
fn what_a_command_left_behind_is_judged() {
    let entry = entry("claude");
    let before = claude("1", &at(0));
    let judge_end = |after: Option<&str>, succeeded| {
        let before = Login::read(&entry, before.as_bytes()).unwrap();
        judge_refreshed(&entry, &before, after.map(str::as_bytes), succeeded)
    };
    let judge = |after: Option<&str>| judge_end(after, true);
    assert_eq!(judge(Some(&claude("2", &at(8)))), Verdict::Refreshed);
    assert_eq!(judge(Some(&claude("2", "null"))), Verdict::Refreshed);
    assert_eq!(judge(Some(&before)), Verdict::Unchanged);
    assert!(matches!(judge(Some(&claude("0", &at(-8)))), Verdict::Older(_)));
    assert_eq!(judge(Some("")), Verdict::Broken(BadBake::Blank));
    assert_eq!(judge(Some("{\"claude")), Verdict::Broken(BadBake::NotJson));
    assert!(matches!(judge(Some("{}")), Verdict::Broken(BadBake::NoLogin(_))));
    // A tool that logs out says so with its status; one that died in between has lost the file.
    assert_eq!(judge(None), Verdict::Removed);
    assert!(matches!(judge_end(None, false), Verdict::Broken(BadBake::NoLogin(_))));
    assert_eq!(judge_end(Some(&claude("2", &at(8))), false), Verdict::Refreshed);
    for gone in ["null", "\"\""] {
        let after = claude("2", &at(8)).replace("\"r2\"", gone);
        assert!(matches!(judge(Some(&after)), Verdict::Broken(BadBake::NoLogin(_))), "{after}");
    }
}

#[test]
fn a_blob_gets_the_login_of_a_file_unless_it_has_a_newer_one_or_another_account_s() {
    let seal = |id: &str, there: Option<&str>, file: &str| {
        let entry = entry(id);
        let there = there.map(|text| Login::read(&entry, text.as_bytes()).unwrap());
        decide_seal(there.as_ref(), &Login::read(&entry, file.as_bytes()).unwrap())
    };
    let (early, late) = (claude("1", &at(1)), claude("2", &at(2)));
    let of = |account| codex("3", Some(2_000), "2026-11-19T10:11:12Z", account);
    for (id, there, file, came) in [
        ("claude", None, &early, Seal::Renewed),
        ("claude", Some(early.as_str()), &late, Seal::Renewed),
        ("claude", Some(late.as_str()), &late, Seal::Current),
        ("claude", Some(late.as_str()), &early, Seal::KeptNewer),
        ("claude", Some(late.as_str()), &claude("3", "null"), Seal::Renewed),
        ("codex", Some(of("u").as_str()), &of("v"), Seal::KeptAccount),
        ("codex", Some(of("u").as_str()), &of("u").replace("r3", "r4"), Seal::Renewed),
    ] {
        assert_eq!(seal(id, there, file), came, "{there:?} {file}");
    }
}

#[test]
fn a_watch_calls_before_each_end_and_never_without_a_pause() {
    let hours = |hours: i64| hours * HOUR_US;
    let watch = Watch::new(300_000);
    for (ends_us, wait_us) in [
        (Some(NOW_US + hours(1)), hours(1) - 300_000_000),
        (Some(NOW_US + 300_000_000), 0),
        (Some(NOW_US - 1), 0),
        (None, i64::MAX),
    ] {
        assert_eq!(watch.decide_call(ends_us, NOW_US), wait_us, "{ends_us:?}");
    }
    let minute = 60_000_000;
    // The wish of the margin in hours, for how long the login is good after the call, whether that
    // succeeded; the margin from then on, and the pause after the next failure.
    for (wish, left_us, succeeded, margin_us, next_retry) in [
        (1, Some(hours(8)), true, hours(1), minute),
        (2, Some(hours(1)), true, hours(1) / 2, minute),
        (1, Some(hours(1)), true, hours(1) / 2, minute),
        (1, None, true, hours(1), minute),
        // A new login that is over is none.
        (1, Some(0), true, hours(1), 2 * minute),
        (1, Some(hours(8)), false, hours(1), 2 * minute),
    ] {
        let watch = Watch::new(wish * 3_600_000);
        let ends_us = left_us.map(|left: i64| NOW_US + left);
        let (next, pause_us) = watch.decide_after(succeeded, ends_us, NOW_US);
        let came = (next.margin_us, pause_us, next.retry_us);
        assert_eq!(came, (margin_us, minute, next_retry), "{wish} {left_us:?} {succeeded}");
    }
    // Failures wait longer each time, and a success ends that; a margin that was too long comes
    // back with logins that are good for longer.
    let (mut watch, mut pauses) = (Watch::new(7_200_000), Vec::new());
    for _ in 0..6 {
        let (next, pause_us) = watch.decide_after(false, Some(NOW_US), NOW_US);
        (watch, _) = (next, pauses.push(pause_us / minute));
    }
    assert_eq!(pauses, [1, 2, 4, 8, 15, 15]);
    (watch, _) = watch.decide_after(true, Some(NOW_US + hours(1)), NOW_US);
    assert_eq!((watch.margin_us, watch.retry_us), (hours(1) / 2, minute));
    (watch, _) = watch.decide_after(true, Some(NOW_US + hours(9)), NOW_US);
    assert_eq!(watch.margin_us, hours(2));
}

/// A tool, and two of its logins.
fn two_logins() -> impl Strategy<Value = (&'static str, String, String)> {
    let one = || ("[a-c]{1,2}", 1_i64..6, 1_i64..4, any::<bool>());
    let id = prop_oneof![Just("claude"), Just("codex"), Just("gemini")];
    (id, one(), one()).prop_map(|(id, one, two)| (id, a_login(id, one), a_login(id, two)))
}

fn a_login(id: &str, (token, limit, issue, timeless): (String, i64, i64, bool)) -> String {
    let limit_ms = NOW_US / 1000 + limit;
    match id {
        "claude" if timeless => claude(&token, "null"),
        "claude" => claude(&token, &limit_ms.to_string()),
        "gemini" => gemini(&token, limit_ms),
        _ => {
            let last = format!("2026-11-1{issue}T00:00:00Z");
            codex(&token, (!timeless).then_some(limit), &last, "u")
        }
    }
}

proptest! {
    #[test]
    fn no_order_of_two_logins_contradicts_itself((id, one, two) in two_logins()) {
        let entry = entry(id);
        let first = Login::read(&entry, one.as_bytes()).unwrap();
        let second = Login::read(&entry, two.as_bytes()).unwrap();
        match (judge_age(&first, &second), judge_age(&second, &first)) {
            (Age::Newer(a), Age::Older(b)) | (Age::Older(a), Age::Newer(b)) => {
                prop_assert_eq!((a.by, a.first_us, a.second_us), (b.by, b.second_us, b.first_us));
            }
            (a, b) => prop_assert_eq!(a, b),
        }
    }

    /// Whatever stands in the blob and in the file, whole or cut off at any place: a login that is
    /// good for longer is never replaced by one that is good for less.
    #[test]
    fn a_restore_never_puts_the_older_over_the_newer(
        (id, blob, file) in two_logins(),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let entry = entry(id);
        let file = if whole { file.as_str() } else { &file[..cut.index(file.len())] };
        let choice = decide_restore(&entry, blob.as_bytes(), file.as_bytes());
        let writes = matches!(choice, Choice::Newer(_) | Choice::Broken);
        if writes && let Ok(there) = Login::read(&entry, file.as_bytes()) {
            let ours = Login::read(&entry, blob.as_bytes()).unwrap();
            let newer = match (ours.expires_us, there.expires_us) {
                (Some(ours), Some(there)) if ours != there => ours > there,
                _ => ours.issued_us > there.issued_us,
            };
            prop_assert!(newer, "{} over {}", blob, file);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for id in ["claude", "codex", "gemini", "gh-cli"] {
            let entry = entry(id);
            let _ = Login::read(&entry, &bytes);
            let _ = decide_restore(&entry, &bytes, &bytes);
        }
    }
}
