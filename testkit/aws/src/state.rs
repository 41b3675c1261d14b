//! Everything that the stand-in remembers: what it gave out, what it was told to do, what happened.
//!
//! Repositories and their settings are not here: moto has them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};
use aws_stand_in::{Answer, Call, Command, Fault, On, Record, Request, names};
use jiff::Timestamp;
use serde::Serialize;

use crate::images::Images;
use crate::repositories::Known;

/// Where to find what is behind, and what is remembered.
#[derive(Debug)]
pub(crate) struct State {
    /// `HOST:PORT` of the real registry.
    pub registry: String,
    /// `HOST:PORT` of moto.
    pub moto: String,
    memory: Mutex<Memory>,
}

/// Held for moments only.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Accounts given away.
    given: u16,
    pub accounts: BTreeMap<String, Account>,
    pub known: Known,
    /// ECR tokens, by password.
    tokens: BTreeMap<String, Token>,
    /// Sessions of roles, by access key.
    pub sessions: BTreeMap<String, Session>,
    /// GitHub's tokens that were given out, and when they expire.
    pub identities: BTreeMap<String, Identity>,
    requests: Log,
    calls: Log,
}

/// What an account does and did.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub denied: Vec<(String, Option<String>)>,
    pub faults: Vec<Fault>,
    pub next_token: Option<u32>,
    tokens: u32,
    pub refuse_index_cache: bool,
    pub old_wording: bool,
    pub clusters: BTreeMap<String, (String, String)>,
    pub settings: BTreeMap<String, String>,
    /// Names of ECR Public's repositories, which moto has not.
    pub public: BTreeSet<String>,
    /// What the first chunk of an upload was answered, by upload.
    pub first_ranges: BTreeMap<String, String>,
    /// By region and repository.
    pub images: BTreeMap<(String, String), Images>,
    pub record: Record,
}

/// An ECR token: one is good for all registries of a region, whatever the account
/// (<https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html>).
#[derive(Debug)]
struct Token {
    account: String,
    region: String,
    number: u32,
    /// None is without limit.
    left: Option<u32>,
}

/// A role that somebody has assumed.
#[derive(Debug)]
pub(crate) struct Session {
    pub account: String,
    pub token: String,
    pub expired: bool,
}

/// What is in a token of GitHub's.
#[derive(Debug)]
pub(crate) struct Identity {
    pub audience: String,
    pub expires: Timestamp,
}

/// Why a password is refused.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum BadToken {
    Unknown,
    Expired,
}

impl State {
    pub(crate) fn new(folder: &Path, registry: String, moto: String) -> Result<Self> {
        let log = |name: &str| Log::create(&folder.join(name));
        Ok(Self {
            registry,
            moto,
            memory: Mutex::new(Memory {
                given: 0,
                accounts: BTreeMap::new(),
                known: Known::default(),
                tokens: BTreeMap::new(),
                sessions: BTreeMap::new(),
                identities: BTreeMap::new(),
                requests: log("requests.jsonl")?,
                calls: log("calls.jsonl")?,
            }),
        })
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// An account that nobody has.
    pub(crate) fn give(&mut self) -> Option<String> {
        let number = self.given;
        self.given += 1;
        (number < names::ACCOUNTS).then(|| names::account(number))
    }

    pub(crate) fn account(&mut self, number: &str) -> &mut Account {
        self.accounts.entry(number.to_owned()).or_default()
    }

    /// Makes the password known; it is good in one region.
    pub(crate) fn issue(&mut self, password: String, account: &str, region: &str) {
        let issuer = self.account(account);
        issuer.tokens += 1;
        let token = Token {
            account: account.to_owned(),
            region: region.to_owned(),
            number: issuer.tokens,
            left: issuer.next_token.take(),
        };
        self.tokens.insert(password, token);
    }

    /// Counts a use of a password. Returns which of its account's tokens it is.
    pub(crate) fn accept(&mut self, password: &str, region: &str) -> Result<u32, BadToken> {
        let token = self.tokens.get_mut(password).ok_or(BadToken::Unknown)?;
        if token.region != region {
            return Err(BadToken::Unknown);
        }
        if let Some(left) = &mut token.left {
            *left = left.checked_sub(1).ok_or(BadToken::Expired)?;
        }
        Ok(token.number)
    }

    /// Does what the control endpoint says, but for repositories.
    pub(crate) fn obey(&mut self, number: &str, command: Command) {
        let account = self.account(number);
        match command {
            Command::CreateRepository { name, .. } => {
                account.public.insert(name);
            }
            Command::Deny { action, repository } => account.denied.push((action, repository)),
            Command::Fault(fault) => account.faults.push(fault),
            Command::NextTokenGoodFor { requests } => account.next_token = Some(requests),
            Command::RefuseIndexCache => account.refuse_index_cache = true,
            Command::OldImmutableWording => account.old_wording = true,
            Command::Cluster {
                name,
                endpoint,
                authority,
            } => {
                account.clusters.insert(name, (endpoint, authority));
            }
            Command::ExpireTokens => {
                let tokens = self
                    .tokens
                    .values_mut()
                    .filter(|token| token.account == number);
                tokens.for_each(|token| token.left = Some(0));
            }
            Command::ExpireSessions => {
                let sessions = self
                    .sessions
                    .values_mut()
                    .filter(|session| session.account == number);
                sessions.for_each(|session| session.expired = true);
            }
        }
    }

    pub(crate) fn log_request(&mut self, request: Request) {
        self.requests.append(&request);
        self.account(&request.account).record.requests.push(request);
    }

    pub(crate) fn log_call(&mut self, call: Call) {
        self.calls.append(&call);
        self.account(&call.account).record.calls.push(call);
    }
}

impl Account {
    /// Whether IAM denies the action.
    pub(crate) fn denies(&self, action: &str, repository: Option<&str>) -> bool {
        self.denied.iter().any(|(denied, only)| {
            denied == action && (only.is_none() || only.as_deref() == repository)
        })
    }

    /// What goes wrong at this request, if anything.
    pub(crate) fn fault(&mut self, on: &On, repository: Option<&str>) -> Option<Answer> {
        let fault = self.faults.iter_mut().find(|fault| {
            fault.times > 0
                && fault.on == *on
                && (fault.repository.is_none() || fault.repository.as_deref() == repository)
        })?;
        if let Some(skip) = fault.skip.checked_sub(1) {
            fault.skip = skip;
            return None;
        }
        fault.times -= 1;
        Some(fault.answer.clone())
    }
}

/// A file of lines, written by a thread of its own: a disk that is full or busy is none of the requests' business.
#[derive(Debug)]
struct Log(Sender<String>);

impl Log {
    fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("creating `{}`", path.display()));
        let (mut file, (lines, written)) = (file?, mpsc::channel::<String>());
        std::thread::spawn(move || {
            for line in written {
                let _ = writeln!(file, "{line}");
            }
        });
        Ok(Self(lines))
    }

    fn append(&self, line: &impl Serialize) {
        if let Ok(line) = serde_json::to_string(line) {
            let _ = self.0.send(line);
        }
    }
}

/// How long ago something began.
pub(crate) fn milliseconds_since(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
