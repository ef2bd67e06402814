"""Selection: from a pool and a target to the chosen ensemble, and the record of it.

:func:`muster.select` is in :mod:`muster.selection.run` and its options in :mod:`muster.selection.settings`, which this
package does not import: reading a record should not cost the import of model libraries.
"""

from __future__ import annotations

from muster.selection.record import Selection, SelectionRecord
from muster.selection.record_parts import ProbeRecord

__all__ = ["ProbeRecord", "Selection", "SelectionRecord"]
