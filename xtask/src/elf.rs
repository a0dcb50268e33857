//! Reads just enough of an ELF header to tell whether a binary is static and not PIE.
//!
//! Such a binary starts without a dynamic linker and without relocating itself, which is most of
//! what a short verb costs.

use anyhow::{Result, bail, ensure};

const EXECUTABLE: u16 = 2;
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;

/// Fails unless `bytes` are a 64-bit little-endian executable at fixed addresses that needs no
/// dynamic linker.
pub fn expect_static(bytes: &[u8]) -> Result<()> {
    ensure!(bytes.starts_with(b"\x7fELF\x02\x01"), "it is not a 64-bit little-endian ELF file");
    let kind = u16::from_le_bytes(field(bytes, 16)?);
    ensure!(kind == EXECUTABLE, "it is position independent (e_type {kind}, not {EXECUTABLE})");
    let table = usize::try_from(u64::from_le_bytes(field(bytes, 32)?))?;
    let size = usize::from(u16::from_le_bytes(field(bytes, 54)?));
    let count = usize::from(u16::from_le_bytes(field(bytes, 56)?));
    for number in 0..count {
        match u32::from_le_bytes(field(bytes, table.saturating_add(number * size))?) {
            INTERPRETER => bail!("it asks for a dynamic linker (PT_INTERP)"),
            DYNAMIC => bail!("it has a dynamic section (PT_DYNAMIC)"),
            _ => {}
        }
    }
    Ok(())
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    match bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(field) => Ok(*field),
        None => bail!("it is cut off"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u16, segment: u32) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[16..18].copy_from_slice(&kind.to_le_bytes());
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&1_u16.to_le_bytes());
        bytes[64..68].copy_from_slice(&segment.to_le_bytes());
        bytes
    }

    #[test]
    fn only_a_static_executable_passes() {
        assert!(expect_static(&header(EXECUTABLE, 1)).is_ok());
        assert!(expect_static(&header(3, 1)).is_err(), "position independent");
        assert!(expect_static(&header(EXECUTABLE, INTERPRETER)).is_err());
        assert!(expect_static(&header(EXECUTABLE, DYNAMIC)).is_err());
        assert!(expect_static(&header(EXECUTABLE, 1)[..66]).is_err(), "cut off");
        assert!(expect_static(b"#!/bin/sh\n").is_err());
    }
}
