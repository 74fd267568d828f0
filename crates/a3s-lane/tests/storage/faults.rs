//! placeholder
use std::path::Path;
pub(crate) async fn write(_directory: &Path) {}
