"""Means of channels, made by one program and held by two others."""

import pytest

from programs import QUESTIONS, ROOT, SHARER_MODEL, evaluate, run

N = 64


@pytest.fixture
def means(folder):
    """The calibration file and the codec's keys that name it."""
    path = folder / "means.safetensors"
    result = run(
        "qc2c",
        *["means", "--model", SHARER_MODEL, "--questions", QUESTIONS / "heldout_mc.jsonl"],
        *["--prompt", ROOT / "experiments/prompts/embedded_mc.yaml", "--limit", 32],
        *["--out", path],
    )
    assert result.returncode == 0, result.stderr
    return path, result.stdout.splitlines()[-1]


def test_a_codec_takes_off_the_means_that_both_daemons_hold(means, programs, folder):
    path, keys = means
    sharer = programs.sharer(f"unix:{folder}/sharer.sock", "--calibration", path)
    receiver = programs.receiver(
        sharer.address, f"unix:{folder}/receiver.sock", "--calibration", path
    )
    answers = evaluate(
        receiver.address,
        folder / "out",
        *["--limit", N, "--mode", "fused", "--codec", f"int4,{keys},hadamard=keys"],
    )
    assert answers.points()[0]["accuracy"] >= 0.9
    assert answers.incomplete() == []


def test_means_that_one_daemon_lacks_are_refused_by_name(means, programs, folder):
    path, keys = means
    calibration = keys.rpartition("=")[2]
    sharer = programs.sharer(f"unix:{folder}/sharer.sock")
    receiver = programs.receiver(
        sharer.address, f"unix:{folder}/receiver.sock", "--calibration", path
    )
    ask = ["ask", "--receiver", receiver.address, "--mode", "fused", "--codec", f"int8,{keys}"]
    refused = run("qc2c", *ask, "Which city does Iris Trizer live in?")
    assert refused.returncode != 0
    assert f"calibration is {calibration}, which the sharer" in refused.stderr
    assert "does not hold" in refused.stderr


def test_means_of_another_model_end_a_daemon_before_it_listens(means, folder):
    path, _ = means
    ended = run(
        "qc2c-sharer",
        *["--model", SHARER_MODEL.parent / "sharer-llama", "--calibration", path],
        *["--listen", f"unix:{folder}/other.sock"],
    )
    assert ended.returncode != 0
    assert "model_fingerprint is" in ended.stderr
