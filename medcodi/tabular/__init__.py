"""A table alone, as users of table synthesizers expect it: fit, sample, impute, save, load.

    synthesizer = TabularSynthesizer(constraints=[{"less_equal": ["first", "last"]}])
    synthesizer.fit(frame)
    synthesizer.sample(1000, given={"sex": "F"}, seed=0)

synthesizer   the class
states        a column as states of a finite set
forest        p(column | columns before it, given columns after it), by trees
tree          one tree as arrays
sampling      rows from the forest, chunk by chunk
constraints   what holds in every row
writing       rows to a file, block by block
"""

from medcodi.tabular.constraints import Constraint
from medcodi.tabular.synthesizer import TabularSynthesizer

__all__ = ["Constraint", "TabularSynthesizer"]
