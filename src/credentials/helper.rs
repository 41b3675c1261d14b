//! Our Docker credential helper: `docker-credential-fast-ecr-push get`.
//!
//! In: a registry's host on standard input. Out: a JSON object with user and password on standard
//! output, or one fixed sentence when there is none. Protocol:
//! <https://github.com/docker/docker-credential-helpers>. A token that the run already fetched is
//! taken from its file while it is good, else a new one is fetched, as the run would: this is how
//! logins are renewed in the middle of a long build, and how FROM lines get at other ECR registries.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use image::Registry;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;

use super::logins;
use crate::aws::ecr::{self, EcrError, Token, USER};
use crate::aws::error::words;
use crate::aws::{Session, TOKENS_VARIABLE};
use crate::runner::env::Env;
use crate::runner::private::write_private;

/// Docker compares the answer for an unknown host with exactly this sentence
/// (`errCredentialsNotFoundMessage` in docker-credential-helpers).
const NOT_FOUND: &str = "credentials not found in native keychain";

/// A host is at most 253 characters; what is longer is none.
const LONGEST_REQUEST: u64 = 4096;

/// A token is not used in its last minutes: a push that begins with it must be able to end.
const MARGIN: SignedDuration = SignedDuration::from_mins(15);

/// What the names of files with tokens begin with.
const TOKEN: &str = "token-";

/// Answers one request.
pub(crate) async fn run(arguments: &[String], env: &Env) -> ExitCode {
    let (text, code) = match arguments {
        [verb] if verb == "get" => {
            let mut request = String::new();
            match io::stdin()
                .take(LONGEST_REQUEST)
                .read_to_string(&mut request)
            {
                Ok(_) => get(request.trim(), env).await,
                Err(error) => (
                    format!("could not read the host: {error}"),
                    ExitCode::FAILURE,
                ),
            }
        }
        // Docker stores and erases logins nowhere but in its own configuration; there is nothing
        // of ours to change.
        [verb] if verb == "store" || verb == "erase" => (String::new(), ExitCode::SUCCESS),
        [verb] if verb == "list" => ("{}".to_owned(), ExitCode::SUCCESS),
        _ => (
            "usage: docker-credential-fast-ecr-push get|store|erase|list".to_owned(),
            ExitCode::FAILURE,
        ),
    };
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

async fn get(server: &str, env: &Env) -> (String, ExitCode) {
    let host = server
        .trim_start_matches("https://")
        .split('/')
        .next()
        .unwrap_or_default();
    let tokens = env.path(TOKENS_VARIABLE);
    let login = match tokens.and_then(|folder| logins::find(folder, host)) {
        Some(login) => Ok(Some(login)),
        None => match token(&Registry::from_host(host), env).await {
            Ok(token) => Ok(token.map(|token| (USER.to_owned(), token.password))),
            Err(error) => Err(error),
        },
    };
    match login {
        Ok(Some((user, password))) => {
            let answer = serde_json::json!({
                "ServerURL": server,
                "Username": user,
                "Secret": password.expose_secret(),
            });
            (answer.to_string(), ExitCode::SUCCESS)
        }
        Ok(None) => (NOT_FOUND.to_owned(), ExitCode::FAILURE),
        Err(error) => {
            let hint = error
                .hint()
                .map_or_else(String::new, |hint| format!(" ({hint})"));
            (format!("{}{hint}", words(&error)), ExitCode::FAILURE)
        }
    }
}

async fn token(registry: &Registry, env: &Env) -> Result<Option<Token>, EcrError> {
    if let Registry::Other { .. } = registry {
        return Ok(None);
    }
    let file = env
        .path(TOKENS_VARIABLE)
        .map(|folder| folder.join(token_file(registry.host())));
    let kept = file
        .as_ref()
        .and_then(|file| fs::read_to_string(file).ok())
        .and_then(|text| Token::from_file(&text));
    let logged_in = kept.is_some();
    if let Some(token) = kept.filter(|token| is_good(token, Timestamp::now())) {
        return Ok(Some(token));
    }
    let fetched = async {
        let session = Session::of_run(env, Some(registry.host()));
        let session = session.map_err(|source| EcrError::Session {
            subject: format!("`{}`", registry.host()),
            source,
        })?;
        ecr::token(registry, &session).await
    };
    let token = match fetched.await {
        Ok(token) => token,
        // Anybody may read the public gallery: one who is not let in there reads it as anybody.
        Err(_) if matches!(registry, Registry::EcrPublic { .. }) && !logged_in => None,
        Err(error) => return Err(error),
    };
    if let (Some(token), Some(file)) = (&token, file) {
        // Kept for the next request; without it that one fetches again.
        let _ = write_private(&file, token.to_file().as_bytes());
    }
    Ok(token)
}

fn is_good(token: &Token, now: Timestamp) -> bool {
    token.expires.duration_since(now) > MARGIN
}

/// Name of the file that holds a host's token. The host was recognised as ECR's, so that it has no
/// character that means something in a path.
pub(super) fn token_file(host: &str) -> String {
    format!("{TOKEN}{}.json", host.to_ascii_lowercase())
}

/// Removes the tokens that a run has left, so that new ones are fetched.
pub(crate) fn forget(tokens: &Path) {
    for entry in fs::read_dir(tokens).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(TOKEN) {
            // One that stays is refused again, which is what is said then.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let expiring_in = |minutes| Token::new("x", now + SignedDuration::from_mins(minutes));
        assert!(is_good(&expiring_in(16), now));
        assert!(!is_good(&expiring_in(15), now));
        assert!(!is_good(&expiring_in(-5), now));
        assert!(is_good(&Token::new("x", Timestamp::MAX), Timestamp::MIN));
    }

    #[tokio::test]
    async fn a_host_it_does_not_know_gets_dockers_sentence() {
        for host in ["ghcr.io", "https://index.docker.io/v1/", "", "../../etc"] {
            let (text, code) = get(host, &Env::default()).await;
            assert_eq!(text, NOT_FOUND, "{host}");
            assert_eq!(code, ExitCode::FAILURE, "{host}");
        }
    }

    #[test]
    fn tokens_are_forgotten_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let token = token_file("123456789012.dkr.ecr.eu-west-1.amazonaws.com");
        for name in [&*token, "logins.json", "aws-settings.json"] {
            fs::write(folder.path().join(name), "{}").unwrap();
        }
        forget(folder.path());
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 2);
        assert!(!folder.path().join(token).exists());
    }

    #[tokio::test]
    async fn a_token_of_the_run_is_taken_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
        let token = Token::new("kept", Timestamp::MAX);
        fs::write(folder.path().join(token_file(host)), token.to_file()).unwrap();
        let path = folder.path().to_string_lossy().into_owned();
        let env = Env::from([(TOKENS_VARIABLE, &*path)]);
        let (text, code) = get(&format!("https://{host}"), &env).await;
        assert_eq!(code, ExitCode::SUCCESS);
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["Username"], "AWS");
        assert_eq!(answer["Secret"], "kept");
    }
}
