#!/usr/bin/env python3
"""Training documents for a fuser between two real models: multiple-choice questions, in two styles.

  letter  the chat prompt of experiments/prompts/c2c_mc.yaml; the reply is the letter
  fact    the plain prompt of experiments/prompts/fact_options.yaml; the sharer alone reads a fact in
          front of it, and the answer is one of the option texts

Reads training splits from a folder (JSON lines {"id", "question", "choices": {"A": ...}, "answer",
"fact"?}), drops every question whose normalised text occurs in a validation or test split of a benchmark
in the same folder, and writes documents of token ids as experiments/train/documents.h describes them.
Prompt, template and tokens are the receiver's; a sharer with another tokenizer reads the same rendered
text as its own tokens.

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
FACT_PROMPT = "Question: {question}\n{choices}Answer:"
FACT_CONTEXT = "Fact: {fact}.\n"
FACT_WORDS = 50  # a supporting passage is cut to so many
FACT_SHUFFLES = 3  # orders of the options of each question
LETTERS = "ABCD"
BENCHMARKS = ("openbookqa", "arc_challenge", "arc_easy", "commonsenseqa", "mmlu")
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


def named(paths, names):
    return [path for path in paths if path.name.startswith(tuple(names))]


def held_out_questions(folder):
    held_out = set()
    for split in ("validation", "test"):
        for path in named(find_split(folder, split), BENCHMARKS):
            held_out.update(normalised(row["question"]) for row in read_questions(path))
    return held_out


def drop_held_out(rows, held_out):
    kept = [row for row in rows if normalised(row["question"]) not in held_out]
    return [row for row in kept if row["answer"] in row["choices"]], len(rows) - len(kept)


def letter_questions(folder):
    names = ("openbookqa", "arc_challenge", "arc_easy", "commonsenseqa", "sciq")
    return [
        row for path in named(find_split(folder, "train"), names) for row in read_questions(path)
    ]


def fact_questions(folder):
    """OpenBookQA with its gold facts. SciQ has passages for validation and test alone; neither is a
    benchmark here, so both train."""
    paths = named(find_split(folder, "train"), ["openbookqa"])
    for split in ("validation", "test"):
        paths += named(find_split(folder, split), ["sciq"])
    rows = [row for path in paths for row in read_questions(path) if row.get("fact")]
    return rows * FACT_SHUFFLES


def four_options(row, letter, rng):
    """The right option at `letter` among at most three wrong ones, in random order."""
    right = row["choices"][row["answer"]]
    wrong = [text for key, text in row["choices"].items() if key != row["answer"]]
    rng.shuffle(wrong)
    options = wrong[:3]
    options.insert(min(LETTERS.index(letter), len(options)), right)
    return options, LETTERS[options.index(right)]


def choice_lines(options):
    return "".join(f"{key}. {text}\n" for key, text in zip(LETTERS, options, strict=False))


class LetterStyle:
    questions = staticmethod(letter_questions)

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def make(self, row, options, answer):
        """Context of the sharer, shared prompt, and how the document ends."""
        message = PROMPT.format(question=row["question"], choices=choice_lines(options))
        prompt = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": message}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
        )
        return "", prompt, {"reply": answer + self.tokenizer.eos_token}


class FactStyle:
    questions = staticmethod(fact_questions)

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def make(self, row, options, answer):
        fact = " ".join(row["fact"].split()[:FACT_WORDS])
        prompt = FACT_PROMPT.format(question=row["question"], choices=choice_lines(options))
        return (
            FACT_CONTEXT.format(fact=fact),
            prompt,
            {"options": [f" {text}" for text in options], "answer": LETTERS.index(answer)},
        )


STYLES = {"letter": LetterStyle, "fact": FactStyle}


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


def make_document(context, prompt, ending, receiver, sharer, max_tokens):
    ids, ends = encode(receiver, prompt)
    if len(ids) > max_tokens:
        return None
    document = {"segments": [[ids, 0.0]]}
    if "reply" in ending:
        document["segments"].append([encode(receiver, ending["reply"])[0], 1.0])
    else:
        document["options"] = [encode(receiver, text)[0] for text in ending["options"]]
        document["answer"] = ending["answer"]
    if sharer is not None:
        sharer_ids, sharer_ends = encode(sharer, context + prompt)
        tokens = span_tokens(ends[:-1], [end - len(context) for end in sharer_ends])
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
    parser.add_argument(
        "--sharer", type=Path, help="model folder, if its tokenizer is another one or style is fact"
    )
    parser.add_argument("--style", choices=STYLES, default="letter")
    parser.add_argument("--out", type=Path, required=True, help="training documents, JSON lines")
    parser.add_argument("--check-out", type=Path, help="OpenBookQA and ARC-Challenge validation")
    parser.add_argument("--max-tokens", type=int, default=230, help="longer prompts are dropped")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main():
    from transformers import AutoTokenizer

    flags = parse_arguments()
    if flags.style == "fact" and not flags.sharer:
        sys.exit("--sharer: style fact needs it, since the sharer reads more than the receiver")
    rng = random.Random(flags.seed)
    receiver = AutoTokenizer.from_pretrained(flags.receiver)
    sharer = AutoTokenizer.from_pretrained(flags.sharer) if flags.sharer else None
    style = STYLES[flags.style](receiver)

    def documents_of(rows):
        made, too_long = [], 0
        for index, row in enumerate(rows):
            options = four_options(row, LETTERS[index % len(LETTERS)], rng)
            document = make_document(*style.make(row, *options), receiver, sharer, flags.max_tokens)
            too_long += document is None
            if document is not None:
                made.append(document)
        return made, too_long

    rows, dropped = drop_held_out(style.questions(flags.data), held_out_questions(flags.data))
    rng.shuffle(rows)
    documents, too_long = documents_of(rows)
    if not documents:
        sys.exit(f"{flags.data}: no training questions for style {flags.style}")
    write_documents(flags.out, assign_buckets(documents))
    print(
        f"{len(documents)} documents; dropped: {dropped} also in a validation or test split, "
        f"{too_long} too long"
    )
    if flags.check_out:
        checks = []
        for path in named(find_split(flags.data, "validation"), ("openbookqa", "arc_challenge")):
            rows = [
                row for row in read_questions(path) if flags.style == "letter" or row.get("fact")
            ]
            kind = path.name.split("_validation")[0]
            checks += [{"kind": kind, **document} for document in documents_of(rows)[0]]
        write_documents(flags.check_out, checks)
        print(f"{len(checks)} documents to check with")


if __name__ == "__main__":
    main()
