//! The phases against a stopwatch that knows nothing of BuildKit's progress.
//!
//! By hand: the steps themselves say when they begin and end, the registry's access log tells what it got, read as it grows, and start and
//! end are those of the process. One clock for all: `/proc/uptime`, which containers share (hundredths of a second).

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::rig::{Action, busybox, registry, variable};

/// Seconds since the machine started.
fn now() -> f64 {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// The lines that the registry's access log gets, each with the time it was seen.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<(f64, String)>>,
}

impl Watch {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&stop);
        let path = variable("RIG_REGISTRY_LOG");
        let mut read = fs::read(&path).unwrap().len();
        let thread = thread::spawn(move || {
            let mut seen = Vec::new();
            loop {
                let last = ends.load(Ordering::Relaxed);
                let text = fs::read(&path).unwrap();
                let new = text.get(read..).unwrap_or_default();
                // The last line may not be whole yet.
                let whole = new
                    .iter()
                    .rposition(|byte| *byte == b'\n')
                    .map_or(0, |at| at + 1);
                let at = now();
                let lines = String::from_utf8_lossy(new.get(..whole).unwrap()).into_owned();
                seen.extend(lines.lines().map(|line| (at, line.to_owned())));
                read += whole;
                if last {
                    return seen;
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        Self { stop, thread }
    }

    fn stop(self) -> Vec<(f64, String)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// A step that says when it begins and when it ends.
fn timed(command: &str) -> String {
    let clock = "$(cut -d' ' -f1 /proc/uptime)";
    format!("RUN echo begins {clock}; {command}; echo ends {clock}\n")
}

/// The times that steps said, as `begins` or `ends`.
fn said(log: &str, word: &str) -> Vec<f64> {
    let time = |line: &str| {
        let mut words = line.split_whitespace().skip_while(|other| *other != word);
        words.nth(1)?.parse().ok()
    };
    log.lines().filter_map(time).collect()
}

#[test]
fn phases_of_a_build_with_cache_export_are_those_of_a_stopwatch() {
    let dockerfile = format!(
        "FROM {base} AS tools\n{}FROM {base}\nCOPY --from=tools /small /\n{}",
        timed("head -c 60000000 /dev/urandom > /big; echo stopwatch > /small"),
        timed("sleep 1; head -c 120000000 /dev/urandom > /data"),
        base = busybox(),
    );
    let cache = format!(
        "type=registry,ref={}/stopwatch/cache:1,mode=max,image-manifest=true,oci-mediatypes=true",
        registry()
    );
    let action = Action::new(&dockerfile)
        .input("tags", &format!("{}/stopwatch/app:1", registry()))
        .input("cache-to", &cache);
    let watch = Watch::start();
    let started = now();
    let run = action.run().succeeded();
    let ended = now();
    let requests = watch.stop();

    let at = |method: &str, path: &str| {
        let words = format!("\"{method} /v2/stopwatch/{path}");
        let mut of = requests
            .iter()
            .filter(|(_, line)| line.contains(&words))
            .map(|(at, _)| *at);
        let first = of
            .next()
            .unwrap_or_else(|| panic!("no {words} in {requests:?}"));
        (first, of.last().unwrap_or(first))
    };
    let (begins, ends) = (said(&run.log(), "begins"), said(&run.log(), "ends"));
    assert_eq!((begins.len(), ends.len()), (2, 2), "{}", run.log());
    let push_begins = at("POST", "app/blobs/uploads/").0;
    let push_ends = at("PUT", "app/manifests/").1;
    let cache_ends = at("PUT", "cache/manifests/").1;
    let last_step = ends.iter().copied().fold(0.0, f64::max);
    let steps = ends.iter().sum::<f64>() - begins.iter().sum::<f64>();
    // How much longer it may be in our outputs (seconds), on a machine that others use, too: what two containers take to start and to end,
    // and a `COPY`, are no time of the steps by hand; the rest is what a request takes to be seen.
    let by_hand = [
        ("build", steps, 1.5),
        ("export", push_begins - last_step, 0.3),
        ("push", push_ends - push_begins, 0.3),
        ("cache-export", cache_ends - push_ends, 0.3),
    ];
    // The step's container is no part of the action's own time.
    let total = run.number("total-seconds");
    let (least, most) = (cache_ends - begins[0], ended - started);
    assert!(
        (least..most).contains(&total),
        "{least} to {most} s: {total}"
    );
    println!("| phase | by hand | the action |\n| :-- | --: | --: |");
    let mut off = Vec::new();
    for (name, expected, more) in by_hand {
        let found = run.number(&format!("{name}-seconds"));
        println!("| {name} | {expected:.2} s | {found:.2} s |");
        let least = expected - 0.4 - expected * 0.1;
        let most = expected + more + expected * 0.1;
        if !(least..most).contains(&found) {
            off.push(name);
        }
    }
    assert_eq!(off, [""; 0], "{by_hand:?}");
}
