//! The vectors that were made with the original's own functions.

use serde_json::Value;

use super::judge::{Limits, Reason, is_whole, judge, judge_content, whole_of};
use super::lsblk::Listing;
use super::wipefs;

fn vectors(text: &str) -> Vec<Value> {
    let vectors: Value = serde_json::from_str(text).unwrap();
    vectors["cases"].as_array().unwrap().clone()
}

#[test]
fn a_disk_is_refused_by_its_use_and_by_doubt() {
    let cases = vectors(include_str!("vectors/lsblk-select.json"));
    assert!(cases.len() > 40);
    for case in cases {
        let (id, advice) = (&case["id"], case["advice"].as_str().unwrap_or_default());
        let listing: Listing = serde_json::from_value(case["in"]["lsblk"].clone()).unwrap();
        let source = case["in"]["rootSource"].as_str().unwrap();
        let disks = listing.blockdevices.iter();
        let free =
            disks.filter(|disk| judge(&listing, disk, &[source], &Limits::default()).is_empty());
        let free: Vec<Value> = free.map(|disk| disk.path().into()).collect();
        let picked = &case["out"]["pick"];
        if advice.starts_with("refuse") {
            assert_eq!(free, Vec::<Value>::new(), "{id}: {advice}");
        } else if advice.is_empty() {
            let all: Vec<Value> = match (picked, &case["out"]["several"]) {
                (Value::Null, Value::Array(several)) => several.clone(),
                (Value::Null, _) => Vec::new(),
                (picked, _) => vec![picked.clone()],
            };
            assert_eq!(free, all, "{id}");
        } else {
            // The original is too trusting there.
            assert!(free.iter().all(|path| path == picked), "{id}: {free:?}");
        }
    }
}

#[test]
fn what_does_not_say_which_disks_there_are_is_no_listing() {
    for text in ["", "{}", "[]", "{\"blockdevices\":7}", "{\"blockdevices\":[{\"name\":[]}]}"] {
        assert!(Listing::parse(text.as_bytes()).is_err(), "{text}");
    }
    let none = Listing::parse(b"{\"blockdevices\":null}").unwrap();
    assert!(none.blockdevices.is_empty());
}

#[test]
fn a_holder_that_is_not_listed_and_a_shared_wwn_are_reasons() {
    let disk = |name: &str, wwn: &str| {
        format!(
            r#"{{"name":"/dev/{name}","type":"disk","tran":"usb","size":8000000000,"ro":false,
            "serial":"{name}","wwn":"{wwn}","children":[{{"name":"/dev/{name}1","type":"part"}}]}}"#
        )
    };
    let disks = [disk("sda", "0x5"), disk("sdb", "0x5"), disk("sdc", "")].join(",");
    let text = format!(r#"{{"blockdevices":[{disks}]}}"#);
    let mut listing = Listing::parse(text.as_bytes()).unwrap();
    let words = |listing: &Listing, at: usize| {
        let reasons = judge(listing, &listing.blockdevices[at], &[], &Limits::default());
        reasons.iter().map(Reason::word).collect::<Vec<_>>()
    };
    assert_eq!([0, 1, 2].map(|at| words(&listing, at)), [vec!["twin"], vec!["twin"], vec![]]);
    listing.each(&mut |device| {
        if ["/dev/sda1", "/dev/sdc"].contains(&device.path().as_str()) {
            device.add_holder("/dev/dm-0".to_owned());
            device.add_holder("/dev/dm-0".to_owned());
        }
    });
    assert_eq!(words(&listing, 0), ["holder", "twin"]);
    let reasons = judge(&listing, &listing.blockdevices[2], &[], &Limits::default());
    assert_eq!(reasons[0].to_string(), "/dev/dm-0 (holder) is made of it");
    assert_eq!(words(&listing, 2), ["holder"]);
}

#[test]
fn a_loop_device_is_a_part_of_the_disk_that_it_shows() {
    // A partition is shown, that is shown once more, and the last one is mounted.
    let text = r#"{"blockdevices":[
        {"name":"/dev/loop2","type":"loop","size":9000000,"ro":false,"mountpoints":["/mnt"]},
        {"name":"/dev/loop1","type":"loop","size":9000000,"ro":false},
        {"name":"/dev/sda","type":"disk","tran":"usb","size":8000000000,"ro":false,"serial":"1",
         "children":[{"name":"/dev/sda1","type":"part"}]}]}"#;
    let pairs = [("/dev/loop1", "/dev/sda1"), ("/dev/loop2", "/dev/loop1")];
    for pairs in [pairs, [pairs[1], pairs[0]]] {
        let mut listing = Listing::parse(text.as_bytes()).unwrap();
        pairs.iter().for_each(|(path, below)| listing.put_below(path, below));
        listing.put_below("/dev/loop9", "/dev/sda");
        let paths: Vec<String> = listing.blockdevices.iter().map(|disk| disk.path()).collect();
        assert_eq!(paths, ["/dev/sda"]);
        let reasons = judge(&listing, &listing.blockdevices[0], &[], &Limits::default());
        let words: Vec<_> = reasons.iter().map(Reason::word).collect();
        assert_eq!(words, ["holder", "in_use", "holder"], "{reasons:?}");
        // The running system may be on it.
        let reasons =
            judge(&listing, &listing.blockdevices[0], &["/dev/loop2"], &Limits::default());
        assert!(reasons.contains(&Reason::System("/dev/loop2".to_owned())), "{reasons:?}");
    }
    let mut listing = Listing::parse(text.as_bytes()).unwrap();
    listing.put_below("/dev/loop1", "/dev/ram0");
    assert_eq!(listing.blockdevices.len(), 3);
}

#[test]
fn the_disk_of_the_running_system_is_known_by_what_is_on_it_and_by_the_name_of_a_partition() {
    let disk = |name: &str, children: &str| {
        format!(
            r#"{{"name":"{name}","type":"disk","tran":"usb","size":8000000000,"ro":false,
            "serial":"{name}","children":[{children}]}}"#
        )
    };
    // The system's one has a volume on it; of the others no partition is listed.
    let volume = r#"{"name":"sda1","type":"part","children":[{"path":"/dev/mapper/root",
        "type":"crypt"}]}"#;
    let disks = [disk("sda", volume), disk("sdb", ""), disk("sdc", "")].join(",");
    let listing = Listing::parse(format!(r#"{{"blockdevices":[{disks}]}}"#).as_bytes()).unwrap();
    let words = |at: usize, source: &str| {
        let reasons = judge(&listing, &listing.blockdevices[at], &[source], &Limits::default());
        reasons.iter().map(Reason::word).collect::<Vec<_>>()
    };
    assert_eq!(words(0, "/dev/mapper/root[/@]"), ["holder", "system"]);
    assert_eq!(words(1, "/dev/mapper/root[/@]"), [""; 0]);
    assert_eq!(words(1, "/dev/sdb2"), ["system"]);
    assert_eq!(words(2, "/dev/sdb2"), [""; 0]);
    // One that nothing is known of could be each of them.
    for source in ["/dev/mapper/other", "/dev/sdd1", "overlay", ""] {
        assert_eq!(words(1, source), ["unknown_system"], "{source:?}");
    }
}

#[test]
fn a_place_of_a_mount_and_a_flag_are_read_as_each_version_of_lsblk_writes_them() {
    for (of_partition, reasons) in [
        (r#""mountpoint":"/a""#, vec!["/dev/sda1 is in use at /a"]),
        (r#""mountpoint":"/a","mountpoints":["/a"]"#, vec!["/dev/sda1 is in use at /a"]),
        (
            r#""mountpoint":"/a","mountpoints":[null,"/b"]"#,
            vec!["/dev/sda1 is in use at /a", "/dev/sda1 is in use at /b"],
        ),
        (r#""mountpoint":null,"mountpoints":[null,""]"#, vec![]),
        (r#""ro":"0""#, vec![]),
        (r#""ro":0"#, vec![]),
        (r#""ro":"1""#, vec!["it is read-only, or that is not known"]),
        (r#""ro":1"#, vec!["it is read-only, or that is not known"]),
    ] {
        let text = format!(
            r#"{{"blockdevices":[{{"name":"sda","type":"disk","tran":"usb","size":"8000000000",
            "ro":"0","serial":"1","children":[{{"name":"sda1","type":"part",{of_partition}}}]}}]}}"#
        );
        let listing = Listing::parse(text.as_bytes()).unwrap();
        let found = judge(&listing, &listing.blockdevices[0], &[], &Limits::default());
        let found: Vec<String> = found.iter().map(Reason::to_string).collect();
        assert_eq!(found, reasons, "{of_partition}");
    }
}

#[test]
fn what_is_on_a_disk_is_no_part_of_something_larger_and_is_known() {
    let words = |found: Result<&[&str], &str>| {
        let found = found.map(|all| all.iter().map(|kind| (*kind).to_owned()).collect());
        let reasons = judge_content("/dev/sda", found.map_err(str::to_owned));
        reasons.iter().map(Reason::word).collect::<Vec<_>>()
    };
    assert_eq!(words(Ok(&[])), [""; 0]);
    assert_eq!(words(Ok(&["dos", "iso9660", "vfat", "ext4", "btrfs", "swap"])), [""; 0]);
    let members =
        ["crypto_LUKS", "LVM2_member", "linux_raid_member", "zfs_member", "bcache", "drbd"];
    assert_eq!(words(Ok(&members)), ["member"; 6]);
    // Two of them: the one behind the other counts, too.
    assert_eq!(words(Ok(&["vfat", "linux_raid_member"])), ["member"]);
    assert_eq!(words(Err("Permission denied")), ["unknown_content"]);
    let text = br#"{"signatures":[{"device":"loop0","offset":"0x0","type":"dos","uuid":null},
        {"device":"loop0","offset":"0x0","type":"crypto_LUKS","uuid":"1","label":null}]}"#;
    let kinds = |text: &[u8], paths: &[&str]| {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        wipefs::kinds(&wipefs::parse(text).unwrap(), &paths)
    };
    let both = vec!["dos".to_owned(), "crypto_LUKS".to_owned()];
    assert_eq!(kinds(text, &["/dev/loop0"]), Some(vec![both.clone()]));
    assert_eq!(kinds(text, &["/dev/loop0p1", "/dev/loop0"]), Some(vec![vec![], both]));
    // A signature that is on no device that was asked about is not dropped.
    assert_eq!(kinds(text, &["/dev/loop1"]), None);
    assert_eq!(kinds(b"{\"signatures\": [\n\n ]}", &["/dev/sda"]), Some(vec![vec![]]));
    for text in [
        "",
        "{}",
        "[]",
        r#"{"signatures":[{"device":"sda","type":null}]}"#,
        r#"{"signatures":[{"type":"dos"}]}"#,
        r#"{"signatures":null}"#,
    ] {
        assert!(wipefs::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_loop_device_is_allowed_only_by_name() {
    let text =
        r#"{"blockdevices":[{"name":"/dev/loop1","type":"loop","size":9000000,"ro":false}]}"#;
    let listing = Listing::parse(text.as_bytes()).unwrap();
    let reasons = |limits: &Limits| judge(&listing, &listing.blockdevices[0], &[], limits);
    assert_eq!(reasons(&Limits::default()).len(), 3);
    let named = Limits { min: 1, max: u64::MAX, allow_internal: true };
    assert_eq!(reasons(&named), []);
}

#[test]
fn names_of_whole_disks() {
    for case in vectors(include_str!("vectors/device-names.json")) {
        let path = case["in"]["path"].as_str().unwrap();
        assert_eq!(case["out"]["whole"], is_whole(path), "{path}");
    }
    for (partition, whole) in [
        ("/dev/sda1", Some("/dev/sda")),
        ("/dev/nvme0n1p2", Some("/dev/nvme0n1")),
        ("/dev/mmcblk0p1", Some("/dev/mmcblk0")),
        ("/dev/sda", None),
        ("/dev/mapper/vg-root", None),
        ("overlay", None),
        ("", None),
    ] {
        assert_eq!(whole_of(partition), whole, "{partition}");
    }
}
