"""The split of the cosine adds up; regions and masks land on the right cells."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import TutorialError, evaluation
from helpers.datasets import ImageDataset, ImageRecord
from helpers.datasets.records import Annotation
from helpers.images import load_pixels
from helpers.models import PRESETS, Recipe, embedding_model
from helpers.settings import ROOT
from helpers.study import explanation as ex

POOLINGS = ["max", "average", "gem"]


def feature_map(seed, h=7, w=7, c=64):
    """Like a network's after ReLU: not negative, many zeros, one dead channel."""
    features = np.maximum(np.random.default_rng(seed).normal(size=(h, w, c)), 0)
    features[..., 5] = 0
    return features.astype(np.float32)


def cosine(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def test_poolings_by_hand():
    features = np.array([[[1.0, 0], [2, 0]], [[3, 4], [2, 0]]])
    assert ex.pool(features, "max").tolist() == [3, 4]
    assert ex.pool(features, "average").tolist() == [2, 1]
    assert ex.pool(features, "gem") == pytest.approx([11 ** (1 / 3), 16 ** (1 / 3)])


@pytest.mark.parametrize("pooling", POOLINGS)
def test_parts_add_up_to_the_pooled_vector(pooling):
    features = feature_map(0)
    parts = ex.place_parts(features, pooling)
    assert parts.shape == features.shape
    np.testing.assert_allclose(parts.sum(axis=(0, 1)), ex.pool(features, pooling), rtol=1e-9)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_similarity_maps_add_up_to_the_cosine(pooling):
    a, b = feature_map(1), feature_map(2, h=14, w=10)
    map_a, map_b = ex.similarity_maps(a, b, pooling)
    expected = cosine(ex.pool(a, pooling), ex.pool(b, pooling))
    assert 0.1 < expected < 0.999
    assert map_a.shape == (7, 7)
    assert map_b.shape == (14, 10)
    assert map_a.sum() == pytest.approx(expected, abs=1e-4)
    assert map_b.sum() == pytest.approx(expected, abs=1e-4)
    assert map_a.min() >= 0


@pytest.mark.parametrize("pooling", POOLINGS)
def test_parts_are_feature_times_gradient(pooling):
    features = feature_map(3, h=2, w=3, c=8).astype(np.float64)
    parts, step = ex.place_parts(features, pooling), 1e-6
    for cell in np.ndindex(2, 3):
        ahead, behind = features.copy(), features.copy()
        ahead[cell] += step
        behind[cell] = behind[cell] - step if pooling != "gem" else behind[cell]
        width = 2 * step if pooling != "gem" else step
        gradient = (ex.pool(ahead, pooling) - ex.pool(behind, pooling)) / width
        np.testing.assert_allclose(parts[cell], features[cell] * gradient, atol=1e-4)


def test_max_pooling_credits_the_place_of_the_maximum():
    a, b = np.zeros((3, 3, 2)), np.zeros((3, 3, 2))
    a[0, 2] = [4, 0]
    a[2, 1] = [1, 3]
    b[1, 1] = [1, 1]
    map_a, map_b = ex.similarity_maps(a, b, "max")
    expected = np.zeros((3, 3))
    expected[0, 2], expected[2, 1] = 4 / (5 * np.sqrt(2)), 3 / (5 * np.sqrt(2))
    np.testing.assert_allclose(map_a, expected)
    assert map_b[1, 1] == pytest.approx(expected.sum())


def test_max_reached_twice_is_shared():
    features = np.zeros((1, 3, 1))
    features[0, [0, 2]] = 2
    assert ex.place_parts(features, "max").ravel().tolist() == [1, 0, 1]


def test_average_and_max_also_split_negative_features():
    a, b = np.random.default_rng(4).normal(size=(2, 5, 5, 16))
    for pooling in ("max", "average"):
        map_a, _ = ex.similarity_maps(a, b, pooling)
        assert map_a.sum() == pytest.approx(cosine(ex.pool(a, pooling), ex.pool(b, pooling)))
    with pytest.raises(TutorialError, match="GeM.*never negative"):
        ex.similarity_maps(a, b, "gem")


def test_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match="median"):
        ex.pool(feature_map(0), "median")


def test_identical_photos_have_identical_maps_and_similarity_one():
    map_a, map_b = ex.similarity_maps(feature_map(5), feature_map(5), "max")
    np.testing.assert_array_equal(map_a, map_b)
    assert map_a.sum() == pytest.approx(1)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_featureless_photo_is_refused_not_nan(pooling):
    with pytest.raises(TutorialError, match="All features here are 0"):
        ex.similarity_maps(feature_map(0), np.zeros((7, 7, 64)), pooling)
    with pytest.raises(TutorialError, match="All features here are 0"):
        ex.region_vector(np.zeros((7, 7, 64)), np.ones((7, 7), bool), pooling)


# --- regions ---


def test_box_becomes_pixels_and_cells():
    mask = ex.box_mask([320, 0, 320, 240], (640, 480))  # the upper right quarter
    assert mask.shape == (480, 640)
    assert mask.sum() == 320 * 240
    assert mask[:240, 320:].all()
    coverage = ex.cell_coverage(mask, (7, 7))
    assert coverage.mean() == pytest.approx(0.25, abs=1e-6)
    assert coverage[0, 3] == pytest.approx(0.5)
    assert coverage[3, 3] == pytest.approx(0.25)
    cells = ex.region_cells(coverage)
    expected = np.zeros((7, 7), bool)
    expected[:4, 3:] = True  # half covered cells belong to the region,
    expected[3, 3] = False  # the corner cell, covered to a quarter, does not
    np.testing.assert_array_equal(cells, expected)


def test_coverage_is_the_share_of_the_cell():
    mask = np.zeros((6, 9), bool)
    mask[:2, :3] = True
    mask[2, 3] = True
    expected = np.zeros((3, 3))
    expected[0, 0], expected[1, 1] = 1, 1 / 6
    np.testing.assert_allclose(ex.cell_coverage(mask, (3, 3)), expected, atol=1e-6)


def test_tiny_box_selects_its_cell():
    coverage = ex.cell_coverage(ex.box_mask([100, 100, 3, 3], (640, 480)), (7, 7))
    assert np.argwhere(ex.region_cells(coverage)).tolist() == [[1, 1]]


def test_a_box_within_a_pixel_is_that_pixel():
    for box in ([3.1, 7.2, 0.3, 0.2], [2.8, 6.8, 0.6, 0.6], [3.6, 7.6, 0.3, 0.3]):
        assert np.argwhere(ex.box_mask(box, (64, 48))).tolist() == [[7, 3]]
    assert ex.box_mask([0.1, 0.1, 0.5, 0.5], (1, 1)).all()


def test_box_is_cut_at_the_photo():
    mask = ex.box_mask([-10, -10, 20, 15], (64, 48))
    assert mask.sum() == 10 * 5
    for box in ([64, 0, 5, 5], [-9, 3, 5, 5], [10, 10, 0, 5]):
        coverage = ex.cell_coverage(ex.box_mask(box, (64, 48)), (7, 7))
        with pytest.raises(TutorialError, match="The box lies outside .* inside it"):
            ex.region_cells(coverage)


def test_centre_crop_is_what_a_cropping_recipe_shows():
    mask = ex.box_mask([0, 0, 80, 480], (640, 480))  # the strip left of the centre square
    cropping, whole = PRESETS["recommended"]["resnet50"], PRESETS["article"]["resnet50"]
    assert ex.seen(mask, whole) is mask
    cropped = ex.seen(mask, cropping)
    assert cropped.shape == (480, 480)
    assert not cropped.any()
    assert ex.seen(~mask, cropping).all()
    assert ex.seen(mask.T, cropping).shape == (480, 480)
    with pytest.raises(TutorialError, match="outside what .* sees.* inside its middle"):
        ex.region_cells(ex.cell_coverage(cropped, (7, 7)))


@pytest.mark.parametrize("turn", [0, 90])
@pytest.mark.parametrize("shorter_side", [None, 224, 256, 320])
def test_what_a_recipe_shows_are_the_pixels_that_the_network_gets(tmp_path, shorter_side, turn):
    """But for what resizing in one step or two changes: a heat map lies where it looked."""
    recipe = Recipe(224, "bicubic", crop=True, pooling="average", shorter_side=shorter_side)
    path = sorted((ROOT / "data/sample/sample").glob("*.jpg"))[0]
    with Image.open(path) as stored:
        photo = stored.rotate(turn, expand=True)
    photo.save(tmp_path / "photo.png")
    expected = load_pixels(tmp_path / "photo.png", *recipe.preparation).astype(np.int64)
    shown = Image.fromarray(ex.seen(np.asarray(photo), recipe)).resize(
        (224, 224), Image.Resampling.BICUBIC
    )
    assert np.abs(np.asarray(shown) - expected).mean() < 1


@pytest.mark.parametrize("pooling", POOLINGS)
def test_region_of_all_cells_is_the_photo(pooling):
    features = feature_map(6)
    vector = ex.region_vector(features, np.ones((7, 7), bool), pooling)
    pooled = ex.pool(features, pooling)
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector, pooled / np.linalg.norm(pooled), atol=1e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_region_ignores_everything_outside(pooling):
    features, cells = feature_map(7), np.zeros((7, 7), bool)
    cells[2:4, 1:6] = True
    changed = np.where(cells[..., None], features, feature_map(8) * 100)
    expected = ex.region_vector(features, cells, pooling)
    np.testing.assert_array_equal(ex.region_vector(changed, cells, pooling), expected)
    alone = ex.pool(features[2:4, 1:6], pooling)
    np.testing.assert_allclose(expected, alone / np.linalg.norm(alone), atol=1e-6)


def test_share_on_mask_by_hand():
    similarity = np.array([[0.1, 0.3], [0.0, 0.4]])
    coverage = np.array([[1.0, 0.5], [1.0, 0.0]])
    assert ex.share_on_mask(similarity, coverage) == pytest.approx(0.25 / 0.8)
    assert ex.share_on_mask(similarity, 1 - coverage) == pytest.approx(1 - 0.25 / 0.8)
    assert ex.share_on_mask(np.zeros((2, 2)), coverage) == 0


def test_shifted_masks_by_hand():
    similarity = np.arange(1, 7).reshape(2, 3) / 21
    one_cell = np.zeros((2, 3))
    one_cell[0, 1] = 1
    assert ex.shifted_share(similarity, one_cell) == pytest.approx((1 - 2 / 21) / 5)
    column = np.zeros((2, 3))
    column[:, 0] = 1
    assert ex.shifted_share(similarity, column) == pytest.approx((7 + 9) / 21 / 2)
    assert np.isnan(ex.shifted_share(similarity, np.ones((2, 3))))


def test_partners_share_a_category_where_one_can():
    similarity = np.array(
        [[1, 0.9, 0.2, 0.1], [0.9, 1, 0.3, 0.8], [0.2, 0.3, 1, -1], [0.1, 0.8, -1, 1]]
    )
    assert ex.partners(similarity, ["a", "b", "a", "c"]).tolist() == [2, 0, 0, 1]
    assert ex.partners(similarity, [(), (), (), ()]).tolist() == [1, 0, 1, 1]


# --- measurements over a dataset; a photo is 4 × 4 pixels and its map has a cell for each ---

SQUASHED = PRESETS["article"]["resnet50"]


def annotation(category, bbox):
    x, y, width, height = bbox
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    return Annotation(category, bbox, (4, 4), [corners], None)


def photos(*contents):
    """A dataset of photos with these objects each."""
    records, objects = [], {}
    for id_, content in enumerate(contents, start=1):
        labels = frozenset(one.category for one in content)
        records.append(ImageRecord(id_, None, labels))
        objects[id_] = tuple(content)
    return ImageDataset("made", "made", tuple(records), objects=objects)


def test_object_shares_by_hand():
    cup, cat = annotation("cup", (0, 0, 2, 4)), annotation("cat", (0, 0, 4, 4))
    dataset = photos([cup, cat], [cup], [])
    maps = np.zeros((3, 4, 4))
    maps[0, :, :2], maps[0, :, 3] = 3, 2  # 3 : 1 in favour of the left half
    maps[1] = 1
    maps[2, 0, 0] = 1
    table = ex.object_shares(dataset, np.array([1, 0, 0]), maps, SQUASHED)
    assert table.index.tolist() == [0, 1], "the third photo shows nothing"
    assert table.loc[0].to_dict() == pytest.approx(
        {"object": 0.75, "area": 0.5, "shifted": (3 + 2) / 8 / 2, "other photos": (0.5 + 1) / 2}
    )
    nothing = ex.object_shares(dataset, np.array([2, 2, 0]), maps, SQUASHED)
    assert nothing.empty and list(nothing) == list(table)


def test_boxes_that_are_compared_are_the_largest_of_shared_categories():
    small, large = annotation("cup", (0, 0, 1, 1)), annotation("cup", (1, 1, 3, 3))
    cat, dog = annotation("cat", (0, 0, 2, 2)), annotation("dog", (0, 0, 4, 4))
    outside = annotation("cat", (9, 9, 2, 2))
    dataset = photos([large, small, cat, dog], [cat], [small, outside])
    assert ex.largest_boxes(dataset, [embedding_model("resnet50")]) == [(0, large), (0, cat)]


def test_box_search_finds_what_the_box_shows():
    cup, cat = annotation("cup", (0, 0, 2, 4)), annotation("cat", (2, 0, 2, 4))
    dataset = photos([cup, cat], [cup], [cat])
    maps = np.zeros((3, 4, 4, 2))
    maps[0, :, :2, 0] = maps[1, ..., 0] = 1
    maps[0, :, 2:, 1] = maps[2, ..., 1] = 1
    maps[0, 0, 0, 0] = 2  # the whole photo resembles the cup's more
    vectors = np.stack([ex.pool(one, "average") for one in maps])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    model = embedding_model("vgg16", "recommended")
    objects = ex.largest_boxes(dataset, [model])
    table = ex.box_search(dataset, objects, maps, vectors, model.recipe, 1)
    assert table.loc[0].to_dict() == {ex.WHOLE: 0.5, ex.OWN: 1, ex.OTHER: 0}
    nothing = ex.box_search(dataset, [], maps, vectors, model.recipe, 1)
    assert nothing.empty and list(nothing) == list(table)


def test_the_summary_is_whole_with_and_without_boxes():
    model = embedding_model("vgg16")
    columns = ["object", "area", "shifted", "other photos"]
    nothing = pd.DataFrame(columns=columns)
    assert ex.results_section([model], {}, {}, {model.title: nothing}) == {"vgg16": {}}
    shares = pd.DataFrame([[0.5, 0.2, 0.3, 0.4], [0.7, 0.2, np.nan, 0.4]], columns=columns)
    boxes = {ex.OWN: [1.0, 0.8], ex.WHOLE: [0.5, 0.5], ex.OTHER: [0.1, 0.1]}
    table = evaluation.compare(boxes, [(ex.OWN, ex.WHOLE), (ex.OWN, ex.OTHER)])
    against = evaluation.compare(shares.to_dict("series"), [("object", "other photos")])
    tables = {model.title: table}, {model.title: against}, {model.title: shares}
    found = ex.results_section([model], *tables)["vgg16"]
    assert found["object − other photos"]["difference"] == pytest.approx(0.2)
    assert found["share_on_object"] == pytest.approx(0.6)
    assert found["share_under_shifted_masks"] == pytest.approx(0.3)
    assert found["box_against_other_box"]["difference"] == pytest.approx(0.8)
