"""Conversations under the alignments `first` and `longest`, with a sharer of another tokenizer and another template,
against the same on transformers with pads that are masked."""

import json
import shutil
import sys

import pytest

from programs import EMBEDDED, QUESTIONS, RECEIVER_MODEL, ROOT, RunFolder, run

sys.path.insert(0, str(ROOT / "tests" / "parity"))

LLAMA_MODEL = EMBEDDED / "sharer-llama"
LLAMA_FUSER = EMBEDDED / "receiver-qwen3+sharer-llama"
N = 6
CONFIG = 78
# Sums of the same fp32 numbers in another order: logits of size 20, some hundred terms.
BOUND = 1e-4
SYSTEM = "Answer with one letter."
# In front of a message longer than the receiver's, and behind it shorter: the receiver's positions leave some out.
LONG_FRONT = (
    "{{ bos_token }}Below a person asks and a machine answers.\n"
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '<' }}{% endfor %}"
)
# The other way round: the sharer's do.
SHORT_FRONT = "{% for message in messages %}{{ '>' + message['content'] + '<' }}{% endfor %}"


def other_sharer(folder, chat_template):
    """The embedded Llama, taught nothing of this: another tokenizer, and ids that mean other words to it."""
    from text_expected import small_byte_fallback
    from text_templates import TINYLLAMA

    shutil.copytree(LLAMA_MODEL, folder)
    (folder / "chat_template.jinja").unlink()
    small_byte_fallback().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(TINYLLAMA | ({"chat_template": chat_template} if chat_template else {}))
    )
    return folder


@pytest.fixture
def start(programs, folder):
    def started(chat_template, alignment):
        model = other_sharer(folder / "model", chat_template)
        sharer = programs.sharer(f"unix:{folder}/sharer.sock", model=model)
        address = f"unix:{folder}/receiver.sock"
        arguments = ["--alignment", alignment]
        return model, programs.receiver(sharer.address, address, *arguments, fuser=LLAMA_FUSER)

    return started


def evaluate(receiver, folder, system: str, reply_prefix: str) -> RunFolder:
    prompt_format = folder / "format.yaml"
    prompt_format.write_text(
        'user: "{question}\\n{choices}"\nchoice: "{letter}. {text}"\noption: " {letter}"\n'
        f'reply_prefix: "{reply_prefix}"\n' + (f'system: "{system}"\n' if system else "")
    )
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"name: aligned\nversus: fp32\ndatasets:\n  - name: heldout_mc\n"
        f"    questions: {QUESTIONS}/heldout_mc.jsonl\n    format: {prompt_format}\n"
        f"    limit: {N}\n    method: loglikelihood\n    max_new_tokens: 1\n"
        '    points: [{name: fp32, codec: fp32}, {name: turned, codec: "fp32,rotation=remove"}]\n'
    )
    out = folder / "out"
    result = run("qc2c", "eval", "--receiver", receiver.address, "--recipe", recipe, "--out", out)
    assert result.returncode == 0, result.stderr
    found = RunFolder(out)
    assert found.incomplete() == []
    return found


@pytest.mark.parametrize(
    ("alignment", "chat_template", "system", "reply_prefix"),
    [
        ("first", LONG_FRONT, "", ""),
        ("longest", LONG_FRONT, SYSTEM, "Answer:"),
        ("longest", SHORT_FRONT, "", "Answer:"),
        ("first", SHORT_FRONT, SYSTEM, ""),
        ("longest", None, SYSTEM, "Answer:"),  # TinyLlama's own
    ],
)
def test_a_conversation_is_fused_as_by_transformers_with_masked_pads(
    start, folder, alignment, chat_template, system, reply_prefix
):
    from aligned_fusion import option_scores

    model, receiver = start(chat_template, alignment)
    found = evaluate(receiver, folder, system, reply_prefix)
    lines = (QUESTIONS / "heldout_mc.jsonl").read_text().splitlines()[:N]
    questions = {one["id"]: one for one in map(json.loads, lines)}
    answered = {
        point: {line["id"]: line for line in found.predictions(point)}
        for point in ("fp32", "turned")
    }
    for key, question in questions.items():
        choices = "\n".join(f"{letter}. {text}" for letter, text in question["choices"].items())
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": f"{question['question']}\n{choices}"})
        expected = option_scores(
            (RECEIVER_MODEL, model),
            LLAMA_FUSER,
            alignment,
            messages,
            reply_prefix,
            [f" {letter}" for letter in question["choices"]],
        )
        for point in ("fp32", "turned"):
            assert answered[point][key]["option_scores"] == pytest.approx(expected, abs=BOUND)


def test_a_receiver_that_would_answer_from_a_pad_is_refused_and_told_what_to_do(start):
    _, receiver = start(None, "first")
    ask = ["ask", "--receiver", receiver.address, "--mode", "fused", "--max-new-tokens", 4]
    refused = run("qc2c", *ask, "Which city does Iris Trizer live in?")
    assert refused.returncode == CONFIG, refused.stderr
    assert "expected alignment span, or a reply_prefix" in refused.stderr
