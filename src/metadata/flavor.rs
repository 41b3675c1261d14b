//! The input `flavor`: prefix and suffix of every tag, and when `latest` is one of the tags.
//!
//! <https://github.com/docker/metadata-action#flavor-input>

use lists::list::{self, Grammar, ListError, trim};

use super::expression::{ExpressionError, Scope};
use super::template::Template;

#[derive(Debug, Clone, Default)]
pub(crate) struct Flavor {
    pub latest: Latest,
    pub prefix: Affix,
    pub suffix: Affix,
}

/// Whether `latest` is one of the tags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Latest {
    /// The rule that gives the version decides.
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Affix {
    pub text: Option<Template>,
    /// Whether `latest` gets it too.
    pub on_latest: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FlavorError {
    #[error("could not read `flavor`")]
    List(#[source] ListError),
    #[error("could not read flavor `{item}`")]
    Item {
        item: String,
        #[source]
        source: Fault,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Fields(#[from] ListError),
    #[error("`{0}`, expected latest=, prefix= or suffix=, and onlatest= after the last two")]
    Unknown(String),
    #[error("latest is `{0}`, expected auto, true or false")]
    Latest(String),
    #[error("onlatest is `{0}`, expected true or false")]
    OnLatest(String),
    #[error(transparent)]
    Expression(#[from] ExpressionError),
}

impl Flavor {
    /// Parses the input. The last of repeated settings counts.
    pub(crate) fn parse(input: &str) -> Result<Self, FlavorError> {
        let mut flavor = Self::default();
        for item in list::parse(input, Grammar::Rules).map_err(FlavorError::List)? {
            let read = flavor.read(&item);
            read.map_err(|source| FlavorError::Item { item, source })?;
        }
        Ok(flavor)
    }

    fn read(&mut self, item: &str) -> Result<(), Fault> {
        // The setting that a following `onlatest` belongs to.
        let mut affix = None;
        for field in list::fields(item)? {
            let unknown = || Fault::Unknown(field.clone());
            let (key, value) = field.split_once('=').ok_or_else(unknown)?;
            let value = trim(value);
            match trim(key).to_lowercase().as_str() {
                "latest" => {
                    self.latest = match value {
                        "auto" => Latest::Auto,
                        "true" => Latest::Always,
                        "false" => Latest::Never,
                        _ => return Err(Fault::Latest(value.to_owned())),
                    };
                }
                key @ ("prefix" | "suffix") => {
                    let template = Template::parse(value, Scope::Run)?;
                    let target = if key == "prefix" {
                        &mut self.prefix
                    } else {
                        &mut self.suffix
                    };
                    target.text = (!value.is_empty()).then_some(template);
                    affix = Some(target);
                }
                "onlatest" => {
                    let on_latest = value.parse();
                    let on_latest = on_latest.map_err(|_| Fault::OnLatest(value.to_owned()))?;
                    affix.as_mut().ok_or_else(unknown)?.on_latest = on_latest;
                }
                _ => return Err(unknown()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn reads_what_is_set_and_leaves_the_rest() {
        let flavor =
            Flavor::parse("# a comment\nlatest=false\n prefix = p- ,onlatest=true\nsuffix=")
                .unwrap();
        assert_eq!(flavor.latest, Latest::Never);
        assert!(flavor.prefix.text.is_some() && flavor.prefix.on_latest);
        assert!(flavor.suffix.text.is_none() && !flavor.suffix.on_latest);
        assert_eq!(Flavor::parse("").unwrap().latest, Latest::Auto);
    }

    #[test]
    fn says_what_it_does_not_understand() {
        for (input, why) in [
            (
                "latest",
                "could not read flavor `latest`: `latest`, expected latest=",
            ),
            (
                "latest=yes",
                "latest is `yes`, expected auto, true or false",
            ),
            ("prefix=a,onlatest=1", "onlatest is `1`"),
            ("onlatest=true", "expected latest="),
            ("colour=red", "`colour=red`"),
            (
                "prefix={{brnch}}",
                "could not read flavor `prefix={{brnch}}`",
            ),
            ("prefix=\"a\"", "could not read flavor"),
            ("\"prefix=a", "could not read `flavor`"),
        ] {
            let error = Flavor::parse(input).unwrap_err();
            let error = format!("{error}: {}", error.source().unwrap());
            assert!(error.contains(why), "{input}: {error}");
        }
    }
}
