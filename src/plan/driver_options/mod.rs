//! Options of buildx's drivers: which there are, and which of those given a driver gets.

mod quantity;
mod table;
mod values;

use super::{Diagnostics, Driver};
use crate::inputs::driver_options::DriverOption;
pub(crate) use quantity::amount;
pub(super) use table::Options;
#[cfg(test)]
pub(crate) use table::SPECS as ALL;
use table::SPECS;
pub(crate) use values::Toleration;

/// The options that a driver gets, each name once; `input` is where they were given. Those of other drivers are left out, so that a
/// matrix over drivers can share one block.
pub(super) fn of_driver(
    input: &'static str,
    given: &[DriverOption],
    driver: Driver,
    diagnostics: &mut Diagnostics,
) -> Vec<DriverOption> {
    let mut options: Vec<DriverOption> = Vec::new();
    let mut repeated = Vec::new();
    let mut ignored = Vec::new();
    for option in given {
        let DriverOption { name, value } = option;
        let name = name.as_str();
        let spec = SPECS.iter().find(|spec| spec.name == name);
        let has_it = match spec {
            _ if option.variable().is_some() => driver != Driver::Docker,
            Some(spec) if (spec.takes)(value) => spec.drivers.contains(&driver),
            _ => {
                let expected = spec.map_or_else(|| nearest(name), |spec| spec.values.to_owned());
                diagnostics.wrong(input, format!("{name}={value}"), expected);
                continue;
            }
        };
        if has_it {
            if options.iter().any(|other| other.name == name) {
                repeated.push(name);
                options.retain(|other| other.name != name);
            }
            options.push(option.clone());
        } else if !ignored.contains(&name) {
            ignored.push(name);
        }
    }
    if !repeated.is_empty() {
        diagnostics.notices.push(format!(
            "`{input}` names {} more than once: the last one counts",
            in_backticks(&repeated)
        ));
    }
    if !ignored.is_empty() {
        diagnostics.notices.push(format!(
            "`{input}` of another driver are ignored by `{}`: {}",
            driver.name(),
            in_backticks(&ignored)
        ));
    }
    options
}

/// What is expected instead of an unknown name.
fn nearest(name: &str) -> String {
    let nearest = SPECS
        .iter()
        .map(|spec| (strsim::jaro_winkler(name, spec.name), spec.name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    match nearest {
        Some((_, known)) => format!("an option of a buildx driver; did you mean `{known}`?"),
        None => {
            "an option of a buildx driver, as `image`, `network` or `env.NAME`; a value with commas needs \
             quotes around the option, as `\"tolerations=key=a,operator=Exists\"`"
                .to_owned()
        }
    }
}

fn in_backticks(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

impl Options {
    /// Reads options that [`of_driver`] has let through.
    pub(super) fn read(options: &[DriverOption]) -> Self {
        let defaults = SPECS.iter().filter(|spec| !spec.default.is_empty());
        let defaults = defaults.map(|spec| (spec.name, spec.default));
        let given = options.iter();
        let given = given.map(|option| (option.name.as_str(), option.value.as_str()));
        let mut read = Self::default();
        for (name, value) in defaults.chain(given) {
            read.set(name, value);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(driver: Driver, name: &str, value: &str) -> Vec<String> {
        let mut diagnostics = Diagnostics::default();
        let given = [DriverOption::new(name, value)];
        of_driver("driver-opts", &given, driver, &mut diagnostics);
        diagnostics.errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_default_is_a_value() {
        for spec in SPECS.iter().filter(|spec| !spec.default.is_empty()) {
            assert!((spec.takes)(spec.default), "{}", spec.name);
        }
    }

    #[test]
    fn every_name_is_there_once() {
        for (index, spec) in SPECS.iter().enumerate() {
            let mut before = SPECS.iter().take(index);
            assert!(before.all(|other| other.name != spec.name), "{}", spec.name);
        }
    }

    #[test]
    fn what_is_malformed_is_named_with_what_is_expected() {
        for (name, value, expected) in [
            ("namespace", "Team_A", "a namespace's name"),
            ("replicas", "0", "a number from 1 to 100"),
            ("requests.memory", "7GB", "a quantity of Kubernetes"),
            ("rootless", "yes", "`true` or `false`"),
            ("nodeselector", "arm64", "`name=value`"),
            ("labels", "app=x", "no `app`"),
            ("labels", "run=a/b", "at most 63 letters"),
            (
                "annotations",
                "buildx.docker.com/platform=x",
                "keeps for itself",
            ),
            (
                "tolerations",
                "key=a,effects=NoSchedule",
                "`key=…,operator=…",
            ),
            ("tolerations", "operator=exists", "`key=…,operator=…"),
            ("timeout", "10", "a duration"),
            ("loadbalance", "least", "`sticky` or `random`"),
        ] {
            let errors = errors(Driver::Kubernetes, name, value);
            assert_eq!(errors.len(), 1, "{name}={value}");
            assert!(
                errors[0].starts_with(&format!("input `driver-opts`: `{name}={value}` given")),
                "{errors:?}"
            );
            assert!(errors[0].contains(expected), "{errors:?}");
        }
    }

    #[test]
    fn the_container_drivers_options_are_checked_too() {
        for (name, good, bad) in [
            ("image", "", "moby//buildkit"),
            ("memory", "2g", "two"),
            ("memory-swap", "-1", "-2"),
            ("cpu-quota", "-1", "0.5"),
            ("restart-policy", "on-failure:3", "never"),
            ("default-load", "true", "yes"),
        ] {
            assert_eq!(errors(Driver::DockerContainer, name, good), [""; 0]);
            let errors = errors(Driver::DockerContainer, name, bad);
            assert_eq!(errors.len(), 1, "{name}={bad}");
            let start = format!("input `driver-opts`: `{name}={bad}` given, expected ");
            assert!(errors[0].starts_with(&start), "{errors:?}");
        }
    }
}
