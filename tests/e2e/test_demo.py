"""The demonstration: what it refuses before it starts anything, and how failed questions end it."""

import signal

from programs import (
    FUSER,
    QUESTIONS,
    RECEIVER_MODEL,
    SHARER_MODEL,
    RunFolder,
    children_of,
    run,
    wait_until,
)

INCOMPLETE, CONFIG = 75, 78


def demo_arguments(out, *arguments) -> list:
    return ["demo", "--limit", 64, "--in-flight", 8, "--out", out, *arguments]


def check_refused(result, *named: str):
    assert result.returncode == CONFIG, result.stderr
    assert "starting" not in result.stderr  # no daemon
    for text in named:
        assert text in result.stderr


def test_a_folder_in_use_or_of_another_recipe_is_refused_before_a_daemon_starts(programs, folder):
    out = folder / "demo"
    demo = programs.start("qc2c", *demo_arguments(out))
    wait_until(lambda: RunFolder(out).num_answered("receiver") > 0 or not demo.still_runs(), "it")
    logs = (out / "logs" / "commands.log").read_text()
    check_refused(run("qc2c", *demo_arguments(out)), "in use by another process")
    assert demo.stop(signal.SIGINT) == 130, demo.stderr()
    check_refused(run("qc2c", *demo_arguments(out, "--limit", 8)), "another recipe")
    assert (out / "logs" / "commands.log").read_text() == logs


def test_the_receiver_waits_for_its_sharer_as_long_as_the_demo_does(programs, folder):
    demo = programs.start("qc2c", *demo_arguments(folder / "demo"))

    def receivers() -> list[str]:
        return [c for c in children_of(demo.popen.pid).values() if "qc2c-receiver " in c]

    (receiver,) = wait_until(lambda: receivers() or not demo.still_runs(), "a receiver")
    assert "--sharer-patience-ms 120000 " in receiver
    assert demo.stop(signal.SIGINT) == 130, demo.stderr()


def test_questions_that_fail_after_their_bytes_crossed_leave_points_incomplete(folder):
    """A hint so many times over does not fit the receiver; its bytes are counted all the same."""
    receiver_user = "{hint} " * 1000
    (folder / "format.yaml").write_text(
        'user: "{question}"\ntext_relay:\n  sharer_user: "{question}"\n'
        f'  sharer_max_new_tokens: 6\n  receiver_user: "{receiver_user}"\n'
    )
    (folder / "recipe.yaml").write_text(
        "name: long_hint\n"
        f"pairs: [{{name: p, receiver: {RECEIVER_MODEL}, sharer: {SHARER_MODEL}, fuser: {FUSER}}}]\n"
        f"datasets: [{{name: d, questions: {QUESTIONS}/heldout_open.jsonl, format: format.yaml, "
        "max_new_tokens: 6, points: [int8, text]}]\n"
    )
    arguments = ["--recipe", folder / "recipe.yaml", "--limit", 8, "--out", folder / "out"]
    result = run("qc2c", "demo", *arguments)
    assert result.returncode == INCOMPLETE, result.stderr
    assert "8 questions failed" in result.stdout
    assert "DIFFER" not in result.stdout
    (incomplete,) = RunFolder(folder / "out").incomplete()
    assert incomplete["point"] == "text"
