"""Speed and memory, each figure beside a plain version measured in the same run."""
