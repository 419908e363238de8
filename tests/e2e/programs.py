"""The programs as a user starts them: one process each, found in the folder QC2C_BIN.

Nothing here outlives a test: `Programs` ends, by its own process id, whatever it started.
"""

import collections
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
EMBEDDED = ROOT / "data" / "embedded"
RECEIVER_MODEL = EMBEDDED / "receiver-qwen3"
SHARER_MODEL = EMBEDDED / "sharer-qwen2"
FUSER = EMBEDDED / "receiver-qwen3+sharer-qwen2"
QUESTIONS = EMBEDDED / "questions"
PATIENCE_S = 60  # for what takes a second on an idle machine


def bin_folder() -> pathlib.Path:
    build = os.environ.get("BUILD_DIR", ROOT / "build")
    return pathlib.Path(os.environ.get("QC2C_BIN", pathlib.Path(build) / "bin")).resolve()


def program(name: str) -> str:
    path = bin_folder() / name
    assert path.is_file(), f"no program at {path}: build first, or set QC2C_BIN"
    return str(path)


def wait_until(condition, what: str, patience_s: float = PATIENCE_S):
    """Polls `condition` until it is true and returns its value."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {patience_s} s: {what}"
        time.sleep(0.005)
    return value


def run(
    name: str, *arguments, timeout: float = PATIENCE_S, **options
) -> subprocess.CompletedProcess:
    """Runs a program to its end and keeps what it printed."""
    command = [program(name), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, cwd=ROOT, check=False, **options
    )


def command_lines() -> dict[int, str]:
    """Of all processes, by their ids."""
    lines = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                lines[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
    return lines


def children_of(pid: int) -> dict[int, str]:
    """Process ids and command lines of all descendants."""
    commands = command_lines()
    parents = {}
    for other in commands:
        with contextlib.suppress(OSError):
            stat = pathlib.Path(f"/proc/{other}/stat").read_text()
            parents[other] = int(stat.rpartition(")")[2].split()[1])
    found: dict[int, str] = {}
    while more := {
        p: commands[p] for p, q in parents.items() if (q == pid or q in found) and p not in found
    }:
        found |= more
    return found


class Process:
    """A program under way, with its output in files."""

    def __init__(self, command: list[str], output: pathlib.Path):
        self.command = command
        self.output = output
        with open(output, "w") as stdout, open(f"{output}.err", "w") as stderr:
            self.popen = subprocess.Popen(command, stdout=stdout, stderr=stderr, cwd=ROOT)

    def stdout(self) -> str:
        return self.output.read_text()

    def stderr(self) -> str:
        return pathlib.Path(f"{self.output}.err").read_text()

    def kill(self):
        self.popen.kill()
        self.popen.wait()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and returns the exit status."""
        self.popen.send_signal(number)
        return self.wait()

    def wait(self, timeout: float = PATIENCE_S) -> int:
        return self.popen.wait(timeout)

    def still_runs(self) -> bool:
        return self.popen.poll() is None


class Daemon(Process):
    """A daemon that has printed its ready line; its fields are in `ready`."""

    def __init__(self, command: list[str], output: pathlib.Path):
        super().__init__(command, output)
        wait_until(lambda: "\n" in self.stdout() or not self.still_runs(), f"{command[0]} is ready")
        assert self.still_runs(), f"{command} ended with {self.popen.returncode}: {self.stderr()}"
        words = self.stdout().splitlines()[0].split()
        assert words[:2] == [pathlib.Path(command[0]).name, "ready"]
        self.ready = dict(word.split("=", 1) for word in words[2:] if "=" in word)
        self.address = self.ready["address"]

    def page(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.ready['metrics']}{path}", timeout=10) as reply:
            return reply.read().decode()

    def metrics(self) -> dict[str, dict[str, float]]:
        """Every sample: family name -> the labels as they are written -> value."""
        samples = collections.defaultdict(dict)
        for line in self.page("/metrics").splitlines():
            if line and not line.startswith("#"):
                name_and_labels, value = line.rsplit(" ", 1)
                name, _, labels = name_and_labels.partition("{")
                samples[name]["{" + labels if labels else ""] = float(value)
        return samples


class Programs:
    """Starts programs with their output in one folder, and ends those that are left at the end."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self._started: list[Process] = []

    def _output(self, name: str) -> pathlib.Path:
        return self.folder / f"{name}-{len(self._started)}.log"

    def _keep(self, process):
        self._started.append(process)
        return process

    def start(self, name: str, *arguments) -> Process:
        command = [program(name), *map(str, arguments)]
        return self._keep(Process(command, self._output(name)))

    def daemon(self, name: str, *arguments) -> Daemon:
        command = [
            program(name),
            *map(str, arguments),
            "--threads",
            "1",
            "--metrics",
            "127.0.0.1:0",
        ]
        return self._keep(Daemon(command, self._output(name)))

    def sharer(self, listen: str, *arguments, model: pathlib.Path = SHARER_MODEL) -> Daemon:
        return self.daemon("qc2c-sharer", "--model", model, "--listen", listen, *arguments)

    def receiver(self, sharer: str, listen: str, *arguments, fuser: pathlib.Path = FUSER) -> Daemon:
        models = ["--model", RECEIVER_MODEL, "--fuser", fuser]
        return self.daemon(
            "qc2c-receiver", *models, "--sharer", sharer, "--listen", listen, *arguments
        )

    def end_all(self):
        for process in self._started:
            if process.still_runs():
                process.kill()


class RunFolder:
    """What `qc2c eval` and `qc2c demo` leave behind."""

    def __init__(self, path: pathlib.Path):
        self.path = path

    def _lines(self, name: str) -> list[dict]:
        path = self.path / "results" / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def points(self) -> list[dict]:
        return self._lines("points.jsonl")

    def incomplete(self) -> list[dict]:
        return self._lines("incomplete.jsonl")

    def predictions(self, point: str, dataset: str = "heldout_mc") -> list[dict]:
        return self._lines(f"predictions/{point}.{dataset}.jsonl")

    def num_answered(self, point: str, dataset: str = "heldout_mc") -> int:
        path = self.path / "results" / "predictions" / f"{point}.{dataset}.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0


def question_ids(limit: int, dataset: str = "heldout_mc") -> list[str]:
    lines = (QUESTIONS / f"{dataset}.jsonl").read_text().splitlines()[:limit]
    return [json.loads(line)["id"] for line in lines]


def eval_arguments(receiver: str, out: pathlib.Path, *arguments) -> list[str]:
    """Multiple choice, answered with one token, as the demonstration asks it."""
    questions = ["--questions", QUESTIONS / "heldout_mc.jsonl", "--max-new-tokens", 1]
    return list(map(str, ["eval", "--receiver", receiver, *questions, "--out", out, *arguments]))


def evaluate(receiver: str, out: pathlib.Path, *arguments) -> RunFolder:
    result = run("qc2c", *eval_arguments(receiver, out, *arguments))
    assert result.returncode == 0, result.stderr
    return RunFolder(out)
