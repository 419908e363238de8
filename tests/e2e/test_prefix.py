"""A model as its own sharer: the cache of a context stands before the prompt that follows it."""

import json

import pytest

from programs import QUESTIONS, RECEIVER_MODEL, RunFolder, run

N = 48
CONFIG = 78


@pytest.fixture
def receiver(programs, folder):
    """The embedded receiver with itself as the sharer, and no fuser."""
    sharer = programs.sharer(f"unix:{folder}/sharer.sock", model=RECEIVER_MODEL)
    models = ["--model", RECEIVER_MODEL, "--sharer", sharer.address]
    return programs.daemon("qc2c-receiver", *models, "--listen", f"unix:{folder}/receiver.sock")


@pytest.fixture
def recipe(folder):
    """Questions with a fact each, asked as plain text by option and as chat by letter."""
    lines = (QUESTIONS / "heldout_mc.jsonl").read_text().splitlines()[:N]
    questions = [json.loads(line) for line in lines]
    for question in questions:
        answer = question["choices"][question["answer"]]
        question["fact"] = f"{question['question']} {answer}"
    text = "\n".join(map(json.dumps, questions))
    (folder / "questions.jsonl").write_text(text + "\n")
    (folder / "chat.yaml").write_text(
        'user: "{question}\\n{choices}"\nreply_prefix: "Answer:"\nsharer_context: "Fact: {fact}.\\n"\n'
    )
    points = "receiver, prefix_fp32, prefix_int8, prefix_int8_back_p050, prefix_fp32_wrong_question"
    (folder / "recipe.yaml").write_text(f"""
name: prefix
versus: prefix_fp32
datasets:
  - name: options
    questions: questions.jsonl
    format: fact_options.yaml
    method: loglikelihood
    points: [receiver_context, {points}]
  - name: letters
    questions: questions.jsonl
    format: chat.yaml
    max_new_tokens: 4
    points: [{points}]
""")
    prompts = QUESTIONS.parents[2] / "experiments" / "prompts"
    (folder / "fact_options.yaml").write_text((prompts / "fact_options.yaml").read_text())
    return folder / "recipe.yaml"


def test_in_fp32_a_prefix_answers_as_the_context_in_the_prompt_does(receiver, recipe, folder):
    flags = ["--receiver", receiver.address, "--recipe", recipe, "--out", folder / "out"]
    result = run("qc2c", "eval", *flags, timeout=300)
    assert result.returncode == 0, result.stderr
    out = RunFolder(folder / "out")

    def answers(point: str, dataset: str = "options") -> dict[str, str]:
        return {line["id"]: line["output"] for line in out.predictions(point, dataset)}

    written_out = answers("receiver_context")
    assert len(written_out) == N
    assert answers("prefix_fp32") == written_out
    assert written_out != answers("receiver"), "the fact makes no difference to any question"
    assert answers("prefix_fp32_wrong_question") != written_out
    points = {(line["point"], line["dataset"]): line for line in out.points()}
    whole = points["prefix_fp32", "options"]["bytes_tx"]["mean"]
    quarter = points["prefix_int8", "options"]["bytes_tx"]["mean"]
    pruned = points["prefix_int8_back_p050", "options"]["bytes_tx"]["mean"]
    assert whole > quarter > pruned > 0
    assert points["receiver_context", "options"]["bytes_tx"]["mean"] == 0
    assert points["prefix_fp32", "letters"]["bytes_tx"]["mean"] == whole  # the same contexts


def test_without_a_fuser_fused_is_refused_by_name(receiver):
    assert receiver.ready["fuser"] == "none"
    result = run("qc2c", "ask", "--receiver", receiver.address, "--mode", "fused", "Who?")
    assert result.returncode == CONFIG, result.stderr
    assert "--fuser" in result.stderr


def test_another_model_cannot_be_a_prefix(pair):
    ask = ["ask", "--receiver", pair.receiver.address, "--mode", "prefix", "--context", "Fact."]
    result = run("qc2c", *ask, "Who?")
    assert result.returncode == CONFIG, result.stderr
    assert "model_fingerprint" in result.stderr
    assert "receiver-qwen3" in result.stderr


def test_prefix_without_a_context_is_refused_by_name(receiver):
    result = run("qc2c", "ask", "--receiver", receiver.address, "--mode", "prefix", "Who?")
    assert result.returncode == 64, result.stderr
    assert "sharer_context" in result.stderr
