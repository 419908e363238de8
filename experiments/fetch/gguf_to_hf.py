"""Makes a Hugging Face model folder from a GGUF file.

usage: gguf_to_hf.py --gguf FILE --out FOLDER [--jobs N]

Writes config.json, generation_config.json, model.safetensors (bf16), tokenizer.json and
tokenizer_config.json. Needs NumPy and the `gguf` package; no network. The folder appears under its
name when it is whole. Exit codes: 65 the file cannot be converted, 73 the folder cannot be written.
"""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from bf16_safetensors import write_safetensors
from gguf_source import ConversionError, GgufFile
from model_layout import read_layout
from tokenizer_files import generation_config, tokenizer_config, tokenizer_json, write_json

EXIT_BAD_INPUT = 65
EXIT_CANNOT_WRITE = 73


def convert(gguf_path: Path, folder: Path, jobs: int) -> None:
    """Converts into `folder`, which must not exist; ConversionError or OSError leaves nothing."""
    source = GgufFile(gguf_path)
    layout = read_layout(source)
    generation = generation_config(source)
    config = layout.config | {name: generation[name] for name in ("bos_token_id", "pad_token_id")}
    config["eos_token_id"] = generation["eos_token_id"][0]
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        write_json(partial / "config.json", config)
        write_json(partial / "generation_config.json", generation)
        write_json(partial / "tokenizer.json", tokenizer_json(source))
        write_json(partial / "tokenizer_config.json", tokenizer_config(source))
        write_safetensors(source, layout.tensors, partial / "model.safetensors", jobs)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=min(8, os.cpu_count() or 1))
    arguments = parser.parse_args()
    if arguments.out.exists():
        print(f"gguf_to_hf: {arguments.out} exists already", file=sys.stderr)
        return EXIT_CANNOT_WRITE
    start = time.monotonic()
    try:
        convert(arguments.gguf, arguments.out, arguments.jobs)
    except ConversionError as error:
        print(f"gguf_to_hf: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except OSError as error:
        print(f"gguf_to_hf: {error}", file=sys.stderr)
        return EXIT_CANNOT_WRITE
    print(f"{arguments.out}: converted in {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
