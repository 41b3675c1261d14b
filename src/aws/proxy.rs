//! `HTTP_PROXY` for AWS, if it is the only proxy: configure-aws-credentials uses it for `https` requests too
//! (<https://github.com/aws-actions/configure-aws-credentials/blob/bcd4089/src/index.ts>).
//!
//! With `HTTPS_PROXY` or `ALL_PROXY` the SDK's own client reads the environment.

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpClient};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::secret_text;
use crate::network::proxy;
use crate::runner::env::Env;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Proxy {
    /// A URL, which may contain a password.
    #[serde(with = "secret_text")]
    url: SecretString,
    no_proxy: String,
}

impl Proxy {
    pub(super) fn from_env(env: &Env) -> Option<Self> {
        let get = |name| proxy::get(env, name);
        if get("HTTPS_PROXY").or(get("ALL_PROXY")).is_some() {
            return None;
        }
        Some(Self {
            url: SecretString::from(proxy::url(get("HTTP_PROXY")?)),
            no_proxy: get("NO_PROXY").unwrap_or_default().to_owned(),
        })
    }

    /// A client for the SDK; `None` if the URL is invalid, which the SDK's own client ignores as well.
    pub(super) fn client(&self) -> Option<SharedHttpClient> {
        let proxy = ProxyConfig::all(self.url.expose_secret()).ok()?;
        let proxy = proxy.no_proxy(&self.no_proxy);
        let connector = move |settings: Option<&HttpConnectorSettings>,
                              components: Option<&RuntimeComponents>| {
            let mut builder = Connector::builder().proxy_config(proxy.clone());
            builder.set_connector_settings(settings.cloned());
            builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
            builder
                .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
                .build()
        };
        Some(Builder::new().build_with_connector_fn(connector))
    }
}
