"""The same as `medcodi bench credit`."""

import sys

from medcodi.cli import main

if __name__ == "__main__":
    main(["bench", "credit", *sys.argv[1:]])
