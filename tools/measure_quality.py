"""Which model, which combination, which steps: the numbers of notebooks 4 to 7 and 11 on DATASET.

`make quality` runs them and keeps what they measured in `docs/quality.json`, and the ladder as
`docs/ladder.svg`. The committed ones are of COCO photos (`DATASET=…/coco-mini`).
"""

from __future__ import annotations

import json
import sys
from datetime import date

import matplotlib
import pandas as pd
import run_notebooks

from helpers import evaluation, results, services
from helpers.datasets import open_dataset
from helpers.files import written_whole
from helpers.settings import ROOT, exit_status
from helpers.study import figures

NOTEBOOKS = ("04_search_compare", "05_measure_quality", "06_combine_models", "07_explain_matches")
NOTEBOOKS += ("11_bring_any_model",)
SECTIONS = ("dataset", "environment", "search", "evaluation", "fusion", "explanation", "adoption")
MEASURED = ROOT / "docs/quality.json"
LADDER = ROOT / "docs/ladder.svg"


@exit_status
def main() -> int:
    dataset = open_dataset()
    paths = [ROOT / f"notebooks/{stem}.ipynb" for stem in NOTEBOOKS]
    with services.temporary_services():
        if status := run_notebooks.run(paths, update=False):
            return status
    measured = results.results_of(dataset)
    kept = {"date": date.today().isoformat()}
    kept |= {name: rounded(measured[name]) for name in SECTIONS}
    with written_whole(MEASURED) as part:
        part.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draw_ladder(kept)
    print(f"\n{MEASURED.relative_to(ROOT)} and {LADDER.relative_to(ROOT)} are of {dataset.name}.")
    return 0


def draw_ladder(measured: dict) -> None:
    """The ladder of a `docs/quality.json`, without any photo, as a drawing."""
    rungs = pd.DataFrame.from_dict(measured["fusion"]["ladder"], orient="index")
    about = measured["dataset"]
    metric = f"{evaluation.spelled('ndcg@10')} on {about['photos']} photos of {about['name']}"
    with matplotlib.rc_context({"svg.hashsalt": "ladder"}):  # the same file for the same numbers
        figures.ladder(rungs, metric).savefig(LADDER, metadata={"Date": None})


def rounded(value: object) -> object:
    """Numbers to four decimals, in lists and dictionaries of any depth."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
