//! ECR's manners on the wire, a test each. Where they are known from stands at the constants in src/registry/manners.rs.

use aws_stand_in::{Account, Answer, Command, Resource};

use crate::wire::{Client, digest};

fn with_repository() -> (Account, Client) {
    let account = Account::new();
    account.repository("team/app").create();
    let client = Client::logged_in(&account);
    (account, client)
}

#[test]
fn asks_for_basic_where_no_credentials_come() {
    let account = Account::new();
    let answer = Client::with(&account.host(), None).get("/v2/");
    assert_eq!(answer.status, 401);
    let challenge = format!(
        "Basic realm=\"https://{}/\",service=\"ecr.amazonaws.com\"",
        account.host()
    );
    assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()));
    assert_eq!(answer.text(), "Not Authorized\n");
    assert_eq!(Client::logged_in(&account).get("/v2/").status, 200);
}

#[test]
fn refuses_passwords_that_it_did_not_give_out_for_this_region() {
    let account = Account::new();
    for client in [
        Client::with_password(&account.host(), "guess"),
        Client::with_password(&account.host_in("us-east-1"), &account.password()),
        Client::with(&account.host(), Some("Bearer x".to_owned())),
    ] {
        let answer = client.get("/v2/");
        assert_eq!(answer.status, 403);
        assert_eq!(
            answer.error(),
            (
                "DENIED".to_owned(),
                "Your Authorization Token is invalid.".to_owned()
            )
        );
    }
}

#[test]
fn a_token_is_good_in_all_accounts_of_its_region() {
    let (mine, others) = (Account::new(), Account::new());
    others.repository("shared").create();
    let client = Client::with_password(&others.host(), &mine.password());
    assert_eq!(client.get("/v2/shared/tags/list").status, 404);
    assert_eq!(client.image("shared", "1", b"layer").status, 201);
    assert_eq!(
        client.get("/v2/shared/tags/list").text().trim(),
        r#"{"name":"shared","tags":["1"]}"#
    );
}

#[test]
fn says_that_a_token_has_expired_and_takes_the_next_one() {
    let account = Account::new();
    let (first, other) = (
        Client::logged_in(&account),
        Client::logged_in(&Account::new()),
    );
    assert_eq!(first.get("/v2/").status, 200);
    account.command(&Command::ExpireTokens);
    let answer = first.get("/v2/");
    let text = "Your authorization token has expired. Reauthenticate and try again.";
    assert_eq!(
        (answer.status, answer.error()),
        (403, ("DENIED".to_owned(), text.to_owned()))
    );
    assert_eq!(Client::logged_in(&account).get("/v2/").status, 200);
    assert_eq!(other.get("/v2/").status, 200);
}

#[test]
fn a_token_expires_after_as_many_requests_as_it_was_told() {
    let account = Account::new();
    account.command(&Command::NextTokenGoodFor { requests: 2 });
    let (first, second) = (Client::logged_in(&account), Client::logged_in(&account));
    let statuses =
        [&first, &first, &first, &second, &second, &second].map(|client| client.get("/v2/").status);
    assert_eq!(statuses, [200, 200, 403, 200, 200, 200]);
    let tokens: Vec<_> = account
        .requests()
        .iter()
        .map(|request| request.token)
        .collect();
    assert_eq!(tokens, [Some(1), Some(1), None, Some(2), Some(2), Some(2)]);
}

#[test]
fn a_missing_repository_is_told_to_readers_and_cuts_off_uploads() {
    let account = Account::new();
    let client = Client::logged_in(&account);
    for (method, path) in [
        ("GET", "/v2/none/manifests/1"),
        ("PUT", "/v2/none/manifests/1"),
        ("GET", "/v2/none/tags/list"),
    ] {
        let answer = client.send(method, path, &[], b"");
        let text = format!(
            "The repository with name 'none' does not exist in the registry with id '{}'",
            account.number()
        );
        assert_eq!(
            (answer.status, answer.error()),
            (404, ("NAME_UNKNOWN".to_owned(), text)),
            "{method} {path}"
        );
    }
    assert!(
        client
            .try_send("POST", "/v2/none/blobs/uploads/", &[], b"")
            .is_none()
    );
    assert_eq!(account.requests().last().unwrap().status, 0);
}

#[test]
fn a_repository_is_there_as_soon_as_the_api_made_it_and_until_it_removes_it() {
    let account = Account::new();
    let client = Client::logged_in(&account);
    let name = serde_json::json!({ "repositoryName": "team/late" });
    for (operation, status) in [
        ("CreateRepository", 202),
        ("DeleteRepository", 0),
        ("CreateRepository", 202),
    ] {
        assert_eq!(account.ecr(operation, &name).0, 200);
        let answer = client.try_send("POST", "/v2/team/late/blobs/uploads/", &[], b"");
        assert_eq!(
            answer.map_or(0, |answer| answer.status),
            status,
            "{operation}"
        );
    }
}

#[test]
fn a_missing_tag_is_an_image_that_was_not_found() {
    let (_, client) = with_repository();
    let answer = client.get("/v2/team/app/manifests/none");
    let error = (
        "MANIFEST_UNKNOWN".to_owned(),
        "Requested image not found".to_owned(),
    );
    assert_eq!((answer.status, answer.error()), (404, error));
}

#[test]
fn takes_chunks_with_201_and_tells_the_range_of_the_first() {
    let (account, client) = with_repository();
    let chunks = [vec![1; 6 << 20], vec![2; 6 << 20]];
    let mut answer = client.send("POST", "/v2/team/app/blobs/uploads/", &[], b"");
    for chunk in &chunks {
        answer = client.send(
            "PATCH",
            &answer.path(),
            &["Content-Type: application/octet-stream"],
            chunk,
        );
        assert_eq!(
            (answer.status, answer.header("range")),
            (201, Some("0-6291455"))
        );
    }
    let all = chunks.concat();
    let path = format!("{}&digest={}", answer.path(), digest(&all));
    assert_eq!(client.send("PUT", &path, &[], b"").status, 201);
    assert_eq!(
        client
            .get(&format!("/v2/team/app/blobs/{}", digest(&all)))
            .body,
        all
    );
    let patches = account
        .requests()
        .into_iter()
        .filter(|request| request.method == "PATCH");
    assert_eq!(
        patches
            .map(|request| request.request_bytes)
            .collect::<Vec<_>>(),
        [6 << 20, 6 << 20]
    );
}

#[test]
fn a_taken_tag_of_an_immutable_repository_stays_but_exceptions_move() {
    let account = Account::new();
    account
        .repository("team/app")
        .immutable_except(&["*latest", "cache*"])
        .create();
    let client = Client::logged_in(&account);
    for tag in ["1.0", "latest", "cache-main"] {
        assert_eq!(client.image("team/app", tag, b"one").status, 201);
        // The same image once more is no offence.
        assert_eq!(client.image("team/app", tag, b"one").status, 201);
    }
    assert_eq!(client.image("team/app", "latest", b"two").status, 201);
    assert_eq!(client.image("team/app", "cache-main", b"two").status, 201);
    let begin = "The image tag '1.0' already exists in the 'team/app' repository and cannot be overwritten because the";
    let answer = client.image("team/app", "1.0", b"two");
    let error = (
        "TAG_INVALID".to_owned(),
        format!("{begin} tag is immutable."),
    );
    assert_eq!((answer.status, answer.error()), (400, error));
    account.command(&Command::OldImmutableWording);
    let error = client.image("team/app", "1.0", b"two").error();
    assert_eq!(error.1, format!("{begin} repository is immutable."));
}

#[test]
fn an_index_with_a_cache_is_refused_where_the_account_lives_in_2021() {
    let (account, client) = with_repository();
    let config = client.blob("team/app", b"{}");
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"application/vnd.buildkit.cacheconfig.v0","digest":"{config}","size":2}}]}}"#
    );
    let push = || {
        let kind = ["Content-Type: application/vnd.oci.image.index.v1+json"];
        client.send(
            "PUT",
            "/v2/team/app/manifests/cache",
            &kind,
            index.as_bytes(),
        )
    };
    assert_eq!(push().status, 201);
    account.command(&Command::RefuseIndexCache);
    let answer = push();
    assert_eq!((answer.status, answer.text().as_str()), (400, ""));
    assert_eq!(client.image("team/app", "cache", b"layer").status, 201);
}

#[test]
fn what_iam_denies_is_said_in_words_but_not_to_head() {
    let (account, client) = with_repository();
    account.deny("ecr:BatchCheckLayerAvailability");
    account.deny("ecr:InitiateLayerUpload");
    let path = format!("/v2/team/app/blobs/{}", digest(b"layer"));
    let answer = client.send("HEAD", &path, &[], b"");
    assert_eq!((answer.status, answer.text().as_str()), (403, ""));
    let answer = client.send("POST", "/v2/team/app/blobs/uploads/", &[], b"");
    let (code, message) = answer.error();
    assert_eq!((answer.status, code.as_str()), (403, "DENIED"));
    assert!(message.contains("is not authorized to perform: ecr:InitiateLayerUpload on resource: arn:aws:ecr:eu-west-1:"), "{message}");
}

#[test]
fn a_fault_happens_as_often_as_it_was_told() {
    let (account, client) = with_repository();
    let error = Answer::Error {
        status: 503,
        code: String::new(),
        message: String::new(),
    };
    account.registry_fault("GET", Resource::Other, 2, error);
    let slow = Answer::Error {
        status: 429,
        code: "TOOMANYREQUESTS".to_owned(),
        message: "Rate exceeded".to_owned(),
    };
    account.registry_fault("POST", Resource::Upload, 1, slow);
    account.registry_fault("PUT", Resource::Upload, 1, Answer::Close);
    let list = || client.get("/v2/team/app/tags/list").status;
    assert_eq!([list(), list(), list()], [503, 503, 404]);
    let answer = client.send("POST", "/v2/team/app/blobs/uploads/", &[], b"");
    assert_eq!(
        (answer.status, answer.error().0.as_str()),
        (429, "TOOMANYREQUESTS")
    );
    let begun = client.send("POST", "/v2/team/app/blobs/uploads/", &[], b"");
    let path = format!("{}&digest={}", begun.path(), digest(b"layer"));
    assert!(client.try_send("PUT", &path, &[], b"layer").is_none());
    assert_eq!(client.send("PUT", &path, &[], b"layer").status, 201);
}

#[test]
fn layers_are_no_other_repositorys_until_mounting_is_switched_on() {
    let (account, client) = with_repository();
    account.repository("team/other").create();
    assert_eq!(client.image("team/app", "1", b"shared layer").status, 201);
    let loose = client.blob("team/app", b"a layer of no image");
    let mount = |blob: &str| {
        let path = format!("/v2/team/other/blobs/uploads/?mount={blob}&from=team/app");
        client.send("POST", &path, &[], b"").status
    };
    let shared = digest(b"shared layer");
    assert_eq!(
        client
            .send("HEAD", &format!("/v2/team/other/blobs/{shared}"), &[], b"")
            .status,
        404
    );
    assert_eq!(mount(&shared), 202);
    let setting = serde_json::json!({ "name": "BLOB_MOUNTING", "value": "ENABLED" });
    assert_eq!(account.ecr("PutAccountSetting", &setting), (200, setting));
    assert_eq!([mount(&shared), mount(&loose)], [201, 202]);
}

#[test]
fn the_record_counts_bytes_that_came_and_went() {
    let (account, client) = with_repository();
    let layer: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let blob = client.blob("team/app", &layer);
    let path = format!("/v2/team/app/blobs/{blob}");
    assert_eq!(client.get(&path).body, layer);
    client.send("HEAD", &path, &[], b"");
    let bytes: Vec<_> = account
        .requests()
        .into_iter()
        .map(|request| {
            (
                request.method,
                request.status,
                request.request_bytes,
                request.response_bytes,
            )
        })
        .collect();
    let expected = [
        ("POST", 202, 0, 0),
        ("PUT", 201, 3_000_000, 0),
        ("GET", 200, 0, 3_000_000),
        ("HEAD", 200, 0, 0),
    ];
    assert_eq!(
        bytes,
        expected.map(|(method, status, came, went)| (method.to_owned(), status, came, went))
    );
}
