"""What all tests share."""

import os

from hypothesis import settings

# The first example of a test pays for imports and caches: a deadline would fail it at random.
settings.register_profile("rnnbook", deadline=None, derandomize=True, max_examples=40)
# The same examples every time find the same faults every time: once a week, others are drawn.
explore = settings(deadline=None, derandomize=False, max_examples=400, print_blob=True)
settings.register_profile("explore", explore)
settings.register_profile("quick", deadline=None, derandomize=True, max_examples=5)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "rnnbook"))
