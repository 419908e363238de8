"""Sharers whose tokenizer is not the receiver's, and ids that a sharer does not have."""

import json

import pytest

from model_copies import fuser_for_any_pair, permuted_sharer, respelt_sharer, smaller_sharer
from programs import evaluate, run

N = 64
USAGE, CONFIG = 64, 78


def fused(receiver, out, codec: str = "int8") -> list[dict]:
    """What was answered and what it cost, by question."""
    result = evaluate(receiver.address, out, "--limit", N, "--mode", "fused", "--codec", codec)
    assert result.incomplete() == []
    lines = sorted(result.predictions(result.points()[0]["point"]), key=lambda line: line["id"])
    return [{key: line[key] for key in ("id", "output", "bytes_tx")} for line in lines]


@pytest.fixture
def other_pair(programs, folder):
    """Starts a receiver with a sharer of another model folder."""

    def start(model, fuser, *arguments):
        sharer = programs.sharer(f"unix:{folder}/other-sharer.sock", model=model)
        address = f"unix:{folder}/other-receiver.sock"
        return programs.receiver(sharer.address, address, *arguments, fuser=fuser)

    return start


@pytest.fixture
def same_pair(programs, folder, pair):
    """The pair's sharer with a receiver that is told how to align."""

    def start(alignment):
        address = f"unix:{folder}/same-receiver.sock"
        return programs.receiver(pair.sharer.address, address, "--alignment", alignment)

    return start


@pytest.mark.parametrize("alignment", ["same_ids", "first", "longest", "span"])
def test_a_tokenizer_of_another_hash_and_the_same_ids_changes_nothing(
    same_pair, other_pair, folder, alignment
):
    fuser = fuser_for_any_pair(folder / "fuser")
    receiver = other_pair(respelt_sharer(folder / "model"), fuser, "--alignment", alignment)
    assert receiver.ready["alignment"] == alignment
    assert fused(receiver, folder / "other") == fused(same_pair(alignment), folder / "same")


def test_of_one_tokenizer_every_alignment_has_the_sharer_read_the_same(pair, same_pair, folder):
    """What differs is which tokens are fused: `first` and `longest` leave the template's to the receiver."""
    expected = fused(pair.receiver, folder / "same_ids")
    assert fused(same_pair("span"), folder / "span") == expected


def test_without_a_word_of_the_fuser_another_tokenizer_is_paired_by_span(other_pair, folder):
    receiver = other_pair(respelt_sharer(folder / "model"), fuser_for_any_pair(folder / "fuser"))
    assert receiver.ready["alignment"] == "span"


def test_the_fuser_says_how_tokens_are_paired(other_pair, folder):
    fuser = fuser_for_any_pair(folder / "fuser", is_do_alignment=True, alignment_strategy="longest")
    receiver = other_pair(respelt_sharer(folder / "model"), fuser)
    assert receiver.ready["alignment"] == "longest"


@pytest.mark.parametrize("alignment", ["first", "longest", "span"])
def test_a_sharer_that_numbers_its_tokens_otherwise_is_understood(
    same_pair, other_pair, folder, alignment
):
    fuser = fuser_for_any_pair(folder / "fuser", alignment=alignment)
    receiver = other_pair(permuted_sharer(folder / "model"), fuser)
    # Selections act on what is sent, and text of another spelling of ids is the same text.
    codec = "int8,select=value_norm,keep_ratio=0.5"
    expected = fused(same_pair(alignment), folder / "same", codec)
    assert fused(receiver, folder / "other", codec) == expected


def test_ids_that_the_sharer_lacks_are_refused_by_name_and_the_next_question_is_answered(
    other_pair, folder
):
    """The receiver's " Cake" is id 1974, and the sharer ends at 1973."""
    model = smaller_sharer(folder / "model", num_ids=1974)
    fuser = fuser_for_any_pair(folder / "fuser")
    receiver = other_pair(model, fuser, "--alignment", "same_ids")
    ask = ["ask", "--receiver", receiver.address, "--mode", "fused", "--max-new-tokens", 4]
    refused = run("qc2c", *ask, "Who likes Cake?")
    assert refused.returncode == USAGE, refused.stderr
    assert "id 1974" in refused.stderr
    assert "has 1974 tokens" in refused.stderr
    answered = run("qc2c", *ask, "--json", "Which city does Iris Trizer live in?")
    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)["text"] == "Boston"


def test_the_same_question_by_span_is_answered(other_pair, folder):
    model = smaller_sharer(folder / "model", num_ids=1974)
    receiver = other_pair(model, fuser_for_any_pair(folder / "fuser"))
    ask = ["ask", "--receiver", receiver.address, "--mode", "fused", "--json"]
    answered = run("qc2c", *ask, "--max-new-tokens", 4, "Who likes Cake?")
    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)["kept_tokens"] > 0


def test_a_context_that_only_the_sharer_reads_changes_the_answer_and_costs_nothing(pair, folder):
    ask = ["ask", "--receiver", pair.receiver.address, "--mode", "fused", "--json"]
    question = "Which city does Iris Trizer live in?"

    def asked(*arguments) -> dict:
        result = run("qc2c", *ask, *arguments, question)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    plain = asked()
    with_context = asked("--context", "Maria Jorbury works as a miner.\n")
    assert with_context["kept_tokens"] == plain["kept_tokens"]
    assert with_context["bytes_tx"] == plain["bytes_tx"]
    long_context = run("qc2c", *ask, "--context", "Boston " * 600, question)
    assert long_context.returncode == USAGE
    assert "512 positions" in long_context.stderr
