#!/usr/bin/env python3
"""Reads with Python's safetensors the file that safetensors_test wrote, and checks every value.

Usage: model_safetensors.py FILE
"""

import sys

import torch
from safetensors.torch import load_file

DTYPES = dict(
    Double=torch.float64,
    Float=torch.float32,
    Half=torch.float16,
    BFloat16=torch.bfloat16,
    Long=torch.int64,
    Int=torch.int32,
    Short=torch.int16,
    Char=torch.int8,
    Byte=torch.uint8,
)


def main():
    expected = {
        f"ramp.{name}": torch.arange(15).to(dtype).view(3, 5) for name, dtype in DTYPES.items()
    }
    expected["bool"] = torch.arange(5).remainder(2).bool()
    expected["scalar"] = torch.tensor(2.5)
    expected["empty"] = torch.empty(0, 4)
    expected["transposed"] = torch.arange(6.0).view(2, 3).t()
    found = load_file(sys.argv[1])
    assert sorted(found) == sorted(expected), f"names {sorted(found)}"
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, f"{name}: {found[name].dtype}"
        assert torch.equal(found[name], tensor), f"{name}: {found[name]}"
    print(len(found), "tensors are equal")


if __name__ == "__main__":
    main()
