"""Writes a model's tensors as one bf16 safetensors file, several processes at a time.

The header fixes where each tensor lies, so the processes write their rows straight to their place:
no more than a few hundred MB are in memory, however large the model is.
"""

import json
import os
import struct
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from gguf_source import ConversionError, GgufFile, dequantized
from model_layout import OutputTensor

VALUES_A_CHUNK = 4 << 20
BF16_BYTES = 2


def bf16_bits(values: np.ndarray) -> np.ndarray:
    """Finite float32 to bf16 bit patterns, rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


@dataclass
class _Chunk:
    tensor: OutputTensor
    rows: slice
    offset: int  # in the file


# Set before the worker processes are forked: they inherit the mapped file and read nothing again.
_source: GgufFile | None = None
_target: Path | None = None


def _write_chunk(chunk: _Chunk) -> int:
    tensor = chunk.tensor
    values = dequantized(_source.tensors[tensor.source], chunk.rows, tensor.row_order)
    if tensor.add:
        values = values + np.float32(tensor.add)
    if not np.isfinite(values).all():
        raise ConversionError(
            f"{_source.path}: tensor `{tensor.source}` has a value that is not finite"
        )
    bits = bf16_bits(values)
    with open(_target, "r+b", buffering=0) as file:
        view, offset = memoryview(bits.reshape(-1)).cast("B"), chunk.offset
        while view:
            written = os.pwrite(file.fileno(), view, offset)
            view, offset = view[written:], offset + written
    return bits.nbytes


def _header(tensors: list[OutputTensor]) -> tuple[bytes, int]:
    entries, offset = {"__metadata__": {"format": "pt"}}, 0
    for tensor in tensors:
        size = int(np.prod(tensor.shape)) * BF16_BYTES
        entries[tensor.name] = {
            "dtype": "BF16",
            "shape": tensor.shape,
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # data begin aligned
    return struct.pack("<Q", len(text)) + text, offset


def _chunks(tensors: list[OutputTensor], offset: int) -> list[_Chunk]:
    chunks = []
    for tensor in tensors:
        rows = tensor.shape[0]
        row_values = int(np.prod(tensor.shape[1:], dtype=np.int64))
        step = max(1, VALUES_A_CHUNK // row_values)
        for first in range(0, rows, step):
            last = min(first + step, rows)
            chunks.append(_Chunk(tensor, slice(first, last), offset))
            offset += (last - first) * row_values * BF16_BYTES
    return chunks


def write_safetensors(source: GgufFile, tensors: list[OutputTensor], path: Path, jobs: int) -> int:
    """Dequantizes the tensors into `path`; returns the file's size."""
    global _source, _target
    header, data_bytes = _header(tensors)
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(len(header) + data_bytes)
    _source, _target = source, path
    chunks = _chunks(tensors, len(header))
    with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
        written = sum(pool.map(_write_chunk, chunks, chunksize=4))
    assert written == data_bytes, (written, data_bytes)
    return len(header) + data_bytes
