//! `flavor`: what holds for every tag, and when `latest` is one. The input's items in, [`Flavor`] out.
//!
//! <https://github.com/docker/metadata-action#flavor-input>

use lists::list::{self, Grammar, ListError, trim};

use super::expression::{ExpressionError, Scope};
use super::template::Template;

/// What holds for every tag.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flavor {
    pub latest: Latest,
    pub prefix: Affix,
    pub suffix: Affix,
}

/// Whether `latest` is one of the tags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Latest {
    /// The rule that names the version decides.
    #[default]
    Auto,
    Always,
    Never,
}

/// A prefix or suffix of tags.
#[derive(Debug, Clone, Default)]
pub(crate) struct Affix {
    /// Nothing where the tags are to stay as they are.
    pub text: Option<Template>,
    /// Whether `latest` gets it too.
    pub on_latest: bool,
}

/// Why an input is no flavor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FlavorError {
    #[error("could not read `flavor`")]
    List(#[source] ListError),
    #[error("could not read flavor `{item}`")]
    Fields {
        item: String,
        #[source]
        source: ListError,
    },
    #[error(
        "flavor `{item}`: `{found}`, expected latest=, prefix= or suffix=, and onlatest= after these two"
    )]
    Unknown { item: String, found: String },
    #[error("flavor `{item}`: latest is `{found}`, expected auto, true or false")]
    Latest { item: String, found: String },
    #[error("flavor `{item}`: onlatest is `{found}`, expected true or false")]
    OnLatest { item: String, found: String },
    #[error("could not read flavor `{item}`")]
    Expression {
        item: String,
        #[source]
        source: ExpressionError,
    },
}

impl Flavor {
    /// Reads the whole input; of settings given twice the last counts.
    pub(crate) fn parse(input: &str) -> Result<Self, FlavorError> {
        let mut flavor = Self::default();
        for item in list::parse(input, Grammar::Rules).map_err(FlavorError::List)? {
            flavor.read(&item)?;
        }
        Ok(flavor)
    }

    fn read(&mut self, item: &str) -> Result<(), FlavorError> {
        let fields = list::fields(item).map_err(|source| FlavorError::Fields {
            item: item.to_owned(),
            source,
        })?;
        // Which of the two an `onlatest` belongs to.
        let mut is_prefix = None;
        for field in fields {
            let unknown = || FlavorError::Unknown {
                item: item.to_owned(),
                found: field.clone(),
            };
            let (key, value) = field.split_once('=').ok_or_else(unknown)?;
            let (key, value) = (trim(key).to_lowercase(), trim(value));
            match key.as_str() {
                "latest" => {
                    self.latest = match value {
                        "auto" => Latest::Auto,
                        "true" => Latest::Always,
                        "false" => Latest::Never,
                        _ => {
                            return Err(FlavorError::Latest {
                                item: item.to_owned(),
                                found: value.to_owned(),
                            });
                        }
                    };
                }
                "prefix" | "suffix" => {
                    let template = Template::parse(value, Scope::Run).map_err(|source| {
                        FlavorError::Expression {
                            item: item.to_owned(),
                            source,
                        }
                    })?;
                    is_prefix = Some(key == "prefix");
                    self.affix(key == "prefix").text = (!value.is_empty()).then_some(template);
                }
                "onlatest" => {
                    let on_latest = value.parse().map_err(|_| FlavorError::OnLatest {
                        item: item.to_owned(),
                        found: value.to_owned(),
                    })?;
                    self.affix(is_prefix.ok_or_else(unknown)?).on_latest = on_latest;
                }
                _ => return Err(unknown()),
            }
        }
        Ok(())
    }

    fn affix(&mut self, is_prefix: bool) -> &mut Affix {
        if is_prefix {
            &mut self.prefix
        } else {
            &mut self.suffix
        }
    }
}

#[cfg(test)]
mod tests {
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
            ("latest", "flavor `latest`: `latest`, expected latest="),
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
            let error = Flavor::parse(input).unwrap_err().to_string();
            assert!(error.contains(why), "{input}: {error}");
        }
    }
}
