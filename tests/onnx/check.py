"""Files that `tests/onnx_export.rs` wrote: ONNX's checker looks at each, and ONNX Runtime runs it.

    check.py FOLDER

Beside NAME.onnx lies NAME.safetensors with its inputs ("input NAME") and with what they must give ("output NUMBER"), each to 1e-5 of the
output's largest value.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

TOLERANCE = 1e-5


def tensors(path):
    """A safetensors file of f32: the length of its header, the header, the numbers."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)

    def tensor(entry):
        assert entry["dtype"] == "F32", entry
        begin, end = entry["data_offsets"]
        return np.frombuffer(data[start + begin : start + end], np.float32).reshape(entry["shape"])

    return {name: tensor(entry) for name, entry in header.items()}


def error(got, want, of):
    """The largest difference, as a share of the largest value `of` an output."""
    if got.shape != want.shape:
        return np.inf
    largest = np.abs(of).max(initial=0.0)
    difference = np.abs(got.astype(np.float64) - want).max(initial=0.0)
    return difference / largest if largest > 0 else difference


def check(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    given = tensors(path.with_suffix(".safetensors"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {port.name: given[f"input {port.name}"] for port in session.get_inputs()})
    # Another length of the batch: the first sample alone gives what it does among others.
    alone = session.run(None, {port.name: given[f"input {port.name}"][:1] for port in session.get_inputs()})
    wanted = [given[f"output {i}"] for i in range(len(outputs))]
    errors = [error(y, want, want) for y, want in zip(outputs, wanted)]
    errors += [error(y, want[:1], want) for y, want in zip(alone, wanted)]
    # NaN is no number that is small enough.
    return max(errors, key=lambda e: np.inf if np.isnan(e) else e)


def main():
    folder = Path(sys.argv[1])
    worst, failures, n = 0.0, [], 0
    for path in sorted(folder.glob("*.onnx")):
        n += 1
        try:
            share = check(path)
            if not share <= TOLERANCE:
                failures.append(f"{path.stem}: differs by {share:.1e} of its largest value")
            else:
                worst = max(worst, share)
        except Exception as e:  # Whatever the checker and the runtime raise is the finding.
            failures.append(f"{path.stem}: {str(e).strip().splitlines()[0]}")
    print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}: {n} files, worst difference {worst:.1e} of the largest value")
    for failure in failures:
        print(f"FAILED {failure}")
    sys.exit(1 if failures or n == 0 else 0)


if __name__ == "__main__":
    main()
