"""Ten training losses of a small convolutional network, by PyTorch in double precision on the CPU, for each optimizer.

Reads examples/data/mnist; writes training_weights.f32 and training_losses.json beside itself. See README.md.
"""

import gzip
import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent
MNIST = HERE.parent.parent / "examples" / "data" / "mnist"
STEPS, BATCH, SEED = 10, 32, 42

# Layer by layer, in striate's layouts: convolutions [k_h, k_w, c_in, c_out], dense layers [in, out].
SHAPES = [
    ("conv2d_1", (3, 3, 1, 4)),
    ("conv2d_2", (3, 3, 4, 8)),
    ("dense_1", (5 * 5 * 8, 16)),
    ("dense_2", (16, 10)),
]

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "sgd_momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "sgd_nesterov_weight_decay": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, lr=0.001, betas=(0.9, 0.999), eps=1e-8),
    "adadelta": lambda p: torch.optim.Adadelta(p, lr=1.0, rho=0.9, eps=1e-6),
}

RECIPE = {
    "model": "input [28, 28, 1]; conv2d 4 3x3 valid, relu; max_pool2d 2; conv2d 8 3x3 valid, relu; max_pool2d 2; "
    "flatten [h, w, c]; dense 16, relu; dense 10",
    "loss": "mean over the batch of softmax cross-entropy",
    "data": f"the first {STEPS} batches of {BATCH} MNIST training images, in file order; x = byte / 255",
    "recorded": "each step's loss before its update",
    "weights": "training_weights.f32: little-endian f32, layer by layer, weight then bias; conv [k_h, k_w, c_in, c_out], "
    "dense [in, out]",
    "weight_shapes": {name: list(shape) for name, shape in SHAPES},
    "sgd": "lr 0.1",
    "sgd_momentum": "lr 0.05, momentum 0.9",
    "sgd_nesterov_weight_decay": "lr 0.05, Nesterov momentum 0.9, weight decay 0.01 added to the gradient, of biases too",
    "adam": "lr 0.001, betas 0.9 and 0.999, eps 1e-8 added to the root of the corrected second moment",
    "adadelta": "lr 1.0, rho 0.9, eps 1e-6 inside both roots",
    "precision": "float64 throughout, from the f32 weights",
    "torch": torch.__version__.split("+")[0],
}


def read(name, header):
    return np.frombuffer(gzip.decompress((MNIST / name).read_bytes()), np.uint8, offset=header)


def initial_weights():
    """He-normal weights, and biases that aren't 0, so that a bias that is lost shows."""
    rng = np.random.default_rng(SEED)
    tensors = []
    for _, shape in SHAPES:
        fan_in = int(np.prod(shape[:-1]))
        tensors.append((rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype("<f4"))
        tensors.append(rng.uniform(-0.1, 0.1, shape[-1]).astype("<f4"))
    return tensors


def forward(x, p):
    """x [n, 1, h, w]; p in striate's layouts."""
    for w, b in ((p[0], p[1]), (p[2], p[3])):
        x = F.max_pool2d(F.relu(F.conv2d(x, w.permute(3, 2, 0, 1), b)), 2)
    x = x.permute(0, 2, 3, 1).flatten(1)
    return F.relu(x @ p[4] + p[5]) @ p[6] + p[7]


def train(weights, images, labels, optimizer, dtype=torch.float64):
    p = [torch.tensor(w).to(dtype).requires_grad_() for w in weights]
    optimizer = optimizer(p)
    losses = []
    for step in range(STEPS):
        rows = slice(step * BATCH, (step + 1) * BATCH)
        x = (torch.tensor(images[rows]).to(dtype) / 255).reshape(-1, 1, 28, 28)
        loss = F.cross_entropy(forward(x, p), torch.tensor(labels[rows]).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main():
    torch.set_num_threads(1)
    images = read("train-images-idx3-ubyte.gz", 16).reshape(-1, 28 * 28)
    labels = read("train-labels-idx1-ubyte.gz", 8)
    weights = initial_weights()
    (HERE / "training_weights.f32").write_bytes(b"".join(w.tobytes() for w in weights))
    result = {"recipe": RECIPE}
    for name, optimizer in OPTIMIZERS.items():
        losses = train(weights, images, labels, optimizer)
        # 12 digits are the same on every machine; the last ones depend on the order of sums.
        result[name] = [float(f"{loss:.12g}") for loss in losses]
    (HERE / "training_losses.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
