"""Tasks: what differs between task types, one file each: segmentation, and classification of whole images."""
