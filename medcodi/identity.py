"""What something was made from, as one short hash: exports, checkpoints, caches and tables are used
again only by what has the same one. `training/identity.py` says what the hash of each stage covers.
"""

import hashlib
import json
from typing import Any


def fingerprint(values: Any) -> str:
    """The first 16 hex digits of the SHA-256 of a JSON-like value; mappings are sorted by key."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def plain(values: Any) -> Any:
    """A JSON-like value as JSON gives it back: tuples are lists."""
    return json.loads(json.dumps(values, default=str))


def differences(there: Any, here: Any, name: str) -> list[str]:
    """Where two nested mappings differ, a sentence each, with both values."""
    if isinstance(there, dict) and isinstance(here, dict):
        keys = sorted(there.keys() | here.keys())
        return [x for k in keys for x in differences(there.get(k), here.get(k), f"{name}.{k}")]
    return [] if there == here else [f"{name} is {there} there, {here} here"]
