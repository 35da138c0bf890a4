"""The quickstart: what a trained pipeline does on the chest phantom, measured, and one page to look
at."""

from medcodi.quickstart.run import run_from_scratch, run_quickstart

__all__ = ["run_from_scratch", "run_quickstart"]
