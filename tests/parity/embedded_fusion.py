"""The embedded receiver fused with several embedded sharers by transformers and a projector written in
PyTorch: option scores that the daemons must reproduce."""

import functools
import json
import pathlib

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from fuser_fixtures import aggregate

HALVES = ("key", "value")
Cache = dict[str, list[torch.Tensor]]  # by half, a tensor [1, H, T, D] a layer


@functools.cache
def model_of(folder: pathlib.Path):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@functools.cache
def tokenizer_of(folder: pathlib.Path):
    return AutoTokenizer.from_pretrained(folder)


@functools.cache
def projectors_of(fuser: pathlib.Path) -> list[tuple[int, int, dict[str, torch.Tensor]]]:
    """By receiver layer: the sharer layer that it reads, the projector's depth, its tensors in fp32."""
    final = fuser / "final"
    mapping = json.loads((final / "projector_config.json").read_text())["0"]["1"]
    projectors = []
    for layer in range(len(mapping)):
        source, index = mapping[str(layer)][0]
        depth = json.loads((final / f"projector_{index}.json").read_text())["init_args"]
        state = load_file(final / f"projector_{index}.safetensors")
        state = {name: tensor.float() for name, tensor in state.items()}
        projectors.append((source, depth["num_layers"], state))
    return projectors


def prefill(model: pathlib.Path, ids: list[int]) -> Cache:
    cache = DynamicCache()
    model_of(model)(torch.tensor([ids]), past_key_values=cache, use_cache=True)
    layers = cache.layers
    return {"key": [one.keys for one in layers], "value": [one.values for one in layers]}


def fuse(own: Cache, pairs: list[tuple[pathlib.Path, pathlib.Path]], ids: list[int], order: str):
    """`own` with what each (sharer, fuser) adds: to what the one before it left, or to `own`."""
    fused = {half: list(layers) for half, layers in own.items()}
    for sharer, fuser in pairs:
        read = prefill(sharer, ids)
        for layer, (source, depth, state) in enumerate(projectors_of(fuser)):
            for half in HALVES:
                base = (fused if order == "sequential" else own)[half][layer]
                added = aggregate(state, half, depth, read[half][source], base) - base
                fused[half][layer] = fused[half][layer] + added
    return fused


def log_probability(model: pathlib.Path, fused: Cache, last: int, option: list[int]) -> float:
    """Mean over the option's tokens, behind the prompt whose last token is not in the cache."""
    cache = DynamicCache()
    for layer, (key, value) in enumerate(zip(fused["key"], fused["value"], strict=True)):
        cache.update(key, value, layer)
    ids = torch.tensor([[last, *option]])
    start = fused["key"][0].shape[2]
    positions = torch.arange(start, start + ids.shape[1]).unsqueeze(0)
    logits = model_of(model)(ids, past_key_values=cache, position_ids=positions).logits[0]
    scores = logits.double().log_softmax(-1)[:-1].gather(1, ids[0, 1:].unsqueeze(1))
    return scores.mean().item()


@torch.no_grad()
def option_scores(
    receiver: pathlib.Path,
    pairs: list[tuple[pathlib.Path, pathlib.Path]],
    order: str,
    user: str,
    reply_prefix: str,
    options: list[str],
) -> list[float]:
    """All models read the receiver's tokens of the conversation; all but the last one are fused."""
    tokenizer = tokenizer_of(receiver)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": user}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(text + reply_prefix, add_special_tokens=False).input_ids
    fused = fuse(prefill(receiver, ids[:-1]), pairs, ids[:-1], order)
    encoded = [tokenizer(option, add_special_tokens=False).input_ids for option in options]
    return [log_probability(receiver, fused, ids[-1], option) for option in encoded]
