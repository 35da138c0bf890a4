"""The evaluation suite: every table of the papers for one recipe, beside floors.

    python eval/run.py [--config RECIPE] [--tables T2,T3] [--num-studies N] [key=value ...]

The same as `medcodi evaluate`. Last line of stdout: one JSON document.
"""

import sys

from medcodi.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
