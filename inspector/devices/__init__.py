"""The devices that are known, those of this machine, and what `--gpu` says."""
