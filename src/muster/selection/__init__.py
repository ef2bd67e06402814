"""Selection: from a pool and a target to the chosen ensemble, and the record of it.

:func:`muster.select` is in :mod:`muster.selection.run`, which this package does not import: reading a record should
not cost the import of model libraries.
"""

from __future__ import annotations

from muster.selection.record import ProbeSettings, Selection, SelectionRecord

__all__ = ["ProbeSettings", "Selection", "SelectionRecord"]
