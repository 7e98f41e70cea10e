//! Elementary functions by IEEE `+ - * / sqrt` alone, in the order of the NumPy reference, so that
//! both give the same bits on every platform (libraries' own differ in the last bit).

use std::f64::consts::PI;
use std::hint::black_box;

/// Whether this thread keeps denormal numbers and rounds to nearest, by what it computes: other
/// libraries can have set it another mode, which changes bits.
pub fn is_exact() -> bool {
    let unit = f64::EPSILON / 4.0;
    let [normal, half, one, less, more] =
        [f64::MIN_POSITIVE, 0.5, 1.0, unit, 3.0 * unit].map(black_box);
    let denormal = black_box(f64::from_bits(1));
    let kept = black_box(denormal + denormal) != 0.0 && black_box(normal * half) != 0.0;
    kept && black_box(one + less) == one && black_box(one + more) != one
}

/// A polynomial, highest power first.
fn horner(coefficients: &[f64], x: f64) -> f64 {
    let mut total = coefficients[0];
    for c in &coefficients[1..] {
        total = total * x + c;
    }
    total
}

/// Natural logarithm of a positive normal number, by the series of artanh.
pub fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i64 - 1022;
    let mut fraction = f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52));
    if fraction < std::f64::consts::FRAC_1_SQRT_2 {
        fraction *= 2.0;
        exponent -= 1;
    }
    let s = (fraction - 1.0) / (fraction + 1.0);
    let mut series = 1.0 / 21.0;
    for k in (1..21).step_by(2).rev() {
        series = series * (s * s) + 1.0 / k as f64;
    }
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * s * series
}

/// `cos(pi x)` for `0 <= x <= 1`, by Taylor series.
pub fn cospi(x: f64) -> f64 {
    if x > 0.5 {
        return -cospi(1.0 - x);
    }
    let angle = PI * if x <= 0.25 { x } else { 0.5 - x };
    let series = |first: u32| {
        let mut total = 0.0;
        for k in (0..=9).rev() {
            let factorial = (1..=u64::from(2 * k + first)).product::<u64>() as f64;
            let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
            total = if k == 9 {
                sign / factorial
            } else {
                total * (angle * angle) + sign / factorial
            };
        }
        total
    };
    if x <= 0.25 {
        series(0)
    } else {
        angle * series(1)
    }
}

// Coefficients of PPND16 (Wichura 1988, Algorithm AS 241), highest power first.
const CENTRE: [[f64; 8]; 2] = [
    [
        2_509.080_928_730_122_7,
        33_430.575_583_588_13,
        67_265.770_927_008_7,
        45_921.953_931_549_87,
        13_731.693_765_509_46,
        1_971.590_950_306_551_3,
        133.141_667_891_784_38,
        3.387_132_872_796_366_5,
    ],
    [
        5_226.495_278_852_854,
        28_729.085_735_721_943,
        39_307.895_800_092_71,
        21_213.794_301_586_597,
        5_394.196_021_424_751,
        687.187_007_492_057_9,
        42.313_330_701_600_91,
        1.0,
    ],
];
const MIDDLE: [[f64; 8]; 2] = [
    [
        0.000_774_545_014_278_341_4,
        0.022_723_844_989_269_184,
        0.241_780_725_177_450_6,
        1.270_458_252_452_368_4,
        3.647_848_324_763_204_5,
        5.769_497_221_460_691,
        4.630_337_846_156_546,
        1.423_437_110_749_683_5,
    ],
    [
        1.050_750_071_644_416_9e-09,
        0.000_547_593_808_499_534_5,
        0.015_198_666_563_616_457,
        0.148_103_976_427_480_08,
        0.689_767_334_985_1,
        1.676_384_830_183_803_8,
        2.053_191_626_637_759,
        1.0,
    ],
];
const TAIL: [[f64; 8]; 2] = [
    [
        2.010_334_399_292_288_1e-07,
        2.711_555_568_743_487_6e-05,
        0.001_242_660_947_388_078_4,
        0.026_532_189_526_576_124,
        0.296_560_571_828_504_87,
        1.784_826_539_917_291_3,
        5.463_784_911_164_114,
        6.657_904_643_501_103,
    ],
    [
        2.044_263_103_389_939_7e-15,
        1.421_511_758_316_446e-07,
        1.846_318_317_510_054_8e-05,
        0.000_786_869_131_145_613_3,
        0.014_875_361_290_850_615,
        0.136_929_880_922_735_8,
        0.599_832_206_555_888,
        1.0,
    ],
];

/// Inverse of the standard normal distribution function for `0 < u < 1`.
pub fn normal_quantile(u: f64) -> f64 {
    let ratio = |c: &[[f64; 8]; 2], x: f64| horner(&c[0], x) / horner(&c[1], x);
    let q = u - 0.5;
    if q.abs() <= 0.425 {
        let x = 0.180625 - q * q;
        return q * horner(&CENTRE[0], x) / horner(&CENTRE[1], x);
    }
    let r = (-ln(if q < 0.0 { u } else { 1.0 - u })).sqrt();
    let size = if r <= 5.0 {
        ratio(&MIDDLE, r - 1.6)
    } else {
        ratio(&TAIL, r - 5.0)
    };
    if q < 0.0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_and_cosine_agree_with_the_library() {
        for i in 1..10_000 {
            let x = f64::from(i) / 10_000.0;
            assert!((ln(x) - x.ln()).abs() <= 4e-16 * x.ln().abs().max(1.0));
            assert!((cospi(x) - (PI * x).cos()).abs() < 4e-16);
        }
        assert_eq!((cospi(0.0), cospi(0.5), cospi(1.0)), (1.0, 0.0, -1.0));
    }

    #[test]
    fn quantiles_match_published_values() {
        for (u, z) in [
            (0.975, 1.959963984540054),
            (0.001, -3.090232306167813),
            (1e-20, -9.262340089798408),
        ] {
            assert!((normal_quantile(u) - z).abs() < 1e-14 * z.abs(), "{u}");
        }
        assert_eq!(normal_quantile(0.5), 0.0);
    }
}
