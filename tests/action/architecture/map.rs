//! The map itself: layers of modules, and which may use which.

/// Modules that stand together, in data's order.
pub(super) struct Layer {
    pub(super) title: &'static str,
    /// Module → what it may use. A part with rules of its own stands under its path.
    pub(super) modules: &'static [(&'static str, &'static [&'static str])],
}

/// What everybody uses. The picture leaves its arrows out.
pub(super) const VOCABULARY: Layer = Layer {
    title: "Vocabulary",
    modules: &[
        ("runner", &[]),
        // Which variables a child is not to have.
        ("process", &["runner"]),
    ],
};

/// What uses it, from what was typed to what is reported.
pub(super) const LAYERS: &[Layer] = &[
    Layer {
        title: "What was typed",
        modules: &[("metadata", &[]), ("inputs", &["metadata", "runner"])],
    },
    Layer {
        title: "What there is",
        modules: &[
            ("network", &["plan", "runner"]),
            ("aws", &["inputs", "runner"]),
            ("credentials", &["aws", "inputs", "network", "runner"]),
            (
                "facts",
                &["aws", "credentials", "inputs", "process", "runner"],
            ),
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
                    "facts",
                    "inputs",
                    "metadata",
                    "process",
                    "runner",
                ],
            ),
        ],
    },
    Layer {
        title: "The work",
        modules: &[
            ("timings", &["build"]),
            (
                "builder",
                &[
                    "aws", "build", "facts", "plan", "process", "runner", "timings",
                ],
            ),
            (
                "build",
                &["builder", "plan", "process", "runner", "timings"],
            ),
            ("registry", &["aws", "build", "builder", "plan", "runner"]),
        ],
    },
    Layer {
        title: "The end",
        modules: &[
            (
                "report",
                &["build", "plan", "registry", "run", "runner", "timings"],
            ),
            // Timings files of several runs.
            ("compare", &["report", "timings"]),
            // Earlier runs, as GitHub keeps them.
            (
                "history",
                &["compare", "inputs", "plan", "runner", "timings"],
            ),
            ("cli", &["aws", "compare", "inputs"]),
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
    ("network", "plan", "a plan gets the proxy's options"),
    ("timings", "build", "BuildKit's progress"),
    ("builder", "build", "how buildx is called"),
    ("report", "run", "a report shows the error"),
];
