"""Ten steps of every optimizer, and the factors of every schedule, by PyTorch in double precision on the CPU.

Lion, LARS and LAMB, which PyTorch doesn't have, are the formulas of their papers in NumPy. Writes optimizers.json beside itself. See
README.md.
"""

import json
import pathlib

import numpy as np
import torch
from torch.optim import lr_scheduler

HERE = pathlib.Path(__file__).resolve().parent
STEPS, SEED = 10, 7
SHAPES = [(3, 5), (5,)]

TORCH = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "sgd_weight_decay": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.05),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "nesterov_weight_decay": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
    "adagrad_initial": lambda p: torch.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.1, eps=1e-7, weight_decay=0.05),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
    "rmsprop_momentum": lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.9, momentum=0.9),
    "rmsprop_centered": lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.9, centered=True),
    "rmsprop_centered_momentum": lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.9, centered=True, momentum=0.9, weight_decay=0.05),
    "adadelta": lambda p: torch.optim.Adadelta(p, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.05),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.05),
    "adam_amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.9, 0.5), amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "adamw_amsgrad": lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.9, 0.5), weight_decay=0.1, amsgrad=True),
    "adamw_weights_only": lambda p: torch.optim.AdamW(
        [{"params": p[:1], "weight_decay": 0.1}, {"params": p[1:], "weight_decay": 0.0}], lr=0.01
    ),
    "adamax": lambda p: torch.optim.Adamax(p, lr=0.01, weight_decay=0.05),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01, weight_decay=0.05),
}


def lion(state, p, g, t, lr=0.01, b1=0.9, b2=0.99, wd=0.1):
    m = state.setdefault("m", np.zeros_like(p))
    state["m"] = b2 * m + (1 - b2) * g
    return p - lr * (np.sign(b1 * m + (1 - b1) * g) + wd * p)


def lars(state, p, g, t, lr=1.0, momentum=0.9, wd=0.05, eta=0.02):
    """Algorithm 1."""
    v = state.setdefault("v", np.zeros_like(p))
    rate = lr * eta * np.linalg.norm(p) / (np.linalg.norm(g) + wd * np.linalg.norm(p))
    state["v"] = momentum * v + rate * (g + wd * p)
    return p - state["v"]


def lamb(state, p, g, t, lr=0.01, b1=0.9, b2=0.999, eps=1e-6, wd=0.05):
    """Algorithm 2, phi the identity."""
    m = state["m"] = b1 * state.setdefault("m", np.zeros_like(p)) + (1 - b1) * g
    v = state["v"] = b2 * state.setdefault("v", np.zeros_like(p)) + (1 - b2) * g * g
    u = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps) + wd * p
    return p - lr * np.linalg.norm(p) / np.linalg.norm(u) * u


def lamb_weights_only(state, p, g, t):
    """Biases have neither decay nor a rate of their own."""
    if p.ndim > 1:
        return lamb(state, p, g, t)
    m = state["m"] = 0.9 * state.setdefault("m", np.zeros_like(p)) + 0.1 * g
    v = state["v"] = 0.999 * state.setdefault("v", np.zeros_like(p)) + 0.001 * g * g
    return p - 0.01 * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-6)


PAPERS = {"lion": lion, "lars": lars, "lamb": lamb, "lamb_weights_only": lamb_weights_only}

# name: (steps, steps an epoch, whether the scheduler steps once an epoch, scheduler)
N, EPOCH = 40, 5
SCHEDULES = {
    "constant": (False, lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    "step": (True, lambda o: lr_scheduler.StepLR(o, step_size=3, gamma=0.1)),
    "multi_step": (True, lambda o: lr_scheduler.MultiStepLR(o, milestones=[2, 5, 6], gamma=0.5)),
    "exponential": (True, lambda o: lr_scheduler.ExponentialLR(o, gamma=0.9)),
    "polynomial": (False, lambda o: lr_scheduler.PolynomialLR(o, total_iters=N - 1, power=2.0)),
    "cosine": (False, lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=N - 1, eta_min=0.1)),
    "cosine_restarts": (False, lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=2 * EPOCH, T_mult=2, eta_min=0.05)),
    "one_cycle": (False, lambda o: lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=N)),
    "warm_up_cosine": (
        False,
        lambda o: lr_scheduler.SequentialLR(
            o,
            [
                lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=8),
                lr_scheduler.CosineAnnealingLR(o, T_max=N - 8 - 1),
            ],
            milestones=[8],
        ),
    ),
}
PLATEAU_LOSSES = [1.0, 0.9, 0.95, 0.93, 0.91, 0.90005, 0.89, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.88, 0.88, 0.88, 0.88]


def rounded(values):
    return [float(f"{x:.13g}") for x in values]


def main():
    torch.set_num_threads(1)
    rng = np.random.default_rng(SEED)
    # Multiples of 1/64: exact in f32.
    grid = lambda shape: np.round(rng.standard_normal(shape) * 64) / 64
    start = [grid(s) for s in SHAPES]
    gradients = [[grid(s) for s in SHAPES] for _ in range(STEPS)]
    flat = lambda arrays: rounded(np.concatenate([np.asarray(a).ravel() for a in arrays]))
    result = {
        "shapes": SHAPES,
        "start": flat(start),
        "gradients": [flat(g) for g in gradients],
        "torch": torch.__version__.split("+")[0],
        "optimizers": {},
        "schedules": {"steps": N, "epoch_steps": EPOCH},
    }
    for name, make in TORCH.items():
        p = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in start]
        optimizer = make(p)
        after = []
        for g in gradients:
            for tensor, array in zip(p, g):
                tensor.grad = torch.tensor(array, dtype=torch.float64)
            optimizer.step()
            after.append(flat(t.detach().numpy() for t in p))
        result["optimizers"][name] = after
    for name, step in PAPERS.items():
        p, states, after = [a.copy() for a in start], [{} for _ in start], []
        for t, g in enumerate(gradients, 1):
            p = [step(s, a, b, t) for s, a, b in zip(states, p, g)]
            after.append(flat(p))
        result["optimizers"][name] = after
    for name, (by_epoch, make) in SCHEDULES.items():
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        scheduler = make(optimizer)
        rates = []
        for step in range(N):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if not by_epoch or step % EPOCH == EPOCH - 1:
                scheduler.step()
        result["schedules"][name] = rounded(rates)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
    rates = []
    for loss in PLATEAU_LOSSES:
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step(loss)
    result["schedules"]["plateau_losses"] = PLATEAU_LOSSES
    result["schedules"]["plateau"] = rounded(rates)
    (HERE / "optimizers.json").write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
