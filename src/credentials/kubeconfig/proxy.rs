//! The proxy on the way to the API server: that of the kubeconfig, else the environment's.
//!
//! It is settled here, once, and stands in what is written for this run, so that buildx and our own
//! client go the same way. As kubectl has it
//! (<https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config>), a server that `NO_PROXY` names is
//! asked directly, and so is one on this machine; a proxy of the kubeconfig has no exceptions.

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use super::Access;
use crate::network::no_proxy::in_hypers_words;
use crate::runner::env::Env;

impl Access {
    /// The same way in, through the environment's proxy where one is on it.
    pub(crate) fn through_proxy_of(mut self, env: &Env) -> Self {
        let either = |name: &str, small: &str| {
            let value = env.get(name).or_else(|| env.get(small));
            value.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let Some(proxy) = either("HTTPS_PROXY", "https_proxy") else {
            return self;
        };
        let except = either("NO_PROXY", "no_proxy").unwrap_or_default();
        if is_beyond(&self.server, &proxy, &except) {
            let clusters = self.config.clusters.iter_mut();
            for cluster in clusters.filter_map(|named| named.cluster.as_mut()) {
                let proxy = if proxy.contains("://") {
                    proxy.clone()
                } else {
                    format!("http://{proxy}")
                };
                cluster.proxy_url.get_or_insert(proxy);
            }
        }
        self
    }
}

/// Whether a server is reached through the proxy.
fn is_beyond(server: &str, proxy: &str, except: &str) -> bool {
    let Ok(uri) = server.parse::<Uri>() else {
        return false;
    };
    let except = in_hypers_words(except);
    let matcher = Matcher::builder().https(proxy).no(except).build();
    matcher.intercept(&uri).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_names_servers_and_not_proxies() {
        let proxy = "proxy.example:3128";
        for (server, except, beyond) in [
            ("https://k.eks.amazonaws.com", "", true),
            ("https://k.eks.amazonaws.com", "proxy.example", true),
            ("https://k.eks.amazonaws.com", ".amazonaws.com", false),
            ("https://10.0.0.1:443", "10.0.0.0/8", false),
            ("https://10.0.0.1:443", "*", false),
            ("https://127.0.0.1:6443", "", false),
            ("https://[::1]:6443", "", false),
            ("https://localhost:6443", "", false),
        ] {
            assert_eq!(
                is_beyond(server, proxy, except),
                beyond,
                "{server} {except}"
            );
        }
    }
}
