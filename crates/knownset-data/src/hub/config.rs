//! Where the hub and its cache are, by the variables that Python's `huggingface_hub` reads.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::HubError;

/// A secret. It is sent to the endpoint and nowhere else, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token; `None` where the text is blank or could not be sent.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let sendable = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        sendable.then(|| Self(text.to_owned()))
    }

    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A hub, and the folder its models are kept in.
#[derive(Debug, Clone)]
pub struct Hub {
    /// Address without a slash at its end. `HF_ENDPOINT`, else `https://huggingface.co`.
    pub endpoint: String,
    /// The cache. `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else in `~/.cache/huggingface` (`XDG_CACHE_HOME`).
    pub cache: PathBuf,
    /// For private and gated models. `HF_TOKEN`, else the file `token` in `HF_HOME`.
    pub token: Option<Token>,
    /// Use the cache alone, never the network. `HF_HUB_OFFLINE`.
    pub offline: bool,
    /// Whether snapshots are links into the cache; copies otherwise. `HF_HUB_DISABLE_SYMLINKS` turns it off.
    pub links: bool,
    /// Largest file accepted, in bytes.
    pub largest_file: u64,
    /// Wait before a request is tried again the first time; it doubles from time to time.
    pub patience: Duration,
}

impl Hub {
    /// 64 GB: above any model there is a use for here.
    const LARGEST_FILE: u64 = 64_000_000_000;

    /// The hub that the environment's variables describe. Proxies are `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
    ///
    /// # Errors
    /// [`HubError::NoHome`] if neither a variable nor the system says where the cache is.
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// The hub that these variables describe.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, HubError> {
        let text = |name: &str| variable(name).filter(|value| !value.is_empty());
        let user = text("HOME").or_else(|| text("USERPROFILE")).map(PathBuf::from);
        let path = |name: &str| {
            let value = text(name)?;
            match (value.strip_prefix("~/"), &user) {
                (Some(rest), Some(user)) => Some(user.join(rest)),
                _ => Some(PathBuf::from(value)),
            }
        };
        let caches = path("XDG_CACHE_HOME").or_else(|| Some(user.as_ref()?.join(".cache")));
        let home = path("HF_HOME").or_else(|| Some(caches?.join("huggingface")));
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(home.as_ref()?.join("hub")))
            .ok_or(HubError::NoHome)?;
        let is_set = |name: &str| {
            text(name).is_some_and(|value| matches!(value.to_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE"))
        };
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let token = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN"));
        let token = match token {
            Some(token) => Token::new(&token),
            None if is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN") => None,
            None => {
                let file = path("HF_TOKEN_PATH").or_else(|| Some(home?.join("token")));
                file.map(|file| token_file(&file)).transpose()?.flatten()
            }
        };
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache,
            token,
            offline: is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE"),
            links: !is_set("HF_HUB_DISABLE_SYMLINKS"),
            largest_file: Self::LARGEST_FILE,
            patience: Duration::from_secs(1),
        })
    }
}

fn token_file(file: &Path) -> Result<Option<Token>, HubError> {
    if file.is_file() { Ok(Token::new(&fs_err::read_to_string(file)?)) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(variables: &[(&str, &str)]) -> Result<Hub, HubError> {
        Hub::from_variables(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_cache_is_where_python_has_it() {
        let cache = |variables: &[(&str, &str)]| hub(variables).unwrap().cache;
        let home = ("HOME", "/u");
        assert_eq!(cache(&[home]), Path::new("/u/.cache/huggingface/hub"));
        assert_eq!(cache(&[home, ("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
        assert_eq!(cache(&[home, ("HF_HOME", "~/hf")]), Path::new("/u/hf/hub"));
        assert_eq!(cache(&[home, ("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")]), Path::new("/c"));
        assert_eq!(cache(&[("HF_HUB_CACHE", "/c")]), Path::new("/c"));
        assert!(matches!(hub(&[("HOME", "")]), Err(HubError::NoHome)));
    }

    #[test]
    fn switches_and_endpoint_are_read() {
        let plain = hub(&[("HOME", "/u")]).unwrap();
        assert_eq!((plain.endpoint.as_str(), plain.offline, plain.links), ("https://huggingface.co", false, true));
        let set =
            [("HOME", "/u"), ("HF_ENDPOINT", "http://x/"), ("HF_HUB_OFFLINE", "yes"), ("HF_HUB_DISABLE_SYMLINKS", "1")];
        let set = hub(&set).unwrap();
        assert_eq!((set.endpoint.as_str(), set.offline, set.links), ("http://x", true, false));
        assert!(!hub(&[("HOME", "/u"), ("HF_HUB_OFFLINE", "0")]).unwrap().offline);
    }

    #[test]
    fn the_token_is_found_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let home = ("HF_HOME", folder.path().to_str().unwrap());
        assert_eq!(hub(&[home]).unwrap().token, None);
        fs_err::write(folder.path().join("token"), "from-file\n").unwrap();
        assert_eq!(hub(&[home]).unwrap().token, Token::new("from-file"));
        assert_eq!(hub(&[home, ("HF_TOKEN", "from-env")]).unwrap().token, Token::new("from-env"));
        assert_eq!(hub(&[home, ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).unwrap().token, None);
        assert!(!format!("{:?}", hub(&[home]).unwrap()).contains("from-file"));
        assert_eq!(Token::new("line\nbreak"), None);
    }
}
