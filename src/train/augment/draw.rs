//! What is drawn for a batch of pictures: places, colours, partners.

use super::{Augmentation, Window};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::nn::feeder::Samples;
use crate::ops::augment::{PIXEL, PLACES};
use crate::ops::mix::PARTNERS;
use crate::random::{Seed, Stream, pcg4d};
use crate::tensor::{DType, Data, Shape, Tensor};
use std::f64::consts::TAU;

/// Keeps these draws apart from the other random numbers of the same seed.
const AUGMENT: u64 = u64::from_be_bytes(*b"augment\0");

/// The share of red, green and blue in grey (ITU-R BT.601), as in PIL and torchvision.
const GREY: [f64; 3] = [0.299, 0.587, 0.114];

impl Augmentation {
    /// What is drawn for a batch of `n` pictures of this shape: samples `first`, `first + 1`, .. of the epoch's order. `means` are the pictures' mean greys, if
    /// [`Augmentation::needs_means`].
    pub(crate) fn draw(&self, image: &Shape, n: usize, bytes: bool, at: Moment, means: &[f32]) -> Result<Drawn> {
        let &[h, w, _] = image.dims() else {
            return Err(Error::invalid("pictures to augment", image, "3 dimensions [h, w, c]"));
        };
        let len = self.n_numbers(image);
        let (mut places, mut numbers) = (Vec::with_capacity(n * PLACES), Vec::with_capacity(n * len));
        for i in 0..n {
            let mut random = at.stream(i as u32);
            self.draw_place(&mut random, [h, w], &mut places);
            let mean = means.get(i).copied().map(f64::from).unwrap_or_default();
            self.draw_colours(&mut random, mean, bytes, len > 3, &mut numbers);
        }
        let mix = if self.mixes() { Some(self.draw_mix(&self.output_shape(image), n, at)?) } else { None };
        Ok(Drawn { places: Tensor::u32([n, PLACES], places)?, numbers: Tensor::f32([n, len], numbers)?, mix })
    }

    fn draw_place(&self, random: &mut Stream, [h, w]: [usize; 2], places: &mut Vec<u32>) {
        let mut between = |[a, b]: [f64; 2]| a + (b - a) * random.uniform();
        let (h, w) = (h as f64, w as f64);
        // The window on the picture: top, left, height, width; and its size then.
        let ([top, left, height, width], size) = match self.window {
            Window::Whole => ([0.0, 0.0, h, w], [h, w]),
            Window::Cut { size, padding } => {
                let [sh, sw] = size.map(|side| side as f64);
                let padding = padding as f64;
                let mut start = |side: f64, cut: f64| {
                    let places = side + 2.0 * padding - cut + 1.0;
                    (between([0.0, places])).floor().min(places - 1.0) - padding
                };
                ([start(h, sh), start(w, sw), sh, sw], [sh, sw])
            }
            Window::Resized { size, area, ratio } => {
                let logs = ratio.map(f64::ln);
                let mut window = None;
                // As torchvision does: ten tries, then as much of the middle as the ratios allow.
                for _ in 0..10 {
                    let (area, ratio) = (h * w * between(area), between(logs).exp());
                    let (sh, sw) = ((area / ratio).sqrt(), (area * ratio).sqrt());
                    if window.is_none() && sh <= h && sw <= w {
                        window = Some([between([0.0, h - sh]), between([0.0, w - sw]), sh, sw]);
                    }
                }
                let window = window.unwrap_or_else(|| {
                    let [least, most] = ratio;
                    let (sh, sw) = (h.min(w / least), w.min(h * most));
                    [(h - sh) / 2.0, (w - sw) / 2.0, sh, sw]
                });
                (window, size.map(|side| side as f64))
            }
        };
        let flips = self.flips.map(|p| if between([0.0, 1.0]) < p { -1.0 } else { 1.0 });
        let turn = between([-self.rotation, self.rotation]).to_radians();
        let shear = between([-self.shear, self.shear]).to_radians().tan();
        let zoom = between(self.zoom);
        let shift = [height * between([-self.shift[0], self.shift[0]]), width * between([-self.shift[1], self.shift[1]])];
        // From what is seen back to the picture: zoom, shear, turn, flip; each about the middle, in the picture's pixels.
        let (sin, cos) = turn.sin_cos();
        let turned = [[cos, -sin], [sin, cos]];
        let to_picture = [0, 1].map(|row: usize| {
            let [a, b] = turned[row];
            // Rows stay as they are; columns move by the shear of the rows.
            [flips[row] * (a + b * shear) / zoom, flips[row] * b / zoom]
        });
        let steps = [height / size[0], width / size[1]];
        let middle = [top + height / 2.0 - shift[0], left + width / 2.0 - shift[1]];
        for row in 0..2 {
            let a = [to_picture[row][0] * steps[0], to_picture[row][1] * steps[1]];
            let start = middle[row] - 0.5 + a[0] * (0.5 - size[0] / 2.0) + a[1] * (0.5 - size[1] / 2.0);
            places.extend([a[0], a[1], start].map(|v| (v * f64::from(PIXEL)).round() as i32 as u32));
        }
        let cut = between([0.0, 1.0]) < self.cutout[0];
        let half = self.cutout[1] * size[0].min(size[1]) / 2.0;
        for side in size {
            let middle = between([0.0, side]);
            let ends = [middle - half, middle + half].map(|v| v.round().clamp(0.0, side) as u32);
            places.extend(if cut { ends } else { [0; 2] });
        }
        places.extend([random.next_u32(), random.next_u32()]);
    }

    fn draw_colours(&self, random: &mut Stream, mean: f64, bytes: bool, colours: bool, numbers: &mut Vec<f32>) {
        let [low, high] = self.values(bytes).map(f64::from);
        let mut factor = |most: f64| {
            let least = (1.0 - most).max(0.0);
            least + (1.0 + most - least) * random.uniform()
        };
        let [bright, contrast, saturation] = [self.brightness, self.contrast, self.saturation].map(&mut factor);
        let hue = TAU * self.hue * (2.0 * random.uniform() - 1.0);
        numbers.push((self.noise * (high - low)) as f32);
        // Brightness about the least value, then contrast about what the mean grey has become.
        let mean = low + bright * (mean - low);
        let (scale, shift) = (bright * contrast, contrast * (low - bright * low) + mean - contrast * mean);
        if !colours {
            numbers.extend([scale as f32, shift as f32]);
            return;
        }
        let turn = chroma_turn(hue);
        for row in turn {
            let mixed = [0, 1, 2].map(|from| {
                // Saturation first: a colour is grey + s (colour - grey), and what is turned has no grey.
                let own = (0..3).map(|k| row[k] * (f64::from(u8::from(k == from)) - GREY[from])).sum::<f64>();
                GREY[from] + saturation * own
            });
            numbers.extend(mixed.map(|m| (m * scale) as f32));
            // The rows add up to 1, so a summand of all colours stays one.
            numbers.push(shift as f32);
        }
    }

    fn draw_mix(&self, image: &Shape, n: usize, at: Moment) -> Result<Mixing> {
        let mut random = at.stream(u32::MAX);
        let order = random.permutation(n as u32);
        let cut = self.cutmix > 0.0 && (self.mixup == 0.0 || random.uniform() < 0.5);
        let mut share = beta(&mut random, if cut { self.cutmix } else { self.mixup });
        let mut rectangle = [0u32; 4];
        let of_pictures = if cut {
            let (h, w) = (image.dims()[0] as f64, image.dims()[1] as f64);
            let side = (1.0 - share).sqrt();
            let mut area = 1.0;
            for (ends, len) in rectangle.chunks_exact_mut(2).zip([h, w]) {
                let middle = random.uniform() * len;
                let [from, to] = [middle - side * len / 2.0, middle + side * len / 2.0].map(|v| v.round().clamp(0.0, len));
                (ends[0], ends[1]) = (from as u32, to as u32);
                area *= (to - from) / len;
            }
            share = 1.0 - area;
            1.0
        } else {
            share as f32
        };
        let partners = order.iter().flat_map(|&p| [&[p][..], &rectangle].concat()).collect();
        Ok(Mixing {
            partners: Tensor::u32([n, PARTNERS], partners)?,
            shares: Tensor::f32([n], vec![of_pictures; n])?,
            target_shares: Tensor::f32([n], vec![share as f32; n])?,
        })
    }
}

/// The mean grey of each of these samples, as the data set has them; the mean of all channels where they aren't three.
pub(super) fn mean_greys(data: &Dataset, samples: &Samples) -> Result<Vec<f32>> {
    // Those that the device has lie in memory too.
    let (images, rows) = match &samples.images {
        Some(images) => (images, (0..samples.indices.len() as u32).collect()),
        None => (data.images()?, samples.indices.clone()),
    };
    let (len, c) = (data.image_shape().elements(), data.image_shape().last());
    let weights: Vec<f64> = if c == 3 { GREY.to_vec() } else { vec![1.0 / c as f64; c] };
    fn mean<T: Copy + Into<f64>>(x: &[T], weights: &[f64]) -> f32 {
        let pixel = |pixel: &[T]| pixel.iter().zip(weights).map(|(&v, w)| v.into() * w).sum::<f64>();
        (x.chunks_exact(weights.len()).map(pixel).sum::<f64>() / (x.len() / weights.len()) as f64) as f32
    }
    let of = |i: &u32| {
        let range = *i as usize * len..(*i as usize + 1) * len;
        Ok(match images.data() {
            Data::U8(v) => mean(&v[range], &weights),
            Data::F32(v) => mean(&v[range], &weights),
            Data::U32(_) => return Err(Error::invalid("images type", DType::U32, "u8 or f32")),
        })
    };
    rows.iter().map(of).collect()
}

/// The rotation of colours by an angle in the plane of chroma of YIQ (National Television System Committee, 1953), which keeps grey.
fn chroma_turn(angle: f64) -> [[f64; 3]; 3] {
    if angle == 0.0 {
        return [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    }
    let i = [0.595_716, -0.274_453, -0.321_263];
    let q = [0.211_456, -0.522_591, 0.311_135];
    let (sin, cos) = angle.sin_cos();
    // What i and q are to red, green and blue, with i and q as they are then.
    let back = [[0.956_295_7, 0.621_024_4], [-0.272_122_1, -0.647_380_6], [-1.106_989, 1.704_615]];
    back.map(|[of_i, of_q]| [0, 1, 2].map(|from| of_i * (cos * i[from] - sin * q[from]) + of_q * (sin * i[from] + cos * q[from])))
}

/// A number from Beta(alpha, alpha), from two of Gamma(alpha, 1) (G. Marsaglia, W. W. Tsang, "A Simple Method for Generating Gamma Variables", ACM TOMS 26(3), 2000).
fn beta(random: &mut Stream, alpha: f64) -> f64 {
    // The logarithm: for a small alpha the number itself may be 0.
    let mut log_gamma = || {
        let boost = if alpha < 1.0 { (1.0 - random.uniform()).ln() / alpha } else { 0.0 };
        let d = if alpha < 1.0 { alpha + 1.0 } else { alpha } - 1.0 / 3.0;
        loop {
            let z = random.normal();
            let v = (1.0 + z / (9.0 * d).sqrt()).powi(3);
            let u = 1.0 - random.uniform();
            if v > 0.0 && u.ln() < 0.5 * z * z + d - d * v + d * v.ln() {
                return (d * v).ln() + boost;
            }
        }
    };
    let (a, b) = (log_gamma(), log_gamma());
    1.0 / (1.0 + (b - a).exp())
}

/// When a batch is drawn for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub seed: Seed,
    pub epoch: u32,
    /// Place in the epoch of the batch's first sample.
    pub first: u32,
}

impl Moment {
    /// The random numbers of a sample of the batch; [`u32::MAX`] is the batch itself.
    fn stream(self, sample: u32) -> Stream {
        let seed = self.seed.0 ^ AUGMENT;
        let (place, kind) = if sample == u32::MAX { (self.first, 1) } else { (self.first.wrapping_add(sample), 0) };
        let words = pcg4d([place, self.epoch, seed as u32, (seed >> 32) as u32 ^ kind]);
        Stream::new(Seed(u64::from(words[0]) << 32 | u64::from(words[1])), words[2])
    }
}

/// What was drawn for a batch: inputs of [`augment::Augment`], and of two [`Mix`](crate::ops::mix::Mix).
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub places: Tensor,
    pub numbers: Tensor,
    pub mix: Option<Mixing>,
}

/// How a batch is mixed.
#[derive(Clone, Debug)]
pub(crate) struct Mixing {
    pub partners: Tensor,
    pub shares: Tensor,
    pub target_shares: Tensor,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{View, run_f64};
    use crate::ops::augment::Border;
    use crate::ops::mix::Mix;
    use crate::tensor::TensorType;

    const AT: Moment = Moment { seed: Seed(7), epoch: 3, first: 0 };

    /// Pictures as the op makes them; the means are those of `x`.
    fn changed(augmentation: &Augmentation, shape: [usize; 4], x: &[f64], at: Moment) -> Vec<f64> {
        let image = Shape::from(&shape[1..]);
        augmentation.check(&image).unwrap();
        let len = image.elements();
        let grey = |pixel: &[f64]| if let [r, g, b] = *pixel { GREY[0] * r + GREY[1] * g + GREY[2] * b } else { pixel[0] };
        let mean = |x: &[f64]| x.chunks_exact(shape[3]).map(grey).sum::<f64>() / (len / shape[3]) as f64;
        let means: Vec<f32> = x.chunks_exact(len).map(|x| mean(x) as f32).collect();
        let drawn = augmentation.draw(&image, shape[0], true, at, &means).unwrap();
        let numbers: Vec<f64> = drawn.numbers.as_f32().unwrap().iter().map(|&v| f64::from(v)).collect();
        let types = [TensorType::f32(shape), drawn.places.tensor_type(), drawn.numbers.tensor_type()];
        let inputs = [View::Real(x), View::U32(drawn.places.as_u32().unwrap()), View::Real(&numbers)];
        run_f64(&augmentation.op(&image, true), &types, &inputs).unwrap()[0].real().to_vec()
    }

    fn ramp(n: usize) -> Vec<f64> {
        (0..n).map(|i| i as f64).collect()
    }

    #[test]
    fn nothing_asked_for_changes_nothing() {
        let x = ramp(2 * 3 * 5 * 3);
        assert_eq!(changed(&Augmentation::new(), [2, 3, 5, 3], &x, AT), x);
    }

    #[test]
    fn flips_are_exact() {
        let x = ramp(12);
        let turned = changed(&Augmentation::new().flip_horizontal(1.0), [1, 3, 4, 1], &x, AT);
        assert_eq!(turned[..4], [3.0, 2.0, 1.0, 0.0]);
        let turned = changed(&Augmentation::new().flip_vertical(1.0), [1, 3, 4, 1], &x, AT);
        assert_eq!(turned[..4], [8.0, 9.0, 10.0, 11.0]);
        let half = Augmentation::new().flip_horizontal(0.5);
        let shape = [400, 1, 2, 1];
        let all = changed(&half, shape, &[0.0, 1.0].repeat(400), AT);
        let flipped = all.chunks(2).filter(|pair| pair[0] == 1.0).count();
        assert!((160..240).contains(&flipped), "{flipped}");
    }

    #[test]
    fn a_turn_by_180_degrees_and_a_zoom() {
        // Uniform in a range of one number.
        let mut still = Augmentation::new();
        still.zoom = [2.0, 2.0];
        let x = ramp(4);
        // The middle half of the row, twice as large.
        let zoomed = changed(&still, [1, 1, 4, 1], &x, AT);
        assert_eq!(zoomed, [0.75, 1.25, 1.75, 2.25]);
        let cropped = Augmentation::new().resized_crop(1, 8, [1.0, 1.0], [4.0, 4.0]);
        let larger = changed(&cropped.border(Border::Edge), [1, 1, 4, 1], &x, AT);
        for (got, want) in larger.iter().zip([0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]) {
            assert!((got - want).abs() < 1e-3, "{larger:?}");
        }
    }

    #[test]
    fn cuts_lie_anywhere_on_whole_pixels() {
        let x = ramp(36);
        let cut = Augmentation::new().crop(4, 4, 1).border(Border::Fill).fill(-1.0);
        assert_eq!(cut.output_shape(&Shape::from([6, 6, 1])).dims(), [4, 4, 1]);
        let mut seen = std::collections::BTreeSet::new();
        for epoch in 0..300 {
            let y = changed(&cut, [1, 6, 6, 1], &x, Moment { epoch, ..AT });
            // The second row and column are always inside.
            let first = y[5] as i64;
            assert_eq!(first as f64, y[5]);
            seen.insert(first);
            assert!(y.iter().all(|v| v.fract() == 0.0));
        }
        // Offsets of -1 to 3 each way.
        assert_eq!(seen.len(), 25);
    }

    #[test]
    fn colours() {
        let grey = [40.0, 40.0, 40.0, 200.0, 200.0, 200.0];
        let jitter = Augmentation::new().saturation(0.9).hue(0.5);
        for (got, want) in changed(&jitter, [1, 1, 2, 3], &grey, AT).iter().zip(grey) {
            assert!((got - want).abs() < 1e-3, "{got} {want}");
        }
        // Half a turn of the hue leaves the grey of a colour where it is.
        let mut half = Augmentation::new();
        half.hue = 0.5;
        let y = changed(&half, [1, 1, 1, 3], &[120.0, 100.0, 90.0], AT);
        let of = |c: &[f64]| GREY[0] * c[0] + GREY[1] * c[1] + GREY[2] * c[2];
        assert!((of(&y) - of(&[120.0, 100.0, 90.0])).abs() < 0.1, "{y:?}");
        // Contrast keeps the mean, brightness scales it.
        let x = [100.0, 110.0, 120.0, 130.0];
        let y = changed(&Augmentation::new().contrast(0.5), [1, 2, 2, 1], &x, AT);
        assert!((y.iter().sum::<f64>() / 4.0 - 115.0).abs() < 1e-3 && y[0] != 100.0, "{y:?}");
        let y = changed(&Augmentation::new().brightness(0.5), [1, 2, 2, 1], &x, AT);
        assert!(y.iter().zip(x).all(|(v, x)| (v / x - y[0] / 100.0).abs() < 1e-6) && y[0] != 100.0, "{y:?}");
        let y = changed(&Augmentation::new().brightness(5.0), [50, 1, 1, 1], &[250.0; 50], AT);
        assert!(y.iter().all(|v| (0.0..=255.0).contains(v)) && y.contains(&255.0));
    }

    #[test]
    fn draws_depend_on_seed_epoch_and_place_alone() {
        let augmentation = Augmentation::new().rotate(20.0).brightness(0.3).noise(0.1).flip_horizontal(0.5);
        let image = Shape::from([8, 8, 1]);
        let all = augmentation.draw(&image, 6, true, AT, &[]).unwrap();
        let later = augmentation.draw(&image, 2, true, Moment { first: 4, ..AT }, &[]).unwrap();
        assert_eq!(all.places.as_u32().unwrap()[4 * PLACES..], *later.places.as_u32().unwrap());
        assert_eq!(all.numbers.as_f32().unwrap()[4 * 3..], *later.numbers.as_f32().unwrap());
        for other in [Moment { epoch: 4, ..AT }, Moment { seed: Seed(8), ..AT }, Moment { first: 1, ..AT }] {
            assert_ne!(augmentation.draw(&image, 6, true, other, &[]).unwrap().places, all.places);
        }
    }

    #[test]
    fn shares_of_mixtures() {
        for alpha in [0.1, 0.4, 1.0, 5.0] {
            let mut random = Stream::new(Seed(1), 1);
            let all: Vec<f64> = (0..20_000).map(|_| beta(&mut random, alpha)).collect();
            let mean = all.iter().sum::<f64>() / 20_000.0;
            let variance = all.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 20_000.0;
            let want = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.01 && (variance / want - 1.0).abs() < 0.05, "{alpha}: {mean} {variance} {want}");
        }
    }

    /// A rectangle's area is the share of the partner's target.
    #[test]
    fn rectangles_and_targets_agree() {
        let image = Shape::from([9, 7, 1]);
        let augmentation = Augmentation::new().cutmix(1.0);
        for epoch in 0..40 {
            let mixing = augmentation.draw(&image, 4, true, Moment { epoch, ..AT }, &[]).unwrap().mix.unwrap();
            let x: Vec<f64> = (0..4).flat_map(|i| [f64::from(i); 63]).collect();
            let shares = |t: &Tensor| t.as_f32().unwrap().iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
            let partners = mixing.partners.as_u32().unwrap();
            let types = [TensorType::f32([4, 9, 7, 1]), mixing.partners.tensor_type(), mixing.shares.tensor_type()];
            let of_pictures = shares(&mixing.shares);
            let y = run_f64(&Mix { rectangles: true }, &types, &[View::Real(&x), View::U32(partners), View::Real(&of_pictures)])
                .unwrap();
            for (i, picture) in y[0].real().chunks(63).enumerate() {
                let partner = f64::from(partners[i * PARTNERS]);
                if partner != i as f64 {
                    let own = picture.iter().filter(|&&v| v == i as f64).count() as f64 / 63.0;
                    assert!((own - shares(&mixing.target_shares)[i]).abs() < 1e-6);
                }
            }
        }
    }
}
