"""What a GGUF architecture is in a Hugging Face folder: config.json and the tensors' names.

A family that is not listed is refused. So is a tensor that is missing, surplus or misshapen: a
value that nothing here understands would otherwise be lost in silence.
"""

from dataclasses import dataclass

import numpy as np

from gguf_source import ConversionError, GgufFile, dequantized, tensor_shape

# The two copies of a tied matrix differ by their quantization errors only, which at four bits are
# about 8 % of the values; two matrices that have nothing to do with each other differ by 140 %.
TIED_DIFFERENCE = 0.3
TIED_ROWS_COMPARED = 256


@dataclass
class OutputTensor:
    name: str
    shape: list[int]
    source: str  # its name in the GGUF file
    row_order: np.ndarray | None = None
    add: float = 0.0


@dataclass
class Layout:
    config: dict
    tensors: list[OutputTensor]


LAYER = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
QKV_BIASES = {
    "attn_q.bias": "self_attn.q_proj.bias",
    "attn_k.bias": "self_attn.k_proj.bias",
    "attn_v.bias": "self_attn.v_proj.bias",
}
GEMMA_NORMS = {
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
    "post_attention_norm.weight": "post_attention_layernorm.weight",
    "ffn_norm.weight": "pre_feedforward_layernorm.weight",
    "post_ffw_norm.weight": "post_feedforward_layernorm.weight",
}
LAYERS = {"llama": LAYER, "qwen2": LAYER | QKV_BIASES, "gemma3": LAYER | GEMMA_NORMS}


def _common_config(source: GgufFile) -> dict:
    heads = source.arch("attention.head_count", int)
    hidden = source.arch("embedding_length", int)
    if hidden % heads and not source.has(f"{source.architecture}.attention.key_length"):
        raise source.error(f"embedding_length is {hidden}, not a multiple of head_count {heads}")
    return {
        "vocab_size": len(source.get("tokenizer.ggml.tokens", list)),
        "hidden_size": hidden,
        "intermediate_size": source.arch("feed_forward_length", int),
        "num_hidden_layers": source.arch("block_count", int),
        "num_attention_heads": heads,
        "num_key_value_heads": source.arch("attention.head_count_kv", int, heads),
        "head_dim": source.arch("attention.key_length", int, hidden // heads),
        "max_position_embeddings": source.arch("context_length", int),
        "rope_theta": source.arch("rope.freq_base", float, 10000.0),
        # Single precision in the file: six digits are what was meant.
        "rms_norm_eps": float(f"{source.arch('attention.layer_norm_rms_epsilon', float):.6g}"),
        "torch_dtype": "bfloat16",
        # Whose config.json this is like. Without the field transformers 5 takes the tokenizer for
        # a faulty one of another family.
        "transformers_version": "4.57.0",
    }


def _llama(source: GgufFile, common: dict) -> dict:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **common,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
    }


def _qwen2(source: GgufFile, common: dict) -> dict:
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        **common,
        "hidden_act": "silu",
        "use_sliding_window": False,
    }


def _gemma3(source: GgufFile, common: dict) -> dict:
    layers = common["num_hidden_layers"]
    # The file holds neither the pattern of the layers nor the base of the local rotation: they are
    # the same in every Gemma 3.
    kinds = ["full_attention" if (i + 1) % 6 == 0 else "sliding_attention" for i in range(layers)]
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        **common,
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "query_pre_attn_scalar": common["head_dim"],
        "sliding_window": source.arch("attention.sliding_window", int),
        "layer_types": kinds,
        "rope_local_base_freq": source.arch("rope.freq_base_swa", float, 10000.0),
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
    }


CONFIGS = {"llama": _llama, "qwen2": _qwen2, "gemma3": _gemma3}

# Metadata that would change the computation and that no config above expresses.
NOT_UNDERSTOOD = ["rope.scaling.type", "rope.scaling.factor", "expert_count", "attention.scale"]


def _is_tied(source: GgufFile) -> bool:
    """Whether the file holds one matrix for input and output, once or at two precisions."""
    if "output.weight" not in source.tensors:
        return True
    embedding, output = source.tensors["token_embd.weight"], source.tensors["output.weight"]
    if tensor_shape(embedding) != tensor_shape(output):
        return False
    step = max(1, len(output.data) // TIED_ROWS_COMPARED)
    rows = slice(None, None, step)
    a, b = dequantized(embedding, rows), dequantized(output, rows)
    return float(np.linalg.norm(a - b)) < TIED_DIFFERENCE * float(np.linalg.norm(b))


def interleaved_rows(heads: int, head_dim: int) -> np.ndarray:
    """Row order that undoes the interleaving of llama's q and k rows.

    llama.cpp rotates neighbours (0, 1), (2, 3), ...; transformers rotates row i with row i + D/2.
    A llama file therefore has row i of a head's first half at 2i and of its second half at 2i + 1.
    """
    order = np.arange(heads * head_dim).reshape(heads, head_dim // 2, 2)
    return order.swapaxes(1, 2).reshape(-1)


def _expected_shape(name: str, config: dict) -> list[int]:
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    query = config["num_attention_heads"] * config["head_dim"]
    key = config["num_key_value_heads"] * config["head_dim"]
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        return [config["head_dim"]]
    if name.endswith("norm.weight"):
        return [hidden]
    width = {"q_proj": query, "k_proj": key, "v_proj": key, "gate_proj": ffn, "up_proj": ffn}
    module = name.split(".")[-2]
    if name.endswith(".bias"):
        return [width[module]]
    if module in width:
        return [width[module], hidden]
    return {
        "o_proj": [hidden, query],
        "down_proj": [hidden, ffn],
        "embed_tokens": [config["vocab_size"], hidden],
        "lm_head": [config["vocab_size"], hidden],
    }[module]


def _names(source: GgufFile, config: dict) -> dict[str, str]:
    """Names in the folder to names in the file."""
    names = {"model.embed_tokens.weight": "token_embd.weight"}
    for i in range(config["num_hidden_layers"]):
        for ours, theirs in LAYERS[source.architecture].items():
            names[f"model.layers.{i}.{theirs}"] = f"blk.{i}.{ours}"
    names["model.norm.weight"] = "output_norm.weight"
    if not config["tie_word_embeddings"]:
        names["lm_head.weight"] = "output.weight"
    elif "output.weight" in source.tensors:
        # The copy for the output is the one that was quantized more finely.
        names["model.embed_tokens.weight"] = "output.weight"
    return names


def _check_names(source: GgufFile, wanted: set[str]) -> None:
    missing = sorted(wanted - source.tensors.keys())
    if missing:
        raise source.error(f"tensor `{missing[0]}` is missing ({len(missing)} in all)")
    surplus = sorted(source.tensors.keys() - wanted - {"token_embd.weight"})
    if surplus:
        raise source.error(f"tensor `{surplus[0]}` is not understood ({len(surplus)} in all)")


def read_layout(source: GgufFile) -> Layout:
    """config.json's content and the list of tensors; ConversionError if anything does not fit."""
    architecture = source.architecture
    if architecture not in CONFIGS:
        known = ", ".join(CONFIGS)
        raise source.error(f"general.architecture is `{architecture}`, expected one of {known}")
    for key in NOT_UNDERSTOOD:
        if source.has(f"{architecture}.{key}"):
            raise source.error(f"`{architecture}.{key}` is set, which is not understood")
    if "token_embd.weight" not in source.tensors:
        raise source.error("tensor `token_embd.weight` is missing")
    config = CONFIGS[architecture](source, _common_config(source))
    config["tie_word_embeddings"] = _is_tied(source)
    names = _names(source, config)
    _check_names(source, set(names.values()))
    tensors = []
    for name, theirs in names.items():
        tensor = OutputTensor(name, _expected_shape(name, config), theirs)
        found = tensor_shape(source.tensors[theirs])
        if found != tensor.shape:
            raise source.error(f"tensor `{theirs}` has shape {found}, expected {tensor.shape}")
        if architecture == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            tensor.row_order = interleaved_rows(
                tensor.shape[0] // config["head_dim"], config["head_dim"]
            )
        if architecture == "gemma3" and name.endswith("norm.weight"):
            tensor.add = -1.0  # the file has the factor 1 + w, transformers has w
        tensors.append(tensor)
    return Layout(config, tensors)


__all__ = ["ConversionError", "Layout", "OutputTensor", "interleaved_rows", "read_layout"]
