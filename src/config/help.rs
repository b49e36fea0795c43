//! Writes the text of `--help`: the flags of each topic under its heading.

use structopt::clap::{App, AppSettings, Arg};
use structopt::StructOpt;

use super::access::AccessFlags;
use super::grpc::GrpcFlags;
use super::http::HttpFlags;
use super::models::ModelFlags;
use super::operations::OperationFlags;
use super::running::RunFlags;
use super::telemetry::TelemetryFlags;
use super::urls::UrlFlags;

/// The text above the topics.
const INTRODUCTION: &str = "\
Serves TensorFlow SavedModels over HTTP and gRPC.

Usage: tfweb --model URI [FLAG]...

Each flag except --healthcheck can also be set by an environment variable: --batch_size by TFWEB_BATCH_SIZE.
A flag without a value takes true or false too: --no_url=false. A flag on the command line overrides its variable.
tfweb accepts hyphens in place of underscores: --batch-size.";

/// The flags of each topic. The name of a topic is its heading.
fn topics() -> [App<'static, 'static>; 9] {
    let help = Arg::with_name("help").short("h").long("help").help("Print this text");
    let version = Arg::with_name("version").short("V").long("version").help("Print the version of tfweb");
    [
        ModelFlags::clap(),
        HttpFlags::clap(),
        GrpcFlags::clap(),
        RunFlags::clap(),
        UrlFlags::clap(),
        AccessFlags::clap(),
        OperationFlags::clap(),
        TelemetryFlags::clap(),
        App::new("Help").arg(help).arg(version),
    ]
}

/// The text of `--help`. clap 2 itself has no headings, so each topic is printed as a command of its own.
pub(super) fn help() -> String {
    let mut text = format!("tfweb {}\n{INTRODUCTION}", env!("CARGO_PKG_VERSION")).into_bytes();
    for topic in topics() {
        let topic = topic.template("\n\n{bin}:\n{unified}").setting(AppSettings::NextLineHelp);
        topic.write_help(&mut text).expect("a template of clap's own keys, written to memory");
        text.truncate(text.trim_ascii_end().len());
    }
    // Switches have a value for clap, and users leave it out.
    String::from_utf8(text).expect("the help of each flag is text").replace(" <SWITCH>", "")
}
