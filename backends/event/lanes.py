"""`Lanes`: neighbouring neurons as one value, which LLVM keeps in vector registers.

This is the one piece of machinery of the event engine: with it the kernels read as the equations.
Each function below is written in NumPy, where lanes are a short vector: that is what it means, and
what runs with ``NUMBA_DISABLE_JIT=1``. Under Numba it becomes a few LLVM instructions on a vector
of `WIDTHS` numbers of one type, float32, float64, int32 or, from a comparison, bool.

A product that is added to is rounded once where the machine has such an instruction. So that this
never depends on how a kernel came to be compiled, no sum in a kernel has two products to choose
from.

Memory is read and written through a `span`, a pointer and a length that Numba does not count
references of: keep its array alive, by passing it to the function that takes the span, or by naming
it once more in `hold` where the last span of it has been used. Addresses
are not checked, so they must follow from checked sizes; compiled with ``NUMBA_BOUNDSCHECK=1``, all
of them are.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,attr-defined,call-arg"
from __future__ import annotations

import operator

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, config, types
from numba.extending import intrinsic, overload

from fastsnn_np._jit import helper, inlined
from fastsnn_np.backends.event.vectors import (
    WIDTHS,
    Lanes,
    Span,
    absolute,
    any_of,
    as_type_of,
    bits_of,
    count_of,
    emitted_by,
    full_like,
    lowest,
    mask_of,
    ramp,
    splat,
    total_of,
    where,
    width_of,
    zero_doubles,
    zeros16,
    zeros32,
    zeros64,
)

__all__ = [
    "WIDTHS",
    "Lanes",
    "Span",
    "absolute",
    "add",
    "any_of",
    "as_type_of",
    "bits_of",
    "count_of",
    "full_like",
    "get",
    "get_part",
    "hold",
    "lowest",
    "mask_of",
    "put",
    "put_part",
    "ramp",
    "rest",
    "span",
    "total_of",
    "where",
    "width_of",
    "zero_doubles",
    "zeros16",
    "zeros32",
    "zeros64",
]


@intrinsic
def _span(typing, array):
    if array.layout != "C":
        return None
    kind = Span(array.dtype)

    def codegen(context, builder, signature, args):
        held = context.make_array(array)(context, builder, args[0])
        made = cgutils.create_struct_proxy(kind)(context, builder)
        made.data, made.size = held.data, held.nitems
        return made._getvalue()

    return kind(array), codegen


@emitted_by(_span)
def span(array):
    """The numbers of a C-contiguous array, in one row."""
    return array.reshape(-1)


@helper
def hold(*arrays):
    """Keep arrays until here: Numba frees one after its last use, and a span is none."""


@intrinsic
def _rest(typing, row, at):
    def codegen(context, builder, signature, args):
        made = cgutils.create_struct_proxy(row)(context, builder, args[0])
        skipped = context.cast(builder, args[1], at, types.intp)
        made.data = builder.gep(made.data, [skipped])
        made.size = builder.sub(made.size, skipped)
        return made._getvalue()

    return row(row, types.unliteral(at)), codegen


@emitted_by(_rest)
def rest(row, at):
    """A span from its index `at` on."""
    return row[at:]


def _address(context, builder, signature, args, width, count=None):
    """Where the lanes at an index of a span lie; an IndexError if they do not, where checked."""
    held = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0])
    at = context.cast(builder, args[1], signature.args[1], types.intp)
    if config.BOUNDSCHECK:
        most = ir.Constant(at.type, width)
        count = most if count is None else count
        inside = builder.and_(
            builder.icmp_signed(">=", at, ir.Constant(at.type, 0)),
            builder.icmp_signed("<=", builder.add(at, count), held.size),
        )
        inside = builder.and_(inside, builder.icmp_unsigned("<=", count, most))
        message = "lanes reach out of their span"
        with builder.if_then(builder.not_(inside), likely=False):
            context.call_conv.return_user_exc(builder, IndexError, (message,))
    return builder.gep(held.data, [at], inbounds=True)


def _bytes(lanes):
    """Of one lane: vectors may begin at any number, not only at whole vectors."""
    return lanes.dtype.bitwidth // 8


def _vector_at(builder, pointer, lanes, context):
    return builder.bitcast(pointer, context.get_value_type(lanes).as_pointer())


@intrinsic
def _get(typing, row, at, like):
    lanes = like.of(row.dtype)

    def codegen(context, builder, signature, args):
        pointer = _address(context, builder, signature, args, like.width)
        pointer = _vector_at(builder, pointer, lanes, context)
        return builder.load(pointer, align=_bytes(lanes))

    return lanes(row, types.unliteral(at), like), codegen


@emitted_by(_get)
def get(row, at, like):
    """As many lanes as `like` has, from index `at` of a span on."""
    return get_part(row, at, len(like), like)


@intrinsic
def _put(typing, row, at, x):
    if row.dtype != x.dtype:
        return None

    def codegen(context, builder, signature, args):
        pointer = _address(context, builder, signature, args, x.width)
        pointer = _vector_at(builder, pointer, x, context)
        builder.store(args[2], pointer, align=_bytes(x))
        return context.get_dummy_value()

    return types.void(row, types.unliteral(at), x), codegen


@emitted_by(_put)
def put(row, at, x):
    """Write lanes from index `at` of a span on."""
    put_part(row, at, len(x), x)


@inlined
def add(row, at, x):
    """Add lanes to those from index `at` of a span on."""
    put(row, at, get(row, at, x) + x)


def _masked(context, builder, signature, args, lanes):
    """For the first n lanes: where they lie, a mask, and the ending of LLVM's name for it all."""
    count = context.cast(builder, args[2], signature.args[2], types.intp)
    pointer = _address(context, builder, signature, args, lanes.width, count)
    vector = context.get_value_type(lanes)
    pointer = builder.bitcast(pointer, vector.as_pointer())
    index = ir.VectorType(count.type, lanes.width)
    mask = builder.icmp_signed(
        "<", ir.Constant(index, list(range(lanes.width))), splat(builder, count, lanes.width)
    )
    is_float = isinstance(lanes.dtype, types.Float)
    kind = f"v{lanes.width}{'f' if is_float else 'i'}{lanes.dtype.bitwidth}"
    return pointer, mask, f"{kind}.p0{kind}"


@intrinsic
def _get_part(typing, row, at, n, like):
    lanes = like.of(row.dtype)

    def codegen(context, builder, signature, args):
        pointer, mask, ending = _masked(context, builder, signature, args, lanes)
        vector, align = context.get_value_type(lanes), ir.Constant(ir.IntType(32), _bytes(lanes))
        kind = ir.FunctionType(vector, [pointer.type, align.type, mask.type, vector])
        load = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.{ending}")
        return builder.call(load, [pointer, align, mask, ir.Constant(vector, None)])

    return lanes(row, types.unliteral(at), types.unliteral(n), like), codegen


@emitted_by(_get_part)
def get_part(row, at, n, like):
    """The first n lanes from index `at` of a span on, and zeros in the others of `like`."""
    if at < 0 or at + n > len(row) or not 0 <= n <= len(like):
        raise IndexError("lanes reach out of their span")
    lanes = np.zeros(len(like), row.dtype)
    lanes[:n] = row[at : at + n]
    return lanes


@intrinsic
def _put_part(typing, row, at, n, x):
    if row.dtype != x.dtype:
        return None

    def codegen(context, builder, signature, args):
        pointer, mask, ending = _masked(context, builder, signature, args, x)
        align = ir.Constant(ir.IntType(32), _bytes(x))
        arguments = [args[3], pointer, align, mask]
        kind = ir.FunctionType(ir.VoidType(), [a.type for a in arguments])
        store = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.{ending}")
        builder.call(store, arguments)
        return context.get_dummy_value()

    return types.void(row, types.unliteral(at), types.unliteral(n), x), codegen


@emitted_by(_put_part)
def put_part(row, at, n, x):
    """Write the first n lanes from index `at` of a span on."""
    if at < 0 or at + n > len(row) or not 0 <= n <= len(x):
        raise IndexError("lanes reach out of their span")
    row[at : at + n] = x[:n]


@intrinsic
def _at(typing, row, at):
    def codegen(context, builder, signature, args):
        return builder.load(_address(context, builder, signature, args, 1))

    return row.dtype(row, types.unliteral(at)), codegen


@overload(operator.getitem)
def _(row, at):
    if isinstance(row, Span) and isinstance(at, types.Integer):
        return lambda row, at: _at(row, at)
    return None


@intrinsic
def _set_at(typing, row, at, x):
    def codegen(context, builder, signature, args):
        pointer = _address(context, builder, signature, args, 1)
        builder.store(context.cast(builder, args[2], signature.args[2], row.dtype), pointer)
        return context.get_dummy_value()

    return types.void(row, types.unliteral(at), types.unliteral(x)), codegen


@overload(operator.setitem)
def _(row, at, x):
    if isinstance(row, Span) and isinstance(at, types.Integer):
        return lambda row, at, x: _set_at(row, at, x)
    return None
