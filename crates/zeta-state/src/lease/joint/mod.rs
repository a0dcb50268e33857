//! The grants of a joint lease: a record for each holder, in a directory beside the record that
//! stands for them. All of them change in the guard of that record.

pub mod index;
mod outside;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Stat, fstat, unlinkat};
use zeta_core::history::{Entry, Event};
use zeta_core::layout;
use zeta_core::lease::joint::decide::has_ended;
use zeta_core::lease::joint::{standing_record, stands_for_grants, stands_long_enough};
use zeta_core::lease::{FencingToken, Observed, Record, judge};
use zeta_core::name::RecordName;
use zeta_core::time::{Host, Now};

use self::index::{Change, gone_line, lines_of_record};
pub use self::outside::{find_outside, look_again};
use super::{observe, publish, read_only, render};
use crate::context::Context;
use crate::directory::create::publish_dir;
use crate::directory::guard::{Place, Section};
use crate::directory::tree::{Bytes, Node, read};
use crate::directory::trusted_dir::{TrustedDir, open_inner};
use crate::history;
use zeta_os::error::{Error, Result};
use zeta_os::files::{Listing, list};

/// A release looks at so many other grants: the last one that a process holds takes those of dead
/// ones with it.
const LOOKED_AT_MAX: usize = 64;

/// The opened directory of the grants of a joint lease.
#[derive(Debug)]
pub struct Grants {
    fd: OwnedFd,
    path: PathBuf,
    identity: (u64, u64),
}

/// What a record is to the one that its file holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Put {
    /// There is none.
    New,
    /// Only its times are new.
    Renewed,
    /// It is of another holder.
    Replaced,
}

/// A grant, as it was read.
#[derive(Debug)]
pub struct Grant {
    /// Its file; `None` for the record of a lease that is not joint.
    pub file: Option<String>,
    /// Its record.
    pub observed: Observed,
}

/// Returns the record that stands for a joint lease.
pub fn standing_of(observed: &Observed) -> Option<&Record> {
    match observed {
        Observed::Ours(record, ..) if stands_for_grants(record) => Some(record),
        _ => None,
    }
}

impl Grants {
    /// Opens the directory; `None` if there never was a grant.
    pub fn open(base: &TrustedDir, node: &Node, lease: &RecordName) -> Result<Option<Grants>> {
        let name = layout::grants_dir(lease);
        let path = node.path.join(&name);
        let opened = open_inner(node.as_fd(), &name, base, || path.clone())?;
        let identity = |stat: Stat| (stat.st_dev, stat.st_ino);
        Ok(opened.map(|(fd, stat)| Grants { fd, path, identity: identity(stat) }))
    }

    /// Opens the directory, or creates it.
    pub fn open_or_create(section: &Section<'_>, lease: &RecordName) -> Result<Grants> {
        let (base, node) = (section.base(), section.node());
        if let Some(grants) = Grants::open(base, node, lease)? {
            return Ok(grants);
        }
        let name = layout::grants_dir(lease);
        let path = node.path.join(&name);
        publish_dir(node.as_fd(), &name, base, &path)?;
        Grants::open(base, node, lease)?
            .ok_or_else(|| Error::not_safe(&path, "it vanishes at once"))
    }

    /// Lists the files of the grants, in the order of their tokens.
    pub fn files(&self) -> Result<Vec<String>> {
        let names = self.list(usize::MAX)?.names;
        Ok(names.into_iter().filter(|name| layout::is_grant_file(name)).collect())
    }

    fn list(&self, max: usize) -> Result<Listing> {
        match list(self.fd.as_fd(), max, &self.path) {
            // The last release has removed the directory since it was opened.
            Err(_) if fstat(&self.fd).is_ok_and(|stat| stat.st_nlink == 0) => {
                Ok(Listing::default())
            }
            listed => listed,
        }
    }

    /// Lists the files of a few grants; `None` if there are more.
    fn few_files(&self) -> Result<Option<Vec<String>>> {
        let listing = self.list(LOOKED_AT_MAX)?;
        let is_grant = |name: &String| layout::is_grant_file(name);
        Ok((!listing.cut).then(|| listing.names.into_iter().filter(is_grant).collect()))
    }

    /// Reads a grant; `None` if it is gone.
    pub fn read(&self, base: &TrustedDir, file: &str) -> Result<Option<Bytes>> {
        read(self.fd.as_fd(), file, layout::RECORD_MAX, base, || self.path.join(file))
    }

    /// Reads all grants with `observe`, which gets the bytes of a record.
    pub fn read_all(
        &self,
        base: &TrustedDir,
        observe: impl Fn(Option<Bytes>) -> Observed,
    ) -> Result<Vec<Grant>> {
        self.read_some(base, self.files()?, observe)
    }

    /// As [`Grants::read_all`], of some files.
    pub fn read_some(
        &self,
        base: &TrustedDir,
        files: Vec<String>,
        observe: impl Fn(Option<Bytes>) -> Observed,
    ) -> Result<Vec<Grant>> {
        self.read_until(base, files, observe, |_| false)
    }

    /// As [`Grants::read_some`], up to the first one that is `enough`.
    pub fn read_until(
        &self,
        base: &TrustedDir,
        files: Vec<String>,
        observe: impl Fn(Option<Bytes>) -> Observed,
        mut enough: impl FnMut(&Observed) -> bool,
    ) -> Result<Vec<Grant>> {
        let mut grants = Vec::new();
        for file in files {
            let Some(bytes) = self.read(base, &file)? else { continue };
            let observed = observe(Some(bytes));
            let is_enough = enough(&observed);
            grants.push(Grant { observed, file: Some(file) });
            if is_enough {
                break;
            }
        }
        Ok(grants)
    }

    /// Finds the grant with this token, by which its file is named. A handover that was killed, or
    /// could not give it that name, has left it under the name of the grant before it.
    pub fn find(
        &self,
        base: &TrustedDir,
        lease: &RecordName,
        token: FencingToken,
    ) -> Result<Option<(String, Bytes, Box<Record>)>> {
        let of_token = |file: String| -> Result<Option<_>> {
            let Some(bytes) = self.read(base, &file)? else { return Ok(None) };
            Ok(match read_only(Some(bytes.clone()), lease) {
                Observed::Ours(record, ..) if record.fencing_token == token => {
                    Some((file, bytes, record))
                }
                _ => None,
            })
        };
        let named = layout::grant_file(token.get());
        if let Some(found) = of_token(named.clone())? {
            return Ok(Some(found));
        }
        // Another process may give it its name meanwhile.
        let files = self.files()?.into_iter().chain([named]);
        files.map(of_token).find_map(Result::transpose).transpose()
    }

    /// The path of the directory.
    fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a grant.
    fn put(
        &self,
        section: &Section<'_>,
        file: &str,
        (record, reserve): (&Record, usize),
        what: Put,
        host: &Host,
    ) -> Result<()> {
        let text = render(record, reserve)?;
        let change = Change::begin(section, self, host, file);
        section.publish_in(&self.place(), file, &text, what != Put::New)?;
        change.end(|| match what {
            Put::Renewed => String::new(),
            Put::New | Put::Replaced => lines_of_record(file, record),
        });
        Ok(())
    }

    /// Removes a grant.
    fn take(&self, section: &Section<'_>, file: &str, host: &Host) -> Result<()> {
        let change = Change::begin(section, self, host, file);
        section.remove_in(&self.place(), file)?;
        change.end(|| gone_line(file));
        Ok(())
    }

    /// Removes the grant of another holder, which has ended, and ends what was announced of it. The
    /// `cause` is for the history.
    pub fn end(
        &self,
        section: &Section<'_>,
        ctx: &Context,
        lease: &RecordName,
        grant: &Grant,
        cause: &str,
    ) -> Result<()> {
        let Some(file) = &grant.file else { return Ok(()) };
        self.take(section, file, &ctx.host)?;
        let entry =
            history::entry::of_end(section, Event::Removed, lease, &grant.observed, Some(file));
        history::append(section, &entry.because(cause).by(ctx.agent.as_str()));
        if let Observed::Ours(record, ..) = &grant.observed {
            (ctx.lease_ended)(ctx, record);
        }
        Ok(())
    }

    /// Gives the grant in `file` the name that its token says; returns that name.
    fn give_name(
        &self,
        section: &Section<'_>,
        file: &str,
        record: &Record,
        host: &Host,
    ) -> Result<String> {
        let named = layout::grant_file(record.fencing_token.get());
        let change = Change::begin(section, self, host, &named);
        section.rename_in(&self.place(), file, &named)?;
        change.end(|| gone_line(file) + &lines_of_record(&named, record));
        Ok(named)
    }

    /// Finds the grant with this token in the guard, and names its file by the token.
    fn find_inside(
        &self,
        section: &Section<'_>,
        lease: &RecordName,
        token: FencingToken,
        host: &Host,
    ) -> Result<Option<(String, Bytes)>> {
        let Some((file, bytes, record)) = self.find(section.base(), lease, token)? else {
            return Ok(None);
        };
        let named = match file == layout::grant_file(token.get()) {
            true => None,
            // Under another name it counts as well.
            false => self.give_name(section, &file, &record, host).ok(),
        };
        Ok(Some((named.unwrap_or(file), bytes)))
    }

    /// The directory, for changes in it.
    fn place(&self) -> Place<'_> {
        Place { dir: self.fd.as_fd(), path: &self.path, identity: Some(self.identity) }
    }

    /// The descriptor, for a watch.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Removes all grants: those of a joint lease that was broken count no more.
    pub fn remove_all(
        &self,
        section: &Section<'_>,
        ctx: &Context,
        lease: &RecordName,
    ) -> Result<()> {
        let all = self.read_all(section.base(), |bytes| read_only(bytes, lease))?;
        all.iter().try_for_each(|grant| self.end(section, ctx, lease, grant, "broken"))
    }

    /// Removes the directory if no grant is left, so that names of leases that are free do not fill
    /// the node's directory. Returns whether it is gone.
    pub fn remove_empty(&self, section: &Section<'_>) -> bool {
        let name = self.path.file_name().unwrap_or_default();
        unlinkat(section.node().as_fd(), name, AtFlags::REMOVEDIR).is_ok()
    }

    /// Adds a grant; `standing` is the record that stands for the joint lease already.
    ///
    /// That record is there before the first grant, and is written once more after it: a process
    /// that watches the node's directory reads the grants then.
    pub fn add(
        &self,
        section: &Section<'_>,
        standing: Option<&Record>,
        (token, record): (FencingToken, &Record),
        replaces: bool,
        now: &Now,
    ) -> Result<()> {
        render(record, super::RENEWAL_RESERVE)?;
        let first = standing_record(standing, token, record, now);
        let first = first.ok_or_else(|| Error::usage("a grant of a joint lease has no kind"))?;
        if standing.is_none_or(|standing| !stands_long_enough(standing, record, now)) {
            publish(section, &first, replaces, 0)?;
        }
        let file = layout::grant_file(record.fencing_token.get());
        self.put(section, &file, (record, super::RENEWAL_RESERVE), Put::New, now.host)?;
        // The grant is there already: this is for others to notice it.
        let _ = publish(section, &first, true, 0);
        Ok(())
    }
}

/// The record of a caller's grant, read inside the guard, and where it is.
#[derive(Debug)]
pub struct Found {
    /// The record.
    pub observed: Observed,
    joint: Option<(Grants, Option<String>, Box<Record>)>,
}

impl Found {
    /// Looks for the grant `token` of a lease. Where there is none, the record of a lease that is
    /// not joint is what was found.
    pub fn find(
        section: &Section<'_>,
        lease: &RecordName,
        token: FencingToken,
        host: &Host,
    ) -> Result<Found> {
        let observed = read_only(section.read(layout::RECORD_MAX)?, lease);
        let Some(standing) = standing_of(&observed) else {
            return Ok(Found { observed, joint: None });
        };
        let Some(grants) = Grants::open(section.base(), section.node(), lease)? else {
            return Ok(Found { observed: Observed::Absent, joint: None });
        };
        let (file, bytes) = grants.find_inside(section, lease, token, host)?.unzip();
        let joint = Some((grants, file, Box::new(standing.clone())));
        Ok(Found { observed: read_only(bytes, lease), joint })
    }

    /// Looks for a record of a lease that has no token: one that is damaged, or of another program.
    pub fn find_damaged(section: &Section<'_>, lease: &RecordName) -> Result<Found> {
        let observed = read_only(section.read(layout::RECORD_MAX)?, lease);
        let Some(standing) = standing_of(&observed) else {
            return Ok(Found { observed, joint: None });
        };
        let Some(grants) = Grants::open(section.base(), section.node(), lease)? else {
            return Ok(Found { observed: Observed::Absent, joint: None });
        };
        let all = grants.read_all(section.base(), |bytes| read_only(bytes, lease))?;
        let odd = all.into_iter().find(|grant| !matches!(grant.observed, Observed::Ours(..)));
        let (observed, file) =
            odd.map_or((Observed::Absent, None), |grant| (grant.observed, grant.file));
        Ok(Found { observed, joint: Some((grants, file, Box::new(standing.clone()))) })
    }

    /// Whether the lease has several holders, or had.
    pub fn is_joint(&self) -> bool {
        self.joint.is_some()
    }

    /// Writes the record anew, with `reserve` bytes to spare.
    pub fn publish(
        &self,
        section: &Section<'_>,
        record: &Record,
        reserve: usize,
        now: &Now,
    ) -> Result<()> {
        self.put(section, (record, reserve), Put::Renewed, now)
    }

    fn put(
        &self,
        section: &Section<'_>,
        (record, reserve): (&Record, usize),
        what: Put,
        now: &Now,
    ) -> Result<()> {
        let Some((grants, Some(file), standing)) = &self.joint else {
            return publish(section, record, true, reserve);
        };
        if !stands_long_enough(standing, record, now)
            && let Some(longer) =
                standing_record(Some(standing), standing.fencing_token, record, now)
        {
            publish(section, &longer, true, 0)?;
        }
        grants.put(section, file, (record, reserve), what, now.host)
    }

    /// Writes the record of another holder in its place. That of a grant gets the name of its own
    /// token then; one that was not named is found by its token nevertheless.
    pub fn replace(&self, section: &Section<'_>, record: &Record, now: &Now) -> Result<()> {
        self.put(section, (record, super::RENEWAL_RESERVE), Put::Replaced, now)?;
        if let Some((grants, Some(file), standing)) = &self.joint {
            let _ = grants.give_name(section, file, record, now.host);
            let token = standing.fencing_token;
            let first = standing_record(Some(standing), token, record, now);
            first.map(|first| publish(section, &first, true, 0));
        }
        Ok(())
    }

    /// Makes the entry of the history about the end of the grant.
    pub fn entry(&self, section: &Section<'_>, event: Event, lease: &RecordName) -> Entry {
        let file = self.joint.as_ref().and_then(|(_, file, _)| file.as_deref());
        history::entry::of_end(section, event, lease, &self.observed, file)
    }

    /// Removes the record, and adds the entry of its end to the history. The last grant takes the
    /// record with it that stands for them.
    pub fn remove(
        &self,
        section: &Section<'_>,
        ctx: &Context,
        now: &Now,
        entry: &Entry,
    ) -> Result<()> {
        let Some((grants, Some(file), standing)) = &self.joint else {
            section.remove()?;
            history::append(section, entry);
            return Ok(());
        };
        grants.take(section, file, now.host)?;
        history::append(section, entry);
        // The grant is gone already: what is left is for others to notice it.
        let _ = settle(section, ctx, grants, standing, now);
        Ok(())
    }
}

/// Removes the record that stands for a joint lease, if no grant is left but those of holders that
/// have ended. Otherwise it is written anew, for those that watch it. Returns whether it is gone.
pub fn settle(
    section: &Section<'_>,
    ctx: &Context,
    grants: &Grants,
    standing: &Record,
    now: &Now,
) -> Result<bool> {
    let few = grants.few_files()?.map(|files| {
        let look = |bytes| observe(bytes, &standing.lease, now.host);
        grants.read_some(section.base(), files, look)
    });
    if let Some(left) = few.transpose()?
        && left.iter().all(|grant| has_ended(&judge(&grant.observed, now)))
    {
        left.iter().try_for_each(|grant| {
            let cause = history::entry::cause_of(&grant.observed, now);
            grants.end(section, ctx, &standing.lease, grant, cause)
        })?;
        section.remove()?;
        grants.remove_empty(section);
        return Ok(true);
    }
    let renew_seq = standing.renew_seq.saturating_add(1);
    publish(section, &Record { renew_seq, ..standing.clone() }, true, 0)?;
    Ok(false)
}
