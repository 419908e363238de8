"""Quantized blocks against their definition, written out entry by entry.

The definition is that of llama.cpp's block structures: half-precision scales, nibbles and bits in
the order below. Blocks are random bytes; only the scales are kept finite.
"""

from pathlib import Path

import numpy as np
import pytest

gguf = pytest.importorskip("gguf", reason="the gguf package could not be installed")

from safetensors.torch import load_file

from gguf_to_hf import convert
from tiny_gguf import llama_cpp_tensors, random_model, write_gguf

COLUMNS = 512  # two of the large blocks


def half(block: np.ndarray, at: int) -> float:
    return float(block[at : at + 2].copy().view(np.float16)[0])


def q8_0(block: np.ndarray) -> list[float]:
    return [half(block, 0) * int(q) for q in block[2:].view(np.int8)]


def q4_1(block: np.ndarray) -> list[float]:
    codes = [int(b) & 15 for b in block[4:]] + [int(b) >> 4 for b in block[4:]]
    return [half(block, 0) * code + half(block, 2) for code in codes]


def q5_0(block: np.ndarray) -> list[float]:
    fifth = int.from_bytes(block[2:6].tobytes(), "little")
    codes = [int(b) & 15 for b in block[6:]] + [int(b) >> 4 for b in block[6:]]
    return [half(block, 0) * ((code | (fifth >> i & 1) << 4) - 16) for i, code in enumerate(codes)]


def q4_k(block: np.ndarray) -> list[float]:
    scales, codes = [int(b) for b in block[4:16]], block[16:]
    values = []
    for group in range(8):
        if group < 4:
            scale, low = scales[group] & 63, scales[group + 4] & 63
        else:
            scale = scales[group + 4] & 15 | (scales[group - 4] >> 6) << 4
            low = scales[group + 4] >> 4 | (scales[group] >> 6) << 4
        for byte in codes[group // 2 * 32 : group // 2 * 32 + 32]:
            code = int(byte) >> 4 if group % 2 else int(byte) & 15
            values.append(half(block, 0) * scale * code - half(block, 2) * low)
    return values


def q6_k(block: np.ndarray) -> list[float]:
    low, high, scales = block[:128], block[128:192], block[192:208].view(np.int8)
    values = []
    for i in range(256):
        part, within, column = i // 128, i % 128 // 32, i % 32
        nibble = int(low[part * 64 + within % 2 * 32 + column]) >> (4 * (within // 2)) & 15
        bits = int(high[part * 32 + column]) >> (2 * within) & 3
        values.append(half(block, 208) * int(scales[i // 16]) * ((nibble | bits << 4) - 32))
    return values


# Bytes a block, where its half-precision scales are, and its definition.
TYPES = {
    "Q8_0": (34, [0], q8_0),
    "Q4_1": (20, [0, 2], q4_1),
    "Q5_0": (22, [0], q5_0),
    "Q4_K": (144, [0, 2], q4_k),
    "Q6_K": (210, [208], q6_k),
}
BLOCK_VALUES = {"Q8_0": 32, "Q4_1": 32, "Q5_0": 32, "Q4_K": 256, "Q6_K": 256}


def random_rows(kind: str, rows: int) -> np.ndarray:
    size, scale_places, _ = TYPES[kind]
    random = np.random.default_rng(11)
    blocks = random.integers(0, 256, (rows, COLUMNS // BLOCK_VALUES[kind], size), np.uint8)
    for place in scale_places:
        scales = random.uniform(0.01, 0.1, blocks.shape[:2]).astype(np.float16)
        blocks[..., place : place + 2] = scales[..., None].view(np.uint8)
    return blocks.reshape(rows, -1)


@pytest.mark.parametrize("kind", TYPES)
def test_quantized_weights_are_what_their_definition_says(kind, tmp_path: Path):
    model = random_model("qwen2", intermediate_size=COLUMNS, num_hidden_layers=1)
    tensors = llama_cpp_tensors(model, "qwen2")
    rows = random_rows(kind, model.config.hidden_size)
    tensors["blk.0.ffn_down.weight"] = (rows, gguf.GGMLQuantizationType[kind])
    convert(write_gguf(tmp_path / "m.gguf", model, "qwen2", tensors), tmp_path / "folder", 1)
    found = load_file(tmp_path / "folder" / "model.safetensors")
    found = found["model.layers.0.mlp.down_proj.weight"].double().numpy()
    size, _, definition = TYPES[kind]
    expected = np.array([[v for b in row.reshape(-1, size) for v in definition(b)] for row in rows])
    assert found.shape == expected.shape
    # bf16 keeps 8 significant bits: half a step is 2^-8 of the value. Before that, the sum of two
    # single-precision products is off by no more than 2^-22 of the larger.
    bound = 2.0**-8 * np.abs(expected) + 2.0**-22 * 200
    assert (np.abs(found - expected) <= bound).all()
