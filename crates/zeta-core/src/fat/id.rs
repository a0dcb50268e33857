//! The id of a volume: four bytes of its boot sector, which systems show as `4F2A-91C7`.

use super::{SECTOR, u32_at};

/// Where the mark is that says that there is an id.
const MARK: usize = 38;
/// Where the id is.
const ID: usize = 39;

/// The text of an id.
pub fn text(id: u32) -> String {
    format!("{:04X}-{:04X}", id >> 16, id & 0xffff)
}

/// Reads the id of a volume, if its boot sector has one.
pub fn read(volume: &[u8]) -> Option<u32> {
    let has = volume.len() >= SECTOR && matches!(volume.get(MARK), Some(0x28 | 0x29));
    has.then(|| u32_at(volume, ID))
}

/// Gives a volume another id; returns whether it has a place for one.
#[must_use]
pub fn set(volume: &mut [u8], id: u32) -> bool {
    if read(volume).is_none() {
        return false;
    }
    let place = volume.get_mut(ID..ID + 4);
    place.map(|place| place.copy_from_slice(&id.to_le_bytes())).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_shown_as_other_programs_show_it() {
        let mut volume = vec![0; SECTOR];
        assert!(!set(&mut volume, 7) && read(&volume).is_none());
        volume[MARK] = 0x29;
        assert!(set(&mut volume, 0x1234_5678));
        assert_eq!(volume[ID..ID + 4], [0x78, 0x56, 0x34, 0x12]);
        assert_eq!(read(&volume).map(text).as_deref(), Some("1234-5678"));
        assert_eq!(text(0x000a_00b0), "000A-00B0");
        assert!(!set(&mut volume[..100], 1));
    }
}
