//! The GEMM family: matmul and all convolutions are `C[m, n] = epilogue(sum_k A[m, k] B[k, n])`, one of three main loops around an
//! operand that says how A and B are read. Not an op itself.

use crate::error::Result;
use crate::op::{
    ACTIVATION, Activation, Bound, Buffer, ConstValue, DeviceProfile, GRID, Kernel, MainLoop, Op, Recorder, Source, Word, shader,
};
use crate::tensor::TensorType;

static ACCESS: Source = shader!("gemm/access");
static BLOCK: Source = shader!("gemm/block");
static STORE_VECTOR: Source = shader!("gemm/store_vector");
static STORE_SCALAR: Source = shader!("gemm/store_scalar");
static TILED: Source = shader!("gemm/tiled");
static PLAIN: Source = shader!("gemm/plain");
static SUBGROUP: Source = shader!("gemm/subgroup");
static COMBINE: Source = shader!("gemm/combine");

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
}

/// Columns of A and rows of B in workgroup memory. The largest tile takes the 16 KiB that WebGPU guarantees.
const TILE_K: usize = 16;

/// From small to large.
const TILES: [Tile; 4] = [
    Tile { m: 32, n: 32, blocks_m: 1, blocks_n: 1 },
    Tile { m: 64, n: 32, blocks_m: 1, blocks_n: 1 },
    Tile { m: 64, n: 64, blocks_m: 1, blocks_n: 1 },
    Tile { m: 128, n: 128, blocks_m: 2, blocks_n: 2 },
];

/// Number of tiles of the workgroup-memory main loop, which tests try one by one.
pub const N_TILES: usize = TILES.len();

/// Most of k that one invocation sums: keeps every loop below the 32,768 iterations that some drivers allow.
const LONGEST_CHUNK: usize = 4096;
/// Least of k that is worth a workgroup of its own and a second pass.
const SHORTEST_CHUNK: usize = 256;

/// A product to record.
pub struct Gemm {
    /// The operand file.
    pub operand: &'static Source,
    /// Values of the operand's `const` lines.
    pub consts: Vec<(&'static str, ConstValue)>,
    /// Rows, columns of a group, and summed elements.
    pub size: [usize; 3],
    /// Groups, side by side in the columns of C.
    pub groups: usize,
    /// Whether four elements of A, B, C can be read or written at once.
    pub vector: [bool; 3],
    /// Fields of `Params` behind those that all operands share.
    pub params: Vec<(&'static str, Word)>,
    /// Activation of the epilogue.
    pub activation: Option<Activation>,
}

/// How a product is cut up.
struct Cut {
    tile: Tile,
    k_chunk: usize,
    n_splits: usize,
}

impl Gemm {
    fn cut(&self, profile: &DeviceProfile) -> Cut {
        let [m, n, k] = self.size;
        let n_tiles = |t: Tile| m.div_ceil(t.m) * n.div_ceil(t.n) * self.groups;
        let (tile, wanted) = match profile.main_loop {
            MainLoop::Tiled => {
                // The largest tile that isn't mostly padding and still gives every core of a large GPU two workgroups.
                let fits = |t: &Tile| (n > t.n / 2 || t.n == 32) && (m > t.m / 2 || t.m == 32);
                let filled = |t: &Tile| t.threads() * t.blocks_m < 512 && (t.blocks_m == 1 || n_tiles(*t) >= 256);
                let by_size = TILES.iter().rev().find(|t| fits(t) && filled(t)).copied();
                let tile = profile.tile.and_then(|i| TILES.get(i).copied()).or(by_size).unwrap_or(TILES[0]);
                (tile, 256)
            }
            MainLoop::Subgroup | MainLoop::Plain => {
                let lanes = lanes(profile);
                (Tile { m: 8, n: 4 * lanes, blocks_m: 1, blocks_n: 1 }, 16)
            }
        };
        let least = k.div_ceil(LONGEST_CHUNK);
        // The parts of all splits are one tensor, which is bound whole.
        let bindable = usize::try_from(profile.max_binding_bytes / 4).unwrap_or(usize::MAX) / (m * n * self.groups);
        let most = (k / SHORTEST_CHUNK).min(bindable).max(least);
        let n_splits = usize::div_ceil(wanted, n_tiles(tile)).clamp(least, most);
        let k_chunk = k.div_ceil(n_splits).next_multiple_of(TILE_K);
        Cut { tile, k_chunk, n_splits: k.div_ceil(k_chunk) }
    }

    /// Records the product. `bias` has a value for each column of C.
    pub fn record(self, r: &mut Recorder<'_>, a: Buffer, b: Buffer, bias: Option<Buffer>, c: Buffer) {
        let profile = r.profile();
        let Cut { tile, k_chunk, n_splits } = self.cut(profile);
        let [m, n, k] = self.size;
        let c_stride = n * self.groups;
        let split = n_splits > 1;
        let code = self.activation.map_or(0, |a| a.code);
        let main = match profile.main_loop {
            MainLoop::Tiled => &TILED,
            MainLoop::Subgroup => &SUBGROUP,
            MainLoop::Plain => &PLAIN,
        };
        let store = if self.vector[2] { &STORE_VECTOR } else { &STORE_SCALAR };
        let mut kernel = Kernel::new(main, &[&ACCESS, self.operand, &ACTIVATION, &BLOCK, store, &GRID]);
        for (vector, element, flag) in [(self.vector[0], "AElement", "A_VECTOR"), (self.vector[1], "BElement", "B_VECTOR")] {
            kernel = kernel.set(element, if vector { "vec4<f32>" } else { "f32" }).set(flag, vector);
        }
        kernel = kernel.set("HAS_BIAS", bias.is_some() && !split).set("ACTIVATION", if split { 0 } else { code });
        kernel.consts.extend(self.consts);
        kernel = match profile.main_loop {
            MainLoop::Tiled => kernel
                .set("TILE_M", tile.m)
                .set("TILE_N", tile.n)
                .set("TILE_K", TILE_K)
                .set("BLOCKS_M", tile.blocks_m)
                .set("BLOCKS_N", tile.blocks_n)
                .set("THREADS", tile.threads()),
            MainLoop::Subgroup => kernel.set("LANES", lanes(profile)).with_subgroups(),
            MainLoop::Plain => kernel.set("LANES", lanes(profile)),
        };
        let n_tiles = n.div_ceil(tile.n);
        let mut params: Vec<(&'static str, Word)> = vec![
            ("m", m.into()),
            ("n", n.into()),
            ("k", k.into()),
            ("k_chunk", k_chunk.into()),
            ("n_tiles", n_tiles.into()),
            ("n_splits", n_splits.into()),
            ("c_stride", c_stride.into()),
        ];
        params.extend(self.params);
        let [x, y, _] = r.linear_grid(m.div_ceil(tile.m) * n_tiles);
        let grid = [x, y, (self.groups * n_splits) as u32];
        let target = if split { r.temp(TensorType::f32([n_splits, m, c_stride])) } else { c };
        let bias_or_b = bias.unwrap_or(b);
        r.dispatch(kernel, &[a, b, bias_or_b], &[target], &params, grid);
        if split {
            let kernel = Kernel::new(&COMBINE, &[&ACTIVATION, &GRID]).set("HAS_BIAS", bias.is_some()).set("ACTIVATION", code);
            let elements = m * c_stride;
            let params = [("n_elements", elements.into()), ("n", c_stride.into()), ("n_splits", n_splits.into())];
            let grid = r.linear_grid(elements.div_ceil(64));
            r.dispatch(kernel, &[target, bias.unwrap_or(target)], &[c], &params, grid);
        }
        // A product and its sum may be rounded apart, which adds one; then the splits, and the bias.
        r.declare_depth(k_chunk.min(k) + 1 + n_splits + usize::from(bias.is_some()));
    }
}

fn lanes(profile: &DeviceProfile) -> usize {
    match profile.subgroup_len {
        Some(4) => 4,
        _ => 8,
    }
}

/// Bound of `activation(sum of products)`: the sum's own, magnified by the activation's slope, and the activation's rounding.
/// `linear` is the op without its activation.
pub fn error_bound(b: &Bound<'_>, linear: &dyn Op, activation: Option<Activation>) -> Result<Vec<Vec<f64>>> {
    let mut bounds = b.sum_of_products(linear)?;
    if let Some(f) = activation {
        let views: Vec<_> = b.inputs.iter().map(crate::op::Oracle::view).collect();
        let before = crate::op::run_f64(linear, b.types, &views)?;
        for ((bound, &x), &y) in bounds[0].iter_mut().zip(before[0].real()).zip(b.outputs[0].real()) {
            // The activation's own error is taken at an argument that is off by up to the bound; its slope covers that.
            *bound = *bound * f.lipschitz * (1.0 + 16.0 * crate::op::UNIT) + (f.error)(x, y);
        }
    }
    Ok(bounds)
}
