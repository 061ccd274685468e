//! Nearest class centre by groups of dimensions.
//!
//! Li et al., *TagOOD: A Novel Approach to Out-of-Distribution Detection via Vision-Language Representations and Class
//! Center Learning*, ACM MM 2024. The embedding and the class centres that the recipe `tagood` trained are split into G
//! groups of dimensions; score: max_c (1/G) Σ_g cos(f_g, C_c,g). Reference: the authors' `ood_inference_distance.py`.
//!
//! Deviations: the reference multiplies by the largest probability of a known tag, which features do not hold; that
//! factor is left out, for known and unknown images alike (the reference gives score 0 to an image without such a tag
//! when it comes from an OOD set, but not when it comes from the ID set). A group that is all zero has cosine 0.

use knownset_core::parts::{CENTRES, GROUPS};
use knownset_core::state::{State, StateError};
use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::{map_rows, norm};
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse, shaped};

/// No parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TagOod {}

impl Spec for TagOod {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let centres = input.part(CENTRES, None, input.embedding()?.ncols())?;
        let (value, d) = (input.number(GROUPS)?, centres.ncols());
        let expected = || format!("a whole number of groups that divides {d} dimensions");
        let groups = groups(value.into(), d);
        let groups = groups.ok_or_else(|| FitError::PartValue { name: GROUPS, value, expected: expected() })?;
        Ok(Box::new(NearestCentre::new(centres.clone(), groups)))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let centres: Array2<f32> = state.f32("centres")?;
        let centres = shaped("centres", centres.clone(), &[centres.nrows().max(1), widths.embedding])?;
        let groups = groups(state.number("groups")?, widths.embedding);
        Ok(Box::new(NearestCentre::new(centres, groups.ok_or_else(|| StateError::NotFinite("groups".into()))?)))
    }
}

/// How many groups, if the dimensions can be split into so many.
fn groups(number: f64, dimensions: usize) -> Option<usize> {
    (1..=dimensions).find(|&groups| groups as f64 == number).filter(|&groups| dimensions.is_multiple_of(groups))
}

#[derive(Debug)]
struct NearestCentre {
    /// `[K, d]`, as trained.
    centres: Array2<f32>,
    groups: usize,
    /// `[K, d]`, every group of length one.
    unit: Array2<f64>,
}

impl NearestCentre {
    fn new(centres: Array2<f32>, groups: usize) -> Self {
        let unit = unit_groups(centres.view(), groups);
        Self { centres, groups, unit }
    }
}

/// Every group of dimensions of every row divided by its length; those of zeros stay.
fn unit_groups(rows: ArrayView2<'_, f32>, groups: usize) -> Array2<f64> {
    let mut unit = rows.mapv(f64::from);
    for mut row in unit.outer_iter_mut() {
        for mut group in row.axis_chunks_iter_mut(Axis(0), rows.ncols() / groups) {
            let length = norm(group.iter().copied());
            if length > 0.0 {
                group /= length;
            }
        }
    }
    unit
}

impl Scorer for NearestCentre {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        map_rows(batch.embedding, |row| {
            let image = unit_groups(ndarray::aview1(row).insert_axis(Axis(0)), self.groups);
            let cosines = |centre: ndarray::ArrayView1<'_, f64>| {
                centre.iter().zip(&image).map(|(c, f)| c * f).sum::<f64>() / self.groups as f64
            };
            self.unit.outer_iter().map(cosines).fold(f64::NEG_INFINITY, f64::max)
        })
    }

    fn state(&self) -> State {
        State::new().with("centres", self.centres.clone()).with_number("groups", self.groups as f64)
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "tagood",
        title: "TagOOD",
        aliases: &[],
        year: 2024,
        paper: "https://arxiv.org/abs/2408.15566",
        formula: "max_c mean_g cos(f_g, C_cg), groups g of dimensions and trained class centres C",
        needs: Needs { embedding: true, parts: &[CENTRES, GROUPS], recipe: Some("tagood"), ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[],
    },
    spec: parse::<TagOod>,
};

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        let centre = NearestCentre::new(array![[2.0, 0.0, 0.0, 3.0], [0.0, 1.0, 0.0, 0.0]], 2);
        let rows = array![[3.0, 4.0, 0.0, 9.0], [-1.0, 0.0, 0.0, -1.0], [0.0, 0.0, 0.0, 0.0]];
        // Cosines of the groups: (0.6, 1) with the first centre; (−1, −1) with it and (0, 0) with the second; none.
        for (score, expected) in scores(&centre, &Array2::zeros((3, 0)), &rows).iter().zip([0.8, 0.0, 0.0]) {
            assert!((score - expected).abs() < 1e-15, "{score} {expected}");
        }
    }

    #[test]
    fn groups_divide_the_dimensions() {
        assert_eq!([1.0, 4.0, 12.0].map(|number| groups(number, 12)), [Some(1), Some(4), Some(12)]);
        assert_eq!([0.0, -1.0, 2.5, 5.0, 24.0, f64::NAN].map(|number| groups(number, 12)), [None; 6]);
    }
}
