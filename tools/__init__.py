"""What makes the environment, the notebooks and the pages: ``python -m tools.NAME``."""
