"""Recurrent networks, small enough to read and right to the last digit.

``rnnbook.scratch`` holds the layers in NumPy with hand-written backward passes and needs nothing
but NumPy; ``rnnbook.pytorch`` holds the same layers as ``torch.nn.Module``.
"""

__version__ = "0.1.0"
