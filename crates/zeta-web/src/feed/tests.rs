//! The feed over a state that the test sets.

use std::sync::mpsc;

use zeta_core::history::Event as Happened;
use zeta_core::overview::{Finding, Urgency};

use super::*;

/// What a test sets, and what became of it.
#[derive(Default)]
struct Set {
    overview: Overview,
    entries: Vec<Entry>,
    opened: usize,
    closed: usize,
}

type Shared = Arc<Mutex<Set>>;

struct HandMade {
    set: Shared,
    changed: mpsc::Receiver<()>,
}

impl Source for HandMade {
    fn read(&mut self) -> (Overview, Vec<Entry>) {
        let mut set = self.set.lock().unwrap();
        (set.overview.clone(), std::mem::take(&mut set.entries))
    }

    fn wait(&mut self, wake: BorrowedFd<'_>) {
        while self.changed.try_recv().is_err() {
            if poll_readable(&[wake], Duration::from_millis(2)).contains(&true) {
                return;
            }
        }
    }
}

impl Drop for HandMade {
    fn drop(&mut self) {
        self.set.lock().unwrap().closed += 1;
    }
}

#[derive(Clone)]
struct Stage {
    feed: Arc<Feed>,
    set: Shared,
    change: Arc<Mutex<mpsc::Sender<()>>>,
}

impl Stage {
    fn new() -> Stage {
        let set = Shared::default();
        let change = Arc::new(Mutex::new(mpsc::channel().0));
        let (for_thread, sender) = (set.clone(), change.clone());
        let open = move || {
            let (send, changed) = mpsc::channel();
            *sender.lock().unwrap() = send;
            for_thread.lock().unwrap().opened += 1;
            HandMade { set: for_thread.clone(), changed }
        };
        Stage { feed: Feed::start(open).unwrap(), set, change }
    }

    fn say(&self, text: &str) {
        let finding = Finding {
            word: "word".to_owned(),
            node: None,
            about: "about".to_owned(),
            text: text.to_owned(),
            hints: Vec::new(),
            urgency: Urgency::Notice,
        };
        self.set.lock().unwrap().overview.findings = vec![finding];
        let _ = self.change.lock().unwrap().send(());
    }

    fn happen(&self, lease: &str) {
        let entry = Entry::new("n", Happened::Acquired, lease, 1);
        self.set.lock().unwrap().entries.push(entry);
        let _ = self.change.lock().unwrap().send(());
    }

    fn counts(&self) -> (usize, usize) {
        let set = self.set.lock().unwrap();
        (set.opened, set.closed)
    }
}

/// Runs a test with a limit.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), test).await.unwrap() })
}

/// The next event, put together.
async fn event(reader: &mut Reader) -> String {
    let mut text = String::new();
    while !text.ends_with("\n\n") {
        let piece = reader.next().await.expect("the stream has ended");
        text.push_str(std::str::from_utf8(&piece).unwrap());
    }
    text
}

async fn until(so: impl Fn() -> bool) {
    while !so() {
        sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn who_keeps_up_gets_changes_and_who_does_not_the_whole() {
    let stage = Stage::new();
    run(async {
        let (mut quick, mut slow) = (stage.feed.reader(), stage.feed.reader());
        for reader in [&mut quick, &mut slow] {
            assert!(event(reader).await.starts_with("id: 1\nevent: overview\ndata: {\"now_us\":"));
        }
        for version in 2..6 {
            stage.say(&format!("v{version}"));
            let next = event(&mut quick).await;
            assert!(next.starts_with(&format!("id: {version}\nevent: changes\n")), "{next}");
            assert!(next.contains(&format!("\"message\":\"v{version}\"")), "{next}");
        }
        let whole = event(&mut slow).await;
        assert!(whole.starts_with("id: 5\nevent: overview\n"), "{whole}");
        assert!(whole.contains("\"message\":\"v5\"") && !whole.contains("v4"), "{whole}");
        stage.say("v6");
        assert!(event(&mut slow).await.starts_with("id: 6\nevent: changes\n"));
    });
}

#[test]
fn what_stays_the_same_is_no_event_and_what_comes_fast_is_one() {
    let stage = Stage::new();
    run(async {
        let mut reader = stage.feed.reader();
        event(&mut reader).await;
        stage.say("same");
        event(&mut reader).await;
        // Woken, and nothing is new.
        stage.say("same");
        sleep(Duration::from_millis(250)).await;
        let started = Instant::now();
        let fast = stage.clone();
        let writer = thread::spawn(move || {
            for number in 0..30 {
                fast.say(&format!("fast {number}"));
                thread::sleep(Duration::from_millis(10));
            }
        });
        let mut ids = Vec::new();
        loop {
            let next = event(&mut reader).await;
            ids.push(next.lines().next().unwrap().to_owned());
            if next.contains("fast 29") {
                break;
            }
        }
        writer.join().unwrap();
        assert_eq!(ids[0], "id: 3", "{ids:?}");
        let most = usize::try_from(started.elapsed().as_millis() / 100 + 2).unwrap();
        assert!(ids.len() <= most, "{ids:?} in {:?}", started.elapsed());
    });
}

#[test]
fn the_history_comes_with_the_changes_and_is_bounded() {
    let stage = Stage::new();
    stage.happen("early");
    run(async {
        let mut reader = stage.feed.reader();
        let whole = event(&mut reader).await;
        assert!(whole.contains("\"history\":[{") && whole.contains("early"), "{whole}");
        stage.happen("late");
        let changes = event(&mut reader).await;
        assert!(changes.contains("\"history\":[{") && changes.contains("late"), "{changes}");
        assert!(!changes.contains("early"), "{changes}");
        let many = (0..HISTORY_MAX).map(|_| Entry::new("n", Happened::Released, "many", 2));
        stage.set.lock().unwrap().entries.extend(many);
        stage.happen("last");
        event(&mut reader).await;
        let whole = stage.feed.reader().whole().await.unwrap();
        let whole = String::from_utf8(whole).unwrap();
        assert!(whole.starts_with("{\"now_us\":") && whole.ends_with("]}"));
        assert!(whole.contains("last") && !whole.contains("late"));
        assert_eq!(whole.matches("\"event\":").count(), HISTORY_MAX);
    });
}

#[test]
fn the_state_is_open_only_while_a_page_is() {
    let stage = Stage::new();
    run(async {
        sleep(Duration::from_millis(50)).await;
        assert_eq!(stage.counts(), (0, 0), "no page is open");
        let mut one = stage.feed.reader();
        event(&mut one).await;
        let mut two = stage.feed.reader();
        assert!(event(&mut two).await.contains("event: overview"));
        drop(one);
        stage.say("still");
        assert!(event(&mut two).await.contains("still"));
        assert_eq!(stage.counts(), (1, 0));
        drop(two);
        until(|| stage.counts() == (1, 1)).await;
        stage.say("while no page was open");
        let mut three = stage.feed.reader();
        assert!(event(&mut three).await.contains("while no page was open"));
        assert_eq!(stage.counts(), (2, 1));
    });
}

#[test]
fn pages_that_come_and_go_at_any_moment_get_what_is_there() {
    let stage = Stage::new();
    run(async {
        for round in 0..60 {
            let mut reader = stage.feed.reader();
            if round % 3 == 0 {
                drop(reader);
                continue;
            }
            // The thread may have read it just before; then the change follows.
            stage.say(&format!("round {round}"));
            while !event(&mut reader).await.contains(&format!("\"round {round}\"")) {}
            if round % 3 == 1 {
                drop(reader);
                until(|| stage.counts().0 == stage.counts().1).await;
            }
        }
    });
}

#[test]
fn the_end_ends_all_streams_and_the_thread() {
    let stage = Stage::new();
    run(async {
        let (mut one, two) = (stage.feed.reader(), stage.feed.reader());
        event(&mut one).await;
        stage.feed.end();
        assert!(one.next().await.is_none());
        assert!(two.whole().await.is_none());
        until(|| stage.counts() == (1, 1)).await;
        assert!(stage.feed.reader().next().await.is_none());
    });
}
