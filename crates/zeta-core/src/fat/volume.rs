//! The geometry of a volume, as its boot sector says it.

use super::{ENTRY, FatError, SECTOR, u16_at, u32_at};

/// The width of an entry of the allocation table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FatKind {
    /// 12 bits.
    Fat12,
    /// 16 bits.
    Fat16,
}

/// The geometry of a volume. All offsets are in bytes from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    /// The width of an entry.
    pub kind: FatKind,
    /// The length of a cluster, in bytes.
    pub cluster_len: usize,
    /// How many clusters it has; the first one has the number 2.
    pub clusters: usize,
    /// Where the first copy of the allocation table begins.
    pub table_offset: usize,
    /// The length of a copy, in bytes.
    pub table_len: usize,
    /// How many copies there are.
    pub tables: usize,
    /// Where the root directory begins.
    pub root_offset: usize,
    /// How many entries it has.
    pub root_entries: usize,
    /// Where the first cluster begins.
    pub data_offset: usize,
    /// The length of the volume, in bytes.
    pub len: u64,
}

impl Volume {
    /// Reads the boot sector of a volume.
    ///
    /// # Errors
    /// It is no FAT12 or FAT16 that can be written.
    pub fn read(boot: &[u8]) -> Result<Volume, FatError> {
        let boot = boot.get(..SECTOR).ok_or(FatError::Short)?;
        if !boot.ends_with(&[0x55, 0xaa]) {
            return Err(FatError::NoSignature);
        }
        let byte = |at: usize| boot.get(at).copied().unwrap_or_default();
        if usize::from(u16_at(boot, 11)) != SECTOR {
            return Err(FatError::SectorSize(u16_at(boot, 11)));
        }
        let per_cluster = byte(13);
        if !per_cluster.is_power_of_two() {
            return Err(FatError::ClusterSize(per_cluster));
        }
        let (reserved, tables) = (usize::from(u16_at(boot, 14)), usize::from(byte(16)));
        let total = match u16_at(boot, 19) {
            0 => u32_at(boot, 32) as usize,
            short => usize::from(short),
        };
        if reserved == 0 || tables == 0 || total == 0 {
            return Err(FatError::ZeroInBootSector);
        }
        let (root_entries, per_table) = (usize::from(u16_at(boot, 17)), u16_at(boot, 22));
        if root_entries == 0 || per_table == 0 {
            return Err(FatError::Fat32OrDamaged);
        }
        let table_len = usize::from(per_table) * SECTOR;
        let root_offset = reserved * SECTOR + tables * table_len;
        let data_offset = root_offset + (root_entries * ENTRY).div_ceil(SECTOR) * SECTOR;
        let rest = (total * SECTOR).checked_sub(data_offset).ok_or(FatError::Tables)?;
        let cluster_len = usize::from(per_cluster) * SECTOR;
        let clusters = rest / cluster_len;
        let kind = match clusters {
            0 => return Err(FatError::Tables),
            1..4085 => FatKind::Fat12,
            4085..65525 => FatKind::Fat16,
            _ => return Err(FatError::Fat32OrDamaged),
        };
        let volume = Volume {
            kind,
            cluster_len,
            clusters,
            table_offset: reserved * SECTOR,
            table_len,
            tables,
            root_offset,
            root_entries,
            data_offset,
            len: (total * SECTOR) as u64,
        };
        match volume.end_of_entry(clusters + 1) > table_len {
            true => Err(FatError::Tables),
            false => Ok(volume),
        }
    }

    /// Where the entry of a cluster ends in a copy of the table.
    fn end_of_entry(&self, cluster: usize) -> usize {
        match self.kind {
            FatKind::Fat12 => cluster + cluster / 2 + 2,
            FatKind::Fat16 => cluster * 2 + 2,
        }
    }

    /// Where a cluster begins.
    pub fn cluster_offset(&self, cluster: usize) -> usize {
        self.data_offset + cluster.saturating_sub(2) * self.cluster_len
    }

    /// Returns whether it has a cluster of this number.
    pub fn has(&self, cluster: usize) -> bool {
        (2..self.clusters + 2).contains(&cluster)
    }

    /// The mark of the last cluster of a file.
    pub fn end_mark(&self) -> u16 {
        match self.kind {
            FatKind::Fat12 => 0xfff,
            FatKind::Fat16 => 0xffff,
        }
    }
}

/// Reads the entry of a cluster in a copy of an allocation table; 0 behind its end.
pub fn entry(kind: FatKind, table: &[u8], cluster: usize) -> u16 {
    match kind {
        FatKind::Fat16 => u16_at(table, cluster * 2),
        FatKind::Fat12 => {
            let both = u16_at(table, cluster + cluster / 2);
            if cluster.is_multiple_of(2) { both & 0xfff } else { both >> 4 }
        }
    }
}

/// Writes the entry of a cluster into a copy of an allocation table; nothing behind its end.
pub fn set_entry(kind: FatKind, table: &mut [u8], cluster: usize, value: u16) {
    let (at, value) = match kind {
        FatKind::Fat16 => (cluster * 2, value),
        FatKind::Fat12 => {
            let at = cluster + cluster / 2;
            let both = u16_at(table, at);
            let is_even = cluster.is_multiple_of(2);
            let value = value & 0xfff;
            (at, if is_even { both & 0xf000 | value } else { both & 0x000f | value << 4 })
        }
    };
    if let Some(two) = table.get_mut(at..at + 2) {
        two.copy_from_slice(&value.to_le_bytes());
    }
}
