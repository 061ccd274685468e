//! The detectors of CIDER and NPOS: nearest neighbours in the space that they train.
//!
//! Ming et al., *How to Exploit Hyperspherical Embeddings for Out-of-Distribution Detection?*, ICLR 2023 (CIDER), and
//! Tao et al., *Non-Parametric Outlier Synthesis*, ICLR 2023 (NPOS). Score of both: [`knn`](super::knn), minus the squared
//! distance on the unit sphere to the k-th nearest training embedding, where the embedding is what the projection head
//! read in training. Reference: OpenOOD v1.5 `cider_postprocessor.py`, `npos_postprocessor.py`, k = 50 as there.
//!
//! They need nothing that another network lacks, so any features are accepted; they say something else than `knn` only
//! of a network trained by the recipe of the name, and `all` leaves them to `knn`.

use crate::detectors::knn::{K, Knn};
use crate::spec::{Entry, Info, Information, Needs, parse};

pub(crate) static CIDER: Entry = Entry {
    info: Info {
        name: "cider",
        title: "CIDER",
        aliases: &[],
        year: 2023,
        paper: "https://openreview.net/forum?id=aEFaE0W5pAd",
        formula: "-||f/||f|| - f_(k)/||f_(k)|| ||^2, knn in the space CIDER trains",
        needs: Needs { embedding: true, recipe: Some("cider"), ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[K],
    },
    spec: parse::<Knn>,
};

pub(crate) static NPOS: Entry = Entry {
    info: Info {
        name: "npos",
        title: "NPOS",
        aliases: &[],
        year: 2023,
        paper: "https://openreview.net/forum?id=JHklpEZqduQ",
        formula: "-||f/||f|| - f_(k)/||f_(k)|| ||^2, knn in the space NPOS trains",
        needs: Needs { embedding: true, recipe: Some("npos"), ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[K],
    },
    spec: parse::<Knn>,
};
