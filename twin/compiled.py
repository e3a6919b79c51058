"""Numba's compiler, loaded without SciPy, which takes 0.3 s of every process and which no kernel here uses, without YAML, of a settings file of Numba's own, and without CFFI, whose parser of C takes 0.04 s.

Numba looks for SciPy when it is loaded, for `numpy.convolve` and its like; told that there is none, it leaves those out. What
asks for one of them later gets it.
"""

from twin.processes import without

with without("scipy"), without("yaml"), without("cffi"):
    import numba.core.typing.cffi_utils  # Numba loads it with the first kernel
    import numba.np.arraymath  # noqa: F401

from numba import njit as njit  # noqa: PLC0414  handed on
