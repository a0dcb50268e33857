//! The kernel modules that a virtual machine loads, each one after those that it needs.
//!
//! Which driver is a module, and of which parts it consists, changes from kernel to kernel. So no
//! list of files is kept here: the machine names drivers, and `depmod` finds the rest.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::run;

/// The files of `drivers` and of all that they need, in an order in which they can be loaded.
/// A driver that is built into the kernel has no file.
///
/// `unpacked` is a directory with the kernel's package; `busybox` brings the `depmod`.
pub fn in_load_order(unpacked: &Path, busybox: &Path, drivers: &[&str]) -> Result<Vec<PathBuf>> {
    let dir = modules_dir(unpacked)?;
    let version = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (busybox, base) = (busybox.to_string_lossy(), unpacked.to_string_lossy());
    let depmod = run::program(&busybox, &["depmod", "-b", &base, &version]);
    ensure!(run::succeeds(depmod)?, "depmod cannot read the modules of {}", dir.display());
    let read = |name: &str| {
        let path = dir.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (table, builtin) = (read("modules.dep")?, read("modules.builtin")?);
    let order = load_order(&table, &builtin, drivers)?;
    Ok(order.into_iter().map(|file| dir.join(file)).collect())
}

/// The one directory of modules in the package of one kernel.
fn modules_dir(unpacked: &Path) -> Result<PathBuf> {
    let all = unpacked.join("lib/modules");
    let entries = fs::read_dir(&all).with_context(|| format!("no {}", all.display()))?;
    let mut dirs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    dirs.sort();
    dirs.pop().with_context(|| format!("{} is empty", all.display()))
}

/// `table` is a `modules.dep` ("file: needed…"), `builtin` a `modules.builtin` (one file a line).
fn load_order(table: &str, builtin: &str, drivers: &[&str]) -> Result<Vec<String>> {
    let needs: BTreeMap<&str, Vec<&str>> = table
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(file, needs)| (file, needs.split_whitespace().collect()))
        .collect();
    let mut order = Vec::new();
    for driver in drivers {
        match needs.keys().find(|file| name(file) == *driver) {
            Some(file) => add(file, &needs, &mut order),
            None => ensure!(
                builtin.lines().any(|file| name(file) == *driver),
                "this kernel has no driver {driver}, neither built in nor as a module"
            ),
        }
    }
    Ok(order)
}

/// Adds a file after everything that it needs; `depmod` refuses circles.
fn add(file: &str, needs: &BTreeMap<&str, Vec<&str>>, order: &mut Vec<String>) {
    if order.iter().any(|known| known == file) {
        return;
    }
    for need in needs.get(file).into_iter().flatten() {
        add(need, needs, order);
    }
    order.push(file.to_owned());
}

/// The name by which a kernel knows a module: "drivers/block/virtio_blk.ko.xz" is "virtio_blk".
fn name(file: &str) -> String {
    let last = file.rsplit('/').next().unwrap_or(file);
    last.split('.').next().unwrap_or(last).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
drivers/virtio/virtio.ko:
drivers/virtio/virtio_ring.ko:
drivers/block/virtio_blk.ko: drivers/virtio/virtio.ko drivers/virtio/virtio_ring.ko
kernel/fs/fat/fat.ko:
kernel/fs/fat/vfat.ko.xz: kernel/fs/fat/fat.ko
";
    const BUILTIN: &str = "kernel/fs/nls/nls_base.ko\nkernel/drivers/block/my-loop.ko\n";

    #[test]
    fn a_module_comes_after_what_it_needs_and_once() {
        let order = load_order(TABLE, BUILTIN, &["vfat", "virtio_blk", "virtio", "my_loop"]);
        let order = order.unwrap();
        let names: Vec<String> = order.iter().map(|file| name(file)).collect();
        assert_eq!(names, ["fat", "vfat", "virtio", "virtio_ring", "virtio_blk"]);
    }

    #[test]
    fn a_driver_that_the_kernel_does_not_have_is_an_error_that_names_it() {
        let error = load_order(TABLE, BUILTIN, &["ext9"]).unwrap_err();
        assert!(error.to_string().contains("no driver ext9"), "{error}");
    }
}
