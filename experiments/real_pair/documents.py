#!/usr/bin/env python3
"""Training documents for a fuser between two real models: multiple-choice questions and their letters.

Reads the training splits of OpenBookQA, ARC and, where they are there, CommonsenseQA and SciQ from a
folder (JSON lines {"id", "question", "choices": {"A": ...}, "answer"}), drops every question whose
normalised text occurs in a validation or test split of the same folder, and writes documents of token
ids as experiments/train/documents.h describes them. Prompt, template and tokens are the receiver's; a
sharer with another tokenizer reads the same rendered text as its own tokens.

The folder is only read. Nothing of it is kept in the project.
"""

import argparse
import gzip
import json
import random
import re
import sys
from pathlib import Path

PROMPT = (
    "Accurately answer the following question:\n\n{question}\n\nChoices:\n{choices}\n\nInstructions:\n"
    "- Carefully read the question and all options.\n"
    "- Select the single most correct answer.\n"
    '- Respond ONLY in the following format: "The correct answer is A/B/C/D".\n'
    "- Do not include any explanations, additional text, or punctuation besides the answer.\n\n"
    "The correct answer is"
)
LETTERS = "ABCD"
LENGTH_BUCKETS = 4  # documents of like length share a batch: kinds length_0 .. length_3


def read_questions(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def normalised(question):
    return re.sub(r"[^a-z0-9]+", " ", question.lower()).strip()


def find_split(folder, split):
    """Files NAME_SPLIT.jsonl or .jsonl.gz at any depth."""
    return sorted(p for p in folder.rglob(f"*_{split}.jsonl*") if p.suffix in (".jsonl", ".gz"))


def training_questions(folder, names):
    held_out = set()
    for split in ("validation", "test"):
        for path in find_split(folder, split):
            held_out.update(normalised(row["question"]) for row in read_questions(path))
    kept, dropped = [], 0
    for path in find_split(folder, "train"):
        if not any(path.name.startswith(name) for name in names):
            continue
        for row in read_questions(path):
            if normalised(row["question"]) in held_out:
                dropped += 1
            elif row["answer"] in row["choices"]:
                kept.append(row)
    return kept, dropped


def four_options(row, letter, rng):
    """The right option at `letter` among at most three wrong ones, in random order."""
    right = row["choices"][row["answer"]]
    wrong = [text for key, text in row["choices"].items() if key != row["answer"]]
    rng.shuffle(wrong)
    options = wrong[:3]
    options.insert(min(LETTERS.index(letter), len(options)), right)
    return options, LETTERS[options.index(right)]


def letter_text(row, letter, rng, tokenizer):
    options, answer = four_options(row, letter, rng)
    choices = "".join(f"{key}. {text}\n" for key, text in zip(LETTERS, options))
    message = PROMPT.format(question=row["question"], choices=choices)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": message}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
    )
    return prompt, answer, tokenizer.eos_token


def span_tokens(receiver_ends, sharer_ends):
    """For each receiver token the last sharer token that ends at or before its end; the first one if
    none does. Ends are character offsets into one text."""
    tokens, token = [], 0
    for end in receiver_ends:
        while token + 1 < len(sharer_ends) and sharer_ends[token + 1] <= end:
            token += 1
        tokens.append(token)
    return tokens


def encode(tokenizer, text):
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return encoded["input_ids"], [end for _, end in encoded["offset_mapping"]]


def make_document(prompt, answer, end_of_turn, receiver, sharer, max_tokens):
    ids, ends = encode(receiver, prompt)
    if len(ids) > max_tokens:
        return None
    reply, _ = encode(receiver, answer + end_of_turn)
    document = {"segments": [[ids, 0.0], [reply, 1.0]]}
    if sharer is not None:
        sharer_ids, sharer_ends = encode(sharer, prompt)
        tokens = span_tokens(ends[:-1], sharer_ends)
        document["sharer"] = {"ids": sharer_ids[: tokens[-1] + 1], "tokens": tokens}
    return document


def assign_buckets(documents):
    lengths = sorted(len(d["segments"][0][0]) for d in documents)
    cuts = [lengths[len(lengths) * i // LENGTH_BUCKETS] for i in range(1, LENGTH_BUCKETS)]
    for document in documents:
        length = len(document["segments"][0][0])
        bucket = sum(length >= cut for cut in cuts)
        yield {"kind": f"length_{bucket}", **document}


def write_documents(path, documents):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        for document in documents:
            out.write(json.dumps(document, separators=(",", ":")) + "\n")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the splits")
    parser.add_argument("--receiver", type=Path, required=True, help="model folder")
    parser.add_argument("--sharer", type=Path, help="model folder, if its tokenizer is another one")
    parser.add_argument("--out", type=Path, required=True, help="training documents, JSON lines")
    parser.add_argument("--check-out", type=Path, help="OpenBookQA and ARC-Challenge validation")
    parser.add_argument(
        "--datasets",
        nargs="+",
        default=["openbookqa", "arc_challenge", "arc_easy", "commonsenseqa", "sciq"],
        help="names that a split's file begins with",
    )
    parser.add_argument("--max-tokens", type=int, default=230, help="longer prompts are dropped")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main():
    from transformers import AutoTokenizer

    flags = parse_arguments()
    rng = random.Random(flags.seed)
    receiver = AutoTokenizer.from_pretrained(flags.receiver)
    sharer = AutoTokenizer.from_pretrained(flags.sharer) if flags.sharer else None

    def documents_of(rows):
        made, too_long = [], 0
        for index, row in enumerate(rows):
            text = letter_text(row, LETTERS[index % len(LETTERS)], rng, receiver)
            document = make_document(*text, receiver, sharer, flags.max_tokens)
            too_long += document is None
            if document is not None:
                made.append(document)
        return made, too_long

    rows, dropped = training_questions(flags.data, flags.datasets)
    rng.shuffle(rows)
    documents, too_long = documents_of(rows)
    if not documents:
        sys.exit(f"{flags.data}: no training split of {', '.join(flags.datasets)}")
    write_documents(flags.out, assign_buckets(documents))
    print(f"{len(documents)} documents; dropped: {dropped} also in a test or validation split, {too_long} too long")
    if flags.check_out:
        checks = []
        for name in ("openbookqa", "arc_challenge"):
            for path in find_split(flags.data, "validation"):
                if path.name.startswith(name):
                    made, _ = documents_of(read_questions(path))
                    checks += [{"kind": name, **document} for document in made]
        write_documents(flags.check_out, checks)
        print(f"{len(checks)} documents to check with")


if __name__ == "__main__":
    main()
