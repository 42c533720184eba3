"""Why two photos match: their similarity as a sum over places, and search by region.

Source: Stylianou, Souvenir, Pless, "Visualizing Deep Similarity Networks", 2019.

A photo's vector is pooled from its feature map [h, w, c], its *cells*. Each pooling is a sum
over cells v = Σ_p part_p, so the cosine of two photos is one as well: no approximation.
Euler's theorem gives the parts, part_p = F_p · ∂v/∂F_p, since every pooling is homogeneous of
degree 1. Average: F_p / cells. Max: the whole value at its place. GeM, v = (mean F³)^⅓, is
not linear, so its parts F_p³ / (cells · v²) also depend on the other cells: they add up to the
vector exactly, but are this photo's own split, not what a cell would give by itself. GeM is
defined for features ≥ 0 only, as after the ReLU of both networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from helpers.settings import TutorialError

GEM_POWER = 3


def pool(features: np.ndarray, pooling: str) -> np.ndarray:
    """The vector that a feature map is pooled to, not normalised: float64 [c].

    features: [..., c], cells in any leading shape; pooling: `max`, `average` or `gem`
    (generalised mean, p = 3: Radenović, Tolias, Chum, "Fine-tuning CNN image retrieval with no
    human annotation", 2019). Raises TutorialError for `gem` of negative features.
    """
    cells = np.asarray(features, np.float64).reshape(-1, features.shape[-1])
    if pooling == "max":
        return cells.max(axis=0)
    if pooling == "average":
        return cells.mean(axis=0)
    if pooling == "gem":
        if cells.min() < 0:
            raise TutorialError(
                "GeM pooling needs features that are never negative, and this feature map has "
                "some: take the layer after its ReLU, or choose `max` or `average` pooling."
            )
        return (cells**GEM_POWER).mean(axis=0) ** (1 / GEM_POWER)
    raise ValueError(f"unknown pooling {pooling!r}")


def place_parts(feature_map: np.ndarray, pooling: str) -> np.ndarray:
    """What each cell contributes to the pooled vector: float64 [h, w, c].

    feature_map: [h, w, c]. Summed over cells it is `pool(feature_map, pooling)`. A maximum
    reached in several cells is shared equally among them.
    """
    features = np.asarray(feature_map, np.float64)
    cells = features.shape[0] * features.shape[1]
    pooled = pool(features, pooling)
    if pooling == "average":
        return features / cells
    if pooling == "max":
        reached = features == pooled
        return reached * (pooled / reached.sum(axis=(0, 1)))
    power = features**GEM_POWER
    divisor = cells * pooled ** (GEM_POWER - 1)
    return np.divide(power, divisor, out=np.zeros_like(power), where=divisor > 0)


def similarity_maps(
    feature_map_a: np.ndarray, feature_map_b: np.ndarray, pooling: str
) -> tuple[np.ndarray, np.ndarray]:
    """Where in photo A, and where in photo B, their similarity comes from.

    feature_map_a: [h, w, c], feature_map_b: [h', w', c]. Returns float64 [h, w] and [h', w'],
    each adding up to the cosine of the two pooled vectors. Cell p of A has
    Σ_c part_pc · v_b,c / (|v_a|·|v_b|). Never negative where the features are not.
    Raises TutorialError when all features of a photo are 0.
    """
    parts_a, parts_b = place_parts(feature_map_a, pooling), place_parts(feature_map_b, pooling)
    vector_a, vector_b = parts_a.sum(axis=(0, 1)), parts_b.sum(axis=(0, 1))
    scale = _length(vector_a) * _length(vector_b)
    return parts_a @ vector_b / scale, parts_b @ vector_a / scale


def box_mask(box: Sequence[float], image_size: tuple[int, int]) -> np.ndarray:
    """The pixels of a photo that lie in a box: bool [height, width].

    box: x, y, width, height in pixels from the photo's upper left corner, COCO's order; what
    lies outside the photo is cut off, and one within a pixel is that pixel. image_size: width,
    height, Pillow's order.
    Raises TutorialError when no pixel is left.
    """
    x, y, width, height = box
    mask = np.zeros(image_size[::-1], bool)
    mask[_pixels(y, height), _pixels(x, width)] = True
    if not mask.any():
        raise TutorialError(
            f"The box {list(box)} holds no pixel of the photo of {image_size[0]} × "
            f"{image_size[1]} pixels: give x, y, width, height inside it."
        )
    return mask


def _pixels(start: float, length: float) -> slice:
    first, end = round(start), round(start + length)
    if first == end and length > 0:
        first = math.floor(start + length / 2)
        end = first + 1
    return slice(max(first, 0), max(end, 0))


def centre_crop(mask: np.ndarray) -> np.ndarray:
    """The part of a mask [height, width] that a recipe with `crop` shows to the network."""
    height, width = mask.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return mask[top : top + side, left : left + side]


def cell_coverage(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Share of each feature-map cell that a mask covers: float32 [h, w], 0 to 1.

    mask: bool [height, width], all that the network sees of the photo (`centre_crop` it first
    where the recipe crops); grid: h, w. Cells are taken as equal rectangles; what a cell
    really reacts to (its receptive field) is wider.
    """
    pixels = Image.fromarray(np.asarray(mask, np.float32))
    return np.asarray(pixels.resize(grid[::-1], Image.Resampling.BOX))


def region_cells(coverage: np.ndarray) -> np.ndarray:
    """The cells that stand for a region: bool [h, w].

    coverage: [h, w] of `cell_coverage`. A cell belongs to the region if it is covered at least
    half as much as the best covered one: at least half for any region that fills a cell, and
    the best cells for a smaller one, so that a region is never empty.
    Raises TutorialError when nothing is covered.
    """
    if not coverage.any():
        raise TutorialError(
            "The region lies outside what the network sees of the photo (its centre crop): "
            "choose a region nearer the middle, or a recipe without crop."
        )
    return coverage >= coverage.max() / 2


def region_vector(feature_map: np.ndarray, cells: np.ndarray, pooling: str) -> np.ndarray:
    """The query vector of a region: only its cells are pooled. Unit length, float32 [c].

    feature_map: [h, w, c]; cells: bool [h, w] of `region_cells`. Comparable with the
    embeddings of whole photos, and with all cells equal to the photo's own.
    Raises TutorialError when all features of the region are 0.
    """
    vector = pool(feature_map[cells], pooling)
    return (vector / _length(vector)).astype(np.float32)


def share_on_mask(similarity_map: np.ndarray, coverage: np.ndarray) -> float:
    """Share of the similarity that falls on a mask, 0 to 1 for features that are never negative.

    similarity_map: [h, w] of `similarity_maps`; coverage: [h, w] of `cell_coverage`. Compare
    it with `coverage.mean()`, the mask's share of the area. A similarity of 0 has no place:
    its share is 0.
    """
    total = float(similarity_map.sum())
    return float((similarity_map * coverage).sum()) / total if total else 0.0


def _length(vector: np.ndarray) -> float:
    """Euclidean length; a vector of length 0 has no direction to compare."""
    length = float(np.linalg.norm(vector))
    if length == 0:
        raise TutorialError(
            "All features here are 0, so there is nothing to compare: choose another photo or "
            "a larger box."
        )
    return length
