"""Whether an NVIDIA driver answers here, and with how many GPUs that this process may use."""

import ctypes
from functools import cache


@cache
def gpu_count() -> int:
    """GPUs that CUDA offers this process; 0 without a driver, and with CUDA_VISIBLE_DEVICES set to nothing."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
