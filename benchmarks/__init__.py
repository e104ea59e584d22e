"""How fast the layers are: ``python -m benchmarks`` measures, and writes the tables and the figure.

Every number is a ratio of two times taken in turns in one process, so that whatever else the
machine does slows both.
"""
