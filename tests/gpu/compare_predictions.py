#!/usr/bin/env python3
"""Compares two run folders question by question: answers, and the bytes that crossed the wire."""

import argparse
import json
import pathlib
import sys


def read_predictions(path):
    with path.open(encoding="utf-8") as lines:
        return {row["id"]: row for row in map(json.loads, lines)}


def compare(first, second):
    """Yields (file name, questions, same output, same bytes) for every predictions file."""
    names = {path.name for folder in (first, second) for path in folder.glob("*.jsonl")}
    for name in sorted(names):
        left, right = read_predictions(first / name), read_predictions(second / name)
        if left.keys() != right.keys():
            sys.exit(f"{name}: the two runs did not answer the same questions")
        pairs = [(left[key], right[key]) for key in left]
        yield (
            name.removesuffix(".jsonl"),
            len(pairs),
            sum(a["output"] == b["output"] for a, b in pairs),
            sum(a["bytes_tx"] == b["bytes_tx"] for a, b in pairs),
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=pathlib.Path, help="run folder")
    parser.add_argument("second", type=pathlib.Path, help="run folder")
    parser.add_argument(
        "--any-bytes",
        action="store_true",
        help="only answers must agree: entropy-coded sizes follow the codes, of which a few are near ties",
    )
    parser.add_argument(
        "--report-only", action="store_true", help="differences do not make the exit status 1"
    )
    options = parser.parse_args()
    folders = [folder / "results" / "predictions" for folder in (options.first, options.second)]
    total = same_output = same_bytes = 0
    print(f"{'point':40} {'n':>6} {'same answer':>12} {'same bytes':>11}")
    for name, questions, outputs, sizes in compare(*folders):
        print(f"{name:40} {questions:6} {outputs:12} {sizes:11}")
        total += questions
        same_output += outputs
        same_bytes += sizes
    print(f"{'all':40} {total:6} {same_output:12} {same_bytes:11}")
    same_size = options.any_bytes or same_bytes == total
    differ = total == 0 or same_output != total or not same_size
    return 1 if differ and not options.report_only else 0


if __name__ == "__main__":
    sys.exit(main())
