//! Applies all rules to a workflow run: the tags, the version, and the reasons of rules that gave no tag.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::Tags;
use super::event::WorkflowRun;
use super::expression::Clocks;
use super::fire::{FireError, fire};
use super::flavor::{Affix, Flavor, Latest};
use super::name;
use super::reason::{Reason, Unfired, Warning};
use super::rule::Rule;
use super::template::Template;

/// The result of the rules in one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Generated {
    /// The first tag that is not the flavor's `latest`; empty if there is none.
    pub version: String,
    /// The tags alone.
    pub names: Vec<String>,
    /// Every tag with every image name, then the full references.
    pub tags: Vec<String>,
    pub unfired: Vec<Unfired>,
    pub warnings: Vec<Warning>,
    /// Surprises that are not mistakes.
    pub notices: Vec<String>,
    /// The tags of the full references.
    reference_names: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Json<'a> {
    tags: &'a [String],
    #[serde(rename = "tag-names")]
    names: Vec<&'a str>,
    labels: BTreeMap<&'a str, &'a str>,
    annotations: &'a [String],
}

impl Tags {
    /// Makes the tags of a run for each of the image names, which become lower case.
    pub(crate) fn generate(
        &self,
        flavor: &Flavor,
        run: &WorkflowRun,
        now: Timestamp,
        images: &[String],
    ) -> Result<Generated, FireError> {
        let clocks = Clocks {
            now,
            commit: run.commit_date.unwrap_or(now),
        };
        let print = |template: &Template| template.render(clocks, |name| run.value(name));
        let affix = |own: &Option<Template>, all: &Affix| {
            let template = own.as_ref().or(all.text.as_ref());
            template.map(print).unwrap_or_default()
        };
        let mut generated = Generated::default();
        let mut auto_latest = None;
        let mut disabled_latest = None;
        for rule in &self.rules {
            let unused = rule.unused.iter();
            let unused = unused.map(|attribute| Warning::UnusedAttribute {
                rule: rule.source.clone(),
                attribute: attribute.clone(),
            });
            generated.warnings.extend(unused);
            let fired = match fire(rule, run, &print, clocks, &mut generated.warnings)? {
                Ok(fired) => fired,
                Err(reason) => {
                    if reason == Reason::Disabled && rule.is_latest(&print) {
                        disabled_latest = Some(&rule.source);
                    }
                    generated.miss(rule, reason);
                    continue;
                }
            };
            let prefix = affix(&rule.prefix, &flavor.prefix);
            let suffix = affix(&rule.suffix, &flavor.suffix);
            let whole = format!("{prefix}{}{suffix}", fired.value);
            if whole.is_empty() {
                generated.miss(rule, Reason::Empty);
                continue;
            }
            auto_latest.get_or_insert(fired.is_latest);
            generated.add(rule, &whole);
        }
        generated.version = generated.names.first().cloned().unwrap_or_default();
        let is_latest = match flavor.latest {
            Latest::Auto => auto_latest.unwrap_or(false),
            Latest::Always => true,
            Latest::Never => false,
        };
        if is_latest && !generated.names.is_empty() {
            let on_latest = |affix: &Affix| {
                let template = affix.text.as_ref().filter(|_| affix.on_latest);
                template.map(print).unwrap_or_default()
            };
            let (prefix, suffix) = (on_latest(&flavor.prefix), on_latest(&flavor.suffix));
            if let Some((latest, _)) = name::valid(&format!("{prefix}latest{suffix}")) {
                if let Some(rule) = disabled_latest.filter(|_| !generated.names.contains(&latest)) {
                    let setting = match flavor.latest {
                        Latest::Auto => "auto",
                        _ => "true",
                    };
                    generated.notices.push(format!(
                        "the tag `{latest}` comes from `flavor` (`latest={setting}`), although tag rule `{rule}` is \
                         disabled; `flavor: latest=false` omits it"
                    ));
                }
                generated.push(latest);
            }
        }
        if images.is_empty() {
            generated.tags.clone_from(&generated.names);
        }
        for image in images {
            let image = image.to_lowercase();
            let tags = generated.names.iter().map(|name| format!("{image}:{name}"));
            generated.tags.extend(tags);
        }
        for reference in &self.references {
            let text = reference.image.to_string();
            if !generated.tags.contains(&text) {
                generated.tags.push(text);
            }
            let tag = reference.image.tag.as_deref().unwrap_or("latest");
            if generated.version.is_empty() {
                generated.version = tag.to_owned();
            }
            generated.reference_names.push(tag.to_owned());
        }
        Ok(generated)
    }
}

impl Generated {
    /// Drops the tags of full references: a push by digest has none.
    pub(crate) fn drop_reference_names(&mut self) {
        self.reference_names.clear();
        self.version = self.names.first().cloned().unwrap_or_default();
    }

    /// The output `json` of docker/metadata-action. The annotations have levels.
    pub(crate) fn json<'a>(
        &'a self,
        tags: &'a [String],
        labels: &'a [String],
        annotations: &'a [String],
    ) -> Json<'a> {
        let labels = labels.iter();
        let mut names: Vec<&str> = Vec::new();
        for name in self.names.iter().chain(&self.reference_names) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        Json {
            tags,
            names,
            labels: labels
                .map(|label| label.split_once('=').unwrap_or((label, "")))
                .collect(),
            annotations,
        }
    }

    fn add(&mut self, rule: &Rule, whole: &str) {
        let Some((tag, repair)) = name::valid(whole) else {
            self.miss(rule, Reason::NothingLeft(whole.to_owned()));
            return;
        };
        let rule = || rule.source.clone();
        let repaired = repair.map(|repair| Warning::Repaired {
            rule: rule(),
            repair,
        });
        self.warnings.extend(repaired);
        self.push(tag);
    }

    fn push(&mut self, tag: String) {
        if !self.names.contains(&tag) {
            self.names.push(tag);
        }
    }

    fn miss(&mut self, rule: &Rule, reason: Reason) {
        let is_warning = reason.is_warning();
        let unfired = Unfired {
            rule: rule.source.clone(),
            reason,
        };
        if is_warning {
            self.warnings.push(unfired.clone().into());
        }
        self.unfired.push(unfired);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::metadata::event::{GithubValues, Settings};

    fn generate(tags: &str, reference: &str, images: &[&str]) -> Result<Generated, FireError> {
        generate_with(tags, "", reference, images)
    }

    fn generate_with(
        tags: &str,
        flavor: &str,
        reference: &str,
        images: &[&str],
    ) -> Result<Generated, FireError> {
        let github = GithubValues {
            event_name: "push",
            reference,
            sha: "860c1904a1ce19322e91ac35af1ab07466440c37",
            ..GithubValues::default()
        };
        let run = WorkflowRun::new(github, &Value::Null, Settings::default());
        let images: Vec<String> = images.iter().map(|image| (*image).to_owned()).collect();
        let now = "2020-01-10T00:30:00Z".parse().unwrap();
        Tags::parse(tags)
            .unwrap()
            .generate(&Flavor::parse(flavor).unwrap(), &run, now, &images)
    }

    #[test]
    fn mixes_rules_plain_tags_and_references() {
        let made = generate(
            "stable, 1.2\ntype=sha\nghcr.io/o/r:x,o/r\ntype=semver,pattern={{version}}",
            "refs/tags/v1.2.3",
            &["123456789012.dkr.ecr.eu-west-1.amazonaws.com/App"],
        )
        .unwrap();
        let image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app";
        assert_eq!(made.version, "1.2.3");
        assert_eq!(
            made.names,
            ["1.2.3", "stable", "1.2", "sha-860c190", "latest"]
        );
        let mut tags: Vec<String> = made
            .names
            .iter()
            .map(|name| format!("{image}:{name}"))
            .collect();
        tags.extend(["ghcr.io/o/r:x".to_owned(), "docker.io/o/r".to_owned()]);
        assert_eq!(made.tags, tags);
    }

    #[test]
    fn names_the_version_after_a_reference_where_no_rule_fires() {
        let made = generate(
            "type=ref,event=pr\nghcr.io/o/r:x",
            "refs/heads/main",
            &["o/r"],
        )
        .unwrap();
        assert_eq!(
            (made.version.as_str(), made.tags),
            ("x", vec!["ghcr.io/o/r:x".to_owned()])
        );
    }

    #[test]
    fn a_reference_without_tag_has_the_version_latest() {
        let made = generate("ghcr.io/o/r\ndocker.io/o/r:x", "refs/heads/main", &[]).unwrap();
        assert_eq!(made.version, "latest");
        let json = serde_json::to_value(made.json(&made.tags, &[], &[])).unwrap();
        assert_eq!(json["tag-names"], serde_json::json!(["latest", "x"]));
        let mut by_digest = generate("ghcr.io/o/r", "refs/heads/main", &[]).unwrap();
        by_digest.drop_reference_names();
        assert_eq!(by_digest.version, "");
    }

    #[test]
    fn a_latest_that_a_disabled_rule_does_not_give_is_a_notice() {
        let disabled = "type=raw,value=latest,enable=false";
        for (tags, flavor, expected) in [
            (disabled, "latest=true", Some("`flavor` (`latest=true`)")),
            (
                disabled,
                "latest=auto",
                Some("`flavor` (`latest=auto`), although tag rule `type=raw,value=latest,enable="),
            ),
            (disabled, "latest=false", None),
            ("type=raw,value=latest", "latest=true", None),
            ("type=raw,value=x,enable=false", "latest=true", None),
        ] {
            let tags = format!("type=ref,event=tag\n{tags}");
            let made = generate_with(&tags, flavor, "refs/tags/v1", &[]).unwrap();
            let notices = made.notices.concat();
            assert_eq!(
                !notices.is_empty(),
                expected.is_some(),
                "{flavor}: {notices}"
            );
            assert!(notices.contains(expected.unwrap_or_default()), "{notices}");
        }
    }

    #[test]
    fn a_git_tag_with_a_slash_is_shown_as_it_is() {
        for rule in ["semver", "pep440"] {
            let rule = format!("type={rule},pattern={{{{version}}}}");
            let made = generate(&rule, "refs/tags/api/v1.2.3", &[]).unwrap();
            let reason = made.unfired[0].reason.to_string();
            assert!(
                reason.starts_with("`api-v1.2.3`, from `api/v1.2.3` with `-` for `/` (`match=api/(.*)` takes the part"),
                "{reason}"
            );
            let rule = format!("{rule},match=api/(.*)");
            let made = generate(&rule, "refs/tags/api/v1.2.3", &[]).unwrap();
            assert_eq!(made.version, "1.2.3");
        }
    }

    #[test]
    fn says_of_every_rule_why_it_gave_no_tag() {
        let rules = "type=schedule\ntype=ref,event=tag\ntype=ref,event=pr\ntype=edge,branch=dev\ntype=edge\n\
            type=raw,value={{tag}}\ntype=raw,value=a,enable=false\ntype=semver,pattern={{major}},value=x\n\
            type=pep440,pattern={{major}},value=x\ntype=match,pattern=v,value=x\ntype=match,pattern=(v)?,group=1,value=x\n\
            type=raw,value=/";
        let made = generate(rules, "refs/heads/main", &["o/r"]).unwrap();
        assert_eq!(made.tags, [""; 0]);
        let unfired = made.unfired.iter();
        let reasons: String = unfired.map(|unfired| format!("\n  {unfired}")).collect();
        assert_eq!(
            reasons,
            "\n  tag rule `type=schedule` gives no tag: the event is `push`, not a schedule\
            \n  tag rule `type=semver,pattern={{major}},value=x` gives no tag: `x` is not a semantic version (https://semver.org)\
            \n  tag rule `type=pep440,pattern={{major}},value=x` gives no tag: `x` is not a PEP 440 version (https://peps.python.org/pep-0440)\
            \n  tag rule `type=match,pattern=v,value=x` gives no tag: `v` does not match `x`\
            \n  tag rule `type=match,pattern=(v)?,group=1,value=x` gives no tag: `(v)?` matches `x`, but group 1 matched nothing\
            \n  tag rule `type=edge,branch=dev` gives no tag: the branch is `main`, not `dev`\
            \n  tag rule `type=edge` gives no tag: the event does not name the default branch; set `branch=`\
            \n  tag rule `type=ref,event=tag` gives no tag: `refs/heads/main` is not a Git tag, and the rule has no `value=`\
            \n  tag rule `type=ref,event=pr` gives no tag: `refs/heads/main` is not a pull request\
            \n  tag rule `type=raw,value={{tag}}` gives no tag: it is empty\
            \n  tag rule `type=raw,value=a,enable=false` gives no tag: `enable` is false\
            \n  tag rule `type=raw,value=/` gives no tag: `/` has no character that can start a tag"
        );
        let warned: Vec<String> = made.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warned.len(), 6, "{warned:#?}");
    }

    #[test]
    fn warns_of_what_may_be_a_mistake() {
        for (rule, why) in [
            (
                "type=sha,branch=x",
                "`branch=` has no effect on a rule of this type",
            ),
            (
                "type=semver,pattern={{major}},value=1.2.3,match=x(.)",
                "`x(.)` does not match `1.2.3`",
            ),
            (
                "type=raw,value=.x",
                "`.x` begins with `.` or `-`, the tag is `x`",
            ),
        ] {
            let made = generate(rule, "refs/heads/main", &[]).unwrap();
            let warnings: Vec<String> = made.warnings.iter().map(ToString::to_string).collect();
            assert!(
                warnings.len() == 1 && warnings.concat().contains(why),
                "{warnings:?}"
            );
        }
    }

    #[test]
    fn refuses_to_guess_whether_a_rule_is_enabled() {
        let error = generate("type=raw,value=a,enable=maybe", "refs/heads/main", &[]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("enable is `maybe`, expected true or false")
        );
        let error = generate("type=semver,pattern={{major}},value=1,match=1", "", &[]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("but has no group for the version")
        );
    }

    #[test]
    fn writes_everything_as_json() {
        let made = generate("type=raw,value=a", "refs/heads/main", &["o/r"]).unwrap();
        let (labels, annotations) = (["b=c=d".to_owned()], ["index:b=c".to_owned()]);
        let json = made.json(&made.tags, &labels, &annotations);
        assert_eq!(
            serde_json::to_string(&json).unwrap(),
            r#"{"tags":["o/r:a"],"tag-names":["a"],"labels":{"b":"c=d"},"annotations":["index:b=c"]}"#
        );
    }
}
