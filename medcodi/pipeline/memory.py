"""What a call says that finds too little memory."""

import contextlib
from collections.abc import Iterator, Sequence

import torch

from medcodi.nn.memory import TooLittleMemoryError, is_short_of_memory


@contextlib.contextmanager
def memory_advice(outputs: Sequence[str], batch_size: int, dtype: torch.dtype) -> Iterator[None]:
    """Raises TooLittleMemoryError for what torch and Python raise when memory is short."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_short_of_memory(error):
            raise
        raise TooLittleMemoryError(
            f"too little memory to generate {', '.join(outputs)}. Three settings reduce it: "
            f"batch_size (now {batch_size}), "
            f"dtype bfloat16 (now {str(dtype).removeprefix('torch.')}), fewer outputs at once (now "
            f"{len(outputs)}). "
            f"It said: {(str(error).splitlines() or [''])[0]}"
        ) from error
