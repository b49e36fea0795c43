//! The flags of logs and traces.

use std::env;

use structopt::StructOpt;
use tracing_subscriber::filter::LevelFilter;
use url::Url;

use super::values::{switch, Usage};
use super::variables;
use crate::observe::log::LogFormat;
use crate::observe::Settings;

/// The path at which a collector takes traces by OTLP.
const TRACES_PATH: &str = "/v1/traces";

/// The flags of logs and traces as typed.
#[derive(StructOpt, Clone, Debug)]
#[structopt(name = "Logs and traces")]
pub struct TelemetryFlags {
    /// Format of the log: text for people, or one JSON object on each line
    #[structopt(long = "log_format", env = "TFWEB_LOG_FORMAT", value_name = "FORMAT", default_value = "text", possible_values = &["text", "json"])]
    pub log_format: String,
    /// Log one line for each request
    #[structopt(long = "access_log", env = "TFWEB_ACCESS_LOG", value_name = "SWITCH", default_value = "false", hide_default_value = true, parse(try_from_str = switch))]
    pub access_log: bool,
    /// URL of an OpenTelemetry collector that takes traces by OTLP over HTTP, such as http://localhost:4318
    #[structopt(long = "otlp_endpoint", env = "TFWEB_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

impl TelemetryFlags {
    /// The format of the log. Checks TFWEB_LOG too, which the log itself reads: it has no flag.
    pub(super) fn format(&self) -> Result<LogFormat, Usage> {
        if let Some(level) = variables::shared("TFWEB_LOG")?.filter(|level| level.parse::<LevelFilter>().is_err()) {
            let expected = "expected off, error, warn, info, debug or trace";
            return Err(Usage::wrong(format!("TFWEB_LOG: {expected}, got `{level}`")));
        }
        Ok(if self.log_format == "json" { LogFormat::Json } else { LogFormat::Text })
    }

    pub(super) fn settings(self) -> Result<Settings, Usage> {
        let variable = |name: &str| env::var(name).ok().filter(|value: &String| !value.is_empty());
        Ok(Settings { access_log: self.access_log, otlp_endpoint: endpoint(self.otlp_endpoint, variable)? })
    }
}

/// The URL to send traces to: the flag's, or else that of OpenTelemetry's own variables.
fn endpoint(flag: Option<String>, variable: impl Fn(&str) -> Option<String>) -> Result<Option<String>, Usage> {
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let flag = flag.map(|url| ("--otlp_endpoint", url, true));
    let of_traces = || Some(("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")?, false));
    let of_all = || Some(("OTEL_EXPORTER_OTLP_ENDPOINT", variable("OTEL_EXPORTER_OTLP_ENDPOINT")?, true));
    let Some((name, text, is_base)) = flag.or_else(of_traces).or_else(of_all) else {
        return Ok(None);
    };
    let url = Url::parse(&text).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    let mut url = url.ok_or_else(|| Usage::wrong(format!("{name}: expected a URL like http://localhost:4318, got `{text}`")))?;
    if is_base && !url.path().ends_with(TRACES_PATH) {
        let path = format!("{}{TRACES_PATH}", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Ok(Some(url.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flag: Option<&str>, variables: &[(&str, &str)], expect: Option<&str>) {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let found = endpoint(flag.map(str::to_owned), variable).unwrap();
        assert_eq!(found.as_deref(), expect, "{flag:?} {variables:?}");
    }

    #[test]
    fn traces_go_where_the_flag_or_opentelemetrys_variables_say() {
        let (all, traces) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        check(None, &[], None);
        check(Some("http://c:4318"), &[], Some("http://c:4318/v1/traces"));
        check(Some("https://c/otlp/"), &[(all, "http://d")], Some("https://c/otlp/v1/traces"));
        check(Some("http://c:4318/v1/traces"), &[], Some("http://c:4318/v1/traces"));
        check(None, &[(all, "http://d:4318/")], Some("http://d:4318/v1/traces"));
        check(None, &[(all, "http://d"), (traces, "http://e/in")], Some("http://e/in"));
        check(Some("http://c"), &[("OTEL_SDK_DISABLED", "TRUE")], None);
        let refused = endpoint(Some("collector:4318".into()), |_| None).unwrap_err();
        assert!(refused.text.contains("--otlp_endpoint: expected a URL like http://localhost:4318, got `collector:4318`"));
    }
}
