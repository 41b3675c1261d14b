//! The proxy for the API server: the kubeconfig's, else the environment's.
//!
//! The run's kubeconfig names it, so that buildx and our own client use the same one. As in kubectl
//! (<https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config>), servers in `NO_PROXY` and on this
//! machine are reached directly; a kubeconfig's proxy has no exceptions.

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use super::Access;
use crate::network::no_proxy::for_hyper;
use crate::network::proxy;
use crate::runner::env::Env;

impl Access {
    /// Adds the environment's proxy, unless the kubeconfig has its own.
    pub(crate) fn with_proxy(mut self, env: &Env) -> Self {
        let except = proxy::get(env, "NO_PROXY").unwrap_or_default();
        if let Some(address) = proxy::get(env, "HTTPS_PROXY")
            && needs_proxy(&self.server, address, except)
        {
            let url = proxy::url(address);
            self.cluster.proxy_url.get_or_insert(url);
        }
        self
    }
}

fn needs_proxy(server: &str, proxy: &str, except: &str) -> bool {
    let Ok(uri) = server.parse::<Uri>() else {
        return false;
    };
    let except = for_hyper(except);
    let matcher = Matcher::builder().https(proxy).no(except).build();
    matcher.intercept(&uri).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_excludes_servers() {
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
                needs_proxy(server, proxy, except),
                beyond,
                "{server} {except}"
            );
        }
    }
}
