//! What stands behind a sprite: the same kinds for known classes and for the unknown.

use super::canvas::{Canvas, Clouds, SIDE, Turn};
use super::caption::with_article;
use super::colour::{self, Paint, mix};
use super::dice::Dice;

/// A kind of background.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Plain,
    Gradient,
    Glow,
    Stripes,
    Checks,
    Dots,
    Clouds,
    Blobs,
    Horizon,
}

impl Kind {
    pub(super) const ALL: [Self; 9] = [
        Self::Plain,
        Self::Gradient,
        Self::Glow,
        Self::Stripes,
        Self::Checks,
        Self::Dots,
        Self::Clouds,
        Self::Blobs,
        Self::Horizon,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gradient => "gradient",
            Self::Glow => "glow",
            Self::Stripes => "stripes",
            Self::Checks => "checks",
            Self::Dots => "dots",
            Self::Clouds => "clouds",
            Self::Blobs => "blobs",
            Self::Horizon => "horizon",
        }
    }
}

impl Kind {
    /// The names of the colours that can be seen, of the two that were drawn.
    pub(super) fn colours_used(self, colours: &[Paint; 2]) -> Vec<String> {
        let used = if matches!(self, Self::Plain) { 1 } else { 2 };
        colours.iter().take(used).map(|paint| paint.name.to_owned()).collect()
    }
}

/// A background that was drawn: its kind and its two colours (the first covers more).
pub(super) struct Background {
    pub(super) kind: Kind,
    pub(super) colours: [Paint; 2],
}

impl Background {
    /// A kind and colours such that something of colour `figure` stands out.
    pub(super) fn draw(dice: &mut Dice, figure: colour::Rgb) -> Self {
        let kind = dice.pick(&Kind::ALL);
        let first = colour::draw_beside(dice, figure);
        let second = colour::draw_beside(dice, first.rgb);
        Self { kind, colours: [first, second] }
    }

    /// What a caption says: "striped blue and white background".
    pub(super) fn phrase(&self) -> String {
        let [a, b] = self.colours.map(|paint| paint.name);
        match self.kind {
            Kind::Plain => format!("plain {a} background"),
            Kind::Gradient => format!("background fading from {a} to {b}"),
            Kind::Glow => format!("{a} background with {} glow", with_article(b)),
            Kind::Stripes => format!("striped {a} and {b} background"),
            Kind::Checks => format!("checked {a} and {b} background"),
            Kind::Dots => format!("{a} background with {b} dots"),
            Kind::Clouds => format!("cloudy {a} and {b} background"),
            Kind::Blobs => format!("blotchy {a} and {b} background"),
            Kind::Horizon => format!("{a} wall above {} floor", with_article(b)),
        }
    }

    pub(super) fn paint(&self, dice: &mut Dice) -> Canvas {
        let [a, b] = self.colours.map(|paint| paint.rgb);
        let b = mix(a, b, 0.7);
        let side = SIDE as f32;
        // Patterns are softened, so that they do not drown what stands before them.
        let soft = mix(a, b, dice.range(0.2, 0.55));
        let turn = Turn::from_half_tangent(dice.range(-1.0, 1.0));
        let centre = (dice.range(0.0, side), dice.range(0.0, side));
        let local = move |x: f32, y: f32| turn.apply(x - centre.0, y - centre.1);
        match self.kind {
            Kind::Plain => Canvas::fill(|_, _| a),
            Kind::Gradient => Canvas::fill(|x, y| {
                let (u, _) = turn.apply(x - side / 2.0, y - side / 2.0);
                mix(a, b, (u / side + 0.5).clamp(0.0, 1.0))
            }),
            Kind::Glow => {
                let reach = dice.range(24.0, 56.0);
                Canvas::fill(|x, y| {
                    let (u, v) = local(x, y);
                    let t = (1.0 - (u * u + v * v).sqrt() / reach).clamp(0.0, 1.0);
                    mix(a, b, t * t * (3.0 - 2.0 * t))
                })
            }
            Kind::Stripes => {
                let (period, share) = (dice.range(7.0, 22.0), dice.range(0.25, 0.5));
                Canvas::fill(|x, y| {
                    let (u, _) = local(x, y);
                    if wrap(u, period) < share { soft } else { a }
                })
            }
            Kind::Checks => {
                let period = dice.range(10.0, 28.0);
                Canvas::fill(|x, y| {
                    let (u, v) = local(x, y);
                    let odd = (wrap(u, period) < 0.5) == (wrap(v, period) < 0.5);
                    if odd { soft } else { a }
                })
            }
            Kind::Dots => {
                let (period, radius) = (dice.range(9.0, 20.0), dice.range(0.18, 0.34));
                Canvas::fill(|x, y| {
                    let (u, v) = local(x, y);
                    let (u, v) = (wrap(u, period) - 0.5, wrap(v, period) - 0.5);
                    if u * u + v * v < radius * radius { soft } else { a }
                })
            }
            Kind::Clouds => {
                let (coarse, fine) = (dice.below(4) + 2, dice.below(6) + 7);
                let (coarse, fine) = (Clouds::draw(dice, coarse), Clouds::draw(dice, fine));
                Canvas::fill(|x, y| mix(a, b, coarse.at(x, y) * 0.7 + fine.at(x, y) * 0.3))
            }
            Kind::Blobs => {
                let blobs: Vec<(f32, f32, f32)> = (0..dice.below(5) + 4)
                    .map(|_| (dice.range(0.0, side), dice.range(0.0, side), dice.range(6.0, 18.0)))
                    .collect();
                Canvas::fill(|x, y| {
                    let cover = blobs.iter().map(|&(cx, cy, r)| {
                        let (dx, dy) = (x - cx, y - cy);
                        ((r - (dx * dx + dy * dy).sqrt()) / 3.0).clamp(0.0, 1.0)
                    });
                    mix(a, soft, cover.fold(0.0, f32::max))
                })
            }
            Kind::Horizon => {
                let (level, slope) = (dice.range(34.0, 54.0), dice.range(-0.08, 0.08));
                Canvas::fill(|x, y| {
                    let below = y - level - slope * (x - side / 2.0);
                    if below > 0.0 {
                        mix(b, [0.0; 3], (below / side * 0.5).min(0.4))
                    } else {
                        mix(a, [255.0; 3], (1.0 + below / side).clamp(0.0, 1.0) * 0.2)
                    }
                })
            }
        }
    }
}

/// The place of `v` in its period, in `[0, 1)`.
pub(super) fn wrap(v: f32, period: f32) -> f32 {
    let t = v / period;
    t - t.floor()
}
