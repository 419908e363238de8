"""The rANS coder of FORMAT.md on Python's integers: the second implementation, for golden bytes.

    python proto/golden/rans.py

prints the streams that common/codec/rans_test.cc expects.
"""

import functools
import math
from decimal import Decimal

import numpy as np

BITS = 14
LOW = 1 << 16


def encode(symbols, tables, table_of, lanes):
    """`tables`: lists of frequencies that add up to 2^14; `table_of`: a table's index a symbol."""
    states = [0 if lanes == 1 else LOW] * lanes
    stream = b""
    for i in reversed(range(len(symbols))):
        table = tables[table_of[i]]
        frequency = table[symbols[i]]
        start = sum(table[: symbols[i]])
        x = states[i % lanes]
        if x >= frequency << 32 - BITS:
            stream += (x % 2**16).to_bytes(2, "little")
            x //= 2**16
        states[i % lanes] = x // frequency * 2**BITS + start + x % frequency
    stream += b"".join(x.to_bytes(4, "little") for x in states)
    return stream.rstrip(b"\0") if lanes == 1 else stream


# floor(2^32 exp(-2^((5 - k) / 2)))
DECAY = [int(Decimal(2) ** 32 * (-(Decimal(2) ** (Decimal(5 - k) / 2))).exp()) for k in range(32)]


def table(number, num_symbols, on_symbol):
    """Table `number` (1 .. 128) of the family; the middle is on a symbol or between two."""
    shape, width = divmod(number - 1, 32)
    decay = DECAY[width]
    if shape == 0:
        steepening = 2**32
    else:
        index = width + (4, 0, -2)[shape - 1]
        steepening = DECAY[max(index, 0)] if index < 32 else 2**32
    middle = num_symbols // 2
    by_distance, weight = [], 2**32
    for _ in range(middle + 1):
        by_distance.append(weight)
        weight, decay = weight * decay >> 32, decay * steepening >> 32
    below = 0 if on_symbol else 1
    weights = [
        by_distance[s - middle if s >= middle else middle - s - below] for s in range(num_symbols)
    ]
    frequencies = [1 + w * (2**BITS - num_symbols) // sum(weights) for w in weights]
    frequencies[middle] += 2**BITS - sum(frequencies)
    return frequencies


@functools.cache
def cost(frequency):
    """2^12 times the bits of a symbol, the logarithm rounded down to 12 binary places."""
    return BITS * 2**12 - max(n for n in log2_candidates(frequency) if 2**n <= frequency**4096)


def log2_candidates(frequency):
    near = int(math.log2(frequency) * 4096)
    return range(max(near - 1, 0), near + 2)


@functools.cache
def family(num_symbols, on_symbol):
    tables = [table(number, num_symbols, on_symbol) for number in range(1, 129)]
    return tables, np.array([[cost(f) for f in frequencies] for frequencies in tables])


def best_table(counts, num_symbols, on_symbol):
    """The number of the table of least cost, and that cost."""
    totals = family(num_symbols, on_symbol)[1] @ counts
    return int(np.argmin(totals)) + 1, int(totals.min())


def shift_of(counts):
    """How far a channel's middle is from the alphabet's: its lower median."""
    median = int(np.argmax(2 * np.cumsum(counts) >= counts.sum()))
    return (median - len(counts) // 2) % len(counts)


def channel_tables(symbols, num_symbols, on_symbol):
    """[channels] of (table, shift) for symbols [tokens, channels], and the cost with the list."""
    chosen, cost = [], 0
    for channel in symbols.T:
        counts = np.bincount(channel, minlength=num_symbols)
        shift = shift_of(counts)
        number, own = best_table(np.roll(counts, -shift), num_symbols, on_symbol)
        chosen.append((number, shift))
        cost += own + (16 << 12)
    return chosen, cost


def code_segment(symbols, bits, on_symbol, stored):
    """One segment of symbols [tokens, channels]; `stored` are the same codes as bytes."""
    num_symbols = 2**bits
    tables = family(num_symbols, on_symbol)[0]
    flat = symbols.reshape(-1)
    lanes = 1 if len(flat) < 4096 else 8 if len(flat) < 32768 else 32
    number, cost = best_table(np.bincount(flat, minlength=num_symbols), num_symbols, on_symbol)
    head, table_of = bytes([number]), [number - 1] * len(flat)
    if bits <= 4 and len(symbols) >= 8:
        chosen, channel_cost = channel_tables(symbols, num_symbols, on_symbol)
        if channel_cost < cost:
            head = bytes([129]) + bytes(byte for pair in chosen for byte in pair)
            table_of = [number - 1 for number, _ in chosen] * len(symbols)
            shifts = np.array([shift for _, shift in chosen])
            flat = ((symbols - shifts) % num_symbols).reshape(-1)
    segment = head + encode(flat.tolist(), tables, table_of, lanes)
    return segment if len(segment) <= len(stored) else b"\0" + stored


def code_rows(symbols, bits, on_symbol, packed):
    """The coded form of codes as symbols [tokens, H D]; `packed` are the same codes as bytes."""
    segment_tokens = 65536 // symbols.shape[1]
    token_bytes = len(packed) // len(symbols)
    coded = b""
    for first in range(0, len(symbols), segment_tokens):
        last = first + segment_tokens
        stored = packed[first * token_bytes : last * token_bytes]
        segment = code_segment(symbols[first:last], bits, on_symbol, stored)
        coded += segment if last >= len(symbols) else len(segment).to_bytes(4, "little") + segment
    return coded


def random_numbers(seed):
    """The generator of the test, so that both sides have the same input: 15 bits a number."""
    while True:
        seed = (seed * 1103515245 + 12345) % 2**31
        yield seed >> 16


def random_table(num_symbols, numbers):
    """Frequencies of at least 1 in random proportions; the last symbol takes what is left."""
    weights = [next(numbers) + 1 for _ in range(num_symbols)]
    left = 2**BITS - num_symbols
    table = [1 + left * weight // sum(weights) for weight in weights]
    table[-1] += 2**BITS - sum(table)
    return table


def draw(table, number):
    slot = number % 2**BITS
    return next(s for s in range(len(table)) if slot < sum(table[: s + 1]))


def main():
    for seed, lanes, num_symbols in ((1, 1, 40), (2, 8, 70), (3, 32, 99)):
        numbers = random_numbers(seed)
        tables = [random_table(size, numbers) for size in (2, 16, 255)]
        table_of = [next(numbers) % 3 for _ in range(num_symbols)]
        symbols = [draw(tables[t], next(numbers)) for t in table_of]
        print(seed, lanes, num_symbols, encode(symbols, tables, table_of, lanes).hex())


if __name__ == "__main__":
    main()
