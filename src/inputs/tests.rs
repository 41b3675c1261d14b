use secrecy::ExposeSecret as _;

use super::*;

fn parse<const N: usize>(pairs: [(&'static str, &str); N]) -> Result<Inputs, Vec<InputError>> {
    Inputs::parse(&pairs.into_iter().collect())
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

#[test]
fn reads_the_runners_variables_and_takes_empty_ones_as_unset() {
    let given = RawInputs::from_env(&Env::from([
        ("INPUT_CACHE-FROM", "type=registry,ref=a\ntype=gha"),
        ("INPUT_PUSH", ""),
        ("INPUT_NO-CACHE", " True "),
        ("INPUT_UNKNOWN", "x"),
    ]));
    let inputs = Inputs::parse(&given).unwrap();
    assert_eq!(
        texts(&inputs.cache_from),
        ["type=registry,ref=a", "type=gha"]
    );
    assert_eq!(inputs.push, None);
    assert!(inputs.no_cache);
    assert!(inputs.summary);
}

#[test]
fn each_kind_of_list_has_its_grammar() {
    let inputs = parse([
        ("tags", "a:1,b:2\nc:3"),
        ("build-args", "A=1,2\n\"B=x\ny\""),
        // A case of setup-buildx-action's own tests, and two on one line.
        (
            "driver-opts",
            "image=moby/buildkit:master\n\"env.no_proxy=localhost,127.0.0.1,.mydomain\"\nnamespace=a,replicas=2",
        ),
    ])
    .unwrap();
    assert_eq!(inputs.tags.references().count(), 3);
    assert_eq!(texts(&inputs.build_args), ["A=1,2", "B=x\ny"]);
    let pair = |name: &str, value: &str| driver_options::DriverOption {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    assert_eq!(
        inputs.driver_opts,
        [
            pair("image", "moby/buildkit:master"),
            pair("env.no_proxy", "localhost,127.0.0.1,.mydomain"),
            pair("namespace", "a"),
            pair("replicas", "2"),
        ]
    );
}

#[test]
fn reports_all_wrong_inputs_together() {
    let errors = parse([
        ("driver", "podman"),
        ("compression-level", "23"),
        ("push", "yes"),
        ("platforms", "linux/arm64/v8/x"),
        ("outputs", "type=image,push"),
        ("driver-opts", "=x"),
        ("aws-region", "Frankfurt!"),
        ("tags", "\"a"),
        ("target", "a\nb"),
    ])
    .unwrap_err();
    let names: Vec<&str> = errors.iter().map(|error| error.input).collect();
    assert_eq!(
        names,
        [
            "tags",
            "aws-region",
            "target",
            "platforms",
            "push",
            "outputs",
            "driver",
            "driver-opts",
            "compression-level"
        ]
    );
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts[6],
        "input `driver`: `podman` given, expected one of `auto`, `local`, `docker`, `docker-container`, `kubernetes`"
    );
    assert_eq!(
        texts[8],
        "input `compression-level`: `23` given, expected a whole number from 0 to 22"
    );
}

#[test]
fn a_branch_with_repository_is_an_error_with_both_remedies() {
    let tags = ("tags", "feature/login\n1\nrefs/tags/v1");
    let errors = parse([("repository", "team/app"), tags]).unwrap_err();
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert_eq!(
        texts[0],
        "input `tags`: `feature/login` is not a tag, and with `repository` a full image name needs a registry and a \
         tag (for a tag of `repository` use `type=ref,event=branch` or `type=raw,value=feature/login`, which give \
         `feature-login`; for another image write its full name, `docker.io/feature/login:latest`)"
    );
    // Without `repository` it is Docker Hub's, as for docker.
    let inputs = parse([("tags", "feature/login")]).unwrap();
    assert_eq!(inputs.tags.references().count(), 1);
}

#[test]
fn a_wrong_reference_is_named_with_the_reason() {
    let errors = parse([("tags", "r.example/App:1\ntype=foo")]).unwrap_err();
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2);
    assert!(
        texts[0].starts_with("input `tags`: `r.example/App:1` is not an image reference"),
        "{}",
        texts[0]
    );
    assert!(texts[1].contains("`type=foo`"), "{}", texts[1]);
}

#[test]
fn a_build_argument_of_a_variable_that_is_not_set_has_no_effect() {
    for (text, kept, unset) in [
        ("hunter2", &[][..], &[1][..]),
        ("SET\nhunter2\nA=b", &["SET", "A=b"], &[2]),
        (
            "A=b\nSET\nNPM_TOKEN\nhttp_proxy\nset",
            &["A=b", "SET", "set"],
            &[3, 4],
        ),
        (
            "A=b\nVERSION=\nversion=",
            &["A=b", "VERSION=", "version="],
            &[],
        ),
    ] {
        let variables = [("INPUT_BUILD-ARGS", text), ("SET", ""), ("set", "x")];
        let raw = RawInputs::from_env(&Env::from(variables));
        let inputs = Inputs::parse(&raw).unwrap();
        assert_eq!(texts(&inputs.build_args), kept, "{text}");
        let lines = unset.iter().map(|number| {
            format!("item {number} of `build-args` names an environment variable that is not set: it has no effect")
        });
        assert_eq!(raw.unset_arguments(), lines.collect::<Vec<_>>(), "{text}");
    }
}

/// The rest of a value of several lines may look like a name, or like a name with a value.
#[test]
fn what_may_be_the_rest_of_a_build_argument_is_refused_and_not_shown() {
    for rest in [
        "hunter2",
        "B=c\nhunter2",
        "NPM_TOKEN\nhunter2",
        "SET\nhunter2",
        "hunter2 hunter3",
        "hunter2==",
        "Hunter2Hunter3H=",
        "hunter2/hunter3",
        "\"hunter2\": \"x\"",
        "}",
        "-----END RSA PRIVATE KEY-----",
    ] {
        let text = format!("KEY=first line\n{rest}");
        let variables = [("INPUT_BUILD-ARGS", text.as_str()), ("SET", "")];
        let errors = Inputs::parse(&RawInputs::from_env(&Env::from(variables))).unwrap_err();
        let number = text.lines().count();
        let error = errors[0].to_string();
        let start = format!(
            "input `build-args`: item {number} is invalid; expected `NAME=value`, or the `NAME` of an"
        );
        assert!(
            error.starts_with(&start) && errors.len() == 1,
            "{rest}: {errors:?}"
        );
        assert!(!error.contains("unter"), "{rest}: {error}");
    }
}

#[test]
fn attestations_are_booleans_or_attributes() {
    let of = |text| parse([("provenance", text)]).unwrap().provenance;
    let printed = |text| of(text).map(|attest| attest.to_string());
    assert_eq!(printed(""), None);
    assert_eq!(printed("false").unwrap(), "type=provenance,disabled=true");
    assert_eq!(printed("true").unwrap(), "type=provenance");
    assert_eq!(printed("mode=max").unwrap(), "type=provenance,mode=max");
}

#[test]
fn a_secret_is_not_shown_in_debug_output() {
    let pairs = [("github-token", "hidden"), ("secrets", "A=hidden")];
    let inputs = parse(pairs).unwrap();
    assert!(!format!("{inputs:?}").contains("hidden"));
    let env = Env::from([("INPUT_SECRETS", "A=hidden")]);
    assert!(!format!("{env:?} {:?}", RawInputs::from_env(&env)).contains("hidden"));
}

#[test]
fn what_buildx_would_refuse_is_refused_with_what_it_takes() {
    let cases: &[(&str, (&'static str, &str), &str)] = &[
        (
            "no address",
            ("add-hosts", "db"),
            "`db` given, expected `host:address`",
        ),
        (
            "another right",
            ("allow", "network.hosts"),
            "expected one of `network.host`, `security.insecure`",
        ),
        (
            "no value",
            ("annotations", "a"),
            "expected `[type[platform]:]name=value`",
        ),
        (
            "no type",
            ("attests", "mode=max"),
            "`mode=max` given, expected `type=<name>",
        ),
        (
            "attributes of nothing",
            ("sbom", "generator"),
            "`generator` given, expected a boolean, or attributes",
        ),
        (
            "no name",
            ("build-contexts", "../src"),
            "`../src` given, expected `name=context`",
        ),
        (
            "a registry with a path",
            ("registry", "ghcr.io/octo"),
            "`ghcr.io/octo` given, expected a registry's host, as `ghcr.io`",
        ),
        (
            "a registry that no name can begin with",
            ("registry", "registry"),
            "`registry` given, expected a registry's host",
        ),
        (
            "a cache of no kind",
            ("cache-to", "type=inline\ntype=regstry,ref=a"),
            "`type=regstry,ref=a` given, expected a cache type, one of `registry`, `inline`, `gha`, `local`, `s3`, `azblob`",
        ),
        (
            "a cache that nothing is read from",
            ("cache-from", "a/b:cache\ntype=ghaa"),
            "`type=ghaa` given, expected a cache type, one of `registry`, `inline`, `gha`",
        ),
        (
            "two methods",
            ("call", "check,outline"),
            "expected `check`, `outline` or `targets`",
        ),
        (
            "a network of Docker's",
            ("network", "bridge"),
            "expected one of `default`, `host`, `none`",
        ),
        (
            "no unit",
            ("shm-size", "2 gigs"),
            "`2 gigs` given, expected a number of bytes, or one with a unit",
        ),
        (
            "soft above hard",
            ("ulimit", "nofile=2:1"),
            "`nofile=2:1` given, expected `type=soft[:hard]`",
        ),
        (
            "the same id twice",
            ("ssh", "default,default=key"),
            "item 2 is invalid; expected another id",
        ),
        (
            "an empty secret",
            ("secrets", "A=b\nTOKEN="),
            "item 2 is invalid; expected a value for `TOKEN`",
        ),
        (
            "a secret's lines without quotes",
            ("secrets", "KEY=-----BEGIN\nhunter2"),
            "item 2 is invalid; expected `id=value`",
        ),
        (
            "an open quote",
            ("secrets", "\"KEY=hunter2"),
            "line 1: a double quote is opened and never closed (close it",
        ),
        (
            "a secret instead of its file",
            ("secret-files", "hunter2"),
            "item 1 is invalid; expected `id=path`",
        ),
        (
            "a secret instead of its variable",
            ("secret-envs", "hunter2"),
            "item 1 is invalid; expected `id=NAME`",
        ),
        (
            "a build argument's lines without quotes",
            ("build-args", "A=b\nKEY=-----BEGIN\nhunter2 hunter3"),
            "item 3 is invalid; expected `NAME=value`, or the `NAME` of an environment variable",
        ),
        (
            "an open quote in a build argument",
            ("build-args", "\"KEY=hunter2\nhunter3"),
            "line 1: a double quote is opened and never closed",
        ),
        (
            "a key instead of its path",
            (
                "ssh",
                "default=-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2",
            ),
            "item 1 is invalid; expected `default` or an id, or `id=path` with the path of a key",
        ),
        (
            "a key's lines",
            ("ssh", "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2"),
            "item 1 is invalid; expected `default` or an id",
        ),
        (
            "a label's lines without quotes",
            ("labels", "a=b\nhunter2 hunter3"),
            "item 2 is invalid; expected `name=value`; put a value of several lines",
        ),
        (
            "an annotation's lines without quotes",
            ("annotations", "a=b\nhunter2"),
            "item 2 is invalid; expected `[type[platform]:]name=value`",
        ),
        (
            "a builder that runs elsewhere",
            ("driver", "remote"),
            "expected one of `auto`, `local`, `docker`, `docker-container`, `kubernetes`; a builder that already runs elsewhere is not supported",
        ),
    ];
    for (name, pair, expected) in cases {
        let errors = parse([*pair]).unwrap_err();
        let [error] = errors.as_slice() else {
            panic!("{name}: {errors:?}");
        };
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("input `{}`: ", pair.0)),
            "{name}: {text}"
        );
        assert!(text.contains(expected), "{name}: {text}");
        assert!(!text.contains("hunter2"), "{name}: {text}");
    }
}

#[test]
fn everything_secret_is_masked_also_where_it_can_not_be_read() {
    let masked = |name, text: &str| {
        let texts = RawInputs::from_iter([(name, text)]).to_mask();
        let texts = texts.iter().map(|text| text.expose_secret().to_owned());
        texts.collect::<Vec<String>>().join("|")
    };
    assert_eq!(masked("github-token", "abc"), "abc");
    assert_eq!(masked("secrets", "A=b\n\"C=d\n\ne\""), "b|d\n\ne");
    assert_eq!(masked("secrets", "\"A=b\nc"), "\"A=b\nc");
    assert_eq!(masked("target", "abc"), "");
    let keys =
        "type=s3,access_key_id=a,secret_access_key=b\n\"Type=gha\",TOKEN=c\ntype=gha,scope=token";
    assert_eq!(masked("cache-to", keys), "b|c");
    assert_eq!(masked("cache-from", "type=s3,\"session_token=d\",x"), "d");
}

#[test]
fn caches_are_taken_as_buildx_takes_them() {
    let caches = "type=registry,ref=a\n\"Type=local\",src=x\nuser/app:cache\ntype=gha,scope=a";
    let inputs = parse([("cache-from", caches), ("cache-to", "type=s3,bucket=b")]).unwrap();
    assert_eq!(inputs.cache_from.len(), 4);
    assert_eq!(texts(&inputs.cache_to), ["type=s3,bucket=b"]);
}

#[test]
fn a_cluster_builds_when_asked_for_or_given() {
    for (pairs, wanted, falls_back) in [
        (&[][..], false, true),
        (&[("driver", "kubernetes")], true, false),
        (&[("eks-cluster", "c")], true, true),
        (&[("kubeconfig", "x: y")], true, true),
        (&[("kubeconfig", "x: y"), ("driver", "local")], false, false),
        (&[("eks-cluster", "c"), ("fallback", "fail")], true, false),
        (
            &[("driver", "kubernetes"), ("fallback", "local")],
            true,
            true,
        ),
    ] {
        let inputs = Inputs::parse(&pairs.iter().copied().collect()).unwrap();
        assert_eq!(inputs.wants_cluster(), wanted, "{pairs:?}");
        assert_eq!(inputs.falls_back(), falls_back, "{pairs:?}");
        assert!(!format!("{inputs:?}").contains("x: y"));
    }
}
