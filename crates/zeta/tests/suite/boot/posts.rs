//! All of it on a machine that boots: the package, posts that systemd keeps, three vendors with
//! outages, an agent that hangs and one that leaves processes, registration, upkeep, and a reboot.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use zeta_core::registration::{branch, node_path};

use super::cluster::Cluster;
use super::driver::Driver;
use super::machine::Machine;
use super::package::packed;
use crate::support::test_name;

/// How long a boot may last; each wait in it has a limit of its own.
const LONG: Duration = Duration::from_secs(400);

/// The time from the beginning of one tick to the next.
const TICK: Duration = Duration::from_secs(1);

const LINES: [&str; 3] = ["alpha", "beta", "gamma"];

/// The program of all vendors. What happens to it is said by marks of its line and of its persona.
const VENDOR: &str = r#"#!/bin/sh
line=$1 persona=$2
say() { echo "$persona $1 $line $$" >>/var/lib/zeta/agents.log; }
if [ -e /drive/$line.down ]; then
    echo 'API Error: 529 {"type":"overloaded_error"}' >&2
    exit 1
fi
say begins
if [ -e /drive/$persona.hangs ]; then
    trap '' TERM
    say hangs
    while :; do sleep 60; done
fi
if [ -e /drive/$persona.leaves ]; then
    (setsid sh -c 'trap "" TERM HUP INT; exec sleep 7654321' >/dev/null 2>&1 &)
    env -i setsid sleep 7654321 >/dev/null 2>&1 &
    sleep 0.2
    say leaves
fi
sleep 0.2
say ends
"#;

/// What the operator writes: four personas for three posts.
fn configure(machine: &Machine) {
    let mut posts = "\
[posts]
count = 3
floor = 3
[failover]
failures = 1
down = \"2s\"
down_max = \"2s\"
[ticks]
every = \"1s\"
jitter = \"1ms\"
limit = \"6s\"
grace = \"500ms\"
back_off_max = \"1s\"
prompt = \"stand guard\"
"
    .to_owned();
    for line in LINES {
        posts += &format!(
            "[lines.{line}]\nprobe = {{ program = \"/usr/bin/test\", \
             arguments = [\"!\", \"-e\", \"/drive/{line}.down\"] }}\n\
             [lines.{line}.tiers.high]\nprogram = \"/usr/local/bin/vendor\"\n\
             arguments = [\"{line}\", \"{{persona}}\"]\n"
        );
    }
    machine.write("etc/zeta/posts.toml", &posts, 0o644);
    for (at, persona) in ["lior", "nora", "otto", "vera"].iter().enumerate() {
        let lines: Vec<&str> = (0..3).map(|next| LINES[(at + next) % 3]).collect();
        let text = format!("lines = {lines:?}\nharnesses = [\"cli\"]\n");
        machine.write(&format!("etc/zeta/personas.d/{persona}.toml"), &text, 0o644);
    }
    machine.write("usr/local/bin/vendor", VENDOR, 0o755);
}

/// Who stands at each post, and with which line, as `zeta status` shows it.
fn posts(status: &Value) -> BTreeMap<u64, (String, String)> {
    let agents = status["nodes"][0]["agents"].as_array().into_iter().flatten();
    let manned = agents.filter(|agent| agent["post"].is_u64() && agent["liveness"] == "live");
    let text = |agent: &Value, key: &str| agent[key].as_str().unwrap_or_default().to_owned();
    let row = |agent: &Value| {
        (agent["post"].as_u64().unwrap(), (text(agent, "agent"), text(agent, "line")))
    };
    manned.map(row).collect()
}

/// The posts, if all of them are manned, each by another persona.
fn all_manned(status: &Value) -> Option<BTreeMap<u64, (String, String)>> {
    let posts = posts(status);
    let mut personas: Vec<&String> = posts.values().map(|(persona, _)| persona).collect();
    personas.sort();
    personas.dedup();
    (personas.len() == 3 && posts.keys().eq(&[1, 2, 3])).then_some(posts)
}

fn uses(posts: &BTreeMap<u64, (String, String)>, line: &str) -> bool {
    posts.values().any(|(_, used)| used == line)
}

#[test]
fn posts_stand_guard_on_a_machine_that_boots() {
    let Some(machine) = Machine::bare(test_name!()) else { return };
    let cluster = Cluster::new();
    ["1.2.3", "1.2.4"].iter().for_each(|version| packed(&machine, version));
    configure(&machine);
    machine.drive(LONG, |driver| {
        install(driver);
        let posts = driver.wait("all posts are manned", all_manned);
        assert!(LINES.iter().all(|line| uses(&posts, line)), "each has its best line: {posts:?}");
        fail_over(driver);
        rotate(driver);
        hang(driver);
        leave(driver);
        upkeep(driver);
        upgrade(driver);
    });
    cluster.invite_by_git(&machine);
    machine.drive(LONG, |driver| {
        // It is all enabled: nobody starts anything.
        driver.wait("all posts are manned after the boot", all_manned);
        register(driver, &cluster);
        remove(driver);
    });
}

/// As the documents say it.
fn install(driver: &Driver) {
    let said =
        driver.sh("dpkg --force-unsafe-io -i /zeta-1.2.3.deb >/dpkg.out 2>&1 || cat /dpkg.out
        zeta init --group zeta >/init.out 2>&1 || cat /init.out
        find /etc/systemd/system -type f -name 'zeta-*' ! -name zeta-end.service
        systemctl enable --now zeta-guard-posts.target zeta-heartbeat.service zeta-clean.timer \
            zeta-node-register.timer 2>&1 | grep -v '^Created symlink'
        systemctl is-active zeta-guard-post@1.service zeta-guard-post@3.service");
    // The package has the units; none stands in front of them.
    assert_eq!(said, "active\nactive\n");
}

/// Each vendor goes down once, and two of them again: all posts go on without it, and return.
fn fail_over(driver: &Driver) {
    let mut took = Vec::new();
    for line in [LINES, LINES].concat().into_iter().take(5) {
        let is_used = |status: &Value| all_manned(status).filter(|posts| uses(posts, line));
        driver.wait(&format!("{line} is used"), is_used);
        let begun = Instant::now();
        driver.mark(&format!("{line}.down"), true);
        let is_left = |status: &Value| all_manned(status).filter(|posts| !uses(posts, line));
        driver.wait(&format!("all posts are manned without {line}"), is_left);
        took.push(begun.elapsed());
        driver.mark(&format!("{line}.down"), false);
    }
    took.sort();
    let (median, most) = (took[took.len() / 2], took[took.len() - 1]);
    eprintln!(
        "failover of {}: median {median:?}, at most {most:?}; a tick is {TICK:?}",
        took.len()
    );
}

/// The next personas come to the posts: the fourth one stands there.
fn rotate(driver: &Driver) {
    let personas = |posts: BTreeMap<u64, (String, String)>| -> Vec<String> {
        let mut personas: Vec<String> = posts.into_values().map(|(persona, _)| persona).collect();
        personas.sort();
        personas
    };
    let before = driver.wait("all posts are manned", |status| all_manned(status).map(personas));
    let said = driver
        .sh("setpriv --reuid zeta --regid zeta --init-groups zeta post rotate --config /etc/zeta \
            --dir /var/lib/zeta >/rotate.out 2>&1 || cat /rotate.out");
    assert_eq!(said, "");
    let changed =
        |status: &Value| all_manned(status).map(personas).filter(|personas| *personas != before);
    driver.wait("others stand there", changed);
}

/// An agent that hangs counts as failed, and the post goes on with other processes.
fn hang(driver: &Driver) {
    let posts = driver.wait("all posts are manned", all_manned);
    let (persona, _) = &posts[&1];
    driver.mark(&format!("{persona}.hangs"), true);
    let log = "/var/lib/zeta/agents.log";
    let hangs = driver.wait_sh("it hangs", &format!("grep '^{persona} hangs ' {log} | tail -n 1"));
    driver.mark(&format!("{persona}.hangs"), false);
    let pid = hangs.trim().rsplit(' ').next().unwrap();
    driver.wait_sh("the hung one is gone", &format!("[ -e /proc/{pid} ] || echo gone"));
    let report = "grep -h -m 1 '\"cut\": *\"time\"' /var/lib/zeta/guard-post-?.json";
    driver.wait_sh("it is reported", report);
    let ends = format!("sed '1,/^{persona} hangs /d' {log} | grep -m 1 '^{persona} ends '");
    driver.wait_sh("its next tick ends well", &ends);
    driver.wait("all posts are manned after a hang", all_manned);
}

/// What an agent leaves behind is gone with its tick.
fn leave(driver: &Driver) {
    let posts = driver.wait("all posts are manned", all_manned);
    let (persona, _) = &posts[&2];
    driver.mark(&format!("{persona}.leaves"), true);
    let log = "/var/lib/zeta/agents.log";
    driver.wait_sh("it left processes", &format!("grep '^{persona} leaves ' {log}"));
    driver.mark(&format!("{persona}.leaves"), false);
    driver.wait_sh("they are gone", "grep -qs '[7]654321' /proc/[0-9]*/cmdline || echo gone");
}

/// The hourly clean-up and the reaper of old files leave what is held.
fn upkeep(driver: &Driver) {
    let said = driver.sh("systemctl start zeta-clean.service && echo cleaned
        # No clock here can be set: what is older than a microsecond is old.
        echo 'q /tmp 1777 root root 1us' >/etc/tmpfiles.d/tmp.conf
        touch /tmp/aged; sleep 0.1
        systemctl start systemd-tmpfiles-clean.service
        [ -e /tmp/aged ] || echo reaped
        ls -d /tmp/zeta-cluster-state/nodes /tmp/zeta-bus");
    assert_eq!(said, "cleaned\nreaped\n/tmp/zeta-bus\n/tmp/zeta-cluster-state/nodes\n");
    let leases = driver.status()["nodes"][0]["leases"].to_string();
    for post in 1..=3 {
        assert!(leases.contains(&format!("guard-post-{post}")), "{leases}");
    }
    driver.wait("all posts are manned after the upkeep", all_manned);
}

/// The node registers over git alone.
fn register(driver: &Driver, cluster: &Cluster) {
    let said = driver.sh("systemctl start zeta-node-register.service
        systemctl show -p ExecMainStatus --value zeta-node-register.service
        cat /etc/zeta/cluster-node-id; cat /var/lib/zeta/self-registered.marker");
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("0"), "{said}");
    let node = lines.next().unwrap();
    let path = node_path("ace", node);
    let file = cluster.forge.model(|model| model.content(&branch(node), &path));
    assert!(file.contains(node) && said.contains(&format!("node={node}")), "{file}\n{said}");
}

/// A heartbeat goes on as the new program, and an agent at a post is not ended for it.
fn upgrade(driver: &Driver) {
    let said = driver.sh("of() { systemctl show -p MainPID --value $1; }
        post=$(of zeta-guard-post@1.service); beat=$(of zeta-heartbeat.service)
        dpkg --force-unsafe-io -i /zeta-1.2.4.deb >/dpkg.out 2>&1 || cat /dpkg.out
        [ $post = $(of zeta-guard-post@1.service) ] && echo the post goes on
        [ $beat != $(of zeta-heartbeat.service) ] && systemctl is-active zeta-heartbeat.service");
    assert_eq!(said, "the post goes on\nactive\n");
    driver.wait("all posts are manned after the upgrade", all_manned);
}

/// The package goes while the posts work: nothing of it runs on, and the work stays.
fn remove(driver: &Driver) {
    let said = driver.sh("dpkg -r zeta >/dpkg.out 2>&1 || cat /dpkg.out
        grep -ls 'local/bin/vendo[r]' /proc/[0-9]*/cmdline
        systemctl list-units --no-legend --plain --state=active 'zeta-*'
        systemctl --failed --no-legend
        ls -d /usr/bin/zeta /var/lib/zeta/work/* 2>&1 | sed 's/.*No such file.*/gone/' | sort -u");
    let mut lines = said.lines();
    let kept = lines.by_ref().filter(|line| line.starts_with("/var/lib/zeta/work/")).count();
    assert!(kept >= 3 && said.ends_with("gone\n"), "{said}");
    let others = said.lines().filter(|line| !line.starts_with("/var/lib/zeta/work/"));
    assert_eq!(others.collect::<Vec<_>>(), ["gone"], "{said}");
}
