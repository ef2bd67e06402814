"""One file for each family of architectures; see :mod:`muster.models.family`."""
