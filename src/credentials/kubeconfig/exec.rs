//! A kubeconfig's commands for credentials.
//!
//! Our image has neither of the two programs that make EKS tokens: their entries become a
//! [`TokenRequest`]. `aws eks get-token`: <https://docs.aws.amazon.com/cli/latest/reference/eks/get-token.html>;
//! `aws-iam-authenticator token`: <https://github.com/kubernetes-sigs/aws-iam-authenticator>.

use kube::config::ExecConfig;

use crate::aws::eks::TokenRequest;

/// The meaning of an exec entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Exec {
    /// A token for an EKS cluster.
    Eks(TokenRequest),
    /// The name of another program.
    Other(String),
    /// One of AWS's programs with an unsupported argument.
    Unknown { program: String, argument: String },
}

/// Ignored arguments of both programs, with the number of their values.
const IGNORED: &[(&str, usize)] = &[
    ("--output", 1),
    ("--color", 1),
    ("--no-cli-pager", 0),
    ("--no-paginate", 0),
    ("--debug", 0),
    ("--cache", 0),
    ("--token-only", 0),
    ("--forward-session-name", 0),
    ("--session-name", 1),
    ("-s", 1),
];

pub(super) fn read(config: &ExecConfig) -> Exec {
    let command = config.command.as_deref().unwrap_or_default();
    let program = command.rsplit(['/', '\\']).next().unwrap_or_default();
    let program = program.strip_suffix(".exe").unwrap_or(program);
    let arguments: Vec<&str> = config.args.iter().flatten().map(String::as_str).collect();
    let subcommand: &[&str] = match program {
        "aws" => &["eks", "get-token"],
        "aws-iam-authenticator" | "heptio-authenticator-aws" => &["token"],
        _ => return Exec::Other(command.to_owned()),
    };
    let mut request = TokenRequest {
        region: variable(config, "AWS_REGION").or_else(|| variable(config, "AWS_DEFAULT_REGION")),
        profile: variable(config, "AWS_PROFILE"),
        ..TokenRequest::default()
    };
    let unknown = |argument: &str| Exec::Unknown {
        program: program.to_owned(),
        argument: argument.to_owned(),
    };
    let mut seen = 0;
    let mut rest = arguments.iter().copied();
    while let Some(argument) = rest.next() {
        let (flag, inline) = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with('-') => (flag, Some(value)),
            _ => (argument, None),
        };
        let target = match flag {
            "--cluster-name" | "--cluster-id" | "-i" => &mut request.cluster,
            "--region" => request.region.get_or_insert_default(),
            "--role-arn" | "--role" | "-r" => request.role.get_or_insert_default(),
            "--external-id" | "-e" => request.external_id.get_or_insert_default(),
            "--profile" => request.profile.get_or_insert_default(),
            word if subcommand.get(seen) == Some(&word) => {
                seen += 1;
                continue;
            }
            other => match IGNORED.iter().find(|(name, _)| *name == other) {
                Some((_, values)) => {
                    if inline.is_none() {
                        rest.by_ref().take(*values).for_each(drop);
                    }
                    continue;
                }
                None => return unknown(argument),
            },
        };
        match inline.or_else(|| rest.next()) {
            Some(value) if !value.is_empty() => *target = value.to_owned(),
            _ => return unknown(argument),
        }
    }
    if seen < subcommand.len() || request.cluster.is_empty() {
        return unknown("no cluster");
    }
    Exec::Eks(request)
}

fn variable(config: &ExecConfig, name: &str) -> Option<String> {
    config
        .env
        .iter()
        .flatten()
        .find(|entry| entry.get("name").is_some_and(|other| other == name))
        .and_then(|entry| entry.get("value"))
        .filter(|value| !value.is_empty())
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(line: &str, env: &[(&str, &str)]) -> Exec {
        let mut words = line.split_whitespace().map(str::to_owned);
        let pair = |(name, value): &(&str, &str)| {
            let entry = [("name", *name), ("value", *value)];
            entry
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into()
        };
        read(&ExecConfig {
            command: words.next(),
            args: Some(words.collect()),
            env: Some(env.iter().map(pair).collect()),
            ..ExecConfig::default()
        })
    }

    fn request(
        cluster: &str,
        region: Option<&str>,
        role: Option<&str>,
        profile: Option<&str>,
    ) -> Exec {
        Exec::Eks(TokenRequest {
            cluster: cluster.to_owned(),
            region: region.map(str::to_owned),
            role: role.map(str::to_owned),
            external_id: None,
            profile: profile.map(str::to_owned),
        })
    }

    #[test]
    fn awss_commands_become_requests_for_a_token() {
        let west = Some("eu-west-1");
        for (line, env, expected) in [
            (
                "aws --region eu-west-1 eks get-token --cluster-name c --output json",
                &[][..],
                request("c", west, None, None),
            ),
            (
                "/usr/local/bin/aws eks get-token --cluster-name=c --region=eu-west-1 --role-arn arn:r",
                &[],
                request("c", west, Some("arn:r"), None),
            ),
            (
                "aws eks get-token --cluster-name c --role arn:r",
                &[("AWS_PROFILE", "p"), ("AWS_REGION", "eu-west-1")],
                request("c", west, Some("arn:r"), Some("p")),
            ),
            (
                "aws eks get-token --cluster-name c --profile q",
                &[("AWS_PROFILE", "p"), ("AWS_DEFAULT_REGION", "eu-west-1")],
                request("c", west, None, Some("q")),
            ),
            (
                "aws-iam-authenticator token -i c -r arn:r",
                &[],
                request("c", None, Some("arn:r"), None),
            ),
            (
                "aws-iam-authenticator token --cluster-id c --forward-session-name -s n --region eu-west-1",
                &[],
                request("c", west, None, None),
            ),
        ] {
            assert_eq!(exec(line, env), expected, "{line}");
        }
    }

    #[test]
    fn an_unsupported_argument_is_named() {
        let unknown = |line: &str| match exec(line, &[]) {
            Exec::Unknown { argument, .. } => argument,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(
            unknown("aws --endpoint-url http://x eks get-token --cluster-name c"),
            "--endpoint-url"
        );
        assert_eq!(unknown("aws eks get-token"), "no cluster");
        assert_eq!(
            unknown("aws eks get-token --cluster-name"),
            "--cluster-name"
        );
        assert_eq!(unknown("aws sso login"), "sso");
        assert_eq!(
            exec("gke-gcloud-auth-plugin", &[]),
            Exec::Other("gke-gcloud-auth-plugin".into())
        );
    }
}
