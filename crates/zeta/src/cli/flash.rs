//! `zeta flash`: an image on a stick that was named, with files in its EFI partition.

mod args;
mod progress;

use std::path::Path;

use clap::Args;
use zeta_core::creds::bundle::Bundle;
use zeta_creds::prompt;
use zeta_creds::secret::Secret;
use zeta_creds::verbs::save::seal_new;
use zeta_flash::consent;
use zeta_flash::image::Image;
use zeta_flash::payload::Payload;
use zeta_flash::report::{self, Planning};
use zeta_flash::staged::Staged;
use zeta_flash::target::{Disks, Row};
use zeta_flash::writer::{self, Failed, Took};
use zeta_os::disk::Disk;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::hardening;

use self::args::{PlanArgs, StickArgs, WriteArgs};
use self::progress::Meter;
use super::{Call, Noun, Verb, needs_verb, run_verb};

pub(super) const NOUN: Noun = Noun {
    name: "flash",
    about: "Write an image to a stick that you name, with keys, roles and sealed logins on it",
    build: |noun| needs_verb(noun).after_help(args::EXAMPLES),
    verbs: VERBS,
    run: |call| {
        // The process is closed to others before any secret comes into it.
        hardening::harden();
        run_verb(call, VERBS)
    },
};

const VERBS: &[Verb] = &[
    Verb {
        name: "plan",
        about: "List all disks, each with the reasons against it; nothing is written",
        args: PlanArgs::augment_args,
        run: run_plan,
    },
    Verb {
        name: "write",
        about: "Write an image to the disk that you name, and read it back",
        args: WriteArgs::augment_args,
        run: run_write,
    },
];

fn open_image(call: &Call, path: &Path, stick: &StickArgs) -> Result<Image> {
    let signer = stick.signer().read()?;
    let mut meter = Meter::new(call.out);
    let mut tell = |done, all| meter.show("checking", done, all);
    Image::open(path, stick.expected(), &signer, &mut tell)
}

fn run_plan(call: &Call) -> Result<u8> {
    let args: PlanArgs = call.args()?;
    let payload = Payload::collect(&args.stick.asked())?;
    let image = args.image.as_deref().map(|path| open_image(call, path, &args.stick));
    let image = image.transpose()?;
    let len = image.as_ref().map_or(0, |image| image.len);
    let disks = Disks::look(&args.stick.target(len))?;
    let picked = args.stick.disk.as_deref().map(|name| disks.pick(name)).transpose();
    let apart = |row: Option<&Row>| match image.as_ref().zip(row) {
        Some((image, disk)) => image.is_apart(disk),
        None => Ok(()),
    };
    let row = match picked.and_then(|row| apart(row).map(|()| row)) {
        Ok(row) => row,
        Err(error) => {
            if !call.out.json {
                call.out.data(&report::plan_text(&disks, image.as_ref(), None))?;
            }
            call.out.error(&error, Some(report::plan_json(&disks, image.as_ref(), None)));
            return Ok(error.kind.status());
        }
    };
    let plan = image.as_ref().zip(row).map(|(image, row)| consent::plan(image, row, &payload));
    if let (Some(plan), Some(path)) = (&plan, &args.save) {
        consent::save(plan, path)?;
    }
    let hash = plan.as_ref().map(consent::hash).unwrap_or_default();
    let saved = args.save.as_ref().map(|path| path.display().to_string());
    let planning =
        plan.as_ref().map(|plan| Planning { plan, hash: &hash, saved: saved.as_deref() });
    call.out.either(
        || report::plan_json(&disks, image.as_ref(), planning.as_ref()),
        || report::plan_text(&disks, image.as_ref(), planning.as_ref()),
    )?;
    Ok(0)
}

fn run_write(call: &Call) -> Result<u8> {
    let args: WriteArgs = call.args()?;
    let payload = Payload::collect(&args.stick.asked())?;
    let secret = match &payload.bundle {
        Some(_) => Some(args.passphrase.find(true).map_err(|exit| exit.error)?),
        None => None,
    };
    let image = open_image(call, &args.image, &args.stick)?;
    let staged = stage(&args, image, &payload, secret.as_ref())?;
    match (&args.to_file, &args.stick.disk) {
        (Some(path), _) => to_file(call, path, &staged),
        (None, Some(name)) => to_disk(call, &args, name, &staged, &payload),
        (None, None) => {
            Err(Error::usage("no disk is named: give --disk")
                .hint("see all disks: zeta flash plan"))
        }
    }
}

/// Puts all files into a copy of the image's partition.
fn stage(
    args: &WriteArgs,
    image: Image,
    payload: &Payload,
    secret: Option<&Secret>,
) -> Result<Staged> {
    let seal = |bundle: &Bundle, id: &str| {
        let no_secret = || Error::usage("no passphrase was given");
        let secret = secret.ok_or_else(no_secret)?;
        seal_new(bundle, id, secret, args.creds_format.into()).map_err(|exit| exit.error)
    };
    Staged::make(image, payload, &seal)
}

fn to_file(call: &Call, path: &Path, staged: &Staged) -> Result<u8> {
    let file = Disk::create(path, staged.image.len.next_multiple_of(512))?;
    let written = write(call, staged, &file, path);
    if written.is_err() {
        zeta_flash::target::discard(path);
    }
    ended(call, path, None, staged, written)
}

fn to_disk(
    call: &Call,
    args: &WriteArgs,
    name: &str,
    staged: &Staged,
    payload: &Payload,
) -> Result<u8> {
    let asked = args.stick.target(staged.image.len);
    let seen = Disks::look(&asked)?;
    let row = seen.pick(name)?;
    staged.image.is_apart(row)?;
    let plan = consent::plan(&staged.image, row, payload);
    match (&args.plan, &args.plan_hash) {
        (Some(path), Some(hash)) => consent::check_file(&plan, path, hash)?,
        _ => ask(row, staged)?,
    }
    // A person took a while to answer.
    let now = Disks::look(&asked)?;
    let row = now.pick(name)?;
    if consent::plan(&staged.image, row, payload) != plan {
        let text = format!("{} is another disk now; nothing was written", row.shown());
        return Err(Error::new(Kind::Refused, text));
    }
    let (path, disk) = (row.device.path(), row.open()?);
    let written = write(call, staged, &disk, Path::new(&path));
    ended(call, Path::new(&path), Some(row.names.shown()), staged, written)
}

fn ask(row: &Row, staged: &Staged) -> Result<()> {
    if !prompt::has_terminal() {
        let text = format!("{} is not erased: nobody can be asked here", row.shown());
        return Err(Error::usage(text)
            .hint("make a plan, and give it with its digest: zeta flash plan --save FILE"));
    }
    let typed = prompt::line(&report::question(row, staged))?;
    consent::check_typed(typed.as_deref(), row)
}

fn write(
    call: &Call,
    staged: &Staged,
    disk: &Disk,
    path: &Path,
) -> std::result::Result<Took, Failed> {
    let mut meter = Meter::new(call.out);
    writer::write(staged, disk, path, &mut |phase, progress| meter.of_phase(phase, progress))
}

fn ended(
    call: &Call,
    path: &Path,
    serial: Option<&str>,
    staged: &Staged,
    written: std::result::Result<Took, Failed>,
) -> Result<u8> {
    let target = path.display().to_string();
    match written {
        Ok(took) => {
            let object = || report::written_json(&target, serial, staged, &took);
            call.out.either(object, || report::written_text(&target, staged, &took))?;
            Ok(0)
        }
        Err(Failed { error, half_written }) => {
            call.out.error(&error, Some(report::failed_json(&target, half_written)));
            Ok(error.kind.status())
        }
    }
}
