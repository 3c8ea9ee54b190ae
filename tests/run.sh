#!/usr/bin/env bash
# All tests, in release with debug assertions, on the CPU and on a GPU. On a machine without a Vulkan device (Linux) it installs Mesa's
# software GPU, lavapipe, through apt; on macOS and Windows the system brings its own GPU API.
#   tests/run.sh [ARGUMENTS OF cargo test]
# Environment: STRIATE_ALLOW_NO_GPU=1 leaves the GPU tests out, with a line for each that is.
set -euo pipefail
cd "$(dirname "$0")/.."

# Mesa complains about a missing one on every start of a program without a desktop.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}

has_adapter() {
  cargo run --quiet --profile checked --example devices -- --count-gpus >/dev/null 2>&1
}

install_software_gpu() {
  if ! command -v apt-get >/dev/null; then
    echo "There is no GPU that Vulkan knows. Install Mesa's software driver (Fedora: mesa-vulkan-drivers, Arch: vulkan-swrast," >&2
    echo "Alpine: mesa-vulkan-swrast), or set STRIATE_ALLOW_NO_GPU=1 to leave the GPU tests out." >&2
    exit 1
  fi
  local sudo=""
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  echo "No GPU found: installing Mesa's software driver."
  $sudo apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libvulkan1 mesa-vulkan-drivers
}

# The adapter is asked for first, so that what is missing shows before the tests and not among them.
cargo build --profile checked --all-targets
if [ "$(uname)" = Linux ] && [ "${STRIATE_ALLOW_NO_GPU:-0}" != 1 ] && ! has_adapter; then
  install_software_gpu
  has_adapter || { echo "There is still no GPU that Vulkan knows." >&2; exit 1; }
fi
cargo test --profile checked "$@"
