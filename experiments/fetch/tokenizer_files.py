"""tokenizer.json, tokenizer_config.json and generation_config.json from a GGUF file's metadata.

A GGUF file has tokens, their kinds, merges or scores, and the *name* of a pre-tokenizer; what is
behind the name is written here, as the models' authors publish it.
"""

import json
import re
from pathlib import Path

from gguf_source import GgufFile

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # kinds of tokens; others are unused or bytes

_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _byte_level(prefix_space: bool, trim: bool, regex: bool) -> dict:
    return {
        "type": "ByteLevel",
        "add_prefix_space": prefix_space,
        "trim_offsets": trim,
        "use_regex": regex,
    }


def _bpe(**fields) -> dict:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        **fields,
    }


_QWEN_BYTES = _byte_level(False, False, False)
# By `tokenizer.ggml.pre`. `special_in_vocab`: whether the model's vocabulary lists special tokens.
_BYTE_BPE = {
    "qwen2": {
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": _QWEN_SPLIT},
                    "behavior": "Isolated",
                    "invert": False,
                },
                _QWEN_BYTES,
            ],
        },
        "post_processor": _QWEN_BYTES,
        "decoder": _QWEN_BYTES,
        "model": _bpe(continuing_subword_prefix="", end_of_word_suffix=""),
        "special_in_vocab": False,
    },
    "smollm": {
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                _byte_level(False, True, True),
            ],
        },
        "post_processor": None,
        "decoder": _byte_level(True, True, True),
        "model": _bpe(ignore_merges=False),
        "special_in_vocab": True,
    },
}


# The file's kinds say how llama.cpp prints a token. Where that differs from what the published
# tokenizer.json calls special (left out of decoded text): control tokens that are not, and back.
_NOT_SPECIAL = re.compile(r"<unused\d+>|<mask>|<\|(fim_\w+|repo_name|file_sep)\|>")
_SPECIAL = re.compile(r"<(start|end)_of_image>")


def _added_tokens(tokens: list[str], kinds: list[int]) -> list[dict]:
    added = []
    for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True)):
        if kind not in (CONTROL, USER_DEFINED):
            continue
        special = kind == CONTROL and not _NOT_SPECIAL.fullmatch(token)
        special = special or _SPECIAL.fullmatch(token) is not None
        added.append(
            {
                "id": i,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": special,
            }
        )
    return added


def _byte_bpe_tokenizer(source: GgufFile, tokens: list[str], kinds: list[int]) -> dict:
    pre = source.get("tokenizer.ggml.pre", str)
    if pre not in _BYTE_BPE:
        raise source.error(f"tokenizer.ggml.pre is `{pre}`, expected one of {', '.join(_BYTE_BPE)}")
    style = dict(_BYTE_BPE[pre])
    in_vocab = {NORMAL, CONTROL, USER_DEFINED} if style.pop("special_in_vocab") else {NORMAL}
    pairs = zip(tokens, kinds, strict=True)
    vocab = {token: i for i, (token, kind) in enumerate(pairs) if kind in in_vocab}
    if len(vocab) != max(vocab.values(), default=-1) + 1:
        raise source.error(f"tokenizer.ggml.tokens of `{pre}` has a special token among the others")
    model = style.pop("model")
    merges = source.get("tokenizer.ggml.merges", list)
    return {**style, "model": {**model, "vocab": vocab, "merges": merges}}


def _merges_from_scores(vocab: dict[str, int], scores: list[float]) -> list[list[str]]:
    """The merges of a SentencePiece BPE: every way to make a token of two, best token first.

    Equal scores go by length, longest left part first: that is how transformers makes the published
    merges out of the SentencePiece file, so runs of white space are taken whole.
    """
    merges = []
    for token, score in zip(vocab, scores, strict=True):
        ways = []
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in vocab and right in vocab:
                ways.append((vocab[left], vocab[right], left, right))
        merges += [
            (score, len(left), len(right), left, right) for _, _, left, right in sorted(ways)
        ]
    merges.sort(key=lambda merge: merge[:3], reverse=True)
    return [[left, right] for *_, left, right in merges]


def _template_with_bos(bos: str, bos_id: int) -> dict:
    def sequence(name: str, kind: int) -> list[dict]:
        return [
            {"SpecialToken": {"id": bos, "type_id": kind}},
            {"Sequence": {"id": name, "type_id": kind}},
        ]

    return {
        "type": "TemplateProcessing",
        "single": sequence("A", 0),
        "pair": sequence("A", 0) + sequence("B", 1),
        "special_tokens": {bos: {"id": bos, "ids": [bos_id], "tokens": [bos]}},
    }


def _sentencepiece_tokenizer(source: GgufFile, tokens: list[str], kinds: list[int]) -> dict:
    if source.architecture != "gemma3":
        raise source.error(
            f"tokenizer.ggml.model is `llama` under `{source.architecture}`, expected gemma3"
        )
    vocab = {token: i for i, token in enumerate(tokens)}
    bos_id = source.get("tokenizer.ggml.bos_token_id", int)
    # What is no ordinary token has score 0 in the SentencePiece file, before every ordinary one; in
    # a GGUF file it is the last.
    scores = [
        score if kind == NORMAL else 0.0
        for score, kind in zip(source.get("tokenizer.ggml.scores", list), kinds, strict=True)
    ]
    unknown = tokens[source.get("tokenizer.ggml.unknown_token_id", int)]
    return {
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "post_processor": _template_with_bos(tokens[bos_id], bos_id),
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            **_bpe(unk_token=unknown, fuse_unk=True, byte_fallback=True, ignore_merges=False),
            "vocab": vocab,
            "merges": _merges_from_scores(vocab, scores),
        },
    }


# By `tokenizer.ggml.model`.
_KINDS = {"gpt2": _byte_bpe_tokenizer, "llama": _sentencepiece_tokenizer}


def vocabulary(source: GgufFile) -> list[str]:
    """The tokens as tokenizer.json spells them, by id."""
    tokens = source.get("tokenizer.ggml.tokens", list)
    if source.get("tokenizer.ggml.model", str) == "llama":
        # User-defined tokens stand in the file as the text they print; the model sees no spaces.
        tokens = [token.replace(" ", "▁") for token in tokens]
    return tokens


def tokenizer_json(source: GgufFile) -> dict:
    kind = source.get("tokenizer.ggml.model", str)
    if kind not in _KINDS:
        raise source.error(f"tokenizer.ggml.model is `{kind}`, expected one of {', '.join(_KINDS)}")
    tokens = vocabulary(source)
    kinds = source.get("tokenizer.ggml.token_type", list)
    if len(kinds) != len(tokens):
        raise source.error(
            f"tokenizer.ggml.token_type has {len(kinds)} entries, expected {len(tokens)}"
        )
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(tokens, kinds),
        **_KINDS[kind](source, tokens, kinds),
    }


def chat_template(source: GgufFile) -> str:
    if source.has("tokenizer.chat_template"):
        return source.get("tokenizer.chat_template", str)
    beside = Path(__file__).parent / f"{source.architecture}_chat_template.jinja"
    if not beside.exists():
        raise source.error("metadata has no `tokenizer.chat_template`")
    return beside.read_text(encoding="utf-8")


def _special_id(source: GgufFile, name: str) -> int | None:
    key = f"tokenizer.ggml.{name}_token_id"
    return source.get(key, int) if source.has(key) else None


def tokenizer_config(source: GgufFile) -> dict:
    tokens = vocabulary(source)
    config = {
        "add_bos_token": source.get("tokenizer.ggml.add_bos_token", bool, False),
        "chat_template": chat_template(source),
        "clean_up_tokenization_spaces": False,
        "model_max_length": source.arch("context_length", int),
        # The class that takes tokenizer.json as it is.
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    for name in ("bos", "eos", "unknown", "padding"):
        token_id = _special_id(source, name)
        field = {"unknown": "unk", "padding": "pad"}.get(name, name) + "_token"
        config[field] = None if token_id is None else tokens[token_id]
    return config


def generation_config(source: GgufFile) -> dict:
    """The ids of bos and pad, and every id that ends a reply.

    The file names one; a chat model may also end with the other of its two end marks.
    """
    eos = [source.get("tokenizer.ggml.eos_token_id", int)]
    tokens = vocabulary(source)
    for mark in ("<|endoftext|>", "<|im_end|>", "<end_of_turn>"):
        if mark in tokens and tokens.index(mark) not in eos:
            eos.append(tokens.index(mark))
    return {
        "bos_token_id": _special_id(source, "bos"),
        "eos_token_id": eos,
        "pad_token_id": _special_id(source, "padding"),
    }


def write_json(path: Path, content: dict) -> None:
    text = json.dumps(content, ensure_ascii=False, indent=2)
    path.write_text(text, encoding="utf-8")
