"""Networks of torchvision by PyTorch in double precision on the CPU: outputs and gradients, in training and in inference.

Writes zoo.json beside itself. Weights and images are those of `recipe.py`, with the network's stream. The gradients are those of the
sum of outputs times numbers of the same kind, by all parameters. Tensors have this crate's names and layouts. Dropout is left out.

The gradients of inference are for single precision too. There a ReLU whose input is nearly 0 passes a gradient or not, as roundings
have it, and so it is with a ReLU6 at 6 and with a max-pool whose largest two are nearly equal. So a network takes the first stream with
which none of them is near: no nearer than `MARGIN` times the difference between PyTorch's own numbers in single and in double precision
there. One small image leaves few enough of them that there is such a stream. See README.md.
"""

import copy

import torch
import torchvision
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ops import to_nchw
from recipe import numbers, parameter, quiet, record, write

CLASSES = 10
KEPT = 2
# Batch and size of images. In training the last maps of those with batch norm have 4 pixels an image.
TRAINING = {"alexnet": (2, 64), "densenet121": (3, 64), "googlenet": (3, 64), "mobilenet_v2": (3, 64), "resnet18": (3, 64)}
INFERENCE = {"alexnet": (1, 64), "densenet121": (1, 32), "googlenet": (1, 32), "mobilenet_v2": (1, 32), "resnet18": (1, 32)}
MARGIN = 8


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


class Corners(TorchDispatchMode):
    """Collects the distances from a corner: of a ReLU's inputs from 0, of a ReLU6's from 0 and 6, and of a max-pool's largest from
    its second largest."""

    def __init__(self):
        super().__init__()
        self.inputs = []
        self.distances = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, x = func.overloadpacket.__name__, args[0] if args else None
        if name in ("relu", "relu_", "hardtanh", "hardtanh_"):
            self.inputs.append(x.clone())
            at_six = (x - 6).abs() if name.startswith("hardtanh") else torch.full_like(x, torch.inf)
            self.distances.append(torch.minimum(x.abs(), at_six))
        elif name == "max_pool2d_with_indices":
            kernel, stride, padding = [*args[1:], [0, 0]][:3]
            self.inputs.append(x.clone())
            # Windows that the edge cuts short may reach a stride further.
            sides = (padding[1], padding[1] + stride[1], padding[0], padding[0] + stride[0])
            padded = nn.functional.pad(x, sides, value=-1e30)
            windows = nn.functional.unfold(padded.flatten(0, 1).unsqueeze(1), kernel, stride=stride)
            first, second = windows.topk(2, dim=1).values.unbind(1)
            # Zeros are those of the ReLU before, which passes no gradient on; equal ones are copies that a pool before has made.
            distance = torch.where((first > 0) & (first > second), first - second, torch.inf)
            self.distances.append(distance.unflatten(0, x.shape[:2]))
        return func(*args, **(kwargs or {}))


def is_clear(model, x):
    """Whether single precision can't change on which side of a corner anything is."""
    seen = []
    for model, x in ((model, x), (copy.deepcopy(model).float(), x.float())):
        with torch.no_grad(), Corners() as corners:
            model(x)
        seen.append(corners)
    double, single = seen
    for x64, x32, distance in zip(double.inputs, single.inputs, double.distances, strict=True):
        square = (x64 - x32.double()).square()
        # By channel; one that happens to be exact has a share of what the others have.
        by_channel = (0, *range(2, x64.dim()))
        error = torch.maximum(square.mean(by_channel), square.mean() / 4).sqrt()
        if bool((distance.amin((0, *range(2, distance.dim()))) < MARGIN * error).any()):
            return False
    return True


def fill(model, tensors, stream):
    with torch.no_grad():
        for key, (tensor, turn, back) in tensors.items():
            tensor.copy_(back(torch.tensor(parameter(stream, key, tuple(turn(tensor).shape)))))


def golden(name):
    extra = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    model = getattr(torchvision.models, name)(weights=None, num_classes=CLASSES, **extra).double()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    tensors = own(model)
    assert len(tensors) == sum(1 for key in model.state_dict() if "num_batches" not in key)

    def images(stream, batch, size):
        return to_nchw(torch.tensor(2 * numbers(stream, "images", (batch, size, size, 3))))

    stream = 0
    fill(model, tensors, stream)
    while not is_clear(model.eval(), images(stream, *INFERENCE[name])):
        stream += 1
        fill(model, tensors, stream)
    result = {"name": name, "stream": stream}
    for mode, (batch, size) in (("inference", INFERENCE[name]), ("training", TRAINING[name])):
        model.train(mode == "training")
        model.zero_grad()
        y = model(images(stream, batch, size))
        (y * torch.tensor(numbers(stream, "dy", tuple(y.shape)))).sum().backward()
        result[mode] = {"batch": batch, "size": size, "outputs": record(y, y.numel()), "gradients": {}}
        for key, (tensor, turn, _) in tensors.items():
            if tensor.grad is not None:
                result[mode]["gradients"][key] = record(turn(tensor.grad), KEPT)
    return result


def main():
    with quiet():
        write("zoo.json", [golden(name) for name in TRAINING])


if __name__ == "__main__":
    main()
