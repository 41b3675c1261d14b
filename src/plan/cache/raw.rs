//! `cache-from` and `cache-to` as they were typed: passed through, with what Amazon ECR needs.

use image::{ImageRef, Registry};

use crate::inputs::output_spec::OutputSpec;
use crate::plan::Remarks;

/// A cache as an image manifest of OCI types: BuildKit before 0.21 writes an index by default, whose
/// parts are of no image type, and Amazon ECR refuses that with 400
/// (<https://aws.amazon.com/blogs/containers/announcing-remote-cache-support-in-amazon-ecr-for-buildkit-clients/>).
pub(super) const AS_IMAGE: [(&str, &str); 2] =
    [("image-manifest", "true"), ("oci-mediatypes", "true")];

/// The exports, completed.
pub(super) fn exports(given: &[String], remarks: &mut Remarks) -> Vec<String> {
    given
        .iter()
        .map(|text| export(text, remarks).unwrap_or_else(|| text.clone()))
        .collect()
}

/// The export with what was missing; none where it goes as it is.
fn export(text: &str, remarks: &mut Remarks) -> Option<String> {
    let mut spec = parse(text)?;
    let name: ImageRef = spec.attribute("ref")?.parse().ok()?;
    if spec.exporter != "registry" || matches!(name.registry(), Registry::Other { .. }) {
        return None;
    }
    let mut added = Vec::new();
    let mut refused = Vec::new();
    for (attribute, value) in AS_IMAGE {
        match spec.attribute(attribute) {
            None => added.push((attribute, value)),
            Some(given) if given != value => refused.push(format!("{attribute}={given}")),
            Some(_) => {}
        }
    }
    if !refused.is_empty() {
        // Whoever says so has a reason, or learns of it here.
        remarks.warnings.push(format!(
            "`cache-to` has `{}`: Amazon ECR refuses such a cache",
            refused.join(",")
        ));
        return None;
    }
    if added.is_empty() {
        return None;
    }
    let names: Vec<String> = added
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    for (name, value) in added {
        spec.set(name, value);
    }
    remarks.notices.push(format!(
        "`cache-to` gets `{}`, without which Amazon ECR may refuse the cache",
        names.join(",")
    ));
    Some(spec.to_string())
}

/// An export: attributes, or a lone name, which is a registry's
/// (<https://github.com/docker/buildx/blob/461836ba0/util/buildflags/cache.go>).
fn parse(text: &str) -> Option<OutputSpec> {
    if text.contains('=') {
        return OutputSpec::parse(text).ok();
    }
    Some(OutputSpec {
        exporter: "registry".to_owned(),
        attributes: vec![("ref".to_owned(), text.to_owned())],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
                "user/app:cache".to_owned(),
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
            (
                "type=s3,\"name=a".to_owned(),
                "type=s3,\"name=a".to_owned(),
                false,
            ),
        ];
        for (given, expected, told) in cases {
            let mut remarks = Remarks::default();
            assert_eq!(
                exports(std::slice::from_ref(&given), &mut remarks),
                [expected],
                "{given}"
            );
            assert_eq!(remarks.notices.len(), usize::from(told), "{given}");
            assert!(remarks.warnings.is_empty());
        }
    }

    #[test]
    fn what_ecr_refuses_is_said() {
        let given = format!("type=registry,ref={ECR}:c,image-manifest=false");
        let mut remarks = Remarks::default();
        assert_eq!(exports(std::slice::from_ref(&given), &mut remarks), [given]);
        assert!(remarks.warnings[0].contains("`image-manifest=false`: Amazon ECR refuses"));
        assert!(remarks.notices.is_empty());
    }
}
