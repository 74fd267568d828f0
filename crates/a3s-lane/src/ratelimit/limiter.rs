//! The public limiters: the exact arithmetic over tokio's clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{RateLimitConfig, SlidingWindow, TokenBucket};

/// Allows a burst, then a steady rate.
///
/// Holds at most [`capacity`](Self::capacity) tokens, starts full and refills evenly. In any span of time it grants at most
/// `capacity + max_commands * span / window`. Callers of [`acquire`](Self::acquire) are served in the order of their calls;
/// [`try_acquire`](Self::try_acquire) does not queue behind them.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use a3s_lane::{RateLimitConfig, TokenBucketLimiter};
///
/// let limiter = TokenBucketLimiter::with_burst(&RateLimitConfig::per_hour(60), 1);
/// assert!(limiter.try_acquire().await);
/// assert!(!limiter.try_acquire().await);
/// # }
/// ```
#[derive(Debug)]
pub struct TokenBucketLimiter {
    clock: Clock,
    bucket: Mutex<TokenBucket>,
    turn: tokio::sync::Mutex<()>,
}

impl TokenBucketLimiter {
    /// A bucket that holds `max_commands` tokens: that many may be taken at once.
    pub fn new(config: &RateLimitConfig) -> Self {
        Self::with_burst(config, config.max_commands)
    }

    /// A bucket that holds `burst` tokens and refills at the rate of `config`.
    ///
    /// With a burst of 0, or a window of zero length, nothing is ever granted.
    pub fn with_burst(config: &RateLimitConfig, burst: u64) -> Self {
        Self {
            clock: Clock::start(),
            bucket: Mutex::new(TokenBucket::new(config, burst, 0)),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Takes a token if there is one; never waits.
    pub async fn try_acquire(&self) -> bool {
        self.take().is_ok()
    }

    /// Takes a token, waiting until there is one; returns the time waited.
    ///
    /// Waits for ever when no token will ever come, as with a limit of 0 commands.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped while it waits has taken nothing, and gives up its place in the order of callers.
    pub async fn acquire(&self) -> Duration {
        self.clock.acquire(&self.turn, || self.take()).await
    }

    /// Whole tokens that could be taken now.
    pub fn available_tokens(&self) -> u64 {
        lock(&self.bucket).available(self.clock.now_ns())
    }

    /// The most tokens the bucket holds.
    pub fn capacity(&self) -> u64 {
        lock(&self.bucket).burst()
    }

    /// Tokens added per second.
    pub fn refill_rate(&self) -> f64 {
        lock(&self.bucket).refill_rate()
    }

    fn take(&self) -> Result<(), u64> {
        lock(&self.bucket).try_take(1, self.clock.now_ns())
    }
}

/// Allows at most `max_commands` in any window, wherever the window starts.
///
/// Remembers one entry of 16 bytes for each moment of a grant in the last window, at most `max_commands` of them; a limit
/// of millions of commands per long window is better served by [`TokenBucketLimiter`], whose size is fixed. Callers of
/// [`acquire`](Self::acquire) are served in the order of their calls; [`try_acquire`](Self::try_acquire) does not queue
/// behind them.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use a3s_lane::{RateLimitConfig, SlidingWindowLimiter};
///
/// let limiter = SlidingWindowLimiter::new(&RateLimitConfig::per_hour(2));
/// assert!(limiter.try_acquire().await);
/// assert_eq!(limiter.remaining().await, 1);
/// # }
/// ```
#[derive(Debug)]
pub struct SlidingWindowLimiter {
    clock: Clock,
    window: Mutex<SlidingWindow>,
    turn: tokio::sync::Mutex<()>,
}

impl SlidingWindowLimiter {
    /// An empty window. With a limit of 0 commands, or a window of zero length, nothing is ever granted.
    pub fn new(config: &RateLimitConfig) -> Self {
        Self {
            clock: Clock::start(),
            window: Mutex::new(SlidingWindow::new(config)),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Takes a place in the window if there is one; never waits.
    pub async fn try_acquire(&self) -> bool {
        self.take().is_ok()
    }

    /// Takes a place in the window, waiting until there is one; returns the time waited.
    ///
    /// Waits for ever when nothing is ever granted, as with a limit of 0 commands.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped while it waits has taken nothing, and gives up its place in the order of callers.
    pub async fn acquire(&self) -> Duration {
        self.clock.acquire(&self.turn, || self.take()).await
    }

    /// How many places are taken now; always 0 for an unlimited limiter, which remembers nothing.
    pub async fn current_count(&self) -> u64 {
        lock(&self.window).count(self.clock.now_ns())
    }

    /// How many places are free now.
    pub async fn remaining(&self) -> u64 {
        lock(&self.window).remaining(self.clock.now_ns())
    }

    fn take(&self) -> Result<(), u64> {
        lock(&self.window).try_take(1, self.clock.now_ns())
    }
}

/// Any of the limiters, shared: a clone counts against the same limit. The default is unlimited.
#[derive(Debug, Clone, Default)]
pub enum RateLimiter {
    /// A burst, then a steady rate.
    TokenBucket(Arc<TokenBucketLimiter>),
    /// A maximum in any window.
    SlidingWindow(Arc<SlidingWindowLimiter>),
    /// No limit.
    #[default]
    Unlimited,
}

impl RateLimiter {
    /// A token bucket whose burst is the limit's `max_commands`.
    pub fn token_bucket(config: &RateLimitConfig) -> Self {
        Self::TokenBucket(Arc::new(TokenBucketLimiter::new(config)))
    }

    /// A sliding window.
    pub fn sliding_window(config: &RateLimitConfig) -> Self {
        Self::SlidingWindow(Arc::new(SlidingWindowLimiter::new(config)))
    }

    /// No limit.
    pub fn unlimited() -> Self {
        Self::Unlimited
    }

    /// Takes one if that is possible now; never waits.
    pub async fn try_acquire(&self) -> bool {
        match self {
            Self::TokenBucket(limiter) => limiter.try_acquire().await,
            Self::SlidingWindow(limiter) => limiter.try_acquire().await,
            Self::Unlimited => true,
        }
    }

    /// Takes one, waiting until that is possible; returns the time waited.
    ///
    /// Waits for ever when nothing is ever granted, as with a limit of 0 commands.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped while it waits has taken nothing.
    pub async fn acquire(&self) -> Duration {
        match self {
            Self::TokenBucket(limiter) => limiter.acquire().await,
            Self::SlidingWindow(limiter) => limiter.acquire().await,
            Self::Unlimited => Duration::ZERO,
        }
    }
}

/// Nanoseconds since a limiter was made, on tokio's clock so that paused time works.
#[derive(Debug, Clone, Copy)]
struct Clock {
    epoch: Instant,
}

impl Clock {
    fn start() -> Self {
        Self {
            epoch: Instant::now(),
        }
    }

    fn now_ns(&self) -> u64 {
        crate::boost::clamp_ns(self.epoch.elapsed())
    }

    async fn acquire(
        &self,
        turn: &tokio::sync::Mutex<()>,
        take: impl Fn() -> Result<(), u64>,
    ) -> Duration {
        let start = Instant::now();
        // One caller at a time waits for the due time, the others wait for their turn: no stampede when it comes.
        let _turn = turn.lock().await;
        while let Err(due_ns) = take() {
            match self.epoch.checked_add(Duration::from_nanos(due_ns)) {
                Some(due) if due_ns != u64::MAX => tokio::time::sleep_until(due).await,
                _ => std::future::pending().await,
            }
        }
        start.elapsed()
    }
}

/// A panic while the lock is held cannot leave the arithmetic half done, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::{advance, timeout};

    use super::*;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    fn all_kinds(config: &RateLimitConfig) -> [RateLimiter; 2] {
        [
            RateLimiter::token_bucket(config),
            RateLimiter::sliding_window(config),
        ]
    }

    #[tokio::test(start_paused = true)]
    async fn token_bucket_waits_exactly_until_the_next_token() {
        let limiter = TokenBucketLimiter::new(&RateLimitConfig::per_second(10));
        assert_eq!((limiter.capacity(), limiter.available_tokens()), (10, 10));
        assert_eq!(limiter.refill_rate(), 10.0);
        for _ in 0..10 {
            assert_eq!(limiter.acquire().await, Duration::ZERO);
        }
        assert!(!limiter.try_acquire().await);
        let waited = limiter.acquire().await;
        assert!((ms(100)..=ms(102)).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn burst_is_the_most_that_starts_at_once() {
        let limiter = TokenBucketLimiter::with_burst(&RateLimitConfig::per_second(10), 2);
        assert_eq!(limiter.capacity(), 2);
        advance(Duration::from_secs(60)).await;
        assert_eq!(limiter.available_tokens(), 2);
        assert!(limiter.try_acquire().await);
        assert!(limiter.try_acquire().await);
        assert!(!limiter.try_acquire().await);
    }

    #[tokio::test(start_paused = true)]
    async fn sliding_window_counts_and_waits() {
        let limiter = SlidingWindowLimiter::new(&RateLimitConfig::new(2, ms(100)));
        assert_eq!(
            (limiter.current_count().await, limiter.remaining().await),
            (0, 2)
        );
        assert_eq!(limiter.acquire().await, Duration::ZERO);
        advance(ms(40)).await;
        assert_eq!(limiter.acquire().await, Duration::ZERO);
        assert_eq!(
            (limiter.current_count().await, limiter.remaining().await),
            (2, 0)
        );
        let waited = limiter.acquire().await;
        assert!((ms(60)..=ms(62)).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn zero_commands_waits_for_ever() {
        for config in [
            RateLimitConfig::per_second(0),
            RateLimitConfig::new(5, Duration::ZERO),
        ] {
            for limiter in all_kinds(&config) {
                assert!(!limiter.try_acquire().await);
                let century = Duration::from_secs(100 * 365 * 86_400);
                assert!(timeout(century, limiter.acquire()).await.is_err());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn unlimited_never_waits() {
        let unlimited = RateLimitConfig::unlimited();
        let limiters = all_kinds(&unlimited)
            .into_iter()
            .chain([RateLimiter::unlimited(), RateLimiter::default()]);
        for limiter in limiters {
            for _ in 0..10_000 {
                assert!(limiter.try_acquire().await);
                assert_eq!(limiter.acquire().await, Duration::ZERO);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_wait_takes_nothing() {
        for limiter in all_kinds(&RateLimitConfig::new(1, ms(100))) {
            limiter.acquire().await;
            for _ in 0..10 {
                assert!(limiter.acquire().now_or_never().is_none());
                assert!(timeout(ms(5), limiter.acquire()).await.is_err());
            }
            let waited = limiter.acquire().await;
            assert!(waited <= ms(52), "{waited:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_does_not_overtake_a_waiting_caller() {
        for limiter in all_kinds(&RateLimitConfig::new(1, ms(10))) {
            limiter.acquire().await;
            let mut first = Box::pin(limiter.acquire());
            assert!(first.as_mut().now_or_never().is_none());
            // The place is free now, but the first caller has not run yet.
            advance(ms(20)).await;
            assert!(limiter.acquire().now_or_never().is_none());
            assert!(first.now_or_never().is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_callers_are_served_in_order() {
        for limiter in all_kinds(&RateLimitConfig::new(1, ms(10))) {
            limiter.acquire().await;
            let served = Arc::new(Mutex::new(Vec::new()));
            let waiters = (0..20).map(|caller| {
                let (limiter, served) = (limiter.clone(), served.clone());
                async move {
                    limiter.acquire().await;
                    lock(&served).push((caller, Instant::now()));
                }
            });
            let start = Instant::now();
            futures::future::join_all(waiters).await;
            let served = lock(&served);
            assert!(served.iter().map(|entry| entry.0).eq(0..20), "{served:?}");
            let last = served[19].1 - start;
            assert!(last >= ms(200), "{last:?}");
        }
    }
}
