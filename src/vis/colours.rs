//! Colours: scales for numbers, and a few that tell things apart.

use image::Rgb;

/// Background.
pub(super) const WHITE: Rgb<u8> = Rgb([255, 255, 255]);
/// Text.
pub(super) const INK: Rgb<u8> = Rgb([25, 25, 25]);
/// Text that says less.
pub(super) const DIM: Rgb<u8> = Rgb([95, 95, 95]);
/// Lines that only lead the eye, and cells without a number.
pub(super) const FAINT: Rgb<u8> = Rgb([222, 222, 222]);
/// Training, in curves; after Okabe and Ito, whose colours the colour-blind tell apart.
pub(super) const TRAINING: Rgb<u8> = Rgb([0, 114, 178]);
/// Validation, in curves.
pub(super) const VALIDATION: Rgb<u8> = Rgb([213, 94, 0]);

/// Every fifteenth of the 256 colours of viridis (S. van der Walt and N. Smith, 2015, in the public domain): equal steps look equal, it
/// grows lighter all the way, so that it reads in grey, and the colour-blind see it nearly as others do.
const VIRIDIS: [[u8; 3]; 18] = [
    [68, 1, 84],
    [72, 23, 105],
    [71, 42, 122],
    [67, 61, 132],
    [61, 78, 138],
    [53, 94, 141],
    [46, 109, 142],
    [41, 123, 142],
    [35, 137, 142],
    [31, 151, 139],
    [33, 165, 133],
    [46, 179, 124],
    [70, 192, 111],
    [101, 203, 94],
    [137, 213, 72],
    [176, 221, 47],
    [216, 226, 25],
    [253, 231, 37],
];

/// Dark blue below zero, grey at zero, yellow above: lighter all the way.
const SIGNED: [[u8; 3]; 5] = [[0, 28, 92], [52, 78, 120], [128, 128, 128], [198, 178, 92], [255, 232, 50]];

fn between(table: &[[u8; 3]], at: f32) -> Rgb<u8> {
    // NaN has the colour of the lowest: it must have one.
    let at = if at.is_nan() { 0.0 } else { at.clamp(0.0, 1.0) } * (table.len() - 1) as f32;
    let i = (at as usize).min(table.len() - 2);
    let share = at - i as f32;
    let mix = |c: usize| (f32::from(table[i][c]) * (1.0 - share) + f32::from(table[i + 1][c]) * share).round() as u8;
    Rgb([mix(0), mix(1), mix(2)])
}

/// A scale of colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scale {
    /// From 0 to 1.
    Viridis,
    /// From -1 to 1.
    Signed,
}

impl Scale {
    /// The colour of a number; those outside the range have that of its end.
    pub fn colour(self, v: f32) -> Rgb<u8> {
        match self {
            Scale::Viridis => between(&VIRIDIS, v),
            Scale::Signed => between(&SIGNED, (v + 1.0) / 2.0),
        }
    }

    /// The smallest number.
    pub fn least(self) -> f32 {
        if self == Scale::Viridis { 0.0 } else { -1.0 }
    }
}

/// How light a colour looks, of 0 to 1 (Rec. 709, on the encoded values).
pub(super) fn lightness(Rgb([r, g, b]): Rgb<u8>) -> f32 {
    (0.2126 * f32::from(r) + 0.7152 * f32::from(g) + 0.0722 * f32::from(b)) / 255.0
}

/// The colour of text on this background.
pub(super) fn ink_on(background: Rgb<u8>) -> Rgb<u8> {
    if lightness(background) > 0.5 { INK } else { WHITE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_grow_lighter() {
        for scale in [Scale::Viridis, Scale::Signed] {
            let light = |i: i32| {
                let least = scale.least();
                lightness(scale.colour(least + (1.0 - least) * i as f32 / 100.0))
            };
            for i in 0..100 {
                assert!(light(i + 1) >= light(i) - 0.004, "{scale:?} at {i}%: {} then {}", light(i), light(i + 1));
            }
            assert!(light(100) - light(0) > 0.7);
            assert_eq!(scale.colour(f32::NAN), scale.colour(scale.least()));
        }
        assert_eq!(Scale::Viridis.colour(0.0), Rgb([68, 1, 84]));
        assert_eq!(Scale::Signed.colour(0.0), Rgb([128, 128, 128]));
    }
}
