"""A daemon is killed in the middle of a run and started again: nothing is lost or answered twice."""

import signal

import pytest

from programs import RunFolder, eval_arguments, question_ids, wait_until

N = 1088
POINT = "int8"


def start_run(programs, receiver, out) -> RunFolder:
    """Starts the driver and returns when it has some answers and lacks most."""
    arguments = ["--mode", "fused", "--codec", POINT, "--in-flight", 16]
    driver = programs.start("qc2c", *eval_arguments(receiver.address, out, *arguments))
    run = RunFolder(out)
    wait_until(lambda: run.num_answered(POINT) >= 50 or not driver.still_runs(), "50 answers")
    return driver, run


def check_complete(run: RunFolder):
    ids = [line["id"] for line in run.predictions(POINT)]
    assert len(ids) == len(set(ids)), "answered twice"
    assert sorted(ids) == question_ids(N), "lost"
    assert run.incomplete() == []
    (point,) = run.points()
    assert point["n"] == N
    assert point["correct"] == sum(line["correct"] for line in run.predictions(POINT))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("victim", ["sharer", "receiver"])
def test_run_goes_on_when_a_daemon_is_back(programs, pair, folder, victim, number):
    driver, run = start_run(programs, pair.receiver, folder / "out")
    getattr(pair, victim).stop(number)
    answered = run.num_answered(POINT)
    assert 50 <= answered < N - 100, "the run was not in its middle"
    assert driver.still_runs()

    if victim == "sharer":
        programs.sharer(pair.sharer.address)
    else:
        programs.receiver(pair.sharer.address, pair.receiver.address)
    assert driver.wait() == 0, driver.stderr()
    assert "trying again" in driver.stderr()
    check_complete(run)


def test_run_ends_when_the_receiver_is_back_as_another(programs, pair, folder):
    driver, run = start_run(programs, pair.receiver, folder / "out")
    pair.receiver.kill()
    answered = run.num_answered(POINT)
    other = programs.receiver(pair.sharer.address, pair.receiver.address, "--dtype", "bf16")
    assert driver.wait() == 78, driver.stderr()
    assert 'receiver.dtype was "fp32", is now "bf16"' in driver.stderr()
    assert run.num_answered(POINT) >= answered

    assert other.stop() == 0, other.stderr()
    programs.receiver(pair.sharer.address, pair.receiver.address)
    driver, run = start_run(programs, pair.receiver, folder / "out")
    assert driver.wait() == 0, driver.stderr()
    check_complete(run)


def test_run_of_a_killed_driver_is_continued_by_the_same_command(programs, pair, folder):
    driver, run = start_run(programs, pair.receiver, folder / "out")
    driver.kill()
    answered = run.num_answered(POINT)
    assert 50 <= answered < N - 100, "the run was not in its middle"

    driver, run = start_run(programs, pair.receiver, folder / "out")
    assert driver.wait() == 0, driver.stderr()
    assert f"{answered} of {N} are answered" in driver.stderr()
    check_complete(run)
