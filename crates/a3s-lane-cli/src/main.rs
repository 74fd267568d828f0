//! The `a3s-lane` program: runs commands from JSON lines through priority lanes.
#![forbid(unsafe_code)]

mod args;
mod board;
mod bounded_text;
mod command_options;
mod config;
mod default_lanes;
mod dlq;
mod duration;
mod exec;
mod flights;
mod input;
mod inspect;
mod job;
mod lane_options;
mod lane_text;
mod lanes;
mod limiter_text;
mod observer;
mod outcome;
mod payload;
mod process_group;
mod progress;
mod quantity;
mod report;
mod request;
mod results;
mod resumed;
mod run;
mod signals;
mod storage;
mod toml_path;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Action, Args};

fn main() -> ExitCode {
    let code = match Args::parse().action {
        Action::Run(run) => run::main(&run),
        Action::Lanes(lanes) => lanes::main(&lanes),
        Action::Inspect(inspect) => inspect::main(&inspect),
        Action::Dlq(action) => dlq::main(&action),
    };
    ExitCode::from(code)
}
