"""Frechet distance of feature vectors as a metric of `evaluate`, loaded from this folder:
`evaluate.load(folder)` needs no network. It is an FID only where the features are Inception's."""

import datasets
import evaluate
import numpy as np

from medcodi.metrics.fidelity import frechet_distance


class Frechet(evaluate.Metric):
    """Distance of the normal distributions with the mean and covariance of each set; as many
    generated (predictions) as real (references) vectors."""

    def _info(self) -> evaluate.MetricInfo:
        vector = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=__doc__,
            citation="Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule",
            inputs_description="predictions, references: feature vectors of one length",
            features=datasets.Features({"predictions": vector, "references": vector}),
        )

    def _compute(
        self, predictions: list[list[float]], references: list[list[float]]
    ) -> dict[str, float]:
        return {"frechet": frechet_distance(np.array(predictions), np.array(references))}
