"""The evaluation suite: every table of the papers as one command, beside the floors that keep it
honest.

table.py     what a table is: rows of systems, floors and the paper's values; the registry
context.py   what tables measure with: studies.py (real ones), generations.py (cached), labels.py,
networks.py (fitted by the suite)
suite.py     runs tables one after the other, resumable; report.py writes the page
tables/      one file a table
"""

from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table

__all__ = ["EvaluationContext", "EvaluationTable", "Result", "Row", "register_table"]
