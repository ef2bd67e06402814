"""Classification of texts: one class for every text, by what an encoder's tokens come to when they are pooled.

All else is as where whole images are classified: to the rest of muster a text is an image of one row of characters,
which a member makes tokens of (:mod:`muster.data.texts`, :mod:`muster.models.text_encoder`).

Source:
    H22 section 5.5 ranks targets for encoders of texts by LEEP, NCE and GBC on all of a target and on its hard subsets.
"""

from __future__ import annotations

from muster.data.spec import TEXTS
from muster.tasks.classification import Classification
from muster.tasks.task import TASKS


class TextClassification(Classification):
    """The task: share of the texts of a split whose class is the most probable one."""

    name, unit, holds = "text_classification", "text", TEXTS
    built_in_recipe = "texts-tiny.yaml"
    hub_tags = ("text-classification",)


TEXT_CLASSIFICATION = TASKS.add("text_classification", TextClassification())
