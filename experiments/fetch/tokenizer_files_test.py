"""A tokenizer made from a GGUF file's metadata gives the ids of the tokenizer that went into it."""

import hashlib
import json
import random
from pathlib import Path

import pytest

gguf = pytest.importorskip("gguf", reason="the gguf package could not be installed")

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer
from transformers.convert_slow_tokenizer import generate_merges

from fetch import cache_folder
from gguf_source import ConversionError, GgufFile
from tiny_gguf import SIZES
from tokenizer_files import chat_template, tokenizer_config, tokenizer_json, write_json

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CORPUS = [
    "The quick brown fox jumps over the lazy dog 1234567890 times.",
    "def f(x):\n    return x ** 2  # square\n\n\tend",
    "Ça coûte 12,50 €; naïve café, Ångström — “quotes”.",
    "你好，世界！こんにちは 🎉👩‍🚀 Ω≈ç√",
]
STRINGS = [
    *CORPUS,
    "",
    " ",
    "  two  spaces  and a tab\t",
    "<|im_start|>user\nHi<|im_end|>\n",
    "cafe\u0301",  # decomposed: Qwen composes it
    "1234 IT'S we'll\r\n\r\n x",
    "\n\n\n   \n",
]


def strings() -> list[str]:
    alphabet = sorted(set("".join(CORPUS)))
    choose = random.Random(5)
    return STRINGS + [
        "".join(choose.choices(alphabet, k=choose.randrange(1, 40))) for _ in range(300)
    ]


def write_tokenizer(path: Path, architecture: str, kind: str, pre: str, **parts) -> GgufFile:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(SIZES["max_position_embeddings"])
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(parts["tokens"])
    writer.add_token_types(parts["kinds"])
    if "merges" in parts:
        writer.add_token_merges(parts["merges"])
    if "scores" in parts:
        writer.add_token_scores(parts["scores"])
    writer.add_bos_token_id(parts["bos"])
    writer.add_eos_token_id(parts["eos"])
    writer.add_unk_token_id(parts.get("unk", 0))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return GgufFile(path)


def qwen_pre_tokenizer():
    """As the Qwen2 model card's code splits: one digit at a time, words with what precedes them."""
    pattern = (
        r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"""
        r"""|\s*[\r\n]+|\s+(?!\S)|\s+"""
    )
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def trained(normalizer, pre_tokenizer, special_first: list[str]) -> Tokenizer:
    """SmolLM2's special tokens are the first ids, Qwen's come after the vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=special_first,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


BYTE_LEVEL = {
    "smollm": lambda: trained(
        None,
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        ),
        SPECIAL,
    ),
    "qwen2": lambda: trained(normalizers.NFC(), qwen_pre_tokenizer(), []),
}


@pytest.mark.parametrize("pre", BYTE_LEVEL)
def test_a_byte_level_tokenizer_gives_the_same_ids_and_text(pre, tmp_path):
    original = BYTE_LEVEL[pre]()
    model = json.loads(original.to_str())["model"]
    ids = original.get_vocab(with_added_tokens=True)
    tokens = sorted(ids, key=ids.get)
    source = write_tokenizer(
        tmp_path / "t.gguf",
        "llama",
        "gpt2",
        pre,
        tokens=tokens,
        kinds=[3 if token in SPECIAL else 1 for token in tokens],
        merges=[" ".join(pair) for pair in model["merges"]],
        bos=1,
        eos=2,
    )
    write_json(tmp_path / "tokenizer.json", tokenizer_json(source))
    found = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in strings():
        expected = original.encode(text).ids
        assert found.encode(text).ids == expected, text
        assert found.decode(expected) == original.decode(expected)


def sentencepiece_parts() -> tuple[list[str], list[int], list[float]]:
    """A vocabulary as Gemma's: special tokens, a run of spaces, bytes, pieces by score."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<unused0>", "<start_of_turn>", "<end_of_turn>"]
    runs = ["▁▁", "▁▁▁", "\n\n"]
    byte_tokens = [f"<0x{value:02X}>" for value in range(256)]
    words = "th in qu ic fo ▁th ▁the ick ▁qu ▁quick ▁fo ▁fox".split()
    letters = sorted(set("thequickbrownfxjmpsvlazydg.▁\nina"))
    tokens = special + runs + byte_tokens + words + letters
    kinds = [3] * len(special) + [4] * len(runs) + [6] * 256 + [1] * (len(words) + len(letters))
    scores = [-1000.0] * (len(special) + len(runs) + 256)
    scores += [-float(rank) for rank in range(len(words) + len(letters))]
    return tokens, kinds, scores


def gemma_source(path: Path) -> GgufFile:
    tokens, kinds, scores = sentencepiece_parts()
    printed = [t.replace("▁", " ") if k == 4 else t for t, k in zip(tokens, kinds, strict=True)]
    return write_tokenizer(
        path,
        "gemma3",
        "llama",
        "default",
        tokens=printed,
        kinds=kinds,
        scores=scores,
        bos=2,
        eos=1,
        unk=3,
    )


def test_sentencepiece_merges_are_those_that_transformers_makes(tmp_path):
    tokens, kinds, scores = sentencepiece_parts()
    published = [s if k == 1 else 0.0 for s, k in zip(scores, kinds, strict=True)]
    vocab = {token: i for i, token in enumerate(tokens)}
    expected = generate_merges(vocab, dict(zip(tokens, published, strict=True)))
    model = tokenizer_json(gemma_source(tmp_path / "t.gguf"))["model"]
    assert model["vocab"] == vocab
    assert [tuple(merge) for merge in model["merges"]] == expected


def test_a_sentencepiece_tokenizer_splits_as_its_scores_say(tmp_path):
    source = gemma_source(tmp_path / "t.gguf")
    write_json(tmp_path / "tokenizer.json", tokenizer_json(source))
    write_json(tmp_path / "tokenizer_config.json", tokenizer_config(source))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.tokenize("in the quick fox") == ["in", "▁the", "▁quick", "▁fox"]
    assert tokenizer.tokenize("a   é") == ["a", "▁▁▁", "<0xC3>", "<0xA9>"]
    assert tokenizer("in").input_ids[0] == 2  # <bos>
    assert tokenizer.decode(tokenizer("in  the é").input_ids, skip_special_tokens=True) == (
        "in  the é"
    )


def test_gemma_gets_the_turns_that_its_chat_models_use(tmp_path):
    source = gemma_source(tmp_path / "t.gguf")
    write_json(tmp_path / "tokenizer.json", tokenizer_json(source))
    write_json(tmp_path / "tokenizer_config.json", tokenizer_config(source))
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": " Hi "},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
    ]
    text = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    assert text == (
        "<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello"
        "<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n"
    )


def test_what_a_pre_tokenizer_does_is_not_guessed(tmp_path):
    source = write_tokenizer(
        tmp_path / "t.gguf", "llama", "gpt2", "deepseek", tokens=["a"], kinds=[1], bos=0, eos=0
    )
    with pytest.raises(
        ConversionError, match=r"tokenizer\.ggml\.pre is `deepseek`, expected one of"
    ):
        tokenizer_json(source)
    with pytest.raises(ConversionError, match=r"no `tokenizer\.chat_template`"):
        chat_template(source)


# SHA-256 of the files that the models' authors publish.
PUBLISHED = {
    "SmolLM2-135M-Instruct": "9ca9acddb6525a194ec8ac7a87f24fbba7232a9a15ffa1af0c1224fcd888e47c",
    "Qwen2.5-Coder-0.5B-Instruct": "22bfef58b74d2fa40f402ac0c8d638d9e54d12137da2e2c7e9f32a1e7534e42f",
    "Qwen2.5-Coder-1.5B-Instruct": "22bfef58b74d2fa40f402ac0c8d638d9e54d12137da2e2c7e9f32a1e7534e42f",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_fetched_model_has_the_published_tokenizer_byte_for_byte(name):
    path = cache_folder() / "models" / name / "tokenizer.json"
    if not path.exists():
        pytest.skip(f"no {path}: ./run qc2c fetch {name} makes it")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == PUBLISHED[name]
