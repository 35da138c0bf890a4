"""The same as `medcodi bench speed`."""

import sys

from medcodi.cli import main

if __name__ == "__main__":
    main(["bench", "speed", *sys.argv[1:]])
