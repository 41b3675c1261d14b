//! Authentication: with the kubeconfig's credentials, or with those of its command.
//!
//! In: kube's configuration. Out: a client, renewed before its credentials expire. kube would run the command twice, block the only thread and
//! set no limit; here it is a child process like others, with the limit [`LONGEST`], and is killed when nobody waits for it. Its protocol:
//! <https://kubernetes.io/docs/reference/config-api/client-authentication.v1/>.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use kube::config::{ExecConfig, ExecInteractiveMode};
use kube::{Client, Config};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::api_error::ApiError;
use crate::credentials::kubeconfig::is_eks_token;
use crate::process::{self, Command, Event, ProcessError};

const LONGEST: Duration = Duration::from_secs(60);

/// How long before their expiry credentials are renewed: no call takes longer.
const BEFORE_EXPIRY: SignedDuration = SignedDuration::from_secs(60);

/// The client of one cluster and its credentials.
pub(super) struct Login {
    /// Without the command.
    config: Config,
    exec: Option<ExecConfig>,
    server: String,
    current: Mutex<Option<Current>>,
}

struct Current {
    client: Client,
    until: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct ExecCredential {
    status: Option<Status>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    expiration_timestamp: Option<Timestamp>,
    #[serde(default, deserialize_with = "secret")]
    token: Option<SecretString>,
    client_certificate_data: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    client_key_data: Option<SecretString>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(SecretString::from))
}

impl Login {
    pub(super) fn new(mut config: Config, server: &str) -> Self {
        let user = &mut config.auth_info;
        let exec = user.exec.take();
        // Other credentials take precedence, as in kubectl.
        let has_password = user.username.is_some() && user.password.is_some();
        let is_known = user.token.is_some() || user.token_file.is_some() || has_password;
        Self {
            exec: exec.filter(|_| !is_known),
            config,
            server: server.to_owned(),
            current: Mutex::default(),
        }
    }

    /// A client that is valid for at least a minute.
    pub(super) async fn client(&self) -> Result<Client, ApiError> {
        // Concurrent calls wait for the same client.
        let mut current = self.current.lock().await;
        let soon = Timestamp::now().saturating_add(BEFORE_EXPIRY);
        let soon = soon.unwrap_or_default();
        let lasts = |current: &&Current| current.until.is_none_or(|until| until > soon);
        if let Some(current) = current.as_ref().filter(lasts) {
            return Ok(current.client.clone());
        }
        let mut config = self.config.clone();
        let mut until = None;
        if let Some(exec) = &self.exec {
            let status = credentials(exec, LONGEST).await;
            let status = status.map_err(|reason| self.failed(exec, reason))?;
            until = status.expiration_timestamp;
            config.auth_info.token = status.token;
            // The command prints PEM, a kubeconfig has base64.
            let certificate = status.client_certificate_data;
            config.auth_info.client_certificate_data = certificate.map(|pem| STANDARD.encode(pem));
            let key = status.client_key_data;
            config.auth_info.client_key_data =
                key.map(|pem| STANDARD.encode(pem.expose_secret()).into());
        }
        let client = Client::try_from(config);
        let client = client.map_err(|error| ApiError::setup(&self.server, &error))?;
        *current = Some(Current {
            client: client.clone(),
            until,
        });
        Ok(client)
    }

    fn failed(&self, exec: &ExecConfig, reason: String) -> ApiError {
        let server = self.server.clone();
        if is_eks_token(exec) {
            return ApiError::Credentials { server, reason };
        }
        ApiError::Command {
            server,
            command: exec.command.clone().unwrap_or_default(),
            reason,
        }
    }
}

/// Runs the command. The error is the end of a sentence about it.
async fn credentials(exec: &ExecConfig, longest: Duration) -> Result<Status, String> {
    let command = command(exec);
    let name = exec.command.as_deref().unwrap_or_default();
    // An interactive command may ask for an action.
    let is_shown = exec.interactive_mode != Some(ExecInteractiveMode::Never);
    let mut printed = String::new();
    let mut last = None;
    let never = CancellationToken::new();
    let run = command.stream(&never, |event| match event {
        Event::Stdout(line) => {
            printed.push_str(&String::from_utf8_lossy(line));
            printed.push('\n');
        }
        Event::Stderr(line) => {
            let line = String::from_utf8_lossy(line).trim().to_owned();
            if is_shown {
                tracing::info!("{name}: {line}");
            }
            if !line.is_empty() {
                last = Some(line);
            }
        }
        Event::Second => {}
    });
    let status = match tokio::time::timeout(longest, Box::pin(run)).await {
        Ok(Ok(status)) => status,
        Ok(Err(ProcessError::Start { source, .. })) => {
            return Err(format!("could not be started: {source}"));
        }
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("did not end within {} s", longest.as_secs())),
    };
    if !status.success() {
        return Err(match last {
            Some(last) if is_eks_token(exec) => {
                last.trim_start_matches("fast-ecr-push: ").to_owned()
            }
            Some(last) => format!("failed with {status}: {last}"),
            None => format!("failed with {status} and printed nothing"),
        });
    }
    printed_credentials(&printed)
}

/// What a command printed. The error does not quote it: it may be a token.
fn printed_credentials(text: &str) -> Result<Status, String> {
    let read: Option<ExecCredential> = serde_saphyr::from_str(text).ok();
    let status = read.and_then(|credential| credential.status);
    let status = status.filter(|status| {
        status.token.is_some()
            || status.client_certificate_data.is_some() && status.client_key_data.is_some()
    });
    status.ok_or_else(|| {
        "did not print an ExecCredential with a `token`, or a certificate and its key".to_owned()
    })
}

fn command(exec: &ExecConfig) -> Command {
    let program = exec.command.clone().unwrap_or_default();
    let arguments = exec.args.clone().unwrap_or_default();
    // The arguments in a kubeconfig may be secret.
    let mut command = Command::new(program).secret_args(arguments);
    if !is_eks_token(exec) {
        command.env.extend(process::lent());
    }
    for entry in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (entry.get("name"), entry.get("value")) {
            command.env.insert(name.clone(), value.into());
        }
    }
    let mut info = json!({
        "apiVersion": exec.api_version, "kind": "ExecCredential", "spec": { "interactive": false },
    });
    if exec.provide_cluster_info {
        info["spec"]["cluster"] = json!(exec.cluster);
    }
    command
        .env
        .insert("KUBERNETES_EXEC_INFO".to_owned(), info.to_string().into());
    command
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What is taken logs in, and nothing else is quoted.
    pub(in crate::builder::kubernetes) fn check(text: &str) {
        match printed_credentials(text) {
            Ok(status) => {
                let is_pair =
                    status.client_certificate_data.is_some() && status.client_key_data.is_some();
                assert!(status.token.is_some() || is_pair);
            }
            Err(reason) => assert!(reason.starts_with("did not print an ExecCredential")),
        }
    }

    fn shell(script: &str) -> ExecConfig {
        ExecConfig {
            api_version: Some("client.authentication.k8s.io/v1".to_owned()),
            command: Some("/bin/sh".to_owned()),
            args: Some(vec!["-c".to_owned(), script.to_owned()]),
            ..ExecConfig::default()
        }
    }

    async fn said(script: &str) -> String {
        let failed = credentials(&shell(script), Duration::from_millis(500)).await;
        failed.unwrap_err()
    }

    #[tokio::test]
    async fn what_a_command_prints_may_be_json_or_yaml() {
        for text in [
            r#"{"kind":"ExecCredential","status":{"token":"t","expirationTimestamp":"2030-01-02T03:04:05Z"}}"#,
            "kind: ExecCredential\nstatus:\n  token: t\n  expirationTimestamp: '2030-01-02T03:04:05Z'\n",
        ] {
            let exec = shell(&format!("printf '%s' '{}'", text.replace('\'', "'\\''")));
            let status = credentials(&exec, LONGEST).await.unwrap();
            let until = status.expiration_timestamp.unwrap().to_string();
            assert_eq!(until, "2030-01-02T03:04:05Z");
            assert!(status.token.is_some());
        }
    }

    #[tokio::test]
    async fn it_is_told_what_it_is_for() {
        let script = r#"case "$KUBERNETES_EXEC_INFO" in *client.authentication.k8s.io/v1\"*interactive*false*)
            echo '{status: {token: t}}';; *) exit 1;; esac"#;
        credentials(&shell(script), LONGEST).await.unwrap();
    }

    #[tokio::test]
    async fn a_certificate_is_taken_as_it_is_printed_and_made_anew_before_it_ends() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key);
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        for (minutes, often) in [(10, 1), (0, 2)] {
            std::fs::write(&runs, "").unwrap();
            let end = Timestamp::now() + SignedDuration::from_mins(minutes);
            let printed = json!({ "status": {
                "clientCertificateData": certificate.as_ref().unwrap().pem(),
                "clientKeyData": key.serialize_pem(),
                "expirationTimestamp": end.to_string(),
            }});
            let script = format!("echo x >> '{}'; printf %s '{printed}'", runs.display());
            let mut config = Config::new("https://127.0.0.1:1".parse().unwrap());
            config.auth_info.exec = Some(shell(&script));
            let login = Login::new(config, "https://127.0.0.1:1");
            for _ in 0..2 {
                login.client().await.unwrap();
            }
            let runs = std::fs::read_to_string(&runs).unwrap().lines().count();
            assert_eq!(runs, often);
        }
    }

    #[tokio::test]
    async fn each_failure_has_its_words() {
        let status = "did not print an ExecCredential";
        for (script, words) in [
            ("sleep 60", "did not end within 0 s"),
            (
                "echo no session >&2; exit 3",
                "failed with exit status: 3: no session",
            ),
            ("exit 3", "failed with exit status: 3 and printed nothing"),
            ("echo '{'", status),
            ("echo '{kind: ExecCredential}'", status),
            ("echo '{status: {clientCertificateData: c}}'", status),
        ] {
            let said = said(script).await;
            assert!(said.starts_with(words), "{script}: {said}");
        }
        let mut missing = shell("");
        missing.command = Some("/opt/nowhere".to_owned());
        let said = credentials(&missing, LONGEST).await.unwrap_err();
        assert!(
            said.starts_with("could not be started: No such file"),
            "{said}"
        );
    }
}
