"""What a command line composes, and how it becomes objects."""

import os

from omegaconf import OmegaConf

# ${home:PATH} in configs; Hydra and Path take a ~ for a folder of that name
OmegaConf.register_new_resolver("home", os.path.expanduser, replace=True)
