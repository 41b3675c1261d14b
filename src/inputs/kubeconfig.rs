//! The text of a kubeconfig, and the secrets in it.
//!
//! A plain kubeconfig consists mostly of names and addresses. Masking every line would hide `kind: Config`, and the runner drops outputs that
//! contain a masked text. A text in base64, or one that is not YAML, is masked as a whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde_json::Value as Json;

use super::value::{Expected, Form, Single};

/// Plain or base64, unchecked.
#[derive(Debug, Clone)]
pub(crate) struct KubeconfigText(pub SecretString);

/// Keys of a user, and of its `auth-provider`, whose values are secret
/// (<https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/#AuthInfo>).
const SECRETS: &[&str] = &[
    "token",
    "password",
    "client-key-data",
    "id-token",
    "access-token",
    "refresh-token",
    "client-secret",
];

impl Single for KubeconfigText {
    const FORM: Form = Form::Secret;

    fn parse(text: &str) -> Result<Self, Expected> {
        Ok(Self(text.into()))
    }

    fn to_mask(text: &str) -> Vec<SecretString> {
        let mut secrets = Vec::new();
        let packed: String = text.split_whitespace().collect();
        let decoded = STANDARD.decode(packed).ok();
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        if decoded.is_some() {
            secrets.push(text.into());
        }
        match serde_saphyr::from_str::<Json>(decoded.as_deref().unwrap_or(text)) {
            Ok(config @ Json::Object(_)) => {
                for user in entries(&config["users"]) {
                    collect(&user["user"], &mut secrets);
                }
                for cluster in entries(&config["clusters"]) {
                    secrets.extend(password(&cluster["cluster"]["proxy-url"]));
                }
            }
            _ => secrets.push(text.into()),
        }
        secrets
    }
}

fn entries(list: &Json) -> impl Iterator<Item = &Json> {
    list.as_array().into_iter().flatten()
}

fn collect(value: &Json, secrets: &mut Vec<SecretString>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            Json::String(text) if SECRETS.contains(&name.as_str()) => {
                secrets.push(text.as_str().into());
            }
            // Variables of a command.
            Json::Array(items) if name == "env" => {
                let values = items.iter().filter_map(|item| item["value"].as_str());
                secrets.extend(values.map(SecretString::from));
            }
            other => collect(other, secrets),
        }
    }
}

/// The password of `http://user:password@host`.
fn password(url: &Json) -> Option<SecretString> {
    let (_, rest) = url.as_str()?.split_once("://")?;
    let (login, _) = rest.rsplit_once('@')?;
    let (_, password) = login.split_once(':')?;
    Some(password.into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn masked(text: &str) -> Vec<String> {
        let secrets = KubeconfigText::to_mask(text);
        let texts = secrets
            .iter()
            .map(|secret| secret.expose_secret().to_owned());
        texts.collect()
    }

    const PLAIN: &str = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
        contexts: [{name: c, context: {cluster: k, user: u}}]\n\
        clusters:\n- name: k\n  cluster:\n    server: https://k.example\n    proxy-url: http://me:hush-proxy@p.example:3128\n\
        users:\n- name: u\n  user:\n    token: hush-token\n    password: hush-password\n    client-key-data: aHVzaA==\n    \
        auth-provider: {name: oidc, config: {id-token: hush-id, client-id: app}}\n    \
        exec: {command: aws, args: [eks, get-token], env: [{name: KEY, value: hush-env}]}\n";

    #[test]
    fn only_the_secrets_of_a_plain_kubeconfig_are_masked() {
        let mut found = masked(PLAIN);
        found.sort();
        assert_eq!(
            found,
            [
                "aHVzaA==",
                "hush-env",
                "hush-id",
                "hush-password",
                "hush-proxy",
                "hush-token"
            ]
        );
    }

    #[test]
    fn base64_is_masked_as_a_whole_and_decoded() {
        let encoded = STANDARD.encode(PLAIN);
        let found = masked(&encoded);
        assert_eq!(found[0], encoded);
        assert!(found.contains(&"hush-token".to_owned()));
        assert_eq!(found.len(), 7);
    }

    #[test]
    fn what_cannot_be_parsed_is_masked_as_a_whole() {
        for text in ["a: [b", "hush", "- a\n- b"] {
            assert_eq!(masked(text).last().unwrap(), text);
        }
    }
}
