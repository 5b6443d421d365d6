"""Search for good options with Optuna: `mamlbench -m tune=maml dataset=omniglot`."""
