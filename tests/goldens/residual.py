"""A small residual network with batch norm, by PyTorch in double precision on the CPU: one step of training, and inference after it.

Writes residual.json beside itself: images and labels, the parameters by this crate's names and in its layouts, the outputs and the
loss in training, the gradients of the loss, what SGD and the running statistics make of the parameters, and the outputs in
inference after that. Activations are [n, h, w, c], convolution weights [k_h, k_w, c_in, c_out], dense weights [in, out].
See README.md.
"""

import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ops import array, dump, to_nchw

HERE = pathlib.Path(__file__).resolve().parent
RATE = 0.125


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        conv = lambda c_in, c_out, kernel, stride: nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
        # In the order in which this crate lists them.
        self.convs = nn.ModuleList([conv(3, 8, 3, 1), conv(8, 12, 3, 2), conv(12, 12, 3, 1), conv(8, 12, 1, 2)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(conv.out_channels) for conv in self.convs])
        self.dense = nn.Linear(12, 5)

    def forward(self, x):
        layer = lambda i, x: self.norms[i](self.convs[i](x))
        x = F.relu(layer(0, x))
        y = layer(2, F.relu(layer(1, x)))
        return self.dense(F.relu(y + layer(3, x)).mean((2, 3)))

    def named(self, of):
        """`of(tensor)` of all parameters and running statistics, in this crate's layouts."""
        suffix = lambda kind, i: kind if i == 0 else f"{kind}_{i}"
        all = {}
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            all[f"{suffix('conv2d', i)}/weight"] = of(conv.weight, lambda w: w.permute(2, 3, 1, 0))
            for name, tensor in [("gamma", norm.weight), ("beta", norm.bias), ("running_mean", norm.running_mean), ("running_variance", norm.running_var)]:
                all[f"{suffix('batch_norm', i)}/{name}"] = of(tensor, lambda t: t)
        all["dense/weight"] = of(self.dense.weight, lambda w: w.T)
        all["dense/bias"] = of(self.dense.bias, lambda t: t)
        return {name: array(tensor) for name, tensor in all.items() if tensor is not None}


def main():
    torch.set_num_threads(1)
    rng = np.random.default_rng(7)
    # Multiples of 1/64 are exact in f32, and have few digits.
    normal = lambda shape, scale: torch.tensor(np.round(rng.normal(0, scale, shape) * 64) / 64, dtype=torch.float64)
    net = Residual().double()
    with torch.no_grad():
        for name, p in net.named_parameters():
            if p.dim() > 1:
                p.copy_(normal(p.shape, 1 / np.sqrt(np.prod(p.shape[1:]))))
            else:
                p.copy_(normal(p.shape, 0.25) + (1 if name.startswith("norms") and name.endswith("weight") else 0))
        for norm in net.norms:
            norm.running_mean.copy_(normal(norm.running_mean.shape, 0.25))
            norm.running_var.copy_(normal(norm.running_var.shape, 0.25).abs() + 0.5)
    x = normal((6, 8, 7, 3), 1)
    labels = torch.tensor(rng.integers(0, 5, 6))
    result = {"rate": RATE, "x": array(x), "labels": labels.tolist(), "parameters": net.named(lambda t, f: f(t))}
    outputs = net(to_nchw(x))
    loss = F.cross_entropy(outputs, labels)
    loss.backward()
    result["outputs"] = array(outputs)
    result["loss"] = loss.item()
    result["gradients"] = net.named(lambda t, f: None if t.grad is None else f(t.grad))
    with torch.no_grad():
        for p in net.parameters():
            p -= RATE * p.grad
        result["after"] = net.named(lambda t, f: f(t))
        net.eval()
        result["inference"] = array(net(to_nchw(x)))
    (HERE / "residual.json").write_text(dump(result) + "\n")


if __name__ == "__main__":
    main()
