//! `cache-to` as it was given, with what Amazon ECR needs.

use image::{ImageRef, Registry};

use crate::inputs::cache::{Backend, CacheEntry};
use crate::plan::Diagnostics;

/// A cache as an image manifest of OCI types: BuildKit before 0.21 writes an index by default, whose
/// parts are of no image type, and Amazon ECR refuses that with 400
/// (<https://aws.amazon.com/blogs/containers/announcing-remote-cache-support-in-amazon-ecr-for-buildkit-clients/>).
pub(super) const AS_IMAGE: [(&str, &str); 2] =
    [("image-manifest", "true"), ("oci-mediatypes", "true")];

/// The exports, completed.
pub(super) fn exports(given: &[CacheEntry], diagnostics: &mut Diagnostics) -> Vec<CacheEntry> {
    let mut exports = given.to_vec();
    for cache in exports.iter_mut().filter(|cache| goes_to_ecr(cache)) {
        complete(cache, diagnostics);
    }
    exports
}

fn goes_to_ecr(cache: &CacheEntry) -> bool {
    let name = cache.attributes.get("ref").unwrap_or_default();
    let name = name.parse::<ImageRef>();
    cache.backend == Backend::Registry
        && name.is_ok_and(|name| !matches!(name.registry(), Registry::Other { .. }))
}

/// Adds what is missing, unless something else is asked for.
fn complete(cache: &mut CacheEntry, diagnostics: &mut Diagnostics) {
    let given = |(name, value): &(&str, &str)| {
        let given = cache.attributes.get(name).filter(|given| given != value)?;
        Some(format!("{name}={given}"))
    };
    let refused: Vec<String> = AS_IMAGE.iter().filter_map(given).collect();
    if !refused.is_empty() {
        diagnostics.warnings.push(format!(
            "`cache-to` has `{}`: Amazon ECR refuses such a cache",
            refused.join(",")
        ));
        return;
    }
    let mut added = Vec::new();
    for (name, value) in AS_IMAGE {
        if cache.attributes.get(name).is_none() {
            cache.attributes.set(name, value);
            added.push(format!("{name}={value}"));
        }
    }
    if !added.is_empty() {
        diagnostics.notices.push(format!(
            "`cache-to` gets `{}`, without which Amazon ECR may refuse the cache",
            added.join(",")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Inputs;

    fn completed(given: &str) -> (String, Diagnostics) {
        let raw = [("cache-to", given)].into_iter().collect();
        let inputs = Inputs::parse(&raw).unwrap();
        let mut diagnostics = Diagnostics::default();
        let exports = exports(&inputs.cache_to, &mut diagnostics);
        let exports: Vec<String> = exports.iter().map(ToString::to_string).collect();
        (exports.join(" "), diagnostics)
    }

    const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app";

    #[test]
    fn ecr_gets_what_it_needs_and_others_what_was_typed() {
        let whole = format!("type=registry,ref={ECR}:c,image-manifest=true,oci-mediatypes=true");
        let cases = [
            (format!("type=registry,ref={ECR}:c"), whole.clone(), true),
            (format!("{ECR}:c"), whole.clone(), true),
            (
                format!("type=registry,ref={ECR}:c,mode=max,oci-mediatypes=true"),
                format!(
                    "type=registry,ref={ECR}:c,mode=max,oci-mediatypes=true,image-manifest=true"
                ),
                true,
            ),
            (
                "type=registry,ref=public.ecr.aws/a/b:c".to_owned(),
                "type=registry,ref=public.ecr.aws/a/b:c,image-manifest=true,oci-mediatypes=true"
                    .to_owned(),
                true,
            ),
            (whole.clone(), whole, false),
            (
                "type=registry,ref=ghcr.io/a/b:c".to_owned(),
                "type=registry,ref=ghcr.io/a/b:c".to_owned(),
                false,
            ),
            (
                "user/app:cache".to_owned(),
                "type=registry,ref=user/app:cache".to_owned(),
                false,
            ),
            ("type=inline".to_owned(), "type=inline".to_owned(), false),
            (
                "type=gha,mode=max".to_owned(),
                "type=gha,mode=max".to_owned(),
                false,
            ),
            (
                "type=local,dest=c".to_owned(),
                "type=local,dest=c".to_owned(),
                false,
            ),
        ];
        for (given, expected, told) in cases {
            let (exports, diagnostics) = completed(&given);
            assert_eq!(exports, expected, "{given}");
            assert_eq!(diagnostics.notices.len(), usize::from(told), "{given}");
            assert!(diagnostics.warnings.is_empty());
        }
    }

    #[test]
    fn what_ecr_refuses_is_said() {
        let given = format!("type=registry,ref={ECR}:c,image-manifest=false");
        let (exports, diagnostics) = completed(&given);
        assert_eq!(exports, given);
        assert!(diagnostics.warnings[0].contains("`image-manifest=false`: Amazon ECR refuses"));
        assert!(diagnostics.notices.is_empty());
    }
}
