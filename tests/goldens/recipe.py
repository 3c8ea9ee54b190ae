"""Numbers that both sides make by themselves, so that files needn't hold them, and what files hold of a result.

A number comes from a hash of its tensor's name, a stream and its element's index, as a multiple of a power of two that is exact in f32.
Of a result files hold the largest absolute value, the root of the sum of squares, and some elements at even distances (`record`). The tests'
side is tests/common/golden.rs.
"""

import contextlib
import json
import pathlib

import numpy as np
import torch


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


def numbers(stream, name, shape):
    """Multiples of 2^-11 from -1 to less than 1: the upper 12 bits of a hash of the index, the name's FNV-1a hash and the stream."""
    key = 2166136261
    for byte in name.encode():
        key = (key ^ byte) * 16777619 % 2**32
    index = np.arange(int(np.prod(shape)), dtype=np.uint32)
    zero = np.zeros_like(index)
    word = pcg4d([index, zero + np.uint32(key), zero + np.uint32(stream), zero])[0]
    return (word >> np.uint32(20)).astype(np.float64).reshape(shape) / 2048 - 1


def parameter(stream, name, shape):
    kind = name.split("/")[1]
    u = numbers(stream, name, shape)
    if kind == "weight":
        # He's bound for uniform weights, sqrt(6 / fan in), as a power of two.
        return u * 2.0 ** np.floor(np.log2(6 / np.prod(shape[:-1])) / 2 + 0.5)
    if kind == "gamma":
        # Below 1: or else what ReLU6 is given grows from block to block until most of it is 6, and roundings grow with it.
        return 0.75 + u / 4
    if kind == "running_variance":
        return 1 + u / 2
    return u / 4


def record(tensor, kept):
    """The largest absolute value, the root of the sum of squares, and at most so many elements. 12 digits are the same on every machine."""
    x = tensor.detach().flatten().numpy()
    kept = min(kept, len(x))
    values = [np.abs(x).max(), np.sqrt((x * x).sum()), *x[[i * len(x) // kept for i in range(kept)]]]
    return [float(f"{v:.12g}") for v in values]


@contextlib.contextmanager
def quiet():
    """One thread, whose sums have one order, and hashes that may overflow."""
    torch.set_num_threads(1)
    with np.errstate(over="ignore"):
        yield


def write(file, results):
    """A tensor a line."""
    text = json.dumps(results).replace('], "', '],\n"').replace('{"name"', '\n{"name"')
    (pathlib.Path(__file__).resolve().parent / file).write_text(text + "\n")
