"""sacrebleu's BLEU-1 to 4 as a metric of `evaluate`, loaded from this folder:
`evaluate.load(folder)` needs no network."""

import datasets
import evaluate
import sacrebleu

ORDERS = 4


class CorpusBleu(evaluate.Metric):
    """BLEU-1..4 in [0, 1] of lower-cased texts by tokenizer 13a, no smoothing; each text with a
    list of references."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=__doc__,
            citation="Post 2018, A Call for Clarity in Reporting BLEU Scores",
            inputs_description="predictions: texts; references: lists of texts",
            features=datasets.Features(
                {"predictions": text, "references": datasets.Sequence(text)}
            ),
        )

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
        most = max(len(allowed) for allowed in references)
        columns = [
            [allowed[i] if i < len(allowed) else None for allowed in references]
            for i in range(most)
        ]
        scores = {}
        for order in range(1, ORDERS + 1):
            metric = sacrebleu.BLEU(lowercase=True, smooth_method="none", max_ngram_order=order)
            scores[f"bleu_{order}"] = metric.corpus_score(predictions, columns).score / 100
        return scores
