//! Ctrl-C and its relatives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// After everything was killed the program ends within this time, whatever blocks it.
const LAST_RESORT: Duration = Duration::from_secs(5);

/// What the user asked for so far.
#[derive(Clone)]
pub(crate) struct Interrupts {
    /// Cancelled by the first signal: read no more, start no more, let running commands finish.
    pub(crate) stop: CancellationToken,
    /// Cancelled when running processes must die.
    pub(crate) kill: CancellationToken,
    /// 128 + the number of the first signal, 0 before it.
    code: Arc<AtomicU8>,
}

impl Interrupts {
    /// Listens from now on. Must be called on a tokio runtime.
    pub(crate) fn listen(kill: CancellationToken) -> Result<Self, String> {
        let interrupts = Self {
            stop: CancellationToken::new(),
            kill,
            code: Arc::default(),
        };
        let mut signals = system::Signals::new()
            .map_err(|error| format!("cannot listen for signals: {error}"))?;
        let state = interrupts.clone();
        tokio::spawn(async move {
            loop {
                let signal = signals.next().await;
                state.receive(signal);
                if state.kill.is_cancelled() {
                    tokio::select! {
                        _again = signals.next() => {}
                        () = tokio::time::sleep(LAST_RESORT) => {}
                    }
                    std::process::exit(i32::from(state.code.load(Ordering::Relaxed)));
                }
            }
        });
        Ok(interrupts)
    }

    fn receive(&self, signal: Signal) {
        let _later =
            self.code
                .compare_exchange(0, signal.code(), Ordering::Relaxed, Ordering::Relaxed);
        let is_first = !self.stop.is_cancelled();
        // Before the kill, so that a killed command makes no room for the next.
        self.stop.cancel();
        if !is_first || signal != Signal::Interrupt {
            self.kill.cancel();
        }
    }

    /// The exit status that tells of the first signal, if there was one.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        match self.code.load(Ordering::Relaxed) {
            0 => None,
            code => Some(code),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Signal {
    Interrupt,
    #[cfg(unix)]
    Terminate,
    #[cfg(unix)]
    HangUp,
}

impl Signal {
    fn code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            #[cfg(unix)]
            Self::Terminate => 143,
            #[cfg(unix)]
            Self::HangUp => 129,
        }
    }
}

#[cfg(unix)]
mod system {
    use std::io;

    use tokio::signal::unix::{SignalKind, signal};

    use super::Signal;

    pub(super) struct Signals {
        interrupt: tokio::signal::unix::Signal,
        terminate: tokio::signal::unix::Signal,
        hang_up: Option<tokio::signal::unix::Signal>,
    }

    impl Signals {
        pub(super) fn new() -> io::Result<Self> {
            let hang_up = if may_handle_hang_up() {
                Some(signal(SignalKind::hangup())?)
            } else {
                None
            };
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hang_up,
            })
        }

        pub(super) async fn next(&mut self) -> Signal {
            let hang_up = async {
                match &mut self.hang_up {
                    Some(signal) => signal.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.interrupt.recv() => Signal::Interrupt,
                _ = self.terminate.recv() => Signal::Terminate,
                _ = hang_up => Signal::HangUp,
            }
        }
    }

    /// `nohup` starts programs with the signal ignored, and that must stay so. Only Linux tells.
    fn may_handle_hang_up() -> bool {
        const HANG_UP_BIT: u64 = 1;
        let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
            return false;
        };
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        ignored.is_some_and(|mask| mask & HANG_UP_BIT == 0)
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    use super::Signal;

    pub(super) struct Signals;

    impl Signals {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) async fn next(&mut self) -> Signal {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            Signal::Interrupt
        }
    }
}
