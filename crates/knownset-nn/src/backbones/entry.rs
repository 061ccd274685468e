//! What the registry says about a backbone.

use knownset_core::Preprocess;

use super::BACKBONES;
use crate::error::NnError;
use crate::network::{ResNetSpec, VitSpec};

/// A network's layout, without its number of classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// A residual network.
    ResNet(ResNetSpec),
    /// A vision transformer.
    Vit(VitSpec),
    /// The small convolutional network for MNIST.
    ConvNet,
    /// An image and a text tower; a checkpoint's own files say the rest.
    Clip,
}

impl Architecture {
    /// The checkpoint's name of the last layer, of networks that have one.
    pub fn head(&self) -> Option<&'static str> {
        match self {
            Self::ResNet(spec) => Some(spec.names.head),
            Self::Vit(_) => Some("head"),
            Self::ConvNet => Some("fc2"),
            Self::Clip => None,
        }
    }
}

/// One backbone of the registry.
#[derive(Debug)]
pub struct BackboneEntry {
    /// Name on the command line.
    pub name: &'static str,
    /// One sentence: what it is and whose weights fit.
    pub doc: &'static str,
    /// Where it was published.
    pub paper: &'static str,
    /// How its published weights want images; its `size` is the network's input side in pixels.
    pub preprocess: Preprocess,
    /// Its layers.
    pub architecture: Architecture,
}

/// The backbone of that name, or an error that suggests the nearest.
pub fn find(name: &str) -> Result<&'static BackboneEntry, NnError> {
    BACKBONES.iter().copied().find(|entry| entry.name == name).ok_or_else(|| {
        let near = BACKBONES.iter().map(|entry| (strsim::damerau_levenshtein(name, entry.name), entry.name)).min();
        let nearest = near.filter(|(distance, _)| *distance <= name.len().div_ceil(2)).map(|(_, near)| near);
        NnError::UnknownBackbone { name: name.to_owned(), nearest }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_kebab_case_and_found() {
        for (index, entry) in BACKBONES.iter().enumerate() {
            assert!(
                entry.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{}",
                entry.name
            );
            assert!(BACKBONES[..index].iter().all(|other| other.name != entry.name), "{} twice", entry.name);
            assert!(entry.paper.starts_with("https://") && entry.doc.ends_with('.'), "{}", entry.name);
            assert_eq!(find(entry.name).unwrap().name, entry.name);
        }
    }

    #[test]
    fn an_unknown_name_suggests_the_nearest() {
        let error = find("cifar-resnet21").unwrap_err().to_string();
        assert_eq!(error, "unknown backbone `cifar-resnet21`, did you mean `cifar-resnet20`?");
        assert_eq!(find("xyz").unwrap_err().to_string(), "unknown backbone `xyz`");
    }
}
