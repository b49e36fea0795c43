//! Combines a [`ModelUri`] and the environment into the configuration of a store: its address and its credentials. Pure:
//! `connect` asks the machine and the network later.
//!
//! It reads the variables that each ecosystem's own tools read. Without credentials, requests are not signed, so that public
//! models can be read. The exception is a machine of the cloud itself, which can give credentials ([`Signing::AskMachine`]).

use std::collections::BTreeMap;
use std::fmt;

use tfweb_engine::{Code, Error};

use super::env::Env;
use super::uri::ModelUri;

/// The service of a store. Each is a cargo feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Amazon S3.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azblob,
    /// HDFS over its REST API.
    WebHdfs,
    /// HDFS over its own protocol.
    HdfsNative,
    /// Hugging Face Hub.
    Hf,
}

/// Whether requests are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// With the given credentials, or with those that the service's own rules find.
    Credentials,
    /// Not at all.
    Unsigned,
    /// With the machine's credentials, if the machine belongs to the cloud and has some; else not at all.
    AskMachine,
}

/// The configuration of a store.
#[derive(Clone, PartialEq, Eq)]
pub struct OperatorConfig {
    /// The service of the store.
    pub service: Service,
    /// The service's options by their names in opendal.
    pub options: BTreeMap<&'static str, String>,
    /// Whether requests are signed.
    pub signing: Signing,
}

impl OperatorConfig {
    /// Makes the configuration for a URI that is neither local nor an archive.
    ///
    /// # Errors
    /// `InvalidArgument` that names the variable that is missing or wrong.
    pub fn new(uri: &ModelUri, env: &Env) -> Result<Self, Error> {
        match uri {
            ModelUri::S3 { bucket, prefix } => s3(bucket, prefix, env),
            ModelUri::Gcs { bucket, prefix } => Ok(gcs(bucket, prefix, env)),
            ModelUri::Azure { endpoint, container, prefix } => azure(uri, endpoint.as_deref(), container, prefix, env),
            ModelUri::WebHdfs { endpoint, prefix } => Ok(web_hdfs(endpoint, prefix, env)),
            ModelUri::Hdfs { name_node, prefix } => {
                let with_port = |node: &str| if node.contains(':') { node.to_owned() } else { format!("{node}:{NAMENODE_PORT}") };
                let nodes: Vec<String> = name_node.split(',').filter(|node| !node.is_empty()).map(with_port).collect();
                // The HDFS client itself reads HADOOP_CONF_DIR and HADOOP_USER_NAME.
                Ok(Self::of(Service::HdfsNative, prefix).with("name_node", format!("hdfs://{}", nodes.join(","))))
            }
            ModelUri::Hf { repository, revision, prefix } => Ok(hugging_face(repository, revision.as_ref(), prefix, env)),
            ModelUri::Local(_) | ModelUri::Archive { .. } => Err(Error::internal(format!("`{uri}` is no store; this is a bug"))),
        }
    }

    fn of(service: Service, prefix: &str) -> Self {
        Self { service, options: BTreeMap::new(), signing: Signing::Credentials }.with("root", format!("/{prefix}"))
    }

    fn with(mut self, option: &'static str, value: impl Into<String>) -> Self {
        self.options.insert(option, value.into());
        self
    }

    fn with_some(self, option: &'static str, value: Option<String>) -> Self {
        match value {
            Some(value) => self.with(option, value),
            None => self,
        }
    }

    fn signed(self, signing: Signing) -> Self {
        Self { signing, ..self }
    }

    /// The address of the store. It separates stores that have the same URI.
    pub(super) fn endpoint(&self) -> Option<&str> {
        self.options.get("endpoint").map(String::as_str)
    }
}

impl fmt::Debug for OperatorConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Shows only the names, because some values are credentials.
        write!(f, "{:?} {:?} {:?}", self.service, self.signing, self.options.keys())
    }
}

/// The usual port of a namenode for HDFS's own protocol.
const NAMENODE_PORT: u16 = 8020;

const AWS_HINTS: [&str; 6] = [
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
];

fn s3(bucket: &str, prefix: &str, env: &Env) -> Result<OperatorConfig, Error> {
    let endpoint = env.first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
    // Other servers accept any region. For Amazon, `connect` asks for the bucket's region.
    let region = env.first(&["AWS_REGION", "AWS_DEFAULT_REGION"]).or_else(|| endpoint.as_ref().map(|_| "us-east-1".to_owned()));
    let elsewhere = endpoint.as_ref().is_some_and(|endpoint| !endpoint.contains("amazonaws.com"));
    let config =
        OperatorConfig::of(Service::S3, prefix).with("bucket", bucket).with_some("endpoint", endpoint).with_some("region", region);
    if env.is_true("AWS_SKIP_SIGNATURE") {
        return Ok(config.signed(Signing::Unsigned));
    }
    match (env.get("AWS_ACCESS_KEY_ID"), env.get("AWS_SECRET_ACCESS_KEY")) {
        (Some(id), Some(secret)) => Ok(config
            .with("access_key_id", id)
            .with("secret_access_key", secret)
            .with_some("session_token", env.get("AWS_SESSION_TOKEN"))
            .with("disable_config_load", "true")),
        (Some(_), None) => Err(Error::invalid("AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not")),
        (None, Some(_)) => Err(Error::invalid("AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not")),
        (None, None) if env.any(&AWS_HINTS) || env.home_has(".aws/credentials") || env.home_has(".aws/config") => {
            Ok(config.with_some("profile", env.get("AWS_PROFILE")))
        }
        (None, None) if elsewhere || env.is_true("AWS_EC2_METADATA_DISABLED") => Ok(config.signed(Signing::Unsigned)),
        (None, None) => Ok(config.signed(Signing::AskMachine)),
    }
}

fn gcs(bucket: &str, prefix: &str, env: &Env) -> OperatorConfig {
    let config = OperatorConfig::of(Service::Gcs, prefix).with("bucket", bucket);
    if let Some(emulator) = env.get("STORAGE_EMULATOR_HOST") {
        let endpoint = if emulator.contains("://") { emulator } else { format!("http://{emulator}") };
        return config.with("endpoint", endpoint.trim_end_matches('/')).signed(Signing::Unsigned);
    }
    match env.get("GOOGLE_APPLICATION_CREDENTIALS") {
        Some(path) => config.with("credential_path", path).with("disable_vm_metadata", "true"),
        None if env.home_has(".config/gcloud/application_default_credentials.json") => config.with("disable_vm_metadata", "true"),
        None if env.is_true("NO_GCE_CHECK") => config.signed(Signing::Unsigned),
        None => config.signed(Signing::AskMachine),
    }
}

const AZURE_HINTS: [&str; 4] = ["AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT", "MSI_ENDPOINT"];

fn azure(uri: &ModelUri, endpoint: Option<&str>, container: &str, prefix: &str, env: &Env) -> Result<OperatorConfig, Error> {
    let connection = env.get("AZURE_STORAGE_CONNECTION_STRING").unwrap_or_default();
    let connection: BTreeMap<&str, &str> = connection
        .split(';')
        .filter_map(|setting| setting.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    let setting = |key: &str| connection.get(key).map(|value| (*value).to_owned());
    let account = env.first(&["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"]).or_else(|| setting("AccountName"));
    let from_environment = env.get("AZURE_STORAGE_SERVICE_ENDPOINT").or_else(|| setting("BlobEndpoint")).or_else(|| {
        let protocol = connection.get("DefaultEndpointsProtocol").unwrap_or(&"https");
        let suffix = connection.get("EndpointSuffix").unwrap_or(&"core.windows.net");
        account.as_ref().map(|account| format!("{protocol}://{account}.blob.{suffix}"))
    });
    let Some(endpoint) = endpoint.map(str::to_owned).or_else(|| from_environment.clone()) else {
        return Err(Error::invalid(format!(
            "`{uri}`: of which account? set AZURE_STORAGE_ACCOUNT, or write abfss://container@account.dfs.core.windows.net/path"
        )));
    };
    // Credentials of one account must not be sent to another.
    let named = endpoint.split("://").nth(1).and_then(|host| host.split_once(".blob.")).map(|(account, _)| account.to_owned());
    let is_ours = named.is_none() || account.is_none() || named == account;
    let config = OperatorConfig::of(Service::Azblob, prefix)
        .with("container", container)
        .with("endpoint", endpoint.trim_end_matches('/'))
        .with_some("account_name", if is_ours { account.or(named) } else { named });
    let key = env.first(&["AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"]).or_else(|| setting("AccountKey"));
    let token = env.get("AZURE_STORAGE_SAS_TOKEN").or_else(|| setting("SharedAccessSignature"));
    let token = token.map(|token| token.trim_start_matches('?').to_owned());
    Ok(match (key, token) {
        (Some(key), _) if is_ours => config.with("account_key", key),
        (None, Some(token)) if is_ours => config.with("sas_token", token),
        _ if env.any(&AZURE_HINTS) => config,
        _ => config.signed(Signing::AskMachine),
    })
}

fn web_hdfs(endpoint: &str, prefix: &str, env: &Env) -> OperatorConfig {
    OperatorConfig::of(Service::WebHdfs, prefix)
        .with("endpoint", endpoint)
        // Gateways (HttpFS) do not support listing in batches.
        .with("disable_list_batch", "true")
        .with_some("user_name", env.get("HADOOP_USER_NAME"))
}

fn hugging_face(repository: &str, revision: Option<&String>, prefix: &str, env: &Env) -> OperatorConfig {
    OperatorConfig::of(Service::Hf, prefix)
        .with("repo_type", "model")
        .with("repo_id", repository)
        .with("download_mode", "http")
        .with_some("revision", revision.cloned())
        .with_some("token", env.get("HF_TOKEN"))
        .with_some("endpoint", env.get("HF_ENDPOINT"))
}

/// The error for a scheme whose feature is not built in.
pub(super) fn not_built(uri: &ModelUri, feature: &str) -> Error {
    Error::new(Code::Unimplemented, format!("`{uri}`: this tfweb was built without it; build it with --features {feature}"))
}

#[cfg(test)]
#[path = "operator_tests.rs"]
mod tests;
