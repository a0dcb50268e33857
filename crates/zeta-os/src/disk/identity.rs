//! What tells one disk from another: its number, the sequence number of what is in that place, its
//! serial number and its length.

use std::fs;

use super::block::{Block, Number};
use zeta_core::json::Object;

/// The identity of a disk. Two of them are equal if all that is known of them is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Major and minor number.
    pub number: Number,
    /// Counts what was put into any place since the boot; Linux has it from 5.15 on.
    pub diskseq: Option<u64>,
    /// The serial number, or what there is in its place: a loop device has its file.
    pub serial: String,
    /// The length, in bytes.
    pub size: u64,
}

impl Identity {
    /// The identity of a device that is not open, as sysfs has it.
    pub fn of(device: &Block) -> Option<Identity> {
        let sectors: u64 = device.text("size")?.parse().ok()?;
        Some(Identity {
            number: device.number()?,
            diskseq: device.text("diskseq").and_then(|text| text.parse().ok()),
            serial: serial(device),
            size: sectors.saturating_mul(512),
        })
    }

    /// It as JSON.
    pub fn object(&self) -> Object {
        let mut object = Object::default();
        object.text("number", &format!("{}:{}", self.number.0, self.number.1));
        if let Some(diskseq) = self.diskseq {
            object.number("diskseq", diskseq);
        }
        object.text("serial", &self.serial).number("size", self.size);
        object
    }
}

/// The serial number that the kernel itself knows; udev's is made from the same.
fn serial(device: &Block) -> String {
    if let Some(file) = device.backing_file() {
        return format!("loop:{file}");
    }
    let known = ["serial", "device/serial", "device/cid"];
    let known = known.iter().filter_map(|name| device.text(name));
    let known = known.chain(unit_serial(device)).chain(usb_serial(device));
    known.into_iter().find(|serial| !serial.is_empty()).unwrap_or_default()
}

/// That of a stick is the one of the USB device above it.
fn usb_serial(device: &Block) -> Option<String> {
    let mut above = device.dir.ancestors().skip(1).take_while(|dir| !dir.ends_with("devices"));
    let usb = above.find(|dir| dir.join("idVendor").exists())?;
    Some(fs::read_to_string(usb.join("serial")).ok()?.trim().to_owned())
}

/// That of a SCSI disk, from its page 0x80: four bytes, then text.
fn unit_serial(device: &Block) -> Option<String> {
    // A bridge of a stick may answer with the serial number of all sticks of its kind.
    if usb_serial(device).is_some() {
        return None;
    }
    let page = fs::read(device.dir.join("device/vpd_pg80")).ok()?;
    let text = String::from_utf8_lossy(page.get(4..)?);
    Some(text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned())
}
