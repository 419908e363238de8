"""The gguf package for the tests here: installed as `qc2c fetch` does; they skip where it cannot be."""

import sys

from extra_package import GGUF, extra_package
from fetch import cache_folder
from fetch_error import FetchError

try:
    sys.path.append(str(extra_package(GGUF, cache_folder())))
except FetchError as error:
    print(f"tests of the GGUF conversion will skip: {error}", file=sys.stderr)
