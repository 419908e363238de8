"""Writes the synthetic world of the embedded pair: tokenizer, configs, training documents, questions.

    python world.py --out data/embedded --documents FOLDER [--seed 7]

--out gets what is committed: for each model folder config.json, generation_config.json,
tokenizer.json, tokenizer_config.json and chat_template.jinja, and the held-out questions.
--documents gets what the trainer reads, one JSON object a line:
    {"kind": "mc", "segments": [[[ids...], weight], ...]}
The weight is the loss weight of predicting a segment's tokens. In a question the first segment is the
prompt (weight 0): a fuser sees all of it but the last token, which runs on top of the fused cache.
The same seed gives the same bytes.
"""

import argparse
import json
import pathlib
import random

from tokenizers import Tokenizer

from entities import Entity, make_entities
from prompts import (
    CHAT_TEMPLATE,
    LETTERS,
    QUESTIONS,
    ask,
    capitalised,
    draw_options,
    drill,
    random_facts,
    statements,
)
from vocabulary import train_tokenizer

MAX_TOKENS = 56  # longer documents are drawn again
POOLS = {
    "drill": 16_000,
    "hint": 16_000,
    "statements": 30_000,
    "mc": 35_000,
    "open": 20_000,
    "hint_open": 3_000,
}
FUSER_POOLS = {"sharer_mc": 20_000, "sharer_open": 12_000, "receiver_mc": 14_000, "hint": 4_000}
NUM_CHECKS = 512  # questions of each kind in the trainer's own evaluation
NUM_OPEN = 544
NUM_RECEIVER = 512

SHARER_SHAPE = {"hidden_size": 128, "num_hidden_layers": 5}
RECEIVER_SHAPE = {"hidden_size": 96, "num_hidden_layers": 4}
MODELS = {
    "receiver-qwen3": ("Qwen3ForCausalLM", "qwen3", {**RECEIVER_SHAPE, "attention_bias": False}),
    "sharer-qwen2": ("Qwen2ForCausalLM", "qwen2", SHARER_SHAPE),
    "sharer-llama": (
        "LlamaForCausalLM",
        "llama",
        {**SHARER_SHAPE, "attention_bias": False, "mlp_bias": False},
    ),
}


def write_json(path: pathlib.Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_model_folder(
    folder: pathlib.Path, architecture: str, family: str, shape: dict, tokenizer: Tokenizer
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    end, pad = tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")
    config = {
        "architectures": [architecture],
        "model_type": family,
        "vocab_size": tokenizer.get_vocab_size(),
        **shape,
        "intermediate_size": 256,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "hidden_act": "silu",
        "max_position_embeddings": 512,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": end,
        "pad_token_id": pad,
        "torch_dtype": "float16",
    }
    write_json(folder / "config.json", config)
    write_json(
        folder / "generation_config.json",
        {"do_sample": False, "eos_token_id": end, "pad_token_id": pad},
    )
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": 512,
    }
    write_json(folder / "tokenizer_config.json", tokenizer_config)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))


class DocumentWriter:
    """Draws documents of a kind until each fits, and writes them as JSON lines."""

    def __init__(self, path: pathlib.Path, tokenizer: Tokenizer):
        self.file = path.open("w", encoding="utf-8")
        self.tokenizer = tokenizer

    def write(self, kind: str, count: int, draw) -> None:
        written = 0
        while written < count:
            segments = draw()
            encodings = [self.tokenizer.encode(text) for text, _ in segments]
            if sum(len(encoding.ids) for encoding in encodings) > MAX_TOKENS:
                continue
            pieces = [
                [e.ids, weight] for e, (_, weight) in zip(encodings, segments, strict=True) if e.ids
            ]
            self.file.write(
                json.dumps({"kind": kind, "segments": pieces}, separators=(",", ":")) + "\n"
            )
            written += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


def about(rng: random.Random, kind: str, known: list[Entity]):
    """Draws a question about a true fact of somebody in `known`."""

    def draw():
        entity = rng.choice(known)
        return ask(rng, kind, entity.name, entity.facts)

    return draw


def told(rng: random.Random, kind: str, names: list[str]):
    """Draws a question whose answer is in its hint: any name, a random value."""
    return lambda: ask(rng, kind, rng.choice(names), random_facts(rng))


def write_language_model_documents(
    folder: pathlib.Path,
    role: str,
    seed: int,
    tokenizer: Tokenizer,
    known: list[Entity],
    names: list[str],
) -> None:
    rng = random.Random(f"{role} documents {seed}")

    def state():
        entity = rng.choice(known)
        return statements(rng, entity.name, entity.facts)

    draws = {"drill": lambda: drill(rng), "statements": state}
    draws |= {kind: about(rng, kind, known) for kind in ("mc", "open")}
    draws |= {kind: told(rng, kind, names) for kind in ("hint", "hint_open")}
    with DocumentWriter(folder / f"{role}.jsonl", tokenizer) as documents:
        for kind, count in POOLS.items():
            documents.write(kind, count, draws[kind])
    with DocumentWriter(folder / f"{role}_check.jsonl", tokenizer) as documents:
        for kind in ("mc", "open", "hint", "hint_open"):
            documents.write(kind, NUM_CHECKS, draws[kind])


def write_fuser_documents(folder: pathlib.Path, seed: int, tokenizer: Tokenizer, of: dict) -> None:
    rng = random.Random(f"fuser documents {seed}")
    names = [entity.name for split in "SR" for entity in of[split]]
    draws = {
        "sharer_mc": about(rng, "mc", of["S"]),
        "sharer_open": about(rng, "open", of["S"]),
        "receiver_mc": about(rng, "mc", of["R"]),
        "hint": told(rng, "hint", names),
    }
    with DocumentWriter(folder / "fuser.jsonl", tokenizer) as documents:
        for kind, count in FUSER_POOLS.items():
            documents.write(kind, count, draws[kind])
    checks = {
        "heldout_mc": ("mc", "H"),
        "heldout_open": ("open", "H"),
        "receiver_mc": ("mc", "R"),
        "unknown_mc": ("mc", "N"),
    }
    with DocumentWriter(folder / "fuser_check.jsonl", tokenizer) as documents:
        for name, (kind, split) in checks.items():
            documents.write(name, NUM_CHECKS, about(rng, kind, of[split]))


def make_questions(rng: random.Random, prefix: str, entities: list[Entity]) -> list[dict]:
    """One multiple-choice question for each fact, the right letters equally often."""
    facts = [(entity, attribute) for entity in entities for attribute in QUESTIONS]
    rng.shuffle(facts)
    positions = [index % len(LETTERS) for index in range(len(facts))]
    rng.shuffle(positions)
    questions = []
    for index, ((entity, attribute), position) in enumerate(zip(facts, positions, strict=True)):
        options = draw_options(rng, attribute, entity.facts[attribute], position)
        questions.append(
            {
                "id": f"{prefix}-{index:04d}",
                "question": rng.choice(QUESTIONS[attribute]).format(e=entity.name),
                "choices": dict(zip(LETTERS, options, strict=True)),
                "answer": LETTERS[position],
            }
        )
    return questions


def without_choices(question: dict) -> dict:
    answer = capitalised(question["choices"][question["answer"]])
    return {"id": question["id"], "question": question["question"], "answer": answer}


def write_questions(folder: pathlib.Path, seed: int, of: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"questions {seed}")
    files = {
        "heldout_mc": make_questions(rng, "heldout-mc", of["H"]),
        "heldout_open": [
            without_choices(q) for q in make_questions(rng, "heldout-open", of["H"])[:NUM_OPEN]
        ],
        "receiver_mc": make_questions(rng, "receiver-mc", of["R"])[:NUM_RECEIVER],
        "unknown_mc": make_questions(rng, "unknown-mc", of["N"]),
    }
    for name, questions in files.items():
        lines = "".join(json.dumps(question) + "\n" for question in questions)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def write_world(out: pathlib.Path, documents: pathlib.Path, seed: int) -> None:
    entities = make_entities(seed)
    of = {split: [entity for entity in entities if entity.split == split] for split in "SHRN"}
    tokenizer = train_tokenizer(seed, entities)
    for name, (architecture, family, shape) in MODELS.items():
        write_model_folder(out / name, architecture, family, shape, tokenizer)
    write_questions(out / "questions", seed, of)
    documents.mkdir(parents=True, exist_ok=True)
    names = [entity.name for entity in entities]
    write_language_model_documents(documents, "sharer", seed, tokenizer, of["S"] + of["H"], names)
    write_language_model_documents(documents, "receiver", seed, tokenizer, of["R"], names)
    write_fuser_documents(documents, seed, tokenizer, of)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="folder of the models and questions"
    )
    parser.add_argument(
        "--documents", type=pathlib.Path, required=True, help="folder of the training documents"
    )
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    write_world(arguments.out, arguments.documents, arguments.seed)


if __name__ == "__main__":
    main()
