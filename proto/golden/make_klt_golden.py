"""Writes the golden codebook and frames of the scheme klt from FORMAT.md, without any code of the project.

    pip install numpy xxhash
    python proto/golden/make_klt_golden.py proto/golden/klt

codebook.safetensors; level_N.hex, the message of a ramp at level N, and level_N.decoded, what a reader
makes of it: fp32, little-endian, in hexadecimal, a line a kept token: the keys of its open tensors, then
the values. common/wire/klt_golden_test.cc encodes and decodes the same.
"""

import json
import pathlib
import struct
import sys

import numpy as np
import rans
import xxhash
from make_golden import VERSION, delimited, fixed64, ramp, u32, uint, varint, write

HALVES = ("keys", "values")
LAYERS = {"keys": [1], "values": [0, 1]}
DIMS = {"keys": 8, "values": 16}
PREFIX_IDS, PREFIX_POSITIONS = [7, 8, 9], [0, 2]
TAIL_IDS, TAIL_DISTANCES = [5, 5, 6], [2, 1, 0]
IDS = [*PREFIX_IDS, 20, 21, 22, 23, *TAIL_IDS]
POSITIONS = [0, 2, 3, 4, 5, 6, 7, 8, 9]
JOINT_TOKENS = 2
FREQUENCIES = [1.0, 0.125]
LEVELS = [
    {"last_tokens": 0, "middle_step": None, "tail_step": None, "joint_step": None},
    {"last_tokens": 2, "middle_step": None, "tail_step": None, "joint_step": 1},
    {"last_tokens": 3, "middle_step": None, "tail_step": -3, "joint_step": -2},
    {"last_tokens": 0, "middle_step": 3, "tail_step": -7, "joint_step": None},
    {"last_tokens": 0, "middle_step": -6, "tail_step": -9, "joint_step": -13},
    {"last_tokens": 0, "middle_step": -23, "tail_step": -30, "joint_step": -31},
]
QUARTERS = [np.float32(x) for x in (1.0, 1.18920708, 1.41421354, 1.68179286)]


def step_size(exponent):
    return np.ldexp(QUARTERS[exponent % 4], exponent // 4).astype(np.float32)


def tables():
    """[2, 29, 128]: the wider the spread, the flatter; nothing beyond +-(6 + row), so that there are escapes."""
    out = np.zeros((2, 29, 128), np.int16)
    for shape in range(2):
        for row in range(29):
            for value in range(-6 - row, 7 + row):
                out[shape, row, value + 63] = 1 + (row * (8 + shape)) // (1 + abs(value))
            out[shape, row, 127] = 9
            out[shape, row, 63] += 2**14 - out[shape, row].sum(dtype=np.int64)
    return out


def basis(k, dim, seed):
    """Sparse dyadic numbers, so that products with the ramp are exact in any order."""
    c, n = np.indices((k, dim))
    analysis = np.where((c + n + seed) % 3 == 0, (c * 5 + n * 3 + seed) % 7 - 3, 0) / 4
    synthesis = np.where((c + 2 * n + seed) % 4 == 0, (c * 3 + n * 7 + seed) % 9 - 4, 0) / 8
    sigma = 6 - np.arange(k) // 2
    return {
        "analysis": analysis.astype(np.float32),
        "synthesis": synthesis.astype(np.float32),
        "sigma": sigma.astype(np.int16),
        "shape": (np.arange(k) % 2).astype(np.int16),
    }


def codebook_tensors():
    tensors = {"tables": tables(), "rotation.frequencies": np.array([FREQUENCIES], np.float32)}
    for h, half in enumerate(HALVES):
        dim = DIMS[half]
        tensors[f"prefix.{half}"] = (np.arange(2 * dim).reshape(2, dim) / 8 + h).astype(np.float32)
        tensors[f"middle.{half}.mean"] = ((np.arange(dim) + h) % 5 / 8).astype(np.float32)
        tail = (np.arange(3 * dim).reshape(3, dim) + h) % 7 / 8
        tensors[f"tail.{half}.mean"] = tail.astype(np.float32)
        for i, part in enumerate(("middle", "tail")):
            for name, tensor in basis(6, dim, h + 2 * i).items():
                tensors[f"{part}.{half}.{name}"] = tensor
    for name, tensor in basis(5, JOINT_TOKENS * sum(DIMS.values()), 4).items():
        tensors[f"joint.{name}"] = tensor
    return tensors


def metadata():
    return {
        "version": 1,
        "sharer": {
            "model": "golden",
            "fingerprint": "0123456789abcdef",
            "num_layers": 3,
            "num_kv_heads": 2,
            "head_dim": 4,
        },
        "fuser": "00000000000000ff",
        "key_layers": LAYERS["keys"],
        "value_layers": LAYERS["values"],
        "rotation_of_layer": [0, 0, 0],
        "prefix_ids": PREFIX_IDS,
        "prefix_positions": PREFIX_POSITIONS,
        "tail_ids": TAIL_IDS,
        "tail_distances": TAIL_DISTANCES,
        "joint_tokens": JOINT_TOKENS,
        "levels": LEVELS,
    }


def safetensors(tensors, text):
    names = {np.dtype(np.float32): "F32", np.dtype(np.int16): "I16"}
    header = {"__metadata__": {"qc2c_codebook": text}}
    data = b""
    for name, tensor in sorted(tensors.items()):
        raw = tensor.tobytes()
        offsets = [len(data), len(data) + len(raw)]
        shape = list(tensor.shape)
        header[name] = {"dtype": names[tensor.dtype], "shape": shape, "data_offsets": offsets}
        data += raw
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + data


def turns(position):
    angles = np.float32(position) * np.array(FREQUENCIES, np.float32)
    wide = angles.astype(np.float64)
    return np.cos(wide).astype(np.float32), np.sin(wide).astype(np.float32)


def turn(row, position, sign):
    """[tensors x H, D] rotated (sign 1) or turned back (sign -1)."""
    cos, sin = turns(position)
    heads = row.reshape(-1, 4)
    a, b = heads[:, :2], heads[:, 2:]
    if sign > 0:
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], 1).reshape(-1)
    return np.concatenate([a * cos + b * sin, b * cos - a * sin], 1).reshape(-1)


def rows_of(cache, half):
    """[T, dim] of the wanted tokens: the ramp's token i is the i-th wanted one."""
    planes = cache[HALVES.index(half)][LAYERS[half]]  # [tensors, T, H, D]
    return planes.transpose(1, 0, 2, 3).reshape(planes.shape[1], -1)


def plain_rows(cache, half):
    rows = rows_of(cache, half)
    if half == "values":
        return rows
    return np.stack([turn(row, p, -1) for row, p in zip(rows, POSITIONS, strict=True)])


def kind_of(token):
    return "middle" if token < len(POSITIONS) - len(TAIL_IDS) else "tail"


def mean_of(tensors, half, token):
    if kind_of(token) == "middle":
        return tensors[f"middle.{half}.mean"]
    return tensors[f"tail.{half}.mean"][token - (len(POSITIONS) - len(TAIL_IDS))]


def parts_of(level):
    """(basis, step, list of (half, token)) in the order of the stream."""
    num_tokens, num_tail = len(POSITIONS), len(TAIL_IDS)
    parts = []
    joint_begin = num_tokens - JOINT_TOKENS
    if level["joint_step"] is not None:
        row = [(half, t) for t in range(joint_begin, num_tokens) for half in HALVES]
        parts.append(("joint", level["joint_step"], row))
    if level["middle_step"] is not None:
        for token in range(len(PREFIX_POSITIONS), num_tokens - num_tail):
            for half in HALVES:
                parts.append((f"middle.{half}", level["middle_step"], [(half, token)]))
    if level["tail_step"] is not None:
        begin = num_tokens - (level["last_tokens"] or num_tail)
        end = num_tokens if level["joint_step"] is None else joint_begin
        for token in range(begin, end):
            for half in HALVES:
                parts.append((f"tail.{half}", level["tail_step"], [(half, token)]))
    return parts


def components(tensors, name, step):
    sigma = tensors[f"{name}.sigma"]
    return [c for c in range(len(sigma)) if sigma[c] - step >= -12]


def values_of(tensors, level, plain):
    """A list of whole numbers a part."""
    out = []
    for name, step, row in parts_of(level):
        x = np.concatenate([plain[h][t] - mean_of(tensors, h, t) for h, t in row])
        exact = tensors[f"{name}.analysis"].astype(np.float64) @ x / step_size(step)
        # The encoder works in fp32: no golden value may depend on its last bits.
        assert np.all(np.abs(np.abs(exact - np.floor(exact)) - 0.5) > 1e-4), (name, exact)
        out.append([int(v) for v in np.rint(exact)[components(tensors, name, step)]])
    return out


def code(tensors, level, values):
    """The rANS stream and the escapes."""
    frequencies = [list(map(int, t)) for t in tensors["tables"].reshape(58, 128)]
    frequencies += [[2 ** (14 - bits)] * 2**bits for bits in range(1, 9)]
    symbols, table_of, escapes = [], [], b""
    for (name, step, _), own in zip(parts_of(level), values, strict=True):
        for c, value in zip(components(tensors, name, step), own, strict=True):
            spread = int(tensors[f"{name}.sigma"][c]) - step
            bits = max(0, -(-(spread - 16) // 4))
            table = int(tensors[f"{name}.shape"][c]) * 29 + spread - 4 * bits + 12
            shifted = value + (2 ** (bits - 1) if bits else 0)
            high = shifted >> bits
            if abs(high) <= 63 and frequencies[table][high + 63]:
                symbols.append(high + 63)
            else:
                symbols.append(127)
                escapes += varint(2 * high if high >= 0 else -2 * high - 1)
            table_of.append(table)
            if bits:
                symbols.append(shifted % 2**bits)
                table_of.append(58 + bits - 1)
    if not symbols:
        return b"", escapes
    return rans.encode(symbols, frequencies, table_of, 1), escapes


def message(book_id, index, codes, num_escape_bytes):
    num_tokens = len(POSITIONS)
    # A member of a oneof is present even at 0.
    codec = uint(1, 14) + fixed64(30, book_id) + varint(31 << 3) + varint(index)
    header = uint(1, VERSION) + delimited(4, codec) + uint(5, num_tokens)
    header += uint(30, num_escape_bytes)
    block = delimited(5, codes)
    covered = u32(VERSION, 14) + struct.pack("<Q", book_id)
    covered += u32(index, num_tokens, num_escape_bytes, len(codes)) + codes
    trailer = fixed64(4, xxhash.xxh3_64_intdigest(covered))
    return delimited(2, header) + delimited(3, block) + delimited(4, trailer)


def decode(tensors, level, values):
    """[kept tokens] of the open tensors' values, keys rotated."""
    num_tokens = len(POSITIONS)
    rows = {(h, t): mean_of(tensors, h, t).copy() for h in HALVES for t in range(2, num_tokens)}
    for (name, step, row), own in zip(parts_of(level), values, strict=True):
        joined = np.concatenate([rows[key] for key in row])
        for c, value in zip(components(tensors, name, step), own, strict=True):
            coefficient = np.float32(value) * step_size(step)
            joined = joined + coefficient * tensors[f"{name}.synthesis"][c]
        for key in row:
            rows[key], joined = joined[: DIMS[key[0]]], joined[DIMS[key[0]] :]
    kept = range(num_tokens - (level["last_tokens"] or num_tokens), num_tokens)
    out = []
    for token in kept:
        if token < len(PREFIX_POSITIONS):
            out.append(np.concatenate([tensors[f"prefix.{half}"][token] for half in HALVES]))
            continue
        keys = turn(rows["keys", token], POSITIONS[token], 1)
        out.append(np.concatenate([keys, rows["values", token]]))
    return np.stack(out).astype("<f4")


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    tensors = codebook_tensors()
    book = safetensors(tensors, json.dumps(metadata()))
    (folder / "codebook.safetensors").write_bytes(book)
    book_id = xxhash.xxh3_64_intdigest(book)
    cache = ramp(3, 2, 4, len(POSITIONS))
    plain = {half: plain_rows(cache, half) for half in HALVES}
    for index, level in enumerate(LEVELS):
        values = values_of(tensors, level, plain)
        codes, escapes = code(tensors, level, values)
        write(
            folder / f"level_{index}.hex", [message(book_id, index, codes + escapes, len(escapes))]
        )
        decoded = decode(tensors, level, values)
        write(folder / f"level_{index}.decoded", [row.tobytes() for row in decoded])


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
