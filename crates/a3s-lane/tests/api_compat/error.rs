use std::time::Duration;

use a3s_lane::error::{LaneError, Result};

#[test]
fn it_is_an_error_that_threads_share() {
    fn is_error<E: std::error::Error + Send + Sync + 'static>() {}
    is_error::<LaneError>();
    let boxed: Box<dyn std::error::Error + Send + Sync> = Box::new(LaneError::ShutdownInProgress);
    assert!(boxed.downcast_ref::<LaneError>().is_some());
}

#[test]
fn texts() {
    let x = || "x".to_owned();
    for (error, text) in [
        (LaneError::LaneNotFound(x()), "Lane not found: x"),
        (LaneError::QueueError(x()), "Queue error: x"),
        (LaneError::ConfigError(x()), "Configuration error: x"),
        (LaneError::CommandError(x()), "Command execution error: x"),
        (
            LaneError::Timeout(Duration::from_secs(30)),
            "Command timed out after 30s",
        ),
        (
            LaneError::Timeout(Duration::from_micros(1500)),
            "Command timed out after 1.5ms",
        ),
        (
            LaneError::ShutdownInProgress,
            "Queue is shutting down, not accepting new commands",
        ),
        (LaneError::JobNotFound(x()), "Job not found: x"),
        (LaneError::JobStateConflict(x()), "Job state conflict: x"),
        (LaneError::JobLeaseConflict(x()), "Job lease conflict: x"),
        (LaneError::UnrecoverableJob(x()), "x"),
        (LaneError::Other(x()), "x"),
    ] {
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(format!("{:?}", LaneError::Other(x())), r#"Other("x")"#);
}

#[test]
fn unrecoverable() {
    let from_text: LaneError = LaneError::unrecoverable_job("never");
    let from_string = LaneError::unrecoverable_job("never".to_owned());
    assert!(from_text.is_unrecoverable_job() && from_string.is_unrecoverable_job());
    assert!(matches!(from_text, LaneError::UnrecoverableJob(text) if text == "never"));
    assert!(!LaneError::Other("never".into()).is_unrecoverable_job());
}

#[test]
fn the_alias_works_with_the_question_mark() -> std::result::Result<(), Box<dyn std::error::Error>> {
    fn two() -> Result<u8> {
        Ok(2)
    }
    assert_eq!(two()?, 2);
    Ok(())
}
