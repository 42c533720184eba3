"""What the notebooks import: one idea per module, each importing only from those above it.

neighbours → settings → files → progress → images → datasets → results, weights → models →
quantization → conversion → extraction → services → vector_store, path_store → search →
evaluation, fusion, explanation → recipes, speed, index_study, scale_out → plots → votes, explorer,
embedding_map → explorer_widget
"""

from importlib.metadata import PackageNotFoundError, version

from helpers import neighbours
from helpers.settings import TutorialError

neighbours.overrule()

try:
    __version__ = version("image-search-tutorial")
except PackageNotFoundError:  # imported from a checkout that was not installed
    __version__ = "0+checkout"

__all__ = ["TutorialError", "__version__"]
