"""Writes the golden frames of format version 2 from FORMAT.md, without any code of the project.

    pip install numpy xxhash
    python proto/golden/make_golden.py proto/golden/v2

Each file holds one message a line, in hexadecimal. common/wire/golden_test.cc encodes the same caches and
compares; a difference means a new format version.
"""

import pathlib
import struct
import sys

import numpy as np
import rans
import xxhash

FLOATS = {"fp32": 1, "bf16": 2, "fp16": 3, "fp8_e4m3": 6, "fp8_e5m2": 7}
INTEGERS = {"int8": (4, 8), "int4": (5, 4), "int3": (8, 3), "int2_absmax": (10, 2)}  # number, bits
# number, bits, levels, statistic, divisor
LLOYD = [0.45278004, 1.5104176]
NF4_BELOW_0 = [1.0, 0.6961928009986877, 0.5250730514526367, 0.39491748809814453]
NF4_BELOW_0 += [0.28444138169288635, 0.18477343022823334, 0.09105003625154495]
NF4_ABOVE_0 = [0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224]
NF4_ABOVE_0 += [0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]
LEVELS = {
    "int2": (9, 2, [-1.5, -0.5, 0.5, 1.5], "absmax", 2),
    "int2_lloyd": (11, 2, [-LLOYD[1], -LLOYD[0], *LLOYD], "rms", 1),
    "binary": (12, 1, [-1.0, 1.0], "mean", 1),
    "nf4": (13, 4, [-x for x in NF4_BELOW_0] + [0.0] + NF4_ABOVE_0, "absmax", 1),
}
SCHEMES = FLOATS | {name: row[0] for name, row in (INTEGERS | LEVELS).items()}
AXES = {None: 0, "per_token": 1, "per_head": 2, "per_layer": 3, "per_channel": 4, "group": 5}
AXES["group_tokens"] = 6
SCALES = {None: 0, "fp16": 1, "bf16": 2, "fp32": 3, "two_level": 4}
SELECTIONS = {"all": 1, "front": 2, "back": 3, "key_norm": 4, "value_norm": 5}
SELECTIONS |= {"strided": 6, "random": 7, "sinks": 8, "attention": 9}
INDEX_SETS = {"one": 0, "per_layer": 1}
ENTROPIES = {None: 0, "rans": 1, "zstd": 2}
ROTATIONS = {"keep": 0, "remove": 1}
MEANS = {"keep": 0, "calibrated": 1, "bias": 2}
HADAMARDS = {"off": 0, "keys": 1, "values": 2, "both": 3}
ZERO_POINTS = {"none": 0, "midpoint": 1}
VERSION = 2
FINGERPRINT = 0x0123456789ABCDEF


def ramp(num_layers, num_heads, head_dim, num_tokens):
    """[half, L, T, H, D] in fp32, every value a multiple of 1/4 and so exact in all formats."""
    half, layer, token, head, dim = np.indices((2, num_layers, num_tokens, num_heads, head_dim))
    return (((half * 7 + layer * 5 + token * 3 + head * 11 + dim * 13) % 23 - 8) / 4).astype(
        np.float32
    )


def peaked(num_layers, num_heads, head_dim, num_tokens):
    """The same for a cache with a few large values: what entropy coding is for."""
    step = (ramp(num_layers, num_heads, head_dim, num_tokens) * 4 + 8).astype(int)
    return np.where(step == 0, 4, (step % 5 - 2) / 4).astype(np.float32)


def channels(num_heads, head_dim, num_tokens):
    """One layer whose channels have means of their own: what tables by channel are for."""
    _, _, token, head, dim = np.indices((2, 1, num_tokens, num_heads, head_dim))
    mean = (13 * dim + 11 * head) % 13 - 6
    return ((mean + token * (dim + 1) % 3 - 1) / 4).astype(np.float32)


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


def fp8_numbers(kind):
    """The finite numbers of an 8-bit float that are not negative, by code."""
    fraction_bits, bias = {"fp8_e4m3": (3, 7), "fp8_e5m2": (2, 15)}[kind]
    codes = range(0x7F if kind == "fp8_e4m3" else 0x7C)
    numbers = []
    for code in codes:
        exponent, fraction = code >> fraction_bits, code & (1 << fraction_bits) - 1
        unit = 2.0 ** (max(exponent, 1) - bias - fraction_bits)
        numbers.append((fraction + ((1 << fraction_bits) if exponent else 0)) * unit)
    return np.array(numbers)


def to_fp8(x, kind):
    """The nearest number's code; of two equally near ones the even."""
    distance = np.abs(np.abs(x.astype(np.float64))[..., None] - fp8_numbers(kind))
    odd = np.arange(distance.shape[-1]) % 2
    nearest = np.lexsort((np.broadcast_to(odd, distance.shape), distance), axis=-1)[..., 0]
    return (nearest | np.signbit(x) << 7).astype(np.uint8)


def store(x, kind):
    """The bytes of an array of fp32 in a float format."""
    if kind.startswith("fp8"):
        return to_fp8(x, kind)
    return {"fp32": x.astype("<f4"), "fp16": x.astype("<f2"), "bf16": to_bf16(x)}[kind]


def load(stored, kind):
    if kind == "bf16":
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32)


def statistic(x, kind, over):
    """In fp64: the sums of the golden caches are exact in fp32 too, in any order."""
    if kind == "middle":
        ends = x.min(axis=over, keepdims=True), x.max(axis=over, keepdims=True)
        return np.float32(0.5) * ends[0] + np.float32(0.5) * ends[1] + np.float32(0)
    if kind == "absmax":
        return np.abs(x).max(axis=over, keepdims=True)
    if kind == "mean":
        exact = np.abs(x.astype(np.float64)).sum(axis=over, keepdims=True)
    else:
        exact = np.square(x.astype(np.float64)).sum(axis=over, keepdims=True)
    count = np.float32(np.prod([x.shape[axis] for axis in over]))
    mean = (exact.astype(np.float32) / count).astype(np.float32)
    return mean if kind == "mean" else np.sqrt(mean)


def stored_scales(x, codec, kind, divisor):
    """[T, H, groups], [H], [1] or [H, D] as stored, and the scale of each value [T, H, D]."""
    axis = codec["axis"]
    if axis == "group_tokens":
        size = codec.get("group", 32)
        parts = [
            stored_scales(x[t : t + size], codec | {"axis": "per_channel"}, kind, divisor)
            for t in range(0, len(x), size)
        ]
        return np.stack([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    size = codec.get("group", 32) if axis == "group" else x.shape[2]
    over = {"per_head": (0, 2), "per_layer": (0, 1, 2), "per_channel": (0,)}.get(axis, (2,))
    groups = [x[:, :, d : d + size] for d in range(0, x.shape[2], size)]
    raw = np.concatenate([statistic(group, kind, over) for group in groups], axis=2)
    if codec["scale"] == "two_level":
        stored, scale = two_levels((raw / np.float32(divisor)).astype(np.float32))
        return stored, np.repeat(scale, size, axis=2)[:, :, : x.shape[2]]
    stored = store((raw / np.float32(divisor)).astype(np.float32), codec["scale"])
    scale = load(stored, codec["scale"])
    if axis == "group":
        scale = np.repeat(scale, size, axis=2)[:, :, : x.shape[2]]
    if axis not in ("per_token", "group"):
        stored = stored.reshape(-1)
    return stored, np.broadcast_to(scale, x.shape)


def two_levels(raw):
    """[T, H, groups] to the bytes of each row, [T, H, 2 + groups], and the scales."""
    margin = np.float32(256) / np.float32(255)
    row = (raw.max(axis=2, keepdims=True) * margin).astype("<f2")
    row = np.where(row < 2.0**-14, np.float16(0), row).astype("<f2")
    wide = row.astype(np.float32)
    parts = np.divide(raw * np.float32(256), wide, out=np.zeros_like(raw), where=wide > 0)
    parts = np.minimum(np.ceil(parts), 255).astype(np.uint8)
    stored = np.concatenate([row.view(np.uint8), parts], axis=2)
    return stored, wide * parts.astype(np.float32) / np.float32(256)


def pack(codes, bits):
    """[T, H, D] codes to [T, H, bytes]: bit b of a row is bit b % 8 of byte b // 8."""
    string = (codes[..., None] >> np.arange(bits) & 1).astype(np.uint8)
    return np.packbits(string.reshape(*codes.shape[:2], -1), axis=2, bitorder="little")


def quantize(x, codec):
    """Codes [T, bytes]; then scales and zero points, as far as there are any, those that do not
    follow tokens in one row."""
    scheme = codec["scheme"]
    if scheme in FLOATS:
        return store(x, scheme).reshape(len(x), -1).view(np.uint8), []
    zero_points = []
    if codec.get("zero_point") == "midpoint":
        stored, middle = stored_scales(x, codec, "middle", 1)
        zero_points, x = [stored], x - middle
    if scheme in INTEGERS:
        bits = INTEGERS[scheme][1]
        qmax = 2 ** (bits - 1) - 1
        scales, scale = stored_scales(x, codec, "absmax", qmax)
        quotient = np.divide(x, scale, out=np.zeros_like(x), where=scale > 0)
        codes = np.clip(np.rint(quotient), -qmax, qmax).astype(np.int8).view(np.uint8)
    else:
        _, bits, levels, kind, divisor = LEVELS[scheme]
        scales, scale = stored_scales(x, codec, kind, divisor)
        levels = np.array(levels, np.float32)
        thresholds = np.float32(0.5) * (levels[:-1] + levels[1:])
        codes = (x[..., None] >= thresholds * scale[..., None]).sum(axis=-1)
        codes = np.where(scale > 0, codes, np.argmax(levels >= 0)).astype(np.uint8)
    return np.ascontiguousarray(pack(codes, bits)).reshape(len(x), -1), [scales, *zero_points]


def fp32(x):
    return np.asarray(x, np.float32)


def hadamard(x):
    """Along the last axis, in fp32."""
    step = 1
    while step < x.shape[-1]:
        pairs = x.reshape(*x.shape[:-1], -1, 2, step)
        a, b = pairs[..., 0, :], pairs[..., 1, :]
        x = np.stack([a + b, a - b], axis=-2).reshape(x.shape)
        step *= 2
    return x


class Facts:
    """What both sides of the frames "turned-..." hold: rotations, means, positions of tokens."""

    def __init__(self):
        self.frequencies = [[1.0, 0.5, 0.25, 0.125], [0.75, 0.0625, 0.03125, 0.0]]
        self.of_layer = [0, 1]

    def position(self, token):
        return 2 * token + 3

    def mean(self, half, layer, num_heads, head_dim):
        head, dim = np.indices((num_heads, head_dim))
        return fp32(((half * 2 + layer * 3 + head * 5 + dim * 7) % 11 - 4) / 8)


def treat(x, half, layer, positions, codec, facts):
    """[T, H, D] as the scheme sees it."""
    if codec.get("rotation") == "remove" and half == 0:
        at = fp32([facts.position(t) for t in positions])
        angle = at[:, None] * fp32(facts.frequencies[facts.of_layer[layer]])
        angle = angle.astype(np.float64)[:, None, :]
        c, s = fp32(np.cos(angle)), fp32(np.sin(angle))
        x1, x2 = np.split(x, 2, axis=-1)
        x = np.concatenate([x1 * c + x2 * s, x2 * c - x1 * s], axis=-1)
    if codec.get("mean", "keep") != "keep":  # the biases are the same numbers
        x = x - facts.mean(half, layer, *x.shape[1:])
    if codec.get("hadamard", "off") in ("both", ("keys", "values")[half]):
        x = hadamard(x)
    return x


def entropy_code(codes, codec, num_heads, head_dim):
    """What a piece's codes, [tokens, H] rows, become on the wire."""
    if codec.get("entropy") is None:
        return codes
    on_symbol = codec["scheme"] in INTEGERS
    bits = (INTEGERS if on_symbol else LEVELS)[codec["scheme"]][1]
    rows = np.frombuffer(codes, np.uint8).reshape(-1, (bits * head_dim + 7) // 8)
    string = np.unpackbits(rows, axis=1, bitorder="little")[:, : bits * head_dim]
    symbols = (string.reshape(len(rows), head_dim, bits) << np.arange(bits)).sum(axis=-1)
    if on_symbol:
        symbols = (symbols + 2 ** (bits - 1)) % 2**bits
    return rans.code_rows(symbols.reshape(-1, num_heads * head_dim), bits, on_symbol, codes)


def tensor_codecs(codec, num_layers):
    """What each layer's keys and values get, [half][layer]: a codec, or None if they are not sent."""
    table = [[codec] * num_layers, [codec] * num_layers]
    for half, key in enumerate(("keys", "values")):
        for item in codec.get(key, "").split("+") if key in codec else ():
            layers, scheme, *parts = item.split(":")
            first, last = (int(layer) for layer in (layers.split("-") * 2)[:2])
            own = {"scheme": scheme}
            if scheme in INTEGERS | LEVELS:
                own |= {k: codec.get(k, v) for k, v in (("axis", "per_token"), ("scale", "fp16"))}
                if own["axis"] == "group":
                    own["group"] = codec.get("group", 32)
                for part in parts:
                    if part in SCALES:
                        own["scale"] = part
                    elif part.startswith("group"):
                        own |= {"axis": "group", "group": int(part[5:])}
                    else:
                        own = {k: v for k, v in own.items() if k != "group"} | {"axis": part}
            for layer in range(first, last + 1):
                table[half][layer] = None if scheme == "none" else own
    return table


def codec_of_tensor(codec, own):
    """With what holds for all tensors: float schemes have no zero points."""
    return own | {k: codec[k] for k in ("zero_point",) if k in codec}


def precision_numbers(codec):
    return (
        SCHEMES[codec["scheme"]],
        AXES[codec.get("axis")],
        SCALES[codec.get("scale")],
        codec.get("group", 32) if codec.get("axis") == "group" else 0,
    )


def schedule(codec, table):
    """Codec fields 20 to 22 and the words of the checksum; nothing without a schedule."""
    own, distinct, lists = precision_numbers(codec), [], []
    for layers in table:
        entries = []
        for of_tensor in layers:
            numbers = of_tensor and precision_numbers(of_tensor)
            if numbers not in (None, own) and numbers not in distinct:
                distinct.append(numbers)
            known = {None: 1, own: 0} | {n: i + 2 for i, n in enumerate(distinct)}
            entries.append(known[numbers])
        while entries and entries[-1] == 0:
            entries.pop()
        lists.append(entries)
    if not any(lists):
        return b"", b""
    fields = b"".join(
        delimited(20, b"".join(uint(i + 1, v) for i, v in enumerate(numbers)))
        for numbers in distinct
    )
    fields += b"".join(delimited(21 + i, bytes(entries)) for i, entries in enumerate(lists))
    words = u32(len(distinct), *sum(distinct, ()))
    return fields, words + b"".join(u32(len(entries), *entries) for entries in lists)


def mix(x):
    """The first number of SplitMix64 from state x."""
    mask = (1 << 64) - 1
    x = x + 0x9E3779B97F4A7C15 & mask
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & mask
    x = (x ^ x >> 27) * 0x94D049BB133111EB & mask
    return x ^ x >> 31


def layer_scores(cache, codec):
    """[L, T]: what each layer thinks of each token; None where no scores decide."""
    selection = codec.get("select", "all")
    if selection == "attention":  # what the caller of the codec gives
        layer, token = np.indices(cache.shape[1:3])
        return (layer * 5 + token * 7) % 11 / 4
    if selection not in ("key_norm", "value_norm"):
        return None
    half = 0 if selection == "key_norm" else 1
    return np.linalg.norm(cache[half].astype(np.float64), axis=-1).mean(axis=-1)


def select(cache, codec, layers):
    """The positions of each sent layer."""
    scores = layer_scores(cache, codec)
    if codec.get("indices") == "per_layer":
        return {layer: select_one(cache, codec, scores[layer]) for layer in layers}
    return dict.fromkeys(
        layers, select_one(cache, codec, None if scores is None else scores.sum(axis=0))
    )


def select_one(cache, codec, score):
    num_tokens = cache.shape[2]
    if "keep_tokens" in codec:
        kept = min(codec["keep_tokens"], num_tokens)
    elif "keep_ratio" in codec:
        share = float(np.float32(codec["keep_ratio"]) * np.float32(num_tokens))
        kept = max(1, int(np.floor(share + 0.5)), codec.get("keep_tokens_min", 0))
        kept = min(kept, num_tokens)
    else:
        kept = num_tokens
    selection = codec.get("select", "all")
    if selection in ("all", "front"):
        return np.arange(kept)
    if selection == "back":
        return np.arange(num_tokens - kept, num_tokens)
    if selection == "strided":
        return np.array([num_tokens - 1 - j * num_tokens // kept for j in range(kept)][::-1])
    if selection == "random":
        seed = codec.get("seed", 0) << 32
        return np.sort(sorted(range(num_tokens), key=lambda t: (mix(seed | t), t))[:kept])
    if selection == "sinks":
        front = min(codec.get("sinks", 4), kept)
        return np.r_[:front, num_tokens - kept + front : num_tokens]
    return np.sort(np.argsort(-score, kind="stable")[:kept])


def code_positions(sets, num_tokens, selection):
    if selection not in ("key_norm", "value_norm", "attention") or len(sets[0]) == num_tokens:
        return 0, b""
    bitmaps, deltas = b"", b""
    for positions in sets:
        bitmap, following = bytearray((num_tokens + 7) // 8), 0
        for p in positions.tolist():
            bitmap[p // 8] |= 1 << p % 8
            deltas += varint(p - following)
            following = p + 1
        bitmaps += bitmap
    return (2, deltas) if len(deltas) < len(bitmaps) else (1, bitmaps)


def u32(*values):
    return struct.pack(f"<{len(values)}I", *values)


def slices(blocks, num_kept, chunk_bytes, group_tokens):
    """Yields the messages' lists of (layer, half, first, count, codes, scales)."""
    chunk, used = [], 0
    for layer, half, codes, sections in blocks:

        def scale_rows(first, count, sections=sections):
            """The scales, then the zero points, that come with these tokens."""
            end = first + count
            if group_tokens:
                rows = [s[-(-first // group_tokens) : -(-end // group_tokens)] for s in sections]
            else:
                rows = [
                    s[first:end] if s.ndim == 3 else s[: 0 if first else None] for s in sections
                ]
            return b"".join(row.tobytes() for row in rows)

        def piece_bytes(first, count, codes=codes, scale_rows=scale_rows):
            return count * codes.shape[1] + len(scale_rows(first, count))

        first = 0
        while first < num_kept:
            if chunk and used + piece_bytes(first, 1) > chunk_bytes:
                yield chunk
                chunk, used = [], 0
            count = 1
            while first + count < num_kept and used + piece_bytes(first, count + 1) <= chunk_bytes:
                count += 1
            part = scale_rows(first, count)
            chunk.append((layer, half, first, count, codes[first : first + count].tobytes(), part))
            used += piece_bytes(first, count)
            first += count
    yield chunk


def frame(cache, key_layers, value_layers, codec, chunk_bytes=1 << 20, facts=None):
    _, num_layers, num_tokens, num_heads, head_dim = cache.shape
    selection = codec.get("select", "all")
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
    table = tensor_codecs(codec, num_layers)
    key_layers = [layer for layer in key_layers if table[0][layer]]
    value_layers = [layer for layer in value_layers if table[1][layer]]
    positions = select(cache, codec, sorted({*key_layers, *value_layers}))
    index_sets = INDEX_SETS[codec.get("indices", "one")]
    sets = list(positions.values()) if index_sets else list(positions.values())[:1]
    num_kept = len(sets[0])
    coding, indices = code_positions(sets, num_tokens, selection)
    schedule_fields, schedule_words = schedule(codec, table)
    extras = (
        codec.get("group", 32) if "group" in codec.get("axis", "") else 0,
        codec.get("keep_tokens_min", 0),
        codec.get("sinks", 4) if selection == "sinks" else 0,
        codec.get("seed", 0),
    )
    keep += b"".join(uint(i + 7, v) for i, v in enumerate(extras))
    treatment = {
        11: ROTATIONS[codec.get("rotation", "keep")],
        12: MEANS[codec.get("mean", "keep")],
        13: HADAMARDS[codec.get("hadamard", "off")],
        14: ZERO_POINTS[codec.get("zero_point", "none")],
    }
    calibration = int(codec.get("calibration", "0"), 16)
    keep += b"".join(uint(number, v) for number, v in treatment.items())
    keep += fixed64(15, calibration) if calibration else b""
    entropy = ENTROPIES[codec.get("entropy")]
    later = {16: entropy, 17: index_sets}
    if selection == "attention":
        later |= {18: codec.get("window", 8), 19: codec.get("pool", 5)}
    keep += b"".join(uint(number, v) for number, v in later.items())
    keep += schedule_fields
    present = b"".join(u32(number, v) for number, v in treatment.items() if v)
    present += u32(15) + struct.pack("<Q", calibration) if calibration else b""
    layout = (num_layers, num_heads, head_dim)
    header = (
        uint(1, VERSION)
        + fixed64(2, FINGERPRINT)
        + delimited(3, b"".join(uint(i + 1, v) for i, v in enumerate(layout)))
        + delimited(4, b"".join(uint(i + 1, v) for i, v in enumerate(numbers)) + keep)
        + uint(5, num_tokens)
        + uint(6, num_kept)
        + uint(7, coding)
        + delimited(8, indices)
        + delimited(10, b"".join(varint(layer) for layer in key_layers))
        + delimited(11, b"".join(varint(layer) for layer in value_layers))
    )
    digest = xxhash.xxh3_64()
    digest.update(
        u32(VERSION)
        + struct.pack("<Q", FINGERPRINT)
        + u32(*layout, *numbers, keep_case, keep_bits, *extras)
        + present
        + b"".join(u32(number, v) for number, v in later.items() if v)
    )
    digest.update(
        u32(num_tokens, num_kept, coding, len(indices))
        + indices
        + u32(len(key_layers), *key_layers, len(value_layers), *value_layers)
        + schedule_words
    )
    blocks = [
        (
            layer,
            half,
            *quantize(
                treat(
                    cache[half, layer][positions[layer]],
                    half,
                    layer,
                    positions[layer],
                    codec,
                    facts,
                ),
                codec_of_tensor(codec, table[half][layer]),
            ),
        )
        for layer in range(num_layers)
        for half, layers in enumerate((key_layers, value_layers))
        if layer in layers
    ]
    messages, counts = [], [0, 0, 0]
    group_tokens = extras[0] if codec.get("axis") == "group_tokens" else 0
    for sequence, chunk in enumerate(slices(blocks, num_kept, chunk_bytes, group_tokens)):
        message = uint(1, sequence) + (delimited(2, header) if sequence == 0 else b"")
        for layer, half, first, count, plain, scales in chunk:
            own = codec | {"scheme": table[half][layer]["scheme"]}
            codes = entropy_code(plain, own, num_heads, head_dim)
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
    both = ([0, 2], [0, 2])
    codecs += [{"scheme": "fp8_e4m3"}, {"scheme": "fp8_e5m2"}]
    for scheme in ("int3", "int2_absmax", "int2", "int2_lloyd", "binary", "nf4"):
        per_token = int8 | {"scheme": scheme}
        codecs += [per_token, per_token | {"axis": "per_channel", "scale": "fp32"}]
        codecs.append(per_token | {"axis": "group", "group": 8, "scale": "bf16"})
    codecs += [
        {"scheme": "binary", "axis": "per_head", "scale": "fp16"},
        {"scheme": "int2_lloyd", "axis": "per_layer", "scale": "fp32"},
        int4 | {"axis": "per_channel"},
        int4 | {"axis": "group_tokens", "group": 8},
        int8 | {"select": "strided", "keep_tokens": 4},
        int8 | {"select": "random", "seed": 7, "keep_tokens": 4},
        int8 | {"select": "sinks", "sinks": 2, "keep_ratio": 0.3, "keep_tokens_min": 5},
    ]
    codecs += [
        int4 | {"keys": "0:int8+2:none", "values": "1-2:bf16"},
        int4 | {"entropy": "rans", "keys": "0:int8+2:none", "values": "2:int3"},
        {"scheme": "bf16", "keys": "2:int3:per_channel:fp32", "values": "0:nf4:group8+2:binary"},
        int8 | {"select": "back", "keep_tokens": 3, "values": "0:int4:per_head+2:int8:per_layer"},
    ]
    zero = {"zero_point": "midpoint"}
    codecs += [
        int4 | zero,
        int4 | {"axis": "per_channel"} | zero,
        int8 | {"axis": "per_head"} | zero,
    ]
    codecs += [{"scheme": "int2", "axis": "group", "scale": "fp32", "group": 8} | zero]
    by_layer = {"indices": "per_layer", "keep_tokens": 3}
    codecs += [
        int8 | {"select": "value_norm"} | by_layer,
        int4 | {"select": "key_norm"} | by_layer | {"keep_tokens": 1, "keys": "2:none"},
    ]
    for attention in (
        int8 | {"select": "attention", "keep_tokens": 4},
        int4 | {"select": "attention", "window": 3, "pool": 1} | by_layer,
    ):
        write(folder / f"scored-{codec_text(attention)}.hex", frame(small, *both, attention))
    for codec in codecs:
        write(folder / f"{codec_text(codec)}.hex", frame(small, *both, codec))
    write(folder / "apart-int8,axis=per_token,scale=fp16.hex", frame(small, [1], [0, 1], int8))
    key_norm = int8 | {"select": "key_norm", "keep_tokens": 2}
    write(folder / f"apart-{codec_text(key_norm)}.hex", frame(small, [], [1], key_norm))
    wide = ramp(1, 2, 21, 9)
    for scheme in ("int4", "int3", "nf4"):
        codec = {"scheme": scheme, "axis": "group", "group": 8, "scale": "fp16"}
        write(folder / f"wide-{codec_text(codec)}.hex", frame(wide, [0], [0], codec))
    two_level = {"axis": "group", "scale": "two_level", "group": 8}
    for scheme in ("int8", "int4", "int2_lloyd", "binary"):
        codec = {"scheme": scheme} | two_level
        write(folder / f"wide-{codec_text(codec)}.hex", frame(wide, [0], [0], codec))
    codec = {"scheme": "int4"} | two_level
    mixed = {"scheme": "bf16", "values": "1:int4:group8:two_level"}
    write(folder / f"{codec_text(mixed)}.hex", frame(small, *both, mixed))
    turned = ramp(2, 2, 8, 9)
    means = {"rotation": "remove", "mean": "calibrated", "calibration": "0123456789abcdef"}
    for codec in (
        int8 | {"axis": "per_channel", "rotation": "remove"},
        {"scheme": "bf16", "rotation": "remove", "select": "back", "keep_tokens": 4},
        int4 | {"hadamard": "both"},
        int8 | means,
        int4 | {"rotation": "remove", "mean": "bias"},
        int4 | {"axis": "group", "group": 8} | means | {"hadamard": "keys"},
        int8 | {"rotation": "remove", "select": "value_norm"} | by_layer,
    ):
        path = folder / f"turned-{codec_text(codec)}.hex"
        write(path, frame(turned, [0, 1], [0, 1], codec, facts=Facts()))
    long = ramp(2, 2, 16, 40)
    both = ([0, 1], [0, 1])
    write(folder / "chunks-int8,axis=per_token,scale=fp16.hex", frame(long, *both, int8, 1024))
    coded = int8 | {"entropy": "rans"}
    write(folder / f"chunks-{codec_text(coded)}.hex", frame(long, *both, coded, 1024))
    per_head = int8 | {"axis": "per_head", "scale": "fp32"}
    write(folder / "chunks-int8,axis=per_head,scale=fp32.hex", frame(long, *both, per_head, 1024))
    tokens = {"scheme": "int2", "axis": "group_tokens", "scale": "fp16", "group": 8}
    for codec in (tokens, tokens | zero, int8 | zero):
        write(folder / f"chunks-{codec_text(codec)}.hex", frame(long, *both, codec, 1024))
    write_entropy_coded(folder, int8)


def write_entropy_coded(folder, int8):
    coded = int8 | {"axis": "per_layer", "entropy": "rans"}
    cache = peaked(1, 2, 21, 40)
    for scheme in (*INTEGERS, *LEVELS):
        codec = coded | {"scheme": scheme}
        write(folder / f"peaked-{codec_text(codec)}.hex", frame(cache, [0], [0], codec))
    codec = coded | {"scheme": "int2_absmax"}
    cache = peaked(1, 2, 64, 600)
    write(folder / f"segments-{codec_text(codec)}.hex", frame(cache, [0], [], codec))
    codec = coded | {"scheme": "int4"}
    write(folder / f"channels-{codec_text(codec)}.hex", frame(channels(2, 21, 40), [0], [], codec))


def write(path, messages):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(message.hex() + "\n" for message in messages))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
