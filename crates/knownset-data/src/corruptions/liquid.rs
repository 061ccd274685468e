//! Light on drops of water: what the published code makes of them with OpenCV's edges and distances.
//!
//! Planes here hold whole numbers 0–255, as OpenCV's 8-bit images do.

use super::plane::{Plane, nearest, reflect_101};

/// Shine of drops of the given depth (0 is dry), the brightest 1: depth times an embossed map of the distance to the
/// drops' rims. All 0 where nothing shines.
pub(super) fn sheen(depth: &Plane) -> Plane {
    let far = distance(&rims(depth)).map(|distance| distance.min(20.0));
    let far = equalised(&box_mean(&far).map(f64::floor));
    let embossed = Plane::from_fn(far.width, far.height, |x, y| {
        let at = |right: i64, down: i64| far.beyond(x as i64 + right, y as i64 + down, reflect_101);
        let (light, dark) = (at(0, 0) + at(1, 0) + at(0, 1) + 2.0 * at(1, 1), 2.0 * at(-1, -1) + at(0, -1) + at(-1, 0));
        (light - dark).clamp(0.0, 255.0)
    });
    let soft = box_mean(&embossed).map(f64::round);
    let mut depth = depth.values.iter();
    let shine = soft.map(|value| value * depth.next().copied().unwrap_or(0.0));
    let brightest = shine.values.iter().copied().fold(0.0, f64::max);
    shine.map(|value| if brightest > 0.0 { value / brightest } else { 0.0 })
}

/// Canny's edges of 3x3 Sobel gradients, thresholds 50 and 150, lengths |dx| + |dy|: true on a rim.
fn rims(plane: &Plane) -> Plane {
    const LOW: i64 = 50;
    const HIGH: i64 = 150;
    let (width, height) = (plane.width, plane.height);
    let mut slopes = Vec::with_capacity(width * height);
    for y in 0..height as i64 {
        for x in 0..width as i64 {
            let at = |right: i64, down: i64| plane.beyond(x + right, y + down, nearest) as i64;
            let across = at(1, -1) + 2 * at(1, 0) + at(1, 1) - at(-1, -1) - 2 * at(-1, 0) - at(-1, 1);
            let down = at(-1, 1) + 2 * at(0, 1) + at(1, 1) - at(-1, -1) - 2 * at(0, -1) - at(1, -1);
            slopes.push((across, down));
        }
    }
    let inside = |x: i64, y: i64| (0..width as i64).contains(&x) && (0..height as i64).contains(&y);
    let steepness = |x: i64, y: i64| {
        if !inside(x, y) {
            return 0;
        }
        let (across, down) = slopes[y as usize * width + x as usize];
        across.abs() + down.abs()
    };

    // Ridges: no lower than their neighbours up and down the slope, whose direction is one of four. 13573 is
    // tan 22.5° in 15 bits.
    let mut ridge = vec![0; width * height];
    let mut found = Vec::new();
    for y in 0..height as i64 {
        for x in 0..width as i64 {
            let here = steepness(x, y);
            if here <= LOW {
                continue;
            }
            let (across, down) = slopes[y as usize * width + x as usize];
            let shallow = across.abs() * 13573;
            let steep = shallow + (across.abs() << 16);
            let twice = down.abs() << 15;
            let is_ridge = if twice < shallow {
                here > steepness(x - 1, y) && here >= steepness(x + 1, y)
            } else if twice > steep {
                here > steepness(x, y - 1) && here >= steepness(x, y + 1)
            } else {
                let side = if (across ^ down) < 0 { -1 } else { 1 };
                here > steepness(x - side, y - 1) && here > steepness(x + side, y + 1)
            };
            if is_ridge {
                ridge[y as usize * width + x as usize] = here;
                if here > HIGH {
                    found.push((x, y));
                }
            }
        }
    }

    // Rims are the steep ridges and those that touch a rim.
    let mut rims = Plane { width, height, values: vec![0.0; width * height] };
    while let Some((x, y)) = found.pop() {
        let at = y as usize * width + x as usize;
        if rims.values[at] > 0.0 {
            continue;
        }
        rims.values[at] = 1.0;
        for (right, down) in [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)] {
            let (x, y) = (x + right, y + down);
            if inside(x, y) && ridge[y as usize * width + x as usize] > 0 {
                found.push((x, y));
            }
        }
    }
    rims
}

/// Distance of every pixel to the nearest rim along steps of 5x5 chamfer: 1 straight, 1.4 diagonal, 2.1969 as a chess
/// knight goes; Borgefors 1986, two passes. Steps are counted in 65,536ths, as OpenCV does.
fn distance(rims: &Plane) -> Plane {
    const STEPS: [(i64, i64, u64); 8] = [
        (-1, 0, 65_536),
        (0, -1, 65_536),
        (-1, -1, 91_750),
        (1, -1, 91_750),
        (-2, -1, 143_976),
        (2, -1, 143_976),
        (-1, -2, 143_976),
        (1, -2, 143_976),
    ];
    const FAR: u64 = 1 << 40;
    let (width, height) = (rims.width as i64, rims.height as i64);
    let mut distances: Vec<u64> = rims.values.iter().map(|&rim| if rim > 0.0 { 0 } else { FAR }).collect();
    for sign in [1, -1] {
        for at in 0..width * height {
            let at = if sign > 0 { at } else { width * height - 1 - at };
            let (x, y) = (at % width, at / width);
            for (right, down, step) in STEPS {
                let (x, y) = (x + sign * right, y + sign * down);
                if (0..width).contains(&x) && (0..height).contains(&y) {
                    let there = distances[(y * width + x) as usize] + step;
                    distances[at as usize] = distances[at as usize].min(there);
                }
            }
        }
    }
    let mut distances = distances.into_iter();
    rims.map(|_| distances.next().unwrap_or(FAR) as f64 / 65_536.0)
}

/// Mean of 3x3 pixels.
fn box_mean(plane: &Plane) -> Plane {
    Plane::from_fn(plane.width, plane.height, |x, y| {
        let mut sum = 0.0;
        for down in -1..=1 {
            for right in -1..=1 {
                sum += plane.beyond(x as i64 + right, y as i64 + down, reflect_101);
            }
        }
        sum * (1.0 / 9.0)
    })
}

/// Histogram equalisation: a value becomes the share, of the pixels above the lowest value, that do not exceed it.
fn equalised(plane: &Plane) -> Plane {
    let mut counts = [0_usize; 256];
    for &value in &plane.values {
        counts[value as usize] += 1;
    }
    let lowest = counts.iter().position(|&count| count > 0).unwrap_or(0);
    let above = plane.values.len() - counts[lowest];
    if above == 0 {
        return plane.clone();
    }
    let scale = 255.0_f32 / above as f32;
    let mut sum = 0;
    let table = counts.map(|count| {
        sum += count;
        f64::from((sum.saturating_sub(counts[lowest]) as f32 * scale).round_ties_even())
    });
    plane.map(|value| table[value as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_has_a_rim() {
        let square = Plane::from_fn(9, 9, |x, y| if (3..6).contains(&x) && (3..6).contains(&y) { 200.0 } else { 0.0 });
        let rims = rims(&square);
        assert_eq!(rims.at(4, 4), 0.0);
        assert_eq!(rims.at(0, 0), 0.0);
        assert!(rims.values.iter().sum::<f64>() >= 8.0);
        assert!(super::rims(&square.map(|_| 7.0)).values.iter().all(|&rim| rim == 0.0));
    }

    #[test]
    fn distances_are_chamfer_steps() {
        let dot = Plane::from_fn(9, 9, |x, y| f64::from(u8::from(x == 4 && y == 4)));
        let far = distance(&dot);
        let near = |x, y, expected: f64| assert!((far.at(x, y) - expected).abs() < 1e-4, "{x} {y}: {}", far.at(x, y));
        near(4, 4, 0.0);
        near(6, 4, 2.0);
        near(5, 5, 1.4);
        near(6, 5, 2.1969);
        near(3, 2, 2.1969);
        near(0, 1, 1.4 + 2.0 * 1.4 + 1.0_f64.min(0.7969));
    }

    #[test]
    fn equalising_by_hand() {
        let plane = Plane { width: 4, height: 1, values: vec![3.0, 3.0, 10.0, 20.0] };
        assert_eq!(equalised(&plane).values, [0.0, 0.0, 128.0, 255.0]);
        let flat = plane.map(|_| 9.0);
        assert_eq!(equalised(&flat).values, flat.values);
    }

    #[test]
    fn dry_glass_does_not_shine() {
        let dry = Plane::from_fn(8, 8, |_, _| 0.0);
        assert!(sheen(&dry).values.iter().all(|&shine| shine == 0.0));
    }
}
