//! Our Docker credential helper, `docker-credential-fast-ecr-push get`: a host on standard input, user
//! and password as JSON on standard output.
//!
//! Protocol: <https://github.com/docker/docker-credential-helpers>. The helper reads the run's token from
//! a file, and requests a new one when it expires or when a FROM line names another ECR registry.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use image::Registry;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};

use super::logins;
use crate::aws::ecr::{self, EcrError, Token, USER};
use crate::aws::error_chain;
use crate::aws::{Session, TOKENS_VARIABLE};
use crate::runner::env::Env;
use crate::runner::private::write_private;

/// The answer for an unknown host, which Docker compares literally
/// (`errCredentialsNotFoundMessage` in docker-credential-helpers).
const NOT_FOUND: &str = "credentials not found in native keychain";

/// The longest request (bytes); a host has at most 253 characters.
const MAX_REQUEST: u64 = 4096;

/// A token is renewed this long before it expires, so that a push in progress can finish.
const MARGIN: SignedDuration = SignedDuration::from_mins(15);

const TOKEN: &str = "token-";

pub(crate) async fn run(arguments: &[String], env: &Env) -> ExitCode {
    let (text, code) = match arguments {
        [verb] if verb == "get" => {
            let mut request = String::new();
            match io::stdin().take(MAX_REQUEST).read_to_string(&mut request) {
                Ok(_) => get(request.trim(), env).await,
                Err(error) => (
                    format!("could not read the host: {error}"),
                    ExitCode::FAILURE,
                ),
            }
        }
        // Our tokens are not Docker's to change.
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
            (format!("{}{hint}", error_chain(&error)), ExitCode::FAILURE)
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
    let stored = file
        .as_ref()
        .and_then(|file| fs::read_to_string(file).ok())
        .and_then(|text| Token::from_file(&text));
    let logged_in = stored.is_some();
    if let Some(token) = stored.filter(|token| is_fresh(token, Timestamp::now())) {
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
        // The public gallery can be read without a login.
        Err(_) if matches!(registry, Registry::EcrPublic { .. }) && !logged_in => None,
        Err(error) => return Err(error),
    };
    if let (Some(token), Some(file)) = (&token, file) {
        // Without the file the next request gets its own token.
        let _ = write_private(&file, token.to_file().as_bytes());
    }
    Ok(token)
}

/// The run's token for a host.
pub(super) fn stored(tokens: &Path, host: &str) -> Option<(String, SecretString)> {
    let text = fs::read_to_string(tokens.join(token_file(host))).ok()?;
    Some((USER.to_owned(), Token::from_file(&text)?.password))
}

fn is_fresh(token: &Token, now: Timestamp) -> bool {
    token.expires.duration_since(now) > MARGIN
}

/// The file for a host's token. An ECR host has no character that is special in a path.
pub(super) fn token_file(host: &str) -> String {
    format!("{TOKEN}{}.json", host.to_ascii_lowercase())
}

/// Removes a run's tokens, so that new ones are requested.
pub(crate) fn forget(tokens: &Path) {
    for entry in fs::read_dir(tokens).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(TOKEN) {
            // If this fails, the registry's answer to the old token is the error.
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
        assert!(is_fresh(&expiring_in(16), now));
        assert!(!is_fresh(&expiring_in(15), now));
        assert!(!is_fresh(&expiring_in(-5), now));
        assert!(is_fresh(&Token::new("x", Timestamp::MAX), Timestamp::MIN));
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
