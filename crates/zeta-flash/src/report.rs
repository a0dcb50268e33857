//! Disks, plans and what was written, as text and as JSON.

use std::fmt::Write as _;

use zeta_core::disk::Reason;
use zeta_core::flash::consent::{Plan, Planned, phrase};
use zeta_core::flash::progress::size;
use zeta_core::json::Object;

use crate::image::Image;
use crate::provenance;
use crate::staged::Staged;
use crate::target::{Disks, Row};
use crate::writer::Took;

/// A plan that was made, and where it was saved.
#[derive(Debug, Clone)]
pub struct Planning<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The digest of its text.
    pub hash: &'a str,
    /// The file that it was written to.
    pub saved: Option<&'a str>,
}

/// All disks as JSON, and the plan if one was made.
pub fn plan_json(disks: &Disks, image: Option<&Image>, planning: Option<&Planning<'_>>) -> Object {
    let mut object = Object::new();
    object.objects("disks", &disks.rows, disk_json);
    object.list("system", disks.system.iter().map(|path| zeta_core::record::quote(path)));
    if let Some(image) = image {
        image_json(&mut object, image);
    }
    if let Some(Planning { plan, hash, saved }) = planning {
        object.text("disk", &plan.disk.path).text("phrase", &phrase(&plan.disk.serial));
        object.objects("files", &plan.files, |object, file: &Planned| {
            object.text("name", &file.name).text_if("sha256", file.sha256.as_deref());
        });
        object.text("plan_hash", hash).text_if("plan", *saved);
    }
    object
}

fn image_json(object: &mut Object, image: &Image) {
    object.text("image", &image.path().display().to_string());
    object.number("image_bytes", image.len).text("image_sha256", &image.sha256);
    object.text("integrity", integrity(image));
    provenance::report::add_to(object, &image.provenance);
}

/// The word for what a digest proved.
fn integrity(image: &Image) -> &'static str {
    if image.is_as_published { "verified" } else { "not_checked" }
}

fn disk_json(object: &mut Object, row: &Row) {
    let device = &row.device;
    object.text("path", &device.path()).text("kind", &device.kind);
    object.text("serial", row.names.shown()).text("model", &row.model());
    for (key, value) in [("transport", &device.tran), ("wwn", &device.wwn)] {
        object.text_if(key, Some(value.trim()).filter(|value| !value.is_empty()));
    }
    if let Some(bytes) = device.size {
        object.number("bytes", bytes);
    }
    object.list("names", row.names.by_id.iter().map(|name| zeta_core::record::quote(name)));
    object.flag("writable", row.reasons.is_empty());
    object.objects("reasons", &row.reasons, |object, reason: &Reason| {
        object.text("reason", reason.word()).text("message", &reason.to_string());
    });
}

/// All disks as text: a line for each, and below it the reasons against it.
pub fn plan_text(disks: &Disks, image: Option<&Image>, planning: Option<&Planning<'_>>) -> String {
    let head = ["DISK", "SIZE", "BY", "SERIAL", "MODEL"].map(str::to_owned);
    let cells = disks.rows.iter().map(|row| {
        let bytes = row.device.size.map_or("?".to_owned(), size);
        let (path, tran) = (row.device.path(), row.device.tran.trim().to_owned());
        let by = if tran.is_empty() { row.device.kind.clone() } else { tran };
        [path, bytes, by, row.names.shown().to_owned(), row.model()].map(|cell| plain(&cell))
    });
    let all: Vec<[String; 5]> = std::iter::once(head).chain(cells).collect();
    let width = |at: usize| all.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
    let widths = [width(0), width(1), width(2), width(3)];
    let line = |row: &[String; 5]| {
        let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let padded: Vec<String> = padded.chain([row[4].clone()]).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut text = all.first().map(line).unwrap_or_default();
    for (row, cells) in disks.rows.iter().zip(all.iter().skip(1)) {
        let _ = write!(text, "\n{}", line(cells));
        match row.reasons.is_empty() {
            true => text.push_str("\n    may be written, if it is named"),
            false => row.reasons.iter().for_each(|reason| {
                let _ = write!(text, "\n    not written: {}", plain(&reason.to_string()));
            }),
        }
    }
    if let Some(image) = image {
        let (path, len) = (plain(&image.path().display().to_string()), size(image.len));
        let _ = write!(text, "\n\nimage  {path} ({len}), sha256 {}", image.sha256);
        let _ = write!(text, "\n       integrity {}", integrity(image).replace('_', " "));
        let _ = write!(text, "\n       {}", plain(&provenance::report::text(&image.provenance)));
    }
    if let Some(Planning { plan, hash, saved }) = planning {
        let _ = write!(text, "\ndisk   {} would be erased", plain(&plan.disk.path));
        for file in &plan.files {
            let sealed = file.sealed.join(", ");
            let sealed = if sealed.is_empty() { sealed } else { format!(" (sealed: {sealed})") };
            let _ = write!(text, "\nfile   {}{sealed}", file.name);
        }
        let saved = saved.map_or(String::new(), |saved| format!(" in {}", plain(saved)));
        let _ = write!(text, "\nplan   {hash}{saved}");
    }
    text
}

/// What a stick says of itself, or the name of a file, moves no cursor and makes no line.
fn plain(text: &str) -> String {
    zeta_core::record::printable(text).into_owned()
}

/// What a person is asked before a disk is erased.
pub fn question(row: &Row, staged: &Staged) -> String {
    let bytes = row.device.size.map_or("?".to_owned(), size);
    let mut text = format!("This erases {}, {bytes}:\n", plain(&row.shown()));
    for part in row.device.all().into_iter().skip(1) {
        let words = [part.fstype.as_str(), part.label.as_str()];
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let bytes = part.size.map_or("?".to_owned(), size);
        let line = format!("  {} ({bytes}) {}", part.path(), words.join(" "));
        let _ = writeln!(text, "{}", plain(&line));
    }
    let (path, len) = (staged.image.path().display(), size(staged.image.len));
    let _ = writeln!(text, "It gets {} ({len}).", plain(&path.to_string()));
    let _ = writeln!(text, "{}", plain(&provenance::report::text(&staged.image.provenance)));
    let _ = write!(text, "To go on, type: {}\n> ", plain(&phrase(row.names.shown())));
    text
}

/// What was written, as JSON. `target` is the disk or the file.
pub fn written_json(target: &str, serial: Option<&str>, staged: &Staged, took: &Took) -> Object {
    let mut object = Object::new();
    object.text("outcome", "written").text("target", target).text_if("serial", serial);
    image_json(&mut object, &staged.image);
    object.text_if("volume_id", staged.volume_id.as_deref());
    object.objects("files", &staged.files, |object, file| {
        object.text("name", &file.name).number("bytes", file.bytes);
        object.text_if("sha256", Some(file.sha256.as_str()).filter(|_| !file.secret));
        object.flag("secret", file.secret);
    });
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    object.number("write_ms", ms(took.writing)).number("compare_ms", ms(took.comparing));
    object
}

/// What was written, as text.
pub fn written_text(target: &str, staged: &Staged, took: &Took) -> String {
    let all = took.writing + took.comparing;
    let (len, seconds) = (size(staged.image.len), all.as_secs_f64());
    let target = plain(target);
    let mut text = format!("{target} is written and read back: {len} in {seconds:.1} s");
    let _ = write!(text, "\n{}", plain(&provenance::report::text(&staged.image.provenance)));
    if let Some(id) = &staged.volume_id {
        let _ = write!(text, "\nvolume id {id}");
    }
    for file in &staged.files {
        let clear = if file.secret { ", in clear text" } else { "" };
        let _ = write!(text, "\nfile {} ({} bytes{clear})", file.name, file.bytes);
    }
    text
}

/// The details of a write that failed.
pub fn failed_json(target: &str, is_half_written: bool) -> Object {
    let mut object = Object::new();
    let outcome = if is_half_written { "half_written" } else { "not_written" };
    object.text("outcome", outcome).text("target", target);
    object
}
