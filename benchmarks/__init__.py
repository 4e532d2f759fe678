"""What zswarm is measured by. Each module is a command of its own; `README.md` says how to run them."""
