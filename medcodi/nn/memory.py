"""What torch and Python raise when memory is short."""

import torch

NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "STATUS_ALLOC_FAILED",
)  # the last: cuBLAS, cuDNN


class TooLittleMemoryError(RuntimeError):
    """Work needs more memory than there is; names the settings that reduce it."""


def is_short_of_memory(error: BaseException) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in NO_MEMORY)
    )
