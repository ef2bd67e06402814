"""Any folders of images and masks, found by the patterns that ``dataset.yaml`` names; it is never guessed.

::

    # dataset.yaml
    name: mydata
    domain: street scenes
    classes: [road, car, tree]
    reader: patterns
    splits:
      train: {images: "img/train/*.jpg", masks: "ann/train/*_label.png"}
      test: {images: "img/val/*.jpg", masks: "ann/val/*_label.png", list: some.txt}
"""

from __future__ import annotations

from pathlib import Path

from muster.data.layout import LAYOUTS
from muster.data.paired_layout import PairedLayout, Plan


class Patterns(PairedLayout):
    """What is described in words alone."""

    title = "The reader 'patterns'"
    is_general = True

    def recognises(self, folder: Path) -> bool:  # noqa: ARG002
        """Never: only a description can name it."""
        return False

    def plan(self, root: Path) -> Plan:  # noqa: ARG002
        """See :meth:`PairedLayout.plan`: nothing is known."""
        return Plan({})


LAYOUTS.add("patterns", Patterns())
