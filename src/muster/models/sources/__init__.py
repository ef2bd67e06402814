"""One file for each source of models: muster's own networks, and adapters for those of other libraries."""
