"""``python -m btk_punet.cli``."""

import sys

from btk_punet.cli import main

if __name__ == "__main__":
    sys.exit(main())
