"""Measure every recipe on the photos of DATASET; notebook 5 then shows it. `make recipes`.

The committed study, `docs/recipes.json`, is this with `--docs` on COCO photos.
"""

from __future__ import annotations

import argparse
import sys
import time

from helpers.datasets import open_dataset
from helpers.settings import TutorialError, display_path
from helpers.study import recipes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", action="store_true", help=f"write {recipes.MEASURED.name}")
    options = parser.parse_args()
    try:
        dataset = open_dataset()
        target = recipes.MEASURED if options.docs else recipes.study_path(dataset)
        print(dataset.banner())
        started = time.monotonic()
        study = recipes.measure(dataset, report=lambda line: print(line, flush=True))
        recipes.write_study(study, target)
    except TutorialError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run again to go on: what is done is kept.", file=sys.stderr)
        return 130
    for name in study["networks"]:
        means = recipes.scores(study, name).mean()
        for what, recipe in (
            ("best", means.idxmax()),
            ("cheapest near it", recipes.cheapest(means)),
        ):
            print(f"{name}, {what}: {' '.join(map(str, recipe))}, {means[recipe]:.3f}")
    print(f"{time.monotonic() - started:.0f} s; {display_path(target)}, shown by notebook 5")
    return 0


if __name__ == "__main__":
    sys.exit(main())
