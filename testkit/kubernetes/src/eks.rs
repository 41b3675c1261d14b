//! Amazon EKS's DescribeCluster, over plain HTTP: one cluster, the stand-in itself.
//!
//! <https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeCluster.html>. `builders` is
//! public, `private` can be reached from its VPC only (and its address from nowhere).

use std::convert::Infallible;
use std::sync::Arc;

use hyper::{Request, Response, body::Incoming};
use serde_json::json;

use crate::answer::{self, Body};
use crate::cluster::Cluster;

/// What it tells of the stand-in.
#[derive(Debug)]
pub(crate) struct Eks {
    /// Where `eks.jsonl` is its record.
    pub cluster: Arc<Cluster>,
    pub server: String,
    /// In base64.
    pub authority: String,
}

impl Eks {
    /// Answers a request.
    pub(crate) fn answer(&self, request: &Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path();
        let record = json!({ "path": path });
        self.cluster.note("eks.jsonl", &record.to_string());
        let name = path.strip_prefix("/clusters/");
        let (endpoint, public) = match name {
            Some("builders") => (self.server.as_str(), true),
            Some("private") => ("https://127.0.0.1:1", false),
            _ => {
                let text = json!({ "message": "No cluster found." });
                let mut response = answer::json(404, &text);
                let kind = hyper::header::HeaderValue::from_static("ResourceNotFoundException");
                response.headers_mut().insert("x-amzn-errortype", kind);
                return Ok(response);
            }
        };
        let cluster = json!({
            "name": name, "status": "ACTIVE", "endpoint": endpoint,
            "certificateAuthority": { "data": self.authority },
            "resourcesVpcConfig": {
                "endpointPublicAccess": public, "endpointPrivateAccess": !public,
                "publicAccessCidrs": if public { vec!["0.0.0.0/0"] } else { Vec::new() },
            },
        });
        Ok(answer::json(200, &json!({ "cluster": cluster })))
    }
}
