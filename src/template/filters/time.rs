//! Filters of times. None reads the clock: the time is an argument.

use super::{Args, Filter, Refusal};
use serde_json::Value;
use time::{Month, OffsetDateTime};

pub(super) const FILTERS: &[(&str, Filter)] = &[("strftime", strftime)];

/// `'%Y-%m-%d' | strftime(seconds)`, in UTC.
fn strftime(mut args: Args) -> Result<Value, Refusal> {
    let format = args.input_text()?;
    let Some(seconds) = args.take("second") else {
        return Err(Refusal::new("without a time it would change every run")
            .hint("pass the seconds: `strftime(ansible_date_time.epoch)`"));
    };
    let _ = args.take("utc");
    args.done()?;
    let seconds = match &seconds {
        Value::String(text) => text.trim().parse::<f64>().ok(),
        other => crate::template::python::as_number(other),
    };
    let seconds = seconds.filter(|seconds| seconds.is_finite()).ok_or("the time is a number of seconds")?;
    let moment = OffsetDateTime::from_unix_timestamp(seconds.floor() as i64)
        .map_err(|_| Refusal::new("the time is out of range"))?;
    written(&format, moment).map(Value::String)
}

fn written(format: &str, moment: OffsetDateTime) -> Result<String, Refusal> {
    let mut out = String::new();
    let mut chars = format.chars();
    let hour12 = match moment.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let code = chars.next().ok_or("the format ends inside a `%`")?;
        let part = match code {
            'Y' => moment.year().to_string(),
            'y' => format!("{:02}", moment.year().rem_euclid(100)),
            'm' => format!("{:02}", u8::from(moment.month())),
            'd' => format!("{:02}", moment.day()),
            'e' => format!("{:2}", moment.day()),
            'H' => format!("{:02}", moment.hour()),
            'I' => format!("{hour12:02}"),
            'M' => format!("{:02}", moment.minute()),
            'S' => format!("{:02}", moment.second()),
            'p' => if moment.hour() < 12 { "AM" } else { "PM" }.to_owned(),
            'j' => format!("{:03}", moment.ordinal()),
            's' => moment.unix_timestamp().to_string(),
            'A' => moment.weekday().to_string(),
            'a' => moment.weekday().to_string().chars().take(3).collect(),
            'B' => moment.month().to_string(),
            'b' | 'h' => short_month(moment.month()),
            'u' => moment.weekday().number_from_monday().to_string(),
            'w' => moment.weekday().number_days_from_sunday().to_string(),
            'V' => format!("{:02}", moment.iso_week()),
            'F' => written("%Y-%m-%d", moment)?,
            'T' => written("%H:%M:%S", moment)?,
            'R' => written("%H:%M", moment)?,
            'D' => written("%m/%d/%y", moment)?,
            'z' => "+0000".to_owned(),
            'Z' => "UTC".to_owned(),
            'n' => "\n".to_owned(),
            't' => "\t".to_owned(),
            '%' => "%".to_owned(),
            other => return Err(format!("`%{other}` is not supported").into()),
        };
        out.push_str(&part);
    }
    Ok(out)
}

fn short_month(month: Month) -> String {
    month.to_string().chars().take(3).collect()
}
