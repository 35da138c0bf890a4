"""The same as `medcodi bench metrics`."""

import sys

from medcodi.cli import main

if __name__ == "__main__":
    main(["bench", "metrics", *sys.argv[1:]])
