use secrecy::ExposeSecret as _;

use super::*;
use crate::inputs::RawInputs;

const ARN: &str = "arn:aws:iam::123456789012:role/deploy";
const OIDC: [(&str, &str); 2] = [
    ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://oidc.test/?a=b"),
    ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary"),
];
const KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "canary"),
];

fn choose(
    inputs: &[(&'static str, &str)],
    variables: &[(&str, &str)],
) -> Result<Settings, Vec<String>> {
    let mut given = RawInputs::default();
    for (name, text) in inputs {
        given.set(name, (*text).to_owned());
    }
    let pairs = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let env = Env::default().with(pairs);
    Settings::choose(&Inputs::parse(&given).unwrap(), &env)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// The source of the credentials, in short.
fn way(source: &Source) -> String {
    match source {
        Source::Chain => "chain".to_owned(),
        Source::Profile(name) => format!("profile {name}"),
        Source::Keys(keys) => format!("keys {}", keys.id.expose_secret()),
        Source::Role(role) => match &role.with {
            AssumeWith::GitHub { audience, .. } => format!("{} by GitHub, {audience}", role.name),
            AssumeWith::TokenFile(path) => format!("{} by {}", role.name, path.display()),
            AssumeWith::Credentials(source) => format!("{} by {}", role.name, way(source)),
        },
    }
}

#[test]
fn credentials_come_from_where_configure_aws_credentials_takes_them() {
    let role = ("role-to-assume", ARN);
    let id = ("aws-access-key-id", "AKIDINPUT");
    let secret = ("aws-secret-access-key", "canary");
    let both = [OIDC, KEYS].concat();
    let cases = [
        ("nothing", &[][..], &[][..], "chain".to_owned()),
        ("keys before us", &[], &KEYS, "keys AKIDEXAMPLE".to_owned()),
        ("no role, no OpenID Connect", &[], &OIDC, "chain".to_owned()),
        (
            "keys as inputs",
            &[id, secret],
            &both,
            "keys AKIDINPUT".to_owned(),
        ),
        (
            "a profile",
            &[("aws-profile", "dev")],
            &KEYS,
            "profile dev".to_owned(),
        ),
        (
            "a role",
            &[role],
            &OIDC,
            format!("{ARN} by GitHub, sts.amazonaws.com"),
        ),
        (
            "a role with keys before us",
            &[role],
            &both,
            format!("{ARN} by GitHub, sts.amazonaws.com"),
        ),
        (
            "another audience",
            &[role, ("audience", "a b")],
            &OIDC,
            format!("{ARN} by GitHub, a b"),
        ),
        (
            "a role by a role",
            &[role, ("role-chaining", "true")],
            &both,
            format!("{ARN} by keys AKIDEXAMPLE"),
        ),
        (
            "a role by keys as inputs",
            &[role, id, secret],
            &both,
            format!("{ARN} by keys AKIDINPUT"),
        ),
        (
            "a role by a file",
            &[role, ("web-identity-token-file", "/t")],
            &both,
            format!("{ARN} by /t"),
        ),
        (
            "a role without permission",
            &[role],
            &[],
            format!("{ARN} by chain"),
        ),
        (
            "a name in the registry's account",
            &[
                ("role-to-assume", "deploy"),
                ("tags", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/a:1"),
            ],
            &OIDC,
            format!("{ARN} by GitHub, sts.amazonaws.com"),
        ),
        (
            "a name in the allowed account",
            &[
                ("role-to-assume", "deploy"),
                ("allowed-account-ids", "123456789012"),
                ("aws-region", "cn-north-1"),
            ],
            &OIDC,
            "arn:aws-cn:iam::123456789012:role/deploy by GitHub, sts.amazonaws.com".to_owned(),
        ),
        (
            "a name in the keys' account",
            &[("role-to-assume", "deploy")],
            &KEYS,
            "deploy by keys AKIDEXAMPLE".to_owned(),
        ),
        (
            "a name in the account of the keys, whatever the registry's",
            &[
                ("role-to-assume", "deploy"),
                ("tags", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/a:1"),
            ],
            &KEYS,
            "deploy by keys AKIDEXAMPLE".to_owned(),
        ),
        (
            "a name in the account of the role before it",
            &[
                ("role-to-assume", "deploy"),
                ("role-chaining", "true"),
                ("allowed-account-ids", "123456789012"),
                ("registry", "123456789012.dkr.ecr.eu-west-1.amazonaws.com"),
            ],
            &both,
            "deploy by keys AKIDEXAMPLE".to_owned(),
        ),
    ];
    for (name, inputs, variables, expected) in cases {
        let settings = choose(inputs, variables).unwrap();
        assert_eq!(way(&settings.source), expected, "{name}");
    }
}

#[test]
fn contradicting_inputs_are_named() {
    let role = ("role-to-assume", ARN);
    let cases = [
        (
            &[("aws-access-key-id", "AKID")][..],
            "input `aws-secret-access-key`: nothing given, expected a key, since `aws-access-key-id` is set",
        ),
        (
            &[("aws-secret-access-key", "canary")],
            "input `aws-access-key-id`: nothing given, expected a key",
        ),
        (
            &[("aws-session-token", "canary")],
            "input `aws-access-key-id`: nothing given, expected a key, since `aws-session-token` is set",
        ),
        (
            &[("role-session-name", "abc")],
            "input `role-session-name`: `abc` given, expected `role-to-assume` to be set as well",
        ),
        (
            &[("role-chaining", "true")],
            "input `role-chaining`: `true` given, expected `role-to-assume`",
        ),
        (
            &[
                role,
                ("role-chaining", "true"),
                ("role-duration-seconds", "3601"),
            ],
            "input `role-duration-seconds`: `3601` given, expected at most 3600",
        ),
        (
            &[role, ("allowed-account-ids", "210987654321")],
            "input `role-to-assume`: `arn:aws:iam::123456789012:role/deploy` given, expected a role in one of \
             `allowed-account-ids` (210987654321), not in 123456789012",
        ),
        (
            &[("role-to-assume", "deploy")],
            "input `role-to-assume`: `deploy` given, expected the role's ARN",
        ),
        (
            &[
                role,
                ("web-identity-token-file", "/t"),
                ("aws-profile", "p"),
            ],
            "input `web-identity-token-file`: `/t` given, expected one way",
        ),
        (
            &[
                ("aws-profile", "p"),
                ("aws-access-key-id", "AKID"),
                ("aws-secret-access-key", "canary"),
            ],
            "input `aws-profile`: `p` given, expected either",
        ),
    ];
    for (inputs, expected) in cases {
        let errors = choose(inputs, &OIDC).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with(expected), "{}", errors[0]);
        assert!(!errors[0].contains("canary"), "{}", errors[0]);
    }
}

#[test]
fn settings_survive_their_file_and_debug_output_has_no_secret() {
    let role = [("role-to-assume", ARN), ("role-external-id", "x1")];
    let chained = [role[0], ("role-chaining", "true")];
    for (inputs, variables) in [(&role, OIDC), (&chained, KEYS)] {
        let settings = choose(inputs, &variables).unwrap();
        let text = serde_json::to_string(&settings).unwrap();
        assert!(text.contains("canary"));
        let read: Settings = serde_json::from_str(&text).unwrap();
        assert_eq!(way(&read.source), way(&settings.source));
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert!(!format!("{settings:?}").contains("canary"));
    }
}
