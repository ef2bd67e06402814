"""How hard subsets of a selection were found and read, in words."""

from __future__ import annotations

from muster.search.selection import Selection

_READ = {
    "": "",
    "recount": " Ensembles: on the union of their members' hard subsets, where EEPs were counted anew.",
    "whole": " Ensembles: on the union of their members' hard subsets, with the EEPs of the whole probe set.",
    "held out": " Ensembles: on the union of their members' hard subsets.",
}
_LINEAR = (
    " The linear predictor was not fitted anew: its predictions, each of an image that it was not fitted on, are read "
    "on the hard subset."
)


def hard_label(selection: Selection) -> str:
    """Which models said what is hard, and what was read there.

    Args:
        selection: The selection.

    Returns:
        Sentences; empty if no metric looked at a hard subset.
    """
    if not selection.hardness_models:
        return ""
    by = ", ".join(f"{member} for members of {source}" for source, member in selection.hardness_models.items())
    linear = _LINEAR if selection.predictor == "linear" else ""
    return f"What is hard was said by {by}.{_READ.get(selection.hard_eep, '')}{linear}"
