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
        start, frequency = sum(table[: symbols[i]]), table[symbols[i]]
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


def code_rows(rows, bits, on_symbol, packed):
    """The coded form of codes as symbols [rows, D]; `packed` are the same codes as bytes."""
    tables, costs = family(2**bits, on_symbol)
    segment_rows = max(65536 // rows.shape[1], 1)
    row_bytes = len(packed) // len(rows)
    coded = b""
    for first in range(0, len(rows), segment_rows):
        symbols = rows[first : first + segment_rows].reshape(-1)
        counts = np.bincount(symbols, minlength=2**bits)
        number = int(np.argmin(costs @ counts)) + 1
        lanes = 1 if len(symbols) < 4096 else 8 if len(symbols) < 32768 else 32
        stream = encode(symbols.tolist(), [tables[number - 1]], [0] * len(symbols), lanes)
        stored = packed[first * row_bytes : (first + segment_rows) * row_bytes]
        segment = bytes([number]) + stream if len(stream) < len(stored) else b"\0" + stored
        last = first + segment_rows >= len(rows)
        coded += segment if last else len(segment).to_bytes(4, "little") + segment
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
