#!/usr/bin/env bash
# Exported models against ONNX's checker and ONNX Runtime, which it installs from PyPI into a virtual environment below `target`.
#   tests/onnx/run.sh [ARGUMENTS OF cargo test]
# Environment: STRIATE_ONNX_PYTHON=python takes a Python that has the packages instead; STRIATE_ONNX_LARGE=1 also runs the zoo's
# networks of more than 40 million parameters; STRIATE_ALLOW_NO_GPU=1 leaves the GPU out.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -z "${STRIATE_ONNX_PYTHON:-}" ]; then
  environment=${CARGO_TARGET_DIR:-target}/onnx-python
  [ -x "$environment/bin/python" ] || python3 -m venv "$environment"
  "$environment/bin/python" -m pip install --quiet --requirement tests/onnx/requirements.txt
  export STRIATE_ONNX_PYTHON=$environment/bin/python
fi
cargo test --profile checked --test onnx_export "$@" -- --nocapture
