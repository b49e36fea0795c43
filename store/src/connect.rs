//! Makes an opendal operator, with time limits and retries, from an [`OperatorConfig`]. Translates opendal's errors.

use std::collections::HashMap;
use std::time::Duration;

use opendal::layers::{RetryEvent, RetryLayer, TimeoutLayer};
use opendal::{ErrorKind, HttpTransporter, Operator};
use reqwest::Client;
use tfweb_engine::{Code, Error};

use super::http::{self, cause, without_queries};
use super::limited::LimitedTransport;
use super::operator::{not_built, OperatorConfig, Service, Signing};
use super::outage::Outage;
use super::uri::ModelUri;

/// The time limit for a cloud machine's metadata service. It answers from the machine's own network.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);
/// A larger file is read in several ranges at once, because stores limit the speed of each connection. So no answer is larger.
pub(super) const ANSWER_BYTES_MAX: u64 = 32 << 20;
/// The server of Amazon that tells the region of any bucket.
const AWS_ENDPOINT: &str = "https://s3.amazonaws.com";

/// Makes the operator of a store. It reads nothing from the store yet.
///
/// # Errors
/// `Unimplemented` for a feature that is not built in; `InvalidArgument` for an option that the service refuses.
///
/// # Cancel safety
/// Nothing is left behind.
pub(super) async fn connect(uri: &ModelUri, config: &OperatorConfig, client: &Client, outage: &Outage) -> Result<Operator, Error> {
    let mut options: HashMap<String, String> =
        config.options.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let is_signed = match config.signing {
        Signing::Credentials => true,
        Signing::Unsigned => false,
        Signing::AskMachine => machine_has_credentials(config.service).await,
    };
    if !is_signed {
        options.insert("skip_signature".to_owned(), "true".to_owned());
    }
    if config.service == Service::S3 && !options.contains_key("region") {
        let bucket = options.get("bucket").cloned().unwrap_or_default();
        options.insert("region".to_owned(), region_of(&bucket, client).await);
    }
    let operator = build(uri, config.service, options)?;
    let transport = HttpTransporter::new(LimitedTransport::for_files(client, ANSWER_BYTES_MAX));
    let context = operator.base_context().with_http_transport(transport);
    let (name, outage) = (uri.to_string(), outage.clone());
    let notify = move |event: RetryEvent<'_>| outage.retry(&format_args!("{name}: {}", reason(event.err)), event.retry_after);
    let retry = RetryLayer::new()
        .with_max_times(http::RETRIES)
        .with_min_delay(http::RETRY_DELAY_MIN)
        .with_max_delay(http::RETRY_DELAY_MAX)
        .with_jitter()
        .with_notify(notify);
    let timeout = TimeoutLayer::new().with_timeout(http::IDLE_TIMEOUT).with_io_timeout(http::IDLE_TIMEOUT);
    Ok(operator.with_context(context).layer(timeout).layer(retry))
}

/// The same operator for one listing, whose answers have limits.
pub(super) fn for_listing(operator: &Operator, client: &Client) -> Operator {
    let transport = HttpTransporter::new(LimitedTransport::for_listing(client));
    let context = operator.base_context().with_http_transport(transport);
    operator.clone().with_context(context)
}

/// Checks that the service's feature is built in.
pub(super) fn check_built(uri: &ModelUri, service: Service) -> Result<(), Error> {
    let (feature, is_built) = match service {
        Service::S3 => ("s3", cfg!(feature = "s3")),
        Service::Gcs => ("gcs", cfg!(feature = "gcs")),
        Service::Azblob => ("azblob", cfg!(feature = "azblob")),
        Service::WebHdfs => ("webhdfs", cfg!(feature = "webhdfs")),
        Service::HdfsNative => ("hdfs-native", cfg!(feature = "hdfs-native")),
        Service::Hf => ("hf", cfg!(feature = "hf")),
    };
    if is_built {
        Ok(())
    } else {
        Err(not_built(uri, feature))
    }
}

#[allow(unused_variables, reason = "without features no service takes options")]
#[allow(unreachable_code, unreachable_patterns, reason = "with all of them no other is left, with none all are")]
#[allow(clippy::wildcard_enum_match_arm, reason = "which are left depends on features")]
fn build(uri: &ModelUri, service: Service, options: HashMap<String, String>) -> Result<Operator, Error> {
    let operator: opendal::Result<Operator> = match service {
        #[cfg(feature = "s3")]
        Service::S3 => Operator::from_iter::<opendal::services::S3>(options),
        #[cfg(feature = "gcs")]
        Service::Gcs => Operator::from_iter::<opendal::services::Gcs>(options),
        #[cfg(feature = "azblob")]
        Service::Azblob => Operator::from_iter::<opendal::services::Azblob>(options),
        #[cfg(feature = "webhdfs")]
        Service::WebHdfs => Operator::from_iter::<opendal::services::Webhdfs>(options),
        #[cfg(feature = "hdfs-native")]
        Service::HdfsNative => Operator::from_iter::<opendal::services::HdfsNative>(options),
        #[cfg(feature = "hf")]
        Service::Hf => hugging_face(&options),
        _ => return check_built(uri, service).and(Err(Error::internal("no such service; this is a bug"))),
    };
    operator.map_err(|error| Error::invalid(format!("`{uri}`: {}", reason(&error))))
}

/// Hugging Face's configuration cannot read its own enums from text, so this uses the builder.
#[cfg(feature = "hf")]
fn hugging_face(options: &HashMap<String, String>) -> opendal::Result<Operator> {
    // The builder treats an empty text as not set.
    let option = |name: &str| options.get(name).map_or("", String::as_str);
    let builder = opendal::services::Hf::default()
        .repo_type(option("repo_type"))
        .repo_id(option("repo_id"))
        .revision(option("revision"))
        .root(option("root"))
        .token(option("token"))
        .endpoint(option("endpoint"))
        .download_mode(option("download_mode"));
    Operator::new(builder)
}

/// Translates an error of opendal. `doing` is what failed, such as "cannot list".
pub(super) fn explain(uri: &ModelUri, doing: &str, error: &opendal::Error) -> Error {
    #[allow(clippy::wildcard_enum_match_arm, reason = "opendal adds kinds as it likes")]
    let code = match error.kind() {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::ConfigInvalid if error.message().contains("NoSuchBucket") => Code::NotFound,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::ConfigInvalid => Code::InvalidArgument,
        ErrorKind::Unsupported => Code::Unimplemented,
        // All other errors are the store's or the network's, and may pass.
        _ => Code::Unavailable,
    };
    let hint = match (error.kind(), uri) {
        (ErrorKind::PermissionDenied, ModelUri::S3 { .. }) => {
            "; see AWS_ACCESS_KEY_ID, or AWS_SKIP_SIGNATURE=true for a public bucket"
        }
        (ErrorKind::PermissionDenied, ModelUri::Gcs { .. }) => "; see GOOGLE_APPLICATION_CREDENTIALS",
        (ErrorKind::PermissionDenied, ModelUri::Azure { .. }) => "; see AZURE_STORAGE_KEY and AZURE_STORAGE_SAS_TOKEN",
        (ErrorKind::PermissionDenied, ModelUri::WebHdfs { .. } | ModelUri::Hdfs { .. }) => "; see HADOOP_USER_NAME",
        (ErrorKind::PermissionDenied, ModelUri::Hf { .. }) => "; see HF_TOKEN",
        _ => "",
    };
    Error::new(code, format!("`{uri}`: {doing}: {}{hint}", reason(error)))
}

/// The innermost reason. The outer ones repeat it with the request, which is long and holds signatures.
fn reason(error: &opendal::Error) -> String {
    let message = without_queries(error.message());
    match std::error::Error::source(error) {
        Some(source) => format!("{message}: {}", cause(source)),
        None if message.is_empty() => error.kind().to_string(),
        None => code_and_message(&message).unwrap_or_else(|| format!("{}: {message}", error.kind())),
    }
}

/// Shortens `S3Error { code: "NoSuchBucket", message: "It does not exist", … }` to `NoSuchBucket: It does not exist`.
fn code_and_message(message: &str) -> Option<String> {
    let field = |name: &str| message.split_once(&format!("{name}: \""))?.1.split('"').next();
    Some(format!("{}: {}", field("code")?, field("message")?))
}

/// Whether this machine belongs to the service's cloud and has credentials.
async fn machine_has_credentials(service: Service) -> bool {
    let Ok(client) = http::metadata_client(METADATA_TIMEOUT) else { return false };
    let request = match service {
        Service::S3 => {
            let token = client.put("http://169.254.169.254/latest/api/token").header("x-aws-ec2-metadata-token-ttl-seconds", "60");
            let Ok(token) = token.send().await else { return false };
            let Ok(token) = token.text().await else { return false };
            let roles = "http://169.254.169.254/latest/meta-data/iam/security-credentials/";
            client.get(roles).header("x-aws-ec2-metadata-token", token)
        }
        Service::Gcs => {
            let account = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/email";
            client.get(account).header("Metadata-Flavor", "Google")
        }
        Service::Azblob => {
            let token = "http://169.254.169.254/metadata/identity/oauth2/token\
                         ?api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com%2F";
            client.get(token).header("Metadata", "true")
        }
        Service::WebHdfs | Service::HdfsNative | Service::Hf => return false,
    };
    request.send().await.is_ok_and(|response| response.status().is_success())
}

/// The region of a bucket at Amazon, which tells it to everybody.
async fn region_of(bucket: &str, client: &Client) -> String {
    let response = client.head(format!("{AWS_ENDPOINT}/{bucket}")).send().await;
    let region = response.ok().and_then(|response| response.headers().get("x-amz-bucket-region")?.to_str().ok().map(str::to_owned));
    region.unwrap_or_else(|| "us-east-1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_one_line_with_what_the_store_said() {
        let uri = ModelUri::parse("s3://b/m").unwrap();
        let said = |kind, message: &str| explain(&uri, "cannot list", &opendal::Error::new(kind, message));
        let error = said(ErrorKind::ConfigInvalid, r#"S3Error { code: "NoSuchBucket", message: "no such", resource: "" }"#);
        assert_eq!((error.code, error.message.as_str()), (Code::NotFound, "`s3://b/m`: cannot list: NoSuchBucket: no such"));
        let error = said(ErrorKind::PermissionDenied, "");
        assert!(error.message.starts_with("`s3://b/m`: cannot list: PermissionDenied; see AWS_ACCESS_KEY_ID"), "{error}");
        let error = said(ErrorKind::Unexpected, "bad\nthing at http://h/x?sig=secret");
        assert_eq!(error.message, "`s3://b/m`: cannot list: Unexpected: bad thing at http://h/x?…");
    }

    #[test]
    fn what_is_not_built_in_says_which_feature_it_takes() {
        for (service, feature, is_built) in [
            (Service::Hf, "hf", cfg!(feature = "hf")),
            (Service::HdfsNative, "hdfs-native", cfg!(feature = "hdfs-native")),
            (Service::S3, "s3", cfg!(feature = "s3")),
        ] {
            let built = check_built(&ModelUri::parse("hf://o/r").unwrap(), service);
            let expected = format!("`hf://o/r`: this tfweb was built without it; build it with --features {feature}");
            assert_eq!(built.map_err(|error| error.message), if is_built { Ok(()) } else { Err(expected) });
        }
    }

    #[test]
    fn every_service_takes_its_configuration() {
        let variables = [
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "eu-central-1"),
            ("GOOGLE_APPLICATION_CREDENTIALS", "/key.json"),
            ("AZURE_STORAGE_KEY", "c2VjcmV0"),
            ("HADOOP_USER_NAME", "me"),
            ("HF_TOKEN", "token"),
            ("HF_ENDPOINT", "http://localhost"),
        ];
        let uris = [
            "s3://b/m",
            "gs://b/m",
            "abfss://c@acc.dfs.core.windows.net/m",
            "webhdfs://nn:9870/m",
            "hdfs://one,two/m",
            "hf://o/r@v1/m",
        ];
        for uri in uris {
            let uri = ModelUri::parse(uri).unwrap();
            let config = OperatorConfig::new(&uri, &crate::env::Env::of(&variables)).unwrap();
            let connected =
                actix::System::new().block_on(async { connect(&uri, &config, &http::client().unwrap(), &Outage::default()).await });
            let is_built = check_built(&uri, config.service).is_ok();
            assert_eq!(connected.is_ok(), is_built, "{uri}: {connected:?}");
        }
    }
}
