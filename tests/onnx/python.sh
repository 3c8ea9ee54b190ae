#!/usr/bin/env bash
# Makes a virtual environment below `target` with the packages of requirements.txt from PyPI, and prints the path of its Python.
set -euo pipefail
cd "$(dirname "$0")/../.."
environment=${CARGO_TARGET_DIR:-$PWD/target}/onnx-python
[ -x "$environment/bin/python" ] || python3 -m venv "$environment" >&2
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check --requirement tests/onnx/requirements.txt >&2
echo "$environment/bin/python"
