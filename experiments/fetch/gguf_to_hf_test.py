"""A converted folder computes what the model computed; what cannot be right is refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("gguf", reason="the gguf package could not be installed")

from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from gguf_source import ConversionError
from gguf_to_hf import convert
from tiny_gguf import llama_cpp_tensors, random_model, write_gguf

FAMILIES = ["llama", "qwen2", "gemma3"]


def logits(model) -> torch.Tensor:
    ids = torch.arange(40).reshape(2, 20) * 7 % model.config.vocab_size
    with torch.inference_mode():
        return model(ids).logits


def converted(path: Path, folder: Path):
    convert(path, folder, jobs=2)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_converted_folder_gives_the_logits_of_the_model(family, tied, tmp_path):
    model = random_model(family, tie_word_embeddings=tied)
    path = write_gguf(tmp_path / "model.gguf", model, family)
    found = converted(path, tmp_path / "folder")
    assert found.config.tie_word_embeddings == tied
    torch.testing.assert_close(logits(found), logits(model), rtol=0, atol=0)


def test_the_finer_of_two_copies_of_a_tied_matrix_is_used_for_both(tmp_path):
    model = random_model("qwen2")
    tensors = llama_cpp_tensors(model, "qwen2")
    fine = tensors["token_embd.weight"]
    noise = np.random.default_rng(1).standard_normal(fine.shape).astype(np.float32)
    coarse = fine + 0.08 * fine.std() * noise  # what four bits do
    both = {**tensors, "output.weight": fine, "token_embd.weight": coarse}
    found = converted(write_gguf(tmp_path / "m.gguf", model, "qwen2", both), tmp_path / "folder")
    assert "lm_head.weight" not in load_file(tmp_path / "folder" / "model.safetensors")
    torch.testing.assert_close(logits(found), logits(model), rtol=0, atol=0)


def test_a_bf16_value_is_the_nearest_and_a_tie_goes_to_the_even_one(tmp_path):
    model = random_model("qwen2")
    tensors = llama_cpp_tensors(model, "qwen2")
    values = torch.randn(tensors["output_norm.weight"].shape)
    bits = values.view(torch.int32)
    bits[::2] = bits[::2] & ~0xFFFF | 0x8000  # half way between two bf16 values
    tensors["output_norm.weight"] = values.numpy()
    convert(write_gguf(tmp_path / "m.gguf", model, "qwen2", tensors), tmp_path / "folder", 1)
    found = load_file(tmp_path / "folder" / "model.safetensors")["model.norm.weight"]
    assert torch.equal(found, values.bfloat16())


def test_the_folder_says_what_ends_a_reply(tmp_path):
    convert(write_gguf(tmp_path / "m.gguf", random_model("llama"), "llama"), tmp_path / "f", 1)
    config = json.loads((tmp_path / "f" / "generation_config.json").read_text())
    assert config == {"bos_token_id": 297, "eos_token_id": [298], "pad_token_id": None}


def refused(path: Path, folder: Path) -> str:
    """The error's text; nothing may be left of the folder."""
    with pytest.raises(ConversionError) as error:
        convert(path, folder, jobs=2)
    assert list(folder.parent.glob("folder*")) == []
    return str(error.value)


def changed(tmp_path: Path, change) -> str:
    model = random_model("qwen2")
    tensors = llama_cpp_tensors(model, "qwen2")
    change(tensors)
    return refused(write_gguf(tmp_path / "m.gguf", model, "qwen2", tensors), tmp_path / "folder")


def test_an_unknown_architecture_is_refused(tmp_path):
    path = write_gguf(tmp_path / "m.gguf", random_model("llama"), "llama", architecture="mamba")
    assert "general.architecture is `mamba`, expected one of llama, qwen2, gemma3" in refused(
        path, tmp_path / "folder"
    )


def test_a_missing_tensor_is_refused(tmp_path):
    message = changed(tmp_path, lambda tensors: tensors.pop("blk.3.attn_q.bias"))
    assert "tensor `blk.3.attn_q.bias` is missing" in message


def test_a_surplus_tensor_is_refused(tmp_path):
    message = changed(
        tmp_path, lambda tensors: tensors.update({"rope_freqs.weight": np.ones(8, np.float32)})
    )
    assert "tensor `rope_freqs.weight` is not understood" in message


def test_a_tensor_of_another_shape_is_refused(tmp_path):
    message = changed(
        tmp_path, lambda tensors: tensors.update({"output_norm.weight": np.ones(8, np.float32)})
    )
    assert "tensor `output_norm.weight` has shape [8], expected [64]" in message


def test_a_value_that_is_not_finite_is_refused(tmp_path):
    def change(tensors):
        tensors["blk.0.ffn_up.weight"] = tensors["blk.0.ffn_up.weight"].copy()
        tensors["blk.0.ffn_up.weight"][3, 5] = np.inf

    assert "tensor `blk.0.ffn_up.weight` has a value that is not finite" in changed(
        tmp_path, change
    )


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.2, 0.9])
def test_a_truncated_file_is_refused(kept, tmp_path):
    path = write_gguf(tmp_path / "m.gguf", random_model("llama"), "llama")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert f"{path}: truncated, or not a GGUF file" in refused(path, tmp_path / "folder")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert "No such file" in refused(tmp_path / "none.gguf", tmp_path / "folder")
