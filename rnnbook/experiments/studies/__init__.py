"""The experiments, one module each: ``python -m rnnbook.experiments --list``."""
