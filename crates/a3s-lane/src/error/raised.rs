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
    thing: Box<dyn Any + Send + Sync>,
}

impl Raised {
    pub(super) fn code(&self) -> &'static str {
        self.0.code
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
        Self::Raised(Raised(Arc::new(Inner {
            code,
            text: text.into(),
            thing: Box::new(thing),
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_about_retries() {
        assert!(LaneError::raised("UNRECOVERABLE", "x", ()).is_unrecoverable());
        assert!(!LaneError::raised("COMMAND_ERROR", "x", ()).is_unrecoverable());
    }

    #[test]
    fn a_duplicate_has_the_same_thing() {
        let error = LaneError::raised("CODE", "text", String::from("thing"));
        let copy = error.duplicate();
        assert_eq!((copy.code(), copy.to_string().as_str()), ("CODE", "text"));
        let thing = |error: &LaneError| match error {
            LaneError::Raised(raised) => {
                std::ptr::from_ref(raised.thing().downcast_ref::<String>().expect("a text"))
            }
            _ => unreachable!("both are raised"),
        };
        assert_eq!(thing(&copy), thing(&error));
    }
}
