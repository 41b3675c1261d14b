//! The process that owns everything the rig starts.
//!
//! In: end of standard input means that nobody needs it any longer. Out: on standard output the environment for the
//! command, `NAME=value` a line, then `ready`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};

use anyhow::{Context, Result, anyhow};

use crate::engine::Engine;
use crate::process::{Daemon, timed};
use crate::registry::Registry;
use crate::{Wanted, aws, engine, images, layers, network, packages, place, process, registry};

/// What the rig has started.
#[derive(Default)]
struct Started {
    daemons: Vec<Daemon>,
    /// For the command.
    environment: Vec<(&'static str, String)>,
}

impl Started {
    fn engine(&mut self, engine: Engine) -> String {
        self.daemons.push(engine.daemon);
        engine.address
    }
}

enum Event {
    Started(Result<Started>),
    NobodyNeedsIt,
}

/// Starts everything, tells the environment, and stops everything when standard input ends.
pub(crate) fn keep(wanted: Wanted) -> Result<()> {
    let cache = place::cache()?;
    let slot = Arc::new(place::Slot::claim(&cache)?);
    let installing = Arc::new(Mutex::new(()));
    let (sender, events) = mpsc::channel();
    std::thread::spawn({
        let (sender, slot, installing) =
            (sender.clone(), Arc::clone(&slot), Arc::clone(&installing));
        move || sender.send(Event::Started(start(wanted, &cache, &slot, &installing)))
    });
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        sender.send(Event::NobodyNeedsIt)
    });

    let result = match events.recv().context("both threads are gone")? {
        Event::Started(Ok(Started {
            daemons,
            environment,
        })) => {
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
    let lines: String = environment
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    let mut output = std::io::stdout().lock();
    output.write_all(lines.as_bytes())?;
    output.write_all(b"ready\n")?;
    Ok(output.flush()?)
}

fn start(
    wanted: Wanted,
    cache: &Path,
    slot: &place::Slot,
    installing: &Mutex<()>,
) -> Result<Started> {
    let base = cache.join("registry");
    let (packages, moto) = {
        let file = cache.join("prepare.lock");
        let lock = File::create(&file).with_context(|| format!("creating `{}`", file.display()))?;
        lock.lock()?;
        let packages = packages::prepare(cache, installing)?;
        let moto = wanted
            .aws
            .then(|| aws::prepare(cache, installing))
            .transpose()?;
        images::make(
            &layers::Storage {
                work: &cache.join("layers"),
                root: &base,
            },
            &packages,
        )?;
        registry::copy_storage(&base, &slot.data)?;
        (packages, moto)
    };

    // One that is there already can't be told of new hosts.
    let existing = if wanted.aws {
        None
    } else {
        engine::existing()?
    };
    if existing.is_none() {
        network::make(slot.number)?;
    }
    let registry_address = format!("127.0.0.1:{}", process::free_port()?);
    let variables = wanted.aws.then(|| aws::engine_variables(&slot.data));
    let variables = variables
        .as_ref()
        .map_or(&[][..], |variables| &variables[..]);
    let amazon = |moto: PathBuf| {
        let address = network::address(slot.number);
        let registry = &registry_address;
        timed("start Amazon's side", move || {
            aws::start(slot, &moto, registry, &address)
        })
    };
    let own_engine = || {
        timed("start the Engine", || {
            let bridge = network::bridge(slot.number);
            engine::start("docker", slot, &packages, Some(&bridge), true, variables)
        })
    };
    let classic_engine = || {
        timed("start the classic Engine", || {
            engine::start("classic", slot, &packages, None, false, variables)
        })
    };
    let (engine, classic, aws, registry) = std::thread::scope(|scope| {
        let engine = existing.is_none().then(|| scope.spawn(own_engine));
        let classic = wanted.classic.then(|| scope.spawn(classic_engine));
        let aws = moto.map(|moto| scope.spawn(|| amazon(moto)));
        let registry = timed("start the registry", || {
            registry::start(&packages, &slot.data, &registry_address)
        });
        let [engine, classic] = [engine, classic].map(|thread| thread.map(process::join));
        let aws = aws.map(process::join);
        (
            engine.transpose(),
            classic.transpose(),
            aws.transpose(),
            registry,
        )
    });

    let docker_config = slot.data.join("docker-config");
    fs::create_dir(&docker_config)?;
    let mut started = Started::default();
    let engine_address = match engine? {
        Some(engine) => Some(started.engine(engine)),
        None => existing,
    };
    let classic_address = classic?.map(|engine| started.engine(engine));
    let Registry {
        daemon,
        address,
        access_log,
    } = registry?;
    started.daemons.push(daemon);
    started.environment = [
        ("DOCKER_HOST", engine_address),
        ("RIG_CLASSIC_DOCKER_HOST", classic_address),
        ("DOCKER_CONFIG", Some(docker_config.display().to_string())),
        ("RIG_REGISTRY", Some(address)),
        ("RIG_REGISTRY_LOG", Some(access_log.display().to_string())),
        ("RIG_BUILDX", Some(packages.buildx().display().to_string())),
        ("RIG_DOCKER", Some(packages.docker().display().to_string())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect();
    if let Some(aws) = aws? {
        started.daemons.extend(aws.daemons);
        started.environment.extend(aws.environment);
    }
    Ok(started)
}

/// Stops all at once: each needs its time.
fn stop(daemons: Vec<Daemon>) -> Result<()> {
    std::thread::scope(|scope| {
        let stop = |daemon: Daemon| scope.spawn(|| daemon.stop());
        let threads: Vec<_> = daemons.into_iter().map(stop).collect();
        threads.into_iter().try_for_each(process::join)
    })
}
