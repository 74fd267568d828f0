//! What a handler of another language raised.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::LaneError;

/// An error that a handler of another language raised: its code, its text, and the thing itself.
///
/// Copies share the thing. Made by [`LaneError::raised`].
#[derive(Clone)]
pub struct Raised(Arc<Inner>);

struct Inner {
    code: &'static str,
    text: Box<str>,
    traceback: Option<Box<str>>,
    thing: Box<dyn Any + Send + Sync>,
}

impl Raised {
    pub(super) fn code(&self) -> &'static str {
        self.0.code
    }

    /// Where it was raised, as its language shows it to people; several lines.
    pub fn traceback(&self) -> Option<&str> {
        self.0.traceback.as_deref()
    }

    /// What was raised, such as an exception object.
    pub fn thing(&self) -> &(dyn Any + Send + Sync) {
        &*self.0.thing
    }
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raised")
            .field("code", &self.0.code)
            .field("text", &self.0.text)
            .finish_non_exhaustive()
    }
}

impl LaneError {
    /// An error that keeps what a handler of another language raised, for whoever waits in the same process.
    ///
    /// `code` is what [`code`](Self::code) returns; `"UNRECOVERABLE"` stops retries.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::LaneError;
    ///
    /// let error = LaneError::raised("COMMAND_ERROR", "ValueError: bad", 7_u32);
    /// assert_eq!((error.code(), error.to_string().as_str()), ("COMMAND_ERROR", "ValueError: bad"));
    /// let LaneError::Raised(raised) = error else { unreachable!() };
    /// assert_eq!(raised.thing().downcast_ref(), Some(&7_u32));
    /// ```
    pub fn raised(
        code: &'static str,
        text: impl Into<Box<str>>,
        thing: impl Any + Send + Sync,
    ) -> Self {
        Self::raised_at(code, text, None, thing)
    }

    /// As [`raised`](Self::raised), with the text that shows where it was raised.
    ///
    /// # Examples
    ///
    /// ```
    /// use a3s_lane::LaneError;
    ///
    /// let place = "Traceback (most recent call last):\n  File \"a.py\", line 3, in f".to_owned();
    /// let error = LaneError::raised_at("COMMAND_ERROR", "ValueError: bad", Some(place), ());
    /// assert!(error.traceback().is_some_and(|text| text.contains("line 3")));
    /// assert_eq!(error.to_string(), "ValueError: bad");
    /// ```
    pub fn raised_at(
        code: &'static str,
        text: impl Into<Box<str>>,
        traceback: Option<String>,
        thing: impl Any + Send + Sync,
    ) -> Self {
        Self::Raised(Raised(Arc::new(Inner {
            code,
            text: text.into(),
            traceback: traceback.map(Into::into),
            thing: Box::new(thing),
        })))
    }

    /// Where a handler of another language raised this, as that language shows it to people.
    pub fn traceback(&self) -> Option<&str> {
        match self {
            Self::Raised(raised) => raised.traceback(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_raised_has_a_traceback() {
        assert_eq!(LaneError::raised("CODE", "text", ()).traceback(), None);
        assert_eq!(LaneError::CommandError("text".into()).traceback(), None);
    }

    #[test]
    fn the_code_decides_about_retries() {
        assert!(LaneError::raised("UNRECOVERABLE", "x", ()).is_unrecoverable());
        assert!(!LaneError::raised("COMMAND_ERROR", "x", ()).is_unrecoverable());
    }

    #[test]
    fn a_duplicate_has_the_same_thing() {
        let place = Some("line 1".to_owned());
        let error = LaneError::raised_at("CODE", "text", place, String::from("thing"));
        let copy = error.duplicate();
        assert_eq!((copy.code(), copy.to_string().as_str()), ("CODE", "text"));
        assert_eq!(copy.traceback(), Some("line 1"));
        let thing = |error: &LaneError| match error {
            LaneError::Raised(raised) => {
                std::ptr::from_ref(raised.thing().downcast_ref::<String>().expect("a text"))
            }
            _ => unreachable!("both are raised"),
        };
        assert_eq!(thing(&copy), thing(&error));
    }
}
