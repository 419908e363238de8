"""Copies of the embedded sharer whose tokenizer is another one, made so that what they compute is known."""

import json
import pathlib
import random
import shutil

from safetensors.numpy import load_file, save_file

from programs import FUSER, SHARER_MODEL

EMBEDDING = "model.embed_tokens.weight"  # tied: it is the output layer too


def _edit_json(path: pathlib.Path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content, indent=1))


def respelt_sharer(folder: pathlib.Path) -> pathlib.Path:
    """Another tokenizer.json, by white space: another hash, the same ids, the same weights."""
    shutil.copytree(SHARER_MODEL, folder)
    _edit_json(folder / "tokenizer.json", lambda content: None)
    return folder


def permuted_sharer(folder: pathlib.Path, seed: int = 7) -> pathlib.Path:
    """Every token that is not special has another id, and its row of the embedding goes with it: the same
    text gives the same cache."""
    shutil.copytree(SHARER_MODEL, folder)
    tensors = load_file(folder / "model.safetensors")
    num_ids = tensors[EMBEDDING].shape[0]
    new_id = list(range(num_ids))

    def permute(content: dict):
        special = {token["id"] for token in content["added_tokens"]}
        ordinary = [i for i in range(num_ids) if i not in special]
        for old, new in zip(
            ordinary, random.Random(seed).sample(ordinary, len(ordinary)), strict=True
        ):
            new_id[old] = new
        vocabulary = content["model"]["vocab"]
        content["model"]["vocab"] = {token: new_id[i] for token, i in vocabulary.items()}

    _edit_json(folder / "tokenizer.json", permute)
    permuted = tensors[EMBEDDING].copy()
    permuted[new_id] = tensors[EMBEDDING]
    save_file({**tensors, EMBEDDING: permuted}, folder / "model.safetensors")
    return folder


def smaller_sharer(folder: pathlib.Path, num_ids: int) -> pathlib.Path:
    """The ids from `num_ids` on, each the result of one of the last merges, are not there."""
    shutil.copytree(SHARER_MODEL, folder)
    tensors = load_file(folder / "model.safetensors")
    num_dropped = tensors[EMBEDDING].shape[0] - num_ids

    def cut(content: dict):
        model = content["model"]
        model["vocab"] = {token: i for token, i in model["vocab"].items() if i < num_ids}
        assert all("".join(merge) not in model["vocab"] for merge in model["merges"][-num_dropped:])
        model["merges"] = model["merges"][:-num_dropped]

    _edit_json(folder / "tokenizer.json", cut)
    _edit_json(folder / "config.json", lambda content: content.update(vocab_size=num_ids))
    save_file(
        {**tensors, EMBEDDING: tensors[EMBEDDING][:num_ids].copy()}, folder / "model.safetensors"
    )
    return folder


def fuser_for_any_pair(folder: pathlib.Path, **said) -> pathlib.Path:
    """The pair's fuser, whose config.json says of the models what `said` has and nothing else."""
    shutil.copytree(FUSER, folder)
    _edit_json(folder / "config.json", lambda content: content.update(model=said))
    return folder
