"""Report labeler: which findings does a radiology report affirm, deny, hedge or not mention?"""

from medcodi.labeler.labeler import Labeler
from medcodi.labeler.scope import NEGATIVE, POSITIVE, UNCERTAIN

__all__ = ["NEGATIVE", "POSITIVE", "UNCERTAIN", "Labeler"]
