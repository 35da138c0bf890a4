"""The account of an import: where every parameter of ours comes from, and what became of every key
of the source."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

SHOWN = 5


class Ledger:
    """Source keys are moved to target names, or declared dead or another part's, each with a
    reason; nothing is left over.

    ledger = Ledger("bert-base-cased", state)
    ledger.move("encoder.x", ["x"]); ledger.kill("y", "the pretraining head");
    ledger.load_into(module, new={...})
    """

    def __init__(self, source: str, state: Mapping[str, torch.Tensor]) -> None:
        self.source, self.state = source, dict(state)
        self.mapped: dict[str, dict[str, Any]] = {}
        self.dead: dict[str, str] = {}
        self.new: dict[str, str] = {}
        self.values: dict[str, torch.Tensor] = {}

    def __getitem__(self, key: str) -> torch.Tensor:
        """ValueError for a key that the source lacks."""
        if key not in self.state:
            raise ValueError(
                f"{self.source} has no key {key!r}, expected it; it has {len(self.state)} keys, "
                "such as "
                f"{sorted(self.state)[:SHOWN]}"
            )
        return self.state[key]

    def move(
        self,
        target: str,
        keys: Sequence[str],
        value: torch.Tensor | None = None,
        how: str = "copied",
    ) -> None:
        """`target` of our module gets `value` (by default the tensor of the one key), made from
        `keys`."""
        if target in self.values:
            raise ValueError(
                f"{self.source}: {list(keys)} and {self.mapped[target]['from']} both give "
                f"{target!r}"
            )
        self.values[target] = self[keys[0]] if value is None else value
        self.mapped[target] = {"from": list(keys), "how": how}

    def kill(self, key: str, reason: str) -> None:
        """The source's `key` is not used."""
        self.dead[key] = reason

    @property
    def unaccounted(self) -> list[str]:
        used = {key for entry in self.mapped.values() for key in entry["from"]}
        return sorted(set(self.state) - used - set(self.dead))

    def load_into(self, module: nn.Module, new: Mapping[str, str]) -> None:
        """Load strictly. `new`: prefix -> reason of our parameters that the source does not have;
        they stay as they are.

        Raises ValueError for a source key that is neither moved nor dead, a parameter of ours that
        is neither given nor new, a moved one that we do not have, and another shape.
        """
        if self.unaccounted:
            raise ValueError(
                f"{self.source} holds keys that nothing accounts for: {_some(self.unaccounted)}. "
                "They are "
                "neither known nor known to be dead; is it another model?"
            )
        expected = module.state_dict()
        unknown = sorted(self.values.keys() - expected.keys())
        shapes = [
            f"{k}: source {tuple(v.shape)}, recipe {tuple(expected[k].shape)}"
            for k, v in self.values.items()
            if k in expected and v.shape != expected[k].shape
        ]
        for key in expected.keys() - self.values.keys():
            reasons = [reason for prefix, reason in new.items() if key.startswith(prefix)]
            if reasons:
                self.new[key] = reasons[0]
        missing = sorted(expected.keys() - self.values.keys() - self.new.keys())
        if unknown or missing or shapes:
            raise ValueError(
                f"{self.source} does not fit this recipe. Parameters without a source: "
                f"{_some(missing)}. Keys without a "
                f"place: {_some(unknown)}. Other shapes: {_some(shapes)}"
            )
        merged = expected | {k: v.to(expected[k].dtype) for k, v in self.values.items()}
        module.load_state_dict(merged, strict=True)

    def report(self) -> dict[str, Any]:
        """JSON-like: source, counts, and the three lists."""
        numel = lambda names: sum(self.values[n].numel() for n in names)
        return {
            "source": self.source,
            "counts": {
                "source_keys": len(self.state),
                "source_parameters": sum(v.numel() for v in self.state.values()),
                "mapped": len(self.mapped),
                "mapped_parameters": numel(self.mapped),
                "dead": len(self.dead),
                "dead_parameters": sum(self.state[k].numel() for k in self.dead),
                "new": len(self.new),
            },
            "mapped": self.mapped,
            "dead": self.dead,
            "new": dict(sorted(self.new.items())),
        }


def _some(items: Iterable[str]) -> str:
    items = list(items)
    return f"{items[:SHOWN]} ({len(items)})"


def summary(report: Mapping[str, Any]) -> str:
    """A few lines for people: counts, and each reason with the number of its keys."""
    counts = report["counts"]
    lines = [
        f"{report['source']}: {counts['source_keys']} keys, {counts['source_parameters']:,} "
        "numbers",
        f"  mapped to {counts['mapped']} of ours ({counts['mapped_parameters']:,} numbers)",
    ]
    for title in ("dead", "new"):
        reasons: dict[str, int] = {}
        for reason in report[title].values():
            reasons[reason] = reasons.get(reason, 0) + 1
        lines += [f"  {title} {number}: {reason}" for reason, number in sorted(reasons.items())]
    return "\n".join(lines)
