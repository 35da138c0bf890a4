"""The same as `medcodi bench baselines`."""

import sys

from medcodi.cli import main

if __name__ == "__main__":
    main(["bench", "baselines", *sys.argv[1:]])
