"""Malicious and lying weights files, one per line of `pickles.rs`. Made with torch 2.13.0: python make_attacks.py"""

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import torch

HERE = Path(__file__).parent


class Runs:
    """Unpickled the ordinary way, this would run a command."""

    def __reduce__(self):
        return os.system, ("touch pwned-by-pickle",)


def new_zip(name, change):
    """A saved tensor of four elements whose members `change(name, bytes)` may rewrite."""
    buffer = io.BytesIO()
    torch.save({"weight": torch.arange(4.0)}, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(HERE / name, "w") as target:
        for entry in source.namelist():
            content = change(entry.split("/", 1)[1], source.read(entry))
            if content is not None:
                target.writestr(zipfile.ZipInfo(entry), content)


def replaced(old, new):
    def change(entry, content):
        if entry != "data.pkl":
            return content
        assert content.count(old) == 1, (old, content)
        return content.replace(old, new)

    return change


def old_file(name, change):
    buffer = io.BytesIO()
    torch.save({"weight": torch.arange(4.0)}, buffer, _use_new_zipfile_serialization=False)
    (HERE / name).write_bytes(change(buffer.getvalue()))


def main():
    evil = pickle.dumps({"weight": Runs()}, protocol=2)
    new_zip("runs-a-command.pt", lambda entry, content: evil if entry == "data.pkl" else content)
    stacked = pickle.dumps({"weight": Runs()}, protocol=4)
    new_zip("runs-a-command-protocol4.pt", lambda entry, content: stacked if entry == "data.pkl" else content)

    def evil_old(content):
        start = content.index(b"\x80\x02}q\x00X\x06\x00\x00\x00weight")
        return content[:start] + evil

    old_file("runs-a-command-old.pt", evil_old)

    # BININT1 4 as the storage's length, and as the tensor's only axis: (…, 4) → 2^31 − 1
    large = b"J" + struct.pack("<i", 2**31 - 1)
    new_zip("storage-too-long.pt", replaced(b"X\x03\x00\x00\x00cpuq\x06K\x04", b"X\x03\x00\x00\x00cpuq\x06" + large))
    new_zip("shape-too-long.pt", replaced(b"K\x04\x85", large + b"\x85"))
    new_zip("storage-missing.pt", lambda entry, content: None if entry == "data/0" else content)
    new_zip("storage-short.pt", lambda entry, content: content[:-4] if entry == "data/0" else content)

    def count(content):
        tail = struct.pack("<q", 4) + torch.arange(4.0).numpy().tobytes()
        assert content.endswith(tail)
        return content[: -len(tail)] + struct.pack("<q", 2**61) + tail[8:]

    old_file("storage-too-long-old.pt", count)

    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(1).expand(2**20, 2**20)}, buffer)
    (HERE / "one-element-repeated.pt").write_bytes(buffer.getvalue())

    with zipfile.ZipFile(HERE / "compressed.pt", "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("archive/data.pkl", b"\0" * 10_000_000)


if __name__ == "__main__":
    main()
