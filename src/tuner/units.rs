//! Sizes and times as PostgreSQL reads and prints them: `B kB MB GB TB`, base 1024, case-sensitive.

use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A size in bytes. Prints with the largest unit that divides it exactly, as `SHOW` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Bytes(pub u64);

/// A time in milliseconds. Prints with the largest unit that divides it exactly, as `SHOW` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);

/// A word or number that could not be read; the text says what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub String);

const SIZES: [(&str, u64); 5] =
    [("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10), ("B", 1)];
const TIMES: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)];

impl Bytes {
    /// `n` kB.
    pub const fn kb(n: u64) -> Self {
        Self(n.saturating_mul(1 << 10))
    }

    /// `n` MB.
    pub const fn mb(n: u64) -> Self {
        Self(n.saturating_mul(1 << 20))
    }

    /// `n` GB.
    pub const fn gb(n: u64) -> Self {
        Self(n.saturating_mul(1 << 30))
    }

    /// The largest multiple of `step` that is not above this size.
    pub fn round_down(self, step: Bytes) -> Self {
        Self(self.0 - self.0 % step.0.max(1))
    }

    /// `percent` % of this size, rounded down.
    pub fn percent(self, percent: u64) -> Self {
        Self((u128::from(self.0) * u128::from(percent) / 100).try_into().unwrap_or(u64::MAX))
    }

    /// This size `n` times.
    pub fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }

    /// This size less `other`, never below 0.
    pub fn less(self, other: Bytes) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// For people: one decimal, in the unit that reads best (`15.6 GB`, `512 MB`).
    pub fn human(self) -> String {
        let (unit, size) = SIZES.into_iter().find(|(_, size)| self.0 >= *size).unwrap_or(("B", 1));
        let tenths = (u128::from(self.0) * 10 + u128::from(size) / 2) / u128::from(size);
        match tenths % 10 {
            0 => format!("{} {unit}", tenths / 10),
            rest => format!("{}.{rest} {unit}", tenths / 10),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_exact(self.0, &SIZES, f)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_exact(self.0, &TIMES, f)
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

impl std::ops::Add for Bytes {
    type Output = Bytes;
    fn add(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_add(other.0))
    }
}

impl std::iter::Sum for Bytes {
    fn sum<I: Iterator<Item = Bytes>>(sizes: I) -> Bytes {
        sizes.fold(Bytes(0), |sum, size| sum + size)
    }
}

impl Serialize for Bytes {
    /// As bytes, so that sums need no parsing.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

/// PostgreSQL's rules: a number, optionally with a fraction and a space before the unit. A bare number is refused,
/// because its unit would differ from parameter to parameter.
impl FromStr for Bytes {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse(text, &SIZES, "size", "16GB").map(Bytes)
    }
}

/// PostgreSQL's rules, with the units `ms s min h d`.
impl FromStr for Millis {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse(text, &TIMES, "time", "10min").map(Millis)
    }
}

fn print_exact(value: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if value == 0 {
        return f.write_str("0");
    }
    let (unit, size) = units.iter().find(|(_, size)| value.is_multiple_of(*size)).unwrap_or(&("", 1));
    write!(f, "{}{unit}", value / size)
}

fn parse(text: &str, units: &[(&str, u64)], kind: &str, example: &str) -> Result<u64, Invalid> {
    let text = text.trim();
    if text == "0" {
        return Ok(0);
    }
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..split], text[split..].trim_start());
    let names: Vec<&str> = units.iter().rev().map(|(name, _)| *name).collect();
    let known = names.join(", ");
    if number.is_empty() {
        return Err(Invalid(format!(
            "`{text}` is not a {kind}: write a number and a unit ({known}), such as `{example}`"
        )));
    }
    let Some((_, size)) = units.iter().find(|(name, _)| *name == unit) else {
        let near = names
            .iter()
            .find(|name| name.eq_ignore_ascii_case(unit) || name.eq_ignore_ascii_case(&format!("{unit}B")))
            .or_else(|| {
                names.iter().find(|name| {
                    unit.len() == 3
                        && unit.ends_with("iB")
                        && name.chars().next().map(|c| c.to_ascii_lowercase())
                            == unit.chars().next().map(|c| c.to_ascii_lowercase())
                })
            })
            .map(|name| format!("; did you mean `{number}{name}`?"))
            .unwrap_or_default();
        return Err(match unit {
            "" => Invalid(format!("`{text}` has no unit: write one of {known}, such as `{example}`")),
            _ => Invalid(format!(
                "`{text}` has the unknown unit `{unit}`; PostgreSQL knows {known}, case-sensitive{near}"
            )),
        });
    };
    exact(number, *size).ok_or_else(|| {
        Invalid(format!("`{text}` is not a {kind} that can be counted: `{number}` is malformed or too large"))
    })
}

/// `number × size` in whole units, to nearest; `None` when it is no number or does not fit.
fn exact(number: &str, size: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 12 || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()?.into() };
    let scale = 10u128.pow(fraction.len() as u32);
    let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse::<u64>().ok()?.into() };
    let size = u128::from(size);
    u64::try_from(whole * size + (part * size + scale / 2) / scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prints_the_largest_exact_unit() {
        let cases = [
            (0, "0"),
            (1, "1B"),
            (1536, "1536B"),
            (8192, "8kB"),
            (1 << 31, "2GB"),
            (3 << 29, "1536MB"),
            (1 << 40, "1TB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
        let times = [
            (0, "0"),
            (60_000, "1min"),
            (600_000, "10min"),
            (1000, "1s"),
            (1500, "1500ms"),
            (604_800_000, "7d"),
        ];
        for (millis, text) in times {
            assert_eq!(Millis(millis).to_string(), text);
        }
    }

    #[test]
    fn reads_what_postgresql_reads_and_refuses_the_rest_with_the_way_out() {
        assert_eq!("1.5GB".parse(), Ok(Bytes::mb(1536)));
        assert_eq!("16 GB".parse(), Ok(Bytes::gb(16)));
        let refused = |text: &str| text.parse::<Bytes>().expect_err(text).0;
        assert!(
            refused("16XB").contains("unknown unit `XB`") && refused("16XB").contains("B, kB, MB, GB, TB")
        );
        assert!(refused("2gb").contains("did you mean `2GB`?"));
        assert!(refused("2G").contains("did you mean `2GB`?"));
        assert!(refused("2GiB").contains("did you mean `2GB`?"));
        assert!(refused("1024").contains("no unit"));
        for text in ["", "GB", "-1GB", "1.2.3GB", "99999999999999999999TB", ".GB", "é GB", "9999999999TB"] {
            refused(text);
        }
    }

    #[test]
    fn people_get_one_decimal() {
        assert_eq!(Bytes::kb(16_777_216).human(), "16 GB");
        assert_eq!(Bytes::mb(15_974).human(), "15.6 GB");
        assert_eq!(Bytes::mb(512).human(), "512 MB");
    }

    proptest! {
        #[test]
        fn printing_then_parsing_gives_the_same_number(bytes in any::<u64>(), shift in 0u32..40) {
            let size = Bytes(bytes >> shift << shift);
            prop_assert_eq!(size.to_string().parse::<Bytes>(), Ok(size));
            let time = Millis(bytes >> 20);
            prop_assert_eq!(time.to_string().parse::<Millis>(), Ok(time));
        }

        #[test]
        fn no_text_makes_the_parser_fail_in_an_unforeseen_way(text in ".*") {
            let _ = text.parse::<Bytes>();
        }
    }
}
