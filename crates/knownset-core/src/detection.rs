//! How well boxes are found. A box is left, top, right and bottom, in any unit.

/// Something found in an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Number of the image.
    pub image: usize,
    /// How sure it is; the higher, the surer.
    pub score: f64,
    /// Where.
    pub corners: [f32; 4],
}

/// The part of the area of two boxes together that both cover, 0 to 1; 0 where they have no area.
pub fn overlap(a: [f32; 4], b: [f32; 4]) -> f64 {
    let Areas { both, any, .. } = Areas::of(a, b);
    if any > 0.0 { both / any } else { 0.0 }
}

/// [`overlap`] less the part of the smallest box around both that neither covers, −1 to 1 (Rezatofighi et al. 2019,
/// <https://arxiv.org/abs/1902.09630>).
pub fn generalised_overlap(a: [f32; 4], b: [f32; 4]) -> f64 {
    let Areas { any, around, .. } = Areas::of(a, b);
    let empty = if around > 0.0 { (around - any) / around } else { 0.0 };
    overlap(a, b) - empty
}

/// Areas of two boxes.
struct Areas {
    both: f64,
    any: f64,
    around: f64,
}

impl Areas {
    fn of(a: [f32; 4], b: [f32; 4]) -> Self {
        let (a, b) = (a.map(f64::from), b.map(f64::from));
        let area = |x0: f64, y0: f64, x1: f64, y1: f64| (x1 - x0).max(0.0) * (y1 - y0).max(0.0);
        let own = |[x0, y0, x1, y1]: [f64; 4]| area(x0, y0, x1, y1);
        let both = area(a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3]));
        let around = area(a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3]));
        Self { both, any: own(a) + own(b) - both, around }
    }
}

/// Average precision of one class: the area below precision as a function of recall, where a recall's precision is the best
/// at any recall that is no lower (all points, as PASCAL VOC has it since 2010). None if there is nothing to be found.
///
/// `there` are the boxes of each image. From the surest detection to the least sure, of equals the earlier first, each takes
/// the free box of its image that it overlaps most, if by `least` or more, and is right; else it is wrong. Boxes taken
/// before are not free, which is COCO's rule.
///
/// # Panics
/// If a detection's image is not among those of `there`.
pub fn average_precision(found: &[Detection], there: &[Vec<[f32; 4]>], least: f64) -> Option<f64> {
    let all: usize = there.iter().map(Vec::len).sum();
    if all == 0 {
        return None;
    }
    let mut order: Vec<&Detection> = found.iter().collect();
    order.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut free: Vec<Vec<bool>> = there.iter().map(|boxes| vec![true; boxes.len()]).collect();
    let mut right: usize = 0;
    // Precision wherever recall rises.
    let mut precisions = Vec::new();
    for (index, detection) in order.into_iter().enumerate() {
        let image = detection.image;
        let overlaps = there[image].iter().map(|&corners| overlap(corners, detection.corners)).enumerate();
        let best = overlaps.filter(|&(at, overlap)| free[image][at] && overlap >= least);
        let best = best.fold(None, |best: Option<(usize, f64)>, next| match best {
            Some(best) if best.1 >= next.1 => Some(best),
            _ => Some(next),
        });
        if let Some((at, _)) = best {
            free[image][at] = false;
            right += 1;
            precisions.push(right as f64 / (index + 1) as f64);
        }
    }
    let mut best = 0.0_f64;
    let area = precisions.into_iter().rev().fold(0.0, |area, precision| {
        best = best.max(precision);
        area + best
    });
    Some(area / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: [f32; 4] = [0.0, 0.0, 2.0, 2.0];
    const HALF: [f32; 4] = [0.0, 0.0, 1.0, 2.0];
    const AWAY: [f32; 4] = [4.0, 0.0, 6.0, 2.0];

    #[test]
    fn overlaps_by_hand() {
        assert!((overlap(BOX, BOX) - 1.0).abs() < 1e-12 && (overlap(BOX, HALF) - 0.5).abs() < 1e-12);
        assert!(overlap(BOX, AWAY).abs() < 1e-12 && overlap([0.0; 4], [0.0; 4]).abs() < 1e-12);
        assert!((generalised_overlap(BOX, HALF) - 0.5).abs() < 1e-12, "nothing around them is empty");
        // The box around both has an area of 12, of which they cover 8.
        assert!((generalised_overlap(BOX, AWAY) + 4.0 / 12.0).abs() < 1e-12);
        assert!(generalised_overlap([1.0; 4], [1.0; 4]).abs() < 1e-12);
        // 1 of 7, and 9 around them.
        let moved = [1.0, 1.0, 3.0, 3.0];
        assert!((generalised_overlap(BOX, moved) - (1.0 / 7.0 - 2.0 / 9.0)).abs() < 1e-12);
    }

    fn found(found: &[(usize, f64, [f32; 4])]) -> Vec<Detection> {
        found.iter().map(|&(image, score, corners)| Detection { image, score, corners }).collect()
    }

    /// Right, wrong, right: precisions 1 and 2/3 at recalls 1/2 and 1.
    #[test]
    fn right_wrong_right() {
        let there = [vec![BOX], vec![BOX]];
        let found = found(&[(1, 0.7, HALF), (0, 0.9, BOX), (1, 0.8, AWAY)]);
        let average = average_precision(&found, &there, 0.5).unwrap();
        assert!((average - f64::midpoint(1.0, 2.0 / 3.0)).abs() < 1e-12, "{average}");
        // A half is not more than a half.
        assert!((average_precision(&found, &there, 0.51).unwrap() - 0.5).abs() < 1e-12);
    }

    /// Wrong, right, right of three boxes: precisions 1/2 and 2/3, of which the better counts at both recalls.
    #[test]
    fn a_better_precision_at_a_higher_recall_counts_before_it() {
        let there = [vec![BOX, AWAY], vec![BOX]];
        let found = found(&[(1, 0.9, AWAY), (0, 0.8, AWAY), (0, 0.7, BOX)]);
        let average = average_precision(&found, &there, 0.5).unwrap();
        assert!((average - 2.0 / 3.0 * 2.0 / 3.0).abs() < 1e-12, "{average}");
    }

    #[test]
    fn a_box_is_found_once_and_the_second_best_is_left_for_the_second() {
        let there = [vec![BOX]];
        let twice = found(&[(0, 0.9, BOX), (0, 0.8, BOX)]);
        assert!((average_precision(&twice, &there, 0.5).unwrap() - 1.0).abs() < 1e-12);
        let wrong_first = found(&[(0, 0.9, AWAY), (0, 0.8, BOX)]);
        assert!((average_precision(&wrong_first, &there, 0.5).unwrap() - 0.5).abs() < 1e-12);
        let near = [vec![BOX, HALF]];
        assert!((average_precision(&twice, &near, 0.5).unwrap() - 1.0).abs() < 1e-12, "the second takes the half");
        assert_eq!(average_precision(&twice, &[vec![]], 0.5), None);
        assert_eq!(average_precision(&[], &there, 0.5), Some(0.0));
    }
}
