//! The hub client against servers of our own: a hub, and a second one for contents.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use knownset_data::hub::{Hub, HubError, HubRef, Progress, Snapshot, Token, Wanted};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::server::{Reply, Request, Server};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const SMALL: &str = "89abcdef0123456789abcdef0123456789abcdef";
const API: &str = "/api/models/org/tiny/revision/main";
const WANTED: Wanted<'static> = Wanted { any: &["*.json"], one_of: &[&["model.safetensors"], &["pytorch_model.bin"]] };
const FILES: [&str; 5] = ["README.md", "config.json", "model.safetensors", "pytorch_model.bin", "sub/more.json"];

fn weights() -> Vec<u8> {
    (0..300_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn listing(files: &[&str]) -> Reply {
    let files: Vec<_> = files.iter().map(|file| serde_json::json!({"rfilename": file})).collect();
    Reply::new(200, serde_json::json!({"sha": COMMIT, "siblings": files, "private": false}).to_string())
}

/// What the hub says of the weights: where they are, how long, and their SHA-256.
fn pointer(contents: &Server) -> Reply {
    Reply::new(302, "")
        .with("Location", format!("{}/blob?signature=secret", contents.address))
        .with("X-Linked-Etag", format!("\"{}\"", sha256(&weights())))
        .with("X-Linked-Size", weights().len())
}

/// A hub whose weights lie on `contents`.
fn hub_for(contents: Server) -> (Server, Arc<Server>) {
    troubled_hub_for(contents, 0)
}

/// The same, answering every request only after so many failures.
fn troubled_hub_for(contents: Server, failures: usize) -> (Server, Arc<Server>) {
    let contents = Arc::new(contents);
    let there = Arc::clone(&contents);
    let server = Server::start(move |request, before| match request.path.as_str() {
        _ if before < failures => Reply::new(if before == 0 { 500 } else { 503 }, ""),
        API => listing(&FILES),
        path if path == format!("/org/tiny/resolve/{COMMIT}/model.safetensors") => pointer(&there),
        path if path.ends_with("config.json") || path.ends_with("more.json") => {
            Reply::new(200, "{}").with("ETag", format!("W/\"{SMALL}\""))
        }
        _ => Reply::new(404, ""),
    });
    (server, contents)
}

fn plain_contents() -> Server {
    Server::start(|request, _| Reply::new(200, weights()).ranged(request))
}

fn client(server: &Server) -> (Hub, TempDir) {
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub {
        endpoint: server.address.clone(),
        cache: cache.path().to_owned(),
        token: Token::new("hf_secret"),
        offline: false,
        links: true,
        largest_file: 1 << 20,
        patience: Duration::from_millis(1),
    };
    (hub, cache)
}

fn model() -> HubRef {
    "hf:org/tiny".parse().unwrap()
}

fn fetch(hub: &Hub) -> Result<Snapshot, HubError> {
    hub.fetch(&model(), &WANTED, &mut |_| ControlFlow::Continue(()))
}

fn blob(cache: &Path, etag: &str) -> PathBuf {
    cache.join("models--org--tiny/blobs").join(etag)
}

/// A server for one question: what does `fetch` say to this?
fn answer_to(handler: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> HubError {
    let server = Server::start(handler);
    fetch(&client(&server).0).unwrap_err()
}

#[test]
fn a_model_is_laid_out_as_python_does() {
    let (server, contents) = hub_for(plain_contents());
    let (hub, cache) = client(&server);
    let mut seen = Vec::new();
    let snapshot = hub.fetch(&model(), &WANTED, &mut |progress: Progress<'_>| {
        seen.push((progress.file.to_owned(), progress.done, progress.total));
        ControlFlow::Continue(())
    });
    let snapshot = snapshot.unwrap();
    let root = cache.path().join("models--org--tiny");
    assert_eq!(snapshot.folder, root.join("snapshots").join(COMMIT));
    assert_eq!(
        (snapshot.commit.as_str(), snapshot.files.join(" ")),
        (COMMIT, "config.json model.safetensors sub/more.json".into())
    );
    assert_eq!(fs_err::read(snapshot.folder.join("model.safetensors")).unwrap(), weights());
    assert_eq!(fs_err::read(snapshot.folder.join("sub/more.json")).unwrap(), b"{}");
    assert_eq!(fs_err::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(fs_err::read(blob(cache.path(), &sha256(&weights()))).unwrap(), weights());
    assert_eq!(fs_err::read_dir(root.join("blobs")).unwrap().count(), 2);
    assert!(cache.path().join(".locks/models--org--tiny").join(format!("{SMALL}.lock")).is_file());
    if cfg!(unix) {
        let link = |file: &str| fs_err::read_link(snapshot.folder.join(file)).unwrap().display().to_string();
        assert_eq!(link("config.json"), format!("../../blobs/{SMALL}"));
        assert_eq!(link("sub/more.json"), format!("../../../blobs/{SMALL}"));
    }
    let last = seen.iter().rfind(|(file, _, _)| file == "model.safetensors").unwrap();
    assert_eq!((last.1, last.2), (300_000, Some(300_000)));

    // The token went to the hub, and to no other address.
    assert!(server.requests().iter().all(|request| request.header("authorization") == Some("Bearer hf_secret")));
    assert_eq!(contents.requests().len(), 1);
    assert!(contents.requests().iter().all(|request| request.header("authorization").is_none()));

    // What is there is not asked for again, and not at all offline.
    let asked = server.requests().len();
    assert_eq!(fetch(&hub).unwrap(), snapshot);
    assert_eq!((server.requests().len(), server.requests()[asked].path.as_str()), (asked + 1, API));
    assert_eq!(fetch(&Hub { offline: true, ..hub }).unwrap(), snapshot);
    assert_eq!((server.requests().len(), contents.requests().len()), (asked + 1, 1));
}

#[test]
fn without_links_snapshots_are_copies() {
    let (server, _contents) = hub_for(plain_contents());
    let (hub, _cache) = client(&server);
    let snapshot = fetch(&Hub { links: false, ..hub }).unwrap();
    let file = snapshot.folder.join("model.safetensors");
    assert!(!file.is_symlink());
    assert_eq!(fs_err::read(file).unwrap(), weights());
}

#[test]
fn a_broken_connection_is_continued() {
    let contents = Server::start(|request, before| {
        let reply = Reply::new(200, weights()).ranged(request);
        if before == 0 { reply.cut_after(100_000) } else { reply }
    });
    let (server, contents) = hub_for(contents);
    let (hub, _cache) = client(&server);
    let snapshot = fetch(&hub).unwrap();
    assert_eq!(fs_err::read(snapshot.folder.join("model.safetensors")).unwrap(), weights());
    let ranges: Vec<_> = contents.requests().iter().map(|request| request.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned())]);
}

#[test]
fn a_stopped_download_continues_from_the_bytes_there() {
    let (server, contents) = hub_for(plain_contents());
    let (hub, cache) = client(&server);
    let stopped = hub.fetch(&model(), &WANTED, &mut |progress| match progress.done {
        1.. if progress.file == "model.safetensors" => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert!(matches!(stopped, Err(HubError::Stopped)), "{stopped:?}");
    let incomplete = blob(cache.path(), &format!("{}.incomplete", sha256(&weights())));
    let have = fs_err::metadata(&incomplete).unwrap().len();
    assert!(have > 0 && have < 300_000, "{have}");

    let snapshot = fetch(&hub).unwrap();
    assert_eq!(fs_err::read(snapshot.folder.join("model.safetensors")).unwrap(), weights());
    assert_eq!(contents.requests()[1].header("range"), Some(format!("bytes={have}-").as_str()));
    assert!(!incomplete.exists());
}

#[test]
fn a_server_without_ranges_starts_again() {
    let (server, _contents) = hub_for(Server::start(|_, _| Reply::new(200, weights())));
    let (hub, cache) = client(&server);
    let incomplete = blob(cache.path(), &format!("{}.incomplete", sha256(&weights())));
    fs_err::create_dir_all(incomplete.parent().unwrap()).unwrap();
    for left in [vec![7; 1000], vec![7; 400_000]] {
        fs_err::write(&incomplete, left).unwrap();
        let snapshot = fetch(&hub).unwrap();
        assert_eq!(fs_err::read(snapshot.folder.join("model.safetensors")).unwrap(), weights());
        fs_err::remove_file(snapshot.folder.join("model.safetensors")).unwrap();
        fs_err::remove_file(blob(cache.path(), &sha256(&weights()))).unwrap();
    }
}

#[test]
fn a_beginning_too_long_is_thrown_away() {
    let (server, contents) = hub_for(plain_contents());
    let (hub, cache) = client(&server);
    let incomplete = blob(cache.path(), &format!("{}.incomplete", sha256(&weights())));
    fs_err::create_dir_all(incomplete.parent().unwrap()).unwrap();
    fs_err::write(&incomplete, vec![7; 400_000]).unwrap();
    fetch(&hub).unwrap();
    assert_eq!(contents.requests().len(), 2);
}

#[test]
fn wrong_content_is_removed() {
    let (server, _contents) = hub_for(Server::start(|_, _| Reply::new(200, vec![0; 300_000])));
    let (hub, cache) = client(&server);
    let error = fetch(&hub).unwrap_err();
    assert!(matches!(&error, HubError::Digest { stated, .. } if *stated == sha256(&weights())), "{error}");
    assert!(error.to_string().contains("model.safetensors"), "{error}");
    let root = cache.path().join("models--org--tiny");
    assert_eq!(fs_err::read_dir(root.join("blobs")).unwrap().count(), 1, "config.json alone");
    assert!(!root.join("snapshots").join(COMMIT).join("model.safetensors").exists());
    assert!(!root.join("refs/main").exists());
}

#[test]
fn refusals_say_what_may_help() {
    let gated = answer_to(|_, _| Reply::new(403, "").with("X-Error-Code", "GatedRepo"));
    assert!(gated.to_string().contains("accept its terms"), "{gated}");
    let private = answer_to(|_, _| Reply::new(401, "").with("X-Error-Code", "RepoNotFound"));
    assert!(matches!(&private, HubError::Denied { status: 401, hint, .. } if hint.contains("HF_TOKEN")), "{private}");
    let missing = answer_to(|_, _| Reply::new(404, ""));
    assert!(matches!(&missing, HubError::NotFound { url } if url.ends_with(API)), "{missing}");
    let nothing = answer_to(|_, _| listing(&["README.md"]));
    assert_eq!(nothing.to_string(), "hf:org/tiny@main has none of model.safetensors, pytorch_model.bin");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (hub, _cache) = client(&Server::start(|_, _| Reply::new(404, "")));
    let nobody = fetch(&Hub { endpoint: format!("http://{free}"), ..hub }).unwrap_err();
    assert!(nobody.to_string().contains("HF_HUB_OFFLINE=1"), "{nobody}");
}

#[test]
fn a_server_in_trouble_is_asked_again_but_not_for_ever() {
    let contents =
        Server::start(
            |request, before| {
                if before == 0 { Reply::new(504, "") } else { Reply::new(200, weights()).ranged(request) }
            },
        );
    let (troubled, _contents) = troubled_hub_for(contents, 2);
    fetch(&client(&troubled).0).unwrap();

    let broken = Server::start(|_, _| Reply::new(500, ""));
    let error = fetch(&client(&broken).0).unwrap_err();
    assert!(matches!(error, HubError::Status { status: 500, .. }), "{error}");
    assert_eq!(broken.requests().len(), 5);
}

#[test]
fn a_renamed_model_is_followed() {
    let contents = plain_contents();
    let server = Server::start(move |request, _| match request.path.as_str() {
        API => listing(&FILES),
        path if path.starts_with("/org/tiny/resolve") => {
            Reply::new(307, "").with("Location", path.replace("tiny", "new-name"))
        }
        path if path.ends_with("model.safetensors") => pointer(&contents),
        _ => Reply::new(200, "{}").with("ETag", SMALL),
    });
    fetch(&client(&server).0).unwrap();
    assert!(server.requests().iter().all(|request| request.header("authorization").is_some()));
}

#[test]
fn offline_nothing_is_asked_and_what_is_missing_is_said() {
    let (server, _contents) = hub_for(plain_contents());
    let (hub, cache) = client(&server);
    let hub = Hub { offline: true, ..hub };
    let error = fetch(&hub).unwrap_err().to_string();
    assert!(error.contains("the model is not in the cache") && error.contains("HF_HUB_OFFLINE"), "{error}");

    // A cache as Python leaves it, without the weights, then with other weights.
    let root = cache.path().join("models--org--tiny");
    let snapshot = root.join("snapshots").join(COMMIT);
    for folder in [root.join("refs"), root.join("blobs"), snapshot.clone()] {
        fs_err::create_dir_all(folder).unwrap();
    }
    fs_err::write(root.join("refs/main"), COMMIT).unwrap();
    fs_err::write(snapshot.join("config.json"), "{}").unwrap();
    let error = fetch(&hub).unwrap_err().to_string();
    assert!(error.contains("any of model.safetensors, pytorch_model.bin is not in the cache"), "{error}");
    fs_err::write(snapshot.join("pytorch_model.bin"), "x").unwrap();
    let found = fetch(&hub).unwrap();
    assert_eq!((found.folder, found.files.join(" ")), (snapshot, "config.json pytorch_model.bin".into()));
    let pinned: HubRef = format!("hf:org/tiny@{COMMIT}").parse().unwrap();
    assert_eq!(hub.fetch(&pinned, &WANTED, &mut |_| ControlFlow::Continue(())).unwrap().commit, COMMIT);

    // A reference that leads out of the cache.
    fs_err::write(root.join("refs/main"), "../../..").unwrap();
    assert!(matches!(fetch(&hub), Err(HubError::Offline { .. })));
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn dangerous_answers_are_refused() {
    let name = answer_to(|_, _| listing(&["model.safetensors", "../evil.json"]));
    assert!(name.to_string().contains("unsafe file name"), "{name}");
    let commit = answer_to(|_, _| Reply::new(200, r#"{"sha": "../../x", "siblings": []}"#));
    assert!(commit.to_string().contains("no commit hash"), "{commit}");
    let no_hub = answer_to(|_, _| Reply::new(200, "<html>"));
    assert!(no_hub.to_string().contains("not a list of files"), "{no_hub}");
    for etag in ["..", "../../evil", "", "a/b"] {
        let error = answer_to(move |request, _| match request.path.as_str() {
            API => listing(&FILES),
            _ => Reply::new(200, "{}").with("ETag", etag),
        });
        assert!(error.to_string().contains("no usable ETag"), "{etag}: {error}");
    }
    let endless = answer_to(|request, _| Reply::new(302, "").with("Location", &request.path));
    assert!(endless.to_string().contains("redirects without end"), "{endless}");
    let scheme = answer_to(|_, _| Reply::new(302, "").with("Location", "file:///etc/passwd"));
    assert!(scheme.to_string().contains("redirects to `file:"), "{scheme}");
}

#[test]
fn files_too_large_are_refused_before_and_while_they_come() {
    let (server, contents) = hub_for(plain_contents());
    let (hub, _cache) = client(&server);
    let error = fetch(&Hub { largest_file: 299_999, ..hub.clone() }).unwrap_err();
    assert!(matches!(error, HubError::TooLarge { size: 300_000, limit: 299_999, .. }), "{error}");
    assert_eq!(contents.requests().len(), 0);

    let longer = Server::start(|_, _| Reply::new(200, [weights(), vec![0; 10]].concat()));
    let (server, _contents) = hub_for(longer);
    let (hub, cache) = client(&server);
    let error = fetch(&hub).unwrap_err();
    assert!(matches!(error, HubError::TooLarge { limit: 300_000, .. }), "{error}");
    assert!(!error.to_string().contains("signature"), "{error}");
    assert!(!blob(cache.path(), &sha256(&weights())).exists());
}

#[test]
fn two_at_once_load_once() {
    let contents = Server::start(|request, _| {
        std::thread::sleep(Duration::from_millis(100));
        Reply::new(200, weights()).ranged(request)
    });
    let (server, contents) = hub_for(contents);
    let (hub, _cache) = client(&server);
    std::thread::scope(|scope| {
        let both = [scope.spawn(|| fetch(&hub).unwrap()), scope.spawn(|| fetch(&hub).unwrap())];
        let both = both.map(|thread| thread.join().unwrap());
        assert_eq!(both[0], both[1]);
    });
    assert_eq!(contents.requests().len(), 1);
}
