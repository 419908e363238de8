"""The claims that the embedded pair rests on, checked on what world.py writes."""

import collections
import json
import pathlib
import re
import sys

import pytest
from tokenizers import Tokenizer

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import world
from entities import SPLIT_SIZES, VALUES, make_entities
from prompts import LETTERS, capitalised, chat_prompt, option_lines

SEED = 7


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """(out, documents) of one run with small pools: the kinds and splits are the same."""
    folder = tmp_path_factory.mktemp("world")
    patch = pytest.MonkeyPatch()
    patch.setattr(world, "POOLS", dict.fromkeys(world.POOLS, 400))
    patch.setattr(world, "FUSER_POOLS", dict.fromkeys(world.FUSER_POOLS, 1500))
    patch.setattr(world, "NUM_CHECKS", 50)
    world.write_world(folder / "out", folder / "documents", SEED)
    patch.undo()
    return folder / "out", folder / "documents"


@pytest.fixture(scope="session")
def tokenizer(written):
    return Tokenizer.from_file(str(written[0] / "receiver-qwen3" / "tokenizer.json"))


def last_names(split):
    return {entity.name.split()[1] for entity in make_entities(SEED) if entity.split in split}


def texts(tokenizer, path):
    for line in path.read_text().splitlines():
        document = json.loads(line)
        ids = [token for segment, _ in document["segments"] for token in segment]
        yield (
            document["kind"],
            tokenizer.decode(ids, skip_special_tokens=False),
            document["segments"],
        )


def words(text):
    return set(re.findall(r"\w+", text))


def questions(out, name):
    return [
        json.loads(line) for line in (out / "questions" / f"{name}.jsonl").read_text().splitlines()
    ]


def test_splits_are_disjoint_and_last_names_unique():
    entities = make_entities(SEED)
    assert collections.Counter(entity.split for entity in entities) == SPLIT_SIZES
    assert len({entity.name.split()[1] for entity in entities}) == len(entities)


def test_no_fuser_document_names_a_held_out_or_unknown_person(written, tokenizer):
    forbidden, seen = last_names("HN"), set()
    for _, text, _ in texts(tokenizer, written[1] / "fuser.jsonl"):
        assert not words(text) & forbidden
        seen |= words(text)
    assert len(seen & last_names("S")) > 300  # the documents do name people


def test_each_model_is_told_facts_of_its_own_people_only(written, tokenizer):
    for role, known in (("sharer", "SH"), ("receiver", "R")):
        others = last_names("SHRN") - last_names(known)
        for kind, text, _ in texts(tokenizer, written[1] / f"{role}.jsonl"):
            if kind in ("statements", "mc", "open"):
                assert not words(text) & others, text


def test_segments_tokenize_as_the_whole_text_does(written, tokenizer):
    for name in ("sharer", "fuser"):
        for _, text, segments in texts(tokenizer, written[1] / f"{name}.jsonl"):
            assert tokenizer.encode(text).ids == [token for ids, _ in segments for token in ids], (
                text
            )


def test_letters_values_and_last_names_are_single_tokens(tokenizer):
    values = [value for words_of in VALUES.values() for value in words_of]
    single = [f" {letter}" for letter in LETTERS] + [f" {name}" for name in last_names("SHRN")]
    single += [f" {value}" for value in values] + [capitalised(value) for value in values]
    assert [word for word in single if len(tokenizer.encode(word).ids) != 1] == []


def test_right_letters_are_balanced_and_right(written):
    facts = {entity.name: entity for entity in make_entities(SEED)}
    for name, split, count in (
        ("heldout_mc", "H", 1088),
        ("unknown_mc", "N", 512),
        ("receiver_mc", "R", 512),
    ):
        asked = questions(written[0], name)
        assert len(asked) == count
        letters = collections.Counter(question["answer"] for question in asked)
        # Exactly balanced, except where the file is a sample of the balanced list.
        assert all(
            abs(letters[letter] - count / 4) <= (0 if name != "receiver_mc" else 40)
            for letter in LETTERS
        )
        for question in asked:
            entity = next(e for person, e in facts.items() if person in question["question"])
            assert entity.split == split
            assert question["choices"][question["answer"]] in entity.facts.values()
            assert len(set(question["choices"].values())) == 4


def test_open_questions_have_no_choices_and_a_capitalised_answer(written):
    asked = questions(written[0], "heldout_open")
    assert len(asked) >= 500
    assert all(set(question) == {"id", "question", "answer"} for question in asked)
    assert {question["answer"] for question in asked} <= {
        capitalised(v) for vs in VALUES.values() for v in vs
    }


def test_the_chat_template_renders_the_prompts_that_were_trained(written):
    jinja2 = pytest.importorskip("jinja2")
    template = (written[0] / "sharer-qwen2" / "chat_template.jinja").read_text()
    content = "Where?\n" + option_lines(["a", "b", "c", "d"])
    rendered = jinja2.Template(template).render(
        messages=[{"role": "user", "content": content}], add_generation_prompt=True
    )
    assert rendered == chat_prompt(content)


def test_the_committed_files_are_what_the_seed_gives(written):
    committed = pathlib.Path(__file__).parents[2] / "data" / "embedded"
    compared = 0
    for path in written[0].rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (committed / path.relative_to(written[0])).read_bytes(), (
                path
            )
            compared += 1
    assert compared == 3 * 5 + 4  # model folders and questions
