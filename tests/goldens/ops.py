"""Outputs and gradients of single ops, by PyTorch in double precision on the CPU.

Writes ops.json beside itself: an array of cases, each with the op's parameters, its inputs, its outputs, the gradient `dy` of the
first output and the gradients of the inputs. Activations are [n, h, w, c], convolution weights [k_h, k_w, c_in / groups, c_out].
See README.md.
"""

import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent


def quarters(rng, *shape, low=-8, high=8):
    """Multiples of 1/4: exact in f32, and few digits in the file."""
    return torch.tensor(rng.integers(low, high + 1, shape) / 4, dtype=torch.float64)


def distinct(rng, *shape):
    """No two equal values, half of them negative: the maximum of any window is unique, and 0 isn't it by default."""
    n = int(np.prod(shape))
    return torch.tensor((rng.permutation(n).reshape(shape) - n // 2) / 4, dtype=torch.float64)


def array(t):
    # 13 digits are the same on every machine; the last ones depend on the order of sums.
    return {"shape": list(t.shape), "data": [float(f"{v:.13g}") for v in t.detach().flatten().tolist()]}


def case(op, name, params, inputs, function, dy=None, seed=0, outputs=("y",), without_gradient=()):
    """Runs `function(**inputs)`, which gives one tensor an output, and differentiates sum(outputs[0] * dy)."""
    leaves = {k: v.clone() for k, v in inputs.items()}
    for key, leaf in leaves.items():
        if key not in without_gradient:
            leaf.requires_grad_()
    results = function(**leaves)
    results = results if isinstance(results, tuple) else (results,)
    if dy is None:
        dy = quarters(np.random.default_rng(seed + 1000), *results[0].shape)
    results[0].backward(dy)
    return {
        "op": op,
        "name": name,
        "params": params,
        "inputs": {k: array(v) for k, v in inputs.items()},
        "outputs": {k: array(v) for k, v in zip(outputs, results)},
        "dy": array(dy),
        "gradients": {k: array(v.grad) for k, v in leaves.items() if v.grad is not None},
    }


def to_nchw(x):
    return x.permute(0, 3, 1, 2)


def to_nhwc(x):
    return x.permute(0, 2, 3, 1)


def conv2d(name, seed, x, w, stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1):
    """x and w are shapes; padding is (top, bottom, left, right)."""
    rng = np.random.default_rng(seed)
    top, bottom, left, right = padding

    def run(x, w, b):
        padded = F.pad(to_nchw(x), (left, right, top, bottom))
        return to_nhwc(F.conv2d(padded, w.permute(3, 2, 0, 1), b, stride, 0, dilation, groups)).contiguous()

    params = {
        "kernel": list(w[:2]),
        "stride": list(stride),
        "padding": {"top": top, "bottom": bottom, "left": left, "right": right},
        "dilation": list(dilation),
        "groups": groups,
    }
    inputs = {"x": quarters(rng, *x), "w": quarters(rng, *w), "b": quarters(rng, w[3])}
    return case("conv2d", name, params, inputs, run, seed=seed)


def conv_transpose2d(name, seed, x, w, stride=(1, 1), padding=(0, 0), output_padding=(0, 0), dilation=(1, 1), groups=1):
    """x and w are shapes; w is [k_h, k_w, c_out / groups, c_in]. The op is the gradient of a convolution by its input, of shape `size`."""
    rng = np.random.default_rng(seed)

    def run(x, w, b):
        y = F.conv_transpose2d(to_nchw(x), w.permute(3, 2, 0, 1), b, stride, padding, output_padding, groups, dilation)
        return to_nhwc(y).contiguous()

    params = {
        "kernel": list(w[:2]),
        "stride": list(stride),
        "padding": {"top": padding[0], "bottom": padding[0], "left": padding[1], "right": padding[1]},
        "dilation": list(dilation),
        "groups": groups,
    }
    inputs = {"x": quarters(rng, *x), "w": quarters(rng, *w), "b": quarters(rng, w[2] * groups)}
    return case("conv2d_grad_input", name, params, inputs, run, seed=seed)


def resample2d(name, seed, x, size, sampling, before=(0, 0)):
    """sampling: a mode of F.interpolate, `bilinear-align`, `adaptive`, or a mode of F.pad with `before` rows and columns."""
    rng = np.random.default_rng(seed)

    def run(x):
        x = to_nchw(x)
        if sampling == "adaptive":
            y = F.adaptive_avg_pool2d(x, size)
        elif sampling in ("replicate", "reflect"):
            after = [size[i] - before[i] - x.shape[2 + i] for i in range(2)]
            y = F.pad(x, (before[1], after[1], before[0], after[0]), mode=sampling)
        elif sampling == "bilinear-align":
            y = F.interpolate(x, size, mode="bilinear", align_corners=True)
        else:
            y = F.interpolate(x, size, mode=sampling)
        return to_nhwc(y).contiguous()

    params = {"size": list(size), "sampling": sampling, "before": list(before)}
    return case("resample2d", name, params, {"x": quarters(rng, *x)}, run, seed=seed)


def lp_pool2d(name, seed, x, p, kernel, stride):
    rng = np.random.default_rng(seed)

    def run(x):
        return to_nhwc(F.lp_pool2d(to_nchw(x), p, kernel, stride)).contiguous()

    params = {"kernel": [kernel] * 2, "stride": [stride] * 2, "padding": {k: 0 for k in ("top", "bottom", "left", "right")}, "p": p}
    # Of negative numbers PyTorch takes other powers.
    return case("lp_pool2d", name, params, {"x": quarters(rng, *x, low=1, high=16)}, run, seed=seed)


def embedding(name, seed, rows, width, n):
    rng = np.random.default_rng(seed)
    indices = torch.tensor(rng.integers(0, rows, n))
    inputs = {"x": quarters(rng, rows, width), "indices": indices}
    return case("gather_rows", name, {}, inputs, lambda x, indices: F.embedding(indices, x), seed=seed, without_gradient=("indices",))


def transpose(name, seed, x, permutation):
    inputs = {"x": quarters(np.random.default_rng(seed), *x)}
    return case("transpose", name, {"permutation": list(permutation)}, inputs, lambda x: x.permute(permutation).contiguous(), seed=seed)


def pad(name, seed, x, before, after, value):
    """Constant padding of all axes."""

    def run(x):
        sides = [side for axis in reversed(range(x.dim())) for side in (before[axis], after[axis])]
        return F.pad(x, sides, value=value)

    params = {"before": list(before), "after": list(after), "value": value}
    return case("pad", name, params, {"x": quarters(np.random.default_rng(seed), *x)}, run, seed=seed)


def strided_slice(name, seed, x, start, stop, step):
    def run(x):
        return x[tuple(slice(*s) for s in zip(start, stop, step))]

    params = {"start": list(start), "len": [len(range(*s)) for s in zip(start, stop, step)], "step": list(step)}
    return case("slice", name, params, {"x": quarters(np.random.default_rng(seed), *x)}, run, seed=seed)


def pool2d(op, name, seed, x, kernel, stride, padding=0, ceil=False, ties=False, count_include_pad=False):
    rng = np.random.default_rng(seed)

    def run(x):
        x = to_nchw(x)
        if op == "max_pool2d":
            y = F.max_pool2d(x, kernel, stride, padding, ceil_mode=ceil)
        else:
            y = F.avg_pool2d(x, kernel, stride, padding, ceil_mode=ceil, count_include_pad=count_include_pad)
        return to_nhwc(y).contiguous()

    params = {"kernel": [kernel] * 2, "stride": [stride] * 2, "padding": {k: padding for k in ("top", "bottom", "left", "right")}, "ceil": ceil}
    if count_include_pad:
        params["count_include_pad"] = True
    inputs = {"x": quarters(rng, *x, low=-1, high=1) if ties else distinct(rng, *x)}
    return case(op, name, params, inputs, run, seed=seed)


def batch_norm(name, seed, x, epsilon, offset=0):
    """Outputs: y, the batch's mean, and its variance, biased and unbiased."""
    rng = np.random.default_rng(seed)
    c = x[-1]

    def run(x, gamma, beta):
        rows = x.reshape(-1, c)
        y = F.batch_norm(rows, None, None, gamma, beta, training=True, eps=epsilon).reshape(x.shape)
        return y, rows.mean(0), rows.var(0, unbiased=False), rows.var(0)

    inputs = {"x": quarters(rng, *x) + offset, "gamma": quarters(rng, c, low=1), "beta": quarters(rng, c)}
    outputs = ("y", "mean", "variance", "running_variance")
    return case("batch_norm", name, {"epsilon": epsilon}, inputs, run, seed=seed, outputs=outputs)


def unary(name, seed, function, low=-24, high=24):
    """Numbers a quarter apart, also where a function has an edge."""
    rng = np.random.default_rng(seed)
    return case("unary", name, {}, {"x": quarters(rng, 5, 7, low=low, high=high)}, lambda x: function(x), seed=seed)


def binary(name, seed, a, b, function, low=-8):
    rng = np.random.default_rng(seed)
    inputs = {"x": quarters(rng, *a, low=low), "b": quarters(rng, *b, low=low)}
    return case("binary", name, {}, inputs, lambda x, b: function(x, b), seed=seed)


def reduce(name, seed, x, axes, function):
    rng = np.random.default_rng(seed)
    return case("reduce", name, {"axes": list(axes)}, {"x": quarters(rng, *x)}, lambda x: function(x, tuple(axes)), seed=seed)


def group_norm(name, seed, x, epsilon, groups):
    """`groups` of 0: a layer norm over the last axis."""
    rng = np.random.default_rng(seed)
    c = x[-1]

    def run(x, gamma, beta):
        if groups == 0:
            return F.layer_norm(x, (c,), gamma, beta, epsilon)
        return to_nhwc(F.group_norm(to_nchw(x), groups, gamma, beta, epsilon)).contiguous()

    inputs = {"x": quarters(rng, *x), "gamma": quarters(rng, c, low=1), "beta": quarters(rng, c)}
    return case("group_norm", name, {"epsilon": epsilon, "groups": groups}, inputs, run, seed=seed)


def local_response_norm(name, seed, x, size, alpha, beta, k):
    rng = np.random.default_rng(seed)

    def run(x):
        return to_nhwc(F.local_response_norm(to_nchw(x), size, alpha, beta, k)).contiguous()

    params = {"size": size, "alpha": alpha, "beta": beta, "k": k}
    return case("local_response_norm", name, params, {"x": quarters(rng, *x)}, run, seed=seed)


def softmax_cross_entropy(name, seed, n, classes, smoothing=0.0, soft=False, factor=1):
    """Outputs: the mean over the batch, which the gradient is of, and each sample's loss."""
    rng = np.random.default_rng(seed)
    x = quarters(rng, n, classes) * factor
    if soft:
        # Sixteenths that sum to 1: a class picked sixteen times.
        counts = np.stack([np.bincount(rng.integers(0, classes, 16), minlength=classes) for _ in range(n)])
        labels = torch.tensor(counts / 16, dtype=torch.float64)
    else:
        labels = torch.tensor(rng.integers(0, classes, n))

    def run(x, labels):
        losses = F.cross_entropy(x, labels, reduction="none", label_smoothing=smoothing)
        return losses.mean(), losses

    params = {"label_smoothing": smoothing, "labels": "probabilities" if soft else "classes", "reduction": "mean"}
    return case(
        "softmax_cross_entropy",
        name,
        params,
        {"x": x, "labels": labels},
        run,
        dy=torch.tensor(1.0, dtype=torch.float64),
        outputs=("loss", "losses"),
        without_gradient=("labels",),
    )


def cases():
    yield conv2d("stride_2", 1, (2, 7, 6, 3), (3, 3, 3, 4), stride=(2, 2))
    yield conv2d("asymmetric_padding", 2, (1, 5, 4, 2), (3, 3, 2, 3), padding=(1, 2, 0, 1))
    yield conv2d("same_padding_stride_2", 3, (1, 6, 8, 1), (3, 3, 1, 5), stride=(2, 2), padding=(0, 1, 0, 1))
    yield conv2d("dilation_2", 4, (1, 8, 7, 2), (3, 3, 2, 3), dilation=(2, 2))
    yield conv2d("groups_2", 5, (2, 5, 5, 4), (3, 3, 2, 6), groups=2)
    yield conv2d("depthwise", 6, (1, 5, 6, 3), (3, 3, 1, 3), padding=(1, 1, 1, 1), groups=3)
    yield conv2d("all_at_once", 7, (2, 9, 8, 4), (3, 2, 2, 6), (2, 1), (1, 0, 2, 1), (1, 3), 2)
    yield pool2d("max_pool2d", "overlapping_padded", 11, (2, 7, 8, 3), 3, 2, 1)
    yield pool2d("max_pool2d", "ceil", 12, (1, 7, 7, 2), 2, 2, ceil=True)
    yield pool2d("max_pool2d", "overlapping_ceil_padded", 13, (1, 8, 6, 2), 3, 2, 1, ceil=True)
    # Of equal values the first in the window, row by row, gets the gradient.
    yield pool2d("max_pool2d", "ties", 14, (1, 6, 6, 2), 3, 2, 1, ties=True)
    yield pool2d("avg_pool2d", "padding_not_counted", 21, (2, 7, 8, 3), 3, 2, 1)
    yield pool2d("avg_pool2d", "ceil", 22, (1, 7, 7, 2), 2, 2, ceil=True)
    yield pool2d("avg_pool2d", "overlapping_ceil_padded", 23, (1, 8, 6, 2), 3, 2, 1, ceil=True)
    yield pool2d("avg_pool2d", "padding_counted", 24, (1, 7, 8, 2), 3, 2, 1, count_include_pad=True)
    # What ceil mode adds beyond the padding never counts.
    yield pool2d("avg_pool2d", "padding_counted_ceil", 28, (1, 8, 6, 2), 3, 2, 1, ceil=True, count_include_pad=True)
    yield conv_transpose2d("transposed", 41, (2, 4, 5, 3), (3, 3, 4, 3))
    yield conv_transpose2d("transposed_times_2", 42, (1, 4, 3, 4), (2, 2, 3, 4), stride=(2, 2))
    yield conv_transpose2d("transposed_output_padding", 43, (1, 4, 3, 2), (3, 3, 3, 2), (2, 3), (1, 1), (1, 2))
    yield conv_transpose2d("transposed_dilated_groups", 44, (1, 5, 4, 4), (3, 2, 3, 4), (2, 1), (1, 0), (0, 0), (2, 3), 2)
    yield resample2d("nearest_odd", 51, (1, 4, 5, 2), (7, 8), "nearest")
    yield resample2d("nearest_down", 52, (1, 7, 8, 2), (4, 3), "nearest")
    yield resample2d("nearest_exact_odd", 53, (1, 4, 5, 2), (7, 8), "nearest-exact")
    yield resample2d("bilinear_times_2", 54, (2, 3, 4, 2), (6, 8), "bilinear")
    yield resample2d("bilinear_odd", 55, (1, 5, 4, 3), (8, 7), "bilinear")
    yield resample2d("bilinear_down", 56, (1, 9, 7, 2), (4, 5), "bilinear")
    yield resample2d("bilinear_align", 57, (1, 4, 5, 2), (7, 3), "bilinear-align")
    yield resample2d("bilinear_align_to_one", 58, (1, 4, 5, 2), (1, 7), "bilinear-align")
    yield resample2d("adaptive_7_to_3", 59, (1, 7, 8, 2), (3, 5), "adaptive")
    yield resample2d("adaptive_up", 60, (1, 4, 3, 2), (6, 7), "adaptive")
    yield resample2d("replicate", 61, (1, 3, 4, 2), (8, 7), "replicate", (4, 1))
    yield resample2d("reflect", 62, (1, 4, 5, 2), (9, 9), "reflect", (3, 0))
    yield lp_pool2d("l1", 63, (1, 4, 6, 2), 1, 2, 2)
    yield lp_pool2d("l2", 64, (2, 5, 5, 3), 2, 3, 1)
    yield lp_pool2d("l3", 65, (1, 6, 5, 2), 3, 2, 2)
    yield embedding("embedding", 66, 7, 5, 12)
    yield transpose("permuted", 67, (2, 3, 4, 5), (0, 3, 1, 2))
    yield pad("padded", 68, (2, 3, 4), (0, 1, 2), (1, 0, 3), -0.75)
    yield strided_slice("sliced", 69, (3, 7, 8), (1, 0, 1), (3, 7, 8), (1, 2, 3))
    yield batch_norm("images", 25, (3, 4, 5, 6), 1e-5)
    yield batch_norm("rows", 26, (7, 5), 1e-3)
    yield batch_norm("large_mean", 27, (2, 5, 3, 4), 1e-3, offset=1000)
    yield softmax_cross_entropy("classes", 31, 4, 7)
    yield softmax_cross_entropy("label_smoothing", 32, 5, 7, smoothing=0.1)
    yield softmax_cross_entropy("soft_labels", 33, 4, 6, soft=True)
    yield softmax_cross_entropy("soft_labels_and_smoothing", 34, 3, 5, smoothing=0.1, soft=True)
    # Logits to 500 either side: exp overflows unless the largest is taken off first.
    yield softmax_cross_entropy("large_logits", 35, 4, 5, factor=250)


    for i, (name, function) in enumerate({
        "leaky_relu": lambda x: F.leaky_relu(x, 0.25),
        "elu": lambda x: F.elu(x, 0.75),
        "selu": F.selu,
        "gelu": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "silu": F.silu,
        "mish": F.mish,
        "softplus": lambda x: F.softplus(x, threshold=1000),
        "softsign": F.softsign,
        # Not F.hardsigmoid, whose gradient has a sixth in single precision.
        "hard_sigmoid": lambda x: F.relu6(x + 3) / 6,
        "hard_swish": F.hardswish,
        "clip": lambda x: x.clamp(-1.5, 2.25),
        "exp": torch.exp,
        "abs": torch.abs,
    }.items()):
        yield unary(name, 41 + i, function)
    yield unary("log", 61, torch.log, low=1)
    yield unary("sqrt", 62, torch.sqrt, low=1)
    yield unary("reciprocal", 63, torch.reciprocal, low=1)
    yield unary("pow", 64, lambda x: x**1.75, low=1)
    yield binary("sub", 71, (3, 1, 4), (5, 1), torch.sub)
    yield binary("mul", 72, (2, 3, 2, 4), (2, 1, 1, 4), torch.mul)
    yield binary("div", 73, (2, 3), (2, 1), torch.div, low=1)
    yield binary("power", 74, (4,), (3, 1), torch.pow, low=1)
    yield binary("min", 75, (4, 9), (9,), torch.minimum)
    yield binary("max", 76, (4, 1), (4, 9), torch.maximum)
    yield binary("prelu", 77, (2, 3, 5), (5,), lambda a, b: torch.where(a > 0, a, b * a))
    yield reduce("sum", 81, (2, 3, 4, 5), (0, 2), torch.sum)
    yield reduce("mean", 82, (2, 3, 4, 5), (1, 3), torch.mean)
    # Equal extremes share the gradient.
    yield reduce("max", 83, (5, 20), (1,), torch.amax)
    yield reduce("min", 84, (20, 5), (0,), torch.amin)
    yield reduce("l2", 85, (2, 3, 4), (1, 2), lambda x, axes: torch.linalg.vector_norm(x, dim=axes))
    yield group_norm("groups", 91, (2, 3, 4, 6), 1e-5, 3)
    yield group_norm("instances", 92, (2, 3, 4, 5), 1e-5, 5)
    yield group_norm("layer", 93, (2, 3, 4, 7), 1e-3, 0)
    yield local_response_norm("odd", 95, (2, 3, 2, 9), 5, 0.25, 0.75, 1.0)
    yield local_response_norm("even", 96, (1, 2, 3, 6), 4, 0.5, 0.5, 2.0)


def dump(value, indent=0):
    """JSON with a line a member, and an array on one line."""
    if not isinstance(value, dict) or "data" in value:
        return json.dumps(value, separators=(",", ":"))
    pad = " " * (indent + 1)
    members = [f"{pad}{json.dumps(k)}: {dump(v, indent + 1)}" for k, v in value.items()]
    return "{\n" + ",\n".join(members) + "\n" + " " * indent + "}"


def main():
    torch.set_num_threads(1)
    (HERE / "ops.json").write_text("[\n" + ",\n".join(dump(c) for c in cases()) + "\n]\n")


if __name__ == "__main__":
    main()
