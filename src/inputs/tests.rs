use super::*;

fn parse<const N: usize>(pairs: [(&'static str, &str); N]) -> Result<Inputs, Vec<InputError>> {
    let mut given = Given::default();
    for (name, text) in pairs {
        given.set(name, text.to_owned());
    }
    Inputs::parse(&given)
}

#[test]
fn reads_the_runners_variables_and_takes_empty_ones_as_unset() {
    let given = Given::from_env(&Env::from([
        ("INPUT_CACHE-FROM", "type=registry,ref=a\ntype=gha"),
        ("INPUT_PUSH", ""),
        ("INPUT_NO-CACHE", " True "),
        ("INPUT_UNKNOWN", "x"),
    ]));
    let inputs = Inputs::parse(&given).unwrap();
    assert_eq!(inputs.cache_from, ["type=registry,ref=a", "type=gha"]);
    assert_eq!(inputs.push, None);
    assert!(inputs.no_cache);
    assert!(inputs.summary);
}

#[test]
fn each_kind_of_list_has_its_grammar() {
    let inputs = parse([
        ("tags", "a:1,b:2\nc:3"),
        ("build-args", "A=1,2\n\"B=x\ny\""),
        ("driver-opts", "env.A=\"x,y\"\nimage=a:b\nimage=c:d"),
    ])
    .unwrap();
    assert_eq!(inputs.tags, ["a:1", "b:2", "c:3"]);
    assert_eq!(inputs.build_args, ["A=1,2", "B=x\ny"]);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        inputs.driver_opts,
        [
            pair("env.A", "\"x,y\""),
            pair("image", "a:b"),
            pair("image", "c:d")
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
fn every_choice_of_the_table_has_a_value() {
    let drivers = [
        Driver::Auto,
        Driver::Local,
        Driver::Docker,
        Driver::DockerContainer,
        Driver::Kubernetes,
    ];
    for (name, expected) in spec::DRIVERS.iter().zip(drivers) {
        assert_eq!(parse([("driver", name)]).unwrap().driver, expected);
    }
    assert_eq!(spec::DRIVERS.len(), drivers.len());
    for name in spec::COMPRESSIONS {
        let compression = parse([("compression", name)]).unwrap().compression;
        assert_eq!(compression.name().unwrap_or("auto"), *name);
    }
}

#[test]
fn attestations_are_booleans_or_attributes() {
    let of = |text| parse([("provenance", text)]).unwrap().provenance;
    assert_eq!(of(""), Attestation::Off);
    assert_eq!(of("false"), Attestation::Off);
    assert_eq!(of("true"), Attestation::On);
    assert_eq!(of("mode=max"), Attestation::With("mode=max".into()));
}

#[test]
fn a_secret_is_not_shown_in_debug_output() {
    let inputs = parse([("github-token", "hidden")]).unwrap();
    assert!(!format!("{inputs:?}").contains("hidden"));
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
        let mut given = Given::default();
        for (name, text) in pairs {
            given.set(name, (*text).to_owned());
        }
        let inputs = Inputs::parse(&given).unwrap();
        assert_eq!(inputs.wants_cluster(), wanted, "{pairs:?}");
        assert_eq!(inputs.falls_back(), falls_back, "{pairs:?}");
        assert!(!format!("{inputs:?}").contains("x: y"));
    }
}
