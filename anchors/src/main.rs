//! Clients of NATS and etcd as a Rust program would use them: zeta is measured beside what they do.
//!
//! `nats once`; and `cycles` of `nats`, `nats-new` (a new name each time) and `etcd`: each line of
//! stdin says how many times to take a lock and give it back, and the answer is the median in ns.
//! `nats watch N` prints p50 and p99 of the way from before a put of `nats puts N` to the watcher.

use std::error::Error;
use std::io::BufRead;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, kv::Store, stream};
use etcd_client::{Client, Compare, CompareOp, Txn, TxnOp};
use futures_util::StreamExt;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["nats", "make", url, storage] => make(url, storage).await,
        ["nats", "once", url] => {
            let store = store(url).await?;
            take_and_give(&store, "once").await
        }
        ["nats", "cycles", url] => nats_cycles(&store(url).await?, false).await,
        ["nats-new", "cycles", url] => nats_cycles(&store(url).await?, true).await,
        ["nats", "watch", url, count] => watch(&store(url).await?, count.parse()?).await,
        ["nats", "puts", url, count] => puts(&store(url).await?, count.parse()?).await,
        ["etcd", "cycles", url] => etcd_cycles(url).await,
        _ => Err("nats make|once|cycles|watch|puts, etcd cycles".into()),
    }
}

/// A bucket is a stream. `create_key_value` of this client fails against a server of 2.9, whose
/// account information it cannot read.
async fn make(url: &str, storage: &str) -> Outcome<()> {
    let jetstream = jetstream::new(async_nats::connect(url).await?);
    let config = stream::Config {
        name: "KV_bench".to_owned(),
        subjects: vec!["$KV.bench.>".to_owned()],
        max_messages_per_subject: 1,
        discard: stream::DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        storage: match storage {
            "memory" => stream::StorageType::Memory,
            _ => stream::StorageType::File,
        },
        ..stream::Config::default()
    };
    jetstream.create_stream(config).await?;
    Ok(())
}

async fn store(url: &str) -> Outcome<Store> {
    let jetstream = jetstream::new(async_nats::connect(url).await?);
    Ok(jetstream.get_key_value("bench").await?)
}

/// A lock has one name, so its key was deleted before: that costs `create` two more round trips.
async fn take_and_give(store: &Store, key: &str) -> Outcome<()> {
    let revision = store.create(key, "me".into()).await?;
    store.delete_expect_revision(key, Some(revision)).await?;
    Ok(())
}

fn median(times: &mut [u128]) -> u128 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

async fn nats_cycles(store: &Store, new_names: bool) -> Outcome<()> {
    for line in std::io::stdin().lock().lines() {
        let mut times = Vec::new();
        for _ in 0..line?.parse::<usize>()? {
            let start = Instant::now();
            match new_names {
                true => take_and_give(store, &format!("lock-{}", now_ns())).await?,
                false => take_and_give(store, "lock").await?,
            }
            times.push(start.elapsed().as_nanos());
        }
        println!("{}", median(&mut times));
    }
    Ok(())
}

async fn etcd_cycles(url: &str) -> Outcome<()> {
    let mut client = Client::connect([url], None).await?;
    for line in std::io::stdin().lock().lines() {
        let mut times = Vec::new();
        for _ in 0..line?.parse::<usize>()? {
            let start = Instant::now();
            let absent = Compare::create_revision("lock", CompareOp::Equal, 0);
            let put = TxnOp::put("lock", "me", None);
            let taken = client.txn(Txn::new().when([absent]).and_then([put])).await?;
            let mine = Compare::value("lock", CompareOp::Equal, "me");
            let delete = TxnOp::delete("lock", None);
            let given = client.txn(Txn::new().when([mine]).and_then([delete])).await?;
            if !taken.succeeded() || !given.succeeded() {
                return Err("somebody else was there".into());
            }
            times.push(start.elapsed().as_nanos());
        }
        println!("{}", median(&mut times));
    }
    Ok(())
}

/// CLOCK_MONOTONIC, which all processes of a machine share.
fn now_ns() -> u128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() as u128 * 1_000_000_000 + now.tv_nsec.unsigned_abs() as u128
}

async fn watch(store: &Store, count: usize) -> Outcome<()> {
    let mut changes = store.watch("stamp").await?;
    println!("ready");
    let mut times = Vec::new();
    while times.len() < count {
        let change = changes.next().await.ok_or("the watch ended")??;
        let now_ns = now_ns();
        times.push(now_ns - std::str::from_utf8(&change.value)?.parse::<u128>()?);
    }
    let half = median(&mut times);
    let most = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    println!("{half} {most}");
    Ok(())
}

async fn puts(store: &Store, count: usize) -> Outcome<()> {
    for at in 0..count {
        // Gaps of 0.5 to 1.5 ms, so that nothing falls into step.
        tokio::time::sleep(Duration::from_micros(500 + (at as u64 * 7919) % 1000)).await;
        store.put("stamp", now_ns().to_string().into()).await?;
    }
    Ok(())
}
