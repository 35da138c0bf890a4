"""`accelerate launch -m medcodi.train STAGE --config RECIPE`: as `medcodi train`, in the processes
that the launcher starts."""

import sys

from medcodi.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
