//! The unit of registration over many boots: one pull request, and a receipt that lasts.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::hub::{NAME, OWNER};
use crate::machine::Machine;
use crate::standin::{StandIn, TOKEN};

/// The repository, as git serves it.
struct Served {
    daemon: Child,
    url: String,
}

impl Served {
    fn new(repository: &Path) -> Served {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Not by 'git daemon', which would start it as a child that outlives its end.
        let path = Command::new("git").arg("--exec-path").output().unwrap().stdout;
        let path = Path::new(std::str::from_utf8(&path).unwrap().trim()).join("git-daemon");
        let mut daemon = Command::new(path);
        daemon.args(["--listen=127.0.0.1", "--export-all", "--enable=receive-pack"]);
        daemon.arg(format!("--port={port}"));
        daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        daemon.arg(format!("--base-path={}", repository.parent().unwrap().display()));
        let daemon = daemon.spawn().unwrap();
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "git daemon does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        let name = repository.file_name().unwrap().to_string_lossy().into_owned();
        Served { daemon, url: format!("git://127.0.0.1:{port}/{name}") }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

const SCRIPT: &str = "\
systemctl start zeta-node-register.service
echo status $(systemctl show -p ExecMainStatus --value zeta-node-register.service)
cat /proc/sys/kernel/random/boot_id
cat /var/lib/zeta/self-registered.marker
ls -l /tmp/zeta-cluster-state/nodes
journalctl --no-pager -u zeta-node-register.service
";

#[test]
fn a_node_that_boots_again_and_again_has_one_pull_request() {
    let Some(machine) = Machine::installed("boot::register") else { return };
    let forge = StandIn::new();
    let served = Served::new(&forge.hub(|hub| hub.place().to_owned()));
    let arguments = format!(
        "ZETA_REGISTER_ARGS=--repo {OWNER}/{NAME} --api {} --remote {} --maintainer ace\n",
        forge.url, served.url
    );
    machine.write("etc/zeta/forge-token", TOKEN, 0o600);
    let drop_in = "etc/systemd/system/zeta-node-register.service.d/token.conf";
    machine.write(drop_in, "[Service]\nLoadCredential=forge-token:/etc/zeta/forge-token\n", 0o644);

    // Nobody said where to register: the unit is passed over.
    let said = machine.boot(SCRIPT, &[]);
    assert!(said.contains("condition"), "{said}");
    assert_eq!(forge.hub(|hub| hub.pulls.len()), 0);

    machine.write("etc/zeta/node-register.env", &arguments, 0o644);
    let mut boots = Vec::new();
    for state in ["pr-opened", "converging", "converged"] {
        let said = machine.boot(SCRIPT, &[]);
        assert!(said.contains("status 0"), "{said}");
        assert!(said.contains(&format!("state={state}")), "{said}");
        assert!(said.contains("node=node-b00710"), "{said}");
        assert!(!said.contains(TOKEN), "{said}");
        assert_eq!(forge.hub(|hub| hub.pulls.len()), 1, "{said}");
        boots.push(said.lines().nth(1).unwrap().to_owned());
        if state == "converging" {
            forge.hub(|hub| hub.merge(1));
        }
    }
    boots.dedup();
    assert_eq!(boots.len(), 3, "each boot has an id of its own: {boots:?}");
}
