"""Help, exit codes (sysexits.h) and the error that a user meets: it names what was found."""

import shutil
import sys

import pytest

from programs import EMBEDDED, FUSER, QUESTIONS, RECEIVER_MODEL, SHARER_MODEL, run

USAGE, DATA_ERROR, NO_INPUT, UNAVAILABLE, CONFIG = 64, 65, 66, 69, 78
SUBCOMMANDS = ["ask", "eval", "demo", "report", "plot", "fetch", "train", "train lm", "train fuser"]


def check(result, code: int, *named: str):
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    for text in named:
        assert text in result.stderr


@pytest.mark.parametrize(
    "command",
    ["qc2c", "qc2c-sharer", "qc2c-receiver", *(f"qc2c {name}" for name in SUBCOMMANDS)],
)
def test_help_explains_and_succeeds(command):
    result = run(*command.split(), "--help")
    assert result.returncode == 0
    assert "Usage: " in result.stdout
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    flags = [i for i, line in enumerate(lines) if line.startswith("  -")]
    for i in flags:  # what a flag is for stands beside it or on the next line
        explained = len(lines[i].split(maxsplit=2)) > 2 or lines[i + 1].startswith(" " * 20)
        assert explained, lines[i]


def test_qc2c_names_its_subcommands():
    text = run("qc2c", "--help").stdout
    for name in ["ask", "eval", "demo", "report", "plot", "fetch", "train"]:
        assert f"\n  {name} " in text


def test_fetch_lists_what_there_is_and_passes_on_how_it_ended(folder):
    listed = run("qc2c", "fetch", "--list", "--out", str(folder), "--python", sys.executable)
    assert listed.returncode == 0, listed.stderr
    assert "SmolLM2-135M-Instruct" in listed.stdout
    unknown = run("qc2c", "fetch", "no-such-model", "--python", sys.executable)
    check(unknown, USAGE, "no `no-such-model`; there are SmolLM2-135M-Instruct, ")


@pytest.fixture
def sharer(folder):
    """Runs a sharer that is expected to refuse."""

    def run_sharer(*arguments, model=SHARER_MODEL):
        listen = f"unix:{folder}/sharer.sock"
        return run("qc2c-sharer", "--model", model, "--listen", listen, *arguments)

    return run_sharer


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--bogus"], ["--bogus"]),
        (["--threads", "-2"], ["--threads", "-2"]),
        # How a range is written depends on CLI11's version.
        (["--chunk-bytes", "3"], ["--chunk-bytes", "3", "1024", "4194304"]),
        (["--dtype", "fp8"], ["dtype", "'fp8'", "fp32 or bf16"]),
        (["--device", "tpu"], ["device", "'tpu'", "cpu, cuda or cuda:N"]),
        (["--metrics", "nowhere"], ["metrics", '"nowhere"', "HOST:PORT"]),
        (["--log-level", "loud"], ["--log-level", "loud"]),
    ],
)
def test_a_wrong_flag_is_a_usage_error(sharer, arguments, named):
    check(sharer(*arguments), USAGE, *named)


def test_an_unknown_flag_is_named_also_when_a_required_one_is_missing():
    check(run("qc2c-sharer", "--modle", "x"), USAGE, "--modle")


@pytest.mark.parametrize(
    ("address", "named"),
    [("nonsense", "unix:PATH or HOST:PORT"), ("192.0.2.1:1", "leaves this machine")],
)
def test_a_wrong_address_is_a_usage_error(address, named):
    result = run("qc2c-sharer", "--model", SHARER_MODEL, "--listen", address)
    check(result, USAGE, address, named)


@pytest.mark.parametrize(
    ("yaml", "named"),
    [
        ("model: [\n", ["malformed YAML", "line 2"]),
        ("- model\n", ["expected a map"]),
        ("nodel: x\n", ["nodel"]),
        ("threads: {a: 1}\n", ["threads"]),
        ("threads: many\n", ["threads", "many"]),
        ("? [model, listen]\n: x\n", ["a list or a map", "flag"]),
    ],
)
def test_a_wrong_config_file_is_a_usage_error(sharer, folder, yaml, named):
    (folder / "sharer.yaml").write_text(yaml)
    check(sharer("--config", folder / "sharer.yaml"), USAGE, *named)


def test_an_absent_config_file_is_missing_input(sharer, folder):
    check(sharer("--config", folder / "absent.yaml"), NO_INPUT, "absent.yaml")


def test_a_config_file_gives_flags_and_the_command_line_wins(sharer, folder):
    (folder / "sharer.yaml").write_text(f"device: tpu\ndtype: fp8\nmodel: {folder}\n")
    check(sharer("--config", folder / "sharer.yaml", "--device", "cpu"), USAGE, "dtype", "'fp8'")


@pytest.fixture
def broken_model(folder):
    """A copy of the sharer's model, to be broken."""
    return shutil.copytree(SHARER_MODEL, folder / "model")


def test_an_absent_model_folder_is_missing_input(sharer, folder):
    check(sharer(model=folder / "nothing"), NO_INPUT, f"{folder}/nothing")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_an_absent_model_file_is_missing_input(sharer, broken_model, name):
    (broken_model / name).unlink()
    check(sharer(model=broken_model), NO_INPUT, name)


@pytest.mark.parametrize("size", [0, 7, 8, 5000, 100_000, -1])
def test_truncated_weights_are_a_data_error(sharer, broken_model, size):
    path = broken_model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    check(sharer(model=broken_model), DATA_ERROR, "model.safetensors", "bytes")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_model_file_that_is_not_json_is_a_data_error(sharer, broken_model, name):
    (broken_model / name).write_text("{")
    check(sharer(model=broken_model), DATA_ERROR, name)


def test_weights_of_another_shape_are_a_data_error_that_names_the_tensor(sharer, broken_model):
    config = (broken_model / "config.json").read_text()
    assert '"intermediate_size": 256' in config
    (broken_model / "config.json").write_text(
        config.replace('"intermediate_size": 256', '"intermediate_size": 255')
    )
    check(sharer(model=broken_model), DATA_ERROR, "mlp.", "255", "256")


def test_a_receiver_without_its_sharer_says_so(folder):
    nobody = f"unix:{folder}/nobody.sock"
    models = ["--model", RECEIVER_MODEL, "--fuser", FUSER]
    addresses = ["--sharer", nobody, "--listen", f"unix:{folder}/receiver.sock"]
    result = run("qc2c-receiver", *models, *addresses, "--sharer-patience-ms", 300)
    check(result, UNAVAILABLE, nobody, "300ms")


@pytest.mark.parametrize("model", ["sharer-llama", "receiver-qwen3"])
def test_the_fuser_of_another_pair_is_refused(programs, folder, model):
    """A Llama of the same cache layout, and a model of another one."""
    sharer = programs.sharer(f"unix:{folder}/sharer.sock", model=EMBEDDED / model)
    models = ["--model", RECEIVER_MODEL, "--fuser", FUSER]
    addresses = ["--sharer", sharer.address, "--listen", f"unix:{folder}/receiver.sock"]
    check(run("qc2c-receiver", *models, *addresses), CONFIG, str(FUSER))


def test_a_fuser_without_one_of_its_tensors_is_refused_by_name(programs, folder):
    fuser = shutil.copytree(FUSER, folder / "fuser")
    (fuser / "final" / "projector_2.safetensors").unlink()
    sharer = programs.sharer(f"unix:{folder}/sharer.sock")
    models = ["--model", RECEIVER_MODEL, "--fuser", fuser]
    addresses = ["--sharer", sharer.address, "--listen", f"unix:{folder}/receiver.sock"]
    check(run("qc2c-receiver", *models, *addresses), NO_INPUT, "projector_2")


NOBODY = ["--receiver", "unix:/nowhere/receiver.sock"]
HELDOUT = ["--questions", QUESTIONS / "heldout_mc.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        ([], USAGE, ["subcommand"]),
        (["bogus"], USAGE, ["subcommand"]),
        (["eval", *NOBODY, "--out", "OUT", "--bogus"], USAGE, ["--bogus"]),
        (
            [
                "eval",
                *NOBODY,
                "--out",
                "OUT",
                "--questions",
                "/nowhere/q.jsonl",
                "--mode",
                "receiver",
            ],
            NO_INPUT,
            ["/nowhere/q.jsonl"],
        ),
        (
            ["eval", *NOBODY, "--out", "OUT", *HELDOUT, "--mode", "fussed"],
            USAGE,
            ["mode", "fussed", "fused"],
        ),
        (
            ["eval", *NOBODY, "--out", "OUT", *HELDOUT, "--mode", "fused", "--codec", "int9"],
            USAGE,
            ["int9", "int8"],
        ),
        (
            [
                "eval",
                *NOBODY,
                "--out",
                "OUT",
                *HELDOUT,
                "--mode",
                "fused",
                "--codec",
                "int8,select=back,keep_ratio=1.5",
            ],
            USAGE,
            ["keep_ratio", "1.5"],
        ),
        *(
            (["eval", *NOBODY, "--out", "OUT", "--recipe", "r.yaml", *flag], USAGE, [flag[0]])
            for flag in [
                HELDOUT,
                ["--mode", "fused"],
                ["--codec", "int8"],
                ["--prompt-format", "embedded_mc"],
                ["--method", "logits"],
                ["--max-new-tokens", "3"],
            ]
        ),
        (
            ["eval", *NOBODY, "--out", "OUT", *HELDOUT, "--max-new-tokens", "4097"],
            USAGE,
            ["--max-new-tokens", "4097", "4096"],
        ),
        (["ask", *NOBODY, "--max-new-tokens", "4097", "Who?"], USAGE, ["4097", "4096"]),
        (["ask", *NOBODY, "Who?"], UNAVAILABLE, ["/nowhere/receiver.sock"]),
        (["ask", "--receiver", "nonsense", "Who?"], USAGE, ["nonsense"]),
        (["report", "/nowhere"], NO_INPUT, ["/nowhere"]),
        (["demo", "--recipe", "/nowhere/recipe.yaml"], NO_INPUT, ["/nowhere/recipe.yaml"]),
    ],
)
def test_the_driver_refuses_by_name(folder, arguments, code, named):
    check(run("qc2c", *[folder / "out" if a == "OUT" else a for a in arguments]), code, *named)
