//! How long each dispatch of a program takes, and how long the host is busy with a run.

use super::runtime::Runtime;
use crate::error::Result;
use crate::op::Value;
use crate::tensor::Tensor;
use std::ops::Range;
use web_time::Instant;

/// Dispatches timed in one submit: each takes two of the 4,096 timestamps that a query set holds.
const AT_ONCE: usize = 2048;

impl Runtime {
    /// Runs all steps of a program on the inputs of its last run, each dispatch in a pass of its own, and returns the seconds of each
    /// step's dispatches: by the GPU's timestamps where it has them, else by the clock of the host, less what an empty pass takes.
    ///
    /// # Errors
    /// As for [`Runtime::run`].
    pub async fn time_dispatches(&mut self, program: usize) -> Result<Vec<Vec<f64>>> {
        self.due(program);
        self.finish().await?;
        let n = self.program(program).ready.len();
        let mut seconds = Vec::with_capacity(n);
        if self.gpu.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            for first in (0..n).step_by(AT_ONCE) {
                seconds.extend(self.by_timestamps(program, first..n.min(first + AT_ONCE)).await?);
            }
        } else {
            let mut empty = f64::INFINITY;
            for _ in 0..5 {
                empty = empty.min(self.by_clock(program, 0..0).await?);
            }
            for d in 0..n {
                seconds.push((self.by_clock(program, d..d + 1).await? - empty).max(0.0));
            }
        }
        let steps = &self.program(program).steps;
        Ok(steps.iter().map(|dispatches| seconds[dispatches.clone()].to_vec()).collect())
    }

    /// Runs a program once on a GPU that has nothing else to do, and returns the seconds that the host took: to feed and submit it, for which
    /// the GPU waits, and to record the next run, which it does meanwhile.
    ///
    /// # Errors
    /// As for [`Runtime::run`].
    pub async fn time_host(&mut self, program: usize, feeds: &[(Value, &Tensor)]) -> Result<[f64; 2]> {
        self.finish().await?;
        let start = Instant::now();
        self.start(program, feeds)?;
        let submitted = start.elapsed().as_secs_f64();
        self.record_ahead(program);
        let both = start.elapsed().as_secs_f64();
        self.finish().await?;
        Ok([submitted, both - submitted])
    }

    async fn by_timestamps(&mut self, program: usize, dispatches: Range<usize>) -> Result<Vec<f64>> {
        let gpu = self.gpu.clone();
        let count = 2 * dispatches.len() as u32;
        let bytes = 8 * u64::from(count);
        let queries = gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("timestamps"),
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let resolved = gpu.buffer("timestamps", bytes, wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("timed run") });
        for (i, ready) in self.program(program).ready[dispatches].iter().enumerate() {
            let begin = 2 * i as u32;
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some(ready.name),
                timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                    query_set: &queries,
                    beginning_of_pass_write_index: Some(begin),
                    end_of_pass_write_index: Some(begin + 1),
                }),
            });
            ready.record(&mut pass);
        }
        encoder.resolve_query_set(&queries, 0..count, &resolved, 0);
        gpu.submit(encoder.finish());
        let bytes = self.staging.read(&gpu, &resolved, 0, bytes).await?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
        let second = f64::from(gpu.queue.get_timestamp_period()) * 1e-9;
        Ok(ticks.chunks_exact(2).map(|t| t[1].saturating_sub(t[0]) as f64 * second).collect())
    }

    async fn by_clock(&mut self, program: usize, dispatches: Range<usize>) -> Result<f64> {
        let gpu = self.gpu.clone();
        let start = Instant::now();
        let submission = gpu.submit(self.program(program).record(&gpu, dispatches));
        gpu.wait(submission).await?;
        Ok(start.elapsed().as_secs_f64())
    }
}
