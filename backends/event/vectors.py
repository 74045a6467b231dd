"""The type behind ``lanes``, and what is done to lanes in registers.

Each function is written in NumPy, where lanes are a short vector, and again as LLVM instructions.
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


def emitted_by(emitted):
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


def splat(builder, x, width):
    vector = ir.VectorType(x.type, width)
    none = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(none, x, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
    return builder.shuffle_vector(one, none, zeros)


@intrinsic
def _full_like(typing, lanes, x):
    def codegen(context, builder, signature, args):
        one = context.cast(builder, args[1], signature.args[1], lanes.dtype)
        return splat(builder, one, lanes.width)

    return lanes(lanes, types.unliteral(x)), codegen


@emitted_by(_full_like)
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

    return emitted_by(emitted)(zeros)


zeros64, zeros32, zeros16 = map(_zeros, WIDTHS)  # 0 in so many lanes, of the type of a number


@intrinsic
def _ramp(typing, lanes):
    ints = lanes.of(types.int32)

    def codegen(context, builder, signature, args):
        return ir.Constant(context.get_value_type(ints), list(range(lanes.width)))

    return ints(lanes), codegen


@emitted_by(_ramp)
def ramp(lanes):
    """0, 1, 2, ... as int32, in as many lanes."""
    return np.arange(len(lanes), dtype=np.int32)


@intrinsic
def _width_of(typing, lanes):
    def codegen(context, builder, signature, args):
        return ir.Constant(ir.IntType(64), lanes.width)

    return types.int64(lanes), codegen


@emitted_by(_width_of)
def width_of(lanes):
    """Number of lanes."""
    return len(lanes)


@intrinsic
def _where(typing, mask, x, y):
    def codegen(context, builder, signature, args):
        return builder.select(*args)

    return x(mask, x, y), codegen


@emitted_by(_where)
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


@emitted_by(_absolute)
def absolute(x):
    """The magnitude of floating-point lanes."""
    return np.abs(x)


@intrinsic
def _any_of(typing, mask):
    def codegen(context, builder, signature, args):
        bits = builder.bitcast(args[0], ir.IntType(mask.width))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(mask), codegen


@emitted_by(_any_of)
def any_of(mask):
    """Whether any lane of a mask is true."""
    return bool(np.any(mask))


_WORD = ir.IntType(64)


@intrinsic
def _bits_of(typing, mask):
    def codegen(context, builder, signature, args):
        bits = builder.bitcast(args[0], ir.IntType(mask.width))
        return bits if mask.width == _WORD.width else builder.zext(bits, _WORD)

    return types.int64(mask), codegen


@emitted_by(_bits_of)
def bits_of(mask):
    """A mask as one int64, the first lane in its lowest bit."""
    held = np.zeros(_WORD.width, np.bool_)
    held[: len(mask)] = mask
    return np.packbits(held, bitorder="little").view(np.int64)[0]


@intrinsic
def _mask_of(typing, bits, like):
    def codegen(context, builder, signature, args):
        word = context.cast(builder, args[0], bits, types.int64)
        if like.width < _WORD.width:
            word = builder.trunc(word, ir.IntType(like.width))
        return builder.bitcast(word, ir.VectorType(ir.IntType(1), like.width))

    return like.of(types.boolean)(types.unliteral(bits), like), codegen


@emitted_by(_mask_of)
def mask_of(bits, like):
    """The mask that `bits_of` made an int64 of, in as many lanes as `like` has."""
    return np.asarray(bits, np.int64) >> np.arange(len(like)) & 1 == 1


@intrinsic
def _lowest(typing, bits):
    def codegen(context, builder, signature, args):
        word = context.cast(builder, args[0], bits, types.int64)
        return builder.cttz(word, ir.Constant(ir.IntType(1), 0))

    return types.int64(types.unliteral(bits)), codegen


@emitted_by(_lowest)
def lowest(bits):
    """The place of the lowest bit that is set, of which there must be one."""
    return np.int64(np.flatnonzero(bits >> np.arange(_WORD.width) & 1)[0])


@intrinsic
def _count_of(typing, bits):
    def codegen(context, builder, signature, args):
        return builder.ctpop(context.cast(builder, args[0], bits, types.int64))

    return types.int64(types.unliteral(bits)), codegen


@emitted_by(_count_of)
def count_of(bits):
    """How many bits are set."""
    return np.bitwise_count(bits.view(np.uint64))


@intrinsic
def _total_of(typing, x):
    def codegen(context, builder, signature, args):
        scalar = args[0].type.element
        name = f"llvm.vector.reduce.fadd.v{x.width}f{x.dtype.bitwidth}"
        kind = ir.FunctionType(scalar, [scalar, args[0].type])
        add = cgutils.get_or_insert_function(builder.module, kind, name)
        # in any order: LLVM halves the lanes until one is left, the same way in every build
        return builder.call(add, [ir.Constant(scalar, 0.0), args[0]], fastmath=("reassoc",))

    return x.dtype(x), codegen


@emitted_by(_total_of)
def total_of(x):
    """The sum of all floating-point lanes."""
    return x.sum(dtype=x.dtype)


@intrinsic
def _as_type_of(typing, x, like):
    to = x.of(like.dtype)

    def codegen(context, builder, signature, args):
        vector, wide = context.get_value_type(to), to.dtype.bitwidth
        if wide == x.dtype.bitwidth:
            return args[0]
        return (builder.fpext if wide == 64 else builder.fptrunc)(args[0], vector)

    return to(x, like), codegen


@emitted_by(_as_type_of)
def as_type_of(x, like):
    """Floating-point lanes in the type of the lanes `like`."""
    return x.astype(like.dtype)


@intrinsic
def _zero_doubles(typing, lanes):
    doubles = lanes.of(types.float64)

    def codegen(context, builder, signature, args):
        return ir.Constant(context.get_value_type(doubles), None)

    return doubles(lanes), codegen


@emitted_by(_zero_doubles)
def zero_doubles(lanes):
    """float64 zeros in as many lanes."""
    return np.zeros(len(lanes), np.float64)
