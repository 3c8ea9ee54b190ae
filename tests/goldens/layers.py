"""Every type of layer by PyTorch in double precision on the CPU: outputs, and gradients by inputs and parameters.

Writes layers.json beside itself. Inputs and parameters are those of `recipe.py`, stream 0; the gradients are those of the sum of outputs
times numbers of the same kind. Tensors have this crate's names and layouts. See README.md.
"""

import math

import torch
import torch.nn.functional as F

from ops import to_nchw, to_nhwc
from recipe import numbers, parameter, quiet, record, write

KEPT = 12
IMAGES = (2, 6, 7, 4)


def golden(name, inputs, parameters, function, mode="inference"):
    """`inputs`: a shape, and what the numbers from -1 to 1 are multiplied by; or with `rows`, whole numbers below that.
    `function` takes them in order, and a dictionary of the parameters by the layer's names."""
    leaves, described = [], []
    for i, (shape, factor, *rows) in enumerate(inputs):
        u = numbers(0, f"x{i}", shape)
        x = torch.tensor(((u + 1) / 2 * rows[0]) // 1 if rows else factor * u)
        leaves.append(x if rows else x.requires_grad_())
        described.append({"factor": factor, **({"rows": rows[0]} if rows else {}), "shape": list(shape)})
    values = {key: torch.tensor(parameter(0, key, shape)).requires_grad_("running" not in key) for key, shape in parameters.items()}
    y = function(*leaves, {key.split("/")[1]: value for key, value in values.items()})
    (y * torch.tensor(numbers(0, "dy", tuple(y.shape)))).sum().backward()
    tensors = {f"x{i}": x for i, x in enumerate(leaves)} | values
    gradients = {key: record(t.grad, KEPT) for key, t in tensors.items() if t.grad is not None}
    return {"name": name, "mode": mode, "inputs": described, "outputs": record(y, 2 * KEPT), "gradients": gradients}


def images(function):
    """A function of images [n, c, h, w] as one of images [n, h, w, c]."""
    return lambda x, p: to_nhwc(function(to_nchw(x), p))


def weight(w):
    return w.permute(3, 2, 0, 1)


def same(x, kernel, stride=(1, 1), dilation=(1, 1)):
    """Padding as TensorFlow's `same`: what is odd goes to the bottom and the right."""
    sides = []
    for length, k, s, d in reversed(list(zip(x.shape[2:], kernel, stride, dilation))):
        total = max((math.ceil(length / s) - 1) * s + (k - 1) * d + 1 - length, 0)
        sides += [total // 2, total - total // 2]
    return F.pad(x, sides)


def convolutions():
    conv = {"conv2d/weight": (3, 2, 2, 6), "conv2d/bias": (6,)}
    yield golden("conv2d", [((2, 9, 8, 4), 2)], conv, images(
        lambda x, p: F.conv2d(F.pad(x, (2, 1, 1, 0)), weight(p["weight"]), p["bias"], (2, 1), 0, (1, 3), 2)))
    conv = {"conv2d/weight": (4, 3, 4, 5)}
    yield golden("conv2d_same", [(IMAGES, 2)], conv, images(
        lambda x, p: F.conv2d(same(x, (4, 3), (2, 3)), weight(p["weight"]), None, (2, 3))))
    conv = {"conv1d/weight": (1, 3, 2, 6), "conv1d/bias": (6,)}
    yield golden("conv1d", [((2, 11, 4), 2)], conv, lambda x, p: F.conv1d(
        F.pad(x.transpose(1, 2), (3, 1)), weight(p["weight"])[:, :, 0], p["bias"], 2, 0, 2, 2).transpose(1, 2))
    conv = {"conv1d/weight": (1, 4, 3, 5), "conv1d/bias": (5,)}
    yield golden("conv1d_same", [((2, 9, 3), 2)], conv, lambda x, p: F.conv1d(
        x.transpose(1, 2), weight(p["weight"])[:, :, 0], p["bias"], padding="same").transpose(1, 2))
    conv = {"depthwise_conv2d/weight": (3, 3, 1, 8), "depthwise_conv2d/bias": (8,)}
    yield golden("depthwise_conv2d", [(IMAGES, 2)], conv, images(
        lambda x, p: F.conv2d(same(x, (3, 3), (2, 2)), weight(p["weight"]), p["bias"], (2, 2), groups=4)))
    conv = {"depthwise_weight": (3, 3, 1, 8), "pointwise_weight": (1, 1, 8, 5), "bias": (5,)}
    yield golden("separable_conv2d", [(IMAGES, 2)], {f"separable_conv2d/{key}": shape for key, shape in conv.items()}, images(
        lambda x, p: F.conv2d(F.conv2d(same(x, (3, 3), dilation=(2, 2)), weight(p["depthwise_weight"]), None, 1, 0, (2, 2), 4),
                              weight(p["pointwise_weight"]), p["bias"])))
    conv = {"conv_transpose2d/weight": (3, 2, 3, 4), "conv_transpose2d/bias": (6,)}
    yield golden("conv_transpose2d", [((2, 4, 3, 4), 2)], conv, images(
        lambda x, p: F.conv_transpose2d(x, weight(p["weight"]), p["bias"], (2, 3), (1, 0), (1, 2), 2, (1, 2))))
    conv = {"conv_transpose2d/weight": (2, 2, 3, 4), "conv_transpose2d/bias": (3,)}
    # Without padding the output is as in Keras: a stride larger than the window leaves rows and columns of biases at the end.
    yield golden("conv_transpose2d_valid", [((1, 3, 4, 4), 2)], conv, images(
        lambda x, p: F.conv_transpose2d(x, weight(p["weight"]), p["bias"], 3, 0, 1)))
    dense = {"dense/weight": (7, 5), "dense/bias": (5,)}
    yield golden("dense", [((4, 7), 2)], dense, lambda x, p: x @ p["weight"] + p["bias"])
    yield golden("embedding", [((3, 5), 1, 7)], {"embedding/weight": (7, 6)}, lambda x, p: F.embedding(x.long(), p["weight"]))


def norms():
    def channels(layer, *names):
        return {f"{layer}/{name}": (IMAGES[-1],) for name in ("gamma", "beta", *names)}

    batch_norm = channels("batch_norm", "running_mean", "running_variance")
    for suffix, epsilon in (("", 1e-3), ("_pytorch", 1e-5)):
        yield golden(f"batch_norm{suffix}", [(IMAGES, 4)], batch_norm, images(
            lambda x, p: F.batch_norm(x, p["running_mean"], p["running_variance"], p["gamma"], p["beta"], eps=epsilon)))
        yield golden(f"batch_norm{suffix}", [(IMAGES, 4)], channels("batch_norm"), images(
            lambda x, p: F.batch_norm(x, None, None, p["gamma"], p["beta"], training=True, eps=epsilon)), mode="training")
    yield golden("layer_norm", [(IMAGES, 4)], channels("layer_norm"), lambda x, p: F.layer_norm(x, (4,), p["gamma"], p["beta"], 1e-3))
    whole = {"layer_norm/gamma": IMAGES[1:], "layer_norm/beta": IMAGES[1:]}
    yield golden("layer_norm_axes", [(IMAGES, 4)], whole, lambda x, p: F.layer_norm(x, IMAGES[1:], p["gamma"], p["beta"], 1e-5))
    yield golden("group_norm", [(IMAGES, 4)], channels("group_norm"), images(lambda x, p: F.group_norm(x, 2, p["gamma"], p["beta"], 1e-3)))
    yield golden("instance_norm", [(IMAGES, 4)], channels("instance_norm"), images(
        lambda x, p: F.instance_norm(x, weight=p["gamma"], bias=p["beta"])))
    yield golden("lrn", [((2, 3, 4, 9), 8)], {}, images(lambda x, p: F.local_response_norm(x, 5, 0.5, 0.75, 2.0)))


def pools():
    layers = {
        "max_pool2d": lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
        "avg_pool2d": lambda x: F.avg_pool2d(x, (3, 2), (2, 1), (1, 1), count_include_pad=False),
        "avg_pool2d_count_include_pad": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
        # Of an even power, since PyTorch doesn't take magnitudes.
        "lp_pool2d": lambda x: F.lp_pool2d(x, 4.0, 2),
        "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, (4, 5)),
        "adaptive_avg_pool2d_divides": lambda x: F.adaptive_avg_pool2d(x, (3, 1)),
    }
    for name, function in layers.items():
        yield golden(name, [(IMAGES, 4)], {}, images(lambda x, p: function(x)))
    yield golden("global_avg_pool2d", [(IMAGES, 4)], {}, lambda x, p: x.mean((1, 2)))
    yield golden("global_max_pool2d", [(IMAGES, 4)], {}, lambda x, p: x.amax((1, 2)))


def activations():
    layers = {
        "relu": F.relu,
        "relu6": F.relu6,
        "leaky_relu": lambda x: F.leaky_relu(x, 0.25),
        "elu": lambda x: F.elu(x, 0.75),
        "selu": F.selu,
        "gelu": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "silu": F.silu,
        "mish": F.mish,
        "hard_swish": F.hardswish,
        # Not F.hardsigmoid, whose gradient has a sixth in single precision.
        "hard_sigmoid": lambda x: F.relu6(x + 3) / 6,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "softplus": lambda x: F.softplus(x, threshold=1000),
        "softsign": F.softsign,
        "softmax": lambda x: F.softmax(x, -1),
        "clip": lambda x: x.clamp(-1.5, 2.25),
    }
    for name, function in layers.items():
        yield golden(name, [((3, 5, 4), 8)], {}, lambda x, p: function(x))
    for name, n in (("prelu", 4), ("prelu_shared", 1)):
        yield golden(name, [((3, 5, 4), 8)], {"prelu/slope": (n,)}, lambda x, p: torch.where(x > 0, x, p["slope"] * x))


def moves():
    layers = {
        "resize2d": lambda x: F.interpolate(x, (9, 5), mode="bilinear"),
        "resize2d_align": lambda x: F.interpolate(x, (9, 5), mode="bilinear", align_corners=True),
        "resize2d_nearest": lambda x: F.interpolate(x, (9, 5), mode="nearest-exact"),
        "resize2d_nearest_asymmetric": lambda x: F.interpolate(x, (9, 5), mode="nearest"),
        "upsample2d": lambda x: F.interpolate(x, scale_factor=(2, 3)),
        "upsample2d_bilinear": lambda x: F.interpolate(x, scale_factor=(2, 3), mode="bilinear"),
        "upsample2d_align": lambda x: F.interpolate(x, scale_factor=(2, 3), mode="bilinear", align_corners=True),
        "pad": lambda x: F.pad(x, (2, 1, 0, 3), value=-0.75),
        "pad_edge": lambda x: F.pad(x, (2, 1, 0, 3), mode="replicate"),
        "pad_reflect": lambda x: F.pad(x, (2, 1, 0, 3), mode="reflect"),
        "crop2d": lambda x: x[:, :, 1:4, 3:7],
        "channel_shuffle": lambda x: F.channel_shuffle(x, 2),
        "dropout": lambda x: F.dropout(x, 0.5, training=False),
        "spatial_dropout": lambda x: F.dropout2d(x, 0.5, training=False),
    }
    for name, function in layers.items():
        yield golden(name, [(IMAGES, 2)], {}, images(lambda x, p: function(x)))
    layers = {
        "reshape": lambda x: x.reshape(2, 3, -1),
        "permute": lambda x: x.permute(0, 3, 1, 2),
        "slice": lambda x: x[:, 1:6:2, :, 1:3],
        "flatten": lambda x: x.flatten(1),
        "reduce": lambda x: torch.linalg.vector_norm(x, dim=(1, 3), keepdim=True),
        "reduce_mean": lambda x: x.mean((2, 3)),
    }
    for name, function in layers.items():
        yield golden(name, [(IMAGES, 2)], {}, lambda x, p: function(x))


def merges():
    layers = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "max": torch.maximum, "min": torch.minimum}
    for name, function in layers.items():
        yield golden(name, [(IMAGES, 2), (IMAGES, 2)], {}, lambda x, y, p: function(x, y))
    # A number a channel: [n, c] beside [n, h, w, c].
    yield golden("mul_broadcast", [(IMAGES, 2), ((2, 4), 2)], {}, lambda x, y, p: x * y[:, None, None])
    yield golden("concat", [(IMAGES, 2), ((2, 6, 7, 3), 2), ((2, 6, 7, 1), 2)], {}, lambda x, y, z, p: torch.cat((x, y, z), -1))
    yield golden("concat_axis", [(IMAGES, 2), ((2, 3, 7, 4), 2)], {}, lambda x, y, p: torch.cat((x, y), 1))


def main():
    with quiet():
        write("layers.json", [g for group in (convolutions, norms, pools, activations, moves, merges) for g in group()])


if __name__ == "__main__":
    main()
