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
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from PIL import Image

from helpers.datasets import ImageDataset
from helpers.datasets.records import Annotation
from helpers.evaluation import bootstrap_ci
from helpers.models import EmbeddingModel, Recipe
from helpers.ranking import category_matrix, rank_exact
from helpers.settings import TutorialError

GEM_POWER = 3
WHOLE, OWN, OTHER = "the whole photo", "its own box", "another object's box"


def pool(features: np.ndarray, pooling: str) -> np.ndarray:
    """The vector that a feature map is pooled to, not normalised: float64 [c].

    features: [..., c], cells in any leading shape; pooling: `max`, `average` or `gem`
    (generalised mean, p = 3: Radenović, Tolias, Chum, "Fine-tuning CNN image retrieval with no
    human annotation", 2019). Raises TutorialError for `gem` of negative features.
    """
    cells = np.asarray(features, np.float64).reshape(-1, features.shape[-1])  # [cells, c]
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
    pooled = pool(features, pooling)  # [c]
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
    vector_a, vector_b = parts_a.sum(axis=(0, 1)), parts_b.sum(axis=(0, 1))  # [c]
    scale = _length(vector_a) * _length(vector_b)
    return parts_a @ vector_b / scale, parts_b @ vector_a / scale


def matched_maps(
    feature_maps: np.ndarray, match: np.ndarray, pooling: str
) -> tuple[np.ndarray, np.ndarray]:
    """`similarity_maps` of every photo and its match: float64 [n, h, w] in the one, in the other.

    feature_maps: [n, h, w, c]; match: int [n], rows of the matches.
    """
    pairs = [
        similarity_maps(feature_maps[row], feature_maps[other], pooling)
        for row, other in enumerate(match)
    ]
    in_query, in_match = zip(*pairs, strict=True)
    return np.stack(in_query), np.stack(in_match)


def box_mask(box: Sequence[float], image_size: tuple[int, int]) -> np.ndarray:
    """The pixels of a photo that lie in a box: bool [height, width].

    box: x, y, width, height in pixels from the photo's upper left corner, COCO's order; what
    lies outside the photo is cut off, and one within a pixel is that pixel. image_size: width,
    height, Pillow's order.
    """
    x, y, width, height = box
    mask = np.zeros(image_size[::-1], bool)
    mask[_pixel_range(y, height), _pixel_range(x, width)] = True
    return mask


def _pixel_range(start: float, length: float) -> slice:
    """The pixels between two places along a side; one within a pixel is that pixel."""
    first, end = round(start), round(start + length)
    if first == end and length > 0:
        first = math.floor(start + length / 2)
        end = first + 1
    return slice(max(first, 0), max(end, 0))


def seen(pixels: np.ndarray, recipe: Recipe) -> np.ndarray:
    """The part of a photo or mask [height, width, …] that a recipe shows to the network."""
    if not recipe.crop:
        return pixels
    height, width = pixels.shape[:2]
    kept = recipe.input_size / (recipe.shorter_side or recipe.input_size)
    side = max(1, round(min(height, width) * kept))
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def cell_coverage(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Share of each feature-map cell that a mask covers: float32 [h, w], 0 to 1.

    mask: bool [height, width], all that the network sees of the photo (`seen`); grid: h, w.
    Cells are taken as equal rectangles; what a cell really reacts to (its receptive field) is
    wider.
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
            "The box lies outside what the network sees of the photo: give x, y, width, height in "
            "pixels inside it, and where the recipe crops, inside its middle square."
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


def shifted_share(similarity_map: np.ndarray, coverage: np.ndarray) -> float:
    """`share_on_mask` of the mask moved elsewhere: its mean over all other places in the map.

    Only places where the whole mask lies inside the map; nan where it has no room to move.
    """
    (height, width), (rows, columns) = coverage.shape, np.nonzero(coverage)
    shares = []
    for down in range(-rows.min(), height - rows.max()):
        for right in range(-columns.min(), width - columns.max()):
            moved = np.roll(coverage, (down, right), axis=(0, 1))
            shares.append(share_on_mask(similarity_map, moved))
    stayed = share_on_mask(similarity_map, coverage)
    return (sum(shares) - stayed) / (len(shares) - 1) if len(shares) > 1 else float("nan")


def partners(similarity: np.ndarray, labels: Sequence[Collection[str]]) -> np.ndarray:
    """For every photo the most similar other one that shares a category: int [n].

    similarity: float [n, n], between -1 and 1. Where no other photo shares a category, it is the
    most similar of all.
    """
    shown, _ = category_matrix(labels)
    preferred = similarity + 3 * (shown @ shown.T > 0)  # [n, n]
    np.fill_diagonal(preferred, -np.inf)
    return preferred.argmax(axis=1)


def object_shares(
    dataset: ImageDataset, match: np.ndarray, maps: np.ndarray, recipe: Recipe
) -> pd.DataFrame:
    """How much of a photo's similarity to its match lies on the objects that both show.

    match: int [n], each photo's match; maps: [n, h, w], where in the photo their similarity comes
    from; rows of both as in the dataset. Photos without an outlined object that their match has,
    too, are left out.

    Returns one row per photo, its number as index, and the shares: `object`; `area`, what an even
    map would have there; `shifted` (`shifted_share`) and `other photos`: the mean under the same
    mask on all other photos' maps, which tells what being near the middle alone would give.
    """
    grid = maps.shape[1:]
    shares = {}
    for row, record in enumerate(dataset):
        mask = shared_mask(dataset.annotations(record.id), dataset.labels[match[row]])
        if mask is None or not seen(mask, recipe).any():
            continue
        coverage = cell_coverage(seen(mask, recipe), grid)
        everywhere = [share_on_mask(other, coverage) for other in maps]
        shares[row] = {
            "object": everywhere[row],
            "area": float(coverage.mean()),
            "shifted": shifted_share(maps[row], coverage),
            "other photos": float(np.mean(everywhere[:row] + everywhere[row + 1 :])),
        }
    columns = ["object", "area", "shifted", "other photos"]
    return pd.DataFrame.from_dict(shares, orient="index", columns=columns)


def shared_mask(objects: Sequence[Annotation], wanted: Collection[str]) -> np.ndarray | None:
    """The pixels of all outlined objects of wanted categories: bool [height, width], or None."""
    objects = [thing for thing in objects if thing.category in wanted and thing.segmentation]
    masks = [thing.mask() for thing in objects]
    return np.any(masks, axis=0) if masks else None


def box_cells(annotation: Annotation, recipe: Recipe, grid: tuple[int, int]) -> np.ndarray:
    """The cells of a feature map that stand for an object's box: bool [h, w]; `region_cells`."""
    mask = box_mask(annotation.bbox, annotation.photo_size[::-1])
    return region_cells(cell_coverage(seen(mask, recipe), grid))


def largest_boxes(
    dataset: ImageDataset, models: Sequence[EmbeddingModel]
) -> list[tuple[int, Annotation]]:
    """The largest object of each category in the photos that show several: row and annotation.

    Only categories that another photo has as well, and boxes of which each model sees a part.
    """
    boxes, photos = [], dataset.categories  # photos of each category
    for row, record in enumerate(dataset):
        by_size = sorted(dataset.annotations(record.id), key=lambda thing: np.prod(thing.bbox[2:]))
        largest = {thing.category: thing for thing in by_size if photos.get(thing.category, 0) > 1}
        visible = [(row, thing) for thing in largest.values() if is_visible(thing, models)]
        boxes += visible if len(visible) > 1 else []
    return boxes


def is_visible(annotation: Annotation, models: Sequence[EmbeddingModel]) -> bool:
    """Whether each model sees at least a pixel of an object's box."""
    mask = box_mask(annotation.bbox, annotation.photo_size[::-1])
    return all(seen(mask, model.recipe).any() for model in models)


def box_search(
    dataset: ImageDataset,
    objects: Sequence[tuple[int, Annotation]],
    feature_maps: np.ndarray,
    vectors: np.ndarray,
    recipe: Recipe,
    k: int,
) -> pd.DataFrame:
    """Share of the first k results that show an object's category, for three kinds of query.

    objects: of `largest_boxes`; feature_maps: [n, h, w, c] and vectors: [n, c], rows as in the
    dataset. Returns one row per photo, the mean over its objects, and a column per query: the
    whole photo, the object's own box, and the boxes of the photo's other objects (their mean).
    """
    if not objects:
        return pd.DataFrame(columns=[WHOLE, OWN, OTHER], dtype=float)
    grid, rows = feature_maps.shape[1:3], np.array([row for row, _ in objects])
    parts = [
        region_vector(feature_maps[row], box_cells(thing, recipe, grid), recipe.pooling)
        for row, thing in objects
    ]
    shown, names = category_matrix(dataset.labels)
    columns = [names.index(thing.category) for _, thing in objects]

    def shares(queries: np.ndarray) -> np.ndarray:
        """[objects, objects]: of the results of each query, how many show each object."""
        return shown[rank_exact(queries, vectors, rows, k)].mean(axis=1)[:, columns]

    whole, by_box = shares(vectors[rows]), shares(np.stack(parts))
    others = (rows[:, None] == rows) & ~np.eye(len(rows), dtype=bool)  # [objects, objects]
    table = pd.DataFrame(
        {
            WHOLE: np.diag(whole),
            OWN: np.diag(by_box),
            OTHER: (others * by_box).sum(axis=0) / others.sum(axis=0),
        }
    )
    return table.groupby(rows).mean()


def results_section(
    models: Sequence[EmbeddingModel],
    boxes: Mapping[str, pd.DataFrame],
    objects: Mapping[str, pd.DataFrame],
    shares: Mapping[str, pd.DataFrame],
) -> dict[str, dict]:
    """What `results.json` keeps of each model.

    boxes: per title, where there are boxes, `evaluation.compare` of OWN with WHOLE and OTHER;
    objects: per title, where there are outlines, the same of the columns of `object_shares`;
    shares: per title `object_shares`.
    """
    columns = ["difference", "low", "high", "p"]
    section: dict[str, dict] = {}
    for model in models:
        entry = section[model.name] = {}
        if model.title in boxes:
            rows = boxes[model.title][columns]
            entry["box_against_whole_photo"] = rows.loc[f"{OWN} − {WHOLE}"].to_dict()
            entry["box_against_other_box"] = rows.loc[f"{OWN} − {OTHER}"].to_dict()
        if model.title in objects:
            entry |= objects[model.title][columns].to_dict("index")
        if len(table := shares[model.title]) > 1:
            mean, low, high = bootstrap_ci(table["object"].to_numpy())
            entry |= {"share_on_object": mean, "share_on_object_ci": [low, high]}
            entry["area_of_object"] = table["area"].mean()
            entry["share_under_other_photos"] = table["other photos"].mean()
            if table["shifted"].notna().any():
                entry["share_under_shifted_masks"] = table["shifted"].mean()
    return section


def _length(vector: np.ndarray) -> float:
    """Euclidean length; a vector of length 0 has no direction to compare."""
    length = float(np.linalg.norm(vector))
    if length == 0:
        raise TutorialError(
            "All features here are 0, so there is nothing to compare: choose another photo or "
            "a larger box."
        )
    return length
