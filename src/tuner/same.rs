//! Values of settings in the spellings that PostgreSQL takes.

use super::catalog::{Kind, Unit, lookup};
use super::units::{Bytes, Millis};

/// Whether two texts are the same value of a setting: `1024MB` is `1GB`, `yes` is `on`.
pub fn same_value(name: &str, one: &str, other: &str, major: u32) -> bool {
    if one == other {
        return true;
    }
    let truth = |text: &str| match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Some(true),
        "off" | "false" | "no" | "0" => Some(false),
        _ => None,
    };
    let unit = match lookup(name, major).map(|parameter| parameter.kind) {
        Some(Kind::Bool) => return truth(one).is_some() && truth(one) == truth(other),
        Some(Kind::Int { unit, .. }) => unit,
        _ => Unit::None,
    };
    // A bare number counts the parameter's own unit.
    let bare = |text: &str| text.parse::<i128>().ok().map(|number| number * i128::from(unit.size()));
    let size = |text: &str| text.parse::<Bytes>().ok().map(|size| i128::from(size.0));
    let time = |text: &str| text.parse::<Millis>().ok().map(|time| i128::from(time.0));
    let number = |text: &str| bare(text).or_else(|| if unit.is_time() { time(text) } else { size(text) });
    let list = |text: &str| text.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>();
    let real = |text: &str| text.parse::<f64>().ok();
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one == other,
        _ => {
            name.ends_with("_libraries") && list(one) == list(other)
                || real(one).is_some() && real(one) == real(other)
        }
    }
}

/// The size that a value of a setting stands for; `None` for what is no size, and for -1 and the like.
pub fn size_of(name: &str, value: &str, major: u32) -> Option<Bytes> {
    let Kind::Int { unit, .. } = lookup(name, major)?.kind else { return None };
    let bare = value.trim().parse::<u64>().ok().map(|number| Bytes(number.saturating_mul(unit.size())));
    bare.or_else(|| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_the_unit_of_their_setting() {
        assert_eq!(size_of("work_mem", "4MB", 15), Some(Bytes::mb(4)));
        assert_eq!(size_of("work_mem", "4096", 15), Some(Bytes::mb(4)));
        assert_eq!(size_of("shared_buffers", "16384", 15), Some(Bytes::mb(128)));
        assert_eq!(size_of("autovacuum_work_mem", "-1", 15), None);
        assert_eq!(size_of("jit", "on", 15), None);
    }

    #[test]
    fn one_value_in_two_spellings_is_no_difference() {
        let table = [
            ("shared_buffers", "1GB", "1024MB", true),
            ("shared_buffers", "1GB", "131072", true),
            ("shared_buffers", "1GB", "1023MB", false),
            ("jit", "on", "yes", true),
            ("jit", "on", "off", false),
            ("checkpoint_timeout", "15min", "900s", true),
            ("checkpoint_timeout", "15min", "900", true),
            ("random_page_cost", "1.1", "1.10", true),
            ("shared_preload_libraries", "a,b", "a, b", true),
            ("log_line_prefix", "%m ", "%m", false),
        ];
        for (name, one, other, same) in table {
            assert_eq!(same_value(name, one, other, 15), same, "{name}: {one} and {other}");
        }
    }
}
