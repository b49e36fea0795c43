//! The flags of models and their versions.

use std::path::PathBuf;
use std::time::Duration;

use structopt::StructOpt;

use super::values::{switch, Usage};
use crate::models::config_file::ModelConfigFile;
use crate::models::spec::{check_name, check_unique, name_of};
use crate::models::{version_labels, ModelSpec, VersionPolicy};
use tfweb_store::ModelUri;

/// The longest time between two checks for changes: a day.
const POLL_SECONDS_LIMIT: f64 = 86_400.0;
/// The shortest time between two checks: with less, most checks would find nothing new.
const POLL_SECONDS_LEAST: f64 = 0.05;

/// The flags of models as typed.
#[derive(StructOpt, Clone, Debug)]
#[structopt(name = "Models")]
pub struct ModelFlags {
    /// SavedModel, or directory with numbered versions of one: a local path, or a URI of s3://, gs://, az://, abfs://, hdfs://, webhdfs://, hf://, or http(s):// of an archive. name=URI gives the model a name. The flag may repeat; in the variable, commas separate models
    #[structopt(long = "model", env = "TFWEB_MODEL", value_name = "URI", number_of_values = 1)]
    pub model: Vec<String>,
    /// Name of the model, if there is one --model and it has no name
    #[structopt(long = "model_name", env = "TFWEB_MODEL_NAME", value_name = "NAME")]
    pub model_name: Option<String>,
    /// Tags, separated by commas. They must equal one of the model's tag sets
    #[structopt(long = "tags", env = "TFWEB_TAGS", value_name = "TAGS", default_value = "serve")]
    pub tags: String,
    /// Versions to serve: latest, latest:N, all, or numbers separated by commas
    #[structopt(long = "version_policy", env = "TFWEB_VERSION_POLICY", value_name = "POLICY", default_value = "latest")]
    pub version_policy: String,
    /// Names of versions of each --model, such as stable=123,canary=124
    #[structopt(long = "version_labels", env = "TFWEB_VERSION_LABELS", value_name = "LABELS")]
    pub version_labels: Option<String>,
    /// Seconds between two checks for new versions; 0 for no checks. Default: 5 for local directories of versions, 0 for others
    #[structopt(long = "poll_seconds", env = "TFWEB_POLL_SECONDS", value_name = "SECONDS")]
    pub poll_seconds: Option<String>,
    /// Directory for downloaded models. Default: tfweb in the user's cache directory
    #[structopt(long = "cache_dir", env = "TFWEB_CACHE_DIR", value_name = "DIR", parse(from_os_str))]
    pub cache_dir: Option<PathBuf>,
    /// File that lists models, in TensorFlow Serving's text format
    #[structopt(long = "model_config_file", env = "TFWEB_MODEL_CONFIG_FILE", value_name = "FILE", parse(from_os_str))]
    pub model_config_file: Option<PathBuf>,
    /// Seconds between two checks whether --model_config_file has changed; 0 for no checks
    #[structopt(
        long = "model_config_poll_seconds",
        env = "TFWEB_MODEL_CONFIG_POLL_SECONDS",
        value_name = "SECONDS",
        default_value = "0"
    )]
    pub model_config_poll_seconds: String,
    /// Answer /readyz with 200 only while every model can be called. Without this flag one model is enough
    #[structopt(long = "strict_readiness", env = "TFWEB_STRICT_READINESS", value_name = "SWITCH", default_value = "false", hide_default_value = true, parse(try_from_str = switch))]
    pub strict_readiness: bool,
}

impl ModelFlags {
    /// The models that flags name. `may_be_added` says whether models can be added later, so that none is enough now.
    pub(super) fn specs(&self, may_be_added: bool) -> Result<Vec<ModelSpec>, Usage> {
        let wrong = |flag: &str, error: String| Usage::wrong(format!("--{flag}: {error}"));
        let policy: VersionPolicy = self.version_policy.parse().map_err(|error| wrong("version_policy", error))?;
        let labels = self.version_labels.as_deref().unwrap_or_default();
        let labels = version_labels(labels).map_err(|error| wrong("version_labels", error))?;
        let poll = self.poll_seconds.as_deref().map(|text| seconds("poll_seconds", text)).transpose()?;
        let mut specs: Vec<ModelSpec> = Vec::new();
        for model in &self.model {
            let (named, uri) = name_and_uri(model).map_err(|error| wrong("model", error))?;
            let name = named.or_else(|| self.model_name.clone().filter(|_| self.model.len() == 1)).unwrap_or_else(|| name_of(&uri));
            let spec = ModelSpec { name, uri, policy: policy.clone(), labels: labels.clone(), poll };
            check_unique(&spec, &specs).map_err(|error| wrong("model", format!("{error}; name them: --model name=URI")))?;
            specs.push(spec);
        }
        if let Some(name) = &self.model_name {
            check_name(name).map_err(|error| wrong("model_name", error))?;
            let problem = match specs.as_slice() {
                [only] if only.name == *name => String::new(),
                [only] => format!("the model is called `{}` already, by --model {}=…", only.name, only.name),
                several => format!("expected one --model, got {}", several.len()),
            };
            if !problem.is_empty() {
                return Err(wrong("model_name", problem));
            }
        }
        if specs.is_empty() && self.model_config_file.is_none() && !may_be_added {
            return Err(wrong("model", "expected a SavedModel, got nothing".into()));
        }
        Ok(specs)
    }

    pub(super) fn config_file(&self) -> Result<Option<ModelConfigFile>, Usage> {
        let poll = seconds("model_config_poll_seconds", &self.model_config_poll_seconds)?;
        let poll = (!poll.is_zero()).then_some(poll);
        Ok(self.model_config_file.clone().map(|path| ModelConfigFile { path, poll }))
    }
}

/// Reads `name=URI`, or a URI alone.
fn name_and_uri(model: &str) -> Result<(Option<String>, ModelUri), String> {
    let (name, uri) = match model.split_once('=') {
        Some((name, uri)) if check_name(name).is_ok() => (Some(name.to_owned()), uri),
        _ => (None, model),
    };
    Ok((name, ModelUri::parse(uri).map_err(|error| error.message)?))
}

fn seconds(flag: &str, text: &str) -> Result<Duration, Usage> {
    let wrong = || {
        let range = format!("0, or {POLL_SECONDS_LEAST} to {POLL_SECONDS_LIMIT} seconds");
        Usage::wrong(format!("--{flag}: expected {range}, got `{text}`"))
    };
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    match seconds {
        0.0 => Ok(Duration::ZERO),
        seconds if (POLL_SECONDS_LEAST..=POLL_SECONDS_LIMIT).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(wrong()),
    }
}
