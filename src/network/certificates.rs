//! Certificates of private authorities: of a proxy that opens TLS, of a company's registries and servers.
//!
//! In: the variables that name them. Out: trust in every TLS client here. Our HTTP clients (<https://docs.rs/rustls-native-certs>) and buildx
//! (<https://pkg.go.dev/crypto/x509#SystemCertPool>) read `SSL_CERT_FILE` and `SSL_CERT_DIR` themselves, but not `NODE_EXTRA_CA_CERTS`, the
//! variable for JavaScript actions: [`bundle`] adds it to a file for them. Builders in containers and pods get [`named`].

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::runner::env::Env;
use crate::runner::mounts;

/// Replaces the system's certificates.
pub(crate) const FILE: &str = "SSL_CERT_FILE";
/// Directories, separated by `:`.
pub(crate) const FOLDERS: &str = "SSL_CERT_DIR";
/// Adds to them (<https://nodejs.org/api/cli.html#node_extra_ca_certsfile>).
const EXTRA: &str = "NODE_EXTRA_CA_CERTS";

/// The folder of files that a process inherits open.
pub(crate) const INHERITED: &str = "/proc/self/fd/";

/// Separates the system's certificates from the named ones in the file of [`bundle`]. Programs ignore it
/// (<https://www.rfc-editor.org/rfc/rfc7468#section-5.2>).
const NAMED_BELOW: &str = "# Of NODE_EXTRA_CA_CERTS:\n";
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
const END_LINE: &str = "\n-----END CERTIFICATE-----\n";

/// A variable names missing certificates, without which no client here would trust any server.
#[derive(Debug, Error)]
#[error(
    "variable `{variable}`: `{}` given, expected {expected}{}",
    path.display(),
    mounts::below(roots)
)]
pub(crate) struct CertificatesError {
    variable: &'static str,
    path: PathBuf,
    expected: &'static str,
    roots: Vec<PathBuf>,
}

impl CertificatesError {
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = "the runner's certificates are not mounted into the action's container: copy them below `${{ runner.temp }}`";
        (!self.roots.is_empty()).then(|| hint.to_owned())
    }
}

/// Checks that the named certificates exist.
pub(crate) fn check(env: &Env) -> Result<(), CertificatesError> {
    let error = |variable, path: &Path, expected| CertificatesError {
        variable,
        path: path.to_owned(),
        expected,
        roots: mounts::roots(env),
    };
    if let Some(path) = env.path(FILE)
        && !read(path).is_ok_and(|text| !text.is_empty())
    {
        return Err(error(FILE, path, "a file with certificates in PEM form"));
    }
    match folders(env).find(|folder| !folder.is_dir()) {
        Some(folder) => Err(error(FOLDERS, folder, "a folder with certificates")),
        None => Ok(()),
    }
}

/// A warning about missing extra certificates, which Node ignores, too.
pub(crate) fn warning(env: &Env) -> Option<String> {
    let path = env.path(EXTRA)?;
    let reason = match read(path) {
        Ok(text) if !text.is_empty() => return None,
        Ok(_) => "it has no certificate in PEM form".to_owned(),
        Err(error) => error.to_string(),
    };
    let given = path.display();
    let below = mounts::below(&mounts::roots(env));
    Some(format!(
        "variable `{EXTRA}`: `{given}` is not used ({reason}), expected a file with certificates{below}"
    ))
}

/// The content of a new [`FILE`]: the certificates of [`EXTRA`] and those to which they are added. `None` without usable ones, or if the
/// file has them already.
pub(crate) fn bundle(env: &Env) -> Option<String> {
    let file = env.path(FILE);
    if file.is_some_and(|path| path.starts_with(INHERITED)) {
        return None;
    }
    let extra = read(env.path(EXTRA)?).ok();
    let extra = extra.filter(|text| !text.is_empty())?;
    let base = match file {
        // `check` reports an unreadable file.
        Some(path) => read(path).ok()?,
        // The folders are used as well.
        None if env.get(FOLDERS).is_some() => String::new(),
        None => {
            let system = openssl_probe::probe().cert_file;
            let system = system.and_then(|path| read(&path).ok());
            system.unwrap_or_default() + NAMED_BELOW
        }
    };
    Some(base + &extra)
}

/// All named certificates as one text, without the system's: a builder has its own. [`check`] reports unreadable files.
pub(crate) fn named(env: &Env) -> String {
    let mut files: Vec<PathBuf> = Vec::new();
    files.extend(env.path(FILE).map(Path::to_owned));
    for folder in folders(env) {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut inside: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        inside.sort();
        files.extend(inside);
    }
    // Otherwise they are in the file already.
    if bundle(env).is_some() {
        files.extend(env.path(EXTRA).map(Path::to_owned));
    }
    // A folder may have a certificate under several names, and in a file with all.
    let (mut all, mut seen) = (String::new(), HashSet::new());
    for text in files.iter().filter_map(|file| read_named(file).ok()) {
        for certificate in text.split_inclusive(END_LINE) {
            if seen.insert(certificate.to_owned()) {
                all.push_str(certificate);
            }
        }
    }
    all
}

fn folders(env: &Env) -> impl Iterator<Item = &Path> {
    let folders = env.get(FOLDERS).unwrap_or_default().split(':');
    folders.filter(|folder| !folder.is_empty()).map(Path::new)
}

/// The named certificates of a file, which [`bundle`] may have created.
fn read_named(path: &Path) -> io::Result<String> {
    let text = fs::read(path)?;
    let text = String::from_utf8_lossy(&text);
    let named = text.split_once(NAMED_BELOW);
    let named = named.filter(|_| path.starts_with(INHERITED));
    Ok(blocks(named.map_or(&*text, |(_, named)| named)))
}

/// The certificates of a file, without anything else, such as a private key.
fn read(path: &Path) -> io::Result<String> {
    let text = fs::read(path)?;
    Ok(blocks(&String::from_utf8_lossy(&text)))
}

/// Form: <https://www.rfc-editor.org/rfc/rfc7468#section-5>.
fn blocks(text: &str) -> String {
    let (mut certificates, mut block) = (String::new(), None);
    for line in text.lines().map(str::trim_end) {
        if line == BEGIN {
            block = Some(String::new());
        }
        let Some(open) = &mut block else { continue };
        open.push_str(line);
        open.push('\n');
        if line == END {
            certificates.extend(block.take());
        }
    }
    certificates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(text: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }

    #[test]
    fn only_whole_certificates_are_taken_from_a_file() {
        let text = format!(
            "# a company's\n{}-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n{}-----BEGIN CERTIFICATE-----\ncut",
            certificate("YQ=="),
            certificate("Yg==").replace('\n', "\r\n"),
        );
        assert_eq!(blocks(&text), certificate("YQ==") + &certificate("Yg=="));
        assert_eq!(blocks(""), "");
    }

    #[test]
    fn a_certificate_ends_where_a_line_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = ["a", "b", "c"]
            .map(|name| certificate(&format!("{name}{END}")))
            .concat();
        fs::write(file.path(), &text).unwrap();
        let env = Env::from([(FILE, file.path().to_str().unwrap())]);
        assert_eq!(named(&env), text);
    }

    /// Names, and the files that they name.
    type Variables<'a> = &'a [(&'a str, &'a str)];

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            let files = Self(tempfile::tempdir().unwrap());
            fs::create_dir(files.0.path().join("folder")).unwrap();
            for name in ["file", "folder/a", "folder/b", "extra"] {
                fs::write(files.path(name), certificate(name)).unwrap();
            }
            fs::create_dir(files.path("again")).unwrap();
            fs::write(files.path("again/0"), certificate("file")).unwrap();
            fs::write(files.path("empty"), "no certificate").unwrap();
            files
        }

        fn path(&self, name: &str) -> String {
            self.0.path().join(name).to_string_lossy().into_owned()
        }

        fn env(&self, variables: Variables<'_>) -> Env {
            let named = |(name, file): &(&str, &str)| ((*name).to_owned(), self.path(file));
            Env::default().with(variables.iter().map(named))
        }
    }

    #[test]
    fn what_the_variables_name_is_put_together() {
        let files = Files::new();
        let cases: [(Variables<'_>, &[&str]); 6] = [
            (&[], &[]),
            (&[(FILE, "file")], &["file"]),
            (&[(FOLDERS, "folder")], &["folder/a", "folder/b"]),
            (&[(EXTRA, "extra")], &["extra"]),
            (&[(FILE, "file"), (FOLDERS, "again")], &["file"]),
            (&[(FILE, "file"), (EXTRA, "extra")], &["file", "extra"]),
        ];
        for (variables, expected) in cases {
            let expected: String = expected.iter().map(|name| certificate(name)).collect();
            assert_eq!(named(&files.env(variables)), expected, "{variables:?}");
        }
    }

    #[test]
    fn the_systems_are_not_handed_on_with_those_that_are_added_to_them() {
        let files = Files::new();
        for (variables, expected) in [
            (&[(EXTRA, "extra")][..], certificate("extra")),
            (
                &[(FILE, "file"), (EXTRA, "extra")],
                certificate("file") + &certificate("extra"),
            ),
        ] {
            let env = files.env(variables);
            let name = files.path("bundle");
            fs::write(&name, bundle(&env).unwrap()).unwrap();
            // As this program finds it once it was started anew.
            let file = fs::File::open(&name).unwrap();
            let inherited = format!("{INHERITED}{}", std::os::fd::AsRawFd::as_raw_fd(&file));
            let env = env.with([(FILE.to_owned(), inherited)]);
            assert_eq!(named(&env), expected, "{variables:?}");
        }
    }

    #[test]
    fn nodes_certificates_are_added_to_those_that_count_otherwise() {
        let files = Files::new();
        let both = files.env(&[(FILE, "file"), (EXTRA, "extra")]);
        assert_eq!(
            bundle(&both),
            Some(certificate("file") + &certificate("extra"))
        );
        let beside_a_folder = files.env(&[(FOLDERS, "folder"), (EXTRA, "extra")]);
        assert_eq!(bundle(&beside_a_folder), Some(certificate("extra")));
        let alone = bundle(&files.env(&[(EXTRA, "extra")])).unwrap();
        assert!(alone.ends_with(&certificate("extra")), "{alone}");
        let heeded = both.with([(FILE.to_owned(), format!("{INHERITED}3"))]);
        assert_eq!(bundle(&heeded), None);
        let refused = files.env(&[(FILE, "missing"), (EXTRA, "extra")]);
        assert_eq!(bundle(&refused), None);
        for useless in ["empty", "missing"] {
            let env = files.env(&[(EXTRA, useless)]);
            assert_eq!(bundle(&env), None);
            let words = warning(&env).unwrap();
            assert!(words.contains("is not used"), "{words}");
        }
    }

    #[test]
    fn what_can_not_be_read_is_refused() {
        let files = Files::new();
        check(&files.env(&[(FILE, "file"), (FOLDERS, "folder")])).unwrap();
        for (variable, file) in [(FILE, "missing"), (FILE, "empty"), (FOLDERS, "missing")] {
            let error = check(&files.env(&[(variable, file)])).unwrap_err();
            let text = error.to_string();
            assert!(
                text.starts_with(&format!("variable `{variable}`: ")),
                "{text}"
            );
        }
    }
}
