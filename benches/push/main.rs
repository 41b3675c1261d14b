//! What a push takes with BuildKit and with the push engine: `make bench`.
//!
//! One image, of Python with CUDA wheels: one new layer of 4.2 GB in 47,000 files. It is built first and then pushed by runs of the
//! action, so that nothing but export and push is in their time. All methods push in one run of this program, to the rig's
//! registry and through a front that is as slow as Amazon ECR (front.rs). Then, on the same builder, a change of code only, and all
//! packages installed once more with one small one upgraded. Then a small image that is built and pushed. At last the Engine pulls
//! the results through the front, three layers at a time as containerd does.
//!
//! `BENCH_PUSH_MB` makes a smaller image; the targets are for the whole one. `BENCH_PUSH_PARTS` names what to do of `push`,
//! `front`, `code`, `package`, `pull` and `small`; the parts after `push` need it, but for `small`. `BENCH_PUSH_LOG` shows the runs' logs.
//! Prints tables, and exits with 1 when a target is missed. Needs 15 GB of disk.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a benchmark starts processes, reads the rig's variables and prints"
)]

mod action;
mod front;
mod observer;
mod storage;
mod tree;

use std::process::ExitCode;

use action::{Run, Workspace, program, variable};

/// Where the packages go.
const PACKAGES: &str = "/usr/local/lib/python3.11/dist-packages";

/// Size of the small image (MB).
const SMALL: u32 = 30;

/// Runs of what is short.
const ROUNDS: usize = 3;

/// What the engine may take more than BuildKit where there is little to do (seconds).
const SLACK: f64 = 0.3;

/// A way to push: its name, repository and inputs.
type Method = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const ENGINE: Method = (
    "push engine",
    "engine",
    &[("accelerate", "on"), ("compression", "zstd")],
);
const GZIP: Method = (
    "BuildKit, gzip",
    "gzip",
    &[("accelerate", "off"), ("compression", "gzip")],
);
/// BuildKit's default level.
const ZSTD: Method = (
    "BuildKit, zstd",
    "zstd",
    &[
        ("accelerate", "off"),
        ("compression", "zstd"),
        ("compression-level", "3"),
    ],
);

/// The registry, and the same through the front.
struct Registries {
    direct: String,
    front: String,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, root, megabytes, seed, rest @ ..] = arguments.as_slice()
        && word == "generate"
    {
        let [megabytes, seed] = [megabytes, seed].map(|number| number.parse().unwrap());
        tree::generate(root.as_ref(), megabytes, u64::from(seed), !rest.is_empty());
        return ExitCode::SUCCESS;
    }
    let megabytes = std::env::var("BENCH_PUSH_MB").map_or(tree::WHOLE, |number| {
        number.parse().expect("BENCH_PUSH_MB is a number")
    });
    let direct = variable("RIG_REGISTRY");
    let registries = Registries {
        front: front::start(&direct),
        direct,
    };
    let mut bench = Bench {
        registries,
        parts: std::env::var("BENCH_PUSH_PARTS").ok(),
        missed: Vec::new(),
    };
    if bench.does("push") {
        bench.large(megabytes);
    }
    if bench.does("small") {
        bench.small();
    }
    if bench.missed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nmissed: {}", bench.missed.join(", "));
    ExitCode::from(u8::from(megabytes == tree::WHOLE))
}

struct Bench {
    registries: Registries,
    parts: Option<String>,
    missed: Vec<String>,
}

/// What to add to a push of what was pushed before (seconds). BuildKit keeps what it has exported, and pushes when the export is done: its
/// first export counts, too. The engine packs again for another repository, while it pushes.
fn exported_before(before: &Run, now: &Run) -> f64 {
    let is_by_buildkit = now.sent.is_none();
    if is_by_buildkit {
        before.export - now.export
    } else {
        0.0
    }
}

/// What one method took for the large image.
#[derive(Default)]
struct Large {
    direct: Run,
    again: Option<Run>,
    front: Option<Run>,
    code: Option<f64>,
    pull: Option<f64>,
    package: Option<Package>,
}

/// The same after one package was upgraded.
struct Package {
    direct: Run,
    front: Option<Run>,
    /// Of new layers.
    bytes: u64,
    /// By an Engine that has the image before.
    pull: Option<f64>,
}

impl Bench {
    fn does(&self, part: &str) -> bool {
        let parts = self.parts.as_deref();
        parts.is_none_or(|parts| parts.split(',').any(|one| one == part))
    }

    /// The large image by all methods.
    fn large(&mut self, megabytes: u32) {
        let first = Workspace::new();
        // The engine leaves nothing in BuildKit that gzip could make use of. zstd would find the layer compressed by gzip, so it
        // has a build of its own.
        self.build(&first, megabytes, 1, false);
        let mut engine = self.push(&first, ENGINE);
        engine.again = Some(first.run(&self.inputs(&self.registries.direct, ENGINE)));
        let mut gzip = self.push(&first, GZIP);
        if self.does("code") {
            let [one, other] = self.code(&first, [ENGINE, GZIP]);
            (engine.code, gzip.code) = (Some(one), Some(other));
        }
        if self.does("package") {
            self.build(&first, megabytes, 1, true);
            engine.package = Some(self.package(&first, ENGINE));
            gzip.package = Some(self.package(&first, GZIP));
        }
        forget();
        let second = Workspace::new();
        self.build(&second, megabytes, 2, false);
        let mut zstd = self.push(&second, ZSTD);
        if self.does("code") {
            let [one] = self.code(&second, [ZSTD]);
            zstd.code = Some(one);
        }
        if self.does("package") {
            self.build(&second, megabytes, 2, true);
            zstd.package = Some(self.package(&second, ZSTD));
        }
        forget();
        if self.does("front") && self.does("pull") {
            for (large, method) in [(&mut engine, ENGINE), (&mut gzip, GZIP), (&mut zstd, ZSTD)] {
                let mut images = vec![large.package.as_ref().map_or("1", |_| "before")];
                images.extend(large.package.as_ref().map(|_| "1"));
                let seconds = self.pull(method, &images);
                large.pull = seconds.first().copied();
                if let Some(package) = &mut large.package {
                    package.pull = seconds.get(1).copied();
                }
            }
        }
        self.tell(megabytes, &engine, &gzip, &zstd);
    }

    /// Builds, and pushes nothing.
    fn build(&self, workspace: &Workspace, megabytes: u32, seed: u32, is_upgraded: bool) {
        let base = format!("{}/rig/python:3.11", self.registries.direct);
        workspace.write("app.py", "print('one')\n");
        workspace.write(
            "Dockerfile",
            &dockerfile(&base, megabytes, seed, is_upgraded),
        );
        let seconds = program(
            &variable("RIG_BUILDX"),
            &[
                "build",
                "--builder=default",
                "--provenance=false",
                "--output=type=cacheonly",
                &workspace.context(),
            ],
        );
        eprintln!("an image of {megabytes} MB: built in {seconds:.1} s");
        // Else the disk is still busy with the build while the first push is timed.
        program("sync", &[]);
    }

    /// Names and values of inputs for a push.
    fn inputs(&self, host: &str, (_, repository, inputs): Method) -> Vec<(&'static str, String)> {
        let kind = if host == self.registries.front {
            "front"
        } else {
            "direct"
        };
        let inputs = inputs
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let tags = ("tags", format!("{host}/push/{kind}-{repository}:1"));
        inputs.chain([tags]).collect()
    }

    /// Pushes to a repository that has the base image's layers, as one that is in use does.
    fn push(&self, workspace: &Workspace, method: Method) -> Large {
        let (name, repository, _) = method;
        let Registries { direct, front } = &self.registries;
        storage::mount(
            direct,
            "rig/python",
            "3.11",
            &format!("push/direct-{repository}"),
        );
        let mut large = Large {
            direct: workspace.run(&self.inputs(direct, method)),
            ..Large::default()
        };
        eprintln!("{name}: {:.1} s", large.direct.seconds);
        if self.does("front") {
            storage::mount(
                direct,
                "rig/python",
                "3.11",
                &format!("push/front-{repository}"),
            );
            let mut run = workspace.run(&self.inputs(front, method));
            run.seconds += exported_before(&large.direct, &run);
            eprintln!("{name}, front: {:.1} s", run.seconds);
            large.front = Some(run);
        }
        large
    }

    /// Seconds of runs with other code, in turn: medians.
    fn code<const N: usize>(&self, workspace: &Workspace, methods: [Method; N]) -> [f64; N] {
        let mut seconds = methods.map(|_| Vec::new());
        for round in 0..ROUNDS {
            for (method, seconds) in methods.iter().zip(&mut seconds) {
                workspace.write("app.py", &format!("print({round}, '{}')\n", method.1));
                let run = workspace.run(&self.inputs(&self.registries.direct, *method));
                seconds.push(run.seconds);
            }
        }
        seconds.map(median)
    }

    /// Pushes the image with one package upgraded, to where the image before is.
    fn package(&self, workspace: &Workspace, method: Method) -> Package {
        let (name, repository, _) = method;
        let Registries { direct, front } = &self.registries;
        let push = |host: &str, repository: &str| {
            storage::tag(direct, repository, "1", "before");
            let run = workspace.run(&self.inputs(host, method));
            let bytes = storage::new_bytes(direct, repository, "1", "before");
            (run, bytes)
        };
        let (run, bytes) = push(direct, &format!("push/direct-{repository}"));
        eprintln!(
            "{name}, one package: {:.1} s, {:.1} MB",
            run.seconds,
            mb(bytes)
        );
        let mut package = Package {
            direct: run,
            front: None,
            bytes,
            pull: None,
        };
        if self.does("front") {
            let (mut run, _) = push(front, &format!("push/front-{repository}"));
            run.seconds += exported_before(&package.direct, &run);
            package.front = Some(run);
        }
        package
    }

    /// Seconds in which the Engine, which has nothing of it at first, pulls what went through the front, and unpacks it.
    fn pull(&self, (name, repository, _): Method, tags: &[&str]) -> Vec<f64> {
        let docker = variable("RIG_DOCKER");
        let images = tags
            .iter()
            .map(|tag| format!("{}/push/front-{repository}:{tag}", self.registries.front));
        let images: Vec<String> = images.collect();
        let pull = |image: &String| {
            let seconds = program(&docker, &["pull", "--quiet", image]);
            eprintln!("{name}: pulled {image} in {seconds:.1} s");
            seconds
        };
        let seconds = images.iter().map(pull).collect();
        for image in &images {
            program(&docker, &["image", "rm", image]);
        }
        seconds
    }

    fn tell(&mut self, megabytes: u32, engine: &Large, gzip: &Large, zstd: &Large) {
        println!("\nOne new layer of {megabytes} MB\n");
        println!(
            "| Push to | by | s | to gzip | to zstd | CPU s | MB sent | MB written by the builder | MB of memory in the step |"
        );
        println!("| :-- | :-- | --: | --: | --: | --: | --: | --: | --: |");
        let row = |to: &str, by: &str, run: &Run, others: [f64; 2]| {
            let [gzip, zstd] = others.map(|other| run.seconds / other);
            let sent = run
                .sent
                .map_or("".to_owned(), |bytes| format!("{:.0}", mb(bytes)));
            let memory = match run.used.step_memory {
                0 => String::new(),
                bytes => format!("{:.0}", mb(bytes)),
            };
            println!(
                "| {to} | {by} | {:.1} | {gzip:.3} | {zstd:.3} | {:.1} | {sent} | {:.1} | {memory} |",
                run.seconds,
                run.used.cpu,
                mb(run.used.written),
            );
        };
        let others = [gzip.direct.seconds, zstd.direct.seconds];
        for (large, by) in [(gzip, GZIP.0), (zstd, ZSTD.0), (engine, ENGINE.0)] {
            row("registry", by, &large.direct, others);
        }
        if let Some(again) = &engine.again {
            row("registry", "push engine, nothing new", again, others);
        }
        if let (Some(engine), Some(gzip), Some(zstd)) = (&engine.front, &gzip.front, &zstd.front) {
            let others = [gzip.seconds, zstd.seconds];
            for (run, by) in [(gzip, GZIP.0), (zstd, ZSTD.0), (engine, ENGINE.0)] {
                row("front", by, run, others);
            }
        }
        println!();
        self.check(
            "registry, to gzip",
            engine.direct.seconds / gzip.direct.seconds,
            0.12,
        );
        self.check(
            "registry, to zstd",
            engine.direct.seconds / zstd.direct.seconds,
            0.20,
        );
        if let (Some(engine), Some(gzip), Some(zstd)) = (&engine.front, &gzip.front, &zstd.front) {
            self.check("front, to gzip", engine.seconds / gzip.seconds, 0.10);
            self.check("front, to zstd", engine.seconds / zstd.seconds, 0.15);
        }
        self.check(
            "written to the builder's disk (MB)",
            mb(engine.direct.used.written),
            10.0,
        );
        self.check(
            "memory of the step (MB)",
            mb(engine.direct.used.step_memory),
            300.0,
        );
        if let (Some(engine), Some(gzip), Some(zstd)) = (engine.code, gzip.code, zstd.code) {
            println!("other code: gzip {gzip:.2} s, zstd {zstd:.2} s, engine {engine:.2} s");
            self.check(
                "other code, beyond the faster (s)",
                engine - gzip.min(zstd),
                SLACK,
            );
        }
        if let (Some(engine), Some(gzip), Some(zstd)) =
            (&engine.package, &gzip.package, &zstd.package)
        {
            self.tell_package(engine, gzip, zstd);
        }
        if let (Some(engine), Some(gzip), Some(zstd)) = (engine.pull, gzip.pull, zstd.pull) {
            println!("pull: gzip {gzip:.1} s, zstd {zstd:.1} s, engine {engine:.1} s");
            self.check("pull, to gzip", engine / gzip, 0.6);
            self.check("pull, to zstd", engine / zstd, 0.6);
        }
    }

    fn tell_package(&mut self, engine: &Package, gzip: &Package, zstd: &Package) {
        println!("\nAll packages installed once more, one of them upgraded\n");
        println!(
            "| by | registry, s | front, s | new layers, MB | pull, s |\n| :-- | --: | --: | --: | --: |"
        );
        for (package, by) in [(gzip, GZIP.0), (zstd, ZSTD.0), (engine, ENGINE.0)] {
            let seconds =
                |seconds: Option<f64>| seconds.map_or(String::new(), |it| format!("{it:.1}"));
            let front = seconds(package.front.map(|run| run.seconds));
            let (bytes, pull) = (mb(package.bytes), seconds(package.pull));
            println!(
                "| {by} | {:.1} | {front} | {bytes:.1} | {pull} |",
                package.direct.seconds
            );
        }
        println!();
        let ratio = engine.direct.seconds / gzip.direct.seconds;
        self.check("one package, registry, to gzip", ratio, 0.05);
        if let (Some(engine), Some(gzip)) = (engine.front, gzip.front) {
            let ratio = engine.seconds / gzip.seconds;
            self.check("one package, front, to gzip", ratio, 0.04);
        }
        let ratio = engine.bytes as f64 / gzip.bytes as f64;
        self.check("one package, bytes, to gzip", ratio, 0.03);
        if let (Some(engine), Some(gzip)) = (engine.pull, gzip.pull) {
            self.check("one package, pull, to gzip", engine / gzip, 0.05);
        }
    }

    /// A small image, built and pushed.
    fn small(&mut self) {
        let methods = [GZIP, ZSTD, ENGINE];
        let mut seconds = methods.map(|_| Vec::new());
        let workspace = Workspace::new();
        let base = format!("{}/rig/python:3.11", self.registries.direct);
        workspace.write("app.py", "print('small')\n");
        // The first round only has the base image pulled.
        for round in 0..=ROUNDS as u32 {
            for (number, method) in methods.iter().enumerate() {
                let seed = 1000 + round * 10 + number as u32;
                workspace.write("Dockerfile", &dockerfile(&base, SMALL, seed, false));
                let run = workspace.run(&self.inputs(&self.registries.direct, *method));
                if round > 0 {
                    seconds[number].push(run.seconds);
                }
            }
        }
        let [gzip, zstd, engine] = seconds.map(median);
        println!(
            "\n{SMALL} MB, built and pushed: gzip {gzip:.2} s, zstd {zstd:.2} s, engine {engine:.2} s"
        );
        self.check(
            "small image, beyond the faster (s)",
            engine - gzip.min(zstd),
            SLACK,
        );
    }

    fn check(&mut self, name: &str, value: f64, most: f64) {
        let met = value <= most;
        let word = if met { "ok" } else { "MISSED" };
        println!("{name:<40} {value:>8.3} (at most {most})  {word}");
        if !met {
            self.missed.push(name.to_owned());
        }
    }
}

fn dockerfile(base: &str, megabytes: u32, seed: u32, is_upgraded: bool) -> String {
    let upgraded = if is_upgraded { ", \"upgraded\"" } else { "" };
    format!(
        "FROM {base}\nENV A=1\nRUN --network=none --mount=type=bind,source=generate,target=/generate \
         [\"/generate\", \"generate\", \"{PACKAGES}\", \"{megabytes}\", \"{seed}\"{upgraded}]\n\
         COPY app.py /srv/app.py\nCMD [\"python3\", \"/srv/app.py\"]\n"
    )
}

/// Empties BuildKit's disk.
fn forget() {
    let arguments = ["prune", "--builder=default", "--all", "--force"];
    program(&variable("RIG_BUILDX"), &arguments);
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
