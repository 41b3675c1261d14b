//! An account for one test.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::message::{Answer, Call, Command, Fault, On, Record, Request, Resource};
use crate::{http, names};

/// An AWS account that nobody else uses, with the registries of its regions.
#[derive(Clone, Debug)]
pub struct Account {
    number: String,
    endpoint: String,
}

/// A repository that is about to be there.
#[derive(Debug)]
#[must_use = "nothing is there before `create`"]
pub struct Repository<'a> {
    account: &'a Account,
    region: String,
    name: String,
    mutability: &'static str,
    exclusions: Vec<String>,
}

/// A variable of the rig's.
#[expect(clippy::expect_used, reason = "a test's harness fails by panics")]
fn variable(name: &str) -> String {
    std::env::var(name).expect("run this under `rig exec --aws --`")
}

impl Account {
    /// The next free account.
    ///
    /// # Panics
    ///
    /// Outside of `rig exec --aws`, and when all are taken.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        let endpoint = variable("RIG_AWS");
        let (status, number) = http::send("POST", &format!("{endpoint}/rig/accounts"), &[], "");
        assert_eq!(status, 200, "{number}");
        Self { number, endpoint }
    }

    /// Its twelve digits.
    #[must_use]
    pub fn number(&self) -> &str {
        &self.number
    }

    /// The registry's host in the usual region, `eu-west-1`.
    #[must_use]
    pub fn host(&self) -> String {
        self.host_in(names::REGION)
    }

    /// The registry's host in `eu-west-1` or `us-east-1`.
    #[must_use]
    pub fn host_in(&self, region: &str) -> String {
        format!("{}.dkr.ecr.{region}.amazonaws.com", self.number)
    }

    /// What its images in ECR Public begin with: host and alias.
    #[must_use]
    pub fn public(&self) -> String {
        format!("{}/{}", names::PUBLIC, names::alias(&self.number))
    }

    /// The ARN of a role of the account. Every role is there, and trusts GitHub's issuer with audience
    /// `sts.amazonaws.com`.
    #[must_use]
    pub fn role(&self, name: &str) -> String {
        format!("arn:aws:iam::{}:role/{name}", self.number)
    }

    /// Variables for a process that is to have static keys of this account.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = self.environment();
        variables.push(("AWS_ACCESS_KEY_ID", names::access_key(&self.number)));
        variables.push((
            "AWS_SECRET_ACCESS_KEY",
            "secret-key-of-the-test/EXAMPLE".to_owned(),
        ));
        variables
    }

    /// Variables for a job with `id-token: write` and no keys.
    #[must_use]
    pub fn oidc_variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = self.environment();
        let url = format!("{}/oidc/{}?api-version=2.0", self.endpoint, self.number);
        variables.push(("ACTIONS_ID_TOKEN_REQUEST_URL", url));
        variables.push((
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
            format!("request-token-of-{}", self.number),
        ));
        variables
    }

    /// Endpoint, region and certificates, without credentials.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_REGION", names::REGION.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("SSL_CERT_FILE", variable("RIG_AWS_CA")),
        ]
    }

    /// `--add-host` for containers, which have a hosts file of their own: `HOST:ADDRESS`.
    #[must_use]
    pub fn add_hosts(&self) -> Vec<String> {
        let rest = self.endpoint.trim_start_matches("http://");
        let address = rest.split(':').next().unwrap_or_default();
        let hosts = [
            self.host(),
            self.host_in("us-east-1"),
            names::PUBLIC.to_owned(),
        ];
        hosts.map(|host| format!("{host}:{address}")).to_vec()
    }

    /// A repository in `eu-west-1`.
    pub fn repository(&self, name: &str) -> Repository<'_> {
        Repository {
            account: self,
            region: names::REGION.to_owned(),
            name: name.to_owned(),
            mutability: "MUTABLE",
            exclusions: Vec::new(),
        }
    }

    /// IAM denies an action, as `ecr:PutImage`, in all repositories.
    pub fn deny(&self, action: &str) {
        let (action, repository) = (action.to_owned(), None);
        self.command(&Command::Deny { action, repository });
    }

    /// The next so many requests of this kind to the registry get this answer.
    pub fn registry_fault(&self, method: &str, resource: Resource, times: u32, answer: Answer) {
        let on = On::Registry(method.to_owned(), resource);
        self.fault(Fault {
            on,
            repository: None,
            skip: 0,
            times,
            answer,
        });
    }

    /// The next so many calls of this operation get this error, as the service would send it.
    pub fn api_fault(&self, operation: &str, times: u32, status: u16, code: &str, message: &str) {
        let answer = Answer::Error {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        };
        let on = On::Api(operation.to_owned());
        self.fault(Fault {
            on,
            repository: None,
            skip: 0,
            times,
            answer,
        });
    }

    /// Something that goes wrong.
    pub fn fault(&self, fault: Fault) {
        self.command(&Command::Fault(fault));
    }

    /// Anything else.
    ///
    /// # Panics
    ///
    /// When the stand-in refuses it.
    pub fn command(&self, command: &Command) {
        let body = serde_json::to_string(command).unwrap_or_default();
        let (status, answer) = http::send("POST", &self.control(), &[], &body);
        assert_eq!(status, 200, "{command:?}: {answer}");
    }

    /// What happened so far.
    ///
    /// # Panics
    ///
    /// When the stand-in does not answer.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's harness fails by panics")]
    pub fn record(&self) -> Record {
        let (_, body) = http::send("GET", &self.control(), &[], "");
        serde_json::from_str(&body).expect("a record")
    }

    /// Requests to the registries so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.record().requests
    }

    /// Calls of an operation so far.
    #[must_use]
    pub fn calls(&self, operation: &str) -> Vec<Call> {
        let calls = self.record().calls.into_iter();
        calls.filter(|call| call.operation == operation).collect()
    }

    /// Calls ECR's API with the static key, in `eu-west-1`: operation and JSON in, status and JSON out.
    #[must_use]
    pub fn ecr(&self, operation: &str, body: &Value) -> (u16, Value) {
        self.ecr_in(names::REGION, operation, body)
    }

    /// The same in another region.
    #[must_use]
    pub fn ecr_in(&self, region: &str, operation: &str, body: &Value) -> (u16, Value) {
        let target = format!("AmazonEC2ContainerRegistry_V20150921.{operation}");
        let key = names::access_key(&self.number);
        let signature =
            format!("AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/ecr/aws4_request");
        let headers = [
            ("X-Amz-Target", target.as_str()),
            ("Authorization", signature.as_str()),
            ("Content-Type", "application/x-amz-json-1.1"),
        ];
        let (status, answer) = http::send("POST", &self.endpoint, &headers, &body.to_string());
        (
            status,
            serde_json::from_str(&answer).unwrap_or(Value::String(answer)),
        )
    }

    /// A fresh ECR token, as `docker login` would be given it.
    ///
    /// # Panics
    ///
    /// When the answer is none.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's harness fails by panics")]
    pub fn password(&self) -> String {
        let (_, answer) = self.ecr("GetAuthorizationToken", &json!({}));
        let token = answer["authorizationData"][0]["authorizationToken"]
            .as_str()
            .expect("a token");
        let decoded = String::from_utf8(STANDARD.decode(token).expect("base64")).expect("text");
        decoded.strip_prefix("AWS:").expect("the user").to_owned()
    }

    /// Writes a Docker configuration with a fresh token, as `docker login` does, for plain buildx.
    ///
    /// # Panics
    ///
    /// When the file can't be written.
    #[expect(clippy::expect_used, reason = "a test's harness fails by panics")]
    pub fn log_in(&self, docker_config: &Path) {
        let auth = STANDARD.encode(format!("AWS:{}", self.password()));
        let text = json!({ "auths": { self.host(): { "auth": auth } } }).to_string();
        std::fs::write(docker_config.join("config.json"), text).expect("a directory");
    }

    fn control(&self) -> String {
        format!("{}/rig/accounts/{}", self.endpoint, self.number)
    }
}

impl Repository<'_> {
    /// Elsewhere than in `eu-west-1`; `public` is ECR Public.
    pub fn in_region(mut self, region: &str) -> Self {
        region.clone_into(&mut self.region);
        self
    }

    /// Its tags can't be overwritten.
    pub fn immutable(mut self) -> Self {
        self.mutability = "IMMUTABLE";
        self
    }

    /// Its tags can't be overwritten, but those that match one of the wildcards can.
    pub fn immutable_except(mut self, wildcards: &[&str]) -> Self {
        self.mutability = "IMMUTABLE_WITH_EXCLUSION";
        self.exclusions = wildcards
            .iter()
            .map(|&wildcard| wildcard.to_owned())
            .collect();
        self
    }

    /// Makes it.
    pub fn create(self) {
        self.account.command(&Command::CreateRepository {
            region: self.region,
            name: self.name,
            mutability: self.mutability.to_owned(),
            exclusions: self.exclusions,
        });
    }
}
