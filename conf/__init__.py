"""The Hydra config tree; it ships in the wheel as the package `mamlbench.conf`."""
