//! The split of patterns without any object.

use super::backgrounds::wrap;
use super::canvas::{Canvas, Clouds, Turn};
use super::colour::{Rgb, mix};
use super::dice::Dice;

/// Paints the texture of the given class from two colours.
pub(super) fn paint(class: &str, dice: &mut Dice, a: Rgb, b: Rgb) -> Canvas {
    let grid = Grid::draw(dice);
    match class {
        "bricks" => bricks(&grid, dice, a, b),
        "cells" => cells(dice, a, b),
        "chevrons" => chevrons(&grid, a, b),
        "dots" => dots(&grid, dice, a, b),
        "marble" => marble(&grid, dice, a, b),
        "plaid" => plaid(&grid, dice, a, b),
        "rings" => rings(&grid, dice, a, b),
        "scales" => scales(&grid, a, b),
        "tiles" => tiles(&grid, dice, a, b),
        _ => weave(&grid, a, b),
    }
}

/// The grid that a pattern repeats on.
struct Grid {
    turn: Turn,
    /// Length of one repeat, in pixels.
    period: f32,
    start: (f32, f32),
}

impl Grid {
    fn draw(dice: &mut Dice) -> Self {
        Self {
            turn: Turn::from_half_tangent(dice.range(-0.4, 0.4)),
            period: dice.range(9.0, 20.0),
            start: (dice.range(0.0, 64.0), dice.range(0.0, 64.0)),
        }
    }

    /// A point of the canvas, moved and turned.
    fn place(&self, x: f32, y: f32) -> (f32, f32) {
        self.turn.apply(x + self.start.0, y + self.start.1)
    }
}

fn bricks(grid: &Grid, dice: &mut Dice, a: Rgb, b: Rgb) -> Canvas {
    let joint = dice.range(0.06, 0.14);
    let shades = Clouds::draw(dice, 8);
    Canvas::fill(|x, y| {
        let (u, v) = grid.place(x, y);
        let row = (v / grid.period * 2.0).floor();
        let shift = if wrap(row, 2.0) < 0.5 { 0.0 } else { 0.5 };
        let mortar = wrap(v * 2.0, grid.period) < joint * 2.0 || wrap(u + shift * grid.period, grid.period) < joint;
        if mortar { b } else { mix(a, [0.0; 3], shades.at(x, y) * 0.3) }
    })
}

fn cells(dice: &mut Dice, a: Rgb, b: Rgb) -> Canvas {
    let seeds: Vec<(f32, f32, f32)> =
        (0..dice.below(20) + 14).map(|_| (dice.range(0.0, 64.0), dice.range(0.0, 64.0), dice.unit())).collect();
    Canvas::fill(|x, y| {
        let (mut first, mut second, mut shade) = (f32::MAX, f32::MAX, 0.0);
        for &(sx, sy, s) in &seeds {
            let d = ((x - sx) * (x - sx) + (y - sy) * (y - sy)).sqrt();
            if d < first {
                (second, first, shade) = (first, d, s);
            } else if d < second {
                second = d;
            }
        }
        if second - first < 1.6 { b } else { mix(a, b, shade * 0.5) }
    })
}

fn chevrons(grid: &Grid, a: Rgb, b: Rgb) -> Canvas {
    Canvas::fill(|x, y| {
        let (u, v) = grid.place(x, y);
        let zigzag = (wrap(u, grid.period) - 0.5).abs() * grid.period;
        if wrap(v + zigzag, grid.period * 0.7) < 0.5 { a } else { b }
    })
}

fn dots(grid: &Grid, dice: &mut Dice, a: Rgb, b: Rgb) -> Canvas {
    let radius = dice.range(0.2, 0.42);
    Canvas::fill(|x, y| {
        let (u, v) = grid.place(x, y);
        // Rows √3/2 apart, every other one shifted by half a step.
        let rows = v / grid.period / 0.866_025_4;
        let shift = if wrap(rows.floor(), 2.0) < 0.5 { 0.0 } else { grid.period / 2.0 };
        let (u, v) = (wrap(u + shift, grid.period) - 0.5, (wrap(rows, 1.0) - 0.5) * 0.866_025_4);
        if u * u + v * v < radius * radius { b } else { a }
    })
}

fn marble(grid: &Grid, dice: &mut Dice, a: Rgb, b: Rgb) -> Canvas {
    let (coarse, fine) = (Clouds::draw(dice, 3), Clouds::draw(dice, 9));
    Canvas::fill(|x, y| {
        let (u, _) = grid.place(x, y);
        let bent = u + coarse.at(x, y) * 40.0 + fine.at(x, y) * 9.0;
        let vein = (wrap(bent, grid.period) - 0.5).abs() * 2.0;
        mix(a, b, vein * vein)
    })
}

fn plaid(grid: &Grid, dice: &mut Dice, a: Rgb, b: Rgb) -> Canvas {
    let (wide, thin) = (dice.range(0.3, 0.5), dice.range(0.06, 0.14));
    Canvas::fill(|x, y| {
        let (u, v) = grid.place(x, y);
        let band = |w: f32| {
            let t = wrap(w, grid.period * 1.4);
            f32::from(u8::from(t < wide)) * 0.5 - f32::from(u8::from((t - 0.75).abs() < thin)) * 0.3
        };
        let t = band(u) + band(v);
        if t < 0.0 { mix(a, [255.0; 3], -t) } else { mix(a, b, t) }
    })
}

fn rings(grid: &Grid, dice: &mut Dice, a: Rgb, b: Rgb) -> Canvas {
    let bumps = Clouds::draw(dice, 4);
    let bend = dice.range(0.0, 16.0);
    Canvas::fill(|x, y| {
        let (dx, dy) = (x - grid.start.0, y - grid.start.1);
        let r = (dx * dx + dy * dy).sqrt() + bumps.at(x, y) * bend;
        mix(a, b, (wrap(r, grid.period * 0.8) - 0.5).abs() * 2.0)
    })
}

fn scales(grid: &Grid, a: Rgb, b: Rgb) -> Canvas {
    Canvas::fill(|x, y| {
        let (u, v) = grid.place(x, y);
        // The topmost of the discs that cover the point: rows below lie over rows above.
        let row = (v / grid.period * 2.0).floor();
        let mut shade = 0.0;
        for step in [1.0, 0.0, -1.0] {
            let shift = if wrap(row + step, 2.0) < 0.5 { 0.0 } else { 0.5 };
            let du = wrap(u / grid.period + shift, 1.0) - 0.5;
            let dv = (v / grid.period * 2.0 - row - step) * 0.5;
            let d = (du * du + dv * dv).sqrt();
            if d < 0.52 {
                shade = d / 0.52;
                break;
            }
        }
        mix(a, b, shade * shade)
    })
}

fn tiles(grid: &Grid, dice: &mut Dice, a: Rgb, b: Rgb) -> Canvas {
    let flips: Vec<bool> = (0..256).map(|_| dice.chance(0.5)).collect();
    Canvas::fill(|x, y| {
        let (u, v) = (x + grid.start.0, y + grid.start.1);
        let (column, row) = ((u / grid.period) as usize, (v / grid.period) as usize);
        let (mut s, t) = (wrap(u, grid.period), wrap(v, grid.period));
        if flips[(row * 16 + column) % flips.len()] {
            s = 1.0 - s;
        }
        // Two quarter rings around opposite corners (Truchet's tiles).
        let near = (s * s + t * t).sqrt().min(((1.0 - s) * (1.0 - s) + (1.0 - t) * (1.0 - t)).sqrt());
        if (near - 0.5).abs() < 0.13 { b } else { a }
    })
}

fn weave(grid: &Grid, a: Rgb, b: Rgb) -> Canvas {
    Canvas::fill(|x, y| {
        let (u, v) = grid.place(x, y);
        let over = (wrap(u, grid.period * 2.0) < 0.5) == (wrap(v, grid.period * 2.0) < 0.5);
        let across = (wrap(if over { u } else { v }, grid.period) - 0.5).abs() * 2.0;
        let thread = if over { a } else { b };
        mix(thread, [0.0; 3], across * across * 0.55)
    })
}
