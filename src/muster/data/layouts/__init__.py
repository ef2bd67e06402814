"""One file for each layout of a dataset on disk; see :mod:`muster.data.layout`."""
