"""What a model must be before anything is computed from it.

Every fault is a ModelError that names the node or the constant. Sizes are computed from shapes alone, with Python's
integers, before anything of that size is made: a model of a few bytes may ask for more memory than there is.
"""

from .model import validate
from .runtime import why_it_does_not_run
from .tensors import LARGEST_TENSOR, check_tensors, make_plain

__all__ = ["LARGEST_TENSOR", "check_tensors", "make_plain", "validate", "why_it_does_not_run"]
