"""What the notebooks import: one idea per module, each importing only from those above it.

neighbours → settings → files → progress → mending → images → datasets → results, weight_digests,
torch_checkpoint → weights, efficientnet → models → quantization → conversion → adoption →
sessions, vector_cache → extraction → embedded → services → hits → vector_store, path_store →
search → ranking → evaluation → plots → photo_maps, search_figures → study → explorer
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
