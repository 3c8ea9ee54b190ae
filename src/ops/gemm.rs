//! The GEMM family: matmul and all convolutions are `C[m, n] = epilogue(sum_k A[m, k] B[k, n])`, one of three main loops around an
//! operand that says how A and B are read. Not an op itself.

use crate::error::Result;
use crate::op::{
    ACTIVATION, Activation, Bound, Buffer, Choice, ConstValue, DeviceProfile, GRID, Kernel, MainLoop, Op, ProductKey, Recorder,
    Source, Word, shader,
};
use crate::ops::elements::{Elements, QUOTIENT};
use crate::tensor::TensorType;

static ACCESS: Source = shader!("gemm/access");
static BLOCK: Source = shader!("gemm/block");
static STORE_VECTOR: Source = shader!("gemm/store_vector");
static STORE_SCALAR: Source = shader!("gemm/store_scalar");
static TILED: Source = shader!("gemm/tiled");
static PLAIN: Source = shader!("gemm/plain");
static SUBGROUP: Source = shader!("gemm/subgroup");
static COMBINE: Source = shader!("gemm/combine");
/// Those that aren't an op's own.
static SHADERS: [&Source; 8] = [&ACCESS, &BLOCK, &STORE_VECTOR, &STORE_SCALAR, &TILED, &PLAIN, &SUBGROUP, &COMBINE];

/// A tile of the workgroup-memory main loop: C's rows and columns a workgroup, the 4 x 4 blocks of C an invocation.
#[derive(Clone, Copy, Debug)]
struct Tile {
    m: usize,
    n: usize,
    blocks_m: usize,
    blocks_n: usize,
}

impl Tile {
    fn threads(self) -> usize {
        (self.m / 4 / self.blocks_m) * (self.n / 4 / self.blocks_n)
    }

    /// Whether a workgroup isn't mostly padding of a product of this size. A height that is no power of two is for products that it
    /// holds whole.
    fn fits(self, m: usize, n: usize) -> bool {
        let least_m = if self.m.is_power_of_two() { self.m / 2 } else { self.m - 32 };
        let most_m = if self.m.is_power_of_two() { usize::MAX } else { self.m };
        m > least_m && m <= most_m && n > self.n / 2
    }
}

/// `TILE_K` of `gemm/tiled`: columns of A and rows of B in workgroup memory. The largest tile takes the 16 KiB that WebGPU guarantees.
const TILE_K: usize = 16;

/// From small to large. 128x16 is for few columns, 160x64 for the weights of a 7x7 convolution of three channels.
const TILES: [Tile; 7] = [
    Tile { m: 32, n: 32, blocks_m: 1, blocks_n: 1 },
    Tile { m: 64, n: 32, blocks_m: 2, blocks_n: 1 },
    Tile { m: 128, n: 16, blocks_m: 2, blocks_n: 1 },
    Tile { m: 64, n: 64, blocks_m: 2, blocks_n: 1 },
    Tile { m: 128, n: 64, blocks_m: 2, blocks_n: 2 },
    Tile { m: 160, n: 64, blocks_m: 2, blocks_n: 2 },
    Tile { m: 128, n: 128, blocks_m: 2, blocks_n: 2 },
];

/// Number of tiles of the workgroup-memory main loop, which tests try one by one.
pub const N_TILES: usize = TILES.len();

/// Tiles of the subgroup main loop: `A_LOADS`, the vec4 of A that a lane loads in a step.
const SUBGROUP_LOADS: [usize; 3] = [1, 2, 4];

/// Number of tiles of the subgroup main loop.
pub const N_SUBGROUP_TILES: usize = SUBGROUP_LOADS.len();

/// Most rows or columns that are few: those of a block.
const FEW: usize = 4;
/// Columns that are many, where rows are few.
const WIDE: usize = 32;

/// Workgroups that give every core of a large GPU two.
const WORKGROUPS: usize = 256;
/// Most of k that one invocation sums: keeps every loop below the 32,768 iterations that some drivers allow.
const LONGEST_CHUNK: usize = 4096;
/// Least of k that is worth a workgroup of its own and a second pass.
const SHORTEST_CHUNK: usize = 256;
/// Most of k for a core that runs workgroup after workgroup on the same part of A and B, which is to stay in its cache.
const CACHED_CHUNK: usize = 1024;
/// Most partial sums that are worth that, as they are written and read back.
const CACHED_SUMS: usize = 1 << 20;
/// Most splits that one invocation adds up: of more, the square root of their number are made first, in parallel.
const LONGEST_COMBINE: usize = 256;

/// A product to record.
pub struct Gemm {
    /// The operand file.
    pub operand: &'static Source,
    /// Values of the operand's `const` lines.
    pub consts: Vec<(&'static str, ConstValue)>,
    /// Rows, columns of a group, and summed elements.
    pub size: [usize; 3],
    /// Parts of the rows with sums and `Params` of their own, a dispatch each; `size` then says the rows of all and the longest sum. None:
    /// one part.
    pub phases: Vec<Phase>,
    /// Rows of C that lie side by side in a row of the product, 1 if that is a row of C.
    pub joined: usize,
    /// Values that the lowest digit of a position along k takes: see `gemm/access`.
    pub k_digit: usize,
    /// Groups, side by side in the columns of C.
    pub groups: usize,
    /// Whether the groups are a batch of products instead, whose results lie one after the other.
    pub batch: bool,
    /// Whether four elements of A, B, C can be read or written at once.
    pub vector: [bool; 3],
    /// Fields of `Params` behind those that all operands share.
    pub params: Vec<(&'static str, Word)>,
}

/// What becomes of the sums of a product: `activation(sum + bias + residual)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue {
    /// A value for each column of C.
    pub bias: Option<Buffer>,
    /// A tensor like C.
    pub residual: Option<Buffer>,
    /// The activation.
    pub activation: Option<Activation>,
}

impl Epilogue {
    /// Whether the sums stay as they are.
    pub fn is_none(&self) -> bool {
        self.bias.is_none() && self.residual.is_none() && self.activation.is_none()
    }

    /// Sets the epilogue's constants of a kernel.
    pub fn set(&self, kernel: Kernel) -> Kernel {
        self.set_but_bias(kernel.set("HAS_BIAS", self.bias.is_some()))
    }

    /// Those of a main loop, to which `Params` say whether there is a bias.
    fn set_but_bias(&self, kernel: Kernel) -> Kernel {
        kernel.set("HAS_RESIDUAL", self.residual.is_some()).activation(self.activation)
    }

    /// What to bind for bias and residual: `other` where there is none.
    pub fn bindings(&self, other: Buffer) -> [Buffer; 2] {
        [self.bias, self.residual].map(|b| b.unwrap_or(other))
    }

    /// Roundings that it adds to a sum's.
    pub fn depth(&self) -> usize {
        usize::from(self.bias.is_some()) + usize::from(self.residual.is_some())
    }
}

/// Some of the rows of a product.
pub struct Phase {
    /// Their number.
    pub rows: usize,
    /// Summed elements, 0 if the rows are zeros.
    pub k: usize,
    /// Further fields of `Params`, behind [`Gemm::params`].
    pub params: Vec<(&'static str, Word)>,
}

/// The main loop for a product.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Loop {
    Tiled,
    Subgroup,
    Plain {
        lanes: usize,
        /// Whether the invocations of a workgroup make rows side by side, or columns.
        along_m: bool,
    },
}

/// How a product is cut up.
struct Cut {
    main_loop: Loop,
    tile: Tile,
    n_splits: usize,
}

impl Gemm {
    /// Main loop and tile: the one at this index, if there is one, else what the table says.
    fn tile(&self, profile: &DeviceProfile, index: Option<usize>) -> (Loop, Tile) {
        let [_, n, _] = self.size;
        let m = self.phases.iter().map(|p| p.rows).max().unwrap_or(self.size[0]);
        let lanes = lanes(profile);
        let plain = |blocks_m: usize, blocks_n: usize, lanes: usize, along_m: bool| {
            let [lanes_m, lanes_n] = if along_m { [lanes, 1] } else { [1, lanes] };
            (Loop::Plain { lanes, along_m }, Tile { m: 4 * blocks_m * lanes_m, n: 4 * blocks_n * lanes_n, blocks_m, blocks_n })
        };
        if profile.main_loop == MainLoop::Tiled {
            if let Some(&tile) = index.and_then(|i| TILES.get(i)) {
                return (Loop::Tiled, tile);
            }
            // Next to no element of B is used twice: all that counts is to load it in long rows.
            if m <= FEW && n > WIDE && self.consts.contains(&("B_ALONG_K", false.into())) {
                return plain(1, 1, 64, false);
            }
            // The largest tile that isn't mostly padding and, with 8 x 8 results an invocation, still gives every core of a large GPU
            // two workgroups; a product of one tile does so by splits of k.
            let workgroups = |t: &Tile| match self.n_tiles(*t) {
                1 => self.size[2] / SHORTEST_CHUNK,
                n_tiles => n_tiles,
            };
            let filled = |t: &Tile| t.blocks_m * t.blocks_n < 4 || workgroups(t) >= WORKGROUPS;
            return (Loop::Tiled, TILES.iter().rev().find(|t| t.fits(m, n) && filled(t)).copied().unwrap_or(TILES[0]));
        }
        if n <= FEW {
            return plain(4, 1, lanes, true);
        }
        if m <= 2 * FEW {
            // Long rows of B, so that pages of memory are read through.
            return plain(m.div_ceil(4), if n > WIDE { 4 } else { 1 }, lanes, false);
        }
        if profile.main_loop == MainLoop::Plain {
            return plain(4, 2, lanes, false);
        }
        let enough = || SUBGROUP_LOADS.into_iter().find(|loads| m <= loads * lanes);
        let loads = index.and_then(|i| SUBGROUP_LOADS.get(i).copied()).or_else(enough).unwrap_or(4);
        (Loop::Subgroup, Tile { m: loads * lanes, n: 4 * lanes, blocks_m: 1, blocks_n: 1 })
    }

    /// Tiles of all phases.
    fn n_tiles(&self, tile: Tile) -> usize {
        let [m, n, _] = self.size;
        let rows = |rows: usize| rows.div_ceil(tile.m);
        let rows = if self.phases.is_empty() { rows(m) } else { self.phases.iter().map(|p| rows(p.rows)).sum() };
        rows * n.div_ceil(tile.n) * self.groups
    }

    /// What its choice is kept by.
    fn key(&self, profile: &DeviceProfile) -> ProductKey {
        let main_loop = match profile.main_loop {
            MainLoop::Tiled => "tiled",
            MainLoop::Subgroup => "subgroup",
            MainLoop::Plain => "plain",
        };
        let vectors = self.vector.iter().zip(["a", "b", "c"]).filter(|(vector, _)| **vector).map(|(_, name)| name);
        let consts = self.consts.iter().map(|(name, value)| format!(" {name}={value}"));
        let strides = self.params.iter().filter(|(name, _)| name.starts_with("stride_"));
        let strides = strides.map(|(name, word)| format!(" {name}={}", word.bits()));
        let form = format!("f32 vec4={}{}", vectors.collect::<String>(), consts.chain(strides).collect::<String>());
        let [m, n, k] = self.size;
        let log2 = [m, n, k, self.groups].map(|len| len.checked_ilog2().unwrap_or(0));
        ProductKey { main_loop: main_loop.to_string(), operand: self.operand.name.to_string(), form, log2 }
    }

    fn cut(&self, profile: &DeviceProfile, choice: Choice) -> Cut {
        let [m, n, k] = self.size;
        let (main_loop, tile) = self.tile(profile, profile.tile.or(choice.tile));
        let is_gpu = profile.main_loop == MainLoop::Tiled;
        let wanted = if is_gpu { WORKGROUPS } else { 16 };
        let least = k.div_ceil(LONGEST_CHUNK);
        // The parts of all splits are one tensor, which is bound whole.
        let bindable = usize::try_from(profile.max_binding_bytes / 4).unwrap_or(usize::MAX) / (m * n * self.groups);
        let most = (k / SHORTEST_CHUNK).min(bindable).max(least);
        let cached = k.div_ceil(CACHED_CHUNK);
        // What is used only once needs no cache.
        let reused = m > 2 * FEW && m * n * self.groups * cached <= CACHED_SUMS;
        let for_cache = if reused && !is_gpu { cached } else { 1 };
        let n_splits = usize::div_ceil(wanted, self.n_tiles(tile)).max(for_cache);
        let factor = 1 << choice.splits.unsigned_abs().min(16);
        let n_splits = if choice.splits < 0 { n_splits.div_ceil(factor) } else { n_splits.saturating_mul(factor) };
        let n_splits = n_splits.clamp(least, most);
        Cut { main_loop, tile, n_splits: k.div_ceil(k_chunk(k, n_splits)) }
    }

    /// Records the product.
    pub fn record(self, r: &mut Recorder<'_>, a: Buffer, b: Buffer, epilogue: Epilogue, c: Buffer) {
        let profile = r.profile();
        let key = self.key(profile);
        let Cut { main_loop, tile, n_splits } = self.cut(profile, profile.choices.get(&key).copied().unwrap_or_default());
        r.products.push(key);
        let [m, n, k] = self.size;
        let (c_rows, c_stride, c_group) =
            if self.batch { (m * self.groups, n, m * n) } else { (m * self.joined, n / self.joined * self.groups, n) };
        let split = n_splits > 1;
        let own_epilogue = if split { Epilogue::default() } else { epilogue };
        let main = match main_loop {
            Loop::Tiled => &TILED,
            Loop::Subgroup => &SUBGROUP,
            Loop::Plain { .. } => &PLAIN,
        };
        let phases = if self.phases.is_empty() { vec![Phase { rows: m, k, params: Vec::new() }] } else { self.phases };
        // Every split has its share, and none reaches beyond the last k. A kernel for odd sizes is one for all of them.
        let step = if main_loop == Loop::Tiled { TILE_K } else { 4 };
        let whole =
            |p: &Phase| self.vector != [false; 3] && p.k.is_multiple_of(step) && (n_splits - 1) * k_chunk(p.k, n_splits) < p.k;
        let store = if self.vector[2] { &STORE_VECTOR } else { &STORE_SCALAR };
        let mut kernel = Kernel::new(main, &[&ACCESS, self.operand, &ACTIVATION, &BLOCK, store, &GRID, &QUOTIENT]);
        for (vector, element, flag) in [(self.vector[0], "AElement", "A_VECTOR"), (self.vector[1], "BElement", "B_VECTOR")] {
            kernel = kernel.set(element, if vector { "vec4<f32>" } else { "f32" }).set(flag, vector);
        }
        kernel = own_epilogue.set_but_bias(kernel.set("K_WHOLE", phases.iter().all(whole)));
        let aligned = main_loop == Loop::Tiled && self.k_digit.is_multiple_of(TILE_K);
        kernel = kernel.set("K_ALIGNED", aligned).set("JOINED", self.joined > 1);
        kernel.consts.extend(self.consts);
        kernel = match main_loop {
            Loop::Tiled => kernel
                .set("TILE_M", tile.m)
                .set("TILE_N", tile.n)
                .set("BLOCKS_M", tile.blocks_m)
                .set("BLOCKS_N", tile.blocks_n)
                .set("THREADS", tile.threads()),
            Loop::Subgroup => {
                let lanes = lanes(profile);
                kernel.set("LANES", lanes).set("A_LOADS", tile.m / lanes).with_subgroups()
            }
            Loop::Plain { lanes, along_m } => kernel
                .set("LANES", lanes)
                .set("LANES_ALONG_M", along_m)
                .set("BLOCKS_M", tile.blocks_m)
                .set("BLOCKS_N", tile.blocks_n),
        };
        let n_tiles = n.div_ceil(tile.n);
        let n_slices = self.groups * n_splits;
        let target = if split { r.temp(TensorType::f32([n_splits, c_rows, c_stride])) } else { c };
        let [bias, residual] = own_epilogue.bindings(b);
        for phase in phases {
            let mut params: Vec<(&'static str, Word)> = vec![
                ("m", phase.rows.into()),
                ("n", n.into()),
                ("k", phase.k.into()),
                ("k_chunk", k_chunk(phase.k, n_splits).into()),
                ("n_tiles", n_tiles.into()),
                ("n_splits", n_splits.into()),
                ("n_slices", n_slices.into()),
                ("c_stride", c_stride.into()),
                ("c_rows", c_rows.into()),
                ("c_group", c_group.into()),
                ("n_biased", own_epilogue.bias.map_or(0, |_| n).into()),
            ];
            params.extend(&self.params);
            params.extend(phase.params);
            let grid = r.linear_grid(phase.rows.div_ceil(tile.m) * n_slices * n_tiles);
            r.dispatch(kernel.clone(), &[a, b, bias, residual], &[target], &params, grid);
        }
        let additions = if split { combine(r, target, n_splits, [c_rows, c_stride], epilogue, c) } else { 1 };
        // A product and its sum may be rounded apart, which adds one; then the splits, bias and residual.
        r.declare_depth(k_chunk(k, n_splits).min(k) + 1 + additions + epilogue.depth());
    }
}

/// Other ways to cut products up than the table's, on a device with this main loop. Those that a product can't take are the same as
/// another.
pub fn alternatives(main_loop: MainLoop) -> Vec<Choice> {
    let n_tiles = match main_loop {
        MainLoop::Tiled => N_TILES,
        MainLoop::Subgroup => N_SUBGROUP_TILES,
        MainLoop::Plain => 0,
    };
    let tiles = (0..n_tiles).map(Some).chain([None]);
    let all = tiles.flat_map(|tile| [0, 1, -1].map(|splits| Choice { tile, splits }));
    all.filter(|&choice| choice != Choice::default()).collect()
}

/// A hash (FNV-1a) of the shaders and tiles that measured choices are about: of others they say nothing.
pub fn hash() -> u64 {
    let operands = crate::ops::all().flat_map(|d| d.shaders).filter(|s| s.name.starts_with("operand/"));
    let texts = SHADERS.iter().chain(operands).map(|s| s.text.to_string());
    let tables = format!("{TILES:?}{SUBGROUP_LOADS:?}");
    let bytes = texts.chain([tables]).flat_map(String::into_bytes);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What a split of k takes, a whole number of the main loops' steps.
fn k_chunk(k: usize, n_splits: usize) -> usize {
    k.div_ceil(n_splits).next_multiple_of(TILE_K).max(TILE_K)
}

/// Records the sum over the first axis of `parts` [n_parts, rows, columns], in order, with the epilogue, into `c`: in two steps if there are
/// very many. Returns its longest chain of additions.
pub(super) fn combine(
    r: &mut Recorder<'_>,
    parts: Buffer,
    n_parts: usize,
    [rows, columns]: [usize; 2],
    epilogue: Epilogue,
    c: Buffer,
) -> usize {
    let elements = Elements::aligned(rows * columns, columns);
    let sum = |r: &mut Recorder<'_>, from: (Buffer, usize), to: (Buffer, usize), epilogue: Epilogue| {
        let kernel = epilogue.set(elements.kernel(&COMBINE, &[&ACTIVATION]));
        let [bias, residual] = epilogue.bindings(from.0);
        let count = |len: usize| elements.count(len * rows * columns);
        let params =
            [("n_elements", count(to.1).into()), ("n", elements.count(columns).into()), ("n_partial", count(from.1).into())];
        let grid = r.linear_grid(count(to.1).div_ceil(64));
        r.dispatch(kernel, &[from.0, bias, residual], &[to.0], &params, grid);
    };
    if n_parts <= LONGEST_COMBINE {
        sum(r, (parts, n_parts), (c, 1), epilogue);
        return n_parts;
    }
    let fewer = n_parts.isqrt();
    let temp = r.temp(TensorType::f32([fewer, rows, columns]));
    sum(r, (parts, n_parts), (temp, fewer), Epilogue::default());
    sum(r, (temp, fewer), (c, 1), epilogue);
    n_parts.div_ceil(fewer) + fewer
}

fn lanes(profile: &DeviceProfile) -> usize {
    match profile.subgroup_len {
        Some(4) => 4,
        _ => 8,
    }
}

/// Bound of `activation(sum of products)`: `bounds`, the sum's own, magnified by the activation's slope, and the activation's rounding.
/// `linear` is the op without its activation.
pub fn error_bound(
    b: &Bound<'_>,
    mut bounds: Vec<Vec<f64>>,
    linear: &dyn Op,
    activation: Option<Activation>,
) -> Result<Vec<Vec<f64>>> {
    if let Some(f) = activation {
        let views: Vec<_> = b.inputs.iter().map(crate::op::Oracle::view).collect();
        let before = crate::op::run_f64(linear, b.types, &views)?;
        for ((bound, &x), &y) in bounds[0].iter_mut().zip(before[0].real()).zip(b.outputs[0].real()) {
            *bound = f.bound(*bound, x, y);
        }
    }
    Ok(bounds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{DeviceProfile, Dispatch};
    use crate::ops::conv2d::{Conv2d, Conv2dGradInput, Conv2dGradWeight};
    use crate::tensor::{Padding, Window2d};

    /// What `gemm/tiled` takes for granted, and what WebGPU guarantees of every device.
    #[test]
    fn tiles_are_what_the_kernel_can_do() {
        for t in TILES {
            assert!(t.threads() <= 256 && (t.m + t.n) * TILE_K * 4 <= 16 << 10, "{t:?}: limits");
            let [blocks_a, blocks_b] = [t.m, t.n].map(|len| len / 4 * (TILE_K / 4));
            let threads = t.threads();
            let together = blocks_a.is_multiple_of(threads) && blocks_a <= 2 * threads && blocks_b <= threads;
            assert!(blocks_a + blocks_b <= threads || together, "{t:?}: blocks that an invocation stages");
            assert!(t.blocks_m <= 2 && t.blocks_n <= 2, "{t:?}: named sums");
            let rows = [t.m / 4 / t.blocks_m, t.n / 4 / t.blocks_n];
            assert!(rows.iter().all(|r| r.is_multiple_of(4)), "{t:?}: permuted rows");
        }
        assert!(TILED.text.contains(&format!("const TILE_K: u32 = {TILE_K}u;")));
    }

    fn grad_weight(x: [usize; 4], kernel: usize, groups: usize, profile: &DeviceProfile) -> Vec<Dispatch> {
        let [n, h, w, c] = x;
        let op = Conv2dGradWeight { window: Window2d::new([kernel, kernel]), groups };
        let inputs = [TensorType::f32(x), TensorType::f32([n, h + 1 - kernel, w + 1 - kernel, c])];
        let outputs = op.infer(&inputs).unwrap();
        let mut r = Recorder::new(profile, &inputs, &outputs, &[]);
        op.gpu(&mut r).unwrap();
        r.dispatches
    }

    fn param(d: &Dispatch, name: &str) -> u64 {
        u64::from(d.params.iter().find(|(n, _)| *n == name).map(|(_, word)| word.bits()).unwrap())
    }

    /// The first convolution of a ResNet: columns, or rows, that a square tile would leave mostly empty.
    #[test]
    fn a_stem_of_three_channels_fills_its_tiles() {
        let window = Window2d { stride: [2, 2], padding: Padding::all(3), ..Window2d::new([7, 7]) };
        let [x, w, y] = [[16, 224, 224, 3], [7, 7, 3, 64], [16, 112, 112, 64]];
        let profile = DeviceProfile::baseline();
        let first = |op: &dyn Op, inputs: [[usize; 4]; 2], n_dispatches: usize| {
            let inputs = inputs.map(TensorType::f32);
            let outputs = op.infer(&inputs).unwrap();
            let mut r = Recorder::new(&profile, &inputs, &outputs, &[]);
            op.gpu(&mut r).unwrap();
            assert_eq!(r.dispatches.len(), n_dispatches);
            r.dispatches.swap_remove(0)
        };
        let constants = |d: &Dispatch| {
            ["TILE_M", "TILE_N", "K_ALIGNED", "JOINED"].map(|name| {
                let (_, value) = d.kernel.consts.iter().find(|(n, _)| *n == name).unwrap();
                value.to_string()
            })
        };
        let forward = first(&Conv2d::new(window, 1), [x, w], 1);
        assert_eq!(constants(&forward), ["128u", "64u", "false", "false"]);
        let grad_input = first(&Conv2dGradInput::new(window, 1, x), [y, w], 1);
        assert_eq!(constants(&grad_input), ["128u", "16u", "true", "true"]);
        // Four phases of three channels, and 4 x 4 taps, of which a phase has 9, 12, or 16.
        assert_eq!(["m", "n", "k"].map(|name| param(&grad_input, name)), [16 * 112 * 112, 12, 16 * 64]);
        let grad_weight = first(&Conv2dGradWeight { window, groups: 1 }, [x, y], 2);
        assert_eq!(constants(&grad_weight), ["160u", "64u", "true", "false"]);
    }

    #[test]
    fn groups_times_splits_may_exceed_a_grid_dimension() {
        for main_loop in [MainLoop::Tiled, MainLoop::Plain] {
            let profile = DeviceProfile { main_loop, ..DeviceProfile::baseline() };
            let d = &grad_weight([64, 114, 114, 1024], 3, 512, &profile)[0];
            assert!(param(d, "n_slices") > u64::from(profile.max_workgroups));
            assert!(d.grid.iter().all(|&g| g <= profile.max_workgroups), "{:?}", d.grid);
            let workgroups: u64 = d.grid.iter().map(|&g| u64::from(g)).product();
            assert!(workgroups >= param(d, "n_slices") * param(d, "n_tiles"));
        }
    }

    #[test]
    fn very_many_splits_are_added_up_in_two_steps() {
        let dispatches = grad_weight([512, 512, 512, 1], 1, 1, &DeviceProfile::baseline());
        let [_, first, second] = dispatches.as_slice() else { panic!("{dispatches:?}") };
        for d in [first, second] {
            assert!(param(d, "n_partial").div_ceil(param(d, "n_elements")) <= 256);
        }
        assert_eq!(param(first, "n_elements"), param(second, "n_partial"));
    }
}
