//! Dates and times that are written as the wire writes them, or nearly: most are, and need no calendar to be read.

/// Whether `text` is a date such as `2026-11-22`.
pub(super) fn is_date(text: &str) -> bool {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else {
        return false;
    };
    let date = (
        number(&[*y1, *y2, *y3, *y4]),
        number(&[*m1, *m2]),
        number(&[*d1, *d2]),
    );
    let (Some(year @ 1..), Some(month), Some(day @ 1..)) = date else {
        return false;
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 0,
    };
    day <= days
}

/// The date and time `2026-11-22T10:00:00.120000`, where a blank may stand for the `T` and the fraction be left out.
pub(super) fn datetime(text: &str) -> Option<String> {
    let (date, rest) = text.split_at_checked(10)?;
    let time = rest.strip_prefix(['T', ' '])?;
    let (clock, fraction) = time.split_at_checked(8)?;
    if !is_date(date) || !is_clock(clock) || !(fraction.is_empty() || is_fraction(fraction)) {
        return None;
    }
    let fraction = if fraction.is_empty() {
        ".000000"
    } else {
        fraction
    };
    Some([date, "T", clock, fraction].concat())
}

/// Whether `text` is a time such as `2026-11-22T10:00:00.120000Z`.
pub(super) fn is_timestamp(text: &str) -> bool {
    let parts = || {
        let (date, rest) = text.split_at_checked(10)?;
        let (clock, rest) = rest.strip_prefix('T')?.split_at_checked(8)?;
        Some((date, clock, rest.strip_suffix('Z')?))
    };
    parts().is_some_and(|(date, clock, fraction)| {
        is_date(date) && is_clock(clock) && is_fraction(fraction)
    })
}

fn is_clock(text: &str) -> bool {
    let [h1, h2, b':', m1, m2, b':', s1, s2] = text.as_bytes() else {
        return false;
    };
    matches!(number(&[*h1, *h2]), Some(..24))
        && matches!(number(&[*m1, *m2]), Some(..60))
        && matches!(number(&[*s1, *s2]), Some(..60))
}

fn is_fraction(text: &str) -> bool {
    matches!(text.as_bytes(), [b'.', digits @ ..] if digits.len() == 6 && number(digits).is_some())
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Some(number * 10 + u32::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike as _, NaiveDate, NaiveDateTime};
    use proptest::prelude::*;

    use super::*;
    use crate::Time;

    /// As chrono reads the same, to the microsecond.
    fn by_the_calendar(text: &str) -> Option<String> {
        let at =
            NaiveDateTime::parse_from_str(&text.replace(' ', "T"), "%Y-%m-%dT%H:%M:%S%.f").ok()?;
        let leap_second = text.get(17..19) == Some("60");
        ((1..=9999).contains(&at.year()) && !leap_second)
            .then(|| at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn what_is_canonical_says_the_calendar(
            text in "[0-2][0-9]{3}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{6})?"
        ) {
            prop_assert_eq!(datetime(&text), by_the_calendar(&text), "{}", text);
            let day = &text[..10];
            let by_chrono = NaiveDate::parse_from_str(day, "%Y-%m-%d");
            prop_assert_eq!(is_date(day), by_chrono.is_ok_and(|date| date.year() > 0), "{}", day);
            let zoned = format!("{}Z", text.replace(' ', "T"));
            let time = zoned.parse::<Time>().ok().map(|time| time.to_string());
            prop_assert_eq!(is_timestamp(&zoned), time == Some(zoned.clone()), "{}", zoned);
        }

        #[test]
        fn what_is_nearly_canonical_is_left_to_the_calendar(
            text in "[0-9]{3,5}-[0-9]{1,2}-[0-9]{1,2}[T t][0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(\\.[0-9]{0,7})?"
        ) {
            if let Some(canonical) = datetime(&text) {
                prop_assert_eq!(Some(canonical), by_the_calendar(&text), "{}", text);
            }
        }
    }
}
