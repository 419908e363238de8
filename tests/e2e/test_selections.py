"""Selections that ask the receiver's model and its fuser at the sharer, over both daemons."""

import pytest

from programs import FUSER, RECEIVER_MODEL, evaluate, run

N = 64
SELECTIONS = ("projected_norm", "residual_norm")


def codec(selection: str, keep: str = "keep_ratio=0.5", options: str = "") -> str:
    return f"int8,select={selection},{keep}{options}"


@pytest.fixture
def holding(programs):
    """A receiver whose sharer holds that receiver and its fuser."""
    sharer = programs.sharer("127.0.0.1:0", "--receiver", RECEIVER_MODEL, "--fuser", FUSER)
    return sharer, programs.receiver(sharer.address, "127.0.0.1:0")


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("options", ["", ",indices=per_layer"])
def test_a_sharer_that_holds_the_receiver_selects_by_what_it_makes_of_a_token(
    holding, folder, selection, options
):
    sharer, receiver = holding
    assert int(sharer.ready["held_bytes"]) > 0
    text = codec(selection, options=options)
    result = evaluate(
        receiver.address, folder / "out", "--mode", "fused", "--codec", text, "--limit", N
    )
    assert result.incomplete() == []
    point = result.points()[0]
    print(f"\n{text}: accuracy {point['accuracy']:.3f}, {point['bytes_tx']['mean']:.0f} bytes")
    # Half of the tokens of a pair that needs few of them.
    assert point["accuracy"] >= 0.5


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_sharer_that_holds_none_is_refused_by_name(pair, selection):
    ask = ["ask", "--receiver", pair.receiver.address, "--mode", "fused"]
    refused = run("qc2c", *ask, "--codec", codec(selection), "Who?")
    assert refused.returncode != 0
    assert f"select is {selection}, which the sharer's model" in refused.stderr
