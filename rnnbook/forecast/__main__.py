"""``python -m rnnbook.forecast``."""

import sys

from rnnbook.forecast.command import main

if __name__ == "__main__":
    sys.exit(main())
