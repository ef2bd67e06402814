"""How hard subsets of a selection were found and read, in words."""

from __future__ import annotations

from collections.abc import Mapping

from muster.selection.record import Selection

_READ = {
    "": "",
    "recount": " Ensembles: on the union of their members' hard subsets, where EEPs were counted anew.",
    "whole": " Ensembles: on the union of their members' hard subsets, with the EEPs of the whole probe set.",
    "held out": " Ensembles: on the union of their members' hard subsets.",
}
_LINEAR = (
    " The linear probe was not fitted anew: its predictions, each of {a_sample} that it was not fitted on, are read "
    "on the hard subset."
)


def hard_label(selection: Selection) -> str:
    """Which models decided what is hard, and what was read there.

    Args:
        selection: The selection.

    Returns:
        Sentences; empty if no metric looked at a hard subset.
    """
    if not selection.hardness_models:
        return ""
    linear = _LINEAR.format(a_sample=selection.words.a_sample) if selection.predictor == "linear_probe" else ""
    fraction = selection.hard_fraction
    part = "" if fraction is None else f" The hardest {100 * fraction:g} % count."
    return f"{_by(selection.hardness_models)}{part}{_READ.get(selection.hard_eep, '')}{linear}"


def _by(models: Mapping[str, Mapping[str, str]]) -> str:
    listed = {
        wrapper: ", ".join(f"{m} for members of {source}" for source, m in by.items()) for wrapper, by in models.items()
    }
    if len(set(listed.values())) == 1:
        return f"The hardness model is {next(iter(listed.values()))}."
    return " ".join(f"The hardness model of +{wrapper} is {by}." for wrapper, by in sorted(listed.items()))
