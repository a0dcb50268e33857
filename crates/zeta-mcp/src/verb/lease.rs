//! `acquire` and `release`.

use std::time::{Duration, Instant};

use zeta_core::bus::item::{is_claim_lease, space_of};
use zeta_core::cluster::lease::TTL_DEFAULT_MS;
use zeta_core::lease::joint::Joint;
use zeta_core::lease::{AcquireRequest, Cause, Record};
use zeta_core::mcp::{Known, Step, Untaken, decide_turn, decide_untaken};
use zeta_core::name::RecordName;
use zeta_core::time::parse_ttl;
use zeta_os::error::{Cause as ErrorCause, Error, Kind, Result};
use zeta_state::lease::acquire::{Outcome, WaitOptions, new_request};
use zeta_state::lease::cluster::{deadline_of, ttl_ms_of};
use zeta_state::lease::report;

use super::caller;
use crate::answer::Answer;
use crate::holding::Key;
use crate::tool::Args;
use crate::waiting::{Caller, KEPT, Waiting, held};
use crate::worker::Worker;

/// What an agent can do about a lease that another one has.
const HELD_NEXT: &str = "do other work meanwhile, or call acquire with wait_s 45 to wait in the \
                         line, or send the holder a message";
/// In how many lines an agent may wait at once: each is kept by a thread.
const PLACES_MAX: usize = 16;
/// What an agent can do that waits.
const WAITING_NEXT: &str = "call acquire with the same name to go on waiting: your place is kept \
                            for 10 minutes, and you are told if you get it meanwhile";

/// Reads the name of a lease.
pub fn lease_name(name: &str) -> Result<RecordName> {
    let lease = RecordName::new("lease", name).map_err(|error| {
        Error::from(error).hint("an item of work may have any name: call claim with item")
    })?;
    if is_claim_lease(name) || space_of(name).is_some() {
        return Err(Error::usage(format!("lease {lease} is that of a claim"))
            .hint("call claim and unclaim, with the item or the paths"));
    }
    Ok(lease)
}

/// Acquires a lease for a call, now or when its turn comes.
pub fn acquire(worker: &mut Worker, args: &Args, mut call: Caller) {
    let wait_s = args.number("wait_s").filter(|_| !worker.is_closed);
    let wait = Duration::from_secs(wait_s.unwrap_or(0));
    call.until = Instant::now() + wait;
    match begin(worker, args, wait) {
        Ok(Begun::Answered(answer)) => worker.reply(call, answer),
        Ok(Begun::Waits(lease)) => {
            if let Some((_, waiting)) = worker.waiting.get_mut(&lease) {
                waiting.callers.push(call);
            }
        }
        Err(error) => worker.reply(call, Answer::fault(&error)),
    }
}

enum Begun {
    Answered(Answer),
    Waits(RecordName),
}

fn begin(worker: &mut Worker, args: &Args, wait: Duration) -> Result<Begun> {
    let ctx = caller(worker)?;
    let lease = lease_name(args.text("name").unwrap_or_default())?;
    let at = ctx.open()?;
    let number = ctx.session.as_deref().unwrap_or_default();
    let notices = worker.holdings.read(&at, number, false);
    worker.notices.extend(notices);
    let in_cluster = args.in_cluster(worker.setting.leases_in_cluster);
    let of_node = || {
        Error::usage(format!("lease {lease} of this machine alone is yours, or you wait for it"))
            .hint("call release first, then acquire it in the cluster")
    };
    if let Some(record) = worker.holdings.find(lease.as_str()) {
        // One of the cluster holds on this machine, too.
        return match in_cluster && deadline_of(record).is_none() {
            true => Err(of_node()),
            false => Ok(Begun::Answered(mine(record))),
        };
    }
    if let Some((_, waiting)) = worker.waiting.get(&lease) {
        return match in_cluster && !waiting.in_cluster {
            true => Err(of_node()),
            false => Ok(Begun::Waits(lease)),
        };
    }
    let request = request(worker, args, &lease)?;
    if wait.is_zero() {
        let mut once = WaitOptions { limit_ms: None, on_wait: &mut |_, _| {} };
        let acquired = at.acquire(&request, &mut once, &mut |_| Ok(()));
        return Ok(Begun::Answered(match acquired {
            Ok(Outcome::Granted { record, cause, from }) => {
                let answer = granted(&record, cause, from.as_deref());
                let key = (record.lease.clone(), record.fencing_token);
                worker.holdings.keep(record);
                worker.holdings.mark_own(&key);
                answer
            }
            Ok(Outcome::Refused(refusal)) => {
                Answer::refusal("held", &held(&ctx, &lease, &refusal), HELD_NEXT)
                    .with("lease", lease.as_str())
            }
            Err(error) => unknown(&error, "acquire", &request.lease_id)
                .ok_or(error)?
                .with("lease", lease.as_str()),
        }));
    }
    if worker.waiting.len() >= PLACES_MAX {
        let text = format!("you wait for {PLACES_MAX} leases already");
        return Err(Error::new(Kind::Busy, text)
            .hint("call release with the name of one that you do not need to wait for"));
    }
    let id = request.lease_id.clone();
    let waiting = Waiting::start(&ctx, request, worker.jobs.clone())?;
    worker.waiting.insert(lease.clone(), (id, waiting));
    Ok(Begun::Waits(lease))
}

fn request(worker: &Worker, args: &Args, lease: &RecordName) -> Result<AcquireRequest> {
    let ctx = caller(worker)?;
    let in_cluster = args.in_cluster(worker.setting.leases_in_cluster);
    let (default_ms, read): (u64, fn(&str) -> Result<u64>) = match in_cluster {
        true => (TTL_DEFAULT_MS, ttl_ms_of),
        false => (worker.setting.ttl_ms, |text| Ok(parse_ttl(text)?)),
    };
    let ttl_ms = args.text("ttl").map(read).transpose()?.unwrap_or(default_ms);
    let mut request = new_request(&ctx, lease.clone(), ttl_ms)?;
    request.purpose = args.text("purpose").map(str::to_owned);
    let slots = args.number("slots").and_then(|slots| u32::try_from(slots).ok());
    request.joint = slots.map(Joint::Slots);
    request.in_cluster = in_cluster;
    if in_cluster && request.joint.is_some() {
        return Err(Error::usage("a lease of the cluster has one holder, and no slots")
            .hint("for slots on this machine: scope node"));
    }
    if let Some(id) = args.text("lease_id") {
        id.clone_into(&mut request.lease_id);
    }
    Ok(request)
}

/// Makes the answer to a call of which it is not known whether the cluster granted it, with the id
/// to repeat it; `None` for each other error.
pub fn unknown(error: &Error, tool: &str, lease_id: &str) -> Option<Answer> {
    if error.cause != ErrorCause::UnknownGrant {
        return None;
    }
    let next = format!(
        "call {tool} again with the same arguments and lease_id {lease_id}: you get the same \
         grant, or learn who has it"
    );
    Some(Answer::refusal("unknown", error, &next).with("lease_id", lease_id))
}

fn granted(record: &Record, cause: Option<Cause>, from: Option<&Record>) -> Answer {
    let text = format!(
        "{}. Its fencing token is {}. Call release when you are done.",
        report::granted(record, cause, from),
        record.fencing_token
    );
    let answer = Answer::new("granted", text)
        .with("lease", record.lease.as_str())
        .with("fencing_token", record.fencing_token.get());
    of_grant(answer, record, true)
}

/// An answer by which a grant is the caller's.
fn of_grant(mut answer: Answer, record: &Record, is_new: bool) -> Answer {
    answer.gives.grant = Some(((record.lease.clone(), record.fencing_token), is_new));
    answer
}

fn mine(record: &Record) -> Answer {
    let (lease, token) = (&record.lease, record.fencing_token);
    let text = format!("lease {lease} is yours already, with token {token}.");
    let answer = Answer::new("mine", text).with("lease", lease.as_str());
    of_grant(answer.with("fencing_token", token.get()), record, false)
}

/// Does with a lease that came in its turn what is decided: the calls that wait for it get it,
/// whichever attempt it came to.
pub fn granted_in_turn(worker: &mut Worker, record: &Record, is_wanted: bool) {
    let key = (record.lease.clone(), record.fencing_token);
    if !is_held(worker, &key) {
        // A call released it before this news came, or the session has ended. Another attempt may
        // wait for it again.
        let _ = release_now(worker, &key);
        if is_wanted {
            let text = format!("lease {} was yours, and is not any more", key.0);
            worker.fail_place(&key.0, &Error::new(Kind::Lost, text));
        }
        return;
    }
    let waiting = worker.waiting.remove(&record.lease);
    let callers = waiting.map(|(_, mut waiting)| std::mem::take(&mut waiting.callers));
    let answer = granted(record, None, None);
    worker.holdings.mark_own(&key);
    match decide_turn(callers.as_ref().map(Vec::len), known(worker, &key)) {
        Step::Answer => {
            for caller in callers.into_iter().flatten() {
                worker.reply(caller, answer.clone());
            }
        }
        step => carry_out(worker, &key, step),
    }
}

/// Reads whether the session holds a grant.
fn is_held(worker: &mut Worker, key: &Key) -> bool {
    let Some(agent) = &worker.agent else { return false };
    let Ok(Some(at)) = agent.ctx.find() else { return false };
    let notices = worker.holdings.read(&at, agent.number(), false);
    worker.notices.extend(notices);
    worker.holdings.has(key)
}

/// Does with a grant what is decided after an answer that gave it was not taken.
pub fn grant_untaken(worker: &mut Worker, key: &Key, is_new: bool, was_written: bool) {
    let is_own = worker.holdings.uncount_answer(key);
    let grant = Untaken { is_own, is_new, was_written, known: known(worker, key) };
    carry_out(worker, key, decide_untaken(grant));
}

fn known(worker: &Worker, key: &Key) -> Known {
    match worker.holdings.known(key) {
        Known::Nothing if worker.notices.given.lists(key) => Known::Listed,
        known => known,
    }
}

fn carry_out(worker: &mut Worker, key: &Key, step: Step) {
    match step {
        Step::Answer | Step::Keep => {}
        Step::Say => {
            let text = format!("lease {} is yours now, and stays so until you release it.", key.0);
            worker.notices.push_turn(&key.0, text);
        }
        Step::GiveBack if release_now(worker, key) => {}
        Step::Announce | Step::GiveBack => {
            worker.holdings.mark_unasked(key, Worker::unasked_until());
            let text = format!(
                "lease {} is yours now, and no call waits for it: call acquire within a minute to \
                 keep it, or release it.",
                key.0
            );
            worker.notices.push_turn(&key.0, text);
        }
    }
}

fn release_now(worker: &mut Worker, key: &Key) -> bool {
    let Some(agent) = &worker.agent else { return false };
    let is_released = matches!(agent.ctx.find(), Ok(Some(at)) if at.release(&key.0, key.1).is_ok());
    if is_released {
        worker.holdings.forget(key);
    }
    is_released
}

/// Gives back leases that no call asked for: those whose minute is over, or all.
pub fn give_back_unasked(worker: &mut Worker, over_at: Option<Instant>) {
    for key in worker.holdings.unasked(over_at) {
        if release_now(worker, &key) {
            let text = format!(
                "lease {} was yours for a minute, and is released: no call asked for it.",
                key.0
            );
            worker.notices.push_turn(&key.0, text);
        } else {
            worker.holdings.mark_unasked(&key, Worker::unasked_until());
        }
    }
}

/// Answers the calls that have waited as long as they asked, and gives up places that no call asked
/// for.
pub fn answer_late_calls(worker: &mut Worker, now: Instant) {
    let mut late: Vec<(Caller, Answer)> = Vec::new();
    for (lease, (_, waiting)) in &mut worker.waiting {
        let (over, rest) = std::mem::take(&mut waiting.callers).into_iter().partition(|caller| {
            let caller: &Caller = caller;
            caller.until <= now
        });
        waiting.callers = rest;
        let over: Vec<Caller> = over;
        if !over.is_empty() {
            waiting.asked = now;
        }
        late.extend(over.into_iter().map(|caller| (caller, waits(lease, waiting))));
    }
    let is_over = |waiting: &Waiting| waiting.callers.is_empty() && waiting.asked + KEPT <= now;
    worker.waiting.retain(|lease, (_, waiting)| {
        let over = is_over(waiting);
        if over {
            let text = format!("your place in the line for lease {lease} is given up.");
            worker.notices.push_turn(lease, text);
        }
        !over
    });
    for (caller, answer) in late {
        worker.reply(caller, answer);
    }
}

fn waits(lease: &RecordName, waiting: &Waiting) -> Answer {
    let held = waiting.held.as_ref().map_or_else(
        || format!("lease {lease} is not yours yet"),
        |held| zeta_core::record::printable(&held.text).into_owned(),
    );
    let text = format!("Waiting: {held}; {} ahead of you.\nNext: {WAITING_NEXT}", waiting.ahead);
    Answer::new("waiting", text).with("lease", lease.as_str()).with("ahead", waiting.ahead)
}

/// Releases a lease, or leaves its line.
pub fn release(worker: &mut Worker, args: &Args) -> Result<Answer> {
    let ctx = caller(worker)?;
    let lease = lease_name(args.text("name").unwrap_or_default())?;
    let left = leave_line(worker, &lease);
    worker.notices.drop_turn(&lease);
    let Some(at) = ctx.find()? else { return Ok(left.unwrap_or_else(|| not_held(&lease))) };
    let number = ctx.session.as_deref().unwrap_or_default();
    let notices = worker.holdings.read(&at, number, false);
    worker.notices.extend(notices);
    let Some(record) = worker.holdings.find(lease.as_str()).cloned() else {
        return Ok(left.unwrap_or_else(|| not_held(&lease)));
    };
    match at.release(&lease, record.fencing_token)? {
        Ok(stood) => {
            worker.holdings.forget(&(lease.clone(), record.fencing_token));
            let outcome = if stood { "released" } else { "already_released" };
            Ok(Answer::new(outcome, format!("lease {lease} is released."))
                .with("lease", lease.as_str())
                .with("fencing_token", record.fencing_token.get()))
        }
        Err(lost) => {
            let error = report::lost(&lost, &ctx);
            Ok(Answer::refusal("lost", &error, "stop that work").with("lease", lease.as_str()))
        }
    }
}

/// Answers the calls that wait for a lease, and returns that answer; `None` if it has no place in
/// the line.
fn leave_line(worker: &mut Worker, lease: &RecordName) -> Option<Answer> {
    let (_, mut waiting) = worker.waiting.remove(lease)?;
    let text = format!("You do not wait for lease {lease} any more.");
    let answer = Answer::new("released", text).with("lease", lease.as_str());
    for caller in std::mem::take(&mut waiting.callers) {
        worker.reply(caller, answer.clone());
    }
    Some(answer)
}

fn not_held(lease: &RecordName) -> Answer {
    let error = Error::new(
        zeta_os::error::Kind::NotFound,
        format!("you do not hold lease {lease}: there is nothing to release"),
    );
    Answer::refusal("free", &error, "check shows who has it").with("lease", lease.as_str())
}
