//! Models of the Hugging Face hub: `hf:ORGANISATION/NAME[@REVISION]` → a local folder.
//!
//! Reads the variables of Python's `huggingface_hub` and shares its cache, both ways. Differs in one thing: without a
//! network a copy in the cache is used when `HF_HUB_OFFLINE` says so, never silently.

mod cache;
mod config;
mod error;
mod http;
mod reference;

use std::ops::ControlFlow;
use std::path::PathBuf;

use serde::Deserialize;

use cache::Cache;
pub use config::{Hub, Token};
pub use error::HubError;
use http::Client;
pub use reference::{HubRef, Wanted};
use reference::{is_commit, is_safe};

/// A model's files on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The folder. Other files than those asked for may lie there as well.
    pub folder: PathBuf,
    /// The commit that the revision stands for.
    pub commit: String,
    /// Names of the files asked for, in the folder.
    pub files: Vec<String>,
}

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file being loaded.
    pub file: &'a str,
    /// Its bytes that are here.
    pub done: u64,
    /// Its size in bytes, where the hub says.
    pub total: Option<u64>,
}

/// What the hub says of a model.
#[derive(Deserialize)]
struct Listing {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Hub {
    /// The wanted files of a model, from the cache where they are there, else from the hub.
    ///
    /// A broken download continues where it stopped, in this call or in a later one. `progress` is called after every
    /// piece and may stop the download.
    ///
    /// # Errors
    /// No network, no such model, no access, an answer no hub gives, content that is not what was announced, or a
    /// cache that cannot be written.
    pub fn fetch(
        &self,
        model: &HubRef,
        wanted: &Wanted<'_>,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Snapshot, HubError> {
        let cache = Cache::new(self, model);
        if self.offline {
            return self.cached(&cache, model, wanted);
        }
        let client = Client::new(self);
        let address =
            format!("{}/api/models/{}/revision/{}", self.endpoint, model.model, escape(&model.revision, false));
        let listing = listing(&address, &client.text(&address)?)?;
        let names: Vec<String> = listing.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        let files = choose(model, wanted, &names)?;
        if let Some(name) = files.iter().find(|name| !is_safe(name)) {
            return Err(HubError::Answer { url: address, what: format!("unsafe file name {name:?}") });
        }
        for &file in &files {
            if cache.snapshot(&listing.sha).join(file).is_file() {
                continue;
            }
            let url = format!("{}/{}/resolve/{}/{}", self.endpoint, model.model, listing.sha, escape(file, true));
            let metadata = client.metadata(&url)?;
            if let Some(size) = metadata.size.filter(|&size| size > self.largest_file) {
                return Err(HubError::TooLarge { file: file.to_owned(), size, limit: self.largest_file });
            }
            cache.add(&listing.sha, file, &metadata.etag, |incomplete| {
                client.download(&url, metadata.size, incomplete, &mut |done| match progress(Progress {
                    file,
                    done,
                    total: metadata.size,
                }) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => Err(HubError::Stopped),
                })
            })?;
        }
        cache.remember(&model.revision, &listing.sha)?;
        let files = files.into_iter().map(str::to_owned).collect();
        Ok(Snapshot { folder: cache.snapshot(&listing.sha), commit: listing.sha, files })
    }

    /// The wanted files as far as the cache has them.
    fn cached(&self, cache: &Cache, model: &HubRef, wanted: &Wanted<'_>) -> Result<Snapshot, HubError> {
        let missing = |what: String| HubError::Offline { model: model.to_string(), what, cache: self.cache.clone() };
        let commit = cache.commit(&model.revision)?.ok_or_else(|| missing("the model".into()))?;
        let names = cache.files(&commit)?;
        let files = wanted.choose(&names).ok_or_else(|| missing(format!("any of {wanted}")))?;
        let files = files.into_iter().map(str::to_owned).collect();
        Ok(Snapshot { folder: cache.snapshot(&commit), commit, files })
    }
}

fn listing(url: &str, text: &str) -> Result<Listing, HubError> {
    let odd = |what: String| HubError::Answer { url: url.to_owned(), what };
    let listing: Listing = serde_json::from_str(text).map_err(|error| odd(format!("not a list of files: {error}")))?;
    if is_commit(&listing.sha) { Ok(listing) } else { Err(odd(format!("no commit hash: {:?}", listing.sha))) }
}

fn choose<'f>(model: &HubRef, wanted: &Wanted<'_>, names: &'f [String]) -> Result<Vec<&'f str>, HubError> {
    let nothing = || HubError::NothingWanted { model: model.to_string(), wanted: wanted.to_string() };
    wanted.choose(names).ok_or_else(nothing)
}

/// Percent-encoding of all that is not plain in an address.
fn escape(text: &str, slashes: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (slashes && byte == b'/');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
