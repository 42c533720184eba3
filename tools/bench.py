"""`make bench`: every way from photos to vectors, side by side in one run. Writes bench.json."""

from __future__ import annotations

import argparse
import json
from datetime import date
from itertools import cycle, islice
from pathlib import Path

import pandas as pd

from helpers.conversion import onnx_model
from helpers.datasets import open_dataset
from helpers.files import written_whole
from helpers.models import NETWORKS
from helpers.progress import say
from helpers.quantization import int8_advice, int8_instructions
from helpers.results import environment
from helpers.sessions import provider
from helpers.settings import TutorialError, display_path, load_settings
from helpers.study import speed

LEAST_PHOTOS = 64  # the fast ways need some to have a turn of a second or so


def ways(name: str, paths: list[Path]) -> dict[str, speed.Way]:
    """Everything that turns photos into vectors of one model here."""
    fp32, int8 = onnx_model(name), onnx_model(name, precision="int8")
    steps = speed.ladder(name)
    found = {
        speed.ARTICLE: steps.pop(speed.ARTICLE),
        "Keras predict": speed.keras_predict(name),
        **steps,
        "network alone, fp32": speed.network_only(fp32, paths[:LEAST_PHOTOS]),
        "network alone, INT8": speed.network_only(int8, paths[:LEAST_PHOTOS]),
    }
    if speed.has_openvino():
        found["OpenVINO"] = speed.openvino(fp32)
    return found


def show(title: str, table: pd.DataFrame) -> None:
    """Print one race."""
    print(f"\n{title}\n{'':24}{'photos/s':>10}{'slowest–fastest':>18}{'× the loop':>12}")
    for way, row in table.iterrows():
        spread = f"{row['low']:.1f}–{row['high']:.1f}"
        print(f"{way:24}{row['photos_per_s']:>10.1f}{spread:>18}{row['ratio']:>12.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way (default 5)")
    parser.add_argument("--seconds", type=float, default=2, help="length of a turn (default 2)")
    options = parser.parse_args()
    dataset = open_dataset()
    if len(dataset) < LEAST_PHOTOS:
        raise TutorialError(
            f"{dataset.name} has {len(dataset)} photos, too few to time: set DATASET to a folder "
            f"with at least {LEAST_PHOTOS}."
        )
    names = list(NETWORKS)
    about = {
        "date": date.today().isoformat(),
        "int8_instructions": int8_instructions(),
        "provider": provider(onnx_model(names[0])),
        "dataset": dataset.name,
        **environment(),
    }
    print(dataset.banner())
    print(*(f"{key}: {value}" for key, value in about.items()), int8_advice(), sep="\n")
    race = {"rounds": options.rounds, "seconds": options.seconds}
    # A photo may come twice where nothing is kept: fast ways need more than a small dataset has.
    many = list(islice(cycle(dataset.paths), 1024))
    tables = {}
    for name in names:
        title = NETWORKS[name].title
        say(f"{title}: warming up …")
        tables[name] = speed.summary(speed.race(ways(name, dataset.paths), many, **race))
        show(title, tables[name])
    tables["together"] = speed.summary(
        speed.race(speed.ladder_of_all(names), dataset.paths, **race)
    )
    show("All models over the same photos", tables["together"])
    path = load_settings().build_dir / "bench.json"
    numbers = {name: table.to_dict(orient="index") for name, table in tables.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as part:
        part.write_text(json.dumps({**about, **race, **numbers}, indent=1) + "\n", encoding="utf-8")
    print(f"\nWritten to {display_path(path)}. Decoding is included but for the network alone.")


if __name__ == "__main__":
    try:
        main()
    except TutorialError as error:
        raise SystemExit(str(error)) from error
