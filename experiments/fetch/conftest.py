"""The gguf package for the tests here: installed as `qc2c fetch` does; they skip where it cannot be."""

import sys

from fetch import cache_folder
from fetch_error import FetchError
from gguf_package import gguf_folder

try:
    sys.path.append(str(gguf_folder(cache_folder())))
except FetchError as error:
    print(f"tests of the GGUF conversion will skip: {error}", file=sys.stderr)
