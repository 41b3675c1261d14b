//! The control endpoint: `POST /rig/accounts` gives an account away, `POST /rig/accounts/NUMBER` tells one what to do
//! ([`Command`]), `GET` what happened in it ([`aws_stand_in::Record`]), `GET /rig/ready` that we are there.

use std::sync::Arc;

use aws_stand_in::Command;
use hyper::body::Bytes;
use hyper::{Method, Response};

use crate::body::{Body, answer};
use crate::repositories::{self, PUBLIC};
use crate::state::State;

pub(crate) async fn obey(
    state: Arc<State>,
    method: &Method,
    path: &str,
    body: &Bytes,
) -> Response<Body> {
    let result = match (method, path.split('/').collect::<Vec<_>>().as_slice()) {
        (&Method::GET, ["ready"]) => Ok("ready".to_owned()),
        (&Method::POST, ["accounts"]) => state
            .memory()
            .give()
            .ok_or_else(|| "all accounts are taken".to_owned()),
        (&Method::GET, ["accounts", number]) => {
            let mut memory = state.memory();
            serde_json::to_string(&memory.account(number).record).map_err(|error| error.to_string())
        }
        (&Method::POST, ["accounts", number]) => match serde_json::from_slice(body) {
            Ok(command) => command_account(&state, number, command).await,
            Err(error) => Err(format!("no command: {error}")),
        },
        _ => Err(format!("the control endpoint has no {method} {path}")),
    };
    match result {
        Ok(text) => answer(200, "application/json", text),
        Err(text) => answer(400, "text/plain", text),
    }
}

async fn command_account(state: &State, number: &str, command: Command) -> Result<String, String> {
    match command {
        Command::CreateRepository {
            region,
            name,
            mutability,
            exclusions,
        } if region != PUBLIC => {
            let made =
                repositories::create(state, number, &region, &name, &mutability, &exclusions).await;
            made.map_err(|error| format!("{error:#}"))?;
        }
        command => state.memory().obey(number, command),
    }
    Ok("done".to_owned())
}
