"""Losses of ResNet-20 on CIFAR-10 by PyTorch on the CPU, from weights that a formula gives. See README.md.

Without arguments: 50 steps on the 128 images of examples/data/cifar10, in double precision; writes resnet20.json beside itself. With a
folder that has CIFAR-10's binary files: the first 50 losses and the mean loss of each of 3 epochs on the first 10,000 images, in single
precision, printed; `cargo run --release --example cifar10 -- --data FOLDER --as-pytorch` prints the same of this crate.
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent
SMALL = HERE.parent.parent / "examples" / "data" / "cifar10"
MEAN, DEVIATION = np.float32(120.70757), np.float32(64.15008)
# A small rate where losses are compared one by one: at a larger one what roundings leave doubles every few steps.
RATE, LONG_RATE, MOMENTUM, DECAY = 0.001, 0.05, 0.9, 1e-4


def read(path, n):
    records = np.fromfile(path, np.uint8)[: n * 3073].reshape(-1, 3073)
    pixels = records[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32)
    scale, offset = np.float32(1) / DEVIATION, -MEAN / DEVIATION
    return torch.tensor(pixels * scale + offset), torch.tensor(records[:, 0].astype(np.int64))


def weights(k, shape):
    """Weights of layer k, uniform, by splitmix64 of k * 2^32 + i; shape as this crate has it."""
    n, fan_in = math.prod(shape), math.prod(shape[:-1])
    with np.errstate(over="ignore"):
        z = (np.uint64(k) << np.uint64(32)) + np.arange(n, dtype=np.uint64)
        z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(40)).astype(np.float64) / 2**24
    bound = math.sqrt((6 if len(shape) == 4 else 1) / fan_in)
    w = ((2 * u - 1) * bound).astype(np.float32).reshape(shape)
    return w.transpose(3, 2, 0, 1) if len(shape) == 4 else w.T


class ResNet20(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.convs, self.norms = torch.nn.ModuleList(), torch.nn.ModuleList()
        channels = [(3, 16, 1)]
        for filters, c_in in ((16, 16), (32, 16), (64, 32)):
            for b in range(3):
                stride = 2 if b == 0 and filters > 16 else 1
                channels += [(c_in if b == 0 else filters, filters, stride), (filters, filters, 1)]
        for k, (c_in, c_out, stride) in enumerate(channels):
            conv = torch.nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
            conv.weight.data = torch.tensor(np.ascontiguousarray(weights(k, (3, 3, c_in, c_out))))
            self.convs.append(conv)
            self.norms.append(torch.nn.BatchNorm2d(c_out))
        self.linear = torch.nn.Linear(64, 10)
        self.linear.weight.data = torch.tensor(np.ascontiguousarray(weights(len(channels), (64, 10))))
        self.linear.bias.data.zero_()

    def forward(self, x):
        layer = lambda k, x: self.norms[k](self.convs[k](x))
        x = F.relu(layer(0, x))
        for k in range(1, 19, 2):
            y = layer(k + 1, F.relu(layer(k, x)))
            if y.shape != x.shape:
                quarter = y.shape[1] // 4
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter))
            x = F.relu(y + x)
        return self.linear(x.mean((2, 3)))


def train(images, labels, batch, epochs, dtype, rate, most=None):
    net = ResNet20().to(dtype)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=MOMENTUM, weight_decay=DECAY)
    losses, means = [], []
    for _ in range(epochs):
        total = 0.0
        for at in range(0, len(labels), batch):
            x, t = images[at : at + batch].to(dtype), labels[at : at + batch]
            loss = F.cross_entropy(net(x), t)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            total += loss.item() * len(t)
            if len(losses) == most:
                return losses, means
        means.append(total / len(labels))
        print(f"epoch {len(means)}: loss {means[-1]:.4f}", flush=True)
    return losses, means


def main():
    if len(sys.argv) > 1:
        images, labels = read(pathlib.Path(sys.argv[1]) / "data_batch_1.bin", 10_000)
        losses, means = train(images, labels, 128, 3, torch.float32, LONG_RATE)
        print("first 50 losses:", [round(x, 6) for x in losses[:50]])
        print("mean loss of each epoch:", [round(x, 6) for x in means])
        return
    images, labels = read(SMALL / "data_batch_1.bin", 128)
    double, _ = train(images, labels, 16, 7, torch.float64, RATE, 50)
    single, _ = train(images, labels, 16, 7, torch.float32, RATE, 50)
    apart = [abs(a - b) / b for a, b in zip(single, double)]
    result = {
        "recipe": f"SGD, rate {RATE}, momentum {MOMENTUM}, weight decay {DECAY} on all parameters; batches of 16 in file order; x = (byte - "
        f"{MEAN}) / {DEVIATION}; float64",
        "torch": torch.__version__.split("+")[0],
        "losses": [float(f"{x:.10g}") for x in double],
        "float32_apart": [float(f"{x:.2g}") for x in apart],
    }
    (HERE / "resnet20.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
