#!/usr/bin/env bash
# Exported models against ONNX's checker and ONNX Runtime, which it installs from PyPI into a virtual environment below `target`.
#   tests/onnx/run.sh [ARGUMENTS OF cargo test]
# Environment: STRIATE_ONNX_PYTHON=python takes a Python that has the packages instead; STRIATE_ONNX_LARGE=1 also runs the zoo's
# networks of more than 40 million parameters; STRIATE_ALLOW_NO_GPU=1 leaves the GPU out.
set -euo pipefail
cd "$(dirname "$0")/../.."

STRIATE_ONNX_PYTHON=${STRIATE_ONNX_PYTHON:-$(tests/onnx/python.sh)}
export STRIATE_ONNX_PYTHON
cargo test --profile checked --test onnx_export "$@" -- --nocapture
