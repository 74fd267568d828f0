//! An optional duration as a number of milliseconds.
//!
//! Exact to the nanosecond up to 99 days, and for whole milliseconds up to 584 million years.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;

const NANOS_PER_MILLI: u32 = 1_000_000;

pub(super) fn serialize<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let Some(duration) = duration else {
        return serializer.serialize_none();
    };
    let below_ms = duration.subsec_nanos() % NANOS_PER_MILLI;
    match u64::try_from(duration.as_millis()) {
        Ok(millis) if below_ms == 0 => serializer.serialize_u64(millis),
        _ => serializer.serialize_f64(duration.as_nanos() as f64 / f64::from(NANOS_PER_MILLI)),
    }
}

/// Reads the setting `field`, whose name errors give.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    field: &'static str,
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    deserializer.deserialize_option(OptionalMilliseconds(field))
}

struct OptionalMilliseconds(&'static str);

impl<'de> Visitor<'de> for OptionalMilliseconds {
    type Value = Option<Duration>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Milliseconds(self.0).expecting(formatter)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(Milliseconds(self.0)).map(Some)
    }
}

/// Reads the number of the setting of this name.
pub(super) struct Milliseconds(pub(super) &'static str);

impl Milliseconds {
    fn out_of_range<E: Error>(&self, got: impl fmt::Display) -> E {
        E::custom(format!(
            "{} must be a finite number of milliseconds of at least 0 (got {got})",
            self.0
        ))
    }
}

impl Visitor<'_> for Milliseconds {
    type Value = Duration;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} as a number of milliseconds, at least 0",
            self.0
        )
    }

    fn visit_u64<E: Error>(self, millis: u64) -> Result<Duration, E> {
        Ok(Duration::from_millis(millis))
    }

    fn visit_i64<E: Error>(self, millis: i64) -> Result<Duration, E> {
        u64::try_from(millis)
            .map(Duration::from_millis)
            .map_err(|_| self.out_of_range(millis))
    }

    fn visit_f64<E: Error>(self, millis: f64) -> Result<Duration, E> {
        if !millis.is_finite() || millis < 0.0 {
            return Err(self.out_of_range(millis));
        }
        if millis.trunc() >= u64::MAX as f64 {
            return Ok(Duration::try_from_secs_f64(millis / 1_000.0).unwrap_or(Duration::MAX));
        }
        // Splitting first keeps the fraction exact, which a product with 1e6 would not.
        let fraction = (millis.fract() * f64::from(NANOS_PER_MILLI)).round() as u64;
        Ok(Duration::from_millis(millis.trunc() as u64) + Duration::from_nanos(fraction))
    }
}
