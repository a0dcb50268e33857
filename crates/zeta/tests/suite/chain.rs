//! The whole way of a node: an image is written to a stick, the stick installs a machine, the first
//! boot restores its logins and registers it. The commands, the manifest, the units and the drop-in
//! are those of the page `docs/use/image-to-node.md`.
//!
//! The disks, the file systems, the sealed credentials, git and HTTP are real. Programs that note
//! their calls stand for those of NixOS, a chroot with the words of the units for the first boot,
//! and a model of its API for GitHub.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::flash::{Loop, disk, has_mtools, hash, image_file, read_from};
use crate::install::rig::{Rig, cache, can_run, long};
use crate::node::fake_github::{FakeGithub, Fault, TOKEN};
use crate::node::github_model::{Call, NAME, OWNER};
use crate::node::served::Served;
use crate::support::{LIMIT, Out, Sandbox, Terminal, can, skip, test_name, until};

const PAGE: &str = include_str!("../../../../docs/use/image-to-node.md");
const RESTORE: &str = include_str!("../../../../units/zeta-creds-restore.service");
const REGISTER: &str = include_str!("../../../../units/zeta-node-register.service");

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1tGq1d9pP4S0m0uVtb1yq7o2bqIYp9m0Yk0qQm1q2v ann";
const WIFI: &str = "MARKED-AS-OF-WIFI";
const JOIN: &str = "MARKED-AS-OF-JOIN";
/// The token of a server that no request goes to.
const OTHER: &str = "ghp_MARKEDasOfAnotherServer";
const CLAUDE: &str = "{\"claudeAiOauth\":{\"accessToken\":\"MARKED-AS-OF-CLAUDE\"}}\n";

/// The node's system up to a shell in it. What the build of its configuration would have made is
/// the user and the directories; what a machine has is the rest. `$1` is the rest of the script.
const BOOT: &str = r#"
mount -t ext4 ${D}p2 .
cd "$PWD"
mkdir -p boot bin sbin lib lib64 usr dev sys proc tmp run var/lib/zeta-creds
mount -t vfat ${D}p1 boot
for dir in bin sbin lib lib64 usr dev sys; do mount --rbind /$dir $dir; done
mount -t proc proc proc
for dir in tmp run; do mount -t tmpfs tmpfs $dir; done
touch run/zeta
mount --bind "$ZETA" run/zeta
echo 'root:x:0:0::/root:/bin/sh
zeta:x:990:990::/home/zeta:/bin/sh' > etc/passwd
echo 'root:x:0:
zeta:x:990:' > etc/group
install -d -o 990 -g 990 -m 700 home/zeta
install -d -o 990 -g 990 var/lib/zeta
install -D -m 400 "$PASSPHRASE" run/restore/zeta-creds-passphrase
hostname of-the-image
exec $TRACE chroot . /bin/sh -euc "$THEN"
"#;

/// A service of root, as systemd starts it, with the passphrase as its credential.
const AS_RESTORE: &str = "env -i PATH=/usr/sbin:/usr/bin STATE_DIRECTORY=/var/lib/zeta-creds \
    CREDENTIALS_DIRECTORY=/run/restore";

/// A service of the user zeta, with the login as its credential.
const AS_REGISTER: &str = r#"
install -d -m 500 -o 990 -g 990 /run/register
install -m 400 -o 990 -g 990 "$LOGIN" /run/register/forge-token
zeta() {
    env -i PATH=/usr/sbin:/usr/bin HOME=/home/zeta STATE_DIRECTORY=/var/lib/zeta TMPDIR=/tmp \
        CREDENTIALS_DIRECTORY=/run/register setpriv --reuid=990 --regid=990 --clear-groups \
        --inh-caps=-all /run/zeta "$@"
}
"#;

/// The text of the block that begins with a line, without its fences.
fn block(begin: &str) -> String {
    let blocks = PAGE.split("```").skip(1).step_by(2);
    let mut found = blocks.filter_map(|block| block.split_once('\n')).map(|(_, text)| text);
    found.find(|text| text.starts_with(begin)).unwrap_or_else(|| panic!("{begin}")).to_owned()
}

/// The command of a unit, with the program of the test.
fn command_of(unit: &str, variable: &str) -> String {
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let words = line.strip_prefix("/usr/local/bin/zeta ").unwrap();
    assert!(words.ends_with(&format!(" ${variable}")), "{words}");
    let file = unit.lines().find_map(|line| line.strip_prefix("EnvironmentFile=")).unwrap();
    // systemd splits an unquoted variable into words, as the shell does.
    format!(
        "{variable}=$(sed -n 's/^{variable}=//p' {file})\ntest -n \"${variable}\"\nzeta {words}"
    )
}

struct Chain {
    test: &'static str,
    /// What the operator has, and does.
    desk: Sandbox,
    stick: Loop,
    rig: Rig,
    forge: FakeGithub,
    served: Served,
    /// What was printed.
    said: String,
}

impl Chain {
    fn new(test: &'static str) -> Option<Chain> {
        if !can_run(test) || !has_mtools(test) {
            return None;
        }
        if !can("strace", &["-o", "/dev/null", "true"]) {
            skip(test, "strace does not work here");
            return None;
        }
        let desk = Sandbox::new();
        let stick = disk(test, &desk, "stick", 16 << 20)?;
        let mut rig = Rig::new(&[320, 64]);
        rig.fill(1);
        rig.stick = Some(stick.device.clone());
        let forge = FakeGithub::new();
        let served = Served::new(&forge.model(|model| model.place().to_owned()));
        Some(Chain { test, desk, stick, rig, forge, served, said: String::new() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.desk.dir.join(name)
    }

    /// The arguments of all programs that were started.
    fn calls(&self) -> PathBuf {
        self.path("calls")
    }

    /// The program that notes these arguments. It is beside the call and not before it, because
    /// what serves a mounted FAT volume outlives the call.
    fn trace(&self) -> String {
        let calls = self.calls();
        let options = "-D -f --seccomp-bpf -qq -e trace=execve -s 65536 -A -o";
        format!("strace {options} {}", calls.display())
    }

    /// The login of gh: at the server of this test, and at another one.
    fn login(&self) -> String {
        format!(
            "github.com:\n    oauth_token: {OTHER}\n127.0.0.1:\n    user: ace\n    \
             oauth_token: {TOKEN}\n    git_protocol: https\n"
        )
    }

    fn passphrase(&self) -> String {
        fs::read_to_string(self.path("passphrase.txt")).unwrap().trim().to_owned()
    }

    fn secrets(&self) -> [String; 6] {
        let passphrase = self.passphrase();
        [TOKEN, OTHER, WIFI, JOIN, "MARKED-AS-OF-CLAUDE", &passphrase].map(str::to_owned)
    }

    /// Keeps what a call printed, and returns it.
    fn heard(&mut self, out: Out, status: i32) -> String {
        self.said += &out.out;
        self.said += &out.err;
        assert_eq!(out.status, status, "{}: {out:?}", self.test);
        out.out + &out.err
    }

    /// Writes the stick as a person does, by the commands of the page.
    fn flash(&mut self) {
        image_file(&self.desk, 6 << 20);
        fs::rename(self.path("a.iso"), self.path("installer.iso")).unwrap();
        let wifi = format!("{{\"ssid\":\"home\",\"password\":\"{WIFI}\"}}");
        let join = format!("K10{}::server:{JOIN}\n", "0a".repeat(32));
        let login = self.login();
        for (name, text) in [
            ("operator.pub", KEY),
            ("wifi.json", &wifi),
            ("join-token", &join),
            ("hosts.yml", &login),
            ("claude.json", CLAUDE),
        ] {
            fs::write(self.path(name), text).unwrap();
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(self.path(name), private).unwrap();
        }
        let bin = self.path("bin");
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_zeta"), bin.join("zeta")).unwrap();
        let serial = "--disk 4C530001230725110404";
        let commands = block("umask 077");
        assert_eq!(commands.matches(serial).count(), 1, "{commands}");
        let name = self.stick.name();
        let commands = commands.replace(serial, &format!("--disk {name} --allow-internal {name}"));
        let trace = self.trace();
        let shell = ["/bin/sh", "-euc", &commands];
        let args: Vec<&str> = trace.split(' ').skip(1).chain(shell).collect();
        let mut call = self.desk.other("strace", &args);
        let path = std::env::var("PATH").unwrap();
        call.env("PATH", format!("{}:{path}", bin.display())).current_dir(&*self.desk.dir);
        let mut terminal = Terminal::run(&call);
        terminal.wait_for("> ");
        terminal.keys(format!("erase {name}\n").as_bytes());
        assert_eq!(terminal.end(), Some(0), "{}", terminal.shown);
        self.said += &terminal.shown;
    }

    /// Installs by the manifest and the command of the page, with the disks and places of the test.
    fn install(&mut self) {
        let mut manifest = block("schema = 1");
        let source = self.rig.dir.join("source").display().to_string();
        for (page, here) in [
            ("https://github.com/acme/nodes.git", source.as_str()),
            ("S4EVNX0M123456", "D0"),
            ("acme/cluster", &format!("{OWNER}/{NAME}")),
        ] {
            assert!(manifest.contains(page), "{page}: {manifest}");
            manifest = manifest.replace(page, here);
        }
        let sizes = "[ace.partitions.boot]\nesp = \"64M\"\nroot = \"96M\"\n";
        let build = format!("[ace.nixos_install]\ncache = \"{}\"\n", cache());
        fs::write(self.rig.dir.join("node.toml"), manifest + sizes + &build).unwrap();
        let line = block("zeta install run").replace("S4EVNX0M123456", "D0");
        let answer = line.trim().strip_prefix("zeta install run --manifest node.toml ").unwrap();
        assert_eq!(answer, "--answer 'wipe=wipe D0'");
        let trace = self.trace();
        let trace: Vec<&str> = trace.split(' ').collect();
        let out = long(&mut self.rig.by(&trace, "run", &["--answer", "wipe=wipe D0"]));
        let said = self.heard(out, 0);
        assert!(said.contains("node-7 is installed."), "{said}");
    }

    /// A boot of the node, with a script when its file systems are there.
    fn boot(&self, then: &str) -> Command {
        let mut command = self.rig.script(BOOT);
        let drop_in = block("[Service]");
        let login = drop_in.trim().split_once("LoadCredential=forge-token:").unwrap().1.to_owned();
        command.env("THEN", then).env("TRACE", self.trace()).env("LOGIN", login);
        command.env("ZETA", env!("CARGO_BIN_EXE_zeta"));
        command.env("PASSPHRASE", self.path("passphrase.txt"));
        command
    }

    fn booted(&mut self, then: &str, status: i32) -> String {
        let out = long(&mut self.boot(then));
        self.heard(out, status)
    }

    /// The words of the unit, and where the test has its forge.
    fn register(&self) -> String {
        let command = command_of(REGISTER, "ZETA_REGISTER_ARGS");
        let (api, remote) = (&self.forge.url, &self.served.url);
        format!("{AS_REGISTER}{command} --api {api} --remote {remote}\n")
    }

    /// Cuts the power while the forge has carried out a call and its answer is awaited.
    fn cut(&mut self, call: Call) {
        self.forge.fault(call, Fault::Hang, 1);
        let asked = self.forge.asked(call);
        let log = self.path("cut.log");
        let to = || Stdio::from(File::options().create(true).append(true).open(&log).unwrap());
        let mut command = self.boot(&self.register());
        let mut machine = command.stdout(to()).stderr(to()).spawn().unwrap();
        let is_asked = until(LIMIT * 3, || {
            self.forge.asked(call) > asked || machine.try_wait().unwrap().is_some()
        });
        let said = fs::read_to_string(&log).unwrap();
        assert!(is_asked && self.forge.asked(call) > asked, "{call:?} was not asked: {said}");
        machine.kill().unwrap();
        machine.wait().unwrap();
        self.said += &said;
    }

    fn opened(&self) -> usize {
        self.forge.model(|model| model.pulls.len())
    }
}

/// The stick has what was asked for, for another reader.
fn assert_stick(chain: &Chain) {
    let stick = &chain.stick.file;
    assert_eq!(read_from(stick, "zeta-hostname.txt"), b"node-7\n");
    assert!(read_from(stick, "zeta-creds.enc").starts_with(b"ZCV2"));
    let whole = fs::read(stick).unwrap();
    for secret in [TOKEN, "MARKED-AS-OF-CLAUDE", &chain.passphrase()] {
        assert!(!has(&whole, secret), "a sealed secret is on the stick in clear text");
    }
}

/// The sealed credentials open for the id of this stick alone, and come to their places.
fn assert_restored(chain: &mut Chain) {
    let restore = command_of(RESTORE, "ZETA_CREDS_ARGS");
    let zeta = format!("zeta() {{ {AS_RESTORE} /run/zeta \"$@\"; }}\n");
    // Of another stick: nothing is written.
    let other = "zeta creds restore --at-boot --usb-uuid 0000-0000 --user zeta --persona otto";
    let said = chain.booted(&format!("{zeta}{other}"), 5);
    assert!(said.contains("/boot/zeta-creds.enc"), "{said}");
    assert_eq!(chain.booted("find /home/zeta -mindepth 1", 0), "");
    // Of this one: as it was baked.
    let said = chain.booted(&format!("{zeta}{restore}"), 0);
    assert!(said.contains("hosts.yml: written"), "{said}");
    let told = chain.booted(
        "cd /home/zeta\nstat -c '%a %u %g %n' .config/gh/hosts.yml .claude/.credentials.json\n\
         sha256sum < .config/gh/hosts.yml; sha256sum < .claude/.credentials.json",
        0,
    );
    let digest = |name: &str| format!("{}  -", hash(&chain.path(name)));
    let told: Vec<&str> = told.lines().collect();
    let modes =
        ["600 990 990 .config/gh/hosts.yml", "600 990 990 .claude/.credentials.json"].to_vec();
    assert_eq!(told[..2], modes);
    assert_eq!(told[2..], [digest("hosts.yml"), digest("claude.json")]);
    // A second boot finds all of it.
    let said = chain.booted(&format!("{zeta}{restore}"), 0);
    assert!(said.contains("already present") && !said.contains("written"), "{said}");
}

/// What else the stick brought is on the node.
fn assert_node(chain: &mut Chain) {
    let told = chain.booted(
        "cd /etc\ncat zeta/cluster-node-id zeta/operator-authorized-keys zeta/zeta-firstboot.conf\n\
         cd NetworkManager/system-connections\nstat -c '%a %n' *; grep -c '^psk=' *",
        0,
    );
    for part in
        ["node-7\n", KEY, "HOST='worker-template'\n", "600 zeta-restored-wifi.nmconnection\n1\n"]
    {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
}

/// One pull request, by the login that was restored, whatever happens meanwhile.
fn assert_registered(chain: &mut Chain) {
    // Before anything was pushed, and when the pull request is there and nobody knows it.
    chain.cut(Call::Contents);
    assert_eq!(chain.opened(), 0);
    chain.cut(Call::Open);
    assert_eq!(chain.opened(), 1);
    let register = chain.register();
    for _ in 0..2 {
        let said = chain.booted(&register, 0);
        assert!(said.contains("waits for"), "{said}");
        assert_eq!(chain.opened(), 1, "{said}");
    }
    let (title, file) = chain.forge.model(|model| {
        let path = zeta_core::registration::node_path("ace", "node-7");
        let branch = zeta_core::registration::branch("node-7");
        (model.pulls[0].title.clone(), model.content(&branch, &path))
    });
    assert!(title.contains("node-7"), "{title}");
    assert!(file.contains("hostname: node-7") && file.contains("worker-template"), "{file}");
    chain.said += &file;
    chain.forge.model(|model| model.merge(1));
    let said = chain.booted(&register, 0);
    assert!(said.contains("registered") && chain.opened() == 1, "{said}");
    let bearer = format!("Bearer {TOKEN}");
    let asked = chain.forge.requests(|_| true);
    assert!(asked.len() > 5, "{} requests", asked.len());
    for request in asked {
        assert_eq!(request.header("authorization"), Some(bearer.as_str()), "{}", request.path);
        chain.said += &request.body.to_string();
    }
}

/// On the node, the secrets are in the files of those who use them, and nowhere else.
fn assert_places(chain: &Chain) {
    let secrets = chain.path("secrets");
    fs::write(&secrets, chain.secrets().join("\n")).unwrap();
    let state = chain.rig.dir.join("state");
    let script = format!(
        "mount -t ext4 ${{D}}p2 .\ncd \"$PWD\"\nmount -t vfat ${{D}}p1 boot\n\
         grep -rlFf {} . {} | sort",
        secrets.display(),
        state.display()
    );
    let found = chain.rig.mounted(&script);
    let found: Vec<&str> = found.lines().collect();
    let expected = [
        "./etc/NetworkManager/system-connections/zeta-restored-wifi.nmconnection",
        "./home/zeta/.claude/.credentials.json",
        "./home/zeta/.config/gh/hosts.yml",
        "./var/lib/rancher/k3s/agent/token",
    ];
    assert_eq!(found, expected);
}

/// No secret in what was printed, noted, sent or given as an argument.
fn assert_secret(chain: &mut Chain) {
    let kept = chain.booted(
        "cat /var/lib/zeta/install/journal /var/lib/zeta/self-registered.marker\n\
         find /var/lib/zeta /var/lib/zeta-creds /etc/zeta -type f -not -path '*/.git/*' | sort",
        0,
    );
    assert!(kept.contains("\"event\":\"finished\"") && kept.contains("state=converged"), "{kept}");
    let mut notes = vec![("printed", chain.said.clone()), ("journal", chain.rig.journal())];
    let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    notes.push(("tools", read(&chain.rig.dir.join("rig.done"))));
    notes.push(("nixos", read(&chain.rig.dir.join("rig.nixos"))));
    let calls = read(&chain.calls());
    for (name, part) in [
        ("flash", "\"--bake-cred\", \"gh-cli=@hosts.yml\""),
        ("install", "\"install\", \"run\""),
        ("restore", "\"creds\", \"restore\", \"--at-boot\""),
        ("register", "\"node\", \"register\", \"--repo\""),
        ("git", "/git\", [\"git\""),
    ] {
        assert!(calls.contains(part), "{name}: the arguments were not seen");
    }
    notes.push(("arguments", calls));
    for (name, text) in notes {
        assert!(text.len() > 100, "{name}: there is nothing to look at");
        for secret in chain.secrets() {
            assert!(!text.contains(&secret), "{name}: a secret: {text}");
        }
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

#[test]
fn an_image_becomes_a_registered_node() {
    let Some(mut chain) = Chain::new(test_name!()) else { return };
    let untouched = chain.rig.hash(1);
    chain.flash();
    assert_stick(&chain);
    let flashed = hash(&chain.stick.file);
    chain.install();
    assert_node(&mut chain);
    assert_restored(&mut chain);
    assert_registered(&mut chain);
    assert_secret(&mut chain);
    assert_places(&chain);
    assert_eq!(chain.rig.hash(1), untouched, "another disk changed");
    assert_eq!(hash(&chain.stick.file), flashed, "the stick changed");
}
