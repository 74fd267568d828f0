//! Another process: this program again, with one test, which does what it is told.

use std::path::Path;
use std::process::{Child, Command, Stdio};

const TASK: &str = "A3S_LANE_TEST_TASK";
const DIRECTORY: &str = "A3S_LANE_TEST_DIRECTORY";

/// A process that does `task` in `directory`. What it prints is to be read from its standard output.
pub(crate) fn command(task: &str, directory: &Path) -> Command {
    let program = std::env::current_exe().expect("a running program");
    let mut command = Command::new(program);
    command
        .args([
            "child::the_other_process",
            "--exact",
            "--ignored",
            "--nocapture",
            "--quiet",
        ])
        .env(TASK, task)
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped());
    command
}

pub(crate) fn spawn(mut command: Command) -> Child {
    command.spawn().expect("the program starts")
}

#[test]
#[ignore = "the other process of other tests"]
fn the_other_process() {
    let (Ok(task), Ok(directory)) = (std::env::var(TASK), std::env::var(DIRECTORY)) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let directory = Path::new(&directory);
    runtime.block_on(async {
        match task.as_str() {
            "work" => crate::killed::work(directory).await,
            "queue" => crate::queue_killed::process::work(directory).await,
            "faulty queue" => crate::queue_killed::process::work_on_a_bad_disk(directory).await,
            "poison" => crate::queue_killed::poison(directory).await,
            "write" => crate::faults::write(directory).await,
            "look" => crate::closing::look(directory).await,
            other => panic!("unknown task {other}"),
        }
    });
}
