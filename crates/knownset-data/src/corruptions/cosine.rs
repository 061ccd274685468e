//! The cosine transform of 8x8 blocks in whole numbers, as libjpeg computes it: Loeffler, Ligtenberg and Moschytz,
//! "Practical fast 1-D DCT algorithms with 11 multiplications", ICASSP 1989.

/// Side of a block.
pub(super) const N: usize = 8;

/// 8x8 numbers, row by row.
pub(super) type Block = [i32; N * N];
/// One row or column of them.
pub(super) type Line = [i32; N];

/// From one line to the next, and along a line.
pub(super) const ROWS: (usize, usize) = (N, 1);
pub(super) const COLUMNS: (usize, usize) = (1, N);

/// Transforms every line and rounds the results, 8192ths, to fewer bits.
pub(super) fn each_line(block: &mut Block, (next, along): (usize, usize), fewer: u32, transform: fn(Line) -> Line) {
    for line in 0..N {
        let results = transform(std::array::from_fn(|i| block[line * next + i * along]));
        for (i, result) in results.into_iter().enumerate() {
            block[line * next + i * along] = (result + (1 << (fewer - 1))) >> fewer;
        }
    }
}

/// A factor in 8192ths.
const fn fixed(factor: f64) -> i32 {
    (factor * 8192.0 + 0.5) as i32
}

/// Eight pixels to eight waves, √8 times as high as orthonormal ones, in 8192ths.
pub(super) fn to_waves(pixels: Line) -> Line {
    let [sum_0, sum_1, sum_2, sum_3] = std::array::from_fn(|i| pixels[i] + pixels[7 - i]);
    let [wave_7, wave_5, wave_3, wave_1] = odd(std::array::from_fn(|i| pixels[3 - i] - pixels[4 + i]));
    let (outer, inner) = (sum_0 + sum_3, sum_1 + sum_2);
    let (wave_2, wave_6) = turned(sum_0 - sum_3, sum_1 - sum_2);
    [(outer + inner) << 13, wave_1, wave_2, wave_3, (outer - inner) << 13, wave_5, wave_6, wave_7]
}

/// Back from eight waves to pixels, √8 times as bright, in 8192ths.
pub(super) fn from_waves(waves: Line) -> Line {
    let (plus, minus) = ((waves[0] + waves[4]) << 13, (waves[0] - waves[4]) << 13);
    let (outer, inner) = turned(waves[2], waves[6]);
    let even = [plus + outer, minus + inner, minus - inner, plus - outer];
    let odd = odd([waves[7], waves[5], waves[3], waves[1]]);
    std::array::from_fn(|i| if i < 4 { even[i] + odd[3 - i] } else { even[7 - i] - odd[i - 4] })
}

/// The turn by 3π/8 among the even waves.
fn turned(a: i32, b: i32) -> (i32, i32) {
    let both = (a + b) * fixed(0.541_196_100);
    (both + a * fixed(0.765_366_865), both - b * fixed(1.847_759_065))
}

/// The turns among the odd waves, the same in both directions.
fn odd([a, b, c, d]: [i32; 4]) -> [i32; 4] {
    let all = (a + b + c + d) * fixed(1.175_875_602);
    let ad = -(a + d) * fixed(0.899_976_223);
    let bc = -(b + c) * fixed(2.562_915_447);
    let ac = all - (a + c) * fixed(1.961_570_560);
    let bd = all - (b + d) * fixed(0.390_180_644);
    [
        a * fixed(0.298_631_336) + ad + ac,
        b * fixed(2.053_119_869) + bc + bd,
        c * fixed(3.072_711_026) + bc + ac,
        d * fixed(1.501_321_110) + ad + bd,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_are_cosines() {
        let pixels: Line = [12, -80, 127, 3, 44, -128, 9, 60];
        let waves = to_waves(pixels);
        for (k, wave) in waves.iter().enumerate() {
            let scale = if k == 0 { 1.0 } else { 2.0_f64.sqrt() };
            let cosine = |i: usize| libm::cos((2 * i + 1) as f64 * k as f64 * std::f64::consts::PI / 16.0);
            let exact: f64 = (0..N).map(|i| scale * f64::from(pixels[i]) * cosine(i)).sum();
            assert!((f64::from(*wave) / 8192.0 - exact).abs() < 0.1, "{k}: {wave} for {exact}");
        }
        // There and back is eight times the pixels, but for the rounding of waves.
        let back = from_waves(waves.map(|wave| (wave + (1 << 12)) >> 13));
        assert!(
            back.iter().zip(pixels).all(|(back, pixel)| (f64::from(*back) / 65_536.0 - f64::from(pixel)).abs() < 1.0)
        );
    }
}
