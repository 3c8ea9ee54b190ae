//! Counter-based random numbers: a pure function of seed, stream and counter, so that any element of any draw can be made in any
//! order, with the same bits here and in `shaders/shared/random.wgsl`.
//!
//! The generator is PCG4D (M. Jarzynski, M. Olano, "Hash Functions for GPU Rendering", JCGT 9(3), 2020), integer arithmetic only.

/// Seed of everything random in a model: initial parameters, dropout, the order of the training set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Seed(pub u64);

impl Default for Seed {
    fn default() -> Self {
        Seed(42)
    }
}

/// Four random words for a counter of four words. Inlined, so that loops over counters are compiled to vectors.
#[inline(always)]
pub fn pcg4d(counter: [u32; 4]) -> [u32; 4] {
    let mut v = counter.map(|x| x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let mix = |v: &mut [u32; 4]| {
        v[0] = v[0].wrapping_add(v[1].wrapping_mul(v[3]));
        v[1] = v[1].wrapping_add(v[2].wrapping_mul(v[0]));
        v[2] = v[2].wrapping_add(v[0].wrapping_mul(v[1]));
        v[3] = v[3].wrapping_add(v[1].wrapping_mul(v[2]));
    };
    mix(&mut v);
    v = v.map(|x| x ^ (x >> 16));
    mix(&mut v);
    v
}

/// A sequence of random numbers: stream `stream` of seed `seed`.
#[derive(Clone, Debug)]
pub struct Stream {
    seed: u64,
    stream: u32,
    block: u32,
    words: [u32; 4],
    used: usize,
}

impl Stream {
    /// The sequence number `stream` of `seed`, from its start.
    pub fn new(seed: Seed, stream: u32) -> Self {
        Stream { seed: seed.0, stream, block: 0, words: [0; 4], used: 4 }
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.words = pcg4d([self.block, self.stream, self.seed as u32, (self.seed >> 32) as u32]);
            self.block = self.block.wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        let (hi, lo) = (u64::from(self.next_u32()), u64::from(self.next_u32()));
        ((hi << 21) ^ (lo >> 11)) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal (Box-Muller).
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Uniform in `0..n` (`n` at least 1). The bias of a 64-bit product is below 2^-32.
    pub fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.next_u32()) * u64::from(n)) >> 32) as u32
    }

    /// A random permutation of `0..n` (Fisher-Yates).
    pub fn permutation(&mut self, n: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i as usize, self.below(i + 1) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_permutation() {
        let mut s = Stream::new(Seed(1), 0);
        let n = 200_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..n {
            let x = s.normal();
            sum += x;
            squares += x * x;
        }
        // Standard errors: 1/sqrt(n) = 0.0022 for the mean, sqrt(2/n) = 0.0032 for the variance.
        assert!((sum / f64::from(n)).abs() < 0.01);
        assert!((squares / f64::from(n) - 1.0).abs() < 0.015);
        let mut p = s.permutation(1000);
        assert_ne!(p[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        p.sort_unstable();
        assert!(p.iter().enumerate().all(|(i, &x)| i as u32 == x));
    }

    #[test]
    fn streams_and_seeds_differ() {
        let first = |seed, stream| Stream::new(Seed(seed), stream).next_u32();
        assert_ne!(first(1, 0), first(1, 1));
        assert_ne!(first(1, 0), first(2, 0));
        assert_ne!(first(1, 0), first(1 + (1 << 32), 0));
    }
}
