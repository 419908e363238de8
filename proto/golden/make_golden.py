"""Writes the golden frames of format version 1 from FORMAT.md, without any code of the project.

    pip install numpy xxhash
    python proto/golden/make_golden.py proto/golden/v1

Each file holds one message a line, in hexadecimal. common/wire/golden_test.cc encodes the same caches and
compares; a difference means a new format version.
"""

import pathlib
import struct
import sys

import numpy as np
import xxhash

SCHEMES = {"fp32": 1, "bf16": 2, "fp16": 3, "int8": 4, "int4": 5}
AXES = {None: 0, "per_token": 1, "per_head": 2, "per_layer": 3}
SCALES = {None: 0, "fp16": 1, "bf16": 2, "fp32": 3}
SELECTIONS = {"all": 1, "front": 2, "back": 3, "key_norm": 4, "value_norm": 5}
FINGERPRINT = 0x0123456789ABCDEF


def ramp(num_layers, num_heads, head_dim, num_tokens):
    """[half, L, T, H, D] in fp32, every value a multiple of 1/4 and so exact in all formats."""
    half, layer, token, head, dim = np.indices((2, num_layers, num_tokens, num_heads, head_dim))
    return (((half * 7 + layer * 5 + token * 3 + head * 11 + dim * 13) % 23 - 8) / 4).astype(
        np.float32
    )


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def uint(number, value):
    return varint(number << 3) + varint(value) if value else b""


def fixed64(number, value):
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def delimited(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data if data else b""


def to_bf16(x):
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")


def store(x, kind):
    """The bytes of an array of fp32 in a float format."""
    return {"fp32": x.astype("<f4"), "fp16": x.astype("<f2"), "bf16": to_bf16(x)}[kind]


def load(stored, kind):
    if kind == "bf16":
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32)


def quantize(x, codec):
    """Codes [T, bytes]; scales [T, H, 1], those of the whole block in one row, or None."""
    if codec["scheme"] in ("fp32", "bf16", "fp16"):
        return store(x, codec["scheme"]).reshape(len(x), -1).view(np.uint8), None
    qmax = {"int8": 127, "int4": 7}[codec["scheme"]]
    over = {"per_token": (2,), "per_head": (0, 2), "per_layer": (0, 1, 2)}[codec["axis"]]
    amax = np.abs(x).max(axis=over, keepdims=True)
    stored = store((amax / np.float32(qmax)).astype(np.float32), codec["scale"])
    scale = load(stored, codec["scale"])
    quotient = np.divide(x, scale, out=np.zeros_like(x), where=scale > 0)
    codes = np.clip(np.rint(quotient), -qmax, qmax).astype(np.int8)
    if codec["scheme"] == "int4":
        if codes.shape[2] % 2:
            codes = np.pad(codes, ((0, 0), (0, 0), (0, 1)))
        nibbles = codes.view(np.uint8) & 15
        codes = nibbles[:, :, 0::2] | nibbles[:, :, 1::2] << 4
    scales = stored if codec["axis"] == "per_token" else stored.reshape(-1)
    return np.ascontiguousarray(codes).reshape(len(x), -1).view(np.uint8), scales


def select(cache, layers, codec):
    num_tokens = cache.shape[2]
    if "keep_tokens" in codec:
        kept = min(codec["keep_tokens"], num_tokens)
    elif "keep_ratio" in codec:
        share = float(np.float32(codec["keep_ratio"]) * np.float32(num_tokens))
        kept = max(1, int(np.floor(share + 0.5)))
    else:
        kept = num_tokens
    selection = codec.get("select", "all")
    if selection in ("all", "front"):
        return np.arange(kept)
    if selection == "back":
        return np.arange(num_tokens - kept, num_tokens)
    half = 0 if selection == "key_norm" else 1
    score = (
        np.linalg.norm(cache[half, layers].astype(np.float64), axis=-1).mean(axis=-1).sum(axis=0)
    )
    return np.sort(np.argsort(-score, kind="stable")[:kept])


def code_positions(positions, num_tokens, selection):
    if selection in ("all", "front", "back") or len(positions) == num_tokens:
        return 0, b""
    bitmap = bytearray((num_tokens + 7) // 8)
    deltas, following = b"", 0
    for p in positions.tolist():
        bitmap[p // 8] |= 1 << p % 8
        deltas += varint(p - following)
        following = p + 1
    return (2, deltas) if len(deltas) < len(bitmap) else (1, bytes(bitmap))


def u32(*values):
    return struct.pack(f"<{len(values)}I", *values)


def slices(blocks, num_kept, chunk_bytes):
    """Yields the messages' lists of (layer, half, first, count, codes, scales)."""
    chunk, used = [], 0
    for layer, half, codes, scales in blocks:
        per_token = scales is not None and scales.ndim == 3
        first = 0
        while first < num_kept:
            whole = b"" if per_token or scales is None or first else scales.tobytes()
            token = codes.shape[1] + (scales[0].nbytes if per_token else 0)
            if chunk and used + len(whole) + token > chunk_bytes:
                yield chunk
                chunk, used = [], 0
            count = min(max((chunk_bytes - used - len(whole)) // token, 1), num_kept - first)
            part = scales[first : first + count].tobytes() if per_token else whole
            chunk.append((layer, half, first, count, codes[first : first + count].tobytes(), part))
            used += len(chunk[-1][4]) + len(part)
            first += count
    yield chunk


def frame(cache, layers, codec, chunk_bytes=1 << 20):
    _, num_layers, num_tokens, num_heads, head_dim = cache.shape
    positions = select(cache, layers, codec)
    selection = codec.get("select", "all")
    coding, indices = code_positions(positions, num_tokens, selection)
    numbers = (
        SCHEMES[codec["scheme"]],
        AXES[codec.get("axis")],
        SCALES[codec.get("scale")],
        SELECTIONS[selection],
    )
    keep_case, keep_bits, keep = 0, 0, b""
    if "keep_ratio" in codec:
        bits = struct.pack("<f", codec["keep_ratio"])
        keep_case, keep_bits, keep = 5, struct.unpack("<I", bits)[0], varint(5 << 3 | 5) + bits
    elif "keep_tokens" in codec:
        keep_case, keep_bits, keep = 6, codec["keep_tokens"], uint(6, codec["keep_tokens"])
    layout = (num_layers, num_heads, head_dim)
    header = (
        uint(1, 1)
        + fixed64(2, FINGERPRINT)
        + delimited(3, b"".join(uint(i + 1, v) for i, v in enumerate(layout)))
        + delimited(4, b"".join(uint(i + 1, v) for i, v in enumerate(numbers)) + keep)
        + uint(5, num_tokens)
        + uint(6, len(positions))
        + uint(7, coding)
        + delimited(8, indices)
        + delimited(9, b"".join(varint(layer) for layer in layers))
    )
    digest = xxhash.xxh3_64()
    digest.update(
        u32(1) + struct.pack("<Q", FINGERPRINT) + u32(*layout, *numbers, keep_case, keep_bits)
    )
    digest.update(
        u32(num_tokens, len(positions), coding, len(indices)) + indices + u32(len(layers), *layers)
    )
    blocks = [
        (layer, half, *quantize(cache[half, layer][positions], codec))
        for layer in layers
        for half in (0, 1)
    ]
    messages, counts = [], [0, 0, 0]
    for sequence, chunk in enumerate(slices(blocks, len(positions), chunk_bytes)):
        message = uint(1, sequence) + (delimited(2, header) if sequence == 0 else b"")
        for layer, half, first, count, codes, scales in chunk:
            fields = uint(1, layer) + uint(2, half) + uint(3, first) + uint(4, count)
            message += delimited(3, fields + delimited(5, codes) + delimited(6, scales))
            digest.update(
                u32(layer, half, first, count, len(codes)) + codes + u32(len(scales)) + scales
            )
            counts = [counts[0] + 1, counts[1] + len(codes), counts[2] + len(scales)]
        messages.append(message)
    trailer = b"".join(uint(i + 1, v) for i, v in enumerate(counts)) + fixed64(
        4, digest.intdigest()
    )
    messages[-1] += delimited(4, trailer)
    return messages


def codec_text(codec):
    return codec["scheme"] + "".join(f",{k}={v}" for k, v in codec.items() if k != "scheme")


def main(folder):
    small = ramp(3, 2, 5, 9)
    int8 = {"scheme": "int8", "axis": "per_token", "scale": "fp16"}
    int4 = int8 | {"scheme": "int4"}
    codecs = [
        {"scheme": "fp32"},
        {"scheme": "bf16"},
        {"scheme": "fp16"},
        int8,
        int4,
        int8 | {"axis": "per_head", "scale": "bf16"},
        int8 | {"axis": "per_layer"},
        int4 | {"axis": "per_head"},
        int4 | {"axis": "per_layer", "scale": "fp32"},
        int8 | {"select": "front", "keep_tokens": 2},
        int8 | {"select": "back", "keep_ratio": 0.5},
        int8 | {"select": "key_norm", "keep_tokens": 1},
        int4 | {"select": "value_norm", "keep_ratio": 0.25},
        {"scheme": "bf16", "select": "key_norm", "keep_ratio": 0.5},
    ]
    for codec in codecs:
        write(folder / f"{codec_text(codec)}.hex", frame(small, [0, 2], codec))
    long = ramp(2, 2, 16, 40)
    write(folder / "chunks-int8,axis=per_token,scale=fp16.hex", frame(long, [0, 1], int8, 1024))
    per_head = int8 | {"axis": "per_head", "scale": "fp32"}
    write(folder / "chunks-int8,axis=per_head,scale=fp32.hex", frame(long, [0, 1], per_head, 1024))


def write(path, messages):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(message.hex() + "\n" for message in messages))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
