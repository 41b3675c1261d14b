//! ECR Public's API, as far as a push needs it
//! (<https://docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/Welcome.html>).

use aws_stand_in::names;
use serde_json::{Value, json};

use super::asked::Asked;
use super::errors::Refusal;
use super::{Outcome, json_reply, tokens, unknown};
use crate::state::State;

/// Only us-east-1 has it; elsewhere the host's name leads nowhere.
pub(super) fn answer(state: &State, account: &str, asked: &Asked) -> Outcome {
    if asked.region() != names::PUBLIC_REGION {
        let message = format!(
            "ecr-public has no endpoint in {}: real clients find no such host",
            asked.region()
        );
        return Err(Refusal::new(400, "UnknownEndpoint", message));
    }
    match asked.operation.as_str() {
        "GetAuthorizationToken" => tokens::public(state, account),
        "CreateRepository" => {
            let name = asked.repository().unwrap_or_default();
            if !state
                .memory()
                .account(account)
                .public
                .insert(name.to_owned())
            {
                let message = format!(
                    "The repository with name '{name}' already exists in the registry with id '{account}'"
                );
                return Err(Refusal::new(
                    400,
                    "RepositoryAlreadyExistsException",
                    message,
                ));
            }
            Ok(json_reply(
                &json!({ "repository": describe(account, name) }),
            ))
        }
        "DescribeRepositories" => {
            let memory = &mut state.memory();
            let all = &memory.account(account).public;
            let wanted = asked.value["repositoryNames"].as_array();
            let names: Vec<&str> = match wanted {
                Some(names) => names.iter().filter_map(Value::as_str).collect(),
                None => all.iter().map(String::as_str).collect(),
            };
            if let Some(name) = names.iter().find(|&&name| !all.contains(name)) {
                let message = format!(
                    "The repository with name '{name}' does not exist in the registry with id '{account}'"
                );
                return Err(Refusal::new(400, "RepositoryNotFoundException", message));
            }
            let repositories: Vec<Value> =
                names.iter().map(|name| describe(account, name)).collect();
            Ok(json_reply(&json!({ "repositories": repositories })))
        }
        _ => Err(unknown(asked)),
    }
}

fn describe(account: &str, name: &str) -> Value {
    json!({
        "repositoryArn": format!("arn:aws:ecr-public::{account}:repository/{name}"),
        "registryId": account,
        "repositoryName": name,
        "repositoryUri": format!("{}/{}/{name}", names::PUBLIC, names::alias(account)),
    })
}
