//! URI and environment → configuration, for every scheme.

use super::*;

/// The configuration as text: service, signing, options.
fn text(uri: &str, env: &Env) -> String {
    match OperatorConfig::new(&ModelUri::parse(uri).unwrap(), env) {
        Ok(config) => {
            let options: Vec<String> = config.options.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{:?} {:?} {}", config.service, config.signing, options.join(" "))
        }
        Err(error) => error.message,
    }
}

#[track_caller]
fn check(uri: &str, variables: &[(&str, &str)], expected: &str) {
    assert_eq!(text(uri, &Env::of(variables)), expected);
}

#[test]
fn s3_takes_what_the_aws_tools_take() {
    let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "key")];
    let signed = "access_key_id=id bucket=b disable_config_load=true";
    check("s3://b/a/m", &keys, &format!("S3 Credentials {signed} root=/a/m secret_access_key=key"));
    check(
        "s3://b/m",
        &[keys[0], keys[1], ("AWS_SESSION_TOKEN", "t"), ("AWS_DEFAULT_REGION", "eu"), ("AWS_REGION", "us")],
        &format!("S3 Credentials {signed} region=us root=/m secret_access_key=key session_token=t"),
    );
    check(
        "s3://b/m",
        &[keys[0], keys[1], ("AWS_ENDPOINT_URL", "http://all"), ("AWS_ENDPOINT_URL_S3", "http://minio:9000")],
        &format!("S3 Credentials {signed} endpoint=http://minio:9000 region=us-east-1 root=/m secret_access_key=key"),
    );
    check("s3://b/m", &[("AWS_PROFILE", "p"), ("AWS_REGION", "eu")], "S3 Credentials bucket=b profile=p region=eu root=/m");
    check("s3://b/m", &[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")], "S3 Credentials bucket=b root=/m");
    check("s3://b/m", &keys[..1], "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not");
    check("s3://b/m", &keys[1..], "AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not");
}

#[test]
fn s3_without_credentials_is_read_unsigned() {
    check("s3://b/m", &[], "S3 AskMachine bucket=b root=/m");
    check("s3://b/m", &[("AWS_EC2_METADATA_DISABLED", "true")], "S3 Unsigned bucket=b root=/m");
    let minio = ("AWS_ENDPOINT_URL", "http://minio:9000");
    check("s3://b/m", &[minio], "S3 Unsigned bucket=b endpoint=http://minio:9000 region=us-east-1 root=/m");
    check("s3://b/m", &[("AWS_SKIP_SIGNATURE", "true"), ("AWS_PROFILE", "p")], "S3 Unsigned bucket=b root=/m");
    let home = Env::of(&[("HOME", "/home/u")]).with_files(&["/home/u/.aws/credentials"]);
    assert_eq!(text("s3://b/m", &home), "S3 Credentials bucket=b root=/m");
}

#[test]
fn gcs_takes_what_the_google_tools_take() {
    check("gs://b/m", &[], "Gcs AskMachine bucket=b root=/m");
    check(
        "gs://b/m",
        &[("GOOGLE_APPLICATION_CREDENTIALS", "/k.json")],
        "Gcs Credentials bucket=b credential_path=/k.json disable_vm_metadata=true root=/m",
    );
    let home = Env::of(&[("HOME", "/u")]).with_files(&["/u/.config/gcloud/application_default_credentials.json"]);
    assert_eq!(text("gs://b/m", &home), "Gcs Credentials bucket=b disable_vm_metadata=true root=/m");
    check(
        "gs://b/m",
        &[("STORAGE_EMULATOR_HOST", "localhost:9023")],
        "Gcs Unsigned bucket=b endpoint=http://localhost:9023 root=/m",
    );
    check("gs://b/m", &[("STORAGE_EMULATOR_HOST", "https://e:1/")], "Gcs Unsigned bucket=b endpoint=https://e:1 root=/m");
    check("gs://b/m", &[("NO_GCE_CHECK", "true")], "Gcs Unsigned bucket=b root=/m");
}

#[test]
fn azure_takes_what_the_azure_tools_take() {
    let (account, key) = (("AZURE_STORAGE_ACCOUNT", "acc"), ("AZURE_STORAGE_KEY", "k=="));
    let endpoint = "endpoint=https://acc.blob.core.windows.net";
    check("az://c/m", &[account], &format!("Azblob AskMachine account_name=acc container=c {endpoint} root=/m"));
    check(
        "az://c/m",
        &[account, key],
        &format!("Azblob Credentials account_key=k== account_name=acc container=c {endpoint} root=/m"),
    );
    check(
        "az://c/m",
        &[("AZURE_STORAGE_ACCOUNT_NAME", "acc"), ("AZURE_STORAGE_SAS_TOKEN", "?sv=1&sig=s")],
        &format!("Azblob Credentials account_name=acc container=c {endpoint} root=/m sas_token=sv=1&sig=s"),
    );
    let connection = "DefaultEndpointsProtocol=http;AccountName=dev;AccountKey=a+b==;BlobEndpoint=http://127.0.0.1:10000/dev;";
    check(
        "az://c/m",
        &[("AZURE_STORAGE_CONNECTION_STRING", connection)],
        "Azblob Credentials account_key=a+b== account_name=dev container=c endpoint=http://127.0.0.1:10000/dev root=/m",
    );
    check(
        "az://c/m",
        &[("AZURE_STORAGE_CONNECTION_STRING", "AccountName=x;EndpointSuffix=core.chinacloudapi.cn;SharedAccessSignature=sig=1")],
        "Azblob Credentials account_name=x container=c endpoint=https://x.blob.core.chinacloudapi.cn root=/m sas_token=sig=1",
    );
    let lake = "abfss://c@acc.dfs.core.windows.net/m";
    check(lake, &[], &format!("Azblob AskMachine account_name=acc container=c {endpoint} root=/m"));
    check(lake, &[key], &format!("Azblob Credentials account_key=k== account_name=acc container=c {endpoint} root=/m"));
    check(lake, &[("AZURE_CLIENT_ID", "i")], &format!("Azblob Credentials account_name=acc container=c {endpoint} root=/m"));
    let other = [("AZURE_STORAGE_ACCOUNT", "other"), key];
    check(lake, &other, &format!("Azblob AskMachine account_name=acc container=c {endpoint} root=/m"));
    let refused = text("az://c/m", &Env::of(&[key]));
    assert!(refused.starts_with("`az://c/m`: of which account? set AZURE_STORAGE_ACCOUNT"), "{refused}");
}

#[test]
fn hadoop_and_hugging_face() {
    check(
        "webhdfs://nn:9870/a/m",
        &[("HADOOP_USER_NAME", "me")],
        "WebHdfs Credentials disable_list_batch=true endpoint=http://nn:9870 root=/a/m user_name=me",
    );
    check("hdfs://nn:8020/a/m", &[], "HdfsNative Credentials name_node=hdfs://nn:8020 root=/a/m");
    check("hdfs://one,two:8021/m", &[], "HdfsNative Credentials name_node=hdfs://one:8020,two:8021 root=/m");
    check("hf://o/r", &[], "Hf Credentials download_mode=http repo_id=o/r repo_type=model root=/");
    check(
        "hf://o/r@v1/sub",
        &[("HF_TOKEN", "t"), ("HF_ENDPOINT", "http://hub")],
        "Hf Credentials download_mode=http endpoint=http://hub repo_id=o/r repo_type=model revision=v1 root=/sub token=t",
    );
}

#[test]
fn credentials_are_not_debugged() {
    let env = Env::of(&[("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
    let config = OperatorConfig::new(&ModelUri::parse("s3://b/m").unwrap(), &env).unwrap();
    assert!(!format!("{config:?} {env:?}").contains("secret\""), "{config:?}");
}
