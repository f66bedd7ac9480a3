"""The whole zoo: all files with structures, so that whoever asks for it has them all."""

import structures_branches
import structures_code
import structures_convolutions
import structures_indexing
import structures_normalization
import structures_relatives
import structures_tokens
import structures_wiring
from structures import ZOO

FILES = [
    structures_branches,
    structures_code,
    structures_convolutions,
    structures_indexing,
    structures_normalization,
    structures_relatives,
    structures_tokens,
    structures_wiring,
]

__all__ = ["FILES", "ZOO"]
