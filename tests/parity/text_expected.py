"""Writes what the Python libraries make of a corpus, for common/text/text_parity_test.cc.

OUT/tokenizer_NAME/ has a tokenizer.json and expected.json with ids, byte offsets and decoded texts
from `tokenizers` by way of transformers; OUT/template_NAME/ has a chat template and expected.json
with what `apply_chat_template` rendered. OUT/alignment_PAIR.json comes from text_alignment.py. NAMEs that need files that are not here are left out.
"""

import argparse
import gzip
import json
import os
import shutil
from pathlib import Path

from jinja2.exceptions import TemplateError
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

import text_templates
from text_alignment import knows_its_special_tokens, write_alignments
from text_corpus import CONVERSATIONS, TEMPLATES, TEXTS, VARIED_CONVERSATIONS, VARIED_TEXTS

SOURCE_DIR = Path(__file__).resolve().parents[2]
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>"]


def small_byte_level() -> Tokenizer:
    """Byte-level BPE with NFC and a template post-processor, trained on the corpus itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("<s>", "</s>")],
    )
    # transformers ignores both of these unless a call asks for them.
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=16, pad_id=2, pad_token="<|endoftext|>")
    return tokenizer


def small_byte_fallback() -> Tokenizer:
    """BPE in the manner of Llama 2: characters, and a token for each byte of any other."""
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for token in [f"<0x{b:02X}>" for b in range(256)] + ["▁"] + [chr(c) for c in range(97, 123)]:
        vocab[token] = len(vocab)
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("i", "n"), ("▁", "a"), ("l", "l")]
    for left, right in merges:
        vocab[left + right] = len(vocab)
    tokenizer = Tokenizer(
        models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(
        [AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")]
    )
    return tokenizer


def gpt2(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer(
        models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def copy_tokenizer(source: Path, target: Path) -> None:
    """tokenizer.json, unpacked where it is packed, and what lies beside it."""
    target.mkdir(parents=True, exist_ok=True)
    packed = source / "tokenizer.json.gz"
    if packed.exists():
        (target / "tokenizer.json").write_bytes(gzip.decompress(packed.read_bytes()))
    else:
        shutil.copyfile(source / "tokenizer.json", target / "tokenizer.json")
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def byte_offsets(text: str, offsets: list[tuple[int, int]]) -> list[list[int]]:
    """From offsets in characters, Python's, to offsets in bytes."""
    at = [0]
    for char in text:
        at.append(at[-1] + len(char.encode()))
    return [[at[begin], at[end]] for begin, end in offsets]


def write_tokenizer_expected(folder: Path) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    backend = tokenizer.backend_tokenizer
    cases = []
    for text in TEXTS + VARIED_TEXTS:
        plain = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = plain["input_ids"]
        cases.append(
            {
                "text": text,
                "ids": ids,
                "offsets": byte_offsets(text, plain["offset_mapping"]),
                "ids_with_special": tokenizer(text)["input_ids"],
                "decoded": backend.decode(ids, skip_special_tokens=False),
                "decoded_skip": backend.decode(ids, skip_special_tokens=True),
            }
        )
    vocab = backend.get_vocab(with_added_tokens=True)
    expected = {
        "vocab_size": len(vocab),
        "tokens": dict(
            sorted(vocab.items(), key=lambda item: item[1])[:: max(1, len(vocab) // 300)]
        ),
        "cases": cases,
    }
    (folder / "expected.json").write_text(json.dumps(expected))


def write_template_expected(folder: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    knows_all = knows_its_special_tokens(folder, tokenizer)
    renders = []
    options_of = [
        {"add_generation_prompt": generation, "enable_thinking": thinking}
        for generation in (False, True)
        for thinking in (None, False, True)
    ]
    for i, messages in enumerate(CONVERSATIONS + VARIED_CONVERSATIONS):
        # Every option of those made by hand, and each of the varied ones in turn.
        for chosen in options_of if i < len(CONVERSATIONS) else [options_of[i % 6]]:
            options = {k: v for k, v in chosen.items() if v is not None}
            render = {"messages": messages, **options}
            try:
                text = tokenizer.apply_chat_template(messages, tokenize=False, **options)
                render["text"] = text
                if knows_all:
                    render["ids"] = tokenizer(text, add_special_tokens=False)["input_ids"]
            except (TemplateError, ValueError) as error:
                render["error"] = str(error)
            renders.append(render)
    (folder / "expected.json").write_text(json.dumps({"renders": renders}))


def write_tokenizers(out: Path, shared: Path, models: Path | None, embedded: Path) -> None:
    made = {"small_byte_level": small_byte_level(), "small_byte_fallback": small_byte_fallback()}
    if (shared / "gpt2").is_dir():
        made["gpt2"] = gpt2(shared / "gpt2")
    for name, tokenizer in made.items():
        folder = out / f"tokenizer_{name}"
        folder.mkdir(parents=True)
        tokenizer.save(str(folder / "tokenizer.json"))
    found = {
        "llama2": shared / "llama2_tinyllama",
        "llama3_0": shared / "llama3/llama-3.0",
        "llama3_1": shared / "llama3/llama-3.1_3.2",
        "qwen2_5": shared / "qwen/qwen2.5",
        "qwen3": shared / "qwen/qwen3",
        "smollm2": shared / "smollm2",
        "embedded": embedded / "receiver-qwen3",
    }
    if models:
        found |= {
            "gemma3": models / "gemma-3-270m",
            "smollm2_135m": models / "SmolLM2-135M-Instruct",
            "qwen2_5_coder": models / "Qwen2.5-Coder-0.5B-Instruct",
        }
    for name, source in found.items():
        if any(source.glob("tokenizer.json*")):
            copy_tokenizer(source, out / f"tokenizer_{name}")
    for folder in out.glob("tokenizer_*"):
        write_tokenizer_expected(folder)


# Published configs and the tokenizers that they belong to.
PUBLISHED = {
    "smollm2": (text_templates.SMOLLM2, "smollm2"),
    "llama3_0": (text_templates.LLAMA3_0, "llama3_0"),
    "llama3_2": (text_templates.LLAMA3_2, "llama3_1"),
    "tinyllama": (text_templates.TINYLLAMA, "llama2"),
    "tinyllama_small": (text_templates.TINYLLAMA, "small_byte_fallback"),
    "gemma3_it": (text_templates.GEMMA3, "gemma3"),
}


def write_templates(out: Path) -> None:
    small = out / "tokenizer_small_byte_level"
    for name, files in TEMPLATES.items():
        folder = out / f"template_{name}"
        folder.mkdir()
        shutil.copyfile(small / "tokenizer.json", folder / "tokenizer.json")
        for file, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / file).write_text(text, newline="")
    for name, (config, tokenizer_name) in PUBLISHED.items():
        own = out / f"tokenizer_{tokenizer_name}"
        folder = out / f"template_{name}"
        copy_tokenizer(own if own.is_dir() else small, folder)
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    for folder in out.glob("tokenizer_*"):
        target = out / folder.name.replace("tokenizer", "template")
        has_config = (folder / "tokenizer_config.json").exists()
        if has_config and not target.exists():
            copy_tokenizer(folder, target)
    for folder in out.glob("template_*"):
        write_template_expected(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the folder to write; replaced")
    parser.add_argument(
        "--shared",
        type=Path,
        default=Path(os.environ.get("QC2C_SHARED_DATA", SOURCE_DIR / "../shared/data")),
        help="development data, with tokenizers/",
    )
    parser.add_argument(
        "--models",
        type=Path,
        default=os.environ.get("QC2C_MODELS"),
        help="downloaded model folders, as `qc2c fetch` leaves them",
    )
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    write_tokenizers(
        args.out, args.shared / "tokenizers", args.models, SOURCE_DIR / "data/embedded"
    )
    write_templates(args.out)
    write_alignments(args.out)


if __name__ == "__main__":
    main()
