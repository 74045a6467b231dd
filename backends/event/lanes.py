"""`Lanes`: neighbouring neurons as one value, which LLVM keeps in vector registers.

This is the one piece of machinery of the event engine: with it the kernels read as the equations.
Each function below is written in NumPy, where lanes are a short vector: that is what it means, and
what runs with ``NUMBA_DISABLE_JIT=1``. Under Numba it becomes a few LLVM instructions on a vector
of `WIDTHS` numbers of one type, float32, float64, int32 or, from a comparison, bool.

A product that is added to is rounded once where the machine has such an instruction. So that this
never depends on how a kernel came to be compiled, no sum in a kernel has two products to choose
from.

Memory is read and written through a `span`, a pointer and a length that Numba does not count
references of: keep its array alive, by passing it to the function that takes the span. Addresses
are not checked, so they must follow from checked sizes; compiled with ``NUMBA_BOUNDSCHECK=1``, all
of them are.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,attr-defined,call-arg"
from __future__ import annotations

import operator

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, config, types
from numba.extending import intrinsic, models, overload, register_model

WIDTHS = (64, 32, 16)


class Lanes(types.Type):
    """Numba's type of `width` numbers of type `dtype`."""

    def __init__(self, dtype, width):
        self.dtype, self.width = dtype, width
        super().__init__(f"Lanes({dtype}, {width})")

    def of(self, dtype):
        """As many lanes of another type."""
        return Lanes(dtype, self.width)


class Span(types.Type):
    """Numba's type of a pointer to numbers of type `dtype`, and how many there are."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(f"Span({dtype})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, lanes):
        is_mask = isinstance(lanes.dtype, types.Boolean)
        lane = ir.IntType(1) if is_mask else manager.lookup(lanes.dtype).get_value_type()
        super().__init__(manager, lanes, ir.VectorType(lane, lanes.width))


@register_model(Span)
class _SpanModel(models.StructModel):
    def __init__(self, manager, span):
        members = [("data", types.CPointer(span.dtype)), ("size", types.intp)]
        super().__init__(manager, span, members)


def _emitted_by(emitted):
    """Compiled, the decorated function is `emitted`, and what is written is what that means."""

    def decorate(meaning):
        if config.DISABLE_JIT:
            return meaning
        emitted.meaning = meaning
        return emitted

    return decorate


# --- operators: + - * / and comparisons of lanes of one type, & and | of masks ------------------

_FUSED = ("contract",)  # a product may be rounded together with the sum it enters


def _defined(op, on_floats, on_ints, *, is_comparison=False):
    """Make `op` known to Numba for two lanes of one type."""

    @intrinsic
    def emitted(typing, x, y):
        emit = on_floats if isinstance(x.dtype, types.Float) else on_ints

        def codegen(context, builder, signature, args):
            return emit(builder, *args)

        return (x.of(types.boolean) if is_comparison else x)(x, y), codegen

    @overload(op)
    def typed(x, y):
        if isinstance(x, Lanes) and x == y:
            is_float = isinstance(x.dtype, types.Float)
            if (on_floats if is_float else on_ints) is not None:
                return lambda x, y: emitted(x, y)
        return None


_defined(operator.add, lambda b, x, y: b.fadd(x, y, flags=_FUSED), lambda b, x, y: b.add(x, y))
_defined(operator.sub, lambda b, x, y: b.fsub(x, y, flags=_FUSED), lambda b, x, y: b.sub(x, y))
_defined(operator.mul, lambda b, x, y: b.fmul(x, y, flags=_FUSED), lambda b, x, y: b.mul(x, y))
_defined(operator.truediv, lambda b, x, y: b.fdiv(x, y), None)
_defined(operator.and_, None, lambda b, x, y: b.and_(x, y))
_defined(operator.or_, None, lambda b, x, y: b.or_(x, y))
_COMPARISONS = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
}
for _sign, _op in _COMPARISONS.items():
    _defined(
        _op,
        lambda b, x, y, sign=_sign: b.fcmp_ordered(sign, x, y),
        lambda b, x, y, sign=_sign: b.icmp_signed(sign, x, y),
        is_comparison=True,
    )


# --- making lanes, and choosing among them -----------------------------------------------------


def _splat(builder, x, width):
    vector = ir.VectorType(x.type, width)
    none = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(none, x, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
    return builder.shuffle_vector(one, none, zeros)


@intrinsic
def _full_like(typing, lanes, x):
    def codegen(context, builder, signature, args):
        one = context.cast(builder, args[1], signature.args[1], lanes.dtype)
        return _splat(builder, one, lanes.width)

    return lanes(lanes, types.unliteral(x)), codegen


@_emitted_by(_full_like)
def full_like(lanes, x):
    """x in as many lanes of the same type."""
    return np.full_like(lanes, x)


def _zeros(width):
    @intrinsic
    def emitted(typing, x):
        lanes = Lanes(types.unliteral(x), width)

        def codegen(context, builder, signature, args):
            return ir.Constant(context.get_value_type(lanes), None)

        return lanes(x), codegen

    def zeros(x):
        return np.zeros(width, np.asarray(x).dtype)

    return _emitted_by(emitted)(zeros)


zeros64, zeros32, zeros16 = map(_zeros, WIDTHS)  # 0 in so many lanes, of the type of a number


@intrinsic
def _ramp(typing, lanes):
    ints = lanes.of(types.int32)

    def codegen(context, builder, signature, args):
        return ir.Constant(context.get_value_type(ints), list(range(lanes.width)))

    return ints(lanes), codegen


@_emitted_by(_ramp)
def ramp(lanes):
    """0, 1, 2, ... as int32, in as many lanes."""
    return np.arange(len(lanes), dtype=np.int32)


@intrinsic
def _width_of(typing, lanes):
    def codegen(context, builder, signature, args):
        return ir.Constant(ir.IntType(64), lanes.width)

    return types.int64(lanes), codegen


@_emitted_by(_width_of)
def width_of(lanes):
    """Number of lanes."""
    return len(lanes)


@intrinsic
def _where(typing, mask, x, y):
    def codegen(context, builder, signature, args):
        return builder.select(*args)

    return x(mask, x, y), codegen


@_emitted_by(_where)
def where(mask, x, y):
    """x in the lanes where `mask` is true, and y in the others."""
    return np.where(mask, x, y)


@intrinsic
def _absolute(typing, x):
    def codegen(context, builder, signature, args):
        name = f"llvm.fabs.v{x.width}f{x.dtype.bitwidth}"
        kind = ir.FunctionType(args[0].type, [args[0].type])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)

    return x(x), codegen


@_emitted_by(_absolute)
def absolute(x):
    """The magnitude of floating-point lanes."""
    return np.abs(x)


@intrinsic
def _any_of(typing, mask):
    def codegen(context, builder, signature, args):
        bits = builder.bitcast(args[0], ir.IntType(mask.width))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(mask), codegen


@_emitted_by(_any_of)
def any_of(mask):
    """Whether any lane of a mask is true."""
    return bool(np.any(mask))


@intrinsic
def _as_type_of(typing, x, like):
    to = x.of(like.dtype)

    def codegen(context, builder, signature, args):
        vector, wide = context.get_value_type(to), to.dtype.bitwidth
        if wide == x.dtype.bitwidth:
            return args[0]
        return (builder.fpext if wide == 64 else builder.fptrunc)(args[0], vector)

    return to(x, like), codegen


@_emitted_by(_as_type_of)
def as_type_of(x, like):
    """Floating-point lanes in the type of the lanes `like`."""
    return x.astype(like.dtype)


@intrinsic
def _zero_doubles(typing, lanes):
    doubles = lanes.of(types.float64)

    def codegen(context, builder, signature, args):
        return ir.Constant(context.get_value_type(doubles), None)

    return doubles(lanes), codegen


@_emitted_by(_zero_doubles)
def zero_doubles(lanes):
    """float64 zeros in as many lanes."""
    return np.zeros(len(lanes), np.float64)


# --- memory --------------------------------------------------------------------------------------


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


@_emitted_by(_span)
def span(array):
    """The numbers of a C-contiguous array, in one row."""
    return array.reshape(-1)


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


@_emitted_by(_get)
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


@_emitted_by(_put)
def put(row, at, x):
    """Write lanes from index `at` of a span on."""
    put_part(row, at, len(x), x)


def _masked(context, builder, signature, args, lanes):
    """For the first n lanes: where they lie, a mask, and the ending of LLVM's name for it all."""
    count = context.cast(builder, args[2], signature.args[2], types.intp)
    pointer = _address(context, builder, signature, args, lanes.width, count)
    vector = context.get_value_type(lanes)
    pointer = builder.bitcast(pointer, vector.as_pointer())
    index = ir.VectorType(count.type, lanes.width)
    mask = builder.icmp_signed(
        "<", ir.Constant(index, list(range(lanes.width))), _splat(builder, count, lanes.width)
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


@_emitted_by(_get_part)
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


@_emitted_by(_put_part)
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
