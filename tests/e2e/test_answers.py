"""Two processes answer questions, over either kind of socket."""

from programs import EMBEDDED, evaluate, question_ids

N = 128
MODES = {
    "int8": ["--mode", "fused", "--codec", "int8"],
    "receiver": ["--mode", "receiver"],
    "sharer": ["--mode", "sharer"],
    "text": ["--mode", "text"],
}


def predictions(receiver, out, point: str) -> dict[str, str]:
    run = evaluate(receiver.address, out, "--limit", N, *MODES[point])
    assert [line["point"] for line in run.points()] == [point]
    assert run.incomplete() == []
    lines = run.predictions(point)
    assert sorted(line["id"] for line in lines) == question_ids(N)
    return {line["id"]: line["output"] for line in lines}


def test_unix_socket_and_tcp_give_the_same_answers(pair, programs, folder):
    sharer = programs.sharer("127.0.0.1:0")
    receiver = programs.receiver(sharer.address, "127.0.0.1:0")
    for point in MODES:
        over_unix = predictions(pair.receiver, folder / f"unix-{point}", point)
        over_tcp = predictions(receiver, folder / f"tcp-{point}", point)
        assert over_unix == over_tcp


def test_fusion_carries_what_only_the_sharer_knows(pair, folder):
    """Held-out facts: the sharer was taught them, the receiver was not, the fuser never saw them."""

    def accuracy(point: str) -> float:
        run = evaluate(pair.receiver.address, folder / point, "--limit", N, *MODES[point])
        return run.points()[0]["accuracy"]

    alone, fused = accuracy("receiver"), accuracy("int8")
    assert fused >= alone + 0.5, (alone, fused)


def test_another_sharer_is_one_flag(programs, folder):
    """The second sharer is of another family and has its own fuser."""
    sharer = programs.sharer(f"unix:{folder}/sharer.sock", model=EMBEDDED / "sharer-llama")
    receiver = programs.receiver(
        sharer.address,
        f"unix:{folder}/receiver.sock",
        fuser=EMBEDDED / "receiver-qwen3+sharer-llama",
    )
    run = evaluate(receiver.address, folder / "out", "--limit", N, *MODES["int8"])
    assert run.points()[0]["accuracy"] >= 0.9
