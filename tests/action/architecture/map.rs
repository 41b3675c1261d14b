//! The map itself: the order of the modules.

/// Modules that belong together.
pub(super) struct Layer {
    pub(super) title: &'static str,
    pub(super) modules: &'static [&'static str],
}

/// A module uses only modules that come before it. `main` is the root and uses all.
pub(super) const LAYERS: &[Layer] = &[
    // What everything uses: the picture leaves its arrows out.
    Layer {
        title: "Vocabulary",
        modules: &["runner", "process"],
    },
    Layer {
        title: "What was typed",
        modules: &["metadata", "inputs"],
    },
    Layer {
        title: "What there is",
        modules: &["network", "aws", "credentials", "facts"],
    },
    Layer {
        title: "What will be done",
        modules: &["plan"],
    },
    Layer {
        title: "The work",
        modules: &[
            "buildx",
            "timings",
            "acceleration",
            "builder",
            "registry",
            "unchanged",
        ],
    },
    Layer {
        title: "The end",
        modules: &["compare", "history", "report", "cli", "run"],
    },
];

/// Uses against the order, which are to go.
pub(super) const AGAINST: &[(&str, &str)] = &[];

/// Siblings that use each other, as `folder: one, another`, which are to go.
pub(super) const CYCLES: &[&str] = &[];
