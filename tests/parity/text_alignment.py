"""Token alignment between two tokenizers in Python, for common/text/alignment_parity_test.cc.

An implementation of its own, on transformers: the aligner of Cache-to-Cache (github.com/thu-nics/C2C,
rosetta/model/aligner.py, after its description) and the `span` rule by its definition.
"""

import json
from pathlib import Path

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerFast

from text_corpus import CONVERSATIONS, TEXTS, VARIED_CONVERSATIONS, VARIED_TEXTS

# Receiver and sharer; a pair of which one is not here is left out.
PAIRS = [
    ("embedded", "tinyllama_small"),
    ("tinyllama_small", "embedded"),
    ("qwen3", "qwen2_5"),
    ("qwen3", "llama3_2"),
    ("qwen3", "tinyllama"),
    ("qwen3", "gemma3_it"),
    ("smollm2", "qwen2_5"),
    ("smollm2", "gemma3_it"),
    ("tinyllama", "smollm2"),
]
SPAN_TEXTS = [text for text in TEXTS if len(text) < 1000] + VARIED_TEXTS[:150]
CONTEXTS = ["", "Fact: a magnet attracts iron.\n", "天气 "]
# Templates that trim what they are given make text with white space at its ends unfindable.
CHATS = [
    *[chat for chat in CONVERSATIONS if chat],
    *VARIED_CONVERSATIONS[:20],
    *[
        [turn | {"content": turn["content"].strip()} for turn in chat]
        for chat in VARIED_CONVERSATIONS[20:70]
    ],
]


def knows_its_special_tokens(folder: Path, tokenizer: PreTrainedTokenizerFast) -> bool:
    """Otherwise transformers gave new ids to tokens that tokenizer.json lacks."""
    file = json.loads((folder / "tokenizer.json").read_text())
    known = {token["content"] for token in file["added_tokens"]} | set(file["model"]["vocab"])
    return known.issuperset(tokenizer.all_special_tokens)


class NoAlignmentError(Exception):
    """The two prompts cannot be cut alike."""


class Side:
    """A model folder's tokenizer with its special tokens and chat template."""

    def __init__(self, folder: Path):
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        self.is_whole = knows_its_special_tokens(folder, self.tokenizer)
        self.special_ids = set(self.tokenizer.all_special_ids)
        self.bos, self.eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        self.unk = self.tokenizer.unk_token_id
        pad = self.tokenizer.pad_token_id
        self.pad = self.eos if pad is None else pad

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return encoded["input_ids"], encoded["offset_mapping"]

    def decode(self, token: int) -> str:
        return self.tokenizer.decode(
            [token], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )


def map_token(receiver: Side, sharer: Side, token: int, strategy: str) -> int:
    text = receiver.decode(token)
    if token in receiver.special_ids:
        table = {}
        for part in ("pad", "eos", "bos", "unk"):
            ours, theirs = getattr(receiver, part), getattr(sharer, part)
            if ours is not None and theirs is not None:
                table[ours] = theirs
        if token in table:
            return table[token]
        same = sharer.tokenizer.convert_tokens_to_ids(text)
        if same is not None and same != sharer.unk:
            return same
        return 0 if sharer.unk is None else sharer.unk
    pieces = sharer.encode(text)
    if not pieces:
        return 0 if sharer.unk is None else sharer.unk
    if strategy == "first":
        return pieces[0]
    # max keeps the first of equals.
    return max(pieces, key=lambda piece: len(sharer.decode(piece))) if pieces[1:] else pieces[0]


def align_spans(receiver: Side, sharer: Side, text: str, context: str) -> dict:
    _, receiver_spans = receiver.spans(text)
    sharer_ids, sharer_spans = sharer.spans(context + text)
    ends = [end - len(context) for _, end in sharer_spans]
    taken = []
    for _, own_end in receiver_spans:
        before = [(end, j) for j, end in enumerate(ends) if end <= own_end]
        taken.append(max(before)[1] if before else 0)
    return {"text": text, "context": context, "sharer_ids": sharer_ids, "sharer_token": taken}


def find_message(text: str, content: str, start: int) -> int:
    places = [at for at in range(len(text)) if text.startswith(content, at)]
    for at in places:
        end = at + len(content)
        if at >= start and (end == len(text) or text[end] == "<"):
            return at
    name = "begin_of_text"
    names = [at for at in range(len(text)) if text.startswith(name, at)]
    plain = [
        at
        for at in places
        if not any(n <= at and at + len(content) <= n + len(name) for n in names)
    ]
    later = [at for at in plain if at >= start]
    if later:
        return later[0]
    if not plain or plain[0] < start:
        raise NoAlignmentError(f"{content!r} is not in order")
    return plain[0]


def cut(side: Side, messages: list[dict], reply_prefix: str) -> list[tuple[str, list[int]]]:
    """A reply prefix is the content of an assistant's message that is not rendered but appended."""
    text = side.tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    ranges, place = [], 0
    for content in filter(None, (message["content"] for message in messages)):
        begin = find_message(text, content, place)
        place = begin + len(content)
        ranges.append((begin, place))
    if reply_prefix:
        ranges.append((len(text), len(text) + len(reply_prefix)))
    ids, spans = side.spans(text + reply_prefix)
    sections, done = [], 0
    for begin, end in ranges:
        first = next((i for i in range(len(ids)) if spans[i][1] > begin), len(ids))
        first = max(first, done)
        last = next((i for i in range(first, len(ids)) if spans[i][0] >= end), len(ids))
        if first > done:
            sections.append(("template", ids[done:first]))
        sections.append(("message", ids[first:last]))
        done = last
    if done < len(ids):
        sections.append(("template", ids[done:]))
    return sections


def align_chat(
    receiver: Side, sharer: Side, messages: list[dict], strategy: str, reply_prefix: str = ""
) -> dict:
    ours = cut(receiver, messages, reply_prefix)
    theirs = cut(sharer, messages, reply_prefix)
    if [kind for kind, _ in ours] != [kind for kind, _ in theirs]:
        raise NoAlignmentError("sections differ")
    result = {key: [] for key in ("receiver_ids", "sharer_ids", "receiver_pad", "sharer_pad")}
    result["message"] = []
    for (kind, own), (_, other) in zip(ours, theirs, strict=True):
        if kind == "message":
            other = [map_token(receiver, sharer, token, strategy) for token in own]
        size = max(len(own), len(other))
        for name, side, ids in (("receiver", receiver, own), ("sharer", sharer, other)):
            missing = size - len(ids)
            if missing and side.pad is None:
                raise NoAlignmentError("no pad")
            result[f"{name}_ids"] += ids + [side.pad] * missing
            result[f"{name}_pad"] += [False] * len(ids) + [True] * missing
        result["message"] += [kind == "message"] * size
    return result


def write_pair(receiver: Side, sharer: Side, path: Path, names: tuple[str, str]) -> None:
    size = len(receiver.tokenizer)
    sample = set(range(0, size, max(1, size // 1500))) | receiver.special_ids
    for text in SPAN_TEXTS:
        sample |= set(receiver.encode(text))
    chats = []
    for i, messages in enumerate(CHATS):
        strategy = ("first", "longest")[i % 2]
        reply_prefix = ("", "Answer:", "")[i % 3]
        chat = {"messages": messages, "strategy": strategy, "reply_prefix": reply_prefix}
        try:
            chat |= align_chat(receiver, sharer, messages, strategy, reply_prefix)
        except (NoAlignmentError, TemplateError, ValueError) as error:
            chat["error"] = str(error)
        chats.append(chat)
    expected = {
        "receiver": f"template_{names[0]}",
        "sharer": f"template_{names[1]}",
        "map": [
            [token, *(map_token(receiver, sharer, token, s) for s in ("first", "longest"))]
            for token in sorted(sample)
        ],
        "spans": [
            align_spans(receiver, sharer, text, CONTEXTS[i % len(CONTEXTS)])
            for i, text in enumerate(SPAN_TEXTS)
            if text
        ],
        "chats": chats,
    }
    path.write_text(json.dumps(expected))


def write_alignments(out: Path) -> None:
    """OUT/alignment_RECEIVER_SHARER.json for each pair whose model folders are OUT/template_NAME."""
    sides: dict[str, Side] = {}
    for pair in PAIRS:
        if not all((out / f"template_{name}").is_dir() for name in pair):
            continue
        for name in pair:
            if name not in sides:
                sides[name] = Side(out / f"template_{name}")
        receiver, sharer = (sides[name] for name in pair)
        if receiver.is_whole and sharer.is_whole:
            write_pair(receiver, sharer, out / f"alignment_{'_to_'.join(pair)}.json", pair)
