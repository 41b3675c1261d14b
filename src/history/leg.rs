//! What tells one leg of a workflow from the others: a job may run once for each entry of a matrix, and a repository may have several images.
//!
//! In: environment, inputs, plan. Out: a [`Leg`]. Nothing in it changes from one commit to the next, as tags do, nor from run to run, as the
//! driver does where a cluster can't build.

use image::ImageRef;

use crate::inputs::{Driver, Inputs};
use crate::plan::Plan;
use crate::runner::env::Env;

/// One leg.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Leg {
    /// The driver that is to build, as buildx names it.
    pub(super) driver: String,
    /// `registry/repository`, where the image has a name.
    pub(super) image: Option<String>,
    /// Everything that tells it from others, in words.
    pub(super) words: String,
}

impl Leg {
    /// The leg that this run is.
    pub(crate) fn new(env: &Env, inputs: &Inputs, plan: &Plan) -> Self {
        let image = plan.images.first();
        let name = image
            .and_then(|image| image.references.first())
            .map(ImageRef::name);
        let job = env.get("GITHUB_JOB").unwrap_or_default().to_owned();
        let mut words = vec![job, name.clone().unwrap_or_default()];
        words.extend(
            [inputs.target.clone(), inputs.file.clone()]
                .into_iter()
                .flatten(),
        );
        words.push(
            inputs
                .platforms
                .iter()
                .map(|platform| &**platform)
                .collect::<Vec<_>>()
                .join(","),
        );
        words.push(asked(inputs.driver).to_owned());
        words.retain(|word| !word.is_empty());
        Self {
            driver: plan.builder.driver.name().to_owned(),
            image: name,
            words: words.join(" "),
        }
    }

    /// Whether an earlier build was of this leg, as far as is known of it.
    pub(super) fn is(&self, driver: &str, image: Option<&str>) -> bool {
        let same_image = match (&self.image, image) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        self.driver == driver && same_image
    }
}

/// The driver as it was asked for; nothing where that was left open.
fn asked(driver: Driver) -> &'static str {
    match driver {
        Driver::Auto => "",
        named => named.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, ImageStore};
    use crate::inputs::RawInputs;
    use crate::plan::Place;

    fn leg(pairs: &[(&'static str, &str)]) -> Leg {
        let mut given = RawInputs::default();
        for (name, text) in pairs {
            given.set(name, (*text).to_owned());
        }
        let inputs = Inputs::parse(&given).unwrap();
        let facts = Facts::example(ImageStore::Containerd);
        let place = Place {
            folder: "/run".into(),
            id: "x1".to_owned(),
        };
        let plan = Plan::new(&inputs, None, &facts, &place).unwrap();
        Leg::new(&Env::from([("GITHUB_JOB", "build")]), &inputs, &plan)
    }

    #[test]
    fn a_leg_stays_the_same_from_commit_to_commit() {
        let first = leg(&[("tags", "r.example/a/b:sha-1234567")]);
        assert_eq!(first, leg(&[("tags", "r.example/a/b:sha-89abcde")]));
        assert_eq!(first.words, "build r.example/a/b");
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
        let mut words: Vec<String> = legs
            .iter()
            .map(|more| leg(&[&[("tags", "r.example/a:1")], *more].concat()).words)
            .collect();
        words.sort();
        words.dedup();
        assert_eq!(words.len(), legs.len(), "{words:?}");
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
