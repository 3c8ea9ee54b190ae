#!/usr/bin/env python3
"""Fetches ONNX's conformance tests of nodes, and writes those that this crate's tests run.

    python tests/onnx/nodes.py FOLDER          all cases, unpacked below FOLDER, for STRIATE_ONNX_NODES
    python tests/onnx/nodes.py FOLDER --pack   also tests/onnx/nodes.gz, the fixed set: a case of each op and of each kind

The cases come from the wheel of onnx 1.22.0 (Apache-2.0), the last that carries them, which pip downloads unless it lies in FOLDER.
nodes.gz is a gzip of records: the length of a name and of its content, 32 bits each, little-endian; the name; the content.
"""

import gzip
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

DATA = "onnx/backend/test/data/node/"
# Larger cases are run from the folder only.
LARGEST = 24_000


def kind(case):
    """Cases that differ in numbers and shapes only are of one kind."""
    return re.sub(r"_(example|random|negative_ax[ei]s|expanded|ver\d+|\d+d)", "", case)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    wheels = sorted(folder.glob("onnx-1.22.0-*.whl"))
    if not wheels:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "onnx==1.22.0"], check=True)
        wheels = sorted(folder.glob("onnx-1.22.0-*.whl"))
    with zipfile.ZipFile(wheels[0]) as wheel:
        cases = {}
        for name in wheel.namelist():
            if name.startswith(DATA) and not name.endswith("/"):
                cases.setdefault(name[len(DATA):].split("/")[0], []).append(name)
                wheel.extract(name, folder)
        print(f"{len(cases)} cases in {folder / DATA}")
        if "--pack" not in sys.argv:
            return
        wanted = set(Path(__file__).with_name("nodes.txt").read_text().split())
        records, kinds = [], set()
        for case in sorted(cases):
            size = sum(wheel.getinfo(name).file_size for name in cases[case])
            if case not in wanted or size > LARGEST or kind(case) in kinds:
                continue
            kinds.add(kind(case))
            for name in sorted(cases[case]):
                path, content = name[len(DATA):].encode(), wheel.read(name)
                records.append(struct.pack("<II", len(path), len(content)) + path + content)
        packed = Path(__file__).with_name("nodes.gz")
        packed.write_bytes(gzip.compress(b"".join(records), mtime=0))
        print(f"{len(kinds)} cases in {packed}, {packed.stat().st_size} bytes")


main()
