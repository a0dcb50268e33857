//! When this node first saw that no leases are granted, by its own boot clock. It counts where the
//! servers do not say their time: the wall clock of a machine can be set.

use std::path::Path;

use zeta_core::cluster::copy::Moment;
use zeta_core::evidence::Age;
use zeta_core::record::{Fields, Text, parse};
use zeta_core::time::Now;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::read_plain;
use zeta_os::{given_path, host};

use crate::identity;
use crate::member::Member;

/// The name of the file, beside the identity.
const FILE: &str = "pause";
const TEMP: &str = ".pause.";
const KIND: &str = "cluster_pause";
const MAX: u64 = 4096;

/// Returns whether this node has seen the record of the cluster for the longest TTL. If it sees it
/// for the first time in this boot, it keeps the moment.
///
/// # Errors
/// The moment cannot be kept.
pub(crate) fn is_over(member: &Member, dir: &Path) -> Result<bool> {
    let (meta, revision) = member.meta();
    let host = host::host()?;
    let now = Now { reading: host::reading(), host: &host };
    let path = dir.join(FILE);
    let read = read_plain(&path, MAX).unwrap_or_default();
    let kept = read_moment(&read, meta.held.cluster.as_str(), revision);
    if let Some(Age::Ms(age_ms)) = kept.map(|moment| moment.age(&now)) {
        return Ok(age_ms > meta.held.max_ttl_ms);
    }
    let moment = Moment::at(&now);
    let mut fields = Fields::new(KIND);
    fields.push_text("cluster", meta.held.cluster.as_str());
    fields.push_number("revision", revision);
    fields.push_number("boot_ns", moment.boot_ns);
    fields.push_text("boot_id", &moment.boot_id);
    if let Some(time_ns) = moment.time_ns {
        fields.push_number("time_ns", time_ns);
    }
    identity::keep(&path, TEMP, fields.render().as_bytes()).map_err(|error| {
        let shown = given_path::shown(&path);
        Error::new(Kind::Fault, format!("cannot write {shown}: {error}"))
    })?;
    Ok(false)
}

fn read_moment(bytes: &[u8], cluster: &str, revision: u64) -> Option<Moment> {
    let Ok(Text::Own(fields)) = parse(bytes, MAX as usize) else { return None };
    fields.expect_kind(KIND).ok()?;
    let same = fields.text("cluster")? == cluster && fields.number("revision")? == revision;
    same.then_some(Moment {
        boot_ns: fields.number("boot_ns")?,
        boot_id: fields.text("boot_id")?.into_owned(),
        time_ns: fields.number("time_ns"),
    })
}
