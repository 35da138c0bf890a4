"""The same as `medcodi bench prepare_memory`."""

import sys

from medcodi.cli import main

if __name__ == "__main__":
    main(["bench", "prepare_memory", *sys.argv[1:]])
