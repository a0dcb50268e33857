//! A hostile node: what it can do where nodes share an account, and that it cannot where each has
//! its own; and values that another hand signed, or none, never count.

use serde_json::{Value, json};
use zeta_cluster::Setting;
use zeta_cluster::identity::Identity;
use zeta_cluster::member::Member;
use zeta_cluster::signer::{CARD_KEY, Signer};
use zeta_core::cluster::envelope::Trust;
use zeta_core::cluster::subject::Subject;
use zeta_core::record::Fields;

use super::accounts::Accounts;
use super::nats::{Client, Server};
use super::{identity_dir, programs};
use crate::support::{Sandbox, test_name};

/// One account, in which node-b may write only its own subjects, and may read.
const SUBJECTS_ONLY: &str = r#"
authorization { users: [
  { user: admin, password: "a" }
  { user: node-b, password: "b", permissions: {
    publish: ["zeta1.state.node-b.>", "own.node-b", "$JS.API.STREAM.INFO.*",
      "$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.*", "$JS.API.DIRECT.GET.*.>"]
    subscribe: ["_INBOX.>", "zeta1.live.>"] } }
] }
no_auth_user: admin
"#;

fn password(user: &'static str, word: &'static str) -> impl Fn(&str) -> String {
    move |_| format!("\"user\":{user:?},\"pass\":{word:?},")
}

/// The last body of a subject, as the administrator reads it.
fn last(admin: &mut Client, stream: &str, subject: &str) -> Option<String> {
    let body = json!({ "last_by_subj": subject });
    let answer = admin.api(&format!("STREAM.MSG.GET.{stream}"), &body).ok()?;
    Some(answer["message"]["data"].as_str().unwrap_or_default().to_owned())
}

/// Has JetStream send node-b's own value to a subject that it may not write.
fn reply_trick(node: &mut Client, api: &str, victim: &str, own: &str) {
    let body = json!({ "last_by_subj": own }).to_string();
    for verb in ["DIRECT.GET", "STREAM.MSG.GET"] {
        let subject = format!("{api}.{verb}.ZETA1_STATE");
        node.publish(&subject, victim, &[], body.as_bytes()).unwrap();
    }
    // The acknowledgement of a write goes to a subject of the writer's choice, too.
    node.publish(own, victim, &[], b"evil").unwrap();
    node.flush().unwrap();
}

#[test]
fn permissions_of_subjects_alone_let_two_attacks_through() {
    for (name, program) in programs(test_name!()) {
        let sandbox = Sandbox::new();
        let server = Server::start(&program, &sandbox.dir.join(name), SUBJECTS_ONLY).unwrap();
        sandbox.ok(&["cluster", "init", "--server", &server.url()]);
        let mut admin = server.client().unwrap();
        let mut node = server.client_as(&password("node-b", "b")).unwrap();
        let (own, victim) = ("zeta1.state.node-b.lock.x", "zeta1.state.node-a.lock.x");
        admin.request(victim, "good").unwrap();
        let good = last(&mut admin, "ZETA1_STATE", victim);
        // The plain way is closed.
        let refused = node.request(victim, "evil").unwrap_err().to_string();
        assert!(refused.contains("Permissions Violation"), "{refused}");
        node.request(own, "evil").unwrap();
        reply_trick(&mut node, "$JS.API", victim, own);
        let begun = std::time::Instant::now();
        while last(&mut admin, "ZETA1_STATE", victim) == good {
            assert!(begun.elapsed().as_secs() < 20, "{name}: the attack does not work any more");
        }
        // Where rollups are allowed, one message on an own subject removes those of all others.
        let allowing = json!({
            "name": "OPEN", "subjects": ["own.*"], "allow_rollup_hdrs": true,
        });
        admin.api("STREAM.CREATE.OPEN", &allowing).unwrap();
        admin.request("own.node-a", "good").unwrap();
        node.request_with("own.node-b", &[("Nats-Rollup", "all")], b"evil").unwrap();
        assert_eq!(last(&mut admin, "OPEN", "own.node-a"), None, "{name}");
        // The streams of zeta do not allow it.
        let answer = node.request_with(own, &[("Nats-Rollup", "all")], b"evil").unwrap();
        assert_eq!(answer["error"]["err_code"], 10111, "{name}: {answer}");
    }
}

/// The subjects that only this node may write, each with its stream.
fn subjects(node: &str) -> [(&'static str, String); 3] {
    [
        ("ZETA1_STATE", format!("zeta1.state.{node}.lock.x")),
        ("ZETA1_BUS", format!("zeta1.bus.{node}")),
        ("ZETA1_LEASE", format!("zeta1.lease.job.{node}")),
    ]
}

#[test]
fn with_an_account_for_each_node_no_value_of_another_one_can_be_written() {
    for (name, program) in programs(test_name!()) {
        let accounts = Accounts::start(&program);
        accounts.init();
        let (mut admin, mut node) = (accounts.admin().unwrap(), accounts.client(1));
        let mut owner = accounts.client(0);
        let victims = subjects(&accounts.nodes[0].0);
        let own = format!("zeta1.state.{}.lock.x", accounts.nodes[1].0);
        for (_, subject) in &victims {
            owner.request(subject, "good").unwrap();
        }
        let mut all = || {
            let read = |(stream, subject): &(&str, String)| last(&mut admin, stream, subject);
            victims.iter().map(read).collect::<Vec<_>>()
        };
        let good = all();
        assert!(good.iter().all(Option::is_some), "{name}: {good:?}");
        node.request(&own, "evil").unwrap();
        for (_, subject) in &victims {
            assert!(node.request(subject, "evil").is_err(), "{name}: {subject}");
            for api in ["JSZ", "$JS.API"] {
                reply_trick(&mut node, api, subject, &own);
            }
        }
        let answer = node.request_with(&own, &[("Nats-Rollup", "all")], b"evil").unwrap();
        assert_eq!(answer["error"]["err_code"], 10111, "{name}: {answer}");
        // Its next own write is served behind all of that.
        node.request(&own, "evil").unwrap();
        assert_eq!(all(), good, "{name}");
    }
}

#[test]
fn with_an_account_for_each_node_no_stream_can_be_changed_and_no_consumer_made() {
    for (name, program) in programs(test_name!()) {
        let accounts = Accounts::start(&program);
        accounts.init();
        let (mut admin, mut node) = (accounts.admin().unwrap(), accounts.client(1));
        node.request(&format!("zeta1.state.{}.lock.x", accounts.nodes[1].0), "x").unwrap();
        let before = admin.api("STREAM.INFO.ZETA1_STATE", &Value::Null).unwrap();
        for api in ["JSZ", "$JS.API"] {
            for verb in [
                "STREAM.PURGE.ZETA1_STATE",
                "STREAM.DELETE.ZETA1_STATE",
                "STREAM.UPDATE.ZETA1_STATE",
                "STREAM.MSG.DELETE.ZETA1_STATE",
                "STREAM.SNAPSHOT.ZETA1_STATE",
                "STREAM.RESTORE.ZETA1_STATE",
                "STREAM.LEADER.STEPDOWN.ZETA1_STATE",
                "STREAM.CREATE.OTHER",
                "CONSUMER.CREATE.ZETA1_STATE",
                "CONSUMER.CREATE.ZETA1_STATE.c",
                "CONSUMER.DURABLE.CREATE.ZETA1_STATE.c",
                "STREAM.NAMES",
            ] {
                let body = json!({ "seq": 1, "name": "ZETA1_STATE", "subjects": ["x"] });
                let answer = node.request(&format!("{api}.{verb}"), &body.to_string());
                assert!(answer.is_err(), "{name}: {api}.{verb}: {answer:?}");
            }
        }
        let after = admin.api("STREAM.INFO.ZETA1_STATE", &Value::Null).unwrap();
        for part in ["config", "state"] {
            assert_eq!(before[part], after[part], "{name}");
        }
        assert_eq!(admin.streams().unwrap().len(), 4, "{name}");
    }
}

#[test]
fn with_an_account_for_each_node_no_answer_is_overheard_and_no_feed_forged() {
    for (name, program) in programs(test_name!()) {
        let accounts = Accounts::start(&program);
        accounts.init();
        let (mut node, mut other) = (accounts.client(1), accounts.client(0));
        let [victim, own] = [&accounts.nodes[0].0, &accounts.nodes[1].0];
        other.subscribe("zeta1.live.>").unwrap();
        other.flush().unwrap();
        let live = format!("zeta1.live.state.{victim}.lock.x");
        node.publish(&live, "", &[], b"evil").unwrap();
        node.subscribe("_INBOX.>").unwrap();
        node.subscribe(">").unwrap();
        let refused = node.flush().unwrap();
        assert_eq!(refused.len(), 2, "{name}: a foreign feed, and all subjects: {refused:?}");
        other.request("JSZ.STREAM.INFO.ZETA1_STATE", "").unwrap();
        node.flush().unwrap();
        assert!(node.received.is_empty(), "{name}: {:?}", node.received);
        // The feed goes on, so what did not come before was refused.
        node.request(&format!("zeta1.state.{own}.lock.y"), "x").unwrap();
        let own_live = format!("zeta1.live.state.{own}.lock.y");
        let begun = std::time::Instant::now();
        while !other.received.iter().any(|(subject, _)| *subject == own_live) {
            assert!(begun.elapsed().as_secs() < 20, "{name}: {:?}", other.received);
            other.flush().unwrap();
        }
        assert!(other.received.iter().all(|(_, body)| body != b"evil"), "{name}");
    }
}

/// Opens the connection of a node that joins first.
fn member(sandbox: &Sandbox, server: &Server) -> Member {
    sandbox.ok(&["cluster", "join", "--server", &server.url()]);
    let setting = Setting::new(server.url().parse().unwrap());
    Member::open(&setting, &identity_dir(sandbox)).unwrap()
}

/// Signs as another program would, with a key and a name of its choice.
fn sealed(signer: &Signer, subject: &str, body: &[u8]) -> Vec<(String, String)> {
    let parsed = Subject::parse(subject).unwrap();
    signer.seal(1, signer.next_counter(), &parsed, body, None).unwrap()
}

fn put(client: &mut Client, subject: &str, headers: &[(String, String)], body: &[u8]) {
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = client.request_with(subject, &headers, body).unwrap();
    assert!(answer["seq"].as_u64().is_some(), "{answer}");
}

#[test]
fn only_what_the_key_of_the_node_signed_counts() {
    for (name, program) in programs(test_name!()) {
        let sandboxes = [Sandbox::new(), Sandbox::new()];
        let server = Server::start(&program, &sandboxes[0].dir.join(name), "").unwrap();
        sandboxes[0].ok(&["cluster", "init", "--server", &server.url()]);
        let [observer, writer] = sandboxes.each_ref().map(|sandbox| member(sandbox, &server));
        let node = writer.identity().node.clone();
        let mut hand = server.client().unwrap();
        let card = format!("zeta1.state.{node}.card.self");
        let lock = format!("zeta1.state.{node}.lock.x");
        let trust = |subject: &str| {
            let read = observer.last(&Subject::parse(subject).unwrap()).unwrap().unwrap();
            assert_eq!(read.trust.is_verified(), read.trust == Trust::Verified);
            (read.trust, read)
        };
        // No key of the node is known yet, and a card pins none that did not sign it.
        let mut fields = Fields::new("card");
        fields.push_text(CARD_KEY, &writer.identity().public_key());
        let text = fields.render();
        let liar_dir = sandboxes[0].dir.join("liar");
        let cluster = writer.identity().cluster.clone();
        let liar = Signer::new(Identity::bind(&liar_dir, &node, &cluster).unwrap()).unwrap();
        put(&mut hand, &card, &sealed(&liar, &card, text.as_bytes()), text.as_bytes());
        assert_eq!(trust(&card).0, Trust::UnknownKey, "{name}");
        // From its own card on its values count.
        put(&mut hand, &card, &sealed(writer.signer(), &card, text.as_bytes()), text.as_bytes());
        assert_eq!(trust(&card).0, Trust::Verified, "{name}");
        let first = sealed(writer.signer(), &lock, b"first");
        put(&mut hand, &lock, &first, b"first");
        let (good, taken) = trust(&lock);
        assert_eq!((good, taken.body.as_slice()), (Trust::Verified, b"first".as_slice()));
        // Another key of the same name, a card of that key, and no signature.
        put(&mut hand, &lock, &sealed(&liar, &lock, b"evil"), b"evil");
        assert_eq!(trust(&lock).0, Trust::Forged, "{name}");
        let mut lies = Fields::new("card");
        lies.push_text(CARD_KEY, &liar.identity.public_key());
        let lies = lies.render();
        put(&mut hand, &card, &sealed(&liar, &card, lies.as_bytes()), lies.as_bytes());
        assert_eq!(trust(&card).0, Trust::Forged, "{name}");
        let unsigned: Vec<_> =
            first.iter().filter(|(name, _)| name != "Zeta-Sig").cloned().collect();
        put(&mut hand, &lock, &unsigned, b"first");
        assert_eq!(trust(&lock).0, Trust::Unsigned, "{name}");
        // Other bytes, another subject, another epoch or counter under a good signature.
        put(&mut hand, &lock, &first, b"other");
        assert_eq!(trust(&lock).0, Trust::Forged, "{name}");
        let elsewhere = format!("zeta1.state.{node}.lock.y");
        put(&mut hand, &elsewhere, &first, b"first");
        assert_eq!(trust(&elsewhere).0, Trust::Forged, "{name}");
        for header in ["Zeta-Epoch", "Zeta-N"] {
            let mut changed = first.clone();
            let value = changed.iter_mut().find(|(name, _)| name == header).unwrap();
            value.1 = "99".to_owned();
            put(&mut hand, &lock, &changed, b"first");
            assert_eq!(trust(&lock).0, Trust::Forged, "{name}: {header}");
        }
        // An old value, sent again, is signed well, and is older than what was taken before.
        let second = sealed(writer.signer(), &lock, b"second");
        put(&mut hand, &lock, &second, b"second");
        let newer = trust(&lock).1.counter();
        assert!(newer > taken.counter());
        put(&mut hand, &lock, &first, b"first");
        let (signed, again) = trust(&lock);
        assert_eq!(signed, Trust::Verified);
        assert!(again.counter() <= newer && again.sequence > taken.sequence, "{name}");
    }
}
