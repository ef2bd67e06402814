"""Bootstrap confidence of a choice in words."""

from __future__ import annotations

from muster.selection.record import BootstrapConfidence


def bootstrap_sentence(confidence: BootstrapConfidence) -> str:
    """One line for people: by how much the chosen ensemble is ahead, and how often over the resamples.

    Args:
        confidence: What the selection's record keeps.

    Returns:
        The sentence; it calls the margin clear if its whole interval is above 0.
    """
    frequency = confidence.selection_frequency
    rivals, often = len(frequency) - 1, frequency.index(max(frequency))
    against = "the one other candidate" if rivals == 1 else f"the best of {rivals} other candidates"
    rival = f" (candidate {often + 1} in {100 * frequency[often]:.0f} %)" if often else ""
    verdict = "a clear lead" if confidence.low > 0 else "other images could have put another candidate first"
    return (
        f"The chosen ensemble is {'ahead of' if confidence.margin >= 0 else 'behind'} {against} by "
        f"{abs(confidence.margin):.2g}; over {confidence.resamples} resamples of the {confidence.images} probe images, "
        f"{100 * confidence.level:g} % of its leads lie between {confidence.low:.2g} and {confidence.high:.2g}, and it "
        f"is best in {100 * frequency[0]:.0f} % of them{rival}: {verdict}."
    )
