//! Reads the command line and the environment into [`Flags`], and checks them into a [`Config`], whose values have types and units.

mod access;
mod command_line;
mod flags;
mod grpc;
mod healthcheck_url;
mod help;
mod http;
mod models;
mod operations;
mod running;
mod settings;
mod telemetry;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod typed_tests;
mod urls;
mod values;
mod variables;

pub use flags::Flags;
pub use operations::Drain;
pub use settings::Config;
pub use values::Usage;
pub use variables::tidy_variables;
