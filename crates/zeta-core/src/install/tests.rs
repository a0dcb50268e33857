//! Cases of each rule, and every cut of an installation beside every kind of failure.

use super::journal::{Event, Journal};
use super::key::{self, KEYS, Unset};
use super::manifest::{Build, Manifest};
use super::plan::{Given, HOSTNAME, WIPE};
use super::route::{Range, here, overlaps};
use super::seen::PartSeen;
use super::step::Step;
use super::world::{DIGEST, End, MANIFEST, RUN, World, disk, manifest};
use super::{layout, picture};

const PHRASE: &str = "wipe A1 B2 kestrel";

fn installed() -> World {
    let mut world = World::new();
    assert_eq!(world.run(PHRASE), End::Finished);
    world
}

/// What happens to the machine between two calls.
type Failure = (&'static str, fn(&mut World));

const FAILURES: [Failure; 9] = [
    ("a second look", |_| {}),
    ("power", |world| world.seen.is_mounted = false),
    ("a disk vanishes", |world| {
        world.seen.disks.remove(1);
    }),
    ("another disk has its name", |world| {
        world.seen.disks[0].id.serial = "C3".to_owned();
        world.seen.disks[0].content = "ext4:foreign".to_owned();
    }),
    ("another program makes a file system on the disk", |world| {
        world.seen.disks[0].content = "ext4:foreign".to_owned();
        world.seen.disks[0].parts.clear();
    }),
    ("another program makes a file system on a partition", |world| {
        if let Some(part) = world.seen.disks[0].parts.first_mut() {
            part.content = "ext4:foreign".to_owned();
        }
    }),
    ("another program adds a partition", |world| {
        let part = PartSeen { guid: "foreign".to_owned(), ..PartSeen::default() };
        world.seen.disks[0].parts.push(part);
    }),
    ("another manifest", |world| world.digest = "another digest"),
    ("a tool fails", |world| world.fails = Some(Step::Source)),
];

/// Whether something on a disk is not this run's, and not what was there before.
fn is_foreign_there(world: &World) -> bool {
    world.seen.disks.iter().flat_map(|disk| disk.signatures()).any(|text| text.contains("foreign"))
}

#[test]
fn after_every_cut_and_every_failure_a_run_reaches_the_same_end_or_refuses_by_name() {
    let wanted = installed();
    let (mut cuts, mut runs) = (0, 0);
    loop {
        let mut cut = World::new();
        cut.power = cuts;
        let end = cut.run(PHRASE);
        cut.power = usize::MAX;
        // Of a journal that is older than the disks, too, and of one with half a line.
        let lines: Vec<usize> = cut.journal.match_indices('\n').map(|(at, _)| at + 1).collect();
        let mut prefixes = vec![cut.journal.len(), cut.journal.len().saturating_sub(2)];
        prefixes.extend(lines.iter().chain(&[0]));
        for len in prefixes {
            for (name, fail) in FAILURES {
                let mut world = cut.clone();
                world.journal.truncate(len);
                fail(&mut world);
                // What was there when a person consented may go.
                let is_consented = Journal::read(world.journal.as_bytes()).chosen.is_some();
                let was_foreign = is_consented && is_foreign_there(&world);
                let before = world.seen.disks.clone();
                let mut end = world.run(PHRASE);
                if end == End::ToolFailed {
                    end = world.run(PHRASE);
                }
                runs += 1;
                let place = format!("cut {cuts}, journal of {len} bytes, {name}: {end:?}");
                assert!(!world.was_destroyed, "{place}: a system that was built is destroyed");
                match &end {
                    End::Finished => {
                        assert!(!was_foreign, "{place}: what is not its own is gone");
                        assert_eq!(world.seen.disks, wanted.seen.disks, "{place}");
                        assert_eq!(world.seen.holds, wanted.seen.holds, "{place}");
                    }
                    End::Refused(_) => assert_eq!(world.seen.disks, before, "{place}"),
                    _ => panic!("{place}"),
                }
                let is_plain = ["a second look", "power", "a tool fails"].contains(&name);
                if is_plain && len == cut.journal.len() {
                    assert_eq!(end, End::Finished, "{place}");
                    let mut made = world.made.clone();
                    made.sort();
                    made.dedup();
                    assert!(world.made.len() <= made.len() + 2, "{place}: made again and again");
                }
            }
        }
        cuts += 1;
        match end {
            End::Cut => assert!(cuts < 1000),
            end => {
                assert_eq!(end, End::Finished);
                break;
            }
        }
    }
    assert!(cuts > 60 && runs > 10_000, "{cuts} cuts, {runs} runs");
}

#[test]
fn a_finished_run_changes_nothing_more() {
    let mut world = installed();
    let (disks, journal) = (world.seen.disks.clone(), world.journal.clone());
    assert_eq!(world.run("no phrase"), End::Finished);
    assert_eq!((world.seen.disks, world.journal), (disks, journal));
}

#[test]
fn the_only_question_names_each_disk_and_the_node_that_is_there() {
    let world = World::new();
    let (plan, _) = world.plan(&Given::default());
    let [question] = plan.questions.as_slice() else { panic!("{:?}", plan.questions) };
    assert_eq!((question.id, question.phrase.as_deref()), (WIPE, Some(PHRASE)));
    assert!(question.text.contains("the node kestrel") && question.text.contains("ext4:old-data"));
    for wrong in ["", "wipe", "wipe A1 B2", "WIPE A1 B2 KESTREL", "wipe A1 B2 kestrel "] {
        assert!(question.check(wrong).is_err(), "{wrong:?}");
        let mut world = World::new();
        assert_eq!(world.run(wrong), End::Refused("wipe"), "{wrong:?}");
        assert_eq!(world.seen.disks, World::new().seen.disks);
    }
    assert_eq!(plan.node.as_deref(), Some("kestrel"), "the name that it had");
}

/// The disks that are chosen, and why others are not, or the refusals.
fn chosen(change: fn(&mut World)) -> (Vec<String>, Vec<String>, Vec<&'static str>) {
    let mut world = World::new();
    change(&mut world);
    let (plan, _) = world.plan(&Given::default());
    let questions = plan.questions.iter().map(|question| question.id);
    let words = plan.refusals.iter().map(|refusal| refusal.word()).chain(questions).collect();
    let left = plan.left.iter().map(|left| format!("{}: {}", left.path, left.why)).collect();
    (plan.chosen.iter().map(|disk| disk.path.clone()).collect(), left, words)
}

/// A change of the machine or the manifest, the disks that are chosen then, and what is said.
type Choice = (&'static str, fn(&mut World), &'static [&'static str], &'static [&'static str]);

const CHOICES: [Choice; 14] = [
    ("both", |_| {}, &["/dev/sda", "/dev/sdb"], &["wipe"]),
    (
        "by path",
        |w| w.manifest.ace.disks.boot = "/dev/sdb".into(),
        &["/dev/sdb", "/dev/sda"],
        &["wipe"],
    ),
    ("auto of two", |w| w.manifest.ace.disks.boot = "auto".into(), &[], &["boot_disk"]),
    (
        "auto of one",
        |w| {
            w.manifest.ace.disks.boot = "auto".into();
            w.seen.disks.pop();
        },
        &["/dev/sda"],
        &["wipe"],
    ),
    ("not there", |w| w.manifest.ace.disks.boot = "Z9".into(), &[], &["disk_vanished"]),
    (
        "no disk",
        |w| {
            w.manifest.ace.disks.boot = "auto".into();
            w.seen.disks.clear();
        },
        &[],
        &["no_disk"],
    ),
    ("in use", |w| w.seen.disks[0].reasons.push("it is mounted".into()), &[], &["disk_unusable"]),
    ("data in use", |w| w.seen.disks[1].reasons.push("swap".into()), &["/dev/sda"], &["wipe"]),
    ("no serial", |w| w.seen.disks[1].id.serial.clear(), &["/dev/sda"], &["wipe"]),
    (
        "twins",
        |w| {
            let twin = w.seen.disks[0].clone();
            w.seen.disks.push(super::Disk { path: "/dev/sdc".into(), ..twin });
        },
        &[],
        &["disk_unusable"],
    ),
    ("usb", |w| w.seen.disks[1].is_usb = true, &["/dev/sda"], &["wipe"]),
    (
        "no data",
        |w| w.manifest.ace.disks.data = super::manifest::Data::None,
        &["/dev/sda"],
        &["wipe"],
    ),
    (
        "kept data",
        |w| {
            w.manifest.ace.disks.wipe_strategy = super::manifest::Wipe::PreserveData;
        },
        &["/dev/sda"],
        &["wipe"],
    ),
    (
        "too small",
        |w| w.seen.disks[0].id.size = 8 << 30,
        &["/dev/sda", "/dev/sdb"],
        &["too_small", "wipe"],
    ),
];

#[test]
fn disks_are_chosen_by_what_is_known_and_never_by_a_guess() {
    for (name, change, wanted, words) in CHOICES {
        let (disks, left, found) = chosen(change);
        assert_eq!(disks, wanted, "{name}: {left:?}");
        assert_eq!(found, words, "{name}");
    }
}

#[test]
fn what_the_stick_lacks_is_refused_before_a_disk_is_touched() {
    let lacks = |change: fn(&mut Manifest), has_node: bool| {
        let mut world = World::new();
        change(&mut world.manifest);
        world.seen.disks[0].prior.take_if(|_| !has_node);
        let before = world.seen.disks.clone();
        let end = world.run(if has_node { PHRASE } else { "wipe A1 B2" });
        assert_eq!(world.seen.disks == before, end != End::Finished);
        end
    };
    use super::manifest::{GithubMethod, HostnameSource, OperatorKey};
    let refused = End::Refused("not_on_stick");
    assert_eq!(lacks(|m| m.ace.ssh.operator_pubkey = OperatorKey::InjectAtFlash, true), refused);
    assert_eq!(lacks(|m| m.ace.auth.github.method = GithubMethod::BlobRestore, true), refused);
    assert_eq!(lacks(|m| m.ace.nixos_install.flake = None, true), refused);
    // A node keeps its name, and a new one needs one.
    assert_eq!(lacks(|m| m.ace.hostname.source = HostnameSource::Stick, true), End::Finished);
    assert_eq!(lacks(|m| m.ace.hostname.source = HostnameSource::Stick, false), refused);
}

#[test]
fn identities_are_made_of_the_run_and_differ() {
    let world = World::new();
    let (plan, _) = world.plan(&Given::default());
    let again = layout::tables(RUN, &world.manifest, &plan.chosen);
    assert_eq!(plan.tables, again);
    let other = layout::tables("another", &world.manifest, &plan.chosen);
    let ids = |tables: &[layout::Table]| -> Vec<String> {
        let parts = tables.iter().flat_map(|table| &table.parts);
        let of_parts = parts.flat_map(|part| [part.guid.clone(), part.fs_id.clone()]);
        of_parts.chain(tables.iter().map(|table| table.guid.clone())).collect()
    };
    let mut all = [ids(&plan.tables), ids(&other)].concat();
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!((all.len(), count), (count, 20));
    let mounts: Vec<&str> =
        plan.tables.iter().flat_map(|table| &table.parts).map(|part| part.mount.as_str()).collect();
    assert_eq!(mounts, ["boot", "", "var/lib/longhorn-disk1", "var/lib/longhorn-disk2"]);
}

#[test]
fn a_line_that_is_none_is_damage_but_the_last_one_is_only_cut_off() {
    let journal = installed().journal;
    let lines = journal.lines().count();
    assert!(lines > 30 && Journal::read(journal.as_bytes()).is_finished);
    for cut in 0..journal.len() {
        let read = Journal::read(&journal.as_bytes()[..cut]);
        assert_eq!(read.damaged, None);
        assert_eq!(read.lines as usize, journal[..cut].matches('\n').count());
    }
    let without = |gone: usize| -> String {
        let kept = journal.lines().enumerate().filter(|(at, _)| *at != gone);
        kept.map(|(_, line)| format!("{line}\n")).collect()
    };
    for gone in 0..lines - 1 {
        assert_eq!(Journal::read(without(gone).as_bytes()).damaged, Some(gone + 1));
    }
    let odd = journal.replacen("\"step\":\"wipe\"", "\"step\":\"wash\"", 1);
    assert!(Journal::read(odd.as_bytes()).damaged.is_some());
    assert_eq!(Journal::read(format!("{journal}\n").as_bytes()).damaged, Some(lines + 1));
}

#[test]
fn keys_are_known_with_their_tables_and_defaults_are_what_counts() {
    for key in KEYS {
        let parts: Vec<&str> = key.path.split('.').collect();
        (1..=parts.len()).for_each(|len| assert!(key::is_known(&parts[..len].join("."))));
        assert!(!key::is_known(&format!("{}x", key.path)));
        assert!(!key::is_known(&format!("{}.x", key.path)));
    }
    for wrong in ["", "ac", "ace.", "ace.disk", "ace.disks.boo", "disks"] {
        assert!(!key::is_known(wrong), "{wrong:?}");
    }
    // Each default as a value gives the same as no value.
    let bare: serde_json::Value = serde_json::from_str(MANIFEST).unwrap();
    let wanted = manifest(MANIFEST);
    for key in KEYS {
        let Unset::Default(value) = key.unset else { continue };
        let pointer = format!("/{}", key.path.replace('.', "/"));
        if bare.pointer(&pointer).is_some() || key.path.ends_with("template") {
            continue;
        }
        let mut with = bare.clone();
        let mut at = &mut with;
        for name in key.path.split('.') {
            if at.is_null() {
                *at = serde_json::json!({});
            }
            at = &mut at[name];
        }
        *at = serde_json::from_str(value).unwrap();
        assert_eq!(manifest(&with.to_string()), wanted, "{}", key.path);
    }
    assert!(Build::default().flags.len() > 10 && Build::default().cache.starts_with("https://"));
}

#[test]
fn values_are_checked_and_what_contradicts_is_named_with_its_key() {
    assert_eq!(manifest(MANIFEST).problems(), []);
    let with = |from: &str, to: &str| MANIFEST.replace(from, to);
    let problem = |text: String, key: &str| {
        let found: Vec<&str> = manifest(&text).problems().iter().map(|one| one.key).collect();
        assert_eq!(found, [key], "{text}");
    };
    problem(with("\"A1\"", "\" \""), "ace.disks.boot");
    problem(with("https://example.org/nodes.git", "--upload-pack=x"), "ace.source");
    problem(with("\"16G\"", "\"16G\", \"esp\": \"4M\""), "ace.partitions.boot.esp");
    problem(with("\"16G\"", "\"none\""), "ace.partitions.boot.root");
    problem(with("\"16G\"", "\"rest\""), "ace.partitions.boot.longhorn1");
    problem(with("\"generate\"", "\"env\""), "ace.initial_password.env");
    let github = "\"auth\": {\"github\": {\"method\": \"pat\"}}, \"source\"";
    problem(with("\"source\": \"https", &format!("{github}: \"https")), "ace.auth.github.pat");
    let zfs = "\"filesystems\": {\"root\": \"zfs\"}, \"source\": \"https";
    problem(with("\"source\": \"https", zfs), "ace.filesystems");
    let flags = "\"flake\": \"worker\", \"flags\": [\"--show-trace\"]";
    problem(with("\"flake\": \"worker\"", flags), "ace.nixos_install.flags");
    for (from, to) in [
        ("\"16G\"", "\"16\""),
        ("\"16G\"", "\"+16G\""),
        ("\"16G\"", "\"0G\""),
        ("\"16G\"", "\"99999999999T\""),
        ("\"worker\"", "\"-x\""),
        ("\"worker\"", "\"worker\", \"flags\": [\"--impure\", \"--root\"]"),
        ("\"rest\"", "\"Rest\""),
        ("\"schema\"", "\"shema\""),
        ("\"generate\"", "\"generate\", \"secret\": \"x\""),
    ] {
        assert!(serde_json::from_str::<Manifest>(&with(from, to)).is_err(), "{to}");
    }
}

#[test]
fn ranges_overlap_if_they_share_an_address() {
    let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                 eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                 eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
    let table = if cfg!(target_endian = "big") { return } else { table };
    let here = here(table).unwrap();
    assert_eq!(here.iter().map(Range::to_string).collect::<Vec<_>>(), ["192.168.0.0/24"]);
    let range = |text: &str| text.parse::<Range>().unwrap();
    for (text, is_hit) in [
        ("192.168.0.0/16", true),
        ("192.168.0.128/25", true),
        ("0.0.0.0/0", true),
        ("192.168.1.0/24", false),
        ("10.42.0.0/16", false),
    ] {
        assert_eq!(!overlaps(&[range(text)], &here).is_empty(), is_hit, "{text}");
    }
    for wrong in ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "a/8", "10.0.0.0/-1"] {
        assert!(wrong.parse::<Range>().is_err(), "{wrong}");
    }
    assert_eq!(super::route::here("nonsense"), None);
}

#[test]
fn the_drawing_has_each_step_and_no_step_needs_a_later_one() {
    let svg = picture::draw(&Journal::read(installed().journal.as_bytes()));
    Step::ALL.iter().for_each(|step| assert!(svg.contains(step.about().title), "{step}"));
    assert_eq!(svg.matches("class=\"step done\"").count(), Step::ALL.len());
    let waiting = picture::draw(&Journal::default());
    assert_eq!(waiting.matches("class=\"step bad\"").count(), 3);
    for step in Step::ALL {
        for input in step.about().inputs {
            let is_given = |other: &Step| other.about().outputs.contains(input);
            let from = Step::ALL.iter().find(|other| is_given(other));
            assert!(from.is_none_or(|from| *from < step), "{step} needs {input}");
            let outside = ["consent", "stick"].contains(input) || input.starts_with("ace.");
            assert!(from.is_some() || outside, "{step}: nothing gives {input}");
        }
    }
    assert!(disk("/dev/x", "", 1).signatures().is_empty() && DIGEST != RUN);
    let line = Journal::default().render("2026-11-30T09:00:00.000000Z", &Event::Finished);
    assert_eq!(line, "{\"n\":1,\"at\":\"2026-11-30T09:00:00.000000Z\",\"event\":\"finished\"}\n");
}

#[test]
fn a_disk_that_is_too_short_has_no_partition_that_ends_before_it_begins() {
    let sizes = ["\"16777215T\"", "\"32M\", \"root\": \"16777215T\", \"longhorn1\": \"16777215T\""];
    for size in [1, 512, 1 << 20, (1 << 30) + 5, u64::MAX] {
        for sizes in sizes {
            let mut world = World::new();
            let text = MANIFEST.replace("\"root\": \"16G\"", &format!("\"esp\": {sizes}"));
            world.manifest = manifest(&text);
            world.seen.disks.iter_mut().for_each(|disk| disk.id.size = size);
            let (plan, _) = world.plan(&Given::default());
            for part in plan.tables.iter().flat_map(|table| &table.parts) {
                assert!(part.start <= part.end, "{size} {sizes}: {part:?}");
            }
            if size < u64::MAX {
                assert_eq!(world.run(PHRASE), End::Refused("too_small"), "{size} {sizes}");
            }
        }
    }
}

#[test]
fn a_name_that_is_no_label_is_asked_for_again() {
    let mut world = World::new();
    world.seen.disks[0].prior = None;
    world.manifest.ace.hostname.source = super::manifest::HostnameSource::Prompt;
    for (name, is_one) in [("otter", true), ("", false), ("a b", false), ("../x", false)] {
        let mut given = Given::default();
        given.answers.insert(HOSTNAME.to_owned(), name.to_owned());
        let (plan, _) = world.plan(&given);
        let asked = plan.questions.iter().find(|question| question.id == HOSTNAME);
        assert_eq!(plan.node.as_deref(), is_one.then_some(name));
        assert_eq!(asked.map(|question| question.check(name).is_err()), (!is_one).then_some(true));
    }
}

#[test]
fn a_journal_in_another_order_than_a_run_writes_is_damaged() {
    let journal = installed().journal;
    let events: Vec<&str> =
        journal.lines().map(|line| line.split_once("\"at\"").unwrap().1).collect();
    let render = |events: &[&str]| -> String {
        let numbered = events.iter().enumerate();
        numbered.map(|(at, event)| format!("{{\"n\":{},\"at\"{event}\n", at + 1)).collect()
    };
    let damaged = |events: &[&str]| Journal::read(render(events).as_bytes()).damaged;
    assert_eq!(damaged(&events), None);
    let at = |word: &str| events.iter().position(|event| event.contains(word)).unwrap();
    let (begun, chosen) = (events[0], events[at("\"chosen\"")]);
    let finished = *events.last().unwrap();
    // The end alone, two begins, no begin, a second consent, one after the wipe, an end before it.
    assert_eq!(damaged(&[begun, finished]), Some(2));
    assert_eq!(damaged(&[begun, begun]), Some(2));
    assert_eq!(damaged(&events[1..]), Some(1));
    assert_eq!(damaged(&[&events[..], &events[1..2]].concat()), Some(events.len() + 1));
    let wipe = at("\"step\":\"wipe\"");
    assert_eq!(damaged(&[&events[..=wipe], &[chosen]].concat()), Some(wipe + 2));
    let without: Vec<&str> = events.iter().filter(|event| **event != chosen).copied().collect();
    assert!(damaged(&without).is_some(), "no consent");
    let done =
        events.iter().position(|event| event.contains("\"done\",\"step\":\"wipe\"")).unwrap();
    let mut without = events.clone();
    without.remove(done - 1);
    assert_eq!(damaged(&without), Some(done), "done, and not begun");
    // A check may stand anywhere, but its number not.
    let checked = ":\"x\",\"event\":\"checked\",\"check\":\"clock\",\"found\":\"\"}";
    for (number, wanted) in [(1, Some(2)), (2, None), (3, Some(2))] {
        let text = render(&[begun]) + &format!("{{\"n\":{number},\"at\"{checked}\n");
        assert_eq!(Journal::read(text.as_bytes()).damaged, wanted, "{number}");
    }
    let run = begun.replace(RUN, "../../etc");
    assert_eq!(damaged(&[&run]), Some(1));
}

#[test]
fn an_address_has_no_secret_and_a_clone_has_a_directory_of_its_own() {
    let with = |from: &str, to: &str| MANIFEST.replace(from, to);
    let problem = |text: String, key: &str| {
        let found: Vec<&str> = manifest(&text).problems().iter().map(|one| one.key).collect();
        assert_eq!(found, [key], "{text}");
    };
    let source = "https://example.org/nodes.git";
    for wrong in ["https://ghp_x@example.org/n", "https://me:pw@example.org/n", "ssh://a:b@h/n"] {
        problem(with(source, wrong), "ace.source");
    }
    for right in ["ssh://git@example.org/n", "git@example.org:n", "/srv/a@b:c", "http://h:3000/n"] {
        assert_eq!(manifest(&with(source, right)).problems(), [], "{right}");
    }
    let repos = |list: &str| {
        with("\"source\": \"https", &format!("\"user_repos\": [{list}], \"source\": \"https"))
    };
    for wrong in [
        "\"\"",
        "\"-x\"",
        "\"https://h/..\"",
        "\"https://h/.git\"",
        "\"https://h/a\", \"https://i/a.git/\"",
        "\"https://ghp_x@h/a\"",
    ] {
        problem(repos(wrong), "ace.user_repos");
    }
    assert_eq!(manifest(&repos("\"https://h/a\", \"git@h:b.git\"")).problems(), []);
    let cache = |url: &str| with("\"worker\"", &format!("\"worker\", \"cache\": \"{url}\""));
    problem(cache("https://me:pw@h"), "ace.nixos_install.cache");
    problem(cache(""), "ace.nixos_install.cache");
}
