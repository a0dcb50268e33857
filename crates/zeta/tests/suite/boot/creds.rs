//! The unit that restores credentials, over whole boots: a machine that is imaged anew is who it
//! was, and whatever a restore fails of is seen.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::PathBuf;

use super::cluster::Cluster;
use super::machine::Machine;
use crate::node::fake_github::TOKEN;
use crate::support::{Sandbox, test_name};

const UUID: &str = "1A2B-3C4D";
const PASSPHRASE: &str = "lusab-babad-gutih-tugad-tobog-higil";
const WRONG: &str = "lusab-babad-gutih-tugad-tobog-gutih";
const GH: &str = "github.com:\n    oauth_token: MARKED-AS-OF-GH\n";
const CLAUDE: &str = "{\"claudeAiOauth\":{\"accessToken\":\"MARKED-AS-OF-CLAUDE\"}}\n";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEFhYmNkZWZnaGlqa2xtbm9wcXJzdHV2 ace\n";

const WIFI: &str = "{\"ssid\":\"Home\",\"password\":\"MARKED-AS-OF-WIFI\"}\n";

/// What may be in no journal.
const SECRETS: [&str; 5] =
    [PASSPHRASE, WRONG, "MARKED-AS-OF-GH", "MARKED-AS-OF-CLAUDE", "MARKED-AS-OF-WIFI"];

/// The id that the machine's firmware or hypervisor gives. systemd takes it as the machine id where
/// there is none, so that it outlives the disk.
const HARDWARE: &str = "--uuid=0b00710d-0b00-4710-8000-0ddba110ddba";

/// The user whose home it is.
const ACE: u32 = 1000;
const STAGED: &str = "etc/zeta/creds-passphrase";
const ARGUMENTS: &str = "ZETA_CREDS_ARGS=--usb-uuid-file /etc/zeta/usb-uuid \
                         --input /boot/zeta-creds.enc --user ace --persona otto";

/// A stick, whose ESP is the machine's `/boot`: it outlives the machine's disk.
struct Stick {
    sandbox: Sandbox,
    option: String,
}

impl Stick {
    fn new() -> Stick {
        let sandbox = Sandbox::new();
        fs::create_dir(sandbox.dir.join("esp")).unwrap();
        let option = format!("--bind={}:/boot", sandbox.dir.join("esp").display());
        Stick { sandbox, option }
    }

    fn blob(&self) -> PathBuf {
        self.sandbox.dir.join("esp/zeta-creds.enc")
    }

    /// Seals these credentials, with our own binary.
    fn persist(&self, credentials: &[(&str, &str)]) {
        let mut call = self.sandbox.cmd(&["creds", "persist", "--usb-uuid", UUID]);
        call.env("STATE_DIRECTORY", self.sandbox.dir.join("seen"));
        call.args(["--persona", "otto", "--output"]).arg(self.blob());
        let passphrase = self.sandbox.dir.join("passphrase");
        secret(&passphrase, &format!("{PASSPHRASE}\n"));
        call.arg("--passphrase-file").arg(passphrase);
        for (id, value) in credentials {
            let file = self.sandbox.dir.join(id);
            secret(&file, value);
            call.arg(format!("--bake-cred={id}=@{}", file.display()));
        }
        let out = crate::support::run(&mut call);
        assert_eq!(out.status, 0, "{out:?}");
    }
}

fn secret(path: &std::path::Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// A machine with a user, and with our unit enabled.
fn installed(test: &str) -> Option<Machine> {
    let machine = Machine::installed(test)?;
    machine.user("ace", ACE);
    let unit = "etc/systemd/system/multi-user.target.wants/zeta-creds-restore.service";
    let unit = machine.root().join(unit);
    fs::create_dir_all(unit.parent().unwrap()).unwrap();
    symlink("../zeta-creds-restore.service", unit).unwrap();
    machine.write("etc/zeta/usb-uuid", &format!("{UUID}\n"), 0o644);
    Some(machine)
}

/// Boots with the stick, and checks that no secret is printed.
fn boot(machine: &Machine, stick: &Stick, script: &str) -> String {
    let whole = format!("{FUNCTIONS}{script}\njournalctl --no-pager --boot\n");
    let said = machine.boot(&whole, &[&stick.option, HARDWARE]);
    for secret in SECRETS {
        assert!(!said.contains(secret), "a secret is printed: {said}");
    }
    said
}

/// How our unit ended, whether registration ran, what failed, and answers to questions.
const FUNCTIONS: &str = r#"
of() { systemctl show --property "$2" --value "$1"; }
restore() {
    unit=zeta-creds-restore.service
    echo "restore: $(of $unit ActiveState) $(of $unit Result) $(of $unit ExecMainStatus)"
    systemctl --failed --no-legend --plain | sed 's/ .*//;s/^/has failed: /'
}
register() {
    systemctl start zeta-node-register.service
    echo "register: ran $(of zeta-node-register.service ExecMainStartTimestampMonotonic)"
}
answer() {
    tries=0
    while [ $tries -lt 200 ]; do
        for question in /run/systemd/ask-password/ask.*; do
            [ -e "$question" ] || continue
            socket=$(sed -n 's/^Socket=//p' "$question")
            /usr/lib/systemd/systemd-reply-password 1 "$socket" < "$1"
            while [ -e "$question" ]; do sleep 0.02; done
            return
        done
        sleep 0.02
        tries=$((tries + 1))
    done
    echo "nobody asked"
}
"#;

const REGISTER: &str = "restore\nregister\ncat /var/lib/zeta/self-registered.marker\n";

#[test]
fn a_machine_that_is_imaged_anew_is_who_it_was() {
    let Some(machine) = installed(test_name!()) else { return };
    let cluster = Cluster::new();
    let stick = Stick::new();
    cluster.entrust(&machine);
    cluster.invite(&machine);
    boot(&machine, &stick, REGISTER);
    cluster.forge.model(|model| model.merge(1));
    let said = boot(&machine, &stick, REGISTER);
    assert!(said.contains("node=node-b00710\n") && said.contains("state=converged\n"), "{said}");
    let receipt = machine.root().join("var/lib/zeta/self-registered.marker");
    let receipt = fs::read_to_string(receipt).unwrap();
    stick.persist(&[
        ("gh-cli", GH),
        ("claude", CLAUDE),
        ("ssh-operator-pubkey", KEY),
        ("self-registered-marker", &receipt),
    ]);
    drop(machine);

    // Another disk, whose installer gave another name, and a user who would like to have the
    // token written elsewhere.
    let Some(anew) = installed(test_name!()) else { return };
    anew.write("etc/zeta/cluster-node-id", "node-0ddba11\n", 0o644);
    cluster.entrust(&anew);
    cluster.invite(&anew);
    let config = anew.root().join("home/ace/.config");
    fs::create_dir(&config).unwrap();
    symlink("/etc/zeta", config.join("gh")).unwrap();
    for path in [&config, &config.join("gh")] {
        lchown(path, Some(ACE), Some(ACE)).unwrap();
    }
    let arguments = format!("{ARGUMENTS} --passphrase-file /{STAGED}\n");
    anew.write("etc/zeta/creds.env", &arguments, 0o644);
    anew.write(STAGED, PASSPHRASE, 0o400);
    let said = boot(&anew, &stick, REGISTER);
    assert!(said.contains("restore: failed exit-code 8\n"), "{said}");
    assert!(said.contains("has failed: zeta-creds-restore.service\n"), "{said}");
    assert!(said.contains("/home/ace/.config/gh: it is a symbolic link to /etc/zeta"), "{said}");
    assert!(said.contains("node=node-b00710\n") && said.contains("state=converged\n"), "{said}");
    assert!(!anew.root().join("etc/zeta/hosts.yml").exists(), "{said}");
    assert!(!anew.root().join(STAGED).exists(), "{said}");
    owned(&anew, "home/ace/.claude/.credentials.json", CLAUDE, (0o600, ACE, ACE));
    owned(&anew, "etc/zeta/operator-authorized-keys", KEY, (0o644, 0, 0));
    let marker = fs::metadata(anew.root().join("var/lib/zeta/self-registered.marker")).unwrap();
    let home = fs::metadata(anew.root().join("var/lib/zeta")).unwrap();
    assert_eq!(marker.uid(), home.uid());
    assert_ne!(marker.uid(), 0);

    // The link is gone, and the rest comes; what is there already is left as it is.
    fs::remove_file(config.join("gh")).unwrap();
    for boots in 2..4 {
        anew.write(STAGED, PASSPHRASE, 0o400);
        let said = boot(&anew, &stick, REGISTER);
        assert!(said.contains("restore: active success 0\n"), "boot {boots}: {said}");
        assert!(said.contains("already present"), "boot {boots}: {said}");
        assert_eq!(said.contains("written"), boots == 2, "boot {boots}: {said}");
        assert!(!anew.root().join(STAGED).exists(), "boot {boots}: {said}");
        owned(&anew, "home/ace/.config/gh/hosts.yml", GH, (0o600, ACE, ACE));
    }
    assert_eq!(cluster.pulls(), 1, "it was no new node");
}

#[test]
fn a_node_registers_with_the_login_that_its_stick_brought() {
    let Some(machine) = installed(test_name!()) else { return };
    let cluster = Cluster::new();
    let stick = Stick::new();
    stick.persist(&[("gh-cli", &format!("127.0.0.1:\n    oauth_token: {TOKEN}\n"))]);
    machine.write(STAGED, PASSPHRASE, 0o400);
    let arguments = format!("{ARGUMENTS} --passphrase-file /{STAGED}\n");
    machine.write("etc/zeta/creds.env", &arguments, 0o644);
    cluster.invite(&machine);
    // The service sees no home.
    let drop_in = "etc/systemd/system/zeta-node-register.service.d/token.conf";
    let text = "[Service]\nLoadCredential=forge-token:/home/ace/.config/gh/hosts.yml\n";
    machine.write(drop_in, text, 0o644);
    for state in ["pr-opened", "converging"] {
        let said = boot(&machine, &stick, REGISTER);
        assert!(said.contains(&format!("state={state}\n")), "{said}");
        assert!(!said.contains(TOKEN) && cluster.pulls() == 1, "{said}");
        machine.write(STAGED, PASSPHRASE, 0o400);
    }
}

const RESTORE: &str = "restore\nregister\n";

/// Registration may run or not; where it would register is nowhere.
fn nowhere(machine: &Machine) {
    let nowhere = "ZETA_REGISTER_ARGS=--repo a/b --api http://127.0.0.1:1 --maintainer ace\n";
    machine.write("etc/zeta/node-register.env", nowhere, 0o644);
}

fn ran(said: &str) -> bool {
    assert!(said.contains("register: ran "), "{said}");
    !said.contains("register: ran 0\n")
}

#[test]
fn what_a_restore_fails_of_is_seen() {
    let Some(machine) = installed(test_name!()) else { return };
    let stick = Stick::new();
    nowhere(&machine);
    let boot = |script: &str| boot(&machine, &stick, script);

    // No prompt appeared.
    let said = boot(RESTORE);
    assert!(said.contains("restore: inactive success 0\n") && ran(&said), "{said}");
    assert!(said.contains("unmet condition check"), "{said}");

    // There is nothing to restore, or a part of it is missing.
    let arguments = format!("{ARGUMENTS} --passphrase-file /{STAGED}\n");
    machine.write("etc/zeta/creds.env", &arguments, 0o644);
    let said = boot(&format!(
        "{RESTORE}touch /boot/zeta-creds.enc; systemctl restart zeta-creds-restore.service; restore"
    ));
    assert!(said.contains("restore: active success 0\n") && ran(&said), "{said}");
    assert!(said.contains("nothing to restore: /boot/zeta-creds.enc"), "{said}");
    assert!(said.contains("restore: failed exit-code 4\n"), "{said}");
    stick.persist(&[("gh-cli", GH)]);
    fs::remove_file(machine.root().join("etc/zeta/usb-uuid")).unwrap();
    let said = boot(RESTORE);
    assert!(said.contains("restore: failed exit-code 2\n") && ran(&said), "{said}");
    assert!(said.contains("/etc/zeta/usb-uuid: there is no such file"), "{said}");
}

#[test]
fn a_wrong_passphrase_blocks_registration_only_if_that_was_asked_for() {
    let Some(machine) = installed(test_name!()) else { return };
    let stick = Stick::new();
    nowhere(&machine);
    let boot = |script: &str| boot(&machine, &stick, script);
    machine.write(
        "etc/zeta/creds.env",
        &format!("{ARGUMENTS} --passphrase-file /{STAGED}\n"),
        0o644,
    );
    stick.persist(&[("gh-cli", GH), ("wifi", WIFI)]);
    let said = boot(RESTORE);
    assert!(said.contains("restore: failed exit-code 2\n") && ran(&said), "{said}");
    assert!(said.contains("/etc/zeta/creds-passphrase is not there"), "{said}");
    machine.write(STAGED, WRONG, 0o400);
    let said = boot(RESTORE);
    assert!(said.contains("restore: failed exit-code 5\n") && ran(&said), "{said}");
    assert!(said.contains("has failed: zeta-creds-restore.service\n"), "{said}");
    assert!(said.contains("/boot/zeta-creds.enc: "), "{said}");
    assert!(said.contains("the staged passphrase was removed"), "{said}");
    let (failed, open) = (said.find("Failed to start zeta-creds"), said.find("user-sessions"));
    assert!(failed.unwrap() < open.unwrap(), "sessions begin after it: {said}");
    assert!(!machine.root().join(STAGED).exists(), "{said}");
    assert!(!machine.root().join("home/ace/.config").exists(), "{said}");
    machine.write(STAGED, WRONG, 0o400);
    let said = boot(
        "restore; systemctl add-requires zeta-node-register.service zeta-creds-restore.service
        register",
    );
    assert!(said.contains("restore: failed exit-code 5\n") && !ran(&said), "{said}");
    assert!(said.contains("Dependency failed for zeta-node-register.service"), "{said}");

    // With the right one it may run again.
    machine.write("answer", PASSPHRASE, 0o400);
    let said = boot(
        "mkdir /etc/systemd/system/zeta-creds-restore.service.d
        echo '[Service]
        LoadCredentialEncrypted=zeta-creds-passphrase:/etc/zeta/creds-passphrase.cred' \
            > /etc/systemd/system/zeta-creds-restore.service.d/passphrase.conf
        systemd-creds encrypt --name=zeta-creds-passphrase /answer \
            /etc/zeta/creds-passphrase.cred",
    );
    assert!(said.contains("restore.service: Main process exited"), "{said}");
    // Where NetworkManager is not, its directory is not writable; all else comes.
    let said = boot(
        "restore; mkdir -p /etc/NetworkManager/system-connections
        systemctl start zeta-creds-restore.service; restore; register",
    );
    assert!(said.contains("restore: failed exit-code 8\n") && ran(&said), "{said}");
    assert!(said.contains("/etc/NetworkManager: it cannot be written to"), "{said}");
    assert!(said.contains("restore: active success 0\n"), "{said}");
    owned(&machine, "home/ace/.config/gh/hosts.yml", GH, (0o600, ACE, ACE));
    let wifi = "etc/NetworkManager/system-connections/zeta-restored-wifi.nmconnection";
    let wifi = fs::metadata(machine.root().join(wifi)).unwrap();
    assert_eq!((wifi.mode() & 0o7777, wifi.uid()), (0o600, 0));
}

#[test]
fn a_person_is_asked_three_times_and_an_older_blob_is_told() {
    let Some(machine) = installed(test_name!()) else { return };
    let stick = Stick::new();
    stick.persist(&[("gh-cli", GH)]);
    stick.persist(&[("gh-cli", GH), ("ssh-operator-pubkey", KEY)]);
    // A user who makes each restore fail of him does not thereby make it forget what it saw.
    let gh = machine.root().join("home/ace/.config");
    symlink("/etc/zeta", &gh).unwrap();
    lchown(&gh, Some(ACE), Some(ACE)).unwrap();
    machine.write("etc/zeta/creds.env", &format!("{ARGUMENTS} --ask\n"), 0o644);
    machine.write("answer", PASSPHRASE, 0o400);
    machine.write("wrong", WRONG, 0o400);
    // Not before the boot is over: no program would answer.
    let wants = "etc/systemd/system/multi-user.target.wants/zeta-creds-restore.service";
    fs::remove_file(machine.root().join(wants)).unwrap();
    let said = boot(
        &machine,
        &stick,
        "for answers in 'wrong wrong wrong' 'wrong answer'; do
            systemctl start --no-block zeta-creds-restore.service
            for file in $answers; do answer /$file; done
            while [ $(of zeta-creds-restore.service ActiveState) = activating ]; do sleep 0.02; done
            restore
        done
        cp /boot/zeta-creds.bak /boot/zeta-creds.enc
        systemctl restart --no-block zeta-creds-restore.service
        answer /answer
        while [ $(of zeta-creds-restore.service ActiveState) = activating ]; do sleep 0.02; done
        restore
        stat -c '%n %a %u' /var/lib/zeta-creds",
    );
    let ends: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("restore: ")).collect();
    assert_eq!(ends, ["failed exit-code 5", "failed exit-code 8", "failed exit-code 8"], "{said}");
    owned(&machine, "etc/zeta/operator-authorized-keys", KEY, (0o644, 0, 0));
    assert!(!said.contains("nobody asked"), "{said}");
    assert!(said.contains("it is save 1, and save 2 was seen here"), "{said}");
    assert!(said.contains("/var/lib/zeta-creds 700 0\n"), "{said}");
}

/// Checks that a file exists with this mode and owner.
#[track_caller]
fn owned(machine: &Machine, path: &str, text: &str, owner: (u32, u32, u32)) {
    let path = machine.root().join(path);
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "{}", path.display());
    let meta = fs::symlink_metadata(&path).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), owner, "{}", path.display());
}
