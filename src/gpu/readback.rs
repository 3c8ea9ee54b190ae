//! From the GPU to the host: waiting for work, and reading results.

use super::context::Gpu;
use crate::error::Result;
use crate::tensor::{DType, Tensor, TensorType};
use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};
use std::sync::atomic::Ordering;

/// A buffer that the host reads from, kept for the next time.
#[derive(Debug, Default)]
pub(super) struct Staging {
    buffer: Option<wgpu::Buffer>,
}

impl Staging {
    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.buffer.as_ref().map_or(0, wgpu::Buffer::size)
    }

    /// Makes room for `bytes`.
    pub fn reserve(&mut self, gpu: &Gpu, bytes: u64) {
        if self.bytes() < bytes {
            let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
            self.buffer = Some(gpu.buffer("staging", bytes, usage));
        }
    }

    /// `bytes` of `source` from `offset`, both multiples of 4, once the GPU has done all that it was given before.
    pub async fn read(&mut self, gpu: &Gpu, source: &wgpu::Buffer, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        self.reserve(gpu, bytes);
        // Taken away while it is mapped: a caller who drops this future half-way leaves no buffer behind that can't be written to.
        let Some(staging) = self.buffer.take() else { return Ok(Vec::new()) };
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("read") });
        encoder.copy_buffer_to_buffer(source, offset, &staging, 0, bytes);
        let (sender, receiver) = oneshot_channel();
        encoder.map_buffer_on_submit(&staging, wgpu::MapMode::Read, 0..bytes, move |result| {
            // Nobody waits any more if the caller has dropped its future.
            let _ = sender.send(result);
        });
        let submission = gpu.submit(encoder.finish());
        gpu.poll(Some(submission.index))?;
        match receiver.receive().await {
            Some(Ok(())) => {}
            Some(Err(e)) => {
                gpu.check()?;
                return Err(gpu.error(e));
            }
            None => return Err(gpu.error("the result was never delivered")),
        }
        let data = {
            let view = staging.slice(0..bytes).get_mapped_range().map_err(|e| gpu.error(e))?;
            view.to_vec()
        };
        staging.unmap();
        self.buffer = Some(staging);
        gpu.check()?;
        Ok(data)
    }
}

/// Work that the GPU was given.
#[derive(Debug)]
pub(super) struct Submission {
    index: wgpu::SubmissionIndex,
    /// In a browser only its event loop tells that work is done.
    #[cfg(target_arch = "wasm32")]
    done: OneshotReceiver<()>,
}

impl Gpu {
    pub(super) fn submit(&self, commands: wgpu::CommandBuffer) -> Submission {
        self.counters.submits.fetch_add(1, Ordering::Relaxed);
        let index = self.queue.submit([commands]);
        Submission {
            index,
            #[cfg(target_arch = "wasm32")]
            done: self.all_done(),
        }
    }

    /// Waits for a submission. In a browser this gives the page its turn.
    pub(super) async fn wait(&self, submission: Submission) -> Result<()> {
        self.poll(Some(submission.index))?;
        #[cfg(target_arch = "wasm32")]
        submission.done.receive().await;
        self.check()
    }

    /// Waits for all submissions.
    pub(super) async fn wait_all(&self) -> Result<()> {
        let done = self.all_done();
        self.poll(None)?;
        done.receive().await;
        self.check()
    }

    fn all_done(&self) -> OneshotReceiver<()> {
        let (sender, receiver) = oneshot_channel();
        self.queue.on_submitted_work_done(move || {
            // Nobody waits any more if the caller has dropped its future.
            let _ = sender.send(());
        });
        receiver
    }

    /// Blocks until a submission, or all, are done and their callbacks have run. In a browser, where nothing may block, it does nothing:
    /// there callbacks come by themselves, and are awaited.
    fn poll(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let waited = self.device.poll(wgpu::PollType::Wait { submission_index: submission, timeout: None });
        self.check()?;
        waited.map(|_| ()).map_err(|e| self.error(e))
    }
}

/// A tensor from its bytes on the device.
pub(super) fn tensor(ty: &TensorType, bytes: &[u8]) -> Result<Tensor> {
    let n = ty.elements();
    match ty.dtype {
        DType::F32 => Tensor::f32(ty.shape.clone(), bytemuck::pod_collect_to_vec(&bytes[..4 * n])),
        DType::U32 => Tensor::u32(ty.shape.clone(), bytemuck::pod_collect_to_vec(&bytes[..4 * n])),
        DType::U8 => Tensor::u8(ty.shape.clone(), bytes[..n].to_vec()),
    }
}

/// The bytes of a tensor as they lie on the device: padded to 4.
pub(super) fn device_bytes(t: &Tensor) -> std::borrow::Cow<'_, [u8]> {
    use crate::tensor::Data;
    match t.data() {
        Data::F32(v) => bytemuck::cast_slice(v).into(),
        Data::U32(v) => bytemuck::cast_slice(v).into(),
        Data::U8(v) if v.len().is_multiple_of(4) => v.into(),
        Data::U8(v) => {
            let mut padded = v.clone();
            padded.resize(v.len().next_multiple_of(4), 0);
            padded.into()
        }
    }
}
