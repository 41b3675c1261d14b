//! The map itself: layers of modules, and which may use which.

/// Modules that stand together, in data's order.
pub(super) struct Layer {
    pub(super) title: &'static str,
    /// Module → what it may use. A part with rules of its own stands under its path.
    pub(super) modules: &'static [(&'static str, &'static [&'static str])],
}

/// Nothing of ours, or next to nothing: what everybody uses. The picture leaves its arrows out.
pub(super) const VOCABULARY: Layer = Layer {
    title: "Vocabulary",
    modules: &[
        ("env", &[]),
        // Which variables a child is not to have.
        ("process", &["env"]),
        ("build::rawjson", &[]),
        // What words mean that registries and BuildKit use.
        ("build::catalogue", &[]),
        ("github", &["env"]),
        ("log", &["env", "github"]),
        ("folder", &["env"]),
        ("owner", &[]),
        ("no_proxy", &[]),
        ("inputs::list", &[]),
        ("redact", &[]),
    ],
};

/// What uses it, from what was typed to what is told.
pub(super) const LAYERS: &[Layer] = &[
    Layer {
        title: "What was typed",
        modules: &[("tags", &["inputs::list"]), ("inputs", &["env", "tags"])],
    },
    Layer {
        title: "What there is",
        modules: &[
            // What gives access: it knows inputs, registries and clusters, not the plan.
            ("credentials", &["env", "inputs", "no_proxy"]),
            // The way into a cluster is a fact, too.
            ("facts", &["credentials", "env", "inputs", "process"]),
        ],
    },
    Layer {
        title: "What will be done",
        modules: &[
            // `process` is how a command line is printed.
            (
                "plan",
                &[
                    "credentials",
                    "env",
                    "facts",
                    "github",
                    "inputs",
                    "process",
                    "tags",
                ],
            ),
        ],
    },
    Layer {
        title: "The machine around",
        modules: &[
            ("mounts", &["env", "inputs", "plan"]),
            ("check", &["env", "mounts", "plan"]),
            ("certificates", &["env", "mounts", "plan"]),
            ("host", &["env", "mounts"]),
            ("proxy", &["env", "no_proxy", "plan"]),
        ],
    },
    Layer {
        title: "The work",
        modules: &[
            ("registry", &["plan"]),
            ("preflight", &["credentials", "log", "plan", "registry"]),
            ("timings", &["build::rawjson"]),
            (
                "builder",
                &[
                    "build::catalogue",
                    "build::rawjson",
                    "credentials",
                    "facts",
                    "log",
                    "plan",
                    "process",
                    "timings",
                ],
            ),
            // `build` and `push` call buildx as the builder's `Tool`.
            (
                "build",
                &["builder", "log", "plan", "process", "redact", "timings"],
            ),
            ("push", &["build", "builder", "plan", "redact"]),
        ],
    },
    Layer {
        title: "The end",
        modules: &[
            (
                "error",
                &[
                    "build",
                    "builder",
                    "certificates",
                    "check",
                    "credentials",
                    "facts",
                    "inputs",
                    "mounts",
                    "plan",
                    "preflight",
                    "report",
                ],
            ),
            (
                "report",
                &[
                    "build",
                    "build::rawjson",
                    "env",
                    "error",
                    "github",
                    "history",
                    "owner",
                    "plan",
                    "push",
                    "redact",
                    "timings",
                ],
            ),
            // Timings files of several runs.
            ("compare", &["report", "timings"]),
            // Earlier runs, as GitHub keeps them.
            (
                "history",
                &["compare", "env", "github", "inputs", "log", "plan"],
            ),
            ("cli", &["compare", "credentials", "inputs"]),
            (
                "post",
                &[
                    "builder",
                    "credentials",
                    "env",
                    "facts",
                    "folder",
                    "github",
                    "plan",
                ],
            ),
        ],
    },
];

/// All rows of all layers.
pub(super) fn rows() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    let layers = std::iter::once(&VOCABULARY).chain(LAYERS);
    layers.flat_map(|layer| layer.modules.iter().copied())
}

/// Modules that know all others: the order of the stages and the process's edge.
pub(super) const MAY_USE_ALL: &[&str] = &["run", "main"];

/// Two modules that use each other, with the reason.
pub(super) const CYCLES: &[(&str, &str, &str)] = &[
    (
        "error",
        "report",
        "a report shows the error, and that it could not be written is one",
    ),
    (
        "report",
        "history",
        "the headline tells of earlier runs, whose timings files are as the report writes them",
    ),
];
