//! A thousand agents: what exists in the page, and what is done for an event, stays bounded.

use super::shown_of;
use crate::support::{Sandbox, test_name};

#[test]
fn of_a_thousand_rows_only_those_on_the_screen_exist() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["init"]);
    sandbox.ok(&["persona", "set", "agent-0", "--task", "number 0"]);
    let node = sandbox.node();
    let record = std::fs::read_to_string(node.join("persona-agent-0.state")).unwrap();
    for number in 1..1000 {
        let name = format!("agent-{number}");
        let text = record.replace("agent-0", &name).replace("number 0", &format!("no {number}"));
        std::fs::write(node.join(format!("persona-{name}.state")), text).unwrap();
    }
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    page.until("document.querySelector('#agents h2 b').innerText === '1000'");
    let rows = "document.querySelectorAll('#agents .row').length";
    page.until(&format!("{rows} > 5"));
    let count = page.eval(rows).as_u64().unwrap();
    assert!((5..60).contains(&count), "{count}");
    page.browser.wheel(300.0, 400.0, 2000.0).unwrap();
    page.until("document.querySelector('#agents .grid-body').scrollTop > 1500");
    let shown = "[...document.querySelectorAll('#agents .row:not([hidden])')].filter((row) => {
        const box = row.getBoundingClientRect();
        const list = row.closest('.grid-body').getBoundingClientRect();
        return box.bottom > list.top && box.top < list.bottom && row.innerText.includes('agent-');
    }).length";
    page.until(&format!("{shown} >= 5"));
    page.press("1");
    page.press("End");
    page.until("document.activeElement.getAttribute('aria-rowindex') === '1001'");
    assert!(page.eval(rows).as_u64().unwrap() < 60);
    let seen = "((box) => box.top > 0 && box.bottom <= innerHeight)
        (document.activeElement.getBoundingClientRect())";
    assert_eq!(page.eval(seen), true);
    page.settle();
    // One change redraws no other row.
    page.eval(
        "globalThis.touched = new Set();
         new MutationObserver((all) => all.forEach(({ target }) => {
             const row = (target.closest ? target : target.parentElement).closest('.row');
             const isAge = (target.closest ? target : target.parentElement).closest('.age');
             if (row && !isAge) touched.add(row);
         })).observe(document.querySelector('#agents'),
             { subtree: true, childList: true, characterData: true, attributes: true }); true",
    );
    let last = page.focused();
    let name = last.split_whitespace().find(|word| word.starts_with("agent-")).unwrap().to_owned();
    sandbox.ok(&["persona", "set", &name, "--task", "changed"]);
    page.until("document.activeElement.innerText.includes('changed')");
    let touched = page.eval("touched.size").as_u64().unwrap();
    assert!(touched <= 2, "{touched} rows were written for one change");
    page.end_clean();
}

#[test]
fn a_page_that_is_open_for_days_keeps_the_newest_spans_and_those_that_last() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["lease", "acquire", "lasts"]);
    let Some(mut page) = shown_of(test_name!(), &sandbox) else { return };
    page.until("document.querySelector('#timeline h2 b').innerText === '1'");
    let kept = page.eval(
        "(async () => {
             const { model } = await import('./model.js');
             const of = (at) => ({ node: 'n', lease: `old-${at}`, subject: `old-${at}`,
                                   kind: 'lease', fencing_token: at, at_us: at });
             for (let at = 1; at <= 12000; at += 1) {
                 model.spans.add([{ ...of(at), event: 'acquired' },
                                  { ...of(at), event: 'released', at_us: at + 1 }]);
             }
             const trims = [model.spans.trim(), model.spans.trim()];
             const spans = [...model.spans.all.values()];
             const last = spans.at(-1).token;
             return { trims, count: spans.length, first: model.spans.first, last,
                      open: spans.filter((span) => !span.ended).map((span) => span.lease) };
         })()",
    );
    // The span of the lease that lasts, and the newest of those that ended.
    let wanted = serde_json::json!({
        "trims": [true, false], "count": 10_000, "first": 2002, "last": 12_000, "open": ["lasts"],
    });
    assert_eq!(kept, wanted);
    page.end_clean();
}
