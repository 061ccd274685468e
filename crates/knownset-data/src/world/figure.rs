//! A sprite as it appears in one image: moved, turned, sized and coloured.

use super::canvas::{Canvas, QUARTERS, SIDE, Shape, Turn};
use super::colour::{self, Rgb};
use super::dice::Dice;
use super::scene::Bbox;
use super::sprites::Sprite;

/// A sprite drawn on a transparent canvas, premultiplied, 0–255.
pub(super) struct Figure {
    pixels: Vec<[f32; 4]>,
    /// Middle of the sprite, in pixels.
    pub(super) centre: (f32, f32),
    /// Longer side of the sprite, in pixels.
    pub(super) size: f32,
}

impl Figure {
    pub(super) fn draw(dice: &mut Dice, sprite: &Sprite) -> Self {
        let size = dice.range(34.0, 60.0);
        // A corner may reach out of the image, the middle of a side hardly.
        let margin = size * 0.45;
        let centre = [0; 2].map(|_| dice.range(margin, SIDE as f32 - margin)).into();
        let turn = Turn::from_half_tangent(dice.range(-0.14, 0.14));
        // Signs may carry writing, which has no mirror image.
        let mirror = if dice.chance(0.5) && sprite.emoji.group != "sign" { -1.0 } else { 1.0 };
        // Narrower or wider by up to a fifth, leaning by up to a sixth.
        let (stretch, lean) = (dice.range(1.0, 1.22), dice.range(-0.16, 0.16));
        let (wide, high) = if dice.chance(0.5) { (1.0, stretch) } else { (stretch, 1.0) };
        let grade = Grade::draw(dice);
        let mut figure = Self { pixels: vec![[0.0; 4]; SIDE * SIDE], centre, size };
        let reach = size * 0.75;
        let span = |c: f32| (c - reach).max(0.0) as usize..((c + reach).ceil().max(0.0) as usize).min(SIDE);
        for y in span(centre.1) {
            for x in span(centre.0) {
                let mut sum = [0.0; 4];
                for (dx, dy) in QUARTERS {
                    let (u, v) = turn.apply(x as f32 + dx - centre.0, y as f32 + dy - centre.1);
                    let u = (u + v * lean) * mirror * wide;
                    let sample = sprite.sample(u / size, v * high / size, size);
                    sum = [0, 1, 2, 3].map(|c| sum[c] + sample[c]);
                }
                figure.pixels[y * SIDE + x] = grade.apply(sum.map(|v| v / 4.0));
            }
        }
        figure
    }

    /// How much of a pixel is covered, 0–1; nothing outside the image.
    fn cover(&self, x: i32, y: i32) -> f32 {
        let inside = |v: i32| (0..SIDE as i32).contains(&v);
        if inside(x) && inside(y) { self.pixels[y as usize * SIDE + x as usize][3] / 255.0 } else { 0.0 }
    }

    /// Darkens what lies behind, `offset` pixels down and to the right.
    pub(super) fn cast_shadow(&self, canvas: &mut Canvas, offset: i32, darkness: f32) {
        for y in 0..SIDE {
            for x in 0..SIDE {
                let cover = self.cover(x as i32 - offset, y as i32 - offset);
                canvas.at(x, y, |below| below.map(|v| v * (1.0 - darkness * cover)));
            }
        }
    }

    pub(super) fn paint(&self, canvas: &mut Canvas) {
        for y in 0..SIDE {
            for x in 0..SIDE {
                let [r, g, b, a] = self.pixels[y * SIDE + x];
                let rest = 1.0 - a / 255.0;
                canvas.at(x, y, |below| [r + below[0] * rest, g + below[1] * rest, b + below[2] * rest]);
            }
        }
    }

    /// The share of the figure that a shape in front of it hides.
    pub(super) fn hidden_by(&self, shape: &Shape) -> f32 {
        let (mut hidden, mut all) = (0.0, 0.0);
        for y in 0..SIDE {
            for x in 0..SIDE {
                let cover = self.pixels[y * SIDE + x][3];
                all += cover;
                if cover > 0.0 {
                    hidden += cover * shape.cover(x, y);
                }
            }
        }
        hidden / all
    }

    /// The smallest box around every pixel covered by a tenth or more.
    pub(super) fn bbox(&self) -> Bbox {
        let (mut left, mut top, mut right, mut bottom) = (SIDE, SIDE, 0, 0);
        for (i, pixel) in self.pixels.iter().enumerate() {
            if pixel[3] >= 25.5 {
                let (x, y) = (i % SIDE, i / SIDE);
                (left, top, right, bottom) = (left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1));
            }
        }
        Bbox {
            x: left as u32,
            y: top as u32,
            width: right.saturating_sub(left) as u32,
            height: bottom.saturating_sub(top) as u32,
        }
    }

    /// The word for the colour of at least half of the figure, if there is one.
    pub(super) fn colour(&self) -> Option<&'static str> {
        let mut votes: Vec<(&'static str, usize)> = Vec::new();
        let solid = self.pixels.iter().filter(|p| p[3] > 128.0);
        for &[r, g, b, a] in solid.clone() {
            let word = colour::word([r, g, b].map(|v| (v * 255.0 / a).clamp(0.0, 255.0) as u8));
            match votes.iter_mut().find(|(name, _)| *name == word) {
                Some((_, n)) => *n += 1,
                None => votes.push((word, 1)),
            }
        }
        let half = solid.count().div_ceil(2).max(1);
        votes.into_iter().find(|&(_, n)| n >= half).map(|(name, _)| name)
    }
}

/// A change of colours: rotate the hue, blend with a tint, make brighter or darker.
struct Grade {
    hue: [Rgb; 3],
    tint: Rgb,
    share: f32,
    gain: f32,
}

impl Grade {
    fn draw(dice: &mut Dice) -> Self {
        // Mostly a shade off; now and then another colour altogether, so that colour alone does not tell a class.
        let half = if dice.chance(0.04) { dice.range(-1.2, 1.2) } else { dice.range(-0.08, 0.08) };
        let Turn { cos, sin } = Turn::from_half_tangent(half);
        // Rotation about the grey axis (1, 1, 1); 0.577… is 1/√3.
        let (third, s) = ((1.0 - cos) / 3.0, sin * 0.577_350_26);
        let (a, b, c) = (cos + third, third - s, third + s);
        Self {
            hue: [[a, b, c], [c, a, b], [b, c, a]],
            tint: colour::draw(dice).rgb,
            share: if dice.chance(0.2) { dice.range(0.05, 0.2) } else { 0.0 },
            gain: dice.range(0.82, 1.12),
        }
    }

    /// The graded colour of a premultiplied pixel.
    fn apply(&self, [r, g, b, a]: [f32; 4]) -> [f32; 4] {
        let graded = [0, 1, 2].map(|c| {
            let row = self.hue[c];
            let turned = row[0] * r + row[1] * g + row[2] * b;
            let tinted = turned + (self.tint[c] * a / 255.0 - turned) * self.share;
            (tinted * self.gain).clamp(0.0, a)
        });
        [graded[0], graded[1], graded[2], a]
    }
}

#[cfg(test)]
mod tests {
    use super::super::canvas::Canvas;
    use super::super::dice::Dice;
    use super::super::scene::Bbox;
    use super::super::sprites::pack;
    use super::{Figure, SIDE};

    #[test]
    fn the_box_holds_the_opaque_pixels_and_touches_them_on_every_side() {
        for (i, sprite) in pack().expect("the pack loads").iter().enumerate().step_by(3) {
            let figure = Figure::draw(&mut Dice::new("box", i), sprite);
            let bbox = figure.bbox();
            let (columns, rows) = (bbox.x..bbox.x + bbox.width, bbox.y..bbox.y + bbox.height);
            let opaque: Vec<(u32, u32)> = (0..SIDE * SIDE)
                .filter(|&k| figure.pixels[k][3] >= 25.5)
                .map(|k| ((k % SIDE) as u32, (k / SIDE) as u32))
                .collect();
            assert!(opaque.iter().all(|(x, y)| columns.contains(x) && rows.contains(y)));
            assert!(opaque.iter().any(|p| p.0 == columns.start) && opaque.iter().any(|p| p.0 + 1 == columns.end));
            assert!(opaque.iter().any(|p| p.1 == rows.start) && opaque.iter().any(|p| p.1 + 1 == rows.end));
        }
    }

    /// Over black and over white the pixels differ by what shines through, so that pictures alone tell the cover.
    #[test]
    fn the_box_is_that_of_the_pixels_a_tenth_of_which_the_figure_changes() {
        for (i, sprite) in pack().expect("the pack loads").iter().enumerate().step_by(7) {
            let figure = Figure::draw(&mut Dice::new("pixels", i), sprite);
            let over = |ground: f32| {
                let mut canvas = Canvas::fill(|_, _| [ground; 3]);
                figure.paint(&mut canvas);
                canvas.into_image()
            };
            let (black, white) = (over(0.0), over(255.0));
            // Bytes are rounded: a cover within half a step of a tenth may be on either side.
            let box_of = |least: i32| {
                let (mut left, mut top, mut right, mut bottom) = (SIDE as u32, SIDE as u32, 0, 0);
                for ((x, y, dark), light) in black.enumerate_pixels().zip(white.pixels()) {
                    let cover = 255 - (0..3).map(|c| i32::from(light.0[c]) - i32::from(dark.0[c])).min().unwrap_or(0);
                    if cover >= least {
                        (left, top, right, bottom) = (left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1));
                    }
                }
                [left, top, right, bottom]
            };
            let Bbox { x, y, width, height } = figure.bbox();
            let (stated, outer, inner) = ([x, y, x + width, y + height], box_of(25), box_of(27));
            for side in 0..4 {
                let (low, high) = (outer[side].min(inner[side]), outer[side].max(inner[side]));
                assert!((low..=high).contains(&stated[side]), "sprite {i}: {stated:?} {outer:?} {inner:?}");
            }
        }
    }

    #[test]
    fn colours_stay_below_their_cover() {
        for (i, sprite) in pack().expect("the pack loads").iter().enumerate().step_by(11) {
            let figure = Figure::draw(&mut Dice::new("cover", i), sprite);
            for [r, g, b, a] in &figure.pixels {
                assert!((0.0..=255.01).contains(a) && [r, g, b].iter().all(|v| (0.0..=*a).contains(*v)));
            }
        }
    }
}
