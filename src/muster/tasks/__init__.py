"""Tasks: what differs between task types, one file each. Segmentation is the one there is."""
