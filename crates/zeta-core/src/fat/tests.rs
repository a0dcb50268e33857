//! The vectors that were made with the original's own functions, and what they do not ask.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::name::{Short, checksum, long_entries, short};
use super::volume::{entry, set_entry};
use super::{FatError, FatKind, File, NameRule, SECTOR, Volume, add, esp, read};

macro_rules! vectors {
    ($group:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!("vectors/", $group, ".json"))).unwrap()
    };
}

fn unpacked(value: &Value) -> Vec<u8> {
    let packed = STANDARD.decode(value.as_str().unwrap()).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cases(vectors: &Value) -> impl Iterator<Item = (&str, &Value, &Value)> {
    let cases = vectors["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    cases.iter().map(|case| (case["id"].as_str().unwrap(), &case["in"], &case["out"]))
}

/// The short codes of the vectors.
fn why(error: &FatError) -> &'static str {
    match error {
        FatError::Short => "short",
        FatError::NoSignature => "no-signature",
        FatError::NoEsp => "no-esp",
        FatError::SeveralEsp => "several-esp",
        FatError::ClusterSize(_) => "cluster-size",
        FatError::ZeroInBootSector => "bpb-zero",
        FatError::Fat32OrDamaged => "fat32-or-corrupt",
        FatError::Tables => "meta-exceeds",
        FatError::Name { rule: NameRule::Length, .. } => "length",
        FatError::Name { rule: NameRule::NotAscii, .. } => "not-ascii",
        FatError::Name { rule: NameRule::Forbidden, .. } => "forbidden-char",
        FatError::Exists(_) => "exists",
        FatError::RootFull(_) => "root-full",
        FatError::Full(_) => "esp-full",
        _ => "other",
    }
}

#[test]
fn the_partition_is_the_only_one_of_its_type() {
    let vectors = vectors!("esp-locate");
    for (id, given, out) in cases(&vectors) {
        let strict = &out["strict"];
        match esp::locate(&unpacked(&given["head_gz_b64"])) {
            Ok(esp) => {
                assert_eq!(strict["ok"], true, "{id}");
                assert_eq!(strict["startLba"], esp.first_sector, "{id}");
                assert_eq!(strict["sectorCount"], esp.sectors, "{id}");
                assert_eq!(strict["offsetBytes"], esp.offset(), "{id}");
            }
            Err(error) => assert_eq!(strict["why"], why(&error), "{id}"),
        }
    }
}

#[test]
fn a_boot_sector_gives_the_geometry_or_a_refusal() {
    let vectors = vectors!("fat-volume");
    for (id, given, out) in cases(&vectors) {
        let offset = given["offset"].as_u64().unwrap() as usize;
        match Volume::read(&unpacked(&given["boot_gz_b64"])) {
            Ok(volume) => {
                assert_eq!(out["ok"], true, "{id}");
                let kind = if volume.kind == FatKind::Fat12 { 12 } else { 16 };
                assert_eq!(out["fatType"], kind, "{id}");
                for (key, value) in [
                    ("clusterCount", volume.clusters),
                    ("clusterBytes", volume.cluster_len),
                    ("fatBytes", volume.table_len),
                    ("numFats", volume.tables),
                    ("rootEntries", volume.root_entries),
                    ("rootOffset", offset + volume.root_offset),
                    ("dataOffset", offset + volume.data_offset),
                ] {
                    assert_eq!(out[key], value, "{id}: {key}");
                }
            }
            Err(error) => assert_eq!(out["why"], why(&error), "{id}"),
        }
    }
}

#[test]
fn entries_of_twelve_bits_do_not_touch_their_neighbours() {
    let bytes = |value: &Value| {
        let text = value.as_str().unwrap();
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect::<Vec<u8>>()
    };
    let vectors = vectors!("fat12-entry");
    for (id, given, out) in cases(&vectors) {
        let mut table = bytes(&given["fat"]);
        let number = |key: &str| given[key].as_u64().unwrap();
        let cluster = number("cluster") as usize;
        set_entry(FatKind::Fat12, &mut table, cluster, number("value") as u16);
        assert_eq!(table, bytes(&out["fat"]), "{id}");
        for (cluster, value) in out["all"].as_array().unwrap().iter().enumerate() {
            assert_eq!(*value, entry(FatKind::Fat12, &table, cluster), "{id}: {cluster}");
        }
    }
}

#[test]
fn short_names() {
    let vectors = vectors!("fat-short-name");
    for (id, given, out) in cases(&vectors) {
        let name = given["name"].as_str().unwrap();
        let taken = given["taken"].as_array().unwrap().iter();
        let taken: Vec<Short> =
            taken.map(|short| short.as_str().unwrap().as_bytes().try_into().unwrap()).collect();
        match short(name, &taken) {
            Ok((short, is_plain)) => {
                assert_eq!(out["short"], String::from_utf8_lossy(&short).as_ref(), "{id}");
                assert_eq!(out["checksum"], checksum(&short), "{id}");
                let count = if is_plain { 0 } else { long_entries(name, &short).len() };
                assert_eq!(out["long_entries"], count, "{id}");
            }
            Err(error) => assert_eq!((&out["ok"], why(&error)), (&false.into(), "exists"), "{id}"),
        }
    }
}

fn content(file: &Value) -> Vec<u8> {
    if let Some(text) = file["utf8"].as_str() {
        return text.as_bytes().to_vec();
    }
    let number = |key: &str| file["pattern"][key].as_u64().unwrap();
    (0..number("len")).map(|i| ((i * number("mul") + number("add")) % 256) as u8).collect()
}

#[test]
fn files_are_added_byte_for_byte_or_nothing_is_changed() {
    let vectors = vectors!("esp-bake");
    for (id, given, out) in cases(&vectors) {
        let packed = &vectors["images"][given["image"].as_str().unwrap()];
        let mut image = unpacked(&packed["gz_b64"]);
        assert_eq!(packed["sha256"], hex(&image), "{id}");
        let files = given["files"].as_array().unwrap();
        let contents: Vec<Vec<u8>> = files.iter().map(content).collect();
        let name = |at: usize| files[at]["name"].as_str().unwrap();
        let asked: Vec<File<'_>> = contents
            .iter()
            .enumerate()
            .map(|(at, content)| File { name: name(at), content })
            .collect();
        let placed = esp::locate(&image).and_then(|esp| {
            let begin = esp.offset() as usize;
            add(&mut image[begin..begin + esp.len() as usize], &asked)
        });
        let placed = match placed {
            Ok(placed) => placed,
            Err(error) => {
                assert_eq!(out["why"], why(&error), "{id}: {error}");
                assert_eq!(packed["sha256"], hex(&image), "{id}: it was changed");
                continue;
            }
        };
        assert_eq!(out["ok"], true, "{id}");
        for (at, (placed, wanted)) in
            placed.iter().zip(out["files"].as_array().unwrap()).enumerate()
        {
            assert_eq!(wanted["short"], String::from_utf8_lossy(&placed.short).as_ref(), "{id}");
            assert_eq!(wanted["slot"], placed.slot, "{id}");
            assert_eq!(wanted["clusters"], Value::from(placed.clusters.clone()), "{id}");
            let begin = esp::locate(&image).unwrap().offset() as usize;
            let volume = Volume::read(&image[begin..]).unwrap();
            for copy in 0..volume.tables {
                let read = read::file(&image[begin..], name(at), copy).unwrap().unwrap();
                assert_eq!(wanted["sha256"], hex(&read), "{id}, copy {copy}");
            }
        }
        assert_eq!(out["image_sha256"], hex(&image), "{id}");
    }
}

#[test]
fn damaged_volumes_are_refused_and_never_read_beyond_their_end() {
    let vectors = vectors!("esp-bake");
    let image = unpacked(&vectors["images"]["small12"]["gz_b64"]);
    let begin = esp::locate(&image).unwrap().offset() as usize;
    let volume = image[begin..].to_vec();
    let asked = [File { name: "zeta-hostname.txt", content: b"n\n" }];
    let mut seed = 7_u64;
    for _ in 0..20_000 {
        let mut damaged = volume.clone();
        for _ in 0..4 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (seed >> 33) as usize % (SECTOR * 4);
            damaged[at] = (seed >> 24) as u8;
        }
        damaged.truncate(damaged.len() - (seed >> 40) as usize % SECTOR);
        let before = damaged.clone();
        match add(&mut damaged, &asked) {
            Ok(_) => {
                let read = read::file(&damaged, "zeta-hostname.txt", 0).unwrap().unwrap();
                assert_eq!(read, b"n\n");
            }
            Err(_) => assert_eq!(damaged, before),
        }
        let _ = read::list(&damaged);
    }
}
