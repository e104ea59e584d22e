"""What all tests share."""

from hypothesis import settings

# The first example of a test pays for imports and caches: a deadline would fail it at random.
settings.register_profile("rnnbook", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("rnnbook")
