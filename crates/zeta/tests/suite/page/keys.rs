//! The page without a mouse: every part is reached, and `Esc` always leads back.

use super::live::wait_row;
use super::shown_of;
use crate::support::{Sandbox, test_name};

fn with_leases() -> Sandbox {
    let sandbox = Sandbox::new();
    for (lease, agent) in [("deploy", "ann"), ("schema", "bob"), ("port-5432", "ann")] {
        sandbox.acquire(&[lease, "--as", agent, "--purpose", &format!("work on {lease}")]);
    }
    sandbox
}

fn record_token(sandbox: &Sandbox, lease: &str) -> String {
    let shown: serde_json::Value =
        serde_json::from_str(&sandbox.ok(&["lease", "show", lease, "--json"])).unwrap();
    shown["fencing_token"].to_string()
}

#[test]
fn the_filter_leaves_the_rows_with_all_words() {
    let sandbox = with_leases();
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    wait_row(&mut page, "leases", &["deploy"]);
    page.press("/");
    assert_eq!(page.focused(), "filter");
    page.browser.write("ANN work").unwrap();
    page.until("document.querySelector('#leases h2 b').innerText === '2 of 3'");
    wait_row(&mut page, "leases", &["deploy"]);
    wait_row(&mut page, "leases", &["port-5432"]);
    page.until("document.querySelector('#timeline h2 b').innerText === '2'");
    page.browser.write(" nothing-has-this").unwrap();
    page.until("document.querySelector('#leases').innerText.includes('Nothing matches')");
    page.press("Escape");
    page.until("document.querySelector('#leases h2 b').innerText === '3'");
    assert_eq!(page.text("document.querySelector('#filter').value"), "");
    page.end_clean();
}

#[test]
fn details_open_by_enter_and_escape_leads_back() {
    let sandbox = with_leases();
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    wait_row(&mut page, "leases", &["schema", "bob"]);
    page.press("2");
    assert!(page.focused().contains("deploy"));
    page.press("ArrowDown");
    page.press("ArrowDown");
    assert!(page.focused().contains("schema"));
    // Beyond the last row there is none.
    page.press("ArrowDown");
    page.press("Enter");
    page.until("document.querySelector('#details').open");
    let details = page.text("document.querySelector('#details').innerText");
    for wanted in ["schema", "bob", "work on schema", "Fencing token"] {
        assert!(details.contains(wanted), "{wanted}: {details}");
    }
    // It follows what happens.
    let token = record_token(&sandbox, "schema");
    sandbox.ok(&["lease", "release", "schema", "--as", "bob", "--token", &token]);
    page.until("document.querySelector('#leases h2 b').innerText === '2'");
    page.press("Escape");
    page.until("!document.querySelector('#details').open");
    page.press("Home");
    assert!(page.focused().contains("deploy"));
    page.end_clean();
}

#[test]
fn the_focus_stays_in_a_list_whose_row_goes() {
    let sandbox = with_leases();
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    wait_row(&mut page, "leases", &["schema", "bob"]);
    page.press("2");
    page.press("ArrowDown");
    assert!(page.focused().contains("port-5432"));
    let token = record_token(&sandbox, "port-5432");
    sandbox.ok(&["lease", "release", "port-5432", "--as", "ann", "--token", &token]);
    page.until("document.activeElement.innerText.includes('schema')");
    page.press("ArrowUp");
    assert!(page.focused().contains("deploy"));
    page.end_clean();
}

#[test]
fn every_part_is_reached_by_the_keyboard() {
    let sandbox = with_leases();
    sandbox.ok(&["bus", "send", "ann", "hello", "--as", "bob"]);
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    wait_row(&mut page, "messages", &["hello"]);
    wait_row(&mut page, "leases", &["schema"]);
    let mut seen = Vec::new();
    for _ in 0..24 {
        page.press("Tab");
        let at =
            "((at) => at.id || at.closest('.pane')?.id || at.className)(document.activeElement)";
        seen.push(page.text(at));
    }
    for wanted in ["filter", "theme", "help-open", "leases", "by-lease", "lanes", "messages"] {
        assert!(seen.iter().any(|at| at == wanted), "{wanted}: {seen:?}");
    }
    page.press("?");
    page.until("document.querySelector('#help').open");
    page.press("Escape");
    page.until("!document.querySelector('#help').open");
    for (key, pane) in [("2", "leases"), ("3", "messages")] {
        page.press(key);
        let at = page.text("document.activeElement.closest('.pane').id");
        assert_eq!(at, pane);
    }
    page.press("4");
    assert_eq!(page.focused(), "lanes");
    page.end_clean();
}

#[test]
fn the_theme_is_chosen_and_kept() {
    let sandbox = with_leases();
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    let ground = "getComputedStyle(document.body).backgroundColor";
    page.browser.prefer("light").unwrap();
    let light = page.text(ground);
    page.browser.prefer("dark").unwrap();
    page.until(&format!("{ground} !== '{light}'"));
    page.press("t");
    page.until(&format!("{ground} === '{light}'"));
    page.eval("location.reload()");
    page.until("document.querySelector('#theme')?.innerText === 'Theme: light'");
    page.until("document.body.dataset.link === 'live'");
    assert_eq!(page.text(ground), light);
    page.end_clean();
}
