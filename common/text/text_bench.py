"""The limit that text_bench shows: tokens a second of Python's tokenizers, in processor time.

    text_bench.py encode|stream_decode TOKENIZER_JSON < TEXT

Prints the version of tokenizers, the number of tokens of the text, and tokens a second.
"""

import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tokenizers
from tokenizers.decoders import DecodeStream

SECONDS = 0.5


def main() -> None:
    task, path = sys.argv[1:]
    tokenizer = tokenizers.Tokenizer.from_file(path)
    text = sys.stdin.buffer.read().decode("utf-8")

    def encode() -> list[int]:  # without offsets, as ours
        return tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids

    ids = encode()

    def stream_decode() -> None:
        stream = DecodeStream(skip_special_tokens=True)
        for token in ids:
            stream.step(tokenizer, token)

    work = {"encode": encode, "stream_decode": stream_decode}[task]
    num_runs, start = 0, time.process_time()
    while (seconds := time.process_time() - start) < SECONDS:
        work()
        num_runs += 1
    print(tokenizers.__version__, len(ids), len(ids) * num_runs / seconds)


if __name__ == "__main__":
    main()
