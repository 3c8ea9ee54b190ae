"""Networks of torchvision by PyTorch in double precision on the CPU: outputs and gradients, in training and in inference.

Writes zoo.json beside itself. Weights and images are not in it: both sides make them by a recipe, from a hash of a tensor's name and
an element's index (`numbers`), as multiples of a power of two that are exact in f32. The gradients are those of the sum of outputs
times numbers of the same kind; of each the largest absolute value, the root of the sum of squares, and a few elements are kept.
Tensors have this crate's names and layouts. Dropout is left out. See README.md.
"""

import json
import pathlib

import numpy as np
import torch
import torchvision
from torch import nn

from ops import to_nchw

HERE = pathlib.Path(__file__).resolve().parent
CLASSES = 10
KEPT = 2
# Batch and size of images: the last maps of those with batch norm have 4 pixels an image.
NETWORKS = {"alexnet": (2, 64), "densenet121": (3, 64), "googlenet": (3, 64), "mobilenet_v2": (3, 64), "resnet18": (3, 64)}


def pcg4d(v):
    """M. Jarzynski, M. Olano, "Hash Functions for GPU Rendering", JCGT 9(3), 2020."""
    v = [x * np.uint32(1664525) + np.uint32(1013904223) for x in v]
    def mix():
        v[0] = v[0] + v[1] * v[3]
        v[1] = v[1] + v[2] * v[0]
        v[2] = v[2] + v[0] * v[1]
        v[3] = v[3] + v[1] * v[2]
    mix()
    v = [x ^ (x >> np.uint32(16)) for x in v]
    mix()
    return v


def numbers(name, shape):
    """Multiples of 2^-11 from -1 to less than 1: the upper 12 bits of a hash of the index and the name's FNV-1a hash."""
    stream = 2166136261
    for byte in name.encode():
        stream = (stream ^ byte) * 16777619 % 2**32
    index = np.arange(int(np.prod(shape)), dtype=np.uint32)
    zero = np.zeros_like(index)
    word = pcg4d([index, zero + np.uint32(stream), zero, zero])[0]
    return (word >> np.uint32(20)).astype(np.float64).reshape(shape) / 2048 - 1


def parameter(name, shape):
    kind = name.split("/")[1]
    u = numbers(name, shape)
    if kind == "weight":
        # He's bound for uniform weights, sqrt(6 / fan in), as a power of two.
        return u * 2.0 ** np.floor(np.log2(6 / np.prod(shape[:-1])) / 2 + 0.5)
    if kind in ("gamma", "running_variance"):
        return 1 + u / 2
    return u / 4


def own(model):
    """By this crate's names: the tensor, the shape of its gradient there, and both ways between the layouts."""
    tensors = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            turn, back = (lambda w: w.permute(2, 3, 1, 0)), (lambda w: w.permute(3, 2, 0, 1))
            tensors[f"{name}/weight"] = (module.weight, turn, back)
        elif isinstance(module, nn.Linear):
            turn, back = (lambda w: w.T), (lambda w: w.T)
            if module.in_features == 256 * 6 * 6:
                # A flattened image: [h, w, c] here, [c, h, w] there.
                turn = lambda w: w.reshape(-1, 256, 36).permute(2, 1, 0).reshape(9216, -1)
                back = lambda w: w.reshape(36, 256, -1).permute(2, 1, 0).reshape(-1, 9216)
            tensors[f"{name}/weight"] = (module.weight, turn, back)
        elif isinstance(module, nn.BatchNorm2d):
            for theirs, ours in [("weight", "gamma"), ("bias", "beta"), ("running_mean", "running_mean"), ("running_var", "running_variance")]:
                tensors[f"{name}/{ours}"] = (getattr(module, theirs), lambda t: t, lambda t: t)
            continue
        else:
            continue
        if module.bias is not None:
            tensors[f"{name}/bias"] = (module.bias, lambda t: t, lambda t: t)
    return tensors


def array(values):
    return [float(f"{v:.12g}") for v in values]


def golden(name, batch, size):
    extra = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    model = getattr(torchvision.models, name)(weights=None, num_classes=CLASSES, **extra).double()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    tensors = own(model)
    assert len(tensors) == sum(1 for key in model.state_dict() if "num_batches" not in key)
    with torch.no_grad():
        for key, (tensor, turn, back) in tensors.items():
            tensor.copy_(back(torch.tensor(parameter(key, tuple(turn(tensor).shape)))))
    x = to_nchw(torch.tensor(2 * numbers("images", (batch, size, size, 3))))
    result = {"name": name, "batch": batch, "size": size}
    for mode in ("inference", "training"):
        model.train(mode == "training")
        model.zero_grad()
        y = model(x)
        (y * torch.tensor(numbers("dy", tuple(y.shape)))).sum().backward()
        result[mode] = {"outputs": array(y.detach().flatten().tolist()), "gradients": {}}
        for key, (tensor, turn, _) in tensors.items():
            if tensor.grad is not None:
                g = turn(tensor.grad).flatten().numpy()
                kept = g[[i * len(g) // KEPT for i in range(KEPT)]]
                result[mode]["gradients"][key] = array([np.abs(g).max(), np.sqrt((g * g).sum()), *kept])
    return result


def main():
    torch.set_num_threads(1)
    with np.errstate(over="ignore"):
        results = [golden(name, batch, size) for name, (batch, size) in NETWORKS.items()]
    # A tensor a line.
    text = json.dumps(results).replace('], "', '],\n"').replace('{"name"', '\n{"name"')
    (HERE / "zoo.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
