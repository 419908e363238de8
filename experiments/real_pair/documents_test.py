"""The training documents of the real pairs."""

import json
import random

import documents


class Characters:
    """A tokenizer with a token for each `width` characters, whose ids are where they begin."""

    def __init__(self, width):
        self.width = width

    def __call__(self, text, add_special_tokens, return_offsets_mapping):
        assert not add_special_tokens and return_offsets_mapping
        begins = range(0, len(text), self.width)
        return {
            "input_ids": list(begins),
            "offset_mapping": [(i, min(i + self.width, len(text))) for i in begins],
        }


def row(question, answer="A", **fields):
    choices = {"A": "one", "B": "two", "C": "three", "D": "four", "E": "five"}
    return {"question": question, "choices": choices, "answer": answer, **fields}


def test_span_takes_the_last_sharer_token_that_ends_at_or_before():
    assert documents.span_tokens([2, 4, 6], [1, 3, 4, 7]) == [0, 2, 2]
    assert documents.span_tokens([1, 2], [5, 9]) == [0, 0]  # none ends early enough: the first
    assert documents.span_tokens([3, 8], [-4, -1, 2, 3, 8]) == [3, 4]  # a context ends before 0


def test_the_right_option_stands_at_its_letter_among_three_wrong_ones():
    rng = random.Random(3)
    for letter in documents.LETTERS:
        options, answer = documents.four_options(row("q", "E"), letter, rng)
        assert answer == letter and len(set(options)) == 4
        assert options[documents.LETTERS.index(letter)] == "five"


def test_a_document_pairs_the_tokens_of_two_tokenizers_and_leaves_the_last_prompt_token_out():
    made = documents.make_document(
        "ab", "cdefgh", {"reply": "A."}, Characters(2), Characters(3), max_tokens=10
    )
    assert made["segments"] == [[[0, 2, 4], 0.0], [[0], 1.0]]
    # The sharer reads abc def gh: its tokens end at 1, 4 and 6 of the shared text, ours at 2 and 4.
    assert made["sharer"] == {"ids": [0, 3], "tokens": [0, 1]}


def test_options_become_ids_and_long_prompts_are_dropped():
    ending = {"options": ["abcd", "ab"], "answer": 1}
    made = documents.make_document("", "abcdef", ending, Characters(2), None, max_tokens=3)
    assert made["options"] == [[0, 2], [0]] and made["answer"] == 1
    assert documents.make_document("", "abcdef", ending, Characters(2), None, max_tokens=2) is None


def test_questions_of_a_held_out_split_are_dropped_however_they_are_written(tmp_path):
    (tmp_path / "sub").mkdir()
    held_out = tmp_path / "sub" / "arc_easy_test.jsonl"
    held_out.write_text(json.dumps(row("Why is the sky blue?")) + "\n")
    rows = [row("why is the SKY  blue"), row("Why is grass green?"), row("no key", answer="Z")]
    kept, dropped = documents.drop_held_out(rows, documents.held_out_questions(tmp_path))
    assert [r["question"] for r in kept] == ["Why is grass green?"] and dropped == 1


def test_buckets_hold_like_lengths():
    made = [{"segments": [[list(range(n)), 0.0]]} for n in (9, 1, 5, 3, 7, 2, 8, 4)]
    kinds = {len(d["segments"][0][0]): d["kind"] for d in documents.assign_buckets(made)}
    assert kinds[1] == "length_0" and kinds[9] == "length_3" and len(set(kinds.values())) == 4
    assert all(kinds[a] <= kinds[b] for a, b in zip(sorted(kinds), sorted(kinds)[1:], strict=False))
