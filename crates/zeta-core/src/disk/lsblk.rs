//! What `lsblk --json --bytes --paths` lists, in the forms of all its versions.

use serde::{Deserialize, Deserializer};

/// All block devices.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Listing {
    /// Those that are on no other one.
    #[serde(deserialize_with = "or_default")]
    pub blockdevices: Vec<Device>,
}

impl Listing {
    /// Reads what the program printed.
    ///
    /// # Errors
    /// It is no such listing.
    pub fn parse(text: &[u8]) -> Result<Listing, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// Gives each device, at any depth, to a function that may add to it.
    pub fn each(&mut self, change: &mut dyn FnMut(&mut Device)) {
        self.blockdevices.iter_mut().for_each(|device| device.each(change));
    }

    /// Puts a device, with all that is on it, below the one that it shows a part of. It stays where
    /// it is if that one is not listed.
    pub fn put_below(&mut self, path: &str, below: &str) {
        let at = self.blockdevices.iter().position(|device| device.path() == path);
        let Some(moved) = at.map(|at| self.blockdevices.remove(at)) else { return };
        let mut is_put = false;
        self.each(&mut |device| {
            if device.path() == below {
                device.children.push(moved.clone());
                is_put = true;
            }
        });
        if !is_put {
            self.blockdevices.push(moved);
        }
    }
}

/// A disk, a partition, or what is made of some of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Device {
    #[serde(deserialize_with = "or_default")]
    name: String,
    #[serde(deserialize_with = "or_default")]
    path: String,
    /// Its kind: disk, part, crypt, lvm, raid1 and others.
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// How it is connected, as in usb.
    #[serde(deserialize_with = "or_default")]
    pub tran: String,
    /// Its length, in bytes, if that is known.
    #[serde(deserialize_with = "number")]
    pub size: Option<u64>,
    /// It can be taken out.
    #[serde(deserialize_with = "flag")]
    pub rm: Option<bool>,
    /// It cannot be written.
    #[serde(deserialize_with = "flag")]
    pub ro: Option<bool>,
    /// Its maker.
    #[serde(deserialize_with = "or_default")]
    pub vendor: String,
    /// Its model.
    #[serde(deserialize_with = "or_default")]
    pub model: String,
    /// Its serial number.
    #[serde(deserialize_with = "or_default")]
    pub serial: String,
    /// Its name that is unique in the world (WWN), if it has one.
    #[serde(deserialize_with = "or_default")]
    pub wwn: String,
    /// What it contains.
    #[serde(deserialize_with = "or_default")]
    pub fstype: String,
    /// The name of its file system.
    #[serde(deserialize_with = "or_default")]
    pub label: String,
    #[serde(deserialize_with = "or_default")]
    mountpoint: Option<String>,
    #[serde(deserialize_with = "or_default")]
    mountpoints: Vec<Option<String>>,
    /// What is on it, or made of it.
    #[serde(deserialize_with = "or_default")]
    pub children: Vec<Device>,
}

impl Device {
    /// Its path; a name without one is below `/dev`.
    pub fn path(&self) -> String {
        match (self.path.as_str(), self.name.as_str()) {
            ("", name) if name.starts_with('/') => name.to_owned(),
            ("", name) => format!("/dev/{name}"),
            (path, _) => path.to_owned(),
        }
    }

    /// Where it is mounted; `[SWAP]` for swap space in use.
    pub fn mounts(&self) -> impl Iterator<Item = &str> {
        let all = self.mountpoints.iter().flatten();
        let others = all.clone();
        let one = self.mountpoint.iter().filter(move |one| others.clone().all(|it| it != *one));
        one.chain(all).map(String::as_str).filter(|place| !place.is_empty())
    }

    /// Adds a device that is made of this one, as the kernel says, and that is not listed.
    pub fn add_holder(&mut self, path: String) {
        if !self.children.iter().any(|child| child.path() == path) {
            let kind = "holder".to_owned();
            self.children.push(Device { path, kind, ..Device::default() });
        }
    }

    fn each(&mut self, change: &mut dyn FnMut(&mut Device)) {
        self.children.iter_mut().for_each(|child| child.each(change));
        change(self);
    }

    /// Itself and all that is on it.
    pub fn all(&self) -> Vec<&Device> {
        let mut all = vec![self];
        let mut at = 0;
        while let Some(device) = all.get(at).copied() {
            all.extend(&device.children);
            at += 1;
        }
        all
    }
}

/// A value, or the default where `lsblk` says null.
fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A value that old versions write as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Loose {
    Flag(bool),
    Number(u64),
    Text(String),
}

fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(match Option::deserialize(from)? {
        Some(Loose::Number(number)) => Some(number),
        Some(Loose::Text(text)) => text.parse().ok(),
        Some(Loose::Flag(_)) | None => None,
    })
}

fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    Ok(match Option::deserialize(from)? {
        Some(Loose::Flag(flag)) => Some(flag),
        Some(Loose::Number(number)) => Some(number != 0),
        Some(Loose::Text(text)) => match text.as_str() {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        },
        None => None,
    })
}
