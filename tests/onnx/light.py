#!/usr/bin/env python3
"""Makes cases of the nine `light` networks in the wheel of onnx 1.22.0: random weights, an input, and what ONNX Runtime makes of it.

    pip install numpy onnx onnxruntime
    python tests/onnx/nodes.py FOLDER
    python tests/onnx/light.py FOLDER OUT
    STRIATE_ONNX_NETWORKS=OUT cargo test --release --test onnx_nodes networks

FOLDER is where tests/onnx/nodes.py has put the wheel. Each case is a folder as ONNX's own tests have them.
"""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

DATA = "onnx/backend/test/data/light/"


def with_weights(model, random):
    """The light networks make their weights by ConstantOfShape; here they become numbers that keep activations of about the same size."""
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    nodes = []
    roles = {}
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            roles.setdefault(name, (node.op_type, i))
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            nodes.append(node)
            continue
        shape = tuple(int(d) for d in constants[node.input[0]])
        op, place = roles.get(node.output[0], ("", 0))
        if op == "BatchNormalization":
            values = random.uniform(0.5, 1.5, shape) if place in (1, 4) else random.normal(0, 0.1, shape)
        elif len(shape) > 1:
            fan_in = int(np.prod(shape[1:]))
            # Scores so small that no class has all of the probability.
            values = random.normal(0, 0.05 * fan_in**-0.5 if op == "Gemm" else (2 / fan_in) ** 0.5, shape)
        else:
            values = random.normal(0, 0.1, shape)
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def main():
    wheel = zipfile.ZipFile(sorted(Path(sys.argv[1]).glob("onnx-1.22.0-*.whl"))[0])
    for number, name in enumerate(sorted(n for n in wheel.namelist() if n.startswith(DATA) and n.endswith(".onnx"))):
        random = np.random.default_rng(number)
        model = with_weights(onnx.load(io.BytesIO(wheel.read(name))), random)
        case = Path(sys.argv[2]) / Path(name).stem
        (case / "test_data_set_0").mkdir(parents=True, exist_ok=True)
        onnx.save(model, case / "model.onnx")
        constants = {i.name for i in model.graph.initializer}
        feeds = {}
        for value in model.graph.input:
            if value.name not in constants:
                shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
                feeds[value.name] = random.normal(0, 1, shape).astype(np.float32)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(case / "model.onnx"), options, providers=["CPUExecutionProvider"])
        outputs = session.run(None, feeds)
        for kind, arrays in (("input", feeds.values()), ("output", outputs)):
            for i, array in enumerate(arrays):
                (case / "test_data_set_0" / f"{kind}_{i}.pb").write_bytes(numpy_helper.from_array(array).SerializeToString())
        print(case, [list(o.shape) for o in outputs], float(np.abs(outputs[0]).max()))


main()
