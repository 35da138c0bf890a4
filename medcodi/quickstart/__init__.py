"""The quickstart: the whole way once on the chest phantom, measured, and one page to look at."""

from medcodi.quickstart.run import run_quickstart

__all__ = ["run_quickstart"]
