//! Negative labels.
//!
//! Jiang et al., *Negative Label Guided OOD Detection with Pretrained Vision-Language Models*, ICLR 2024. Score: the
//! negatives, split into groups g at random once and for all,
//!
//! mean_g Σ_j e^(100 s_j) / (Σ_j e^(100 s_j) + Σ_{l in g} e^(100 n_l)),
//!
//! with s the cosines of the image and the classes, n those with the negatives (`prompts.negatives`, for instance from
//! [`mining`](crate::mining)). Reference: the authors' `mmcls/models/classifiers/multi_modal.py`.
//!
//! Deviations: one group is scored by the same formula (the reference forgets the softmax there); the split comes from
//! our own generator, not PyTorch's, so groups differ from the reference's; fewer negatives than groups make as many
//! groups as negatives, and none at all give every image 1. As in the reference, the remainder of the negatives that
//! does not fill the groups is dropped.

use knownset_core::prompts::{CLASSES, NEGATIVES};
use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::grouped::{Grouping, PARAMS};
use crate::input::{FitError, FitInput};
use crate::spec::{Entry, Info, Information, Needs, ParamError, Scorer, Spec, Widths, parse};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct NegLabel(Grouping);

impl Spec for NegLabel {
    fn check(&self) -> Result<(), ParamError> {
        self.0.check()
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        self.0.fit(input, NEGATIVES)
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        self.0.load(state, widths, NEGATIVES)
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "neglabel",
        title: "NegLabel",
        aliases: &[],
        year: 2024,
        paper: "https://arxiv.org/abs/2403.20078",
        formula: "mean_g sum_j exp(100 s_j) / (sum_j exp(100 s_j) + sum_{l in g} exp(100 n_l)), n the cosines with negatives",
        needs: Needs { embedding: true, prompts: &[CLASSES, NEGATIVES], ..Needs::NONE },
        information: Information::Static,
        params: PARAMS,
    },
    spec: parse::<NegLabel>,
};

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::words::{known, score};

    fn detector(scale: f64, groups: usize) -> NegLabel {
        NegLabel(Grouping { scale, groups, seed: 0 })
    }

    #[test]
    fn by_hand_in_one_group_and_in_two() {
        // Cosines: class 1, negatives 0 and -1.
        let known = known(&[(CLASSES, array![[1.0, 0.0]]), (NEGATIVES, array![[0.0, 2.0], [-3.0, 0.0]])]);
        let image = array![[4.0, 0.0]];
        let e = 1.0_f64.exp();
        let one = e / (e + 1.0 + 1.0 / e);
        let two = f64::midpoint(e / (e + 1.0), e / (e + 1.0 / e));
        for (groups, expected) in [(1, one), (2, two), (100, two)] {
            assert!((score(&detector(1.0, groups), &known, &image)[0] - expected).abs() < 1e-12, "{groups}");
        }
    }

    #[test]
    fn without_negatives_every_image_scores_one() {
        let known = known(&[(CLASSES, array![[1.0, 0.0]]), (NEGATIVES, Array2::zeros((0, 2)))]);
        assert_eq!(score(&detector(100.0, 100), &known, &array![[1.0, 0.0], [-1.0, 0.5]]), [1.0, 1.0]);
    }

    #[test]
    fn in_one_group_the_order_of_negatives_does_not_matter() {
        let negatives = Array2::from_shape_fn((7, 3), |(row, d)| ((row * 5 + d * 3) % 7) as f32 - 2.5);
        let classes = array![[1.0, 0.2, 0.1], [0.0, 1.0, 0.3]];
        let images = array![[1.0, 0.5, -0.2], [-0.3, 0.1, 2.0]];
        let reversed = negatives.slice(ndarray::s![..;-1, ..]).to_owned();
        let of = |negatives: Array2<f32>, groups| {
            let known = known(&[(CLASSES, classes.clone()), (NEGATIVES, negatives)]);
            score(&detector(5.0, groups), &known, &images)
        };
        for (a, b) in of(negatives.clone(), 1).iter().zip(of(reversed.clone(), 1)) {
            assert!((a - b).abs() < 1e-14, "{a} {b}");
        }
        let differ = of(negatives, 3).iter().zip(of(reversed, 3)).any(|(a, b)| (a - b).abs() > 1e-3);
        assert!(differ, "groups of other members give other scores");
    }
}
