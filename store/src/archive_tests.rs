//! The place of versions in an archive, and the headers of requests to its server.

use super::*;

/// The top directory and the versions, or the error.
fn check(url: &str, paths: &str) -> String {
    let file = |path: &str| File { path: path.to_owned(), size: 1, stamp: "a".into() };
    let uri = ModelUri::parse(url).unwrap();
    match layout(&uri, paths.split_whitespace().map(file).collect()) {
        Ok(Content { top, listing }) => {
            let versions: Vec<String> =
                listing.versions.iter().map(|version| format!("{}={:?}", version.number, version.directory)).collect();
            format!("{top:?} {}", versions.join(" "))
        }
        Err(error) => error.message,
    }
}

#[test]
fn model_is_at_the_root_or_one_level_down() {
    let url = "http://h/m.zip";
    assert_eq!(check(url, "saved_model.pb"), r#""" 1="""#);
    assert_eq!(check("http://h/7.tgz", "saved_model.pb"), r#""" 7="""#);
    assert_eq!(check(url, "1/saved_model.pb 2/saved_model.pb"), r#""" 1="1" 2="2""#);
    assert_eq!(check(url, "m/saved_model.pb m/variables/v __MACOSX/m/._saved_model.pb"), r#""m" 1="""#);
    assert_eq!(check(url, "m/1/saved_model.pb m/3/saved_model.pb README"), r#""m" 1="1" 3="3""#);
    assert_eq!(
        check(url, "a/saved_model.pb b/saved_model.pb"),
        r#"`http://h/m.zip`: expected one model, found them in "a" and "b""#
    );
    assert!(check(url, "a/b/saved_model.pb").contains("is no SavedModel"));
    assert!(check(url, "").contains("there is nothing"));
}

#[test]
fn only_what_is_new_is_asked_for() {
    let sent = |known: Option<(&str, &str)>, bytes: u64, etag: Option<&str>| {
        let known = known.map(|(etag, last_modified)| Manifest {
            identity: String::new(),
            version: String::new(),
            etag: Some(etag.to_owned()),
            last_modified: Some(last_modified.to_owned()),
            files: Vec::new(),
        });
        let received = Received { bytes, etag: etag.map(str::to_owned), last_modified: None, md5: None };
        let headers = conditions(known.as_ref(), &received);
        let mut text: Vec<String> = headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        text.sort();
        text.join(" ")
    };
    assert_eq!(sent(None, 0, None), "");
    assert_eq!(sent(Some(("\"a\"", "Mon")), 0, None), "if-modified-since=Mon if-none-match=\"a\"");
    assert_eq!(sent(None, 100, Some("\"b\"")), "if-range=\"b\" range=bytes=100-");
    assert_eq!(sent(None, 100, Some("W/\"b\"")), "", "a weak one does not promise the same bytes");
    assert_eq!(sent(None, 100, None), "");
    assert_eq!(sent(Some(("bad\nheader", "Mon")), 0, None), "if-modified-since=Mon");
}

#[test]
fn delays_double_up_to_a_limit() {
    let delays: Vec<u128> = (0..6).map(|retry| retry_delay(retry).as_millis()).collect();
    assert_eq!(delays, [300, 600, 1200, 2400, 4800, 5000]);
}
