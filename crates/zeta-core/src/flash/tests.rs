//! Names, orders and consents, case by case.

use std::time::Duration;

use proptest::prelude::*;

use super::consent::{ConsentError, MAX, Plan, Planned, SCHEMA, Target, check_phrase};
use super::order::{HEAD, MARK, Part, Step, is_half_written, steps};
use super::progress::{Progress, size};
use super::select::{Names, SelectError, select};
use crate::stick::manifest::{Image, digest};

fn names(serial: &str, wwn: &str, by_id: &[&str]) -> Names {
    let by_id = by_id.iter().map(|name| (*name).to_owned()).collect();
    Names { serials: vec![serial.to_owned(), String::new()], wwn: wwn.to_owned(), by_id }
}

#[test]
fn a_disk_is_named_by_what_it_is_and_by_nothing_else() {
    let disks = [
        names("4C53", "0x5000", &["usb-SanDisk_4C53-0:0"]),
        names("loop:/tmp/a", "", &[]),
        names("SAME", "", &[]),
        names("SAME", "", &["usb-Other_SAME-0:0"]),
        names("", "", &[]),
    ];
    for (asked, found) in [
        ("4C53", Some(0)),
        (" 4C53 ", Some(0)),
        ("0x5000", Some(0)),
        ("usb-SanDisk_4C53-0:0", Some(0)),
        ("/dev/disk/by-id/usb-SanDisk_4C53-0:0", Some(0)),
        ("loop:/tmp/a", Some(1)),
        ("/dev/disk/by-id/usb-Other_SAME-0:0", Some(3)),
        ("4c53", None),
        ("4C5", None),
        ("/dev/sda", None),
        ("/dev/../dev/sda", None),
        ("", None),
        (" ", None),
    ] {
        assert_eq!(select(asked, &disks).ok(), found, "{asked:?}");
    }
    let several = SelectError::Several { asked: "SAME".to_owned(), count: 2 };
    assert_eq!(select("SAME", &disks), Err(several));
    assert!(matches!(select("/dev/sda", &disks), Err(SelectError::Place(_))));
    assert!(disks[4].is_empty() && !disks[0].is_empty());
}

/// Carries the steps out on bytes.
fn carry_out(steps: &[Step], image: &[u8], disk: &mut [u8]) {
    let bytes = |part: Part| {
        let mut bytes = vec![0; (part.to - part.from) as usize];
        let from = image.get(part.from as usize..).unwrap_or_default();
        bytes.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        bytes
    };
    for step in steps {
        match *step {
            Step::Mark(part) | Step::Clear(part) => {
                disk[part.from as usize..part.to as usize].fill(0);
                if let Step::Mark(_) = step {
                    disk[..MARK.len()].copy_from_slice(MARK);
                }
            }
            Step::Write(part) => {
                disk[part.from as usize..part.to as usize].copy_from_slice(&bytes(part));
            }
            Step::Compare(part) => {
                let range = part.from as usize..part.to as usize;
                assert_eq!(disk[range], bytes(part));
            }
            Step::Flush | Step::Seal => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_disk_that_was_cut_off_never_starts_and_a_whole_one_has_all(
        image in 1_u64..3 * HEAD,
        more in 0_u64..3 * HEAD,
        block in prop::sample::select(vec![512_u64, 4096]),
    ) {
        let disk = (image + more).next_multiple_of(block);
        let steps = steps(image, disk, block);
        let content: Vec<u8> = (0..image).map(|at| (at % 251 + 1) as u8).collect();
        let mut bytes = vec![0xee; disk as usize];
        for done in 1..=steps.len() {
            carry_out(&steps[done - 1..done], &content, &mut bytes);
            // Behind the last write only a flush and the last comparison follow.
            prop_assert_eq!(is_half_written(&bytes), done + 2 < steps.len(), "{}", done);
        }
        prop_assert!(bytes[..content.len()] == content);
        // The old end, where a partition table has its copy, is gone.
        let end = (disk - image).min(HEAD) as usize;
        prop_assert!(bytes.ends_with(&vec![0; end]));
        // What lies between is as it was.
        let behind = image.next_multiple_of(block).max(HEAD) as usize;
        let before = (disk.saturating_sub(HEAD) / block * block) as usize;
        let between = bytes.get(behind..before).unwrap_or_default();
        prop_assert!(between.iter().all(|byte| *byte == 0xee));
        let compares = steps.iter().filter(|step| matches!(step, Step::Compare(_)));
        let compared: u64 = compares.map(|step| match step {
            Step::Compare(part) => part.to - part.from,
            _ => 0,
        }).sum();
        prop_assert_eq!(compared, image.next_multiple_of(block));
        let last = steps.len() - 4;
        prop_assert!(matches!(
            steps[last..],
            [Step::Seal, Step::Write(_), Step::Flush, Step::Compare(_)]
        ));
    }
}

#[test]
fn nothing_is_written_where_the_image_does_not_fit() {
    assert_eq!(steps(HEAD + 1, HEAD + 511, 512), []);
    assert_eq!(steps(0, HEAD, 512), []);
    assert!(!steps(HEAD, HEAD, 512).is_empty());
}

fn plan() -> Plan {
    let disk = Target {
        path: "/dev/sdb".to_owned(),
        number: "8:16".to_owned(),
        diskseq: Some(9),
        serial: "4C53".to_owned(),
        kernel_serial: "4C53".to_owned(),
        model: "Ultra".to_owned(),
        size: 64,
    };
    let file = Planned {
        name: "zeta-hostname.txt".to_owned(),
        sha256: Some(digest(b"n\n")),
        sealed: Vec::new(),
    };
    let image = Image { bytes: 7, sha256: digest(b"image") };
    Plan { schema: SCHEMA, image, disk, files: vec![file] }
}

#[test]
fn a_plan_is_a_consent_to_what_it_says_and_to_nothing_else() {
    let now = plan();
    let text = now.text();
    let hash = digest(text.as_bytes());
    // A stick may get a hundred files.
    assert!(100 * text.len() < MAX);
    assert_eq!(now.check(text.as_bytes(), &hash), Ok(()));
    assert_eq!(now.check(text.as_bytes(), &format!(" {}\n", hash.to_uppercase())), Ok(()));
    let other = ConsentError::Digest(hash.clone());
    assert_eq!(now.check(text.as_bytes(), &digest(b"other")), Err(other));
    type Change = fn(&mut Plan);
    let changes: [(&str, Change); 9] = [
        ("image", |plan| plan.image.sha256 = digest(b"other")),
        ("image", |plan| plan.image.bytes = 8),
        ("device", |plan| plan.disk.path = "/dev/sdc".to_owned()),
        ("device", |plan| plan.disk.number = "8:32".to_owned()),
        ("insertion of the disk", |plan| plan.disk.diskseq = Some(10)),
        ("serial number", |plan| plan.disk.serial = "4C54".to_owned()),
        ("serial number", |plan| plan.disk.kernel_serial = "4C54".to_owned()),
        ("length of the disk", |plan| plan.disk.size = 65),
        ("list of files", |plan| plan.files.clear()),
    ];
    for (expected, change) in changes {
        let mut changed = plan();
        change(&mut changed);
        match changed.check(text.as_bytes(), &hash) {
            Err(ConsentError::Differs { what, .. }) => assert_eq!(what, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    for (from, to) in [("\"schema\": 1", "\"schema\": 2"), ("\"model\"", "\"modell\"")] {
        let text = text.replace(from, to);
        let refused = now.check(text.as_bytes(), &digest(text.as_bytes()));
        let is_schema = matches!(refused, Err(ConsentError::Schema(2)));
        assert!(is_schema || matches!(refused, Err(ConsentError::NotOne(_))), "{refused:?}");
    }
}

#[test]
fn a_phrase_has_the_serial_number() {
    assert_eq!(check_phrase("erase 4C53\n", "4C53"), Ok(()));
    for typed in ["", "erase", "yes", "erase 4C5", "erase 4c53", "4C53", "erase  4C53"] {
        assert!(check_phrase(typed, "4C53").is_err(), "{typed:?}");
    }
    assert!(check_phrase("erase ", "").is_err() && check_phrase("erase", "").is_err());
}

#[test]
fn the_rest_is_that_of_the_rate() {
    let progress = |done, ms| Progress { done, all: 100 << 20, took: Duration::from_millis(ms) };
    assert_eq!(progress(10 << 20, 1000).rest(), Some(Duration::from_secs(9)));
    assert_eq!(progress(0, 1000).rest(), None);
    // Too little time says nothing.
    assert_eq!([0, 9, 10].map(|ms| progress(5, ms).rate()), [None, None, Some(500)]);
    let line = progress(10 << 20, 1000).line("writing");
    assert_eq!(line, "writing 10 % (10.0 MiB of 100.0 MiB), 10.0 MiB/s, 9 s left");
    assert_eq!(
        Progress { done: 0, all: 0, took: Duration::ZERO }.line("x"),
        "x 100 % (0 B of 0 B)"
    );
    let sizes = [(1023, "1023 B"), (1 << 10, "1.0 KiB"), (1536, "1.5 KiB"), (1 << 20, "1.0 MiB")];
    sizes.iter().for_each(|(bytes, text)| assert_eq!(size(*bytes), *text));
}
