//! The leg of a workflow that this run is: a job may run once for each entry of a matrix, and a repository may have several images.
//!
//! In: environment, inputs, plan. Out: a [`Leg`]. It has no part that changes between commits, such as tags, or between runs, such as the
//! driver after a fallback.

use image::ImageRef;

use crate::inputs::{Driver, Inputs};
use crate::plan::{ImagePlan, Plan};
use crate::runner::env::Env;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Leg {
    /// buildx's name of the planned driver.
    pub(super) driver: String,
    /// `registry/repository`, if the image has a name.
    pub(super) image: Option<String>,
    /// Everything that distinguishes it from other legs.
    pub(super) name: String,
}

impl Leg {
    pub(crate) fn new(env: &Env, inputs: &Inputs, plan: &Plan) -> Self {
        let image = plan.images.iter().find_map(ImagePlan::name);
        let image = image.map(ImageRef::name);
        // The driver as requested; nothing if the choice was left to us.
        let driver: &str = match inputs.driver {
            Driver::Auto => "",
            named => named.into(),
        };
        let platforms: Vec<&str> = inputs
            .platforms
            .iter()
            .map(|platform| &**platform)
            .collect();
        let platforms = platforms.join(",");
        let mut parts = vec![
            env.get("GITHUB_JOB").unwrap_or_default(),
            image.as_deref().unwrap_or_default(),
            inputs.target.as_deref().unwrap_or_default(),
            inputs.file.as_deref().unwrap_or_default(),
            &platforms,
            driver,
        ];
        parts.retain(|part| !part.is_empty());
        let name = parts.join(" ");
        Self {
            driver: plan.builder.driver.name().to_owned(),
            image,
            name,
        }
    }

    /// Whether an earlier build was of this leg, as far as its timings show.
    pub(super) fn is(&self, driver: &str, image: Option<&str>) -> bool {
        let same_image = match (&self.image, image) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        self.driver == driver && same_image
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, ImageStore};
    use crate::inputs::RawInputs;
    use crate::plan::RunDir;

    fn leg(pairs: &[(&'static str, &str)]) -> Leg {
        let mut given = RawInputs::default();
        for (name, text) in pairs {
            given.set(name, (*text).to_owned());
        }
        let inputs = Inputs::parse(&given).unwrap();
        let facts = Facts::example(ImageStore::Containerd);
        let place = RunDir {
            path: "/run".into(),
            id: "x1".to_owned(),
        };
        let plan = Plan::new(&inputs, None, &facts, &place).unwrap();
        Leg::new(&Env::from([("GITHUB_JOB", "build")]), &inputs, &plan)
    }

    #[test]
    fn a_leg_stays_the_same_from_commit_to_commit() {
        let first = leg(&[("tags", "r.example/a/b:sha-1234567")]);
        assert_eq!(first, leg(&[("tags", "r.example/a/b:sha-89abcde")]));
        assert_eq!(first.name, "build r.example/a/b");
    }

    #[test]
    fn legs_of_a_matrix_differ() {
        let legs: [&[(&'static str, &str)]; 6] = [
            &[],
            &[("target", "debug")],
            &[("file", "Other")],
            &[("platforms", "linux/arm64")],
            &[("driver", "docker-container")],
            &[("driver", "docker")],
        ];
        let mut names: Vec<String> = legs
            .iter()
            .map(|more| leg(&[&[("tags", "r.example/a:1")], *more].concat()).name)
            .collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), legs.len(), "{names:?}");
    }

    #[test]
    fn another_image_or_driver_is_another_leg() {
        let leg = leg(&[("tags", "r.example/a:1"), ("driver", "docker")]);
        let cases = [
            ("docker", Some("r.example/a"), true),
            ("docker", None, true),
            ("docker", Some("r.example/b"), false),
            ("kubernetes", Some("r.example/a"), false),
        ];
        for (driver, image, expected) in cases {
            assert_eq!(leg.is(driver, image), expected, "{driver} {image:?}");
        }
    }
}
