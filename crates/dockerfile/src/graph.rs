//! What a target needs: stages, images and named contexts.
//!
//! Follows `dockerfile2llb/convert.go` of BuildKit:
//! <https://github.com/moby/buildkit/blob/v0.30.0/frontend/dockerfile/dockerfile2llb/convert.go>.

use std::collections::{BTreeMap, BTreeSet};

use crate::environment::Environment;
use crate::file::{Dockerfile, Stage};
use crate::instruction::{Instruction, Kind};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::unsupported::{Reason, Unsupported};
use crate::word::Lookup;

/// What BuildKit gets beside the Dockerfile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// The stage that is built; the last if none is named.
    pub target: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Named contexts: a name, and what takes its place, which is only handed on.
    pub contexts: BTreeMap<String, String>,
    /// What is built for; none if the builder decides and is not known.
    pub platform: Option<Platform>,
    /// The builder's own platform, if known.
    pub builder: Option<Platform>,
}

/// Where files come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A stage, by its place in [`Dockerfile::stages`].
    Stage(usize),
    /// An image.
    Image(Image),
    /// A named context, by its name in [`Build::contexts`].
    Context(String),
    /// Nothing.
    Scratch,
}

/// An image that is not built here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Image {
    /// Its name, completed: `docker.io/library/alpine:latest`.
    pub reference: String,
    /// The platform that the Dockerfile asks for; otherwise that of the build.
    pub platform: Option<Platform>,
}

/// A stage that the target needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its place in [`Dockerfile::stages`].
    pub stage: usize,
    /// What it is based on; a named context of the stage's own name takes the place of the whole stage.
    pub base: Origin,
    /// Whether a named context takes its place: its instructions do not count.
    pub replaced: bool,
    /// The platform of its `FROM`.
    pub platform: Option<Platform>,
    /// What its instructions read files from, in their order; `index` is a place in [`Stage::instructions`].
    pub inputs: Vec<Input>,
}

/// Files of somewhere else, used by an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The instruction's place in [`Stage::instructions`].
    pub index: usize,
    /// Where the files are.
    pub origin: Origin,
}

/// What a target needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph<'d> {
    /// The Dockerfile.
    pub file: &'d Dockerfile,
    /// The build.
    pub build: &'d Build,
    /// The stages needed, in the order of the file: each needs only earlier ones. The target is the last.
    pub nodes: Vec<Node>,
    /// The frontend's image, if the Dockerfile or an argument names one.
    pub frontend: Option<String>,
    /// Variables of `FROM`, and what `ARG` without a value takes.
    pub(crate) globals: Environment,
    /// Names of variables that can change what is built.
    variables: BTreeSet<String>,
}

impl Dockerfile {
    /// What a build needs.
    pub fn resolve<'d>(&'d self, build: &'d Build) -> Result<Graph<'d>, Unsupported> {
        let frontend = self.frontend(&build.args)?;
        let (globals, depends) = globals(self, build)?;
        let mut walk = Walk {
            file: self,
            build,
            contexts: contexts(build)?,
            globals: &globals,
            needed: BTreeMap::new(),
            names: BTreeSet::new(),
        };
        let target = match build.target.as_deref().filter(|name| !name.is_empty()) {
            None => self.stages.len().saturating_sub(1),
            Some(name) => walk
                .found(name)
                .ok_or_else(|| Reason::Target(name.to_owned()).whole())?,
        };
        let mut waiting = vec![target];
        while let Some(stage) = waiting.pop() {
            if walk.needed.contains_key(&stage) {
                continue;
            }
            let node = walk.node(stage)?;
            let origins = node.inputs.iter().map(|input| &input.origin);
            for origin in origins.chain([&node.base]) {
                if let Origin::Stage(stage) = origin {
                    waiting.push(*stage);
                }
            }
            walk.needed.insert(stage, node);
        }
        let names = walk.names;
        let nodes: Vec<Node> = walk.needed.into_values().collect();
        let variables = self.variables(&nodes, names, &depends);
        Ok(Graph {
            file: self,
            build,
            nodes,
            frontend,
            globals,
            variables,
        })
    }

    /// The names in `FROM`s and of `ARG`s of the stages, and of the global `ARG`s that their values need.
    fn variables(
        &self,
        nodes: &[Node],
        mut global: BTreeSet<String>,
        depends: &Depends,
    ) -> BTreeSet<String> {
        let mut variables = BTreeSet::new();
        for node in nodes.iter().filter(|node| !node.replaced) {
            let stage = self.stages.get(node.stage);
            for instruction in stage.iter().flat_map(|stage| &stage.instructions) {
                let Kind::Arg(args) = &instruction.kind else {
                    continue;
                };
                for arg in args {
                    if arg.default.is_none() {
                        global.insert(arg.name.clone());
                    }
                    variables.insert(arg.name.clone());
                }
            }
        }
        let mut seen = BTreeSet::new();
        while let Some(name) = global.pop_first() {
            global.extend(
                depends
                    .get(&name)
                    .into_iter()
                    .flatten()
                    .filter(|needed| !seen.contains(*needed))
                    .cloned(),
            );
            seen.insert(name);
        }
        variables.extend(seen);
        variables
    }
}

impl<'d> Graph<'d> {
    /// The stage that is built.
    #[must_use]
    pub fn target(&self) -> Option<&Node> {
        self.nodes.last()
    }

    /// A stage that is needed.
    #[must_use]
    pub fn node(&self, stage: usize) -> Option<&Node> {
        self.nodes.iter().find(|node| node.stage == stage)
    }

    /// The file's stage of a node.
    #[must_use]
    pub fn stage(&self, node: &Node) -> Option<&'d Stage> {
        self.file.stages.get(node.stage)
    }

    /// The target and the stages it is based on, the one with an outer base first. The last names what is built, the first
    /// what it starts from.
    #[must_use]
    pub fn chain(&self) -> Vec<&Node> {
        let mut chain: Vec<&Node> = self.target().into_iter().collect();
        while let Some(Origin::Stage(base)) = chain.last().map(|node| &node.base)
            && let Some(node) = self.node(*base)
        {
            chain.push(node);
        }
        chain.reverse();
        chain
    }

    /// All images that the build reads, the frontend's left out.
    #[must_use]
    pub fn images(&self) -> BTreeSet<&Image> {
        self.origins()
            .filter_map(|origin| match origin {
                Origin::Image(image) => Some(image),
                _ => None,
            })
            .collect()
    }

    /// All named contexts that the build reads.
    #[must_use]
    pub fn contexts(&self) -> BTreeSet<&str> {
        self.origins()
            .filter_map(|origin| match origin {
                Origin::Context(name) => Some(name.as_str()),
                _ => None,
            })
            .collect()
    }

    /// The build arguments that were given and can change what is built: those that needed stages declare, those that `FROM`
    /// uses, and those that the frontend itself reads. Proxies count only where they are declared, as in BuildKit's cache.
    #[must_use]
    pub fn used_args(&self) -> BTreeMap<&str, &str> {
        let of_frontend = |name: &str| name.starts_with("BUILDKIT_") || name == "SOURCE_DATE_EPOCH";
        let args = self.build.args.iter();
        args.filter(|(name, _)| self.variables.contains(*name) || of_frontend(name))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.nodes.iter().flat_map(|node| {
            let inputs = node.inputs.iter().map(|input| &input.origin);
            inputs.chain([&node.base])
        })
    }

    /// The `ONBUILD` triggers of an outer base, as its configuration has them, which only a registry knows: with any, what
    /// the stages based on it do is not in the Dockerfile.
    pub fn check_triggers(&self, base: &Origin, triggers: &[String]) -> Result<(), Unsupported> {
        let node = self.nodes.iter().find(|node| node.base == *base);
        match node.and_then(|node| self.stage(node)) {
            Some(stage) if !triggers.is_empty() => {
                Err(Reason::Onbuild(stage.base.clone()).at(stage.lines.first))
            }
            _ => Ok(()),
        }
    }

    /// The same for a base that is a stage.
    pub(crate) fn check_own_triggers(&self, node: &Node) -> Result<(), Unsupported> {
        let Origin::Stage(base) = node.base else {
            return Ok(());
        };
        let replaced = self.node(base).is_some_and(|node| node.replaced);
        let Some(stage) = self.file.stages.get(base).filter(|_| !replaced) else {
            return Ok(());
        };
        let trigger = |one: &&Instruction| matches!(one.kind, Kind::Onbuild(_));
        match stage.instructions.iter().find(trigger) {
            Some(trigger) => {
                let name = stage.name.clone().unwrap_or_default();
                Err(Reason::Onbuild(name).at(trigger.lines.first))
            }
            None => Ok(()),
        }
    }
}

struct Walk<'d> {
    file: &'d Dockerfile,
    build: &'d Build,
    /// From the completed name to that of the build.
    contexts: BTreeMap<String, String>,
    globals: &'d Environment,
    needed: BTreeMap<usize, Node>,
    /// Variables in `FROM`s.
    names: BTreeSet<String>,
}

impl Walk<'_> {
    /// The last stage of a name, before a stage.
    fn named(&self, name: &str, before: usize) -> Option<usize> {
        let stages = self.file.stages.get(..before).unwrap_or_default();
        stages
            .iter()
            .rposition(|stage| stage.name.as_deref() == Some(name))
    }

    /// The same in any letter case.
    fn found(&self, name: &str) -> Option<usize> {
        self.named(&name.to_lowercase(), self.file.stages.len())
    }

    fn node(&mut self, index: usize) -> Result<Node, Unsupported> {
        let Some(stage) = self.file.stages.get(index) else {
            return Err(Reason::Target(index.to_string()).whole());
        };
        let line = stage.lines.first;
        let escape = self.file.escape;
        let base = self.globals.expand(&stage.base, escape, line)?;
        self.names.extend(base.names);
        if base.text.is_empty() {
            return Err(Reason::NoBase(stage.base.clone()).at(line));
        }
        let platform = match &stage.platform {
            None => None,
            Some(word) => {
                let platform = self.globals.expand(word, escape, line)?;
                self.names.extend(platform.names);
                let parsed = Platform::parse(&platform.text);
                Some(parsed.map_err(|reason| reason.at(line))?)
            }
        };
        if let Some(name) = &stage.name
            && let Some(context) = self.contexts.get(name)
        {
            return Ok(Node {
                stage: index,
                base: Origin::Context(context.clone()),
                replaced: true,
                platform,
                inputs: Vec::new(),
            });
        }
        // Letter case counts here, unlike in COPY --from.
        let base = match self.named(&base.text, index) {
            Some(earlier) => Origin::Stage(earlier),
            None => self.outer(&base.text, platform.clone(), line)?,
        };
        Ok(Node {
            stage: index,
            base,
            replaced: false,
            platform,
            inputs: self.inputs(index, stage)?,
        })
    }

    fn inputs(&self, index: usize, stage: &Stage) -> Result<Vec<Input>, Unsupported> {
        let mut inputs = Vec::new();
        for (place, instruction) in stage.instructions.iter().enumerate() {
            let line = instruction.lines.first;
            let mut add = |origin| {
                inputs.push(Input {
                    index: place,
                    origin,
                });
            };
            match &instruction.kind {
                Kind::Copy(copy) => {
                    if let Some(from) = &copy.from {
                        add(self.copied(from, index, line)?);
                    }
                }
                Kind::Run(run) => {
                    if run.security.as_deref() == Some("insecure") {
                        return Err(Reason::Entitlement("--security=insecure").at(line));
                    }
                    if !run.devices.is_empty() {
                        return Err(Reason::Entitlement("--device").at(line));
                    }
                    for from in run.mounts.iter().filter_map(|mount| mount.from.as_ref()) {
                        add(self.other(from, index, line)?);
                    }
                }
                _ => {}
            }
        }
        Ok(inputs)
    }

    /// `COPY --from`: a stage by name or number, or an image.
    fn copied(&self, from: &str, stage: usize, line: usize) -> Result<Origin, Unsupported> {
        let plain = Environment::closed().expand(from, self.file.escape, line)?;
        if plain.text != from {
            return Err(Reason::syntax("COPY --from takes neither variables nor quotes").at(line));
        }
        // Go's Atoi takes a sign.
        match from.strip_prefix('+').unwrap_or(from).parse::<usize>() {
            Ok(number) if number < stage => Ok(Origin::Stage(number)),
            Ok(_) => Err(Reason::Order(from.to_owned()).at(line)),
            Err(_) => self.other(from, stage, line),
        }
    }

    /// A stage by name, or an image.
    fn other(&self, from: &str, stage: usize, line: usize) -> Result<Origin, Unsupported> {
        match self.found(from) {
            Some(found) if found < stage => Ok(Origin::Stage(found)),
            Some(_) => Err(Reason::Order(from.to_owned()).at(line)),
            None => self.outer(from, None, line),
        }
    }

    /// What is not a stage.
    fn outer(
        &self,
        name: &str,
        platform: Option<Platform>,
        line: usize,
    ) -> Result<Origin, Unsupported> {
        if name == "scratch" {
            return Ok(Origin::Scratch);
        }
        let reference =
            Reference::parse(name).ok_or_else(|| Reason::Image(name.to_owned()).at(line))?;
        let reference = reference.tagged();
        if let Some(context) = self.contexts.get(&reference.context_name()) {
            return Ok(Origin::Context(context.clone()));
        }
        Ok(Origin::Image(Image {
            reference: reference.full(),
            platform: platform.or_else(|| self.build.platform.clone()),
        }))
    }
}

/// Named contexts by the name under which BuildKit looks for them.
fn contexts(build: &Build) -> Result<BTreeMap<String, String>, Unsupported> {
    let mut contexts = BTreeMap::new();
    for name in build.contexts.keys() {
        let reference =
            Reference::parse(name).ok_or_else(|| Reason::Image(name.clone()).whole())?;
        let key = reference.context_name();
        // BuildKit looks for neither.
        if !key.eq_ignore_ascii_case("scratch") && !key.eq_ignore_ascii_case("context") {
            contexts.insert(key, name.clone());
        }
    }
    Ok(contexts)
}

type Depends = BTreeMap<String, BTreeSet<String>>;

/// What global `ARG`s and the automatic ones are, and which of them each needs.
fn globals(file: &Dockerfile, build: &Build) -> Result<(Environment, Depends), Unsupported> {
    let mut globals = Environment::closed();
    let mut depends = Depends::new();
    let last = file.stages.last().and_then(|stage| stage.name.clone());
    let target = build.target.clone().filter(|name| !name.is_empty());
    let stage = target.or(last).unwrap_or_else(|| "default".to_owned());
    globals.set("TARGETSTAGE", Lookup::Set(stage));
    for (prefix, platform) in [("TARGET", &build.platform), ("BUILD", &build.builder)] {
        let part = |part: fn(&Platform) -> String| {
            platform
                .as_ref()
                .map_or(Lookup::Unknown, |platform| Lookup::Set(part(platform)))
        };
        globals.set(&format!("{prefix}PLATFORM"), part(Platform::to_string));
        globals.set(&format!("{prefix}OS"), part(|one| one.os.clone()));
        globals.set(
            &format!("{prefix}ARCH"),
            part(|one| one.architecture.clone()),
        );
        globals.set(&format!("{prefix}VARIANT"), part(|one| one.variant.clone()));
        globals.set(&format!("{prefix}OSVERSION"), part(|_| String::new()));
    }
    for (name, value) in &build.args {
        if globals.get(name) != Lookup::Unset {
            globals.set(name, Lookup::Set(value.clone()));
        }
    }
    for global in &file.globals {
        for arg in &global.args {
            let needs = depends.entry(arg.name.clone()).or_default();
            if let Some(given) = build.args.get(&arg.name) {
                globals.set(&arg.name, Lookup::Set(given.clone()));
            } else if let Some(default) = &arg.default {
                let line = global.lines.first;
                let mut names = BTreeSet::new();
                let value = crate::word::expand(default, file.escape, &mut |name| {
                    names.insert(name.to_owned());
                    globals.get(name)
                });
                needs.extend(names);
                let value = match value {
                    Ok(expanded) => Lookup::Set(expanded.text),
                    Err(crate::word::WordError::Unknown(_)) => Lookup::Unknown,
                    Err(error) => {
                        return Err(crate::environment::reason(default, error).at(line));
                    }
                };
                globals.set(&arg.name, value);
            }
        }
    }
    Ok((globals, depends))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Dockerfile {
        Dockerfile::read(text.as_bytes()).unwrap()
    }

    fn target(name: &str) -> Build {
        Build {
            target: Some(name.to_owned()),
            ..Build::default()
        }
    }

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn needed(text: &str, build: &Build) -> Result<Vec<usize>, Unsupported> {
        let file = read(text);
        let graph = file.resolve(build)?;
        Ok(graph.nodes.iter().map(|node| node.stage).collect())
    }

    const STAGES: &str = "FROM a AS one\nFROM b AS two\nFROM one AS three\nCOPY --from=two x y\nFROM c AS four\n\
        RUN --mount=type=bind,from=two,target=/m x\nFROM d\nCOPY --from=3 x y\n";

    #[test]
    fn needs_bases_copied_and_mounted_stages_and_no_others() {
        assert_eq!(needed(STAGES, &Build::default()), Ok(vec![1, 3, 4]));
        assert_eq!(needed(STAGES, &target("three")), Ok(vec![0, 1, 2]));
        assert_eq!(needed(STAGES, &target("TWO")), Ok(vec![1]));
        let missing = needed(STAGES, &target("five")).unwrap_err();
        assert_eq!(missing, Reason::Target("five".to_owned()).whole());
    }

    #[test]
    fn a_name_is_the_latest_stage_before_in_from_and_the_last_in_copy() {
        let text =
            "FROM a AS x\nFROM b AS x\nFROM x AS y\nFROM x AS x\nFROM scratch\nCOPY --from=x a b\n";
        let file = read(text);
        let build = Build::default();
        let graph = file.resolve(&build).unwrap();
        assert_eq!(graph.target().unwrap().inputs[0].origin, Origin::Stage(3));
        assert_eq!(graph.node(3).unwrap().base, Origin::Stage(1));
        let build = target("y");
        let graph = file.resolve(&build).unwrap();
        assert_eq!(graph.target().unwrap().base, Origin::Stage(1));
    }

    #[test]
    fn letter_case_counts_in_from_only() {
        let text =
            "FROM a AS Build\nFROM c\nCOPY --from=BUILD x y\nRUN --mount=from=Build,target=/m x\n";
        assert_eq!(needed(text, &Build::default()), Ok(vec![0, 1]));
        let error = needed("FROM a AS build\nFROM Build\n", &Build::default()).unwrap_err();
        assert_eq!(error, Reason::Image("Build".to_owned()).at(2));
    }

    #[test]
    fn a_stage_needs_only_earlier_ones() {
        for (text, name) in [
            ("FROM a AS x\nCOPY --from=x a b\n", "x"),
            ("FROM a AS x\nCOPY --from=0 a b\n", "0"),
            ("FROM a AS x\nCOPY --from=7 a b\n", "7"),
            (
                "FROM a AS x\nRUN --mount=from=y,target=/m a\nFROM x AS y\n",
                "y",
            ),
        ] {
            let error = needed(text, &Build::default()).unwrap_err();
            assert_eq!(error, Reason::Order(name.to_owned()).at(2), "{text}");
        }
    }

    #[test]
    fn bases_follow_global_arguments() {
        for (text, args, base) in [
            ("ARG V=1\nFROM a:$V", pairs(&[]), "docker.io/library/a:1"),
            (
                "ARG V=1\nFROM a:$V",
                pairs(&[("V", "2")]),
                "docker.io/library/a:2",
            ),
            ("ARG V\nFROM a:${V:-3}", pairs(&[]), "docker.io/library/a:3"),
            (
                "ARG V\nFROM a${V:+:4}",
                pairs(&[("V", "x")]),
                "docker.io/library/a:4",
            ),
            (
                "ARG V=1.2.3\nARG W=${V%.*}\nFROM a:$W",
                pairs(&[]),
                "docker.io/library/a:1.2",
            ),
            // Not declared, so not there.
            (
                "FROM a:${V:-5}",
                pairs(&[("V", "6")]),
                "docker.io/library/a:5",
            ),
            ("FROM \"a\"", pairs(&[]), "docker.io/library/a:latest"),
        ] {
            let file = read(text);
            let build = Build {
                args,
                ..Build::default()
            };
            let graph = file.resolve(&build).unwrap();
            let images: Vec<&str> = graph
                .images()
                .iter()
                .map(|image| image.reference.as_str())
                .collect();
            assert_eq!(images, [base], "{text}");
        }
        let blank = needed("ARG B\nFROM $B\n", &Build::default()).unwrap_err();
        assert_eq!(blank, Reason::NoBase("$B".to_owned()).at(2));
        let bad = needed("ARG B\nFROM a:$B\n", &Build::default()).unwrap_err();
        assert_eq!(bad, Reason::Image("a:".to_owned()).at(2));
    }

    #[test]
    fn platforms_that_are_not_known_are_not_guessed() {
        let text = "FROM --platform=$BUILDPLATFORM a AS tools\nFROM b-$TARGETARCH\nCOPY --from=tools x y\n";
        let error = needed(text, &Build::default()).unwrap_err();
        let unknown = Reason::Unknown {
            word: "b-$TARGETARCH".to_owned(),
            variable: "TARGETARCH".to_owned(),
        };
        assert_eq!(error, unknown.at(2));
        let build = Build {
            platform: Platform::parse("linux/arm/v7").ok(),
            builder: Platform::parse("linux/amd64").ok(),
            ..Build::default()
        };
        let file = read(text);
        let graph = file.resolve(&build).unwrap();
        let images: Vec<String> = graph
            .images()
            .iter()
            .map(|image| format!("{} {}", image.reference, image.platform.as_ref().unwrap()))
            .collect();
        assert_eq!(
            images,
            [
                "docker.io/library/a:latest linux/amd64",
                "docker.io/library/b-arm:latest linux/arm/v7"
            ]
        );
        // What is not needed may stay unknown.
        let unneeded = "FROM a-$TARGETARCH AS x\nFROM b\n";
        assert_eq!(needed(unneeded, &Build::default()), Ok(vec![1]));
    }

    #[test]
    fn named_contexts_take_the_place_of_stages_and_images() {
        let text = "FROM a AS base\nCOPY --from=lost x y\nFROM base\nCOPY --from=tools:latest x y\nCOPY --from=docker.io/library/other:1 x y\n";
        let build = Build {
            contexts: pairs(&[
                ("base", "docker-image://b"),
                ("tools", "dir"),
                ("other:1", "x"),
                ("scratch", "y"),
            ]),
            ..Build::default()
        };
        let file = read(text);
        let graph = file.resolve(&build).unwrap();
        let contexts: Vec<&str> = graph.contexts().into_iter().collect();
        assert_eq!(contexts, ["base", "other:1", "tools"]);
        assert!(graph.images().is_empty());
        assert!(graph.node(0).unwrap().replaced);
    }

    #[test]
    fn arguments_count_where_something_needed_declares_or_uses_them() {
        let text = "ARG BASE=a\nARG TAG=1\nARG UNUSED\nARG IMAGE=$BASE/$TAG\nFROM other AS x\nARG X\nFROM $IMAGE\nARG Y=$Z\nARG UNUSED=1\n";
        let all = [
            "BASE",
            "TAG",
            "X",
            "Y",
            "Z",
            "BUILDKIT_SYNTAX",
            "HTTP_PROXY",
        ];
        let build = Build {
            args: all
                .map(|name| (name.to_owned(), "docker/dockerfile".to_owned()))
                .into(),
            ..Build::default()
        };
        let file = read(text);
        let graph = file.resolve(&build).unwrap();
        let used: Vec<&str> = graph.used_args().into_keys().collect();
        assert_eq!(used, ["BASE", "BUILDKIT_SYNTAX", "TAG", "Y"]);
    }

    #[test]
    fn rights_of_their_own_are_left_alone() {
        for (flag, reason) in [
            (
                "--security=insecure",
                Reason::Entitlement("--security=insecure"),
            ),
            ("--device=gpu", Reason::Entitlement("--device")),
        ] {
            let text = format!("FROM a AS x\nRUN {flag} y\nFROM b AS z\n");
            assert_eq!(needed(&text, &target("x")), Err(reason.at(2)));
            assert_eq!(needed(&text, &target("z")), Ok(vec![1]));
        }
        let fine = "FROM a\nRUN --security=sandbox --network=host x\n";
        assert_eq!(needed(fine, &Build::default()), Ok(vec![0]));
    }

    #[test]
    fn triggers_of_an_outer_base_are_left_alone() {
        let file = read("FROM a AS x\nFROM x\n");
        let build = Build::default();
        let graph = file.resolve(&build).unwrap();
        let base = graph.chain()[0].base.clone();
        assert_eq!(graph.check_triggers(&base, &[]), Ok(()));
        let error = graph.check_triggers(&base, &["RUN x".to_owned()]);
        assert_eq!(error, Err(Reason::Onbuild("a".to_owned()).at(1)));
    }
}
