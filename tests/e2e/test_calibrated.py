"""A codebook from `qc2c calibrate` to answers over two daemons that hold it."""

import json
import pathlib
from typing import NamedTuple

import pytest

from programs import FUSER, QUESTIONS, RECEIVER_MODEL, ROOT, SHARER_MODEL, Daemon, evaluate, run

PROMPTS = ROOT / "experiments" / "prompts"

N = 128


class Calibrated(NamedTuple):
    receiver: Daemon
    codebook: pathlib.Path
    book_id: str


def calibrate(out: pathlib.Path):
    models = ["--sharer", SHARER_MODEL, "--receiver", RECEIVER_MODEL, "--fuser", FUSER]
    questions = ["--questions", QUESTIONS / "receiver_mc.jsonl", "--limit", 128]
    return run("qc2c", "calibrate", *models, *questions, "--out", out)


@pytest.fixture
def calibrated(programs, folder) -> Calibrated:
    codebook = folder / "pair.codebook"
    result = calibrate(codebook)
    assert result.returncode == 0, result.stderr
    book = ["--codebook", codebook]
    sharer = programs.sharer(f"unix:{folder}/sharer.sock", *book)
    receiver = programs.receiver(sharer.address, f"unix:{folder}/receiver.sock", *book)
    assert sharer.ready["codebooks"] == receiver.ready["codebooks"]
    return Calibrated(receiver, codebook, sharer.ready["codebooks"])


def point(calibrated: Calibrated, out: pathlib.Path, codec: str) -> dict:
    fused = ["--mode", "fused", "--codec", codec, "--limit", N]
    return evaluate(calibrated.receiver.address, out, *fused).points()[0]


def num_levels(codebook: pathlib.Path) -> int:
    content = codebook.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return len(json.loads(header["__metadata__"]["qc2c_codebook"])["levels"])


def test_the_finest_level_answers_as_bf16_does_in_a_fraction_of_its_bytes(calibrated, folder):
    finest = point(calibrated, folder / "a", f"klt,level={num_levels(calibrated.codebook) - 1}")
    whole = point(calibrated, folder / "b", "bf16")
    assert finest["accuracy"] >= whole["accuracy"] - 0.02
    # Four bits a value would be a quarter.
    assert finest["bytes_tx"]["mean"] < whole["bytes_tx"]["mean"] / 4
    assert finest["bytes_tx"]["header"] <= 48
    models = json.loads((folder / "a" / "manifests" / "models.json").read_text())
    assert models["sharer"]["codebooks"] == [calibrated.book_id]
    assert models["alignment"] == "same_ids"


def test_a_budget_is_kept_for_every_question(calibrated, folder):
    out = folder / "out"
    fused = ["--mode", "fused", "--codec", f"klt,codebook={calibrated.book_id},budget_bytes=128"]
    answers = evaluate(calibrated.receiver.address, out, *fused, "--limit", N)
    [name] = [line["point"] for line in answers.points()]
    assert 0 < max(line["bytes_tx"] for line in answers.predictions(name)) <= 128


def test_what_does_not_fit_the_codebook_is_refused_by_name(calibrated):
    def error(*arguments):
        result = run("qc2c", "ask", "--receiver", calibrated.receiver.address, *arguments)
        assert result.returncode != 0
        return result.stderr

    ask = ["--mode", "fused", "--codec"]
    other = error(*ask, "klt,codebook=0000000000000001,level=0", "Who?")
    assert calibrated.book_id in other and "0000000000000001" in other
    assert "expected 0 to" in error(*ask, "klt,level=99", "Who?")
    assert "does not fit the codebook's template" in error(*ask, "klt,level=0", "Who?")


def test_a_prompt_that_does_not_fit_falls_back_where_the_caller_said_so_and_is_counted(
    calibrated, folder
):
    codec = "klt,level=6,fallback=int4"
    fits = point(calibrated, folder / "a", codec)
    assert fits["codec_fallbacks"] == 0
    assert fits["codec"]["fallback"] == "int4"
    assert "qc2c_codec_fallbacks_total" not in calibrated.receiver.metrics()

    other = ["--mode", "fused", "--prompt-format", PROMPTS / "c2c_mc.yaml", "--limit", 16]
    answers = [
        evaluate(calibrated.receiver.address, folder / out, *other, "--codec", text)
        for out, text in [("b", codec), ("c", "int4")]
    ]
    fallen, plain = (run.points()[0] for run in answers)
    assert fallen["codec_fallbacks"] == 16
    assert fallen["bytes_tx"] == plain["bytes_tx"]
    assert fallen["correct"] == plain["correct"]
    for line in answers[0].predictions(fallen["point"]):
        assert line["codec_fallback"].startswith("int4: ")
        assert "does not fit the codebook's template" in line["codec_fallback"]
    counted = calibrated.receiver.metrics()["qc2c_codec_fallbacks_total"]
    assert counted == {'{codec="klt,level=6,fallback=int4"}': 16}


def test_a_receiver_refuses_a_codebook_that_its_sharer_lacks(programs, folder):
    codebook = folder / "pair.codebook"
    assert calibrate(codebook).returncode == 0
    sharer = programs.sharer(f"unix:{folder}/sharer.sock")
    result = run(
        "qc2c-receiver",
        *["--model", RECEIVER_MODEL, "--fuser", FUSER, "--sharer", sharer.address],
        *["--listen", f"unix:{folder}/receiver.sock", "--codebook", codebook],
    )
    assert result.returncode != 0
    assert "does not hold" in result.stderr
