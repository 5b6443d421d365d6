"""Composes a config from a command line, and builds objects from it."""

import os

from omegaconf import OmegaConf

# ${home:PATH} in configs expands ~, which Hydra and Path treat as a folder named ~
OmegaConf.register_new_resolver("home", os.path.expanduser, replace=True)
