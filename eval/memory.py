"""The same as `medcodi bench memory`."""

import sys

from medcodi.cli import main

if __name__ == "__main__":
    main(["bench", "memory", *sys.argv[1:]])
