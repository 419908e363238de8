"""The tokenizer of the embedded models: byte-level BPE with the Qwen2 split pattern."""

import random

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from entities import VALUES, Entity
from prompts import LETTERS, ask, capitalised, drill, random_facts, statements

VOCABULARY_LIMIT = 2560  # in fact every word of this world is one token long before
NUM_SENTENCES = 20_000
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
QWEN2_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def corpus(seed: int, entities: list[Entity]) -> list[str]:
    """Every name equally often, and values that are random, so that no fact is in the tokenizer."""
    rng = random.Random(f"tokenizer {seed}")
    kinds = ("statements", "mc", "open", "hint", "hint_open", "drill")
    texts = []
    for index in range(NUM_SENTENCES):
        kind = kinds[index % len(kinds)]
        name = entities[index // len(kinds) % len(entities)].name
        if kind == "drill":
            segments = drill(rng)
        elif kind == "statements":
            segments = statements(rng, name, random_facts(rng))
        else:
            segments = ask(rng, kind, name, random_facts(rng))
        texts.append("".join(text for text, _ in segments))
    return texts


def train_tokenizer(seed: int, entities: list[Entity]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_LIMIT,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = corpus(seed, entities)
    for special in SPECIALS:  # they are split off before the pre-tokenizer sees a text
        texts = [text.replace(special, "") for text in texts]
    tokenizer.train_from_iterator(texts, trainer)
    check_tokenizer(tokenizer, entities)
    return tokenizer


def check_tokenizer(tokenizer: Tokenizer, entities: list[Entity]) -> None:
    """Binding a letter or recalling a fact must not need the pieces of a word."""
    words = [f" {letter}" for letter in LETTERS] + [
        f" {entity.name.split()[1]}" for entity in entities
    ]
    for value in (value for values in VALUES.values() for value in values):
        words += [f" {value}", capitalised(value)]
    split = [word for word in words if len(tokenizer.encode(word).ids) != 1]
    if split:
        raise ValueError(f"{len(split)} words are not single tokens, first {split[:8]}")
