//! Four machines as texts, strange ones, and this one beside what its own programs say.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::hardware::*;

const DESKTOP: &str = include_str!("fixture/desktop.txt");
const BOARD: &str = include_str!("fixture/board.txt");
const VM: &str = include_str!("fixture/vm.txt");
const CONTAINER: &str = include_str!("fixture/container.txt");

/// A directory that goes away with its test.
struct Root(PathBuf);

impl Root {
    /// Files as a text describes them: `== path`, and below it what stands in the file.
    fn new(files: &str) -> Root {
        let name = format!("zeta-hardware-{}", zeta_os::host::random_hex().unwrap());
        let root = Root(std::env::temp_dir().join(name));
        std::fs::create_dir(&root.0).unwrap();
        for file in files.split("\n== ").skip(1) {
            let (path, content) = file.split_once('\n').unwrap_or((file, ""));
            match path.trim().strip_suffix('/') {
                Some(dir) => std::fs::create_dir_all(root.0.join(dir)).unwrap(),
                None => root.put(path.trim(), format!("{content}\n").as_bytes()),
            }
        }
        root
    }

    fn put(&self, path: &str, content: &[u8]) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Anew: ext4 writes to the disk at once what replaces the content of a file.
        let _ = std::fs::remove_file(&path);
        std::fs::write(path, content).unwrap();
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn at(list: &[(&str, &str)]) -> Vec<Address> {
    let address = |(interface, ip): &(&str, &str)| Address {
        interface: (*interface).to_owned(),
        ip: ip.parse().unwrap(),
    };
    list.iter().map(address).collect()
}

fn network(ip: &str, mac: Option<&str>) -> Option<Network> {
    Some(Network { ip: Some(ip.to_owned()), mac: mac.map(str::to_owned) })
}

#[test]
fn a_desktop_is_told_by_its_hardware_and_not_by_what_is_made_of_it() {
    let addresses = at(&[
        ("lo", "127.0.0.1"),
        ("docker0", "172.17.0.1"),
        ("mybridge", "10.9.0.1"),
        ("tailscale0", "100.64.0.7"),
        ("enp5s0", "169.254.3.4"),
        ("enp5s0", "fe80::1"),
        ("enp5s0", "192.168.1.20"),
        ("enp5s0", "2001:db8::20"),
    ]);
    let root = Root::new(DESKTOP);
    let seen = look(&root.0, &addresses);
    let wanted = Hardware {
        cpu: Some("AMD Ryzen 9 5950X 16-Core Processor".to_owned()),
        memory: Some("62.7 GiB".to_owned()),
        cores: Some(32),
        gpu: Some("NVIDIA Corporation GA102 [GeForce RTX 3090]".to_owned()),
        storage: vec!["/dev/nvme0n1 931.5 GiB".to_owned(), "/dev/sda 3.6 TiB".to_owned()],
        network: network("192.168.1.20", Some("a8:a1:59:00:11:22")),
        kernel: Some("6.18.0".to_owned()),
    };
    assert_eq!(seen, wanted);
    // The driver knows the card by the name that it is sold under.
    root.put(
        "proc/driver/nvidia/gpus/0000:0a:00.0/information",
        b"Model: \t\t NVIDIA GeForce RTX 3090\nIRQ: 95\n",
    );
    assert_eq!(look(&root.0, &[]).gpu.as_deref(), Some("NVIDIA GeForce RTX 3090"));
}

#[test]
fn a_board_is_told_by_its_cores_and_by_its_device_tree() {
    let root = Root::new(BOARD);
    root.put("sys/firmware/devicetree/base/model", b"Raspberry Pi 5 Model B Rev 1.0\0");
    let wanted = Hardware {
        cpu: Some("Cortex-A76 (Raspberry Pi 5 Model B Rev 1.0)".to_owned()),
        memory: Some("7.9 GiB".to_owned()),
        cores: Some(4),
        gpu: Some("brcm,2712-v3d".to_owned()),
        storage: vec!["/dev/mmcblk0 29.7 GiB".to_owned()],
        network: Some(Network { ip: None, mac: Some("d8:3a:dd:00:11:22".to_owned()) }),
        kernel: Some("6.12.25+rpt-rpi-2712".to_owned()),
    };
    assert_eq!(look(&root.0, &[]), wanted);
}

#[test]
fn a_vm_leaves_out_what_it_does_not_know() {
    let wanted = Hardware {
        cpu: None,
        memory: Some("3.8 GiB".to_owned()),
        cores: Some(2),
        gpu: Some("vendor 0x10de device 0x2204".to_owned()),
        storage: vec!["/dev/vda 256 GiB".to_owned()],
        network: network("2001:db8::5", Some("52:54:00:12:34:56")),
        kernel: Some("6.1.0-30-amd64".to_owned()),
    };
    assert_eq!(look(&Root::new(VM).0, &at(&[("ens3", "2001:db8::5")])), wanted);
}

#[test]
fn a_container_without_sys_still_tells_what_proc_and_its_addresses_say() {
    let wanted = Hardware {
        cpu: Some("Intel(R) Xeon(R) CPU @ 2.20GHz".to_owned()),
        memory: Some("15.6 GiB".to_owned()),
        cores: Some(2),
        network: network("172.17.0.2", None),
        kernel: Some("5.15.0-1053-gke".to_owned()),
        ..Hardware::default()
    };
    let addresses = at(&[("lo", "127.0.0.1"), ("lo", "::1"), ("eth0", "172.17.0.2")]);
    assert_eq!(look(&Root::new(CONTAINER).0, &addresses), wanted);
    assert_eq!(look(Path::new("/nowhere/at/all"), &[]), Hardware::default());
}

#[test]
fn strange_contents_are_unknown_and_nobody_waits_for_them() {
    let paths = |files: &str| -> Vec<String> {
        let heads = files.split("\n== ").skip(1).filter_map(|file| file.lines().next());
        heads.filter(|path| !path.ends_with('/')).map(str::to_owned).collect()
    };
    let paths: Vec<String> = [DESKTOP, BOARD, VM].into_iter().flat_map(paths).collect();
    let mut contents: Vec<Vec<u8>> = vec![
        vec![],
        vec![0xff; 4000],
        vec![0; 100],
        b"18446744073709551615\n".to_vec(),
        b"0-18446744073709551615\n".to_vec(),
        b"-1\n".to_vec(),
        b"9-0,\n".to_vec(),
        b"MemTotal: 18446744073709551615 kB\n".to_vec(),
        b"model name\nmodel name:\nCPU part: 0x\nCPU implementer: 0xfffffffff\n".to_vec(),
        b"PCI_SLOT_NAME=../../../../etc\nOF_COMPATIBLE_0=\n".to_vec(),
        b":::=\n=\t\n\t\n".repeat(2000),
    ];
    let mut random = fastrand::Rng::with_seed(7);
    contents.extend((0..10).map(|_| (0..200).map(|_| random.u8(..)).collect()));
    let root = Root::new("");
    for content in contents {
        for path in &paths {
            root.put(path, &content);
        }
        let seen = look(&root.0, &at(&[("enp5s0", "192.0.2.1"), ("../..", "192.0.2.9")]));
        assert_eq!(seen.gpu, None, "{content:?}");
        assert!(seen.storage.len() < 2 || content.starts_with(b"1844"), "{seen:?}");
        assert_eq!(seen.network, network("192.0.2.1", None), "{content:?}");
    }
    for path in &paths {
        let path = root.0.join(path);
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
    }
    assert_eq!(look(&root.0, &[]), Hardware::default());
}

#[test]
fn sizes_are_written_as_lsblk_writes_them() {
    for (bytes, wanted) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1_000_204_886_016, "931.5 GiB"),
        (24 << 30, "24 GiB"),
        ((1 << 40) - 1, "1 TiB"),
        (4_000_787_030_016, "3.6 TiB"),
        (u64::MAX, "16384 PiB"),
    ] {
        assert_eq!(text::size(bytes), wanted);
    }
}

#[test]
fn lists_of_processors_are_counted() {
    for (list, wanted) in [
        ("0\n", Some(1)),
        ("0-3\n", Some(4)),
        ("0-3,8,10-11", Some(7)),
        ("", None),
        ("a", None),
        ("3-1", None),
        ("0-18446744073709551615", None),
        ("0-18446744073709551614,0", None),
    ] {
        assert_eq!(text::count(list), wanted, "{list}");
    }
}

#[test]
fn cores_of_several_kinds_and_unknown_ones_are_told() {
    let two = "CPU implementer : 0x41\nCPU part : 0xd05\nCPU implementer : 0x41\nCPU part : 0xd08";
    assert_eq!(text::cpu(two, None).as_deref(), Some("Cortex-A55 + Cortex-A72"));
    let new = "CPU implementer : 0x61\nCPU part : 0x022\n";
    assert_eq!(text::cpu(new, None).as_deref(), Some("implementer 0x61 part 0x022"));
    assert_eq!(text::cpu("", Some("Some Board\0")).as_deref(), Some("Some Board"));
    assert_eq!(text::cpu("", None), None);
}

#[test]
fn a_card_has_as_much_of_a_name_as_the_table_knows() {
    let table = "10de  NVIDIA\n\t2204  GA102\n\t\t1028 2206  Sub\n\n10df  Emulex\n\t2206  Other\n";
    let card = |vendor, device| text::card(Some(table), vendor, device);
    assert_eq!(card(0x10de, 0x2204), "NVIDIA GA102");
    assert_eq!(card(0x10de, 0x2206), "NVIDIA device 0x2206");
    assert_eq!(card(0x1af4, 0x1050), "vendor 0x1af4 device 0x1050");
}

/// The output of a program of this machine, if it is there.
fn says(program: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let out = command.args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

#[test]
fn this_machine_is_told_as_its_own_programs_tell_it() {
    let begun = std::time::Instant::now();
    let seen = probe();
    eprintln!("{seen:#?} in {:?}", begun.elapsed());
    if let Some(release) = says("uname", &["-r"]) {
        assert_eq!(seen.kernel, Some(release));
    }
    if let Some(processors) = says("getconf", &["_NPROCESSORS_ONLN"]) {
        assert_eq!(seen.cores.map(|cores| cores.to_string()), Some(processors));
    }
    // As this process may use, which are not more than there are.
    if let Some(usable) = says("nproc", &[]).and_then(|count| count.parse::<u64>().ok()) {
        assert!(seen.cores.is_some_and(|cores| cores >= usable), "{usable}");
    }
    if let Some(total) =
        says("awk", &["/^MemTotal:/ {printf \"%.0f\", $2 * 1024}", "/proc/meminfo"])
    {
        let bytes = total.parse().unwrap();
        assert_eq!(seen.memory, Some(text::size(bytes)));
    }
    if let Some(disks) = says("lsblk", &["-dbno", "NAME,SIZE,TYPE"]) {
        let disk = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [name, size, "disk"] = fields.as_slice() else { return None };
            let made_up = ["zram", "ram", "nbd", "rbd"].iter().any(|kind| name.starts_with(kind));
            let bytes: u64 = size.parse().unwrap();
            (bytes > 0 && !made_up).then(|| format!("/dev/{name} {}", text::size(bytes)))
        };
        let mut disks: Vec<String> = disks.lines().filter_map(disk).collect();
        disks.sort();
        assert_eq!(seen.storage, disks);
    }
    if let Some(Network { ip: Some(ip), mac }) = seen.network {
        let Some(known) = says("ip", &["-o", "addr"]) else { return };
        assert!(known.contains(&format!(" {ip}/")), "{ip} in {known}");
        let links = says("ip", &["-o", "link"]).unwrap_or_default();
        assert!(mac.is_none_or(|mac| links.contains(&mac)), "{links}");
    }
}
