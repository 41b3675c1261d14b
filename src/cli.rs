//! The command line: subcommands, and flags made from the table of inputs.
//!
//! In: arguments. Out: a [`Command`]. A flag wins over the input's variable; a list flag may be
//! repeated. A secret is never a flag's value: its flag names a file.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches};

use crate::aws::eks::{self, TokenRequest};
use crate::compare::Format;
use crate::inputs::spec::Spec;
use crate::inputs::{Form, RawInputs, SPECS};

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Run the action.
    Run(Flags),
    /// Print what would be done, as JSON.
    Plan { flags: Flags, facts: Vec<String> },
    /// Clean up after a run that was killed.
    Post,
    /// Join timings files into a table.
    Compare { files: Vec<String>, format: Format },
    /// Answer as a Docker credential helper.
    Credential(Vec<String>),
    /// Answer as an exec credential plugin for Amazon EKS.
    EksToken(TokenRequest),
}

/// Inputs given as flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    values: Vec<(&'static str, String)>,
    /// Files that hold the values of secret inputs.
    pub secret_files: Vec<(&'static str, PathBuf)>,
}

impl Flags {
    /// Puts the flags over what the environment gave.
    pub(crate) fn over(&self, given: &mut RawInputs) {
        for (name, value) in &self.values {
            given.set(name, value.clone());
        }
    }
}

/// Reads the arguments, the program's name first.
///
/// # Errors
/// With clap's own text for a wrong argument, `--help` and `--version`.
pub(crate) fn parse(arguments: &[String]) -> Result<Command, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    Ok(match matches.subcommand() {
        Some(("plan", matches)) => Command::Plan {
            flags: flags(matches),
            facts: all(matches, "fact"),
        },
        Some(("compare", matches)) => Command::Compare {
            files: all(matches, "file"),
            format: Format::named(all(matches, "format").first().map_or("", String::as_str)),
        },
        Some(("post", _)) => Command::Post,
        Some(("docker-credential", matches)) => Command::Credential(all(matches, "verb")),
        Some((eks::SUBCOMMAND, matches)) => Command::EksToken(TokenRequest {
            cluster: one(matches, "cluster").unwrap_or_default(),
            region: one(matches, "region"),
            role: one(matches, "role"),
            external_id: one(matches, "external-id"),
            profile: one(matches, "profile"),
        }),
        _ => Command::Run(flags(&matches)),
    })
}

fn command() -> clap::Command {
    let plan = clap::Command::new("plan")
        .about("Prints what would be done, as JSON, without doing it")
        .args(SPECS.iter().map(argument))
        .arg(
            Arg::new("fact")
                .long("fact")
                .value_name("NAME=VALUE")
                .action(ArgAction::Append)
                .help("A fact that is not to be probed: buildx=VERSION, engine=VERSION or none, store=containerd or classic, platform=OS/ARCH, step=ARCH,ARCH or none, registry=HOST, cluster=NAME (of one that is not asked), now=TIME"),
        );
    clap::Command::new(env!("CARGO_PKG_NAME"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .version(env!("CARGO_PKG_VERSION"))
        .args_conflicts_with_subcommands(true)
        .args(SPECS.iter().map(argument))
        .subcommand(plan)
        .subcommand(
            clap::Command::new("compare")
                .about("Joins timings files of several runs into a table; what can't be read is said and left out")
                .arg(
                    Arg::new("file")
                        .value_name("[NAME=]PATH")
                        .num_args(1..)
                        .required(true)
                        .action(ArgAction::Append)
                        .help("Timings files, or folders of them; NAME stands for the machine"),
                )
                .arg(
                    Arg::new("format")
                        .long("format")
                        .value_name("NAME")
                        .value_parser(PossibleValuesParser::new(Format::NAMES))
                        .default_value("markdown")
                        .help("How the table is printed"),
                ),
        )
        .subcommand(
            clap::Command::new("post")
                .about("Cleans up after a run that was killed; the action calls it"),
        )
        .subcommand(
            clap::Command::new("docker-credential")
                .about("Answers as a Docker credential helper for Amazon ECR")
                .arg(Arg::new("verb").num_args(0..).action(ArgAction::Append)),
        )
        .subcommand(
            clap::Command::new(eks::SUBCOMMAND)
                .about("Prints a token for an Amazon EKS cluster, as an exec credential plugin")
                .arg(Arg::new("cluster").long("cluster").required(true))
                .args(
                    ["region", "role", "external-id", "profile"]
                        .map(|name| Arg::new(name).long(name)),
                ),
        )
}

fn argument(spec: &'static Spec) -> Arg {
    let default = if spec.default.is_empty() || spec.form == Form::Secret {
        String::new()
    } else {
        format!(" [default: {}]", spec.default)
    };
    let argument = Arg::new(spec.name)
        .long(spec.name)
        .help(format!("{}{default}", spec.help))
        .allow_hyphen_values(true)
        .value_parser(value);
    match spec.form {
        Form::Boolean => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("true|false"),
        Form::Choice(names) => argument
            .value_parser(PossibleValuesParser::new(names))
            .hide_possible_values(true)
            .value_name("NAME"),
        Form::Number => argument.value_name("NUMBER"),
        Form::Secret => argument
            .long(format!("{}-file", spec.name))
            .help(format!("File that holds it: {}", spec.help))
            .value_name("PATH"),
        Form::List(_) => argument.action(ArgAction::Append).value_name("ITEM"),
        Form::Line | Form::Block => argument.value_name("TEXT"),
    }
}

/// A value, which may begin with a hyphen, but is not the next flag.
fn value(text: &str) -> Result<String, &'static str> {
    let name = text.strip_prefix("--").unwrap_or_default();
    let name = name.split('=').next().unwrap_or_default();
    if SPECS.iter().any(|spec| spec.name == name) {
        return Err("this is a flag; the flag before it needs a value");
    }
    Ok(text.to_owned())
}

fn flags(matches: &ArgMatches) -> Flags {
    let mut flags = Flags::default();
    for spec in SPECS {
        let values = all(matches, spec.name);
        match (spec.form, values.first()) {
            (_, None) => {}
            (Form::Secret, Some(path)) => {
                flags.secret_files.push((spec.name, PathBuf::from(path)));
            }
            // One item a line is what every list grammar reads.
            _ => flags.values.push((spec.name, values.join("\n"))),
        }
    }
    flags
}

fn one(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).cloned()
}

fn all(matches: &ArgMatches, name: &str) -> Vec<String> {
    matches
        .get_many::<String>(name)
        .into_iter()
        .flatten()
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Inputs;
    use crate::runner::env::Env;

    fn parsed(arguments: &[&str]) -> Command {
        let all: Vec<String> = std::iter::once("fast-ecr-push")
            .chain(arguments.iter().copied())
            .map(str::to_owned)
            .collect();
        parse(&all).unwrap()
    }

    #[test]
    fn the_table_makes_a_valid_command_line() {
        command().debug_assert();
    }

    #[test]
    fn a_flag_wins_over_the_variable_and_lists_may_be_repeated() {
        let Command::Run(flags) =
            parsed(&["--tags", "a:1", "--tags=b:2", "--no-cache", "--push=false"])
        else {
            panic!("not a run");
        };
        let mut given = RawInputs::from_env(&Env::from([
            ("INPUT_TAGS", "old:1"),
            ("INPUT_TARGET", "stage"),
        ]));
        flags.over(&mut given);
        let inputs = Inputs::parse(&given).unwrap();
        let tags: Vec<String> = inputs.tags.references().map(ToString::to_string).collect();
        assert_eq!(tags, ["docker.io/library/a:1", "docker.io/library/b:2"]);
        assert_eq!(inputs.target.as_deref(), Some("stage"));
        assert!(inputs.no_cache);
        assert_eq!(inputs.push, Some(false));
    }

    #[test]
    fn a_value_may_begin_with_a_hyphen() {
        let arguments = [
            "--buildkitd-flags",
            "--debug",
            "--outputs",
            "-",
            "--add-hosts",
            "-a:::1",
            "--pull",
        ];
        let Command::Run(flags) = parsed(&arguments) else {
            panic!("not a run");
        };
        let mut raw = RawInputs::default();
        flags.over(&mut raw);
        let inputs = Inputs::parse(&raw).unwrap();
        assert_eq!(inputs.buildkitd_flags.as_deref(), Some("--debug"));
        assert_eq!(inputs.outputs[0].to_string(), "type=tar,dest=-");
        assert_eq!(inputs.add_hosts, ["-a:::1"]);
        assert!(inputs.pull);
    }

    #[test]
    fn the_next_flag_is_no_value() {
        for arguments in [["--target", "--push"], ["--add-hosts", "--push=false"]] {
            let words = [&["fast-ecr-push"], arguments.as_slice()].concat();
            let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
            let error = parse(&words).unwrap_err().to_string();
            assert!(
                error.contains("the flag before it needs a value"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_secret_is_no_flag_but_a_file() {
        let Command::Run(flags) = parsed(&["--github-token-file", "/run/token"]) else {
            panic!("not a run");
        };
        assert_eq!(
            flags.secret_files,
            [("github-token", PathBuf::from("/run/token"))]
        );
        for flag in ["--github-token", "--secrets"] {
            let all = ["fast-ecr-push", flag, "x"].map(str::to_owned);
            assert!(parse(&all).is_err());
        }
    }

    #[test]
    fn compare_takes_files_and_a_format() {
        let Command::Compare { files, format } =
            parsed(&["compare", "a.json", "EKS=b.json", "--format", "csv"])
        else {
            panic!("not a comparison");
        };
        assert_eq!(files, ["a.json", "EKS=b.json"]);
        assert_eq!(format, Format::Csv);
        assert!(parse(&["fast-ecr-push", "compare"].map(str::to_owned)).is_err());
    }

    #[test]
    fn plan_takes_facts() {
        let Command::Plan { facts, .. } = parsed(&["plan", "--fact", "a=1", "--fact", "b=2"])
        else {
            panic!("not a plan");
        };
        assert_eq!(facts, ["a=1", "b=2"]);
    }
}
