//! The hardware in the kernel's small texts: pure functions, none of which guesses.

/// Most characters of a name: firmware writes what it likes.
const NAME_CHARS: usize = 120;

/// A name on one line: no control characters, single blanks; `None` if it says nothing.
pub fn name(raw: &str) -> Option<String> {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let spaced: String = raw.chars().map(plain).collect();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let name: String = words.join(" ").chars().take(NAME_CHARS).collect();
    (!name.is_empty() && !name.eq_ignore_ascii_case("unknown")).then_some(name)
}

/// An amount of bytes as `lsblk` writes it for people: `24 GiB`, `931.5 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    // In tenths, rounded; what rounds up to 1024 belongs to the next unit.
    let mut tenths = u128::from(bytes) * 10;
    let mut scale: u128 = 1;
    let mut unit = 0;
    while (tenths + scale / 2) / scale >= 10_240 && unit + 1 < UNITS.len() {
        scale *= 1024;
        unit += 1;
    }
    tenths = (tenths + scale / 2) / scale;
    let unit = UNITS.get(unit).copied().unwrap_or("B");
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        rest => format!("{}.{rest} {unit}", tenths / 10),
    }
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
pub fn memory(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024).filter(|bytes| *bytes > 0)
}

/// The number of processors that a list such as `0-3,6` names.
pub fn count(list: &str) -> Option<u64> {
    let one = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.trim().split(',').try_fold(0_u64, |sum, part| sum.checked_add(one(part)?))
}

/// The number of processors that `/proc/cpuinfo` has a paragraph for.
pub fn processors(cpuinfo: &str) -> Option<u64> {
    let number = |value: &str| value.parse::<u32>().is_ok();
    let found = fields(cpuinfo).filter(|(key, value)| *key == "processor" && number(value)).count();
    u64::try_from(found).ok().filter(|found| *found > 0)
}

/// The processor: its name on amd64; on arm64 its cores, and the board if the firmware names one.
pub fn cpu(cpuinfo: &str, board: Option<&str>) -> Option<String> {
    let named = fields(cpuinfo).find(|(key, _)| *key == "model name");
    if let Some(name) = named.and_then(|(_, value)| name(value)) {
        return Some(name);
    }
    let board = board.and_then(name);
    let cores = cores(cpuinfo);
    match (cores.is_empty(), board) {
        (true, board) => board,
        (false, None) => name(&cores.join(" + ")),
        (false, Some(board)) => name(&format!("{} ({board})", cores.join(" + "))),
    }
}

/// The kinds of arm64 cores, in the order of their numbers; big and little ones differ.
fn cores(cpuinfo: &str) -> Vec<String> {
    let mut kinds = Vec::new();
    let mut implementer = None;
    for (key, value) in fields(cpuinfo) {
        match key {
            "CPU implementer" => implementer = hex(value),
            "CPU part" => {
                let kind = implementer.zip(hex(value)).map(|(made, part)| core(made, part));
                kinds.extend(kind.filter(|kind| !kinds.contains(kind)));
            }
            _ => {}
        }
    }
    kinds
}

fn core(implementer: u32, part: u32) -> String {
    let known = CORES.iter().find(|core| (core.0, core.1) == (implementer, part));
    match known {
        Some(core) => core.2.to_owned(),
        None => format!("implementer {implementer:#04x} part {part:#05x}"),
    }
}

/// Cores that boards and servers have, as the kernel's `cputype.h` names them.
const CORES: [(u32, u32, &str); 25] = [
    (0x41, 0xd03, "Cortex-A53"),
    (0x41, 0xd04, "Cortex-A35"),
    (0x41, 0xd05, "Cortex-A55"),
    (0x41, 0xd07, "Cortex-A57"),
    (0x41, 0xd08, "Cortex-A72"),
    (0x41, 0xd09, "Cortex-A73"),
    (0x41, 0xd0a, "Cortex-A75"),
    (0x41, 0xd0b, "Cortex-A76"),
    (0x41, 0xd0c, "Neoverse-N1"),
    (0x41, 0xd0d, "Cortex-A77"),
    (0x41, 0xd40, "Neoverse-V1"),
    (0x41, 0xd41, "Cortex-A78"),
    (0x41, 0xd42, "Cortex-A78AE"),
    (0x41, 0xd44, "Cortex-X1"),
    (0x41, 0xd46, "Cortex-A510"),
    (0x41, 0xd47, "Cortex-A710"),
    (0x41, 0xd48, "Cortex-X2"),
    (0x41, 0xd49, "Neoverse-N2"),
    (0x41, 0xd4f, "Neoverse-V2"),
    (0x41, 0xd80, "Cortex-A520"),
    (0x41, 0xd81, "Cortex-A720"),
    (0x41, 0xd84, "Neoverse-V3"),
    (0x41, 0xd8e, "Neoverse-N3"),
    (0xc0, 0xac3, "Ampere-1"),
    (0xc0, 0xac4, "Ampere-1A"),
];

/// A disk from its size in sectors, which are of 512 bytes whatever the disk's own are.
pub fn disk(kernel_name: &str, sectors: &str) -> Option<String> {
    let bytes = sectors.trim().parse::<u64>().ok()?.checked_mul(512)?;
    // The kernel writes the slash of a name such as `cciss/c0d0` as `!`.
    let device = name(&kernel_name.replace('!', "/"))?;
    (bytes > 0).then(|| format!("/dev/{device} {}", size(bytes)))
}

/// True for names of what is no disk, though the kernel calls it a block device.
pub fn is_no_disk(kernel_name: &str) -> bool {
    let numbered = |prefix| {
        let rest: Option<&str> = kernel_name.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let boot = kernel_name.starts_with("mmcblk") && kernel_name.contains("boot");
    boot || ["loop", "ram", "zram", "sr", "scd", "fd", "dm-", "md"].into_iter().any(numbered)
}

/// True for names of interfaces that lead only to other parts of this machine.
pub fn is_inner(interface: &str) -> bool {
    let prefixes = ["veth", "docker", "br-", "virbr", "lxcbr", "lxdbr", "cni", "flannel", "cali"];
    interface == "lo" || prefixes.into_iter().any(|prefix| interface.starts_with(prefix))
}

/// A hardware address of bytes in hex; zeros are what an interface has that knows none.
pub fn mac(address: &str) -> Option<String> {
    let address = address.trim();
    let byte = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let sound = (17..=59).contains(&address.len()) && address.split(':').all(byte);
    let known = address.bytes().any(|b| !matches!(b, b'0' | b':'));
    (sound && known).then(|| address.to_ascii_lowercase())
}

/// A number such as `0x10de`.
pub fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

/// The names of a PCI device in the table `pci.ids`: of its maker, of itself.
pub fn pci_names(table: &str, vendor: u32, device: u32) -> (Option<String>, Option<String>) {
    let (vendor, device) = (format!("{vendor:04x}  "), format!("\t{device:04x}  "));
    let mut lines = table.lines();
    let made = lines.find_map(|line| name(line.strip_prefix(&vendor)?));
    if made.is_none() {
        return (None, None);
    }
    let own = lines.take_while(|line| line.starts_with(['\t', '#']) || line.is_empty());
    (made, own.filter_map(|line| line.strip_prefix(&device)).find_map(name))
}

/// The name of a graphics card: from the table if it is there, else its numbers.
pub fn card(table: Option<&str>, vendor: u32, device: u32) -> String {
    let names = table.map(|table| pci_names(table, vendor, device)).unwrap_or_default();
    match names {
        (Some(made), Some(own)) => format!("{made} {own}"),
        (Some(made), None) => format!("{made} device {device:#06x}"),
        (None, _) => format!("vendor {vendor:#06x} device {device:#06x}"),
    }
}

/// The value of a line such as `Model:   NVIDIA GeForce RTX 3090` or `DRIVER=v3d`.
pub fn value<'a>(text: &'a str, key: &str, sign: char) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(sign));
    pairs.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

/// The lines `key : value` of `/proc/cpuinfo`.
fn fields(cpuinfo: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(key, value)| (key.trim(), value.trim()))
}
