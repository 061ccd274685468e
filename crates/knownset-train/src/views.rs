//! The two views of a picture that contrastive losses compare.

use serde::{Deserialize, Serialize};

use crate::augment::Augment;
use crate::recipe::Views;
use crate::recipes::ParamDoc;

/// The changes of supervised contrastive learning (Khosla et al. 2020, <https://arxiv.org/abs/2004.11362>), which those who
/// build on it have taken over: their code for CIFAR has these numbers.
const CONTRASTIVE: &str =
    "resized-crop:scale=0.2,flip,colour-jitter:brightness=0.4:contrast=0.4:saturation=0.4:hue=0.1:p=0.8,grey:p=0.2";

/// The parameter of recipes with two views.
pub(crate) const PARAM: ParamDoc =
    ParamDoc { name: "views", doc: "how the two views are made: contrastive, as published, or standard (--augment)" };

/// How the two views of a picture are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ViewKind {
    /// A resized crop, flipped, with other colours or none.
    #[default]
    Contrastive,
    /// As the user asked for.
    Standard,
}

impl ViewKind {
    /// Two views, made after the changes that they share; `standard` is what the user asked for.
    pub(crate) fn two(self, once: Augment, standard: &Augment) -> Views {
        let each = match self {
            Self::Contrastive => CONTRASTIVE.parse().expect("augmentations of these names"),
            Self::Standard => standard.clone(),
        };
        Views { once, each: vec![each.clone(), each] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_views_by_the_published_changes_or_the_users() {
        let (once, standard) = (Augment::crop(1), Augment::crop_and_flip(4));
        let views = ViewKind::default().two(once.clone(), &standard);
        assert_eq!((views.each.len(), &views.once), (2, &once));
        for view in &views.each {
            let text = view.to_string();
            assert!(text.starts_with("resized-crop:scale=0.2,flip,colour-jitter:"), "{text}");
        }
        assert_eq!(ViewKind::Standard.two(Augment::default(), &standard).each, [standard.clone(), standard]);
    }
}
