//! One time for what packages own: Python finds its bytecode as fresh as before, and nothing but times differs.

use super::{Image, PLAIN};
use crate::rig::Action;
use crate::runner::docker;

/// What Python says of the bytecode of its modules, with the packages that it finds. Addresses and order of threads are left out.
const SAYS: &str = r#"
for python in "$@"; do
    $python -B -v -c "$MODULES" 2>&1 | sed -nE "/bytecode is stale|matches|could not|Error/{s/0x[0-9a-f]+//;p}"
    $python -m pip list --format=freeze 2>&1
    $python -m pip check 2>&1
done
true
"#;

/// A container of which nothing can be written, by an ordinary user.
const READ_ONLY: [&str; 7] = [
    "run",
    "--rm",
    "--read-only",
    "--user",
    "1000",
    "--network",
    "none",
];

/// Two pushes of an image, with times kept and with one time for packages.
fn pushed(image: &Image) -> [String; 2] {
    let dockerfile = format!("{}{}", image.from(), image.dockerfile);
    ["keep", "packages"].map(|times| {
        let tag = image.tag(times);
        Action::new(&dockerfile)
            .input("cache", "none")
            .input("allow", "network.host")
            .input("tags", &tag)
            .input("accelerate", "on")
            .input("layer-times", times)
            .run()
            .succeeded();
        tag
    })
}

/// What is said in a container of which nothing can be written, by an ordinary user.
fn said(image: &str, modules: &str, pythons: &[&str]) -> Vec<String> {
    let modules = format!("MODULES=import {modules}");
    let variables = ["--env", &modules];
    let shell = ["--entrypoint", "sh", image, "-c", SAYS, "sh"];
    let text = docker(&[&READ_ONLY[..], &variables, &shell, pythons].concat());
    text.lines().map(str::to_owned).collect()
}

/// Compares what Python says, and every file but for times and the headers of bytecode.
fn is_as_fresh(image: &Image, modules: &str, pythons: &[&str], stale: usize) {
    let tags = pushed(image);
    let [kept, packages] = tags.each_ref().map(|tag| said(tag, modules, pythons));
    assert_eq!(packages, kept);
    let count = |word: &str| packages.iter().filter(|line| line.contains(word)).count();
    assert_eq!(count("bytecode is stale"), stale, "{packages:#?}");
    assert!(count("matches") > 20, "{packages:#?}");
    let list = r#"find / -xdev \( -path /proc -o -path /sys -o -path /dev \) -prune -o ! -type d -printf '%p %y %m %U %G %s %l ' -exec sh -c \
                  'case "$1" in *.pyc) tail -c +17 "$1";; *) [ -f "$1" ] && [ ! -L "$1" ] && cat "$1";; esac | md5sum' sh {} \;"#;
    let [kept, packages] = tags.each_ref().map(|tag| {
        let run = [
            "run",
            "--rm",
            "--user",
            "0",
            "--network",
            "none",
            "--hostname",
            "x",
        ];
        let mut lines: Vec<String> =
            docker(&[&run[..], &["--entrypoint", "sh", tag, "-c", list]].concat())
                .lines()
                .map(str::to_owned)
                .collect();
        lines.sort();
        lines
    });
    assert!(kept.len() > 1000, "{}", kept.len());
    assert_eq!(packages, kept);
    println!(
        "| {} | {} files | {stale} out of date, as before |",
        image.name,
        kept.len()
    );
    for tag in &tags {
        docker(&["image", "rm", tag]);
    }
}

#[test]
#[ignore = "takes minutes; `make trees` runs it"]
fn python_takes_bytecode_of_pip_uv_poetry_and_editable_installations_as_before() {
    let image = Image {
        name: "times",
        dockerfile: include_str!("times.steps"),
        ..PLAIN
    };
    let modules = "importlib\nfor name in ['requests', 'zope.interface', 'ruamel.yaml', 'zope.event', 'attr', 'yaml', 'sphinxcontrib.jsmath', 'app', 'mine', 'egged', 'charset_normalizer', 'json']:\n    \
                   try: importlib.import_module(name)\n    except ImportError as error: print('Error', error)";
    let pythons = [
        "python3",
        "/opt/linked/bin/python",
        "/opt/copied/bin/python",
        "/opt/by-poetry/bin/python",
    ];
    is_as_fresh(&image, modules, &pythons, 1);
}

#[test]
#[ignore = "takes minutes; `make trees` runs it"]
fn python_takes_bytecode_of_debians_and_condas_packages_as_before() {
    let debian = Image {
        name: "times-debian",
        dockerfile: include_str!("debian.steps"),
        ..PLAIN
    };
    is_as_fresh(&debian, "json, email, http.client", &["python3"], 0);
    let conda = Image {
        name: "times-conda",
        dockerfile: include_str!("conda.steps"),
        ..PLAIN
    };
    is_as_fresh(&conda, "yaml, idna, json", &["/opt/conda/bin/python"], 0);
}

#[test]
#[ignore = "takes minutes; `make trees` runs it"]
fn java_takes_archives_of_classes_as_before() {
    let image = Image {
        name: "times-java",
        dockerfile: include_str!("java.steps"),
        ..PLAIN
    };
    let tags = pushed(&image);
    // `-Xshare:on` makes it an error when an archive does not fit.
    for command in [
        "java -Xshare:on -version",
        "java -Xshare:on -XX:SharedArchiveFile=/opt/tabula.jsa -Xlog:class+load -cp $JAR technology.tabula.CommandLineApp --version",
    ] {
        let [kept, packages] = tags.each_ref().map(|tag| {
            let shell = ["--entrypoint", "sh", tag, "-c", command];
            let said = docker(&[&READ_ONLY[..], &shell].concat());
            said.matches("shared objects file (top)").count()
        });
        println!("| {command} | {kept} classes from the archive | {packages} |");
        assert_eq!(packages, kept, "{command}");
        assert_eq!(kept > 0, command.contains("tabula"), "{command}");
    }
    for tag in &tags {
        docker(&["image", "rm", tag]);
    }
}
