"""Small numeric helpers shared by the flow kernels: how they are compiled, and a cube root that vectorises."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

# Threads wait asleep: a step lasts a millisecond, and spinning would take the cores from other work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import llvmlite.binding as llvm  # type: ignore[import-untyped]
import numba
from numba.core import types
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.extending import intrinsic, overload

# A row loop here touches about thirty arrays. LLVM gives up vectorising beyond 8 (and in any case 128) pointer comparisons unless told
# otherwise; the comparisons are made once a row, so they cost little.
llvm.set_option("wuyi-twin", "--runtime-memory-check-threshold=512")
llvm.set_option("wuyi-twin", "--vectorize-memory-check-threshold=512")

#: No reassociation: the compensated sums would be optimised away.
MATH = {"nnan", "nsz", "arcp", "contract"}

class _Apart(CompilerBase):  # type: ignore[misc]
    """Compiles with the promise that an array argument that is written overlaps no other, so that loops vectorise without run-time checks."""

    def define_pipelines(self) -> Any:
        """As numba's own, with the promise."""
        self.state.flags.noalias = True
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


inline: Callable[[Callable[..., Any]], Any] = numba.njit(fastmath=MATH, nogil=True, cache=True, error_model="numpy", forceinline=True)
serial: Callable[[Callable[..., Any]], Any] = numba.njit(fastmath=MATH, nogil=True, cache=True, error_model="numpy")
# For row loops: `_Apart`'s promise, and no reference counts (a slice of an argument costs an atomic add and subtract otherwise: seen,
# ninety of them a row, half of all time). Such a function must not allocate.
apart: Callable[[Callable[..., Any]], Any] = numba.njit(fastmath=MATH, nogil=True, cache=True, error_model="numpy", _nrt=False, pipeline_class=_Apart)
parallel: Callable[[Callable[..., Any]], Any] = numba.njit(fastmath=MATH, nogil=True, cache=True, error_model="numpy", parallel=True)


@intrinsic  # type: ignore[untyped-decorator]
def _float_bits(_context: Any, value: Any) -> Any:  # noqa: ARG001  the name is the signature
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _context.get_value_type(types.int32))

    return types.int32(types.float32), generate


@intrinsic  # type: ignore[untyped-decorator]
def _bits_float(_context: Any, value: Any) -> Any:  # noqa: ARG001  the name is the signature
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _context.get_value_type(types.float32))

    return types.float32(types.int32), generate


def inverse_cube_root(x: Any) -> Any:
    """x ** (-1/3) for x > 0; float32 without a call, so that loops vectorise (relative error below 3e-7)."""
    return x ** (-1.0 / 3.0)


@overload(inverse_cube_root, jit_options={"fastmath": MATH}, inline="never")  # type: ignore[untyped-decorator]
def _inverse_cube_root(x: Any) -> Any:
    if x is types.float32:
        third, step = numba.float32(1 / 3), numba.float32(4 / 3)

        def single(x: Any) -> Any:
            # first guess from the exponent bits, then three Newton steps of y⁻³ = x
            y = _bits_float(numba.int32(0x54A21D2A - numba.int32(numba.float32(_float_bits(x)) * third)))
            y = y * (step - third * x * y * y * y)
            y = y * (step - third * x * y * y * y)
            return y * (step - third * x * y * y * y)

        return single

    def double(x: Any) -> Any:
        return x ** (-1.0 / 3.0)

    return double
