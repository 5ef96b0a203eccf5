//! Numbers as people type and read them.

use std::{fmt, str::FromStr};

/// A whole number in these bounds, for the parser of arguments: its own words for others are those of a programmer.
pub(crate) fn whole_number<T>(
    least: T,
    most: T,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + fmt::Display + Copy + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok();
        let number = number.filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("give a whole number from {least} to {most}"))
    }
}

/// `1 replica`, `3 replicas`.
pub(crate) fn replicas(count: impl fmt::Display) -> String {
    match count.to_string().as_str() {
        "1" => "1 replica".to_owned(),
        count => format!("{count} replicas"),
    }
}
