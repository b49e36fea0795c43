//! `--model_config_file`: which models are served, in TensorFlow Serving's text format.

use std::path::Path;
use std::sync::OnceLock;

use prost_reflect::{DescriptorPool, DynamicMessage, Value};
use tfweb_engine::Error;

use crate::keeper::ModelSpec;
use crate::policy::VersionPolicy;
use crate::store::ModelUri;

/// The descriptors of `proto/`, made at build time.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
const MESSAGE: &str = "tensorflow.serving.ModelServerConfig";
/// The most bytes of such a file: thousands of models.
const FILE_BYTES_MAX: u64 = 4 << 20;

fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(DESCRIPTORS).expect("made by the build; this is a bug"))
}

/// Reads a file of models.
///
/// # Errors
/// `InvalidArgument` naming the file, the place and what was expected.
pub fn read(path: &Path) -> Result<Vec<ModelSpec>, Error> {
    let wrong = |error: &dyn std::fmt::Display| Error::invalid(format!("`{}`: {error}", path.display()));
    let bytes = std::fs::metadata(path).map_err(|error| wrong(&error))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(wrong(&format!("{bytes} bytes, limit {FILE_BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    parse(&text).map_err(|error| wrong(&error))
}

/// Reads the text of such a file.
fn parse(text: &str) -> Result<Vec<ModelSpec>, String> {
    let message = pool().get_message_by_name(MESSAGE).ok_or("its message is not known; this is a bug")?;
    let config = DynamicMessage::parse_text_format(message, text).map_err(|error| error.to_string())?;
    let list = config.get_field_by_name("model_config_list").map(std::borrow::Cow::into_owned);
    let configs = list.as_ref().and_then(Value::as_message).and_then(|list| list.get_field_by_name("config"));
    let configs = configs.map(std::borrow::Cow::into_owned);
    let mut specs: Vec<ModelSpec> = Vec::new();
    for config in configs.as_ref().and_then(Value::as_list).unwrap_or_default() {
        let spec = spec(config.as_message().ok_or("config is no message; this is a bug")?)?;
        if specs.iter().any(|other| other.name == spec.name) {
            return Err(format!("two models are called `{}`", spec.name));
        }
        specs.push(spec);
    }
    Ok(specs)
}

fn spec(config: &DynamicMessage) -> Result<ModelSpec, String> {
    let text =
        |field: &str| config.get_field_by_name(field).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    let name = text("name");
    let wrong = |error: &dyn std::fmt::Display| format!("model `{name}`: {error}");
    if !is_model_name(&name) {
        return Err(wrong(&"expected a name of letters, digits, `_`, `-` and `.`"));
    }
    let platform = text("model_platform");
    if !["", "tensorflow"].contains(&platform.as_str()) {
        return Err(wrong(&format!("model_platform: expected \"tensorflow\", got \"{platform}\"")));
    }
    let uri = ModelUri::parse(&text("base_path")).map_err(|error| wrong(&format!("base_path: {error}")))?;
    let policy = config.get_field_by_name("model_version_policy");
    let policy = policy.as_ref().and_then(|policy| policy.as_message()).map_or(Ok(VersionPolicy::default()), policy_of);
    let labels = config.get_field_by_name("version_labels");
    let labels = labels.as_ref().and_then(|labels| labels.as_map()).into_iter().flatten().map(|(label, number)| {
        let number = number.as_i64().and_then(|number| u64::try_from(number).ok());
        let number = number.ok_or_else(|| wrong(&"version_labels: expected versions of 0 or more"))?;
        Ok((label.as_str().unwrap_or_default().to_owned(), number))
    });
    let labels = labels.collect::<Result<_, String>>()?;
    Ok(ModelSpec { policy: policy.map_err(|error| wrong(&error))?, name, uri, labels, poll: None })
}

fn policy_of(policy: &DynamicMessage) -> Result<VersionPolicy, String> {
    let part = |field: &str| policy.has_field_by_name(field).then(|| policy.get_field_by_name(field)).flatten();
    if let Some(latest) = part("latest") {
        let count =
            latest.as_message().and_then(|latest| latest.get_field_by_name("num_versions")).and_then(|count| count.as_u32());
        return Ok(VersionPolicy::Latest(count.unwrap_or(1).max(1) as usize));
    }
    if let Some(specific) = part("specific") {
        let versions = specific.as_message().and_then(|specific| specific.get_field_by_name("versions"));
        let versions = versions.as_ref().and_then(|versions| versions.as_list()).unwrap_or_default();
        let number = |version: &Value| version.as_i64().and_then(|version| u64::try_from(version).ok());
        let numbers: Option<Vec<u64>> = versions.iter().map(number).collect();
        return numbers.map(VersionPolicy::Specific).ok_or_else(|| "specific: expected versions of 0 or more".into());
    }
    Ok(if part("all").is_some() { VersionPolicy::All } else { VersionPolicy::default() })
}

/// Whether a text can be a model's name in routes.
#[must_use]
pub fn is_model_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
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
        let specs = parse(text).unwrap();
        let policies: Vec<&VersionPolicy> = specs.iter().map(|spec| &spec.policy).collect();
        let specific = VersionPolicy::Specific(vec![42, 43]);
        let latest = VersionPolicy::Latest;
        assert_eq!(policies, [&latest(1), &specific, &VersionPolicy::All, &latest(3), &latest(1)]);
        assert_eq!((specs[0].name.as_str(), specs[1].uri.to_string().as_str()), ("a", "s3://bucket/b"));
        assert_eq!(specs[1].labels, [("stable".to_owned(), 42), ("canary".to_owned(), 43)].into());
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expect) in [
            ("model_config_list { config { nome: \"a\" } }", "nome"),
            ("model_config_list {", "end"),
            ("model_config_list { config { name: 5 } }", "expected"),
            ("model_config_list { config { name: \"a/b\" base_path: \"/a\" } }", "model `a/b`: expected a name"),
            ("model_config_list { config { name: \"a\" } }", "model `a`: base_path: "),
            ("model_config_list { config { name: \"a\" base_path: \"ftp://x\" } }", "base_path: `ftp://x`: expected"),
            ("model_config_list { config { name: \"a\" base_path: \"/a\" model_platform: \"onnx\" } }", "got \"onnx\""),
            (
                "model_config_list { config { name: \"a\" base_path: \"/a\" } config { name: \"a\" base_path: \"/b\" } }",
                "two models are called `a`",
            ),
            (
                "model_config_list { config { name: \"a\" base_path: \"/a\" version_labels { key: \"l\" value: -1 } } }",
                "version_labels: expected versions of 0 or more",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expect), "{text}: {error}");
        }
    }
}
