//! Numbers as people read them: short, with their unit.

/// A ratio: three digits, or more where they stand before the point.
pub fn ratio(value: f64) -> String {
    digits(value)
}

/// A number of things, in thousands or millions where that is shorter.
pub fn count(value: f64) -> String {
    match value {
        _ if value >= 999_500.0 => format!("{} M", digits(value / 1e6)),
        _ if value >= 999.5 => format!("{} k", digits(value / 1e3)),
        _ => digits(value),
    }
}

/// Bytes, in KiB written as people do.
pub fn bytes(value: f64) -> String {
    if value.abs() < 1_000.0 { format!("{value:.0} B") } else { format!("{} KB", digits(value / 1_024.0)) }
}

/// Microseconds, as milliseconds from one on.
pub fn micros(value: f64) -> String {
    if value >= 999.5 { format!("{} ms", digits(value / 1_000.0)) } else { format!("{} µs", digits(value)) }
}

/// Three digits that count.
pub fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [
            (count(3_612_345.0), "3.61 M"),
            (count(999_600.0), "1.00 M"),
            (count(85_123.0), "85.1 k"),
            (count(140_499.0), "140 k"),
            (count(50.0), "50.0"),
            (bytes(264.4), "264 B"),
            (bytes(18_432.0), "18.0 KB"),
            (micros(7.51), "7.51 µs"),
            (micros(12_345.0), "12.3 ms"),
            (ratio(0.846), "0.85"),
        ];
        for (shown, expected) in cases {
            assert_eq!(shown, expected);
        }
    }
}
