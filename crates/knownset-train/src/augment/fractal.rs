//! Fractals to mix pictures with, drawn anew for each: no files.
//!
//! A fractal is the attractor of two to seven affine maps of the plane, approached by applying one of them after another,
//! a map as often as its share of all determinants. The maps are drawn as by Anderson and Farrell, "Improving Fractal
//! Pre-training", WACV 2022 (<https://arxiv.org/abs/2110.03091>): two rotations, mirrored at random, around singular
//! values 1 > s ≥ t whose sum of s + 2 t over the n maps lies in (5 + n) / 2 .. (6 + n) / 2, which is where fractals are
//! neither dust nor a blot; a shift in −1..1.
//!
//! Ours is the painting: three fractals, one over the other, over a background that blends four colours from corner to
//! corner. Each map has a colour; a point is half its last map's colour and half the colour of the point before. A pixel
//! shows the mean of its points, the more opaque the more there are (logarithmically).

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::picture::Picture;

/// Fractals in a picture.
const LAYERS: usize = 3;
/// Points of a fractal per pixel of the picture.
const DENSITY: usize = 4;
/// First points, which may not be on the attractor yet.
const WARM_UP: usize = 32;
/// Points that decide which part of the plane is shown.
const FRAMING: usize = 512;

type Colour = [f64; 3];

/// An affine map and its colour.
struct Map {
    /// `[[a, b, c], [d, e, f]]`: (x, y) goes to (a x + b y + c, d x + e y + f).
    rows: [[f64; 3]; 2],
    colour: Colour,
}

/// A point of the attractor.
#[derive(Clone, Copy)]
struct Point {
    x: f64,
    y: f64,
    colour: Colour,
}

/// Maps, and how much of the total weight has been given out after each.
struct System {
    maps: Vec<(Map, f64)>,
}

/// A picture of fractals.
pub(super) fn draw(side: usize, rng: &mut ChaCha8Rng) -> Picture {
    let corners = [(); 4].map(|()| random_colour(rng));
    let background = Picture::from_fn(side, |channel, x, y| {
        let [upper_left, upper_right, lower_left, lower_right] = corners.map(|corner| corner[channel]);
        let (right, down) = ((x as f64 + 0.5) / side as f64, (y as f64 + 0.5) / side as f64);
        mix(mix(upper_left, upper_right, right), mix(lower_left, lower_right, right), down) as f32
    });
    (0..LAYERS).fold(background, |picture, _| paint(&picture, &System::draw(rng), rng))
}

/// The picture with the attractor of `system` over it.
fn paint(picture: &Picture, system: &System, rng: &mut ChaCha8Rng) -> Picture {
    let side = picture.side;
    let mut point = Point { x: 0.0, y: 0.0, colour: [0.5; 3] };
    for _ in 0..WARM_UP {
        point = system.step(point, rng);
    }
    let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
    for _ in 0..FRAMING {
        point = system.step(point, rng);
        for (at, value) in [point.x, point.y].into_iter().enumerate() {
            (low[at], high[at]) = (low[at].min(value), high[at].max(value));
        }
    }
    // Per pixel: the sum of its points' colours, and their number.
    let mut pixels = vec![([0.0; 3], 0_u32); side * side];
    let place = |value: f64, at: usize| {
        let share = (value - low[at]) / (high[at] - low[at]);
        (0.0..1.0).contains(&share).then_some((share * side as f64) as usize)
    };
    for _ in 0..DENSITY * side * side {
        point = system.step(point, rng);
        if let (Some(x), Some(y)) = (place(point.x, 0), place(point.y, 1)) {
            let (colour, count) = &mut pixels[y * side + x];
            *colour = sum(*colour, point.colour);
            *count += 1;
        }
    }
    let most = f64::from(pixels.iter().map(|(_, count)| *count).max().unwrap_or(0));
    Picture::from_fn(side, |channel, x, y| {
        let (colour, count) = &pixels[y * side + x];
        let below = picture.at(channel, x, y);
        if *count == 0 {
            return below;
        }
        let count = f64::from(*count);
        let opacity = libm::log1p(count) / libm::log1p(most);
        mix(f64::from(below), colour[channel] / count, opacity).clamp(0.0, 1.0) as f32
    })
}

impl System {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        let n = rng.random_range(2..=7);
        // Of a hundred draws 17 (n = 3) to 2 (n = 7) are in range.
        let values = loop {
            let values: Vec<(f64, f64)> = (0..n)
                .map(|_| {
                    let (a, b): (f64, f64) = (rng.random(), rng.random());
                    (a.max(b), a.min(b))
                })
                .collect();
            let total: f64 = values.iter().map(|(s, t)| s + 2.0 * t).sum();
            if (f64::from(5 + n) / 2.0..f64::from(6 + n) / 2.0).contains(&total) {
                break values;
            }
        };
        let mut weight = 0.0;
        let maps = values.into_iter().map(|(s, t)| {
            weight += s * t;
            (Map::draw(s, t, rng), weight)
        });
        Self { maps: maps.collect() }
    }

    fn step(&self, Point { x, y, colour }: Point, rng: &mut ChaCha8Rng) -> Point {
        let total = self.maps.last().map_or(0.0, |(_, weight)| *weight);
        let at = total * rng.random::<f64>();
        let chosen = self.maps.iter().find(|(_, weight)| at < *weight).or(self.maps.last());
        chosen.map_or(Point { x, y, colour }, |(map, _)| {
            let [x, y] = map.rows.map(|[a, b, c]| a * x + b * y + c);
            Point { x, y, colour: sum(colour, map.colour).map(|value| value / 2.0) }
        })
    }
}

impl Map {
    /// A map with the singular values `s` and `t`.
    fn draw(s: f64, t: f64, rng: &mut ChaCha8Rng) -> Self {
        let mut turn = || {
            let angle = rng.random_range(-std::f64::consts::PI..std::f64::consts::PI);
            let mirrored = if rng.random() { 1.0 } else { -1.0 };
            let (sin, cos) = (libm::sin(angle), libm::cos(angle));
            [[cos, -sin * mirrored], [sin, cos * mirrored]]
        };
        let ([[a, b], [c, d]], [[e, f], [g, h]]) = (turn(), turn());
        let (a, b, c, d) = (a * s, b * t, c * s, d * t);
        let shift = [(); 2].map(|()| rng.random_range(-1.0..1.0));
        Self {
            rows: [[a * e + b * g, a * f + b * h, shift[0]], [c * e + d * g, c * f + d * h, shift[1]]],
            colour: random_colour(rng),
        }
    }
}

fn random_colour(rng: &mut ChaCha8Rng) -> Colour {
    [(); 3].map(|()| rng.random())
}

fn sum(a: Colour, b: Colour) -> Colour {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

fn mix(a: f64, b: f64, share: f64) -> f64 {
    a + (b - a) * share
}

#[cfg(test)]
mod tests {
    use super::super::stream;
    use super::*;

    #[test]
    fn maps_have_the_singular_values_asked_for() {
        let rng = &mut stream(0, 0, 0);
        for (s, t) in [(0.9, 0.4), (0.5, 0.5), (0.7, 0.0)] {
            let [[a, b, _], [c, d, _]] = Map::draw(s, t, rng).rows;
            // s² + t² is the sum of squares, s t the absolute determinant.
            assert!((a * a + b * b + c * c + d * d - s * s - t * t).abs() < 1e-12);
            assert!(((a * d - b * c).abs() - s * t).abs() < 1e-12);
        }
    }

    /// One map with the contraction 1/2 and the shift 1 has the fixed point 2; two halves of a unit interval fill it.
    #[test]
    fn attractors_by_hand() {
        let half = |shift: f64, colour| Map { rows: [[0.5, 0.0, shift], [0.0, 0.5, 0.0]], colour: [colour; 3] };
        let rng = &mut stream(0, 0, 0);
        let run = |system: &System, rng: &mut ChaCha8Rng, steps: usize| {
            let start = Point { x: 0.3, y: 0.2, colour: [0.0; 3] };
            (0..steps)
                .scan(start, |point, _| {
                    *point = system.step(*point, rng);
                    Some(*point)
                })
                .collect::<Vec<_>>()
        };
        let one = System { maps: vec![(half(1.0, 1.0), 0.25)] };
        let last = run(&one, rng, 60)[59];
        assert!((last.x - 2.0).abs() < 1e-12 && last.y.abs() < 1e-12 && (last.colour[0] - 1.0).abs() < 1e-12);
        let two = System { maps: vec![(half(0.0, 0.0), 0.25), (half(0.5, 1.0), 0.5)] };
        let points = run(&two, rng, 20_000);
        let mut tenths = [0; 10];
        for point in &points {
            tenths[(point.x * 10.0) as usize] += 1;
        }
        // Uniform in 0..1: 2000 expected in each tenth, with a deviation of 42; neighbours depend on each other.
        assert!(tenths.iter().all(|count: &usize| count.abs_diff(2000) < 300), "{tenths:?}");
        // The colour says where in the interval a point is: the last map decides its first binary digit.
        assert!(points[60..].iter().all(|point| (point.x - point.colour[0]).abs() < 1e-12));
    }

    #[test]
    fn fractals_differ_from_one_another_and_have_structure() {
        let pictures: Vec<Picture> = (0..100).map(|image| draw(32, &mut stream(0, 0, image))).collect();
        assert_eq!(pictures[7], draw(32, &mut stream(0, 0, 7)));
        let mut rough = 0;
        for (at, picture) in pictures.iter().enumerate() {
            assert!(pictures[..at].iter().all(|other| other != picture));
            // Neighbours on a plain gradient differ by at most 1/32.
            let steps = picture.values.windows(2).filter(|pair| (pair[0] - pair[1]).abs() > 0.05).count();
            rough += usize::from(steps > picture.values.len() / 10);
        }
        assert!(rough > 90, "{rough}");
    }
}
