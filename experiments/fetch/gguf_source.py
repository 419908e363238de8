"""A GGUF file as checked metadata and tensors; what is wrong with it is a ConversionError."""

from pathlib import Path

import gguf
import numpy as np


class ConversionError(Exception):
    """The input cannot be converted; the message names the file, the field and what was expected."""


class GgufFile:
    """Reads the metadata at once; tensor data stay mapped and quantized until they are asked for."""

    def __init__(self, path: Path):
        self.path = Path(path)
        try:
            self._reader = gguf.GGUFReader(self.path)
        except OSError as error:
            raise ConversionError(f"{self.path}: {error.strerror or error}") from error
        except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
            # The reader has no error of its own: a file that ends early or is no GGUF at all shows
            # as whatever its parsing trips over.
            raise ConversionError(
                f"{self.path}: truncated, or not a GGUF file of version 2 or 3 ({error})"
            ) from error
        self.tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        self.architecture = self.get("general.architecture", str)

    def error(self, message: str) -> ConversionError:
        return ConversionError(f"{self.path}: {message}")

    def has(self, key: str) -> bool:
        return key in self._reader.fields

    def get(self, key: str, kind: type, default=None):
        """The value of a metadata key; `kind` is str, int, float, bool or list.

        A key that is absent gives the default, and without one an error.
        """
        field = self._reader.fields.get(key)
        if field is None:
            if default is None:
                raise self.error(f"metadata has no `{key}` (expected {kind.__name__})")
            return default
        value = field.contents()
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise self.error(f"`{key}` is {value!r:.80}, expected {kind.__name__}")
        return value

    def arch(self, key: str, kind: type, default=None):
        """A key under the architecture's own name, as `llama.block_count`."""
        return self.get(f"{self.architecture}.{key}", kind, default)


def tensor_shape(tensor) -> list[int]:
    """The shape as [out, in]: GGUF lists its dimensions the other way round."""
    return [int(size) for size in reversed(tensor.shape)]


def dequantized(tensor, rows: slice, row_order: np.ndarray | None = None) -> np.ndarray:
    """float32 values of some rows, in the order of `row_order` if one is given.

    Rows are quantized each by itself, so they are put into order before any value is computed.
    """
    data = tensor.data[rows] if row_order is None else tensor.data[row_order[rows]]
    return gguf.dequantize(data, tensor.tensor_type)
