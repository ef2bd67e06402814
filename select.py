"""Choose an ensemble for a dataset: ``python select.py --help``."""

import sys

if __name__ == "select":
    # `import select` found this script before the standard module of the same name: hand that back.
    import os
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    here = os.path.realpath(os.path.dirname(__file__))  # noqa: PTH120 (nothing more is imported here than must be)
    spec = PathFinder.find_spec("select", [p for p in sys.path if os.path.realpath(p) != here])
    if spec is None or spec.loader is None:
        raise ImportError(f"{__file__} hides the standard module `select`, and sys.path has no other")
    sys.modules["select"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["select"])

if __name__ == "__main__":
    from muster.commands.main import start

    sys.exit(start("select", "select.py"))
