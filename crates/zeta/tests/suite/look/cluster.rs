//! The nodes of a cluster on the page of `zeta web`: three nodes with real bridges, one of which
//! ends.

use serde_json::json;

use super::page::picture_of;
use super::picture::is_of_now;
use crate::cluster::bridge::{Node, cluster};
use crate::cluster::{nats, program};
use crate::page::shown;
use crate::support::{Sandbox, test_name};

/// What the page shows of an element, if it is seen.
fn text(selector: &str) -> String {
    format!("(document.querySelector({})?.innerText ?? '')", json!(selector))
}

#[test]
fn the_page_shows_the_nodes_of_a_cluster_and_which_are_silent() {
    let Some(program) = program(test_name!(), nats::debian()) else { return };
    let sandbox = Sandbox::new();
    let server = cluster(&program, &sandbox);
    let nestor = Node::new("nestor", &server).started();
    let atlas = Node::new("atlas", &server).started();
    let mut juno = Node::new("juno", &server).started();
    for (node, agent, task) in
        [(&nestor, "otto", "invoices"), (&atlas, "vera", "checkout"), (&atlas, "kestrel", "docs")]
    {
        node.sandbox.ok(&["persona", "set", agent, &format!("task={task}"), "status=working"]);
    }
    atlas.sandbox.acquire(&["deploy", "--ttl", "10m"]);
    nestor.wait_until("the records of the other nodes came", |nestor| {
        nestor.read("atlas", "persona-kestrel.state").is_some()
            && nestor.read("atlas", "deploy.lock").is_some()
            && nestor.read("juno", "last-seen.iso").is_some()
    });
    let Some(mut page) = shown(test_name!(), nestor.sandbox.cmd(&["web", "--json"])) else {
        return;
    };
    page.until(&format!("{} === '3 nodes'", text("#cluster-open")));
    page.eval("document.querySelector('#cluster-open').click()");
    page.until(&format!("{}.includes('atlas 2 agents, 1 lease')", text("#cluster ul")));
    page.until(&format!("{}.includes('connected')", text("#cluster ul")));
    page.until("document.querySelectorAll('#cluster line[data-tone=live]').length === 3");
    for fact in ["one server has all", "behind", "to send", "0 values, 0 messages"] {
        page.until(&format!("{}.includes({})", text("#cluster dl"), json!(fact)));
    }
    page.browser.prefer("light").unwrap();
    is_of_now(&picture_of(&mut page, "#cluster", "web-cluster.png"));
    // Its card is missing for four beats.
    juno.stop(rustix::process::Signal::KILL);
    page.until(&format!("{} === '3 nodes, 1 silent'", text("#cluster-open")));
    page.until(&format!("{}.includes('silent for')", text("#cluster ul")));
    page.until("document.querySelectorAll('#cluster line[data-tone=quiet]').length === 1");
    page.end_clean();
}
