"""Writes training.log and SHA256SUMS beside the embedded weights: what `train_embedded.sh` ends with.

training.log has the milestones of every model (from the trainer's log.jsonl), the seconds, the machine,
and the final scores of each pair alone and fused.
"""

import argparse
import hashlib
import json
import pathlib
import platform
import subprocess

RECEIVER = "receiver-qwen3"
NOT_SUMMED = ("SHA256SUMS", "training.log", "README.md")
SHARERS = ("sharer-qwen2", "sharer-llama")


def machine(device: str) -> str:
    if device != "cpu":
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        return subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip()
    cpu_info = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    names = [
        line.split(":")[1].strip()
        for line in cpu_info.splitlines()
        if line.startswith("model name")
    ]
    name = names[0] if names else platform.machine()
    return f"{name}, one thread a process, two in that of {RECEIVER}+{SHARERS[-1]}"


def milestones(path: pathlib.Path) -> list[str]:
    """The lines of log.jsonl that a reader wants: each check, with the loss of that step."""
    lines, loss, seconds = [], float("nan"), 0.0
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if "check" in record:
            shares = "  ".join(f"{kind} {share:.3f}" for kind, share in record["check"].items())
            lines.append(f"  step {record['step']:5d}  loss {loss:.4f}  {shares}")
        else:
            loss, seconds = record["loss"], record["seconds"]
    return [*lines, f"  {seconds:.0f} s"]


def scores(qc2c: str, out: pathlib.Path, work: pathlib.Path, sharer: str) -> str:
    command = [qc2c, "train", "check", "--receiver", out / RECEIVER, "--sharer", out / sharer]
    command += ["--fuser", out / f"{RECEIVER}+{sharer}", "--documents", work / "fuser_check.jsonl"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--qc2c", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--machine", help="its name, if the logs in --work come from another one")
    arguments = parser.parse_args()
    out, work = arguments.out, arguments.work

    text = [f"machine: {arguments.machine or machine(arguments.device)}", ""]
    for name in (RECEIVER, *SHARERS, *(f"{RECEIVER}+{sharer}" for sharer in SHARERS)):
        text += [
            f"{name}: share of right answers (first token, argmax over the vocabulary) by kind"
        ]
        text += [*milestones(work / name / "log.jsonl"), ""]
    for sharer in SHARERS:
        text += [
            f"{RECEIVER} and {sharer}, 512 questions of each kind",
            scores(arguments.qc2c, out, work, sharer),
        ]
    (out / "training.log").write_text("\n".join(text), encoding="utf-8")

    files = sorted(
        path for path in out.rglob("*") if path.is_file() and path.name not in NOT_SUMMED
    )
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(out).as_posix()}\n"
        for path in files
    ]
    (out / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


if __name__ == "__main__":
    main()
