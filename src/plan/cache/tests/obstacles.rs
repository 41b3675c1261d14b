//! Where the cache that was meant can't be written.

use image::Mutability;

use super::*;

#[test]
fn where_no_other_cache_can_be_written_it_is_the_images_own() {
    let facts = Facts::example(ImageStore::Classic);
    for kind in ["auto", "registry", "gha"] {
        let run = WorkflowRun {
            cache_service: true,
            ..on_main()
        };
        let plan = plan(
            &[TAG, ("driver", "docker"), ("cache", kind)],
            Some(&run),
            &facts,
        )
        .unwrap();
        assert_eq!(texts(&image(&plan).cache_to), ["type=inline"], "{kind}");
        let told = plan
            .notices
            .iter()
            .any(|notice| notice.contains("only with containerd's image store"));
        assert!(told, "{:?}", plan.notices);
    }
}

#[test]
fn an_immutable_repository_freezes_no_cache() {
    let name = "r.example/a".to_owned();
    let with = |mutability: Mutability, pairs: Pairs<'_>| {
        let mut facts = Facts::example(ImageStore::Containerd);
        facts.repositories.insert(name.clone(), mutability);
        plan(pairs, Some(&on_main()), &facts).unwrap()
    };
    let tags = format!("r.example/a:{COMMIT}\nr.example/a:latest");
    let except = |filter: &str| Mutability::ImmutableExcept(vec![filter.to_owned()]);

    let frozen = with(Mutability::Immutable, &[("tags", &tags)]);
    assert!(image(&frozen).cache_to.is_empty());
    let [warning] = frozen.warnings.as_slice() else {
        panic!("{:?}", frozen.warnings);
    };
    for words in [
        "no cache is written",
        "`r.example/a` are immutable",
        "`buildcache*`",
        "`cache-ref`",
    ] {
        assert!(warning.contains(words), "{warning}");
    }

    let excluded = with(except("buildcache*"), &[("tags", &tags)]);
    assert_eq!(
        text(image(&excluded).cache.written.as_ref()).as_deref(),
        Some("r.example/a:buildcache")
    );
    assert!(excluded.warnings.is_empty());

    let latest = with(except("latest"), &[("tags", &tags)]);
    assert_eq!(texts(&image(&latest).cache_to), ["type=inline"]);
    assert_eq!(
        texts(&image(&latest).cache_from),
        ["type=registry,ref=r.example/a:latest"]
    );
    assert!(
        latest
            .notices
            .iter()
            .any(|notice| notice.contains("kept in the image"))
    );

    let elsewhere = with(
        Mutability::Immutable,
        &[("tags", &tags), ("cache-ref", "r.example/cache")],
    );
    assert_eq!(
        text(image(&elsewhere).cache.written.as_ref()).as_deref(),
        Some("r.example/cache:buildcache")
    );

    let inline = with(
        Mutability::Immutable,
        &[
            ("tags", &format!("r.example/a:{COMMIT}")),
            ("cache", "inline"),
        ],
    );
    assert_eq!(image(&inline).cache.tag, None);
    assert!(
        inline.warnings[0].contains("`r.example/a:inlinecache` is not pushed"),
        "{:?}",
        inline.warnings
    );
}
