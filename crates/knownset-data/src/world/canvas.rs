//! A 64x64 picture in the making, and the shapes drawn on it.
//!
//! Everything is `+ − × ÷ √` on `f32`, which IEEE 754 fixes to the last bit, so every machine draws the same bytes. No
//! sine, power or exponential is called: angles are given by the tangent of their half.

use image::{Rgb as Pixel, RgbImage};

use super::colour::{Rgb, mix};
use super::dice::Dice;

/// Width and height of every image, in pixels.
pub const SIDE: usize = 64;

pub(super) struct Canvas(Vec<Rgb>);

impl Canvas {
    /// Colours every pixel with the mean of `colour` at its four quarter points (a 2x2 supersampling).
    pub(super) fn fill(colour: impl Fn(f32, f32) -> Rgb) -> Self {
        let mut pixels = Vec::with_capacity(SIDE * SIDE);
        for y in 0..SIDE {
            for x in 0..SIDE {
                let mut sum = [0.0; 3];
                for (dx, dy) in QUARTERS {
                    let point = colour(x as f32 + dx, y as f32 + dy);
                    sum = [0, 1, 2].map(|c| sum[c] + point[c]);
                }
                pixels.push(sum.map(|v| v / 4.0));
            }
        }
        Self(pixels)
    }

    /// A canvas of the given pixels, row by row.
    pub(super) fn from_pixels(pixels: Vec<Rgb>) -> Self {
        debug_assert_eq!(pixels.len(), SIDE * SIDE);
        Self(pixels)
    }

    /// Changes one pixel.
    pub(super) fn at(&mut self, x: usize, y: usize, change: impl FnOnce(Rgb) -> Rgb) {
        let pixel = &mut self.0[y * SIDE + x];
        *pixel = change(*pixel);
    }

    /// Changes every pixel.
    pub(super) fn each(&mut self, mut change: impl FnMut(Rgb) -> Rgb) {
        for pixel in &mut self.0 {
            *pixel = change(*pixel);
        }
    }

    /// Draws a shape in one colour; `opacity` 1 hides what is below.
    pub(super) fn shape(&mut self, shape: &Shape, colour: Rgb, opacity: f32) {
        for y in 0..SIDE {
            for x in 0..SIDE {
                let cover = shape.cover(x, y) * opacity;
                if cover > 0.0 {
                    self.at(x, y, |below| mix(below, colour, cover));
                }
            }
        }
    }

    pub(super) fn into_image(self) -> RgbImage {
        RgbImage::from_fn(SIDE as u32, SIDE as u32, |x, y| {
            Pixel(self.0[y as usize * SIDE + x as usize].map(|v| (v.clamp(0.0, 255.0) + 0.5) as u8))
        })
    }
}

/// The four points at which a pixel is sampled.
pub(super) const QUARTERS: [(f32, f32); 4] = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)];

/// A rotation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) cos: f32,
    pub(super) sin: f32,
}

impl Turn {
    /// The rotation by θ with `half = tan(θ/2)`: cos θ = (1 − t²)/(1 + t²), sin θ = 2t/(1 + t²).
    pub(super) fn from_half_tangent(half: f32) -> Self {
        let square = half * half;
        Self { cos: (1.0 - square) / (1.0 + square), sin: 2.0 * half / (1.0 + square) }
    }

    pub(super) fn apply(self, x: f32, y: f32) -> (f32, f32) {
        (x * self.cos - y * self.sin, x * self.sin + y * self.cos)
    }
}

/// The outlines that clutter is made of: they belong to no class.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outline {
    Disc,
    Square,
    Triangle,
    Ring,
    Bar,
}

impl Outline {
    pub(super) const ALL: [Self; 5] = [Self::Disc, Self::Square, Self::Triangle, Self::Ring, Self::Bar];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Disc => "disc",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Ring => "ring",
            Self::Bar => "bar",
        }
    }
}

/// An outline somewhere on the canvas; `radius` is about half its width, in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) outline: Outline,
    pub(super) centre: (f32, f32),
    pub(super) radius: f32,
    pub(super) turn: Turn,
}

impl Shape {
    pub(super) fn draw(dice: &mut Dice, centre: (f32, f32), radius: f32) -> Self {
        Self { outline: dice.pick(&Outline::ALL), centre, radius, turn: Turn::from_half_tangent(dice.range(-1.0, 1.0)) }
    }

    /// The share of pixel (x, y) inside the shape, from the signed distance of its middle to the outline.
    pub(super) fn cover(&self, x: usize, y: usize) -> f32 {
        let (x, y) = (x as f32 + 0.5 - self.centre.0, y as f32 + 0.5 - self.centre.1);
        let (x, y) = self.turn.apply(x, y);
        let r = self.radius;
        let distance = match self.outline {
            Outline::Disc => (x * x + y * y).sqrt() - r,
            Outline::Square => x.abs().max(y.abs()) - r * 0.85,
            // Equilateral: half-planes at 90°, 210° and 330°; 0.8660254 is cos 30°.
            Outline::Triangle => (y.max(x.abs() * 0.866_025_4 - y * 0.5)) - r * 0.6,
            Outline::Ring => ((x * x + y * y).sqrt() - r * 0.8).abs() - r * 0.2,
            Outline::Bar => (x.abs() - r * 1.5).max(y.abs() - r * 0.3),
        };
        (0.5 - distance).clamp(0.0, 1.0)
    }
}

/// Smooth noise: random values on a grid, blended in between (smoothstep); in `[0, 1)`.
pub(super) struct Clouds {
    values: Vec<f32>,
    cells: usize,
}

impl Clouds {
    /// Noise with `cells` x `cells` grid cells over the canvas.
    pub(super) fn draw(dice: &mut Dice, cells: usize) -> Self {
        let side = cells + 1;
        let values = (0..side * side).map(|_| dice.unit()).collect();
        Self { values, cells }
    }

    /// The value at a point of the canvas, in pixels; points outside take the nearest edge.
    pub(super) fn at(&self, x: f32, y: f32) -> f32 {
        let place = |v: f32| {
            let v = (v / SIDE as f32).clamp(0.0, 1.0) * self.cells as f32;
            let cell = (v as usize).min(self.cells - 1);
            let t = v - cell as f32;
            (cell, t * t * (3.0 - 2.0 * t))
        };
        let ((i, s), (j, t)) = (place(x), place(y));
        let value = |i: usize, j: usize| self.values[j * (self.cells + 1) + i];
        let top = value(i, j) + (value(i + 1, j) - value(i, j)) * s;
        let bottom = value(i, j + 1) + (value(i + 1, j + 1) - value(i, j + 1)) * s;
        top + (bottom - top) * t
    }
}
