"""Losses and their gradients by the outputs, by PyTorch in double precision on the CPU. Writes losses.json beside itself. See README.md."""

import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent
rng = np.random.default_rng(11)


def grid(*shape):
    """Multiples of 1/64: exact in f32."""
    return torch.tensor(np.round(rng.standard_normal(shape) * 64) / 64, dtype=torch.float64)


def probabilities(*shape):
    """Multiples of 1/64 that add up to 1 along the last axis."""
    parts = rng.integers(0, 8, shape)
    parts[..., 0] = 64 - parts[..., 1:].sum(-1)
    return torch.tensor(parts / 64, dtype=torch.float64)


def hinge(y, t):
    return torch.relu(1 - torch.where(t > 0, 1.0, -1.0) * y)


def main():
    classes = torch.tensor(rng.integers(0, 5, 6))
    maps = torch.tensor(rng.integers(0, 4, (2, 3, 5)))
    maps[0, 0, :3] = 255
    weights = torch.tensor([0.5, 1.0, 2.0, 0.25, 1.5], dtype=torch.float64)
    yes = torch.tensor(rng.integers(0, 2, (6, 3)), dtype=torch.float64)
    nhwc = lambda f: lambda y, t: f(y.permute(0, 3, 1, 2), t)
    cases = {
        "cross_entropy": (grid(6, 5), classes, F.cross_entropy),
        "cross_entropy_weights": (grid(6, 5), classes, lambda y, t: F.cross_entropy(y, t, weight=weights)),
        "cross_entropy_weights_smoothed": (
            grid(6, 5),
            classes,
            lambda y, t: F.cross_entropy(y, t, weight=weights, label_smoothing=0.25),
        ),
        "cross_entropy_distributions": (grid(6, 5), probabilities(6, 5), F.cross_entropy),
        "cross_entropy_maps": (grid(2, 3, 5, 4), maps, nhwc(lambda y, t: F.cross_entropy(y, t, ignore_index=255))),
        "cross_entropy_maps_weights": (
            grid(2, 3, 5, 4),
            maps,
            nhwc(lambda y, t: F.cross_entropy(y, t, weight=weights[:4], ignore_index=255)),
        ),
        "binary_cross_entropy": (4 * grid(6, 3), yes, F.binary_cross_entropy_with_logits),
        "binary_cross_entropy_weight": (
            4 * grid(6, 3),
            yes,
            lambda y, t: F.binary_cross_entropy_with_logits(y, t, pos_weight=torch.tensor(2.5, dtype=torch.float64)),
        ),
        "mean_squared_error": (grid(4, 3), grid(4, 3), F.mse_loss),
        "mean_absolute_error": (grid(4, 3), grid(4, 3), F.l1_loss),
        "huber": (grid(4, 3), grid(4, 3), lambda y, t: F.huber_loss(y, t, delta=0.75)),
        "hinge": (grid(6, 3), yes, lambda y, t: hinge(y, t).mean()),
        "squared_hinge": (grid(6, 3), yes, lambda y, t: (hinge(y, t) ** 2).mean()),
        "kl_divergence": (
            grid(6, 5),
            probabilities(6, 5),
            lambda y, t: F.kl_div(F.log_softmax(y, -1), t, reduction="batchmean"),
        ),
    }
    result = {"torch": torch.__version__.split("+")[0]}
    rounded = lambda t: [float(f"{x:.13g}") for x in t.detach().numpy().ravel()]
    for name, (y, t, loss) in cases.items():
        y.requires_grad_()
        value = loss(y, t)
        value.backward()
        result[name] = {
            "shape": list(y.shape),
            "outputs": rounded(y),
            "target_shape": list(t.shape),
            "classes": not t.dtype.is_floating_point,
            "target": t.numpy().ravel().tolist(),
            "loss": float(f"{value.item():.13g}"),
            "gradient": rounded(y.grad),
        }
    (HERE / "losses.json").write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
