//! Every fault at every request, against a registry over real connections.
#![expect(clippy::unwrap_used, reason = "a registry for tests fails by panics")]

mod server;

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use server::{At, Does, Server};
use upload::{
    Blob, Cause, Credentials, Descriptor, Error, Event, How, LocationError, Memory, Observer,
    Present, Proxies, RegistrySettings, Repository, Settings, Streams, Timing, Uploader,
};

const TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Larger than what the two kernels hold between them.
const LARGE: usize = 24 << 20;

fn timing() -> Timing {
    Timing {
        connect: Duration::from_secs(2),
        silence: Duration::from_millis(700),
        answer: Duration::from_millis(700),
        floor: 1 << 20,
        floor_window: Duration::from_millis(500),
        tries: 4,
        first_wait: Duration::from_millis(5),
        longest_wait: Duration::from_millis(20),
        longest_retry_after: Duration::from_secs(2),
        blob_lag: Duration::from_secs(3),
    }
}

struct Setting {
    server: Server,
    uploader: Uploader,
    repository: Repository,
    retries: Arc<Mutex<Vec<String>>>,
}

fn setting() -> Setting {
    with(|_| {}, |_| {})
}

fn with(
    settings: impl FnOnce(&mut Settings),
    registry: impl FnOnce(&mut RegistrySettings),
) -> Setting {
    let server = Server::start();
    let retries: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&retries);
    let mut given = Settings {
        timing: timing(),
        observer: Observer::new(move |event| {
            if let Event::Retry { reason, .. } = event {
                kept.lock().unwrap().push(reason);
            }
        }),
        ..Settings::default()
    };
    settings(&mut given);
    let uploader = Uploader::start(&given).unwrap();
    let mut given = RegistrySettings::new(server.host());
    registry(&mut given);
    let repository = uploader.registry(given).unwrap().repository("team/app");
    Setting {
        server,
        uploader,
        repository,
        retries,
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i ^ (i >> 9)) as u8).collect()
}

impl Setting {
    fn push(&self, content: &[u8]) -> Result<Present, Error> {
        let blob = Blob::bytes(content.to_vec().into());
        self.repository.push(blob).wait()
    }

    /// Pushes while a thread writes, so that the digest is not known before all but the last bytes are sent.
    fn stream(&self, content: &[u8], memory: &Memory) -> Result<Present, Error> {
        let (mut writer, blob) = Blob::written(memory);
        let pending = self.repository.push(blob);
        let (server, content) = (self.server.clone(), content.to_vec());
        let tries = server.seen(At::Begin).len();
        let producer = thread::spawn(move || {
            let (most, last) = content.split_at(content.len() - 10);
            let written = writer.write_all(most);
            // The upload has begun when its digest is not known yet.
            while written.is_ok() && server.seen(At::Begin).len() == tries {
                thread::sleep(Duration::from_millis(1));
            }
            let written = written.and_then(|()| writer.write_all(last));
            match written {
                Ok(()) => writer.finish().map(drop),
                Err(error) => Err(error),
            }
        });
        let result = pending.wait();
        // It fails where the upload has.
        let _ = producer.join().unwrap();
        result
    }

    fn holds(&self, content: &[u8]) -> bool {
        let digest = Descriptor::of(content).digest.to_string();
        let state = self.server.state();
        let key = ("team/app".to_owned(), digest);
        state.blobs.get(&key).is_some_and(|blob| blob == content)
    }

    fn publish(&self) -> Result<(), Error> {
        let blobs = [self.push(b"{}")?, self.push(b"layer")?];
        let image = self
            .repository
            .complete(TYPE, manifest(&blobs), &blobs, &[])?;
        let published = self.uploader.publish(vec![(image, vec!["1.0".to_owned()])]);
        published.wait().map(drop).map_err(|error| *error.source)
    }

    fn retries(&self) -> Vec<String> {
        self.retries.lock().unwrap().clone()
    }
}

fn manifest(blobs: &[Present]) -> Vec<u8> {
    let part = |present: &Present| {
        let Descriptor { digest, size } = present.descriptor();
        format!("{{\"mediaType\":\"x\",\"digest\":\"{digest}\",\"size\":{size}}}")
    };
    let layers: Vec<_> = blobs.iter().skip(1).map(part).collect();
    format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{TYPE}\",\"config\":{},\"layers\":[{}]}}",
        part(&blobs[0]),
        layers.join(",")
    )
    .into_bytes()
}

fn memory() -> Memory {
    Memory::new(64 << 20, 48 << 20)
}

fn answer(status: u16) -> Does {
    Does::Answer(status, String::new(), String::new())
}

/// What each of the faults does to a push with known digest, at each of its requests.
fn recovers_at(places: &[At], faults: &[Does]) {
    for at in places {
        for fault in faults {
            let setting = setting();
            setting.server.fault(*at, 2, fault.clone());
            let (content, memory) = (content(5 << 20), memory());
            match at {
                At::Patch => drop(setting.stream(&content, &memory).unwrap()),
                At::PutManifest | At::GetManifest => setting.publish().unwrap(),
                _ => drop(setting.push(&content).unwrap()),
            }
            let is_manifest = matches!(at, At::PutManifest | At::GetManifest);
            assert!(is_manifest || setting.holds(&content), "{at:?} {fault:?}");
            // After the first, the digest is known, and PUT sends the content.
            let expected = if *at == At::Patch { 1 } else { 2 };
            assert_eq!(
                setting.retries().len(),
                expected,
                "{at:?} {fault:?}: {:?}",
                setting.retries()
            );
        }
    }
}

const BLOB_REQUESTS: [At; 4] = [At::HeadBlob, At::Begin, At::Patch, At::PutBlob];
const MANIFEST_REQUESTS: [At; 2] = [At::PutManifest, At::GetManifest];

#[test]
fn a_blob_is_uploaded_in_one_put_when_its_digest_is_known() {
    let setting = setting();
    let content = content(3 << 20);
    let present = setting.push(&content).unwrap();
    assert_eq!(present.how(), How::Uploaded);
    assert_eq!(present.descriptor(), &Descriptor::of(&content));
    assert!(setting.holds(&content));
    let lines: Vec<_> = setting.server.state().seen.clone();
    let methods: Vec<_> = lines.iter().map(|seen| seen.at.unwrap()).collect();
    assert_eq!(methods, [At::HeadBlob, At::Begin, At::PutBlob]);
    assert!(!lines[2].is_chunked);
    assert!(lines.iter().all(|seen| seen.connection == 1));
    assert_eq!(setting.push(&content).unwrap().how(), How::Reused);
}

#[test]
fn an_empty_blob_and_one_of_a_byte_are_uploaded() {
    let setting = setting();
    for content in [&b""[..], b"x"] {
        setting.push(content).unwrap();
        assert!(setting.holds(content));
        let (mut writer, blob) = Blob::written(&memory());
        writer.write_all(content).unwrap();
        let pending = setting.repository.push(blob);
        writer.finish().unwrap();
        assert_eq!(pending.wait().unwrap().how(), How::Reused);
    }
}

#[test]
fn a_blob_is_uploaded_while_it_is_written() {
    let setting = setting();
    let content = content(LARGE);
    let present = setting.stream(&content, &memory()).unwrap();
    assert_eq!(present.descriptor(), &Descriptor::of(&content));
    assert!(setting.holds(&content));
    // Near its end, a question whether the registry has the blob may come between.
    let mut seen = setting.server.state().seen.clone();
    seen.retain(|seen| seen.at != Some(At::HeadBlob));
    let places: Vec<_> = seen.iter().map(|seen| seen.at.unwrap()).collect();
    assert_eq!(places, [At::Begin, At::Patch, At::PutBlob]);
    assert!(seen[1].is_chunked && seen[1].body == LARGE && seen[2].body == 0);
}

#[test]
fn a_written_blob_that_the_registry_has_is_not_sent_to_its_end() {
    let setting = with(
        |settings| settings.timing.silence = Duration::from_secs(15),
        |_| {},
    );
    let content = content(LARGE);
    setting.server.add_blob("team/app", &content);
    setting.server.fault(At::Patch, 1, Does::UnreadBody);
    let present = setting.stream(&content, &memory()).unwrap();
    assert_eq!(present.how(), How::Reused);
    assert!(setting.retries().is_empty());
    assert!(setting.server.seen(At::PutBlob).is_empty());
}

#[test]
fn relative_and_absolute_locations_are_followed() {
    for is_relative in [true, false] {
        let setting = setting();
        setting.server.state().is_relative = is_relative;
        setting.stream(&content(5 << 20), &memory()).unwrap();
        setting.push(b"x").unwrap();
        let put = setting.server.seen(At::PutBlob);
        assert!(
            put.iter()
                .all(|seen| seen.line.contains("?_state=secret%3D&digest=sha256:"))
        );
    }
}

#[test]
fn an_upload_location_at_another_host_is_refused_without_a_request_to_it() {
    let (setting, other) = (
        with(|_| {}, |registry| registry.credentials = basic("hush")),
        Server::start(),
    );
    setting.server.state().elsewhere = Some(other.host());
    let error = setting.push(b"x").unwrap_err();
    assert!(matches!(
        error.cause(),
        Cause::Location(LocationError::ElsewhereHost(host)) if *host == other.host()
    ));
    assert_eq!(error.tries(), 1);
    assert!(other.state().seen.is_empty());
}

#[test]
fn a_redirect_of_an_upload_to_another_host_is_refused_without_a_request_to_it() {
    for at in [At::Begin, At::PutBlob, At::PutManifest] {
        let (setting, other) = (setting(), Server::start());
        let location = format!("Location: http://{}/evil\r\n", other.host());
        setting
            .server
            .fault(at, 9, Does::Answer(307, location, String::new()));
        let error = setting.publish().unwrap_err();
        assert!(
            matches!(error.cause(), Cause::Redirect(host) if *host == other.host()),
            "{at:?}"
        );
        assert_eq!(error.tries(), 1);
        assert!(other.state().seen.is_empty());
    }
}

#[test]
fn a_redirect_of_a_question_is_followed_without_credentials() {
    let (setting, other) = (
        with(|_| {}, |registry| registry.credentials = basic("hush")),
        Server::start(),
    );
    demand_basic(&setting);
    setting.push(b"first").unwrap();
    other.add_blob("elsewhere", b"x");
    let digest = Descriptor::of(b"x").digest;
    let location = format!(
        "Location: http://{}/v2/elsewhere/blobs/{digest}\r\n",
        other.host()
    );
    setting
        .server
        .fault(At::HeadBlob, 1, Does::Answer(307, location, String::new()));
    assert_eq!(setting.push(b"x").unwrap().how(), How::Reused);
    let seen = other.state().seen.clone();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].authorization, None);
}

#[test]
fn redirects_without_end_are_refused() {
    let setting = setting();
    let digest = Descriptor::of(b"x").digest;
    let location = format!("Location: /v2/team/app/blobs/{digest}\r\n");
    setting
        .server
        .fault(At::HeadBlob, 99, Does::Answer(307, location, String::new()));
    let error = setting.push(b"x").unwrap_err();
    assert!(matches!(error.cause(), Cause::Redirect(_)));
    assert!(setting.server.seen(At::HeadBlob).len() < 10);
}

#[test]
fn every_blob_request_recovers_from_500() {
    recovers_at(&BLOB_REQUESTS, &[answer(500)]);
}

#[test]
fn every_blob_request_recovers_from_502() {
    recovers_at(&BLOB_REQUESTS, &[answer(502)]);
}

#[test]
fn every_blob_request_recovers_from_503() {
    recovers_at(&BLOB_REQUESTS, &[answer(503)]);
}

#[test]
fn every_manifest_request_recovers_from_5xx() {
    recovers_at(
        &MANIFEST_REQUESTS,
        &[answer(500), answer(502), answer(503), answer(504)],
    );
}

#[test]
fn every_request_recovers_from_a_connection_that_ends_before_the_body() {
    // hyper itself sends a request again that a closed connection did not take, so a fresh one must fail, too.
    for at in BLOB_REQUESTS.into_iter().chain(MANIFEST_REQUESTS) {
        let setting = setting();
        setting.server.fault(at, 2, Does::ResetBefore);
        match at {
            At::Patch => drop(setting.stream(&content(5 << 20), &memory()).unwrap()),
            At::PutManifest | At::GetManifest => setting.publish().unwrap(),
            _ => drop(setting.push(b"x").unwrap()),
        }
        assert!(
            (1..=2).contains(&setting.retries().len()),
            "{at:?} {:?}",
            setting.retries()
        );
    }
}

#[test]
fn every_body_recovers_from_a_connection_that_ends_in_its_middle() {
    recovers_at(
        &[At::Patch, At::PutBlob, At::PutManifest],
        &[Does::ResetDuring],
    );
}

#[test]
fn an_answer_that_got_lost_costs_a_question_and_no_second_upload() {
    let setting = setting();
    setting.server.fault(At::PutBlob, 1, Does::ResetAfter);
    let content = content(5 << 20);
    assert_eq!(setting.push(&content).unwrap().how(), How::Reused);
    assert_eq!(setting.server.seen(At::PutBlob).len(), 1);
    let setting = self::setting();
    setting.server.fault(At::PutBlob, 1, Does::ResetAfter);
    assert_eq!(
        setting.stream(&content, &memory()).unwrap().how(),
        How::Reused
    );
    assert_eq!(setting.server.seen(At::Patch).len(), 1);
}

#[test]
fn every_other_request_recovers_from_an_answer_that_got_lost() {
    recovers_at(
        &[
            At::HeadBlob,
            At::Begin,
            At::Patch,
            At::PutManifest,
            At::GetManifest,
        ],
        &[Does::ResetAfter],
    );
}

#[test]
fn every_request_recovers_from_silence() {
    recovers_at(&[At::HeadBlob, At::Begin, At::PutBlob], &[Does::Silence]);
    recovers_at(&MANIFEST_REQUESTS, &[Does::Silence]);
}

#[test]
fn an_upload_whose_bytes_nobody_reads_is_given_up_and_starts_over() {
    let setting = setting();
    let content = content(LARGE);
    setting.server.fault(At::Patch, 1, Does::UnreadBody);
    setting.server.fault(At::PutBlob, 1, Does::UnreadBody);
    setting.stream(&content, &memory()).unwrap();
    assert!(setting.holds(&content));
    let retries = setting.retries();
    assert_eq!(retries.len(), 2, "{retries:?}");
    assert!(
        retries
            .iter()
            .all(|reason| reason.contains("nothing came or went")),
        "{retries:?}"
    );
}

#[test]
fn an_upload_that_crawls_is_given_up_and_starts_over() {
    let setting = with(
        |settings| {
            settings.timing.silence = Duration::from_secs(10);
            settings.timing.answer = Duration::from_secs(10);
            settings.timing.floor = 8 << 20;
        },
        |_| {},
    );
    let content = content(LARGE);
    setting
        .server
        .fault(At::PutBlob, 1, Does::SlowBody(3_000_000));
    let begun = Instant::now();
    setting.push(&content).unwrap();
    assert!(setting.holds(&content));
    assert!(begun.elapsed() < Duration::from_secs(8));
    let retries = setting.retries();
    assert!(retries[0].contains("takes only"), "{retries:?}");
}

#[test]
fn an_answer_that_stops_in_its_middle_is_given_up() {
    let setting = setting();
    setting.server.fault(At::GetManifest, 2, Does::HalfAnswer);
    setting.publish().unwrap();
    assert_eq!(setting.retries().len(), 2);
}

#[test]
fn bytes_that_got_lost_are_found_by_the_digest_and_sent_again() {
    recovers_at(&[At::Patch, At::PutBlob], &[Does::LostByte]);
}

#[test]
fn another_digest_than_ours_is_not_taken_for_ours() {
    let setting = setting();
    setting.server.fault(At::PutManifest, 9, Does::WrongDigest);
    let error = setting.publish().unwrap_err();
    assert!(
        matches!(error.cause(), Cause::OtherDigest { .. }),
        "{error:?}"
    );
    let setting = self::setting();
    setting.server.fault(At::PutBlob, 1, Does::WrongDigest);
    // The registry has it all the same, which the next try finds.
    assert_eq!(setting.push(b"x").unwrap().how(), How::Reused);
    assert_eq!(setting.retries().len(), 1);
}

#[test]
fn a_wait_that_the_registry_asks_for_is_kept() {
    for (at, form) in [(At::HeadBlob, "1"), (At::Begin, "1"), (At::PutBlob, "1")] {
        let setting = setting();
        let header = format!("Retry-After: {form}\r\n");
        let text = "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"Rate exceeded\"}]}";
        setting
            .server
            .fault(at, 1, Does::Answer(429, header, text.to_owned()));
        let begun = Instant::now();
        setting.push(b"x").unwrap();
        let took = begun.elapsed();
        assert!(
            took >= Duration::from_secs(1) && took < Duration::from_secs(3),
            "{took:?}"
        );
        assert!(
            setting.retries()[0].contains("429"),
            "{:?}",
            setting.retries()
        );
    }
}

#[test]
fn a_wait_without_measure_is_cut() {
    let setting = setting();
    let header = "Retry-After: 99999999999\r\n".to_owned();
    setting
        .server
        .fault(At::HeadBlob, 1, Does::Answer(429, header, String::new()));
    let begun = Instant::now();
    setting.push(b"x").unwrap();
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(4),
        "{took:?}"
    );
}

#[test]
fn too_many_requests_halve_the_streams() {
    let changes: Arc<Mutex<Vec<(usize, usize)>>> = Arc::default();
    let kept = Arc::clone(&changes);
    let setting = with(
        |settings| {
            settings.observer = Observer::new(move |event| {
                if let Event::Streams { change, .. } = event {
                    kept.lock().unwrap().push((change.from, change.to));
                }
            });
        },
        |registry| registry.streams = Streams { start: 8, most: 8 },
    );
    setting.server.fault(At::Begin, 3, answer(429));
    let pending: Vec<_> = (0..12)
        .map(|number| {
            setting
                .repository
                .push(Blob::bytes(vec![number; 1000].into()))
        })
        .collect();
    for one in pending {
        one.wait().unwrap();
    }
    assert_eq!(*changes.lock().unwrap(), [(8, 4)]);
}

#[test]
fn a_403_is_an_error_at_once_and_at_every_request() {
    let text = "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"Your authorization token has expired. Reauthenticate and try again.\"}]}";
    for at in BLOB_REQUESTS.into_iter().chain(MANIFEST_REQUESTS) {
        let setting = setting();
        setting
            .server
            .fault(at, 1, Does::Answer(403, String::new(), text.to_owned()));
        let error = match at {
            At::Patch => setting.stream(&content(5 << 20), &memory()).map(drop),
            _ => setting.publish(),
        };
        let error = error.unwrap_err();
        let Cause::Answer(answer) = error.cause() else {
            panic!("{at:?}: {error:?}");
        };
        assert_eq!((answer.status.as_u16(), error.tries()), (403, 1), "{at:?}");
        assert!(!error.is_temporary());
        if at != At::HeadBlob {
            assert!(answer.has("DENIED"));
            assert_eq!(
                error.hint(),
                Some("an ECR token lives for 12 hours: get a new one")
            );
        }
        assert!(setting.retries().is_empty());
        assert!(
            !setting
                .server
                .state()
                .manifests
                .contains_key(&("team/app".into(), "1.0".into()))
                || at == At::GetManifest
        );
    }
}

#[test]
fn a_fault_that_stays_is_an_error_that_says_what_where_and_how_often() {
    let setting = setting();
    let text = "<html>\u{1b}[31m".to_owned() + &"x".repeat(100_000);
    setting
        .server
        .fault(At::PutBlob, 99, Does::Answer(503, String::new(), text));
    let error = setting.push(b"x").unwrap_err();
    let digest = Descriptor::of(b"x").digest;
    let host = setting.server.host();
    assert_eq!(
        error.to_string(),
        format!(
            "could not push blob `{digest}` to `{host}/team/app`: `PUT {host}/v2/team/app/blobs/uploads/4` failed 4 times"
        )
    );
    assert!(error.is_temporary());
    let cause = error.cause().to_string();
    assert!(
        cause.starts_with("the registry answered 503 Service Unavailable: <html> [31mx"),
        "{cause}"
    );
    assert!(cause.len() < 1200 && !cause.contains('\u{1b}'));
}

#[test]
fn answers_without_measure_are_cut_or_refused() {
    let setting = setting();
    setting
        .server
        .fault(At::HeadBlob, 1, Does::LargeAnswer(200, 50 << 20));
    setting
        .server
        .fault(At::Begin, 1, Does::LargeAnswer(500, 50 << 20));
    setting
        .server
        .fault(At::GetManifest, 1, Does::LargeAnswer(200, 50 << 20));
    let error = setting.publish().unwrap_err();
    assert!(matches!(error.cause(), Cause::TooLarge(limit) if *limit == upload::MANIFEST_LIMIT));
    assert_eq!(setting.retries().len(), 1, "{:?}", setting.retries());
}

#[test]
fn a_head_without_end_and_a_protocol_that_is_not_http_fail_in_time() {
    for fault in [Does::LargeHead, Does::Garbage] {
        let setting = setting();
        setting.server.fault(At::Begin, 99, fault.clone());
        let error = setting.push(b"x").unwrap_err();
        let is_known = matches!(error.cause(), Cause::Malformed(_) | Cause::Broken(_));
        assert!(is_known && error.is_temporary(), "{fault:?}: {error:?}");
        assert_eq!(error.tries(), 4);
    }
}

#[test]
fn an_early_answer_ends_an_upload_before_its_body_does() {
    let setting = setting();
    setting.server.fault(At::PutBlob, 1, Does::AnswerEarly(413));
    let error = setting.push(&content(LARGE)).unwrap_err();
    // The registry closes; which of both comes first is the kernel's choice.
    match error.cause() {
        Cause::Answer(answer) => assert_eq!(answer.status.as_u16(), 413),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_manifest_waits_for_a_registry_that_does_not_see_its_blobs_yet() {
    let setting = setting();
    setting.server.state().lag = 6;
    setting.publish().unwrap();
    assert!(setting.retries().is_empty());
    assert_eq!(setting.server.seen(At::PutManifest).len(), 8);
}

#[test]
fn a_manifest_does_not_wait_for_ever() {
    let setting = with(
        |settings| settings.timing.blob_lag = Duration::from_millis(300),
        |_| {},
    );
    setting.server.state().lag = 99;
    let begun = Instant::now();
    let error = setting.publish().unwrap_err();
    assert!(matches!(error.cause(), Cause::Answer(answer) if answer.has("MANIFEST_BLOB_UNKNOWN")));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn no_tag_is_written_before_all_registries_have_the_manifest() {
    let (first, second) = (setting(), setting());
    second.server.fault(At::PutManifest, 1, answer(403));
    let images = [&first, &second].map(|setting| {
        let blobs = [setting.push(b"{}").unwrap()];
        let image = setting
            .repository
            .complete(TYPE, manifest(&blobs), &blobs, &[]);
        (image.unwrap(), vec!["1.0".to_owned(), "latest".to_owned()])
    });
    let error = first.uploader.publish(images.to_vec()).wait().unwrap_err();
    assert_eq!(error.tagged, Vec::<String>::new());
    for setting in [&first, &second] {
        let tagged = setting
            .server
            .state()
            .manifests
            .keys()
            .any(|(_, tag)| !tag.contains(':'));
        assert!(!tagged);
    }
    first.uploader.publish(images.to_vec()).wait().unwrap();
    for setting in [&first, &second] {
        let key = |tag: &str| ("team/app".to_owned(), tag.to_owned());
        let state = setting.server.state();
        assert!(
            state.manifests.contains_key(&key("1.0"))
                && state.manifests.contains_key(&key("latest"))
        );
    }
}

#[test]
fn an_error_at_the_tags_says_which_were_written() {
    let setting = setting();
    let blobs = [setting.push(b"{}").unwrap()];
    let image = setting
        .repository
        .complete(TYPE, manifest(&blobs), &blobs, &[])
        .unwrap();
    // The digest goes well, one of two tags does not.
    setting
        .server
        .later_fault(At::PutManifest, 1, 1, answer(403));
    let tags = vec!["a".to_owned(), "b".to_owned()];
    let published = setting.uploader.publish(vec![(image, tags)]);
    let error = published.wait().unwrap_err();
    assert_eq!(error.tagged.len(), 1, "{error}");
    assert!(error.to_string().contains(&error.tagged[0]));
}

#[test]
fn a_tag_that_is_taken_by_the_same_manifest_is_no_error() {
    let setting = setting();
    setting.publish().unwrap();
    let text = "{\"errors\":[{\"code\":\"TAG_INVALID\",\"message\":\"The image tag '1.0' already exists in the 'team/app' repository and cannot be overwritten because the tag is immutable.\"}]}";
    setting.server.fault(
        At::PutManifest,
        2,
        Does::Answer(400, String::new(), text.to_owned()),
    );
    setting.publish().unwrap();
    let key = ("team/app".to_owned(), "1.0".to_owned());
    setting
        .server
        .state()
        .manifests
        .insert(key, (TYPE.to_owned(), b"{}".to_vec()));
    setting.server.fault(
        At::PutManifest,
        2,
        Does::Answer(400, String::new(), text.to_owned()),
    );
    let error = setting.publish().unwrap_err();
    assert!(matches!(error.cause(), Cause::Answer(answer) if answer.has("TAG_INVALID")));
}

#[test]
fn a_manifest_gets_more_tags_by_one_request_each_and_a_read() {
    let setting = setting();
    setting.publish().unwrap();
    let there = setting.repository.manifest("1.0").wait().unwrap().unwrap();
    let before = setting.server.state().seen.len();
    let tags = ["2.0".to_owned(), "latest".to_owned()];
    setting.repository.tag(&there, &tags).wait().unwrap();
    let seen: Vec<At> = {
        let state = setting.server.state();
        let seen = state.seen.iter().skip(before);
        seen.filter_map(|seen| seen.at).collect()
    };
    let count = |at: At| seen.iter().filter(|other| **other == at).count();
    assert_eq!(
        (count(At::PutManifest), count(At::GetManifest), seen.len()),
        (2, 2, 4)
    );
    for tag in ["1.0", "2.0", "latest"] {
        let found = setting.repository.manifest(tag).wait().unwrap();
        assert_eq!(found.as_ref(), Some(&there), "{tag}");
        // With and without the header that says it.
        let digest = setting.repository.digest(tag).wait().unwrap();
        assert_eq!(digest, Some(there.digest.clone()), "{tag}");
    }
    assert_eq!(setting.repository.digest("gone").wait().unwrap(), None);
    setting.server.fault(At::PutManifest, 1, answer(403));
    let error = setting.repository.tag(&there, &tags).wait().unwrap_err();
    assert_eq!(error.tagged.len(), 1, "{error}");
}

#[test]
fn a_blob_that_is_not_what_its_digest_says_is_refused() {
    let setting = setting();
    let present = setting.push(b"{}").unwrap();
    let digest = &present.descriptor().digest;
    let read = || setting.repository.blob(digest).wait();
    assert_eq!(read().unwrap().unwrap(), b"{}".as_slice());
    let other = Descriptor::of(b"other").digest;
    assert_eq!(setting.repository.blob(&other).wait().unwrap(), None);
    let wrong = Does::Answer(200, String::new(), "[]".to_owned());
    setting.server.fault(At::GetBlob, 9, wrong);
    let error = read().unwrap_err();
    assert!(
        matches!(error.cause(), Cause::OtherDigest { .. }),
        "{error:?}"
    );
}

#[test]
fn a_tag_that_names_something_else_when_it_is_read_back_is_an_error() {
    let setting = setting();
    let other = Does::Answer(200, format!("Content-Type: {TYPE}\r\n"), "{}".to_owned());
    setting.server.fault(At::GetManifest, 99, other);
    let error = setting.publish().unwrap_err();
    assert!(matches!(error.cause(), Cause::TagMoved(_)), "{error:?}");
}

#[test]
fn a_manifest_without_proof_of_its_blobs_is_not_made() {
    let setting = setting();
    let blobs = [
        setting.push(b"{}").unwrap(),
        setting.push(b"layer").unwrap(),
    ];
    let bytes = manifest(&blobs);
    let complete = |bytes: &[u8], blobs: &[Present]| {
        let image = setting
            .repository
            .complete(TYPE, bytes.to_vec(), blobs, &[]);
        image.map(drop).map_err(|error| error.cause().to_string())
    };
    assert_eq!(complete(&bytes, &blobs), Ok(()));
    assert!(
        complete(&bytes, &blobs[..1])
            .unwrap_err()
            .contains("was not pushed")
    );
    let text = String::from_utf8(bytes.clone()).unwrap();
    for (from, to) in [
        ("\"size\":5", "\"size\":6"),
        ("\"size\":5", "\"size\":5,\"digest\":\"sha256:0\""),
        ("manifest.v1", "manifest.v2"),
        ("{\"schema", "[\"schema"),
    ] {
        assert!(
            complete(text.replace(from, to).as_bytes(), &blobs).is_err(),
            "{to}"
        );
    }
    let other = setting
        .uploader
        .registry(RegistrySettings::new(setting.server.host()))
        .unwrap();
    let other = other.repository("team/other");
    assert!(other.complete(TYPE, bytes, &blobs, &[]).is_err());
    let foreign = text.replace("\"size\":5", "\"size\":6,\"urls\":[\"https://a/b\"]");
    assert_eq!(complete(foreign.as_bytes(), &blobs), Ok(()));
}

#[test]
fn an_index_needs_its_manifests() {
    let setting = setting();
    let blobs = [setting.push(b"{}").unwrap()];
    let image = setting
        .repository
        .complete(TYPE, manifest(&blobs), &blobs, &[])
        .unwrap();
    let Descriptor { digest, size } = image.descriptor().clone();
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = format!(
        "{{\"schemaVersion\":2,\"manifests\":[{{\"digest\":\"{digest}\",\"size\":{size}}}]}}"
    );
    assert!(
        setting
            .repository
            .complete(kind, index.clone(), &blobs, &[])
            .is_err()
    );
    let stored = setting
        .uploader
        .publish(vec![(image, vec![])])
        .wait()
        .unwrap();
    let index = setting
        .repository
        .complete(kind, index, &[], &stored)
        .unwrap();
    setting
        .uploader
        .publish(vec![(index, vec!["multi".to_owned()])])
        .wait()
        .unwrap();
    let read = setting
        .repository
        .manifest("multi")
        .wait()
        .unwrap()
        .unwrap();
    assert_eq!(read.media_type, kind);
    assert!(
        setting
            .repository
            .manifest("none")
            .wait()
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_tag_that_is_none_is_refused_before_anything_is_written() {
    let setting = setting();
    let blobs = [setting.push(b"{}").unwrap()];
    let image = setting
        .repository
        .complete(TYPE, manifest(&blobs), &blobs, &[])
        .unwrap();
    let tags = vec!["good".to_owned(), "../evil".to_owned()];
    setting
        .uploader
        .publish(vec![(image, tags)])
        .wait()
        .unwrap_err();
    assert!(setting.server.seen(At::PutManifest).is_empty());
}

fn basic(password: &str) -> Credentials {
    Credentials::Basic {
        user: "AWS".to_owned(),
        password: password.to_owned().into(),
    }
}

/// Base64 of `AWS:hush`.
const HUSH: &str = "Basic QVdTOmh1c2g=";

fn demand_basic(setting: &Setting) {
    let mut state = setting.server.state();
    state.challenge = "Basic realm=\"r\",service=\"s\"".to_owned();
    state.wants = HashSet::from([HUSH.to_owned()]);
}

#[test]
fn basic_credentials_are_given_when_they_are_asked_for() {
    let setting = with(|_| {}, |registry| registry.credentials = basic("hush"));
    setting.push(b"open").unwrap();
    assert!(
        setting
            .server
            .state()
            .seen
            .iter()
            .all(|seen| seen.authorization.is_none())
    );
    demand_basic(&setting);
    setting.push(b"x").unwrap();
    setting.stream(&content(5 << 20), &memory()).unwrap();
    setting.publish().unwrap();
    let refused = setting
        .server
        .state()
        .seen
        .iter()
        .filter(|seen| seen.status == 401)
        .count();
    assert_eq!(refused, 1);
}

#[test]
fn credentials_that_are_refused_or_missing_are_an_error_at_once() {
    for (credentials, text) in [
        (basic("wrong"), "it refuses those that were given"),
        (Credentials::Anonymous, "none were given"),
    ] {
        let setting = with(|_| {}, |registry| registry.credentials = credentials);
        demand_basic(&setting);
        let error = setting.push(b"x").unwrap_err();
        assert!(
            matches!(error.cause(), Cause::Unauthorized(reason) if reason == text),
            "{error:?}"
        );
        assert_eq!(error.tries(), 1);
        assert!(!format!("{error:?}").contains("wrong"));
    }
}

fn bearer(setting: &Setting, tokens: &[&str], good: &[&str]) {
    let mut state = setting.server.state();
    state.challenge = format!(
        "Bearer realm=\"http://{}/token\",service=\"s\"",
        setting.server.host()
    );
    state.tokens = tokens
        .iter()
        .rev()
        .map(|token| (*token).to_owned())
        .collect();
    state.wants = good.iter().map(|token| format!("Bearer {token}")).collect();
}

#[test]
fn a_token_is_fetched_once_for_pull_and_push_and_used_by_all() {
    let setting = with(|_| {}, |registry| registry.credentials = basic("hush"));
    bearer(&setting, &["one"], &["one"]);
    setting.publish().unwrap();
    setting.stream(&content(5 << 20), &memory()).unwrap();
    let asked = setting.server.seen(At::Token);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].authorization.as_deref(), Some(HUSH));
    assert_eq!(
        asked[0].line,
        "GET /token?service=s&scope=repository%3Ateam%2Fapp%3Apull%2Cpush"
    );
}

#[test]
fn a_token_that_expired_is_renewed_once() {
    for at in [At::Begin, At::PutBlob] {
        let setting = with(|_| {}, |registry| registry.credentials = basic("hush"));
        bearer(&setting, &["one", "two"], &["one", "two"]);
        let challenge = format!("WWW-Authenticate: {}\r\n", setting.server.state().challenge);
        setting
            .server
            .fault(at, 1, Does::Answer(401, challenge, String::new()));
        setting.push(&content(5 << 20)).unwrap();
        assert_eq!(setting.server.seen(At::Token).len(), 2, "{at:?}");
        // Content on its way takes another try.
        assert_eq!(setting.retries().len(), usize::from(at == At::PutBlob));
    }
}

#[test]
fn a_token_that_is_refused_twice_is_an_error() {
    let setting = with(|_| {}, |registry| registry.credentials = basic("hush"));
    bearer(&setting, &["one", "two", "three"], &["other"]);
    let error = setting.push(b"x").unwrap_err();
    assert!(matches!(error.cause(), Cause::Unauthorized(_)), "{error:?}");
    assert_eq!(
        (error.tries(), setting.server.seen(At::Token).len()),
        (1, 1)
    );
}

#[test]
fn a_token_service_may_fail_for_a_moment_and_may_refuse() {
    let setting = with(|_| {}, |registry| registry.credentials = basic("hush"));
    bearer(&setting, &["one"], &["one"]);
    setting.server.fault(At::Token, 2, answer(503));
    setting.push(b"x").unwrap();
    assert_eq!(setting.retries().len(), 2);
    let setting = with(|_| {}, |registry| registry.credentials = basic("hush"));
    bearer(&setting, &["one"], &["one"]);
    setting.server.fault(At::Token, 1, answer(401));
    let error = setting.push(b"x").unwrap_err();
    assert!(
        matches!(error.cause(), Cause::TokenService { .. }),
        "{error:?}"
    );
    assert_eq!(error.tries(), 1);
}

#[test]
fn a_token_service_without_tls_at_another_host_gets_no_credentials() {
    let (setting, other) = (
        with(|_| {}, |registry| registry.credentials = basic("hush")),
        Server::start(),
    );
    let port = other.address.port();
    setting.server.state().challenge = format!("Bearer realm=\"http://localhost:{port}/token\"");
    let error = setting.push(b"x").unwrap_err();
    assert!(matches!(error.cause(), Cause::Unauthorized(_)), "{error:?}");
    assert!(other.state().seen.is_empty());
}

#[test]
fn a_blob_is_mounted_from_the_first_repository_that_has_it() {
    let setting = setting();
    setting.server.state().mounts = true;
    setting.server.add_blob("base/two", b"layer");
    let from = ["base/one", "base/two", "base/three"].map(str::to_owned);
    let blob = Blob::known(Descriptor::of(b"layer")).mounted_from(from);
    assert_eq!(
        setting.repository.push(blob).wait().unwrap().how(),
        How::Mounted
    );
    assert!(setting.holds(b"layer"));
    assert_eq!(setting.server.seen(At::Mount).len(), 2);
}

#[test]
fn a_mount_that_is_refused_becomes_the_upload() {
    let setting = setting();
    let blob = Blob::bytes("layer".into()).mounted_from(["base".to_owned()]);
    assert_eq!(
        setting.repository.push(blob).wait().unwrap().how(),
        How::Uploaded
    );
    assert!(setting.holds(b"layer"));
    assert!(setting.server.seen(At::Begin).is_empty());
}

#[test]
fn a_mount_that_fails_is_no_error_where_there_is_content() {
    let setting = setting();
    setting.server.fault(At::Mount, 1, answer(403));
    let blob = Blob::bytes("layer".into()).mounted_from(["base".to_owned()]);
    assert_eq!(
        setting.repository.push(blob).wait().unwrap().how(),
        How::Uploaded
    );
}

#[test]
fn a_blob_that_should_be_there_and_is_not_is_an_error() {
    let setting = setting();
    let blob = Blob::known(Descriptor::of(b"layer")).mounted_from(["base".to_owned()]);
    let error = setting.repository.push(blob).wait().unwrap_err();
    assert!(matches!(error.cause(), Cause::NotThere));
}

#[test]
fn a_blob_is_copied_from_another_registry() {
    let source = setting();
    let setting = setting();
    let content = content(3 << 20);
    source.push(&content).unwrap();
    let (descriptor, from) = (Descriptor::of(&content), source.repository.clone());
    let wanted = descriptor.clone();
    let blob = Blob::known(descriptor).with_repeat(move || Ok(Box::new(from.open(&wanted))));
    setting.repository.push(blob).wait().unwrap();
    assert!(setting.holds(&content));
    let (missing, from) = (Descriptor::of(b"missing"), source.repository);
    let wanted = missing.clone();
    let blob = Blob::known(missing).with_repeat(move || Ok(Box::new(from.open(&wanted))));
    let error = setting.repository.push(blob).wait().unwrap_err();
    assert!(matches!(error.cause(), Cause::Source(_)), "{error:?}");
}

#[test]
fn a_copy_goes_on_when_its_source_fails_for_a_moment() {
    let source = setting();
    let setting = setting();
    let content = content(3 << 20);
    source.push(&content).unwrap();
    source.server.fault(At::GetBlob, 1, Does::HalfAnswer);
    source.server.fault(At::GetBlob, 1, answer(503));
    let descriptor = Descriptor::of(&content);
    let (wanted, from) = (descriptor.clone(), source.repository);
    let blob = Blob::known(descriptor).with_repeat(move || Ok(Box::new(from.open(&wanted))));
    setting.repository.push(blob).wait().unwrap();
    assert!(setting.holds(&content));
    assert_eq!(setting.retries().len(), 2, "{:?}", setting.retries());
}

#[test]
fn a_blob_that_fits_into_memory_is_sent_again_without_its_producer() {
    let setting = setting();
    let content = content(LARGE);
    setting.server.fault(At::Patch, 3, Does::ResetDuring);
    setting
        .stream(&content, &Memory::new(64 << 20, 64 << 20))
        .unwrap();
    assert!(setting.holds(&content));
}

#[test]
fn a_blob_that_does_not_fit_into_memory_is_made_again() {
    let setting = setting();
    let content = content(LARGE);
    setting.server.fault(At::Patch, 1, Does::SlowBody(900_000));
    let (memory, made) = (Memory::new(2 << 20, 2 << 20), Arc::new(AtomicUsize::new(0)));
    let (mut writer, blob) = Blob::written(&memory);
    let (again, count) = (content.clone(), Arc::clone(&made));
    let blob = blob.with_repeat(move || {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(io::Cursor::new(again.clone())))
    });
    let pending = setting.repository.push(blob);
    writer.write_all(&content).unwrap();
    let descriptor = writer.finish().unwrap();
    assert_eq!(pending.wait().unwrap().descriptor(), &descriptor);
    assert!(setting.holds(&content));
    assert_eq!(made.load(Ordering::Relaxed), 1);
}

#[test]
fn a_blob_that_is_gone_and_cannot_be_made_again_is_an_error_with_its_reason() {
    let setting = setting();
    setting.server.fault(At::Patch, 1, Does::SlowBody(900_000));
    let memory = Memory::new(2 << 20, 2 << 20);
    let (mut writer, blob) = Blob::written(&memory);
    let pending = setting.repository.push(blob);
    let written = writer.write_all(&content(LARGE));
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    let error = pending.wait().unwrap_err();
    assert!(
        matches!(error.cause(), Cause::NotReplayable(reason) if reason.is_temporary()),
        "{error:?}"
    );
}

#[test]
fn a_producer_that_fails_fails_the_upload_at_once() {
    for length in [100, 8 << 20] {
        let setting = setting();
        let (mut writer, blob) = Blob::written(&memory());
        let pending = setting.repository.push(blob);
        writer.write_all(&content(length)).unwrap();
        writer.fail(&io::Error::other("disk on fire"));
        let error = pending.wait().unwrap_err();
        let Cause::Source(source) = error.cause() else {
            panic!("{error:?}");
        };
        assert!(source.to_string().contains("disk on fire"), "{source}");
        assert!(setting.server.state().blobs.is_empty());
    }
}

#[test]
fn one_producer_feeds_several_registries() {
    let (first, second) = (setting(), setting());
    second.server.fault(At::Patch, 1, Does::ResetDuring);
    let content = content(LARGE);
    let (mut writer, blob) = Blob::written(&memory());
    let pending = [
        first.repository.push(blob.clone()),
        second.repository.push(blob),
    ];
    writer.write_all(&content).unwrap();
    writer.finish().unwrap();
    for one in pending {
        one.wait().unwrap();
    }
    assert!(first.holds(&content) && second.holds(&content));
}

#[test]
fn the_memory_of_many_uploads_stays_within_its_bounds() {
    let setting = with(
        |_| {},
        |registry| registry.streams = Streams { start: 2, most: 2 },
    );
    let memory = Memory::new(4 << 20, 2 << 20);
    let producers: Vec<_> = (0..6_u8)
        .map(|number| {
            let (mut writer, blob) = Blob::written(&memory);
            let pending = setting.repository.push(blob);
            thread::spawn(move || {
                let mut content = content(6 << 20);
                content[0] = number;
                writer.write_all(&content).unwrap();
                writer.finish().unwrap();
                pending.wait().unwrap();
            })
        })
        .collect();
    for producer in producers {
        producer.join().unwrap();
    }
    assert_eq!(setting.server.state().blobs.len(), 6);
}

#[test]
fn what_is_dropped_is_stopped() {
    let setting = setting();
    setting.server.fault(At::Begin, 9, Does::Silence);
    let pending = setting.repository.push(Blob::bytes("x".into()));
    let other = setting.repository.push(Blob::bytes("y".into()));
    drop(other);
    drop(setting.uploader);
    let error = pending.wait().unwrap_err();
    assert!(matches!(error.cause(), Cause::Stopped));
}

#[test]
fn a_proxy_gets_requests_without_tls_and_its_credentials() {
    let setting = with(|_| {}, |_| {});
    let proxies = Proxies {
        http: Some(format!("http://AWS:hush@{}", setting.server.host()).into()),
        https: None,
        no_proxy: "direct.example".to_owned(),
    };
    let settings = Settings {
        proxies,
        timing: timing(),
        ..Settings::default()
    };
    let uploader = Uploader::start(&settings).unwrap();
    let mut registry = RegistrySettings::new("registry.example");
    registry.is_plain = true;
    let repository = uploader.registry(registry).unwrap().repository("team/app");
    // The locations of an upload name the proxy's stand-in itself.
    setting.server.state().is_relative = true;
    repository.push(Blob::bytes("x".into())).wait().unwrap();
    assert!(setting.holds(b"x"));
    let seen = setting.server.state().seen.clone();
    assert!(
        seen.iter()
            .all(|seen| seen.line.contains(" http://registry.example/v2/team/app/"))
    );
    assert!(
        seen.iter()
            .all(|seen| seen.proxy_authorization.as_deref() == Some(HUSH))
    );
}

#[test]
fn a_registry_that_is_not_there_is_given_up_after_one_question() {
    let setting = setting();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let registry = setting
        .uploader
        .registry(RegistrySettings::new(host))
        .unwrap();
    for tries in [3, 1] {
        let error = registry
            .repository("a")
            .push(Blob::bytes("x".into()))
            .wait()
            .unwrap_err();
        assert!(matches!(error.cause(), Cause::NoConnection(_)), "{error:?}");
        assert_eq!(error.tries(), tries);
    }
}

#[test]
fn a_registry_that_speaks_no_tls_is_an_error() {
    let setting = setting();
    // Not loopback by its name, so it is asked with TLS; where it leads, nobody speaks it.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.and_then(|mut stream| {
                let mut head = [0; 1000];
                let _ = io::Read::read(&mut stream, &mut head)?;
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
                let _ = io::Read::read(&mut stream, &mut head)?;
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            });
        }
    });
    let settings = Settings {
        proxies: Proxies {
            https: Some(format!("http://{proxy}").into()),
            ..Proxies::default()
        },
        timing: timing(),
        ..Settings::default()
    };
    let uploader = Uploader::start(&settings).unwrap();
    let registry = uploader
        .registry(RegistrySettings::new("registry.example"))
        .unwrap();
    let error = registry
        .repository("a")
        .push(Blob::bytes("x".into()))
        .wait()
        .unwrap_err();
    assert!(error.is_temporary(), "{error:?}");
    drop(setting);
}

#[test]
fn progress_counts_what_was_sent_and_what_was_in_vain() {
    let setting = setting();
    let registry = setting
        .uploader
        .registry(RegistrySettings::new(setting.server.host()))
        .unwrap();
    setting.server.fault(At::PutBlob, 1, answer(500));
    let content = content(1 << 20);
    let repository = registry.repository("team/app");
    repository.push(Blob::bytes(content.into())).wait().unwrap();
    let progress = registry.progress();
    assert_eq!((progress.sent, progress.wasted), (2 << 20, 1 << 20));
    assert_eq!(
        (progress.streams, progress.waiting, progress.limit),
        (0, 0, 8)
    );
}
