"""Functions on lanes: polynomials, with their largest error stated in units in the last place (ulp).

    float    exp 1, log 1, tanh 3, erf 2, sigmoid 3; all others are worked out in double, 1
    double   4, but what has no double form here raises ConfigError

The errors are measured in tests/compiler_core/codegen/test_functions.py. Sources: S. L. Moshier, Cephes
(expf, logf, tanhf, the reductions); N. Juffa's minimax polynomial of erf; Taylor's series for the rest.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import inf, log, nan, pi

from tilewright.compiler_core.codegen.lanes.arithmetic import Arithmetic, number_text
from tilewright.compiler_core.codegen.writer import Lane

LOG2_E = 1.4426950408889634
FACTORIALS = [1.0]
for _n in range(1, 24):
    FACTORIALS.append(FACTORIALS[-1] * _n)


class Functions(Arithmetic):
    """Transcendental functions of float and double lanes. `scales`: AVX-512 scales by powers of two; `fuses`:
    a multiplication and an addition can be rounded once.
    """

    scales = False
    fuses = True

    def polynomial(self, x: Lane, coefficients: Sequence[float]) -> Lane:
        """Horner's rule, highest power first."""
        total = self.like(x, coefficients[0])
        for each in coefficients[1:]:
            total = self.fma(total, x, self.like(x, each))
        return total

    def _in_double(self, x: Lane) -> Lane:
        return self.converted(x, "double")

    def _back(self, wide: Lane, x: Lane) -> Lane:
        return self.converted(wide, x.kind)

    def exp(self, x: Lane) -> Lane:
        """E to the x."""
        wide = x.kind == "double"
        if not wide and self._fills_512_bits(x):
            return self._exp_by_table(x)
        most, least = (709.79, -745.2) if wide else (88.73, -104.0)
        high, low = (
            (6.93145751953125e-1, 1.42860682030941723212e-6) if wide else (0.693359375, -2.12194440e-4)
        )
        magic = 6755399441055744.0 if wide else 12582912.0
        near = self.minimum(self.maximum(x, self.like(x, least)), self.like(x, most))
        # Adding and taking off 1.5 times the weight of the last place rounds, and leaves n in the low bits.
        shifted = self.fma(near, self.like(x, LOG2_E), self.like(x, magic))
        n = self.sub(shifted, self.like(x, magic))
        r = self.fma(n, self.like(x, -high), near)
        r = self.fma(n, self.like(x, -low), r)
        if wide:
            total = self.polynomial(r, [1.0 / FACTORIALS[k] for k in range(13, -1, -1)])
        else:
            p = self.polynomial(
                r,
                [1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5],
            )
            total = self.add(self.fma(self.mul(r, r), p, r), self.like(x, 1.0))
        return self.scaled_natively(total, n) or self._scaled(total, shifted, magic)

    def _exp_by_table(self, x: Lane) -> Lane:
        """2 to the n, n in sixteenths, by a register of 16 powers; the remainder needs three terms.

        The second is 0.8284 (ln 2 / 32)^2 / 24 above a half: the largest error is least so.

        The low bits of `shifted` pick the power of the fraction, scaling takes care of the whole part.
        """
        near = self.minimum(self.maximum(x, self.like(x, -104.0)), self.like(x, 88.73))
        magic = self.like(x, 786432.0)
        shifted = self.fma(near, self.like(x, LOG2_E), magic)
        n = self.sub(shifted, magic)
        r = self.fma(n, self.like(x, -0.693359375), near)
        r = self.fma(n, self.like(x, 2.12194440e-4), r)
        rise = self.mul(self.polynomial(r, [1 / 6, 0.5000162, 1.0]), r)
        powers = ", ".join(f"float {number_text('float', 2.0 ** (k / 16))}" for k in range(16))
        operands = [f"{x.type} <{powers}>", self.bits(shifted, "i32").typed]
        power = replace(x, text=self.writer.call("llvm.x86.avx512.permvar.sf.512", x.type, operands))
        made = self.scaled_natively(self.fma(power, rise, power), n)
        assert made is not None, "vectors are as wide as it takes"
        return made

    def _fills_512_bits(self, x: Lane) -> bool:
        return self.scales and x.lanes * (64 if x.kind == "double" else 32) == 512

    def scaled_natively(self, x: Lane, n: Lane) -> Lane | None:
        """Times 2 to the floor of n where the machine has an instruction for it, else None."""
        if not self._fills_512_bits(x):
            return None
        name, bits = ("pd", "i8") if x.kind == "double" else ("ps", "i16")
        operands = [x.typed, n.typed, f"{x.type} zeroinitializer", f"{bits} -1", "i32 4"]
        return replace(x, text=self.writer.call(f"llvm.x86.avx512.mask.scalef.{name}.512", x.type, operands))

    def _scaled(self, x: Lane, shifted: Lane, magic: float) -> Lane:
        """Times 2 to the n in the low bits of `shifted`, in two steps, so that neither overflows."""
        kind, places, bias = ("i64", 52, 1023) if x.kind == "double" else ("i32", 23, 127)
        n = self.sub(self.bits(shifted, kind), self.bits(self.like(x, magic), kind))
        half = self.shifted_by(n, 1)
        for part in (half, self.sub(n, half)):
            power = self.shifted_by(self.add(part, self.like(part, bias)), places, left=True)
            x = self.mul(x, self.bits(power, x.kind))
        return x

    def shifted_by(self, x: Lane, places: int, *, left: bool = False) -> Lane:
        """Bits moved by a known number of places, arithmetically to the right."""
        return self._two("", "shl" if left else "ashr", x, self.like(x, places))

    def log(self, x: Lane) -> Lane:
        """The natural logarithm."""
        wide = x.kind == "double"
        kind, places, bias = ("i64", 52, 1023) if wide else ("i32", 23, 127)
        tiny = self.less(x, self.like(x, 2.0 ** (2 - bias)))
        lift = 54 if wide else 25
        lifted = self.select(tiny, self.mul(x, self.like(x, 2.0**lift)), x)
        whole = self.bits(lifted, kind)
        # The mantissa between sqrt(1/2) and sqrt(2), and the exponent that goes with it.
        root = self.bits(self.like(x, 0.7071067811865476), kind)
        offset = self.sub(whole, root)
        e = self.shifted_by(offset, places)
        m = self.bits(self.sub(whole, self.shifted_by(e, places, left=True)), x.kind)
        power = self.converted(e, x.kind)
        power = self.select(tiny, self.sub(power, self.like(x, lift)), power)
        f = self.sub(m, self.like(x, 1.0))
        made = self._log_double(f, power) if wide else self._log_float(f, power)
        made = self.select(self.less(x, self.like(x, 0.0)), self.like(x, nan), made)
        made = self.select(self.equal(x, self.like(x, 0.0)), self.like(x, -inf), made)
        made = self.select(self.equal(x, self.like(x, inf)), x, made)
        return self.select(self.is_nan(x), x, made)

    def _log_float(self, f: Lane, power: Lane) -> Lane:
        z = self.mul(f, f)
        p = self.polynomial(
            f,
            [
                7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
                -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
            ],
        )  # fmt: skip
        tail = self.mul(self.mul(p, f), z)
        tail = self.fma(power, self.like(f, -2.12194440e-4), tail)
        tail = self.fma(z, self.like(f, -0.5), tail)
        return self.fma(power, self.like(f, 0.693359375), self.add(f, tail))

    def _log_double(self, f: Lane, power: Lane) -> Lane:
        s = self.quotient(f, self.add(f, self.like(f, 2.0)))
        z = self.mul(s, s)
        series = self.polynomial(z, [2.0 / (2 * k + 1) for k in range(11, -1, -1)])
        return self.fma(power, self.like(f, log(2.0)), self.mul(s, series))

    def tanh(self, x: Lane) -> Lane:
        """The hyperbolic tangent."""
        if x.kind == "double":
            e = self.exp(self.mul(self.absolute(x), self.like(x, -2.0)))
            one = self.like(x, 1.0)
            far = self.sign_of(self.quotient(self.sub(one, e), self.add(one, e)), x)
            return self.select(self.less(self.absolute(x), self.like(x, 1e-5)), x, far)
        size = self.absolute(x)
        z = self.mul(x, x)
        p = self.polynomial(
            z,
            [-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1],
        )
        near = self.fma(self.mul(p, z), x, x)
        e = self.exp(self.mul(size, self.like(x, 2.0)))
        far = self.sub(self.like(x, 1.0), self.quotient(self.like(x, 2.0), self.add(e, self.like(x, 1.0))))
        return self.select(self.less(size, self.like(x, 0.625)), near, self.sign_of(far, x))

    def erf(self, x: Lane) -> Lane:
        """The error function."""
        size = self.absolute(x)
        s = self.mul(x, x)
        if x.kind == "double":
            from tilewright.compiler_core.errors import ConfigError

            raise ConfigError("erf of float64 has no native form")
        near = self.polynomial(
            s,
            [
                -5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1,
            ],
        )  # fmt: skip
        near = self.fma(near, x, x)
        r = self.polynomial(size, [-1.72853470e-5, 3.83197126e-4])
        u = self.polynomial(size, [-3.88396438e-3, 2.42546219e-2])
        r = self.fma(r, s, u)
        for each in (-1.06777877e-1, -6.34846687e-1, -1.28717512e-1):
            r = self.fma(r, size, self.like(x, each))
        r = self.fma(r, size, self.negative(size))
        far = self.sign_of(self.sub(self.like(x, 1.0), self.exp(r)), x)
        far = self.select(self.less(size, self.like(x, 4.0)), far, self.sign_of(self.like(x, 1.0), x))
        made = self.select(self.less(size, self.like(x, 0.921875)), near, far)
        return self.select(self.is_nan(x), x, made)

    def sigmoid(self, x: Lane) -> Lane:
        """1 / (1 + e to the -x)."""
        one = self.like(x, 1.0)
        return self.quotient(one, self.add(one, self.exp(self.negative(x))))

    # in double

    def sin(self, x: Lane) -> Lane:
        """The sine."""
        return self._back(self._circular(self._in_double(x), 0), x)

    def cos(self, x: Lane) -> Lane:
        """The cosine."""
        return self._back(self._circular(self._in_double(x), 1), x)

    def tan(self, x: Lane) -> Lane:
        """The tangent."""
        wide = self._in_double(x)
        return self._back(self.quotient(self._circular(wide, 0), self._circular(wide, 1)), x)

    def _circular(self, x: Lane, quarter: int) -> Lane:
        """sin(x + quarter * pi / 2): the remainder after pi / 2 in three parts, series of sine and cosine."""
        magic = 6755399441055744.0
        shifted = self.fma(x, self.like(x, 2.0 / pi), self.like(x, magic))
        n = self.sub(shifted, self.like(x, magic))
        r = x
        for part in (1.57079625129699707031, 7.54978941586159635336e-8, 5.39030285815811905475e-15):
            r = self.fma(n, self.like(x, -part), r)
        z = self.mul(r, r)
        signs = [(-1.0) ** k for k in range(10)]
        sine = self.mul(r, self.polynomial(z, [signs[k] / FACTORIALS[2 * k + 1] for k in range(9, -1, -1)]))
        cosine = self.polynomial(z, [signs[k] / FACTORIALS[2 * k] for k in range(9, -1, -1)])
        at = self.add(self.bits(shifted, "i64"), Lane(str(quarter), "i64"))
        odd = self.not_equal(self.both(at, Lane("1", "i64")), Lane("0", "i64"))
        minus = self.not_equal(self.both(at, Lane("2", "i64")), Lane("0", "i64"))
        found = self.select(odd, cosine, sine)
        return self.select(minus, self.negative(found), found)

    def atan(self, x: Lane) -> Lane:
        """The inverse tangent."""
        return self._back(self._atan(self._in_double(x)), x)

    def _atan(self, x: Lane) -> Lane:
        one = self.like(x, 1.0)
        size = self.absolute(x)
        large = self.less(one, size)
        t = self.select(large, self.quotient(one, size), size)
        middle = self.less(self.like(x, 0.4142135623730950), t)
        u = self.select(middle, self.quotient(self.sub(t, one), self.add(t, one)), t)
        z = self.mul(u, u)
        series = self.polynomial(z, [(-1.0) ** k / (2 * k + 1) for k in range(20, -1, -1)])
        found = self.fma(u, series, self.select(middle, self.like(x, pi / 4), self.like(x, 0.0)))
        found = self.select(large, self.sub(self.like(x, pi / 2), found), found)
        return self.sign_of(found, x)

    def asin(self, x: Lane) -> Lane:
        """The inverse sine."""
        return self._back(self._asin(self._in_double(x)), x)

    def _asin(self, x: Lane) -> Lane:
        one = self.like(x, 1.0)
        other = self.sqrt(self.mul(self.sub(one, x), self.add(one, x)))
        found = self._atan(self.quotient(x, other))
        return self.select(self.less(one, self.absolute(x)), self.like(x, nan), found)

    def acos(self, x: Lane) -> Lane:
        """The inverse cosine."""
        wide = self._in_double(x)
        return self._back(self.sub(self.like(wide, pi / 2), self._asin(wide)), x)

    def sinh(self, x: Lane) -> Lane:
        """The hyperbolic sine."""
        wide = self._in_double(x)
        e = self.exp(wide)
        half = self.like(wide, 0.5)
        found = self.mul(half, self.sub(e, self.quotient(self.like(wide, 1.0), e)))
        small = self.fma(self.mul(self.mul(wide, wide), self.like(wide, 1 / 6)), wide, wide)
        return self._back(self.select(self.less(self.absolute(wide), self.like(wide, 1e-3)), small, found), x)

    def cosh(self, x: Lane) -> Lane:
        """The hyperbolic cosine."""
        wide = self._in_double(x)
        e = self.exp(wide)
        total = self.add(e, self.quotient(self.like(wide, 1.0), e))
        return self._back(self.mul(self.like(wide, 0.5), total), x)

    def asinh(self, x: Lane) -> Lane:
        """The inverse hyperbolic sine."""
        wide = self._in_double(x)
        size = self.absolute(wide)
        root = self.sqrt(self.fma(size, size, self.like(wide, 1.0)))
        found = self.sign_of(self.log(self.add(size, root)), wide)
        small = self.fma(self.mul(self.mul(wide, wide), self.like(wide, -1 / 6)), wide, wide)
        return self._back(self.select(self.less(size, self.like(wide, 1e-3)), small, found), x)

    def acosh(self, x: Lane) -> Lane:
        """The inverse hyperbolic cosine."""
        wide = self._in_double(x)
        one = self.like(wide, 1.0)
        root = self.sqrt(self.mul(self.sub(wide, one), self.add(wide, one)))
        return self._back(self.log(self.add(wide, root)), x)

    def atanh(self, x: Lane) -> Lane:
        """The inverse hyperbolic tangent."""
        wide = self._in_double(x)
        one = self.like(wide, 1.0)
        ratio = self.quotient(self.add(one, wide), self.sub(one, wide))
        found = self.mul(self.like(wide, 0.5), self.log(ratio))
        small = self.fma(self.mul(self.mul(wide, wide), self.like(wide, 1 / 3)), wide, wide)
        return self._back(self.select(self.less(self.absolute(wide), self.like(wide, 1e-3)), small, found), x)

    def softplus(self, x: Lane) -> Lane:
        """log(1 + e to the x)."""
        wide = self._in_double(x)
        zero, one = self.like(wide, 0.0), self.like(wide, 1.0)
        e = self.exp(self.negative(self.absolute(wide)))
        series = self.mul(e, self.polynomial(e, [1 / 3, -0.5, 1.0]))
        rise = self.select(self.less(e, self.like(wide, 1e-4)), series, self.log(self.add(one, e)))
        return self._back(self.add(self.maximum(wide, zero), rise), x)

    def expm1(self, x: Lane) -> Lane:
        """E to the x, less 1."""
        wide = self._in_double(x)
        one = self.like(wide, 1.0)
        found = self.sub(self.exp(wide), one)
        return self._back(self.select(self.less(self.absolute(wide), self.like(wide, 1e-9)), wide, found), x)

    def pow(self, a: Lane, b: Lane) -> Lane:
        """A to the b, with C's special cases; whole numbers by squaring in double."""
        a, b = self.alike(a, b)
        base, power = self._in_double(a), self._in_double(b)
        one = self.like(base, 1.0)
        size = self.exp(self.mul(power, self.log(self.absolute(base))))
        whole = self.equal(self.floor(power), power)
        half = self.mul(power, self.like(base, 0.5))
        odd = self.both(whole, self.not_equal(self.floor(half), half))
        below = self.less(base, self.like(base, 0.0))
        found = self.select(self.both(below, odd), self.negative(size), size)
        allowed = self.either(
            whole, self.either(self.less_equal(self.like(base, 0.0), base), self.is_nan(base))
        )
        found = self.select(allowed, found, self.like(base, nan))
        found = self.select(self.either(self.is_nan(base), self.is_nan(power)), self.like(base, nan), found)
        plain = self.either(self.equal(power, self.like(base, 0.0)), self.equal(base, one))
        found = self.select(plain, one, found)
        if a.is_float:
            return self._back(found, a)
        return self.converted(self.round(found), a.kind, a.signed)
