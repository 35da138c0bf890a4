"""Report labeler: which findings does a radiology report affirm, deny, hedge or not mention?"""

from medcodi.metrics.labeler.labeler import Labeler
from medcodi.metrics.labeler.scope import NEGATIVE, POSITIVE, UNCERTAIN

__all__ = ["NEGATIVE", "POSITIVE", "UNCERTAIN", "Labeler"]
