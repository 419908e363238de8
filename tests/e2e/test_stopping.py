"""Everything stops when it is told to, and leaves nothing behind."""

import os
import pathlib
import signal
import time

import pytest

from programs import (
    FUSER,
    RECEIVER_MODEL,
    Process,
    RunFolder,
    children_of,
    command_lines,
    eval_arguments,
    question_ids,
    wait_until,
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_daemon_stops_within_its_grace_and_removes_its_socket(pair, number):
    for daemon in [pair.receiver, pair.sharer]:
        start = time.monotonic()
        assert daemon.stop(number) == 0, daemon.stderr()
        assert time.monotonic() - start < 10  # 2 s of grace, and a busy machine
        assert not pathlib.Path(daemon.address.removeprefix("unix:")).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_daemon_that_waits_for_its_sharer_ends_at_once_by_the_signal(programs, folder, number):
    receiver = programs.start(
        "qc2c-receiver",
        *("--model", RECEIVER_MODEL, "--fuser", FUSER, "--listen", f"unix:{folder}/r.sock"),
        *("--sharer", f"unix:{folder}/nobody.sock", "--sharer-patience-ms", 600_000),
    )
    time.sleep(1)  # it loads in less, and waits from then on
    assert receiver.stop(number) == -number
    assert not (folder / "r.sock").exists()


def test_a_socket_left_by_a_killed_daemon_is_taken_over_and_a_live_one_is_not(programs, folder):
    listen = f"unix:{folder}/sharer.sock"
    programs.sharer(listen).kill()
    assert (folder / "sharer.sock").exists()
    alive = programs.sharer(listen)
    second = programs.start("qc2c-sharer", *alive.command[1:])
    assert second.wait() == 69, second.stderr()
    assert listen in second.stderr()
    assert alive.page("/healthz").strip() == "ok"


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


POINT, DATASET = "bf16", "heldout_mc"


def start_demo(programs, out) -> tuple[Process, RunFolder]:
    demo = programs.start("qc2c", "demo", "--limit", 64, "--in-flight", 8, "--out", out)
    return demo, RunFolder(out)


def interrupt_in_the_middle(demo: Process, run: RunFolder, number: int) -> dict[int, str]:
    """Sends the signal while questions are being answered; returns the demo's children."""
    wait_until(lambda: run.num_answered("receiver") >= 8 or not demo.still_runs(), "8 answers")
    children = children_of(demo.popen.pid)
    assert sorted(pathlib.Path(c.split()[0]).name for c in children.values()) == [
        "qc2c-receiver",
        "qc2c-sharer",
    ]
    demo.popen.send_signal(number)
    return children


def test_an_interrupted_demo_leaves_no_process_and_is_continued(programs, folder):
    demo, run = start_demo(programs, folder / "demo")
    children = interrupt_in_the_middle(demo, run, signal.SIGINT)
    assert demo.wait() == 130, demo.stderr()
    assert [pid for pid in children if exists(pid)] == []
    assert "The same command continues" in demo.stderr()
    assert run.points() == [] or len(run.points()) < 21

    demo, run = start_demo(programs, folder / "demo")
    assert demo.wait() == 0, demo.stderr()
    assert "are answered" in demo.stderr()
    points = {(point["point"], point["dataset"]) for point in run.points()}
    assert len(points) == len(run.points()) == 21
    for name, dataset in points:
        ids = [line["id"] for line in run.predictions(name, dataset)]
        assert sorted(ids) == question_ids(64, dataset)
    assert "agree" in demo.stdout()


@pytest.mark.parametrize("moment", ["at once", "folder", "daemon"])
def test_a_demo_interrupted_while_it_starts_leaves_nothing_running(
    programs, folder, monkeypatch, moment
):
    monkeypatch.setenv("TMPDIR", str(folder))  # for the sockets, which every daemon's flags name
    demo, run = start_demo(programs, folder / "demo")
    conditions = {
        "at once": lambda: True,
        "folder": lambda: (folder / "demo" / "logs" / "lock").exists(),
        "daemon": lambda: children_of(demo.popen.pid),
    }
    wait_until(lambda: conditions[moment]() or not demo.still_runs(), moment)
    status = demo.stop(signal.SIGINT)
    # At once may be before main: the signal's default action.
    assert status == 130 or (moment == "at once" and status == -signal.SIGINT), demo.stderr()
    assert [line for line in command_lines().values() if str(folder) in line] == []
    assert list(folder.glob("qc2c-??????")) == []  # the sockets' folder
    assert run.points() == []


def test_a_killed_demo_takes_its_daemons_with_it(programs, folder):
    demo, run = start_demo(programs, folder / "demo")
    children = interrupt_in_the_middle(demo, run, signal.SIGKILL)
    wait_until(lambda: not any(exists(pid) for pid in children), "both daemons are gone")


def test_a_stopping_receiver_finishes_what_it_has_begun(programs, pair, folder):
    """The driver's questions in flight are answered or asked again; the exit status is clean."""
    arguments = ["--mode", "receiver", "--limit", 512, "--in-flight", 8, "--retry-seconds", 1]
    driver = programs.start(
        "qc2c", *eval_arguments(pair.receiver.address, folder / "out", *arguments)
    )
    run = RunFolder(folder / "out")
    wait_until(lambda: run.num_answered("receiver") >= 20, "20 answers")
    assert pair.receiver.stop() == 0
    assert driver.wait() == 69, driver.stderr()
    assert "nothing was answered for 1s" in driver.stderr()
    assert run.points() == []
    (incomplete,) = run.incomplete()
    assert incomplete["answered"] == run.num_answered("receiver")
