//! Uploads of blobs: mounts, and chunks.

use hyper::header::{HeaderValue, RANGE};
use hyper::{Request, Response, StatusCode};

use super::{Exchange, manners};
use crate::body::{Body, Error};

/// Of the account's settings: <https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html>.
pub(crate) const BLOB_MOUNTING: &str = "BLOB_MOUNTING";

impl Exchange {
    /// A blob is mounted from another repository only where the account wants that and the source has an image with it;
    /// elsewhere the answer is 202, an upload (<https://github.com/aws/containers-roadmap/issues/2860>). A digest in the
    /// first request (the whole blob in one POST) is not heeded either: no record has ECR taking that.
    pub(super) async fn start_upload(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Body>, Error> {
        let query = request.uri().query().unwrap_or_default();
        let mount = parameter(query, "mount")
            .zip(parameter(query, "from"))
            .filter(|(blob, from)| {
                let mut memory = self.state.memory();
                let account = memory.account(&self.place.account);
                let enabled = account
                    .settings
                    .get(BLOB_MOUNTING)
                    .is_some_and(|value| value == "ENABLED");
                let source = account
                    .images
                    .get(&(self.place.region.clone(), from.clone()));
                enabled && source.is_some_and(|images| images.refers_to(blob))
            });
        let query = mount.map_or_else(String::new, |(blob, from)| {
            let from = self.place.behind(&from);
            form_urlencoded::Serializer::new(String::new())
                .append_pair("mount", &blob)
                .append_pair("from", &from)
                .finish()
        });
        self.pass(request, Some(&query)).await
    }

    /// The answer has the wrong status, and a `Range` that stays at the end of the first chunk, though all bytes are
    /// kept (<https://github.com/aws/containers-roadmap/issues/2831>).
    pub(super) async fn chunk(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let mut response = self.pass(request, None).await?;
        if response.status() == StatusCode::ACCEPTED {
            *response.status_mut() = manners::CHUNK;
            let range = response
                .headers()
                .get(RANGE)
                .and_then(|range| range.to_str().ok())
                .map(str::to_owned);
            let mut memory = self.state.memory();
            let first = memory
                .account(&self.place.account)
                .first_ranges
                .entry(self.place.reference.clone());
            let first = first.or_insert_with(|| range.unwrap_or_default()).clone();
            response
                .headers_mut()
                .insert(RANGE, HeaderValue::try_from(first)?);
        }
        Ok(response)
    }
}

fn parameter(query: &str, wanted: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find_map(|(name, value)| (name == wanted).then(|| value.into_owned()))
}
