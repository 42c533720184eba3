"""What JupyterLab, which imports this, saves of the notebooks. `tools/lab.py` names it."""

from __future__ import annotations

WIDGET = "application/vnd.jupyter.widget-view+json"


def without_live_views(model: dict, **_about: object) -> None:
    """What JupyterLab saves of a widget: the sentence beside it.

    A live view is nothing without its kernel: reopened, it would say “Error displaying widget”.
    """
    if model["type"] == "notebook":
        for cell in model["content"]["cells"]:
            for output in cell.get("outputs", []):
                if "text/plain" in output.get("data", {}):
                    output["data"].pop(WIDGET, None)
