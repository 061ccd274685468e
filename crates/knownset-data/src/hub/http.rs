//! Requests to the hub: redirects, retries, and files that continue where they broke off.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use fs_err::{File, OpenOptions};
use ureq::http::{Request, Response, StatusCode, Uri, header};
use ureq::{Agent, Body};

use super::{Hub, HubError};

/// Attempts that bring nothing before giving up.
const ATTEMPTS: u32 = 5;
/// Redirects followed for one request.
const REDIRECTS: u32 = 10;
/// Largest answer of the hub itself, in bytes.
const LISTING_LIMIT: u64 = 32 << 20;

/// Connections to a hub.
pub(super) struct Client<'a> {
    hub: &'a Hub,
    agent: Agent,
}

/// What the hub says of a file without sending it.
pub(super) struct Metadata {
    /// Name in the cache: the SHA-256 of a large file, the git hash of a small one.
    pub(super) etag: String,
    pub(super) size: Option<u64>,
}

impl<'a> Client<'a> {
    pub(super) fn new(hub: &'a Hub) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .accept_encoding("identity")
            .user_agent(concat!("knownset/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(Duration::from_mins(1)))
            .timeout_per_read(Some(Duration::from_mins(1)));
        Self { hub, agent: config.build().new_agent() }
    }

    /// A small answer as text.
    pub(super) fn text(&self, url: &str) -> Result<String, HubError> {
        self.again(|| {
            let (mut response, url) = self.request("GET", url, 0, &|_| true)?;
            let body = response.body_mut().with_config().limit(LISTING_LIMIT).read_to_string();
            body.map_err(|error| network(&url, &error))
        })
    }

    /// Looks at a file. A redirect to another server is where the content is, and is not followed.
    pub(super) fn metadata(&self, url: &str) -> Result<Metadata, HubError> {
        let here = server(url)?;
        self.again(|| {
            let inside = |target: &str| server(target).is_ok_and(|target| target == here);
            let (response, url) = self.request("HEAD", url, 0, &inside)?;
            let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            let etag = text("x-linked-etag").or_else(|| text("etag")).unwrap_or_default();
            let etag = etag.trim_start_matches("W/").trim_matches('"');
            let plain = etag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            if etag.is_empty() || !plain || etag.len() > 128 {
                return Err(answer(&url, &format_args!("no usable ETag (`{etag}`): not a hub?")));
            }
            let length = || text("content-length").filter(|_| !response.status().is_redirection());
            let size = text("x-linked-size").or_else(length).and_then(|size| size.parse().ok());
            Ok(Metadata { etag: etag.to_owned(), size })
        })
    }

    /// Completes the file at `path`, which may hold its beginning. `progress` is told its length so far.
    pub(super) fn download(
        &self,
        url: &str,
        size: Option<u64>,
        path: &Path,
        progress: &mut dyn FnMut(u64) -> Result<(), HubError>,
    ) -> Result<(), HubError> {
        let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(path)?;
        let mut failures = 0;
        loop {
            let have = file.seek(SeekFrom::End(0))?;
            progress(have)?;
            if size == Some(have) {
                return Ok(());
            }
            let result = self.rest(url, size, have, &mut file, progress);
            match result {
                Err(error) if error.may_pass() => {
                    failures = if file.metadata()?.len() > have { 0 } else { failures + 1 };
                    if failures == ATTEMPTS {
                        return Err(error);
                    }
                    sleep(self.hub.patience * 2_u32.pow(failures));
                }
                result => return result,
            }
        }
    }

    /// One request for the bytes from `have` on.
    fn rest(
        &self,
        url: &str,
        size: Option<u64>,
        have: u64,
        file: &mut File,
        progress: &mut dyn FnMut(u64) -> Result<(), HubError>,
    ) -> Result<(), HubError> {
        let (response, url) = self.request("GET", url, have, &|_| true)?;
        let limit = size.unwrap_or(self.hub.largest_file);
        let continues = response.status() == StatusCode::PARTIAL_CONTENT && starts_at(&response, have);
        let whole = response.status() == StatusCode::OK;
        if !continues {
            // The server sends the file from its beginning, or cannot continue one this long.
            file.set_len(0)?;
        }
        if !continues && !whole {
            return Err(network(&url, &format_args!("cannot continue from byte {have}")));
        }
        let mut length = file.seek(SeekFrom::End(0))?;
        let stated = response.body().content_length().map(|rest| length + rest);
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 17];
        loop {
            let count = body.read(&mut buffer).map_err(|error| network(&url, &error))?;
            if count == 0 {
                break;
            }
            length += count as u64;
            if length > limit {
                file.set_len(0)?;
                return Err(HubError::TooLarge { file: shown(&url), size: length, limit });
            }
            file.write_all(&buffer[..count])?;
            progress(length)?;
        }
        match size.or(stated) {
            Some(whole) if whole != length => {
                Err(network(&url, &format_args!("the connection broke after {length} of {whole} bytes")))
            }
            _ => Ok(()),
        }
    }

    /// Follows redirects that `follow` allows; the token goes to the hub's own address and to no other.
    fn request(
        &self,
        method: &str,
        url: &str,
        from: u64,
        follow: &dyn Fn(&str) -> bool,
    ) -> Result<(Response<Body>, String), HubError> {
        let home = server(&self.hub.endpoint)?;
        let mut url = url.to_owned();
        for _ in 0..=REDIRECTS {
            let mut request = Request::builder().method(method).uri(&url);
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            if let Some(token) = self.hub.token.as_ref().filter(|_| server(&url).is_ok_and(|server| server == home)) {
                request = request.header(header::AUTHORIZATION, token.bearer());
            }
            let request = request.body(()).map_err(|error| answer(&url, &error))?;
            let response = self.agent.run(request).map_err(|error| network(&url, &error))?;
            let status = response.status();
            if !status.is_redirection() {
                return if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
                    Ok((response, url))
                } else {
                    Err(refusal(&response, shown(&url)))
                };
            }
            let target = response.headers().get(header::LOCATION).and_then(|target| target.to_str().ok());
            let target = resolve(&url, target.unwrap_or_default())?;
            if !follow(&target) {
                return Ok((response, url));
            }
            if url.starts_with("https:") && !target.starts_with("https:") {
                return Err(answer(&url, &format_args!("redirects to {}, which is not encrypted", shown(&target))));
            }
            url = target;
        }
        Err(answer(&url, &"redirects without end"))
    }

    /// Tries a request again, with growing waits, while it fails in a way that may pass.
    fn again<T>(&self, mut request: impl FnMut() -> Result<T, HubError>) -> Result<T, HubError> {
        for failures in 1..ATTEMPTS {
            match request() {
                Err(error) if error.may_pass() => sleep(self.hub.patience * 2_u32.pow(failures - 1)),
                result => return result,
            }
        }
        request()
    }
}

fn starts_at(response: &Response<Body>, have: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {have}-")))
}

/// The error of an answer that is neither a success nor a redirect.
fn refusal(response: &Response<Body>, url: String) -> HubError {
    let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let status = response.status().as_u16();
    match (status, text("x-error-code")) {
        (401 | 403, "GatedRepo") => HubError::Denied {
            status,
            url,
            hint: "the model is gated: accept its terms on its page, then set HF_TOKEN to a token of that account"
                .into(),
        },
        (401 | 403, _) => HubError::Denied {
            status,
            url,
            hint: "there is no such model, or it is private: check the name, and set HF_TOKEN if it is yours".into(),
        },
        (404, _) => HubError::NotFound { url },
        _ => HubError::Status { url, status },
    }
}

/// Scheme, host and port.
fn server(url: &str) -> Result<(String, String, u16), HubError> {
    let uri: Uri = url.parse().map_err(|error| answer(url, &error))?;
    let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    match uri.host() {
        Some(host) if matches!(scheme.as_str(), "http" | "https") => Ok((scheme, host.to_ascii_lowercase(), port)),
        _ => Err(answer(url, &"not an http or https address")),
    }
}

/// The address a redirect leads to.
fn resolve(url: &str, target: &str) -> Result<String, HubError> {
    if target.starts_with("http://") || target.starts_with("https://") {
        return Ok(target.to_owned());
    }
    let uri: Uri = url.parse().map_err(|error| answer(url, &error))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some(scheme), _) if target.starts_with("//") => Ok(format!("{scheme}:{target}")),
        (Some(scheme), Some(authority)) if target.starts_with('/') => Ok(format!("{scheme}://{authority}{target}")),
        _ => Err(answer(url, &format_args!("redirects to `{target}`"))),
    }
}

fn network(url: &str, what: &dyn std::fmt::Display) -> HubError {
    HubError::Network { url: shown(url), what: what.to_string() }
}

fn answer(url: &str, what: &dyn std::fmt::Display) -> HubError {
    HubError::Answer { url: shown(url), what: what.to_string() }
}

/// An address for a message: what follows `?` may be a signature that opens a private file.
fn shown(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}
