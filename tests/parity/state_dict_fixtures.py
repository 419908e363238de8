#!/usr/bin/env python3
"""State dict files as PyTorch writes them, and files that a careful reader must refuse.

Usage: state_dict_fixtures.py OUTPUT_FOLDER

  sound/NAME.pt, sound/NAME.safetensors   the same tensors
  refused/NAME.pt, refused.json           {NAME: [words of the error, ...]}
"""

import json
import os
import pathlib
import pickle
import sys
import zipfile
from collections import OrderedDict

import torch
from safetensors.torch import save_file


class Projector(torch.nn.Module):
    """Parameters, a buffer and sub-modules: what puts _metadata and 0-dim tensors into the file."""

    def __init__(self):
        super().__init__()
        self.gate = torch.nn.Parameter(torch.tensor(0.25))
        self.register_buffer("temperature", torch.tensor(0.001))
        self.layer = torch.nn.Linear(3, 5)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(4, 4, bias=False) for _ in range(90))


def write_sound(folder):
    folder.mkdir(parents=True, exist_ok=True)
    shared = torch.arange(24, dtype=torch.float32)
    states = {
        "fp32": Projector().state_dict(),
        "bf16": Projector().bfloat16().state_dict(),
        "fp16": Projector().half().state_dict(),
        "plain_dict": {"a": torch.randn(2, 0, 3), "b": torch.randn(1, 300)},
        "views_of_one_storage": OrderedDict(a=shared[4:10].view(2, 3), b=shared),
    }
    for name, state in states.items():
        torch.save(state, folder / f"{name}.pt")
        copies = {key: tensor.clone() for key, tensor in state.items()}
        save_file(copies, folder / f"{name}.safetensors")
    # Renamed after it was saved: the top folder keeps the old name.
    (folder / "renamed.pt").write_bytes((folder / "bf16.pt").read_bytes())
    (folder / "renamed.safetensors").write_bytes((folder / "bf16.safetensors").read_bytes())


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def rewrite(source, target, change, compression=zipfile.ZIP_STORED):
    """`change` gets and returns {entry without its top folder: bytes}."""
    with zipfile.ZipFile(source) as archive:
        entries = {n.split("/", 1)[1]: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in change(entries).items():
            archive.writestr("top/" + name, content)


def with_pickle(content):
    return lambda entries: {**entries, "data.pkl": content}


def edited(old, new):
    def change(entries):
        assert entries["data.pkl"].count(old) == 1, old
        return {**entries, "data.pkl": entries["data.pkl"].replace(old, new)}

    return change


def opcode(code):
    return with_pickle(b"\x80\x02" + code)


# Name -> (change of a sound file, words of the error).
CHANGES = {
    "os_system": (
        with_pickle(pickle.dumps({"a": Call(os.system, "touch /hacked")}, protocol=2)),
        ["global posix.system has no place"],
    ),
    "builtin_eval": (
        with_pickle(pickle.dumps({"a": Call(eval, "1")}, protocol=2)),
        ["global __builtin__.eval"],
    ),
    "inst": (opcode(b"(ios\nsystem\n."), ["byte 3", "opcode INST (0x69)"]),
    "stack_global": (opcode(b"X\2\0\0\0osX\6\0\0\0system\x93."), ["opcode STACK_GLOBAL (0x93)"]),
    "extension": (opcode(b"\x82\x01."), ["opcode EXT1 (0x82)"]),
    "no_opcode": (opcode(b"\xff."), ["opcode 0xff"]),
    "protocol_4": (with_pickle(pickle.dumps({}, protocol=4)), ["protocol 4: expected 2"]),
    "other_storage": (edited(b"torch\nFloatStorage", b"torch\nLongStorage"), ["torch.LongStorage"]),
    "call_with_arguments": (
        opcode(b"ccollections\nOrderedDict\n)\x85R."),
        ["call of collections.OrderedDict with 1 arguments"],
    ),
    "number_for_a_tensor": (opcode(b"}X\1\0\0\0aK\1s."), ['"a" is no tensor']),
    "no_dict": (opcode(b")."), ["the result is not one dict"]),
    "endless": (opcode(b"}"), ["ends in the middle"]),
    "empty_pickle": (with_pickle(b""), ["ends in the middle"]),
    "behind_the_stop": (opcode(b"}.."), ["bytes follow STOP"]),
    "deeply_nested": (opcode(b")" + b"\x85" * 500_000 + b"."), ["the result is not one dict"]),
    "underflow": (opcode(b"R."), ["it takes a value that is not there"]),
    "no_mark": (opcode(b"u."), ["it takes a mark that is not there"]),
    "no_memo": (opcode(b"h\7."), ["nothing is kept at place 7"]),
    "long_text": (opcode(b"X\xff\xff\xff\xffabc"), ["ends in the middle"]),
    "huge_pickle": (with_pickle(b"\x80\x02" + b")" * (1 << 20)), ["data.pkl has 1048578 bytes"]),
    "offset_outside": (edited(b"QK\x04K\x02K\x03", b"QK\x13K\x02K\x03"), ["tensor a", "end of"]),
    "size_outside": (edited(b"QK\x04K\x02K\x03", b"QK\x04K\x07K\x03"), ["tensor a", "end of"]),
    "strides": (edited(b"K\x03K\x01\x86", b"K\x01K\x03\x86"), ["strides are not row-major"]),
    "negative_size": (edited(b"QK\x04K\x02", b"QK\x04J\xfe\xff\xff\xff"), ["tensor that is not"]),
    "twice": (edited(b"X\x01\0\0\0b", b"X\x01\0\0\0a"), ["tensor a is there twice"]),
    "long_key": (
        edited(b"X\1\0\0\x000", b"X\x41\0\0\0" + b"0" * 65),
        ["a storage key of 65 bytes: expected at most 64"],
    ),
    "short_storage": (
        lambda entries: {**entries, "data/0": entries["data/0"][:-4]},
        ["tensor a: storage 0 has 92 bytes: expected 24 elements of 4 bytes"],
    ),
    "long_storage": (
        lambda entries: {**entries, "data/0": entries["data/0"] + b"\0\0\0\0"},
        ["tensor a: storage 0 has 100 bytes"],
    ),
    "no_storage": (
        lambda entries: {n: x for n, x in entries.items() if n != "data/0"},
        ["tensor a: storage 0 is missing"],
    ),
    "no_pickle": (
        lambda entries: {n: x for n, x in entries.items() if n != "data.pkl"},
        ["no entry FOLDER/data.pkl"],
    ),
    "big_endian": (lambda entries: {**entries, "byteorder": b"big"}, ['byteorder is "big"']),
}


def write_refused(folder, sound):
    folder.mkdir(parents=True, exist_ok=True)
    source = sound / "views_of_one_storage.pt"
    words = {}
    for name, (change, expected) in CHANGES.items():
        rewrite(source, folder / f"{name}.pt", change)
        words[name] = expected
    rewrite(source, folder / "deflated.pt", lambda entries: entries, zipfile.ZIP_DEFLATED)
    words["deflated"] = ["compression method 8: expected 0"]
    torch.save({"a": torch.randn(3, 4).t()}, folder / "transposed.pt")
    words["transposed"] = ["strides are not row-major"]
    torch.save({"a": torch.nn.Parameter(torch.ones(2))}, folder / "parameter.pt")
    words["parameter"] = ["global torch._utils._rebuild_parameter"]
    torch.save({"a": torch.ones(2)}, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    words["legacy"] = ["not a ZIP archive"]
    torch.save({"step": 3, "optimizer": {}}, folder / "training_state.pt")
    words["training_state"] = ['"step" is no tensor']
    flipped = bytearray((sound / "fp32.pt").read_bytes())
    flipped[flipped.index(torch.tensor(0.25).numpy().tobytes())] ^= 1
    (folder / "flipped_bit.pt").write_bytes(flipped)
    words["flipped_bit"] = ["data/0", "CRC-32"]
    (folder / "no_archive.pt").write_bytes(b"not an archive, but long enough to be one")
    words["no_archive"] = ["not a ZIP archive"]
    (folder / "empty.pt").write_bytes(b"")
    words["empty"] = ["too short"]
    (folder.parent / "refused.json").write_text(json.dumps(words))


def main():
    root = pathlib.Path(sys.argv[1])
    torch.manual_seed(0)
    write_sound(root / "sound")
    write_refused(root / "refused", root / "sound")


if __name__ == "__main__":
    main()
