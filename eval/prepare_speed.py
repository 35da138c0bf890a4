"""The same as `medcodi bench prepare_speed`."""

import sys

from medcodi.cli import main

if __name__ == "__main__":
    main(["bench", "prepare_speed", *sys.argv[1:]])
