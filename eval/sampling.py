"""The same as `medcodi bench sampling`."""

import sys

from medcodi.cli import main

if __name__ == "__main__":
    main(["bench", "sampling", *sys.argv[1:]])
