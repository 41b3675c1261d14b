//! The process that owns everything the rig starts.
//!
//! In: end of standard input means that nobody needs it any longer. Out: on standard output the environment for the
//! command, `NAME=value` a line, then `ready`.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use anyhow::{Context, Result, anyhow};

use crate::process::{Daemon, timed};
use crate::{engine, images, layers, network, packages, place, registry};

enum Event {
    Started(Result<(Vec<Daemon>, Vec<(&'static str, String)>)>),
    NobodyNeedsIt,
}

/// Starts everything, tells the environment, and stops everything when standard input ends.
pub(crate) fn keep(classic: bool) -> Result<()> {
    let cache = place::cache()?;
    let slot = Arc::new(place::Slot::claim(&cache)?);
    let installing = Arc::new(Mutex::new(()));
    let (sender, events) = mpsc::channel();
    std::thread::spawn({
        let (sender, slot, installing) = (sender.clone(), Arc::clone(&slot), Arc::clone(&installing));
        move || sender.send(Event::Started(start(classic, &cache, &slot, &installing)))
    });
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        sender.send(Event::NobodyNeedsIt)
    });

    let result = match events.recv().context("both threads are gone")? {
        Event::Started(Ok((daemons, environment))) => {
            let told = tell(&environment);
            if told.is_ok() {
                let _ = events.recv();
            }
            timed("stop", || stop(daemons)).and(told)
        }
        Event::Started(Err(error)) => Err(error),
        Event::NobodyNeedsIt => {
            // Everything else may die half-way, but not dpkg.
            let _guard = installing.lock();
            Err(anyhow!("interrupted while starting"))
        }
    };
    slot.sweep();
    result
}

fn tell(environment: &[(&str, String)]) -> Result<()> {
    let lines: String = environment.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    let mut output = std::io::stdout().lock();
    output.write_all(lines.as_bytes())?;
    output.write_all(b"ready\n")?;
    Ok(output.flush()?)
}

fn start(
    classic: bool,
    cache: &Path,
    slot: &place::Slot,
    installing: &Mutex<()>,
) -> Result<(Vec<Daemon>, Vec<(&'static str, String)>)> {
    let base = cache.join("registry");
    let packages = {
        let file = cache.join("prepare.lock");
        let lock = File::create(&file).with_context(|| format!("creating `{}`", file.display()))?;
        lock.lock()?;
        let packages = packages::prepare(cache, installing)?;
        images::make(&layers::Storage { work: &cache.join("layers"), root: &base }, &packages)?;
        registry::copy_storage(&base, &slot.data)?;
        packages
    };

    let own_engine = || {
        timed("start the Engine", || {
            network::make(slot.number)?;
            engine::start("docker", slot, &packages, Some(network::bridge(slot.number)), true)
        })
    };
    let classic_engine =
        || timed("start the classic Engine", || engine::start("classic", slot, &packages, None, false));
    let mut daemons = Vec::new();
    let mut environment = vec![
        ("RIG_BUILDX", packages.buildx().display().to_string()),
        ("RIG_DOCKER", packages.root.join("usr/bin/docker").display().to_string()),
    ];
    let existing = engine::existing()?;
    let (engine, classic, registry) = std::thread::scope(|scope| {
        let engine = existing.is_none().then(|| scope.spawn(own_engine));
        let classic = classic.then(|| scope.spawn(classic_engine));
        let registry = timed("start the registry", || registry::start(&packages, &slot.data));
        let [engine, classic] =
            [engine, classic].map(|thread| thread.map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))));
        (engine, classic, registry)
    });
    if let Some(address) = existing {
        environment.push(("DOCKER_HOST", address));
    }
    for (name, engine) in [("DOCKER_HOST", engine), ("RIG_CLASSIC_DOCKER_HOST", classic)] {
        if let Some(engine) = engine {
            let engine = engine??;
            environment.push((name, engine.address));
            daemons.push(engine.daemon);
        }
    }
    let registry = registry?;
    environment.push(("RIG_REGISTRY", registry.address));
    environment.push(("RIG_REGISTRY_LOG", registry.access_log.display().to_string()));
    daemons.push(registry.daemon);
    Ok((daemons, environment))
}

/// Stops all at once: each needs its time.
fn stop(daemons: Vec<Daemon>) -> Result<()> {
    let threads: Vec<_> = daemons.into_iter().map(|daemon| std::thread::spawn(|| daemon.stop())).collect();
    threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("stopping panicked"))?)
}
