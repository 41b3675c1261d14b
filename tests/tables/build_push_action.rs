//! Inputs → flags, a named row per case. The cases are those that docker/build-push-action tests
//! itself with (<https://github.com/docker/build-push-action/blob/cb941d0/__tests__/context.test.ts>),
//! for the versions of buildx that we take, and more for the inputs it has no case for.

use super::tests::argv;
use super::*;
use crate::facts::ImageStore;
use crate::inputs::RawInputs;

type Pairs<'a> = &'a [(&'static str, &'a str)];

/// A run of the original's tests, on this server.
fn run(server: &str) -> WorkflowRun {
    WorkflowRun {
        server_url: server.to_owned(),
        repository: "docker/build-push-action".to_owned(),
        git_ref: Some("refs/heads/master".to_owned()),
        run_id: Some("123456789".to_owned()),
        run_attempt: Some("1".to_owned()),
        ..WorkflowRun::default()
    }
}

/// The flags and the context, without those that every row has: the program, the files that buildx
/// writes, builder and progress, and the default provenance. Like the original, rows push nothing
/// unless they say so.
fn flags(pairs: Pairs<'_>, run: Option<&WorkflowRun>) -> Vec<String> {
    let mut given = RawInputs::default();
    if !pairs.iter().any(|(name, _)| *name == "outputs") {
        given.set("push", "false".to_owned());
    }
    // The original has none but for those that are given.
    given.set("cache", "none".to_owned());
    for (name, text) in pairs {
        given.set(name, (*text).to_owned());
    }
    let inputs = Inputs::parse(&given).unwrap();
    let dir = RunDir::at("/run".as_ref());
    let facts = Facts::example(ImageStore::Containerd);
    let plan = Plan::new(&inputs, run, &facts, &dir).unwrap();
    let mut argv = argv(&plan).into_iter().skip(1);
    let mut flags = Vec::new();
    while let Some(argument) = argv.next() {
        match argument.as_str() {
            "--metadata-file" | "--iidfile" | "--builder" | "--progress" => {
                argv.next();
            }
            "--attest" => {
                let attest = argv.next().unwrap();
                if attest != "type=provenance,disabled=true" {
                    flags.extend([argument, attest]);
                }
            }
            _ => flags.push(argument),
        }
    }
    flags
}

const GIT: &str = "https://github.com/docker/build-push-action.git#refs/heads/master";
const RUN: &str =
    "builder-id=https://github.com/docker/build-push-action/actions/runs/123456789/attempts/1";
const LOCAL: (&str, &str) = ("context", ".");
const TOKEN: (&str, &str) = ("github-token", "abcdefghijklmno0123456789");

#[test]
fn inputs_become_the_flags_that_build_push_action_makes_of_them() {
    let cases: &[(&str, Pairs<'_>, &str)] = &[
        ("nothing", &[LOCAL], "."),
        (
            "build arguments, one of several lines",
            &[(
                "build-args",
                "MY_ARG=val1,val2,val3\nARG=val\n\"MULTILINE=aaaa\nbbbb\nccc\"",
            )],
            &format!(
                "--build-arg MY_ARG=val1,val2,val3 --build-arg ARG=val --build-arg MULTILINE=aaaa\nbbbb\nccc {GIT}"
            ),
        ),
        (
            "a hash in a build argument",
            &[LOCAL, ("build-args", "FOO=bar#baz")],
            "--build-arg FOO=bar#baz .",
        ),
        (
            "tags",
            &[("tags", "name/app:7.4, name/app:latest")],
            &format!("--tag docker.io/name/app:7.4 --tag docker.io/name/app:latest {GIT}"),
        ),
        (
            "labels with commas, and an output",
            &[
                LOCAL,
                (
                    "labels",
                    "a.title=buildkit\na.description=concurrent, cache-efficient, and Dockerfile-agnostic",
                ),
                ("outputs", "type=local,dest=./release-out"),
            ],
            "--label a.title=buildkit --label a.description=concurrent, cache-efficient, and Dockerfile-agnostic --output type=local,dest=./release-out .",
        ),
        (
            "quotes inside a label",
            &[
                LOCAL,
                (
                    "labels",
                    "a.description=operation \"filter results (top-n)\"",
                ),
            ],
            "--label a.description=operation \"filter results (top-n)\" .",
        ),
        (
            "platforms",
            &[LOCAL, ("platforms", "linux/amd64,linux/arm64")],
            "--platform linux/amd64,linux/arm64 .",
        ),
        (
            "a secret",
            &[
                LOCAL,
                ("secrets", "GIT_AUTH_TOKEN=abcdefghijklmno=0123456789"),
            ],
            "--secret id=GIT_AUTH_TOKEN,src=/run/secret-0 .",
        ),
        (
            "the token for the Git context",
            &[TOKEN, ("outputs", ".")],
            &format!(
                "--output type=local,dest=. --secret id=GIT_AUTH_TOKEN.github.com,src=/run/git-token {GIT}"
            ),
        ),
        (
            "a Git context with a token of the user's",
            &[
                TOKEN,
                ("context", GIT),
                ("secrets", "GIT_AUTH_TOKEN=abc"),
                ("file", "./test/Dockerfile"),
            ],
            &format!("--file ./test/Dockerfile --secret id=GIT_AUTH_TOKEN,src=/run/secret-0 {GIT}"),
        ),
        (
            "a token for the host from a file",
            &[TOKEN, ("secret-files", "GIT_AUTH_TOKEN.github.com=./token")],
            &format!("--secret id=GIT_AUTH_TOKEN.github.com,src=./token {GIT}"),
        ),
        (
            "several secrets, some of several lines",
            &[
                LOCAL,
                (
                    "secrets",
                    "A=abcdefghi,jklmno=0123456789\n\"MYSECRET=aaaaaaaa\nbbbbbbb\nccccccccc\"\nFOO=bar\n\"EMPTYLINE=aaaa\n\nbbbb\nccc\"",
                ),
            ],
            "--secret id=A,src=/run/secret-0 --secret id=MYSECRET,src=/run/secret-1 --secret id=FOO,src=/run/secret-2 --secret id=EMPTYLINE,src=/run/secret-3 .",
        ),
        (
            "a secret from a file, and the network of the host",
            &[
                LOCAL,
                ("secret-files", "MY_SECRET=fixtures/secret.txt"),
                ("network", "host"),
            ],
            "--secret id=MY_SECRET,src=fixtures/secret.txt --network host .",
        ),
        (
            "secrets from variables, by line",
            &[
                LOCAL,
                (
                    "secret-envs",
                    "MY_SECRET=MY_SECRET_ENV\nANOTHER_SECRET=ANOTHER_SECRET_ENV",
                ),
            ],
            "--secret id=MY_SECRET,env=MY_SECRET_ENV --secret id=ANOTHER_SECRET,env=ANOTHER_SECRET_ENV .",
        ),
        (
            "secrets from variables, by comma, before the file",
            &[
                LOCAL,
                ("secret-envs", "A=A_ENV,B=B_ENV"),
                ("secrets", "C=c"),
                ("secret-files", "D=d"),
                ("file", "F"),
            ],
            "--secret id=A,env=A_ENV --secret id=B,env=B_ENV --file F --secret id=C,src=/run/secret-0 --secret id=D,src=d .",
        ),
        (
            "an id that needs quotes",
            &[LOCAL, ("secret-files", "\"a,b=c,d\"")],
            "--secret \"id=a,b\",\"src=c,d\" .",
        ),
        (
            "hosts by comma",
            &[
                LOCAL,
                ("add-hosts", "docker:10.180.0.1,foo:10.0.0.1"),
                ("network", "host"),
            ],
            "--add-host docker:10.180.0.1 --add-host foo:10.0.0.1 --network host .",
        ),
        (
            "hosts by line, cgroup, shared memory, limits",
            &[
                LOCAL,
                ("file", "./test/Dockerfile"),
                ("add-hosts", "docker:10.180.0.1\nfoo:10.0.0.1"),
                ("cgroup-parent", "foo"),
                ("shm-size", "2g"),
                ("ulimit", "nofile=1024:1024\nnproc=3"),
            ],
            "--add-host docker:10.180.0.1 --add-host foo:10.0.0.1 --cgroup-parent foo --file ./test/Dockerfile --shm-size 2g --ulimit nofile=1024:1024 --ulimit nproc=3 .",
        ),
        (
            "a folder of the default context",
            &[("context", "{{defaultContext}}:docker")],
            &format!("{GIT}:docker"),
        ),
        (
            "the same with a token, and in handlebars' other form",
            &[TOKEN, ("context", "{{{ defaultContext }}}:subdir")],
            &format!("--secret id=GIT_AUTH_TOKEN.github.com,src=/run/git-token {GIT}:subdir"),
        ),
        (
            "named contexts",
            &[
                LOCAL,
                (
                    "build-contexts",
                    "base=docker-image://alpine:3.20\nsrc={{defaultContext}}:src",
                ),
            ],
            &format!(
                "--build-context base=docker-image://alpine:3.20 --build-context src={GIT}:src ."
            ),
        ),
        (
            "provenance",
            &[LOCAL, ("provenance", "true")],
            &format!("--attest type=provenance,{RUN} ."),
        ),
        (
            "provenance with a mode",
            &[LOCAL, ("provenance", "mode=max")],
            &format!("--attest type=provenance,mode=max,{RUN} ."),
        ),
        ("no provenance", &[LOCAL, ("provenance", "false")], "."),
        (
            "another builder id",
            &[LOCAL, ("provenance", "builder-id=foo")],
            "--attest type=provenance,builder-id=foo .",
        ),
        (
            "SBOM and provenance",
            &[LOCAL, ("provenance", "mode=max"), ("sbom", "true")],
            &format!("--attest type=provenance,mode=max,{RUN} --attest type=sbom ."),
        ),
        (
            "`provenance` wins over `attests`",
            &[
                LOCAL,
                ("attests", "type=provenance,mode=min"),
                ("provenance", "mode=max"),
            ],
            &format!("--attest type=provenance,mode=max,{RUN} ."),
        ),
        (
            "`attests` alone",
            &[
                LOCAL,
                (
                    "attests",
                    "type=provenance,mode=min\ntype=sbom,generator=a/b",
                ),
            ],
            &format!("--attest type=provenance,mode=min,{RUN} --attest type=sbom,generator=a/b ."),
        ),
        (
            "`sbom` switches off what `attests` asks for",
            &[LOCAL, ("attests", "type=sbom"), ("sbom", "false")],
            ".",
        ),
        (
            "a docker output",
            &[LOCAL, ("outputs", "type=docker")],
            "--output type=docker .",
        ),
        ("load", &[LOCAL, ("load", "true")], "--output type=docker ."),
        (
            "annotations at every level",
            &[
                LOCAL,
                (
                    "annotations",
                    "example1=www\nindex:example2=xxx\nmanifest:example3=yyy\nmanifest-descriptor[linux/amd64]:example4=zzz",
                ),
                ("outputs", "type=local,dest=./release-out"),
            ],
            "--annotation example1=www --annotation index:example2=xxx --annotation manifest:example3=yyy --annotation manifest-descriptor[linux/amd64]:example4=zzz --output type=local,dest=./release-out .",
        ),
        (
            "push by digest",
            &[
                LOCAL,
                (
                    "outputs",
                    "type=image,\"name=localhost:5000/name/app,localhost:5000/name/two\",push-by-digest=true,name-canonical=true,push=true",
                ),
            ],
            "--output type=image,\"name=localhost:5000/name/app,localhost:5000/name/two\",push-by-digest=true,name-canonical=true,push=true .",
        ),
        (
            "push by digest into `repository`",
            &[
                LOCAL,
                ("repository", "app"),
                ("registry", "r.example"),
                ("push", "true"),
                ("outputs", "type=image,push-by-digest=true"),
            ],
            "--output type=image,push-by-digest=true,push=true,name=r.example/app .",
        ),
        (
            "several outputs",
            &[
                LOCAL,
                ("tags", "r.example/a:1"),
                (
                    "outputs",
                    "type=local,dest=out\ntype=image,push=true\ntype=oci,dest=a.tar",
                ),
            ],
            "--output type=local,dest=out --output type=image,push=true --output type=oci,dest=a.tar --tag r.example/a:1 .",
        ),
        (
            "rights, stages without cache, SSH, target",
            &[
                LOCAL,
                ("allow", "network.host,security.insecure"),
                ("no-cache-filters", "one, two"),
                ("ssh", "default,key=./id"),
                ("target", "prod"),
                ("pull", "true"),
            ],
            "--allow network.host --allow security.insecure --no-cache-filter one --no-cache-filter two --ssh default --ssh key=./id --target prod --pull .",
        ),
        (
            "a call has no tags, outputs and cache exports",
            &[
                LOCAL,
                ("call", "check"),
                ("tags", "v1"),
                ("cache-to", "type=inline"),
                ("cache-from", "type=gha"),
            ],
            "--cache-from type=gha --call check .",
        ),
        (
            "a call that builds is none",
            &[LOCAL, ("call", "build"), ("tags", "r.example/a:1")],
            "--tag r.example/a:1 .",
        ),
    ];
    let run = run("https://github.com");
    for (name, pairs, expected) in cases {
        assert_eq!(flags(pairs, Some(&run)).join(" "), *expected, "{name}");
    }
}

#[test]
fn the_token_is_for_the_host_that_the_run_is_on() {
    for (server, host) in [
        ("http://10.0.0.5:22827", "10.0.0.5:22827"),
        ("https://github.example.com", "github.example.com"),
    ] {
        let context = ("context", "{{defaultContext}}");
        assert_eq!(
            flags(&[TOKEN, context], Some(&run(server))),
            [
                "--secret".to_owned(),
                format!("id=GIT_AUTH_TOKEN.{host},src=/run/git-token"),
                format!("{server}/docker/build-push-action.git#refs/heads/master"),
            ]
        );
    }
}
