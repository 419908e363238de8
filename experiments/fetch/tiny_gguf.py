"""GGUF files of tiny models with random weights, as llama.cpp's own converter would write them.

Names come from the gguf package's table, not from ours; a llama file's q and k rows are interleaved
and a Gemma file's norms are 1 + w, both written here from llama.cpp's side.
"""

from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    PreTrainedModel,
    Qwen2Config,
)

SIZES = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 7,  # so that a Gemma has a layer that sees everything
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
}
CONFIGS = {
    "llama": lambda **extra: LlamaConfig(**{**SIZES, "rope_theta": 100000.0, **extra}),
    "qwen2": lambda **extra: Qwen2Config(**{**SIZES, "rope_theta": 1000000.0, **extra}),
    "gemma3": lambda **extra: Gemma3TextConfig(
        **{**SIZES, "head_dim": 32, "sliding_window": 8, "query_pre_attn_scalar": 32, **extra}
    ),
}
ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "gemma3": gguf.MODEL_ARCH.GEMMA3,
}


def random_model(family: str, **extra) -> PreTrainedModel:
    """Every parameter is random, biases and norms too, and a bf16 value, so that none is rounded."""
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(CONFIGS[family](**extra)).eval()
    for parameter in model.parameters():
        parameter.data = (torch.randn(parameter.shape) * 0.2).bfloat16().float()
    return model


def llama_cpp_tensors(model: PreTrainedModel, family: str) -> dict[str, np.ndarray]:
    config = model.config
    table = gguf.get_tensor_name_map(ARCHITECTURES[family], config.num_hidden_layers)
    tensors = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        array = value.numpy()
        if family == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = len(array) // config.head_dim
            halves = array.reshape(heads, 2, config.head_dim // 2, -1)
            array = halves.swapaxes(1, 2).reshape(array.shape)
        if family == "gemma3" and name.endswith("norm.weight"):
            array = array + 1
        tensors[table.get_name(name, (".weight", ".bias"))] = array
    return tensors


def add_metadata(writer: gguf.GGUFWriter, model: PreTrainedModel, family: str) -> None:
    config = model.config
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if family == "gemma3":
        writer.add_rope_freq_base(1000000.0)
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
        writer.add_sliding_window(config.sliding_window)
    else:
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])


def add_tokenizer(writer: gguf.GGUFWriter, tokens: list[str], family: str) -> None:
    """Any tokenizer that the family may have: tests of weights do not look at it."""
    writer.add_tokenizer_model("llama" if family == "gemma3" else "gpt2")
    writer.add_tokenizer_pre({"llama": "smollm", "qwen2": "qwen2", "gemma3": "default"}[family])
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (len(tokens) - 3) + [3, 3, 3])
    if family == "gemma3":
        writer.add_token_scores([-float(i) for i in range(len(tokens))])
    else:
        writer.add_token_merges(["t 0"])
    writer.add_bos_token_id(len(tokens) - 3)
    writer.add_eos_token_id(len(tokens) - 2)
    writer.add_unk_token_id(len(tokens) - 1)
    writer.add_chat_template("{{ messages[0]['content'] }}")


def write_gguf(
    path: Path,
    model: PreTrainedModel,
    family: str,
    tensors: dict[str, np.ndarray] | None = None,
    architecture: str | None = None,
) -> Path:
    """`tensors` may hold raw blocks: (bytes as uint8 [rows, row bytes], quantization type)."""
    writer = gguf.GGUFWriter(path, architecture or family)
    add_metadata(writer, model, family)
    add_tokenizer(writer, [f"t{i}" for i in range(model.config.vocab_size)], family)
    for name, value in (tensors or llama_cpp_tensors(model, family)).items():
        if isinstance(value, tuple):
            writer.add_tensor(name, value[0], raw_dtype=value[1])
        else:
            writer.add_tensor(name, np.ascontiguousarray(value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
