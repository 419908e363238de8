"""Three processes: one receiver with two sharers of two families."""

import json
import pathlib
import sys

import pytest

from programs import (
    EMBEDDED,
    FUSER,
    QUESTIONS,
    RECEIVER_MODEL,
    ROOT,
    SHARER_MODEL,
    RunFolder,
    question_ids,
    run,
)

sys.path.insert(0, str(ROOT / "tests" / "parity"))

LLAMA_MODEL = EMBEDDED / "sharer-llama"
LLAMA_FUSER = EMBEDDED / "receiver-qwen3+sharer-llama"
PAIRS = [(SHARER_MODEL, FUSER), (LLAMA_MODEL, LLAMA_FUSER)]
UNAVAILABLE, USAGE = 69, 64
N = 8
# Sums of the same fp32 numbers in another order: logits of size 20, some hundred terms.
BOUND = 1e-4


@pytest.fixture
def sharers(programs, folder):
    return [
        programs.sharer(f"unix:{folder}/qwen2.sock"),
        programs.sharer(f"unix:{folder}/llama.sock", model=LLAMA_MODEL),
    ]


@pytest.fixture
def receiver(programs, folder, sharers):
    """Told everything by its YAML file."""
    config = folder / "receiver.yaml"
    config.write_text(
        json.dumps(  # which is YAML
            {
                "model": str(RECEIVER_MODEL),
                "listen": f"unix:{folder}/receiver.sock",
                "sharer": [sharer.address for sharer in sharers],
                "fuser": [str(FUSER), str(LLAMA_FUSER)],
                "combine": "parallel",
            }
        )
    )
    return programs.daemon("qc2c-receiver", "--config", config)


def evaluate_points(receiver, folder: pathlib.Path, method: str, points: str) -> RunFolder:
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"name: several\nversus: sequential\ndatasets:\n  - name: heldout_mc\n"
        f"    questions: {QUESTIONS}/heldout_mc.jsonl\n"
        f"    format: {ROOT}/experiments/prompts/embedded_mc.yaml\n"
        f"    limit: {N}\n    method: {method}\n    max_new_tokens: 1\n    points: [{points}]\n"
    )
    out = folder / "out"
    result = run("qc2c", "eval", "--receiver", receiver.address, "--recipe", recipe, "--out", out)
    assert result.returncode == 0, result.stderr
    found = RunFolder(out)
    assert found.incomplete() == []
    return found


ZSTD = "int8,entropy=zstd"
BOTH_ORDERS = "{name: sequential, codec: fp32, combine: sequential}, {name: parallel, codec: fp32}"


def test_both_orders_give_what_transformers_and_pytorch_give(receiver, folder):
    from embedded_fusion import option_scores

    assert receiver.ready["sharer"] == "sharer-qwen2,sharer-llama"
    assert receiver.ready["combine"] == "parallel"
    found = evaluate_points(receiver, folder, "loglikelihood", BOTH_ORDERS)
    lines = (QUESTIONS / "heldout_mc.jsonl").read_text().splitlines()[:N]
    questions = {one["id"]: one for one in map(json.loads, lines)}
    assert sorted(questions) == question_ids(N)
    for order in ["sequential", "parallel"]:
        for line in found.predictions(order):
            question = questions[line["id"]]
            choices = "\n".join(f"{key}. {text}" for key, text in question["choices"].items())
            expected = option_scores(
                RECEIVER_MODEL,
                PAIRS,
                order,
                f"{question['question']}\n{choices}",
                "Answer:",
                [f" {letter}" for letter in question["choices"]],
            )
            assert line["option_scores"] == pytest.approx(expected, abs=BOUND)


def test_bytes_are_those_of_both_sharers(receiver, sharers, folder):
    # Compressed: the caches have one shape, and only their values make their sizes differ.
    points = BOTH_ORDERS + ", {name: llama, codec: fp32, sharers: [1]}"
    points = points.replace("fp32", f'"{ZSTD}"')
    found = evaluate_points(receiver, folder, "generate", points)
    summary = {point["point"]: point for point in found.points()}
    sent = [0, 0]
    for name in ["sequential", "parallel"]:
        for line in found.predictions(name):
            by_sharer = {one["sharer"]: one["bytes_tx"] for one in line["by_sharer"]}
            assert sorted(by_sharer) == [0, 1]
            assert sum(by_sharer.values()) == line["bytes_tx"] == sum_of_parts(line["bytes"])
            sent = [total + by_sharer[i] for i, total in enumerate(sent)]
        means = [one["mean"] for one in summary[name]["bytes_tx"]["by_sharer"]]
        assert sum(means) == summary[name]["bytes_tx"]["mean"]
        assert len(set(means)) == 2
    assert summary["sequential"]["combine"] == "sequential"
    assert summary["llama"]["sharers"] == [1]
    llama = found.predictions("llama")
    assert all("by_sharer" not in line for line in llama)
    sent[1] += sum(line["bytes_tx"] for line in llama)

    received = receiver.metrics()["qc2c_sharer_rx_bytes_total"]
    for sharer, expected in zip(sharers, sent, strict=True):
        assert sum(sharer.metrics()["qc2c_tx_bytes_total"].values()) == expected
        assert received[f'{{codec="{ZSTD}",sharer="{sharer.address}"}}'] == expected
    assert sum(receiver.metrics()["qc2c_rx_bytes_total"].values()) == sum(sent)

    models = json.loads((folder / "out" / "manifests" / "models.json").read_text())
    assert [one["sharer"]["model"] for one in models["sharers"]] == ["sharer-qwen2", "sharer-llama"]
    assert models["combine"] == "parallel"


def sum_of_parts(parts: dict[str, int]) -> int:
    return sum(parts[name] for name in ["payload", "scales", "indices", "header"])


def test_one_sharer_away_fails_the_question_by_name_or_is_left_out(receiver, sharers):
    ask = ["ask", "--receiver", receiver.address, "--codec", "fp32", "--json", "--allow-degraded"]
    question = "Which city does Iris Trizer live in?"
    both = json.loads(run("qc2c", *ask[:-1], question).stdout)
    assert [one["sharer"] for one in both["by_sharer"]] == [0, 1]
    assert sum(one["bytes_tx"] for one in both["by_sharer"]) == both["bytes_tx"]
    sharers[1].kill()
    failed = run("qc2c", *ask[:-1], question)
    assert failed.returncode == UNAVAILABLE
    assert sharers[1].address in failed.stderr
    assert sharers[0].address not in failed.stderr
    degraded = run("qc2c", *ask, question)
    assert degraded.returncode == 0, degraded.stderr
    answer = json.loads(degraded.stdout)
    assert sharers[1].address in answer["degraded"]
    assert answer["text"] == "Boston"  # which the other sharer knows
    assert answer["bytes_tx"] == both["by_sharer"][0]["bytes_tx"]


def test_flags_that_do_not_pair_up_are_refused(programs, folder, sharers):
    daemon = ["--model", RECEIVER_MODEL, "--listen", f"unix:{folder}/receiver.sock"]
    two = ["--sharer", sharers[0].address, "--sharer", sharers[1].address]
    one_fuser = run("qc2c-receiver", *daemon, *two, "--fuser", FUSER)
    assert one_fuser.returncode == USAGE
    assert "--fuser is given 1 times" in one_fuser.stderr
    swapped = run("qc2c-receiver", *daemon, *two, "--fuser", LLAMA_FUSER, "--fuser", FUSER)
    assert swapped.returncode == 78
    assert sharers[0].address in swapped.stderr
    assert "another pair's" in swapped.stderr
    combine = run("qc2c-receiver", *daemon, *two, "--combine", "both")
    assert combine.returncode == USAGE
    assert "--combine" in combine.stderr
