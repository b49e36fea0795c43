//! Reads the file of models (`--model_config_file`), in TensorFlow Serving's text format.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use prost_reflect::{DescriptorPool, DynamicMessage};
use tfweb_engine::Error;

use tfweb_proto::tensorflow::serving::file_system_storage_path_source_config::servable_version_policy::PolicyChoice;
use tfweb_proto::tensorflow::serving::model_server_config::Config;
use tfweb_proto::tensorflow::serving::{ModelConfig, ModelServerConfig};
use tfweb_proto::DESCRIPTORS;
use tfweb_store::ModelUri;

use super::spec::{check_name, check_unique, ModelSpec};
use super::version_policy::VersionPolicy;
use crate::watched_files::{Contents, WatchedFiles};

const MESSAGE: &str = "tensorflow.serving.ModelServerConfig";

/// A file that lists models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelConfigFile {
    /// The path of the file.
    pub path: PathBuf,
    /// How often the server reads the file again; `None` for never.
    pub poll: Option<Duration>,
}

fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(DESCRIPTORS).expect("made by the build; this is a bug"))
}

/// Reads a file of models. It blocks until the file is whole.
///
/// # Errors
/// `InvalidArgument` that names the file, the place in it, and what was expected.
pub fn read(path: &Path) -> Result<Vec<ModelSpec>, Error> {
    parse(path, &WatchedFiles::new(vec![path.to_path_buf()]).first()?)
}

/// Parses the contents of a file of models.
///
/// # Errors
/// Those of [`read`].
pub(super) fn parse(path: &Path, contents: &Contents) -> Result<Vec<ModelSpec>, Error> {
    let text = std::str::from_utf8(&contents.concat()).map_err(|_| "expected text".to_owned()).and_then(parse_text);
    text.map_err(|error| Error::invalid(format!("`{}`: {error}", path.display())))
}

/// Parses the text of such a file.
///
/// # Errors
/// A text that names the place, what was expected, and what was found.
pub fn parse_text(text: &str) -> Result<Vec<ModelSpec>, String> {
    let message = pool().get_message_by_name(MESSAGE).ok_or("its message is not known; this is a bug")?;
    let config = DynamicMessage::parse_text_format(message, text).map_err(|error| error.to_string())?;
    specs(&config.transcode_to().map_err(|error| error.to_string())?)
}

/// Converts a configuration into the models that it lists.
///
/// # Errors
/// A text that names the model, what was expected, and what was found.
pub fn specs(config: &ModelServerConfig) -> Result<Vec<ModelSpec>, String> {
    // A file that an editor is just writing is empty for a moment. It must not remove all models.
    let Some(Config::ModelConfigList(list)) = &config.config else {
        return Err("expected model_config_list, got nothing; `model_config_list {}` is an empty one".to_owned());
    };
    let mut specs: Vec<ModelSpec> = Vec::new();
    for config in &list.config {
        let spec = spec(config)?;
        check_unique(&spec, &specs)?;
        specs.push(spec);
    }
    Ok(specs)
}

fn spec(config: &ModelConfig) -> Result<ModelSpec, String> {
    let name = config.name.clone();
    let wrong = |error: &dyn std::fmt::Display| format!("model `{name}`: {error}");
    check_name(&name).map_err(|error| wrong(&error))?;
    let platform = config.model_platform.as_str();
    if !["", "tensorflow"].contains(&platform) {
        return Err(wrong(&format!("model_platform: expected \"tensorflow\", got \"{platform}\"")));
    }
    let uri = ModelUri::parse(&config.base_path).map_err(|error| wrong(&format!("base_path: {error}")))?;
    // A path that depends on where the server was started would mean another model elsewhere.
    if matches!(&uri, ModelUri::Local(path) if !path.is_absolute()) {
        return Err(wrong(&format!("base_path: expected an absolute path or a URI, got `{uri}`")));
    }
    let choice = config.model_version_policy.as_ref().and_then(|policy| policy.policy_choice.as_ref());
    let policy = choice.map_or(Ok(VersionPolicy::default()), policy_of).map_err(|error| wrong(&error))?;
    let labels = config.version_labels.iter().map(|(label, &number)| {
        let number = u64::try_from(number).map_err(|_| wrong(&"version_labels: expected versions of 0 or more"))?;
        Ok((label.clone(), number))
    });
    let labels = labels.collect::<Result<_, String>>()?;
    Ok(ModelSpec { policy, name, uri, labels, poll: None })
}

fn policy_of(choice: &PolicyChoice) -> Result<VersionPolicy, String> {
    match choice {
        PolicyChoice::Latest(latest) => Ok(VersionPolicy::Latest(latest.num_versions.max(1) as usize)),
        PolicyChoice::All(_) => Ok(VersionPolicy::All),
        PolicyChoice::Specific(specific) => {
            let numbers: Result<Vec<u64>, _> = specific.versions.iter().map(|&number| u64::try_from(number)).collect();
            numbers.map(VersionPolicy::Specific).map_err(|_| "specific: expected versions of 0 or more".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_read_as_tensorflow_serving_writes_them() {
        let text = r#"
            # Comments are welcome.
            model_config_list {
              config { name: "a" base_path: "/models/a" model_platform: "tensorflow" }
              config: {
                name: 'b', base_path: "s3://bucket/b"
                model_version_policy { specific { versions: 42 versions: 43 } }
                version_labels { key: "stable" value: 42 }
                version_labels { key: "canary" value: 43 }
              };
              config { name: "c" base_path: "/c" model_version_policy: { all: {} } }
              config { name: "d" base_path: "/d" model_version_policy: { latest: { num_versions: 3 } } }
              config { name: "e" base_path: "/e" model_version_policy: { latest {} } }
            }"#;
        let specs = parse_text(text).unwrap();
        let policies: Vec<&VersionPolicy> = specs.iter().map(|spec| &spec.policy).collect();
        let specific = VersionPolicy::Specific(vec![42, 43]);
        let latest = VersionPolicy::Latest;
        assert_eq!(policies, [&latest(1), &specific, &VersionPolicy::All, &latest(3), &latest(1)]);
        assert_eq!((specs[0].name.as_str(), specs[1].uri.to_string().as_str()), ("a", "s3://bucket/b"));
        assert_eq!(specs[1].labels, [("stable".to_owned(), 42), ("canary".to_owned(), 43)].into());
        assert_eq!(parse_text("model_config_list {}").unwrap(), []);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expect) in [
            ("model_config_list { config { nome: \"a\" } }", "nome"),
            ("model_config_list {", "end"),
            ("# nothing", "expected model_config_list, got nothing"),
            ("model_config_list { config { name: 5 } }", "expected"),
            ("model_config_list { config { name: \"a/b\" base_path: \"/a\" } }", "model `a/b`: expected a name"),
            ("model_config_list { config { name: \"a\" } }", "model `a`: base_path: "),
            ("model_config_list { config { name: \"a\" base_path: \"ftp://x\" } }", "base_path: `ftp://x`: expected"),
            ("model_config_list { config { name: \"a\" base_path: \"a/b\" } }", "expected an absolute path or a URI, got `a/b`"),
            ("model_config_list { config { name: \"a\" base_path: \"/a\" model_platform: \"onnx\" } }", "got \"onnx\""),
            (
                "model_config_list { config { name: \"a\" base_path: \"/a\" } config { name: \"a\" base_path: \"/b\" } }",
                "two models are called `a`: `/a` and `/b`",
            ),
            (
                "model_config_list { config { name: \"a\" base_path: \"/a\" version_labels { key: \"l\" value: -1 } } }",
                "version_labels: expected versions of 0 or more",
            ),
        ] {
            let error = parse_text(text).unwrap_err();
            assert!(error.contains(expect), "{text}: {error}");
        }
        for mistake in ["\"https://h/m.zip?sig=secret\" 5", "https://h/m.zip?sig=secret", "\"https://h/m?sig=secret\""] {
            let error = parse_text(&format!("model_config_list {{ config {{ name: \"a\" base_path: {mistake} }} }}")).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
