"""The same as `medcodi bench multiprompt`."""

import sys

from medcodi.cli import main

if __name__ == "__main__":
    main(["bench", "multiprompt", *sys.argv[1:]])
