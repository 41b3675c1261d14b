//! The context, and the token that reads a private one.

use super::*;

#[test]
fn without_a_context_the_workflows_commit_is_built_with_its_token() {
    let run = workflow();
    let pairs: Pairs<'_> = &[
        ("tags", "r.example/a:1"),
        ("github-token", "hidden"),
        ("provenance", "mode=max"),
    ];
    let plan = plan_with(pairs, &facts(ImageStore::Containerd), Some(&run)).unwrap();
    let argv = argv(&plan).join(" ");
    assert!(
        argv.ends_with(" https://github.com/octo/app.git#0123abc"),
        "{argv}"
    );
    assert!(
        argv.contains("--secret id=GIT_AUTH_TOKEN.github.com,src=/run/git-token"),
        "{argv}"
    );
    assert!(
        argv.contains(
            "type=provenance,mode=max,builder-id=https://github.com/octo/app/actions/runs/7"
        ),
        "{argv}"
    );
    assert!(!argv.contains("hidden"));
    let subfolder: Pairs<'_> = &[
        ("tags", "r.example/a:1"),
        ("context", "{{defaultContext}}:docker"),
    ];
    let plan = plan_with(subfolder, &facts(ImageStore::Containerd), Some(&run)).unwrap();
    assert_eq!(
        plan.images[0].context.argument(),
        "https://github.com/octo/app.git#0123abc:docker"
    );
}

#[test]
fn the_token_is_given_to_no_other_context() {
    for context in [".", "https://github.com/octo/other.git"] {
        let pairs: Pairs<'_> = &[
            ("tags", "r.example/a:1"),
            ("github-token", "x"),
            ("context", context),
        ];
        let plan = plan_with(pairs, &facts(ImageStore::Containerd), Some(&workflow())).unwrap();
        assert!(plan.images[0].secrets.is_empty(), "{context}");
    }
}
