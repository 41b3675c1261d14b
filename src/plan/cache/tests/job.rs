//! A cache for the later steps of the same job.

use std::collections::BTreeSet;

use super::*;
use crate::facts::JobCaches;

/// Name, inputs, caches that are there; what is read, what is written.
type Case<'a> = (
    &'a str,
    Pairs<'a>,
    &'a [&'a str],
    &'a [&'a str],
    &'a [&'a str],
);

fn caches(
    pairs: Pairs<'_>,
    names: &[&str],
    run: Option<&WorkflowRun>,
) -> (Vec<String>, Vec<String>) {
    let mut facts = Facts::example(ImageStore::Containerd);
    facts.job_caches = Some(JobCaches {
        folder: "/temp/job".into(),
        names: names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>(),
    });
    let plan = plan(pairs, run, &facts).unwrap();
    let image = &plan.images[0];
    let local = |caches: &[CacheEntry]| {
        let mut texts = texts(caches);
        texts.retain(|text| text.contains("type=local"));
        texts
    };
    (local(&image.cache_from), local(&image.cache_to))
}

#[test]
fn a_step_that_only_loads_leaves_its_cache_to_the_steps_after_it() {
    let run = on_main();
    let load = ("load", "true");
    let arm = ("platforms", "linux/arm64");
    let written = "type=local,dest=/temp/job/cache,mode=max,ignore-error=true";
    let read = "type=local,src=/temp/job/cache";
    let none: &[&str] = &[];
    let cases: &[Case<'_>] = &[
        ("loads", &[TAG, CONTAINER, load], &[], none, &[written]),
        ("pushes then", &[TAG, CONTAINER], &["cache"], &[read], none),
        (
            "loads again",
            &[TAG, CONTAINER, load],
            &["cache"],
            &[read],
            &[written],
        ),
        (
            "another platform",
            &[TAG, CONTAINER, arm],
            &["cache"],
            none,
            none,
        ),
        ("pushes alone", &[TAG, CONTAINER], &[], none, none),
        (
            "loads and pushes",
            &[TAG, CONTAINER, load, ("push", "true")],
            &[],
            none,
            none,
        ),
        (
            "the Engine keeps its disk",
            &[TAG, load],
            &["cache"],
            none,
            none,
        ),
        (
            "no cache",
            &[TAG, CONTAINER, load, ("cache", "none")],
            &["cache"],
            none,
            none,
        ),
        (
            "caches of the user's",
            &[TAG, CONTAINER, load, ("cache-from", "r.example/c")],
            &["cache"],
            none,
            none,
        ),
    ];
    for (name, pairs, there, from, to) in cases {
        let owned = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        let (found_from, found_to) = caches(pairs, there, Some(&run));
        assert_eq!((found_from, found_to), (owned(from), owned(to)), "{name}");
    }
    assert_eq!(
        caches(&[TAG, CONTAINER, load], &["cache"], None),
        (Vec::new(), Vec::new())
    );
}
