//! Lists of files that are sorted into versions.

use super::*;

fn files(paths: &str) -> Vec<File> {
    let file = |path: &str| File { path: path.to_owned(), size: 1, stamp: "a".into() };
    paths.split_whitespace().map(file).collect()
}

/// Compares the numbers, directories and missing files of a listing, as text.
#[track_caller]
fn check(own_name: &str, paths: &str, expected: &str) {
    let listing = Listing::new("place", Some(own_name), files(paths));
    let text = |version: &Version| {
        let fault = version.fault.as_ref().map(|fault| format!(" is {fault}")).unwrap_or_default();
        format!("{}={:?} {}{fault}", version.number, version.directory, version.files.len())
    };
    let found = match listing {
        Ok(listing) => listing.versions.iter().map(text).collect::<Vec<_>>().join("; "),
        Err(error) => error.message,
    };
    assert_eq!(found, expected);
}

#[test]
fn both_layouts_are_known() {
    check("m", "saved_model.pb", r#"1="" 1"#);
    check("00000123", "saved_model.pbtxt assets/a assets/b/c", r#"123="" 3"#);
    check("m", "1/saved_model.pb 00000123/saved_model.pb 00000123/fingerprint.pb", r#"1="1" 1; 123="00000123" 2"#);
    check("m", "saved_model.pb 2/saved_model.pb README.md", r#"1="" 1"#);
    check("m", "7/saved_model.pb old/saved_model.pb -1/saved_model.pb note", r#"7="7" 1"#);
}

#[test]
fn of_directories_with_one_number_the_plain_name_counts() {
    check("m", "007/saved_model.pb 7/saved_model.pb 07/saved_model.pb", r#"7="7" 1"#);
    check("m", "007/saved_model.pb 7/assets/a", r#"7="7" 1 is not complete: saved_model.pb is missing"#);
    check("m", "07/saved_model.pb 007/assets/a", r#"7="007" 1 is not complete: saved_model.pb is missing"#);
    let listing = Listing::new("place", None, files("007/saved_model.pb 7/saved_model.pb 07/assets/a 8/saved_model.pb")).unwrap();
    assert_eq!(listing.passed_over, ["007", "07"]);
}

#[test]
fn what_is_no_model_says_what_was_expected() {
    let text = "`place` is no SavedModel: expected saved_model.pb (or .pbtxt) in it, or numbered version directories that \
                hold one; ";
    check("m", "", &format!("{text}there is nothing"));
    check("m", "model.onnx a/saved_model.pb", &format!("{text}there are 2 other files"));
    check("m", "99999999999999999999999/saved_model.pb", &format!("{text}there are 1 other files"));
}

#[test]
fn half_copied_versions_are_incomplete() {
    let v = "variables/variables";
    check("m", "1/variables/variables.index", r#"1="1" 1 is not complete: saved_model.pb is missing"#);
    check(
        "m",
        &format!("saved_model.pb {v}.data-00000-of-00001"),
        r#"1="" 2 is not complete: variables/variables.index is missing"#,
    );
    check("m", &format!("saved_model.pb {v}.index"), r#"1="" 2 is not complete: variables/variables.data-… is missing"#);
    check("m", &format!("saved_model.pb {v}.index {v}.data-00000-of-00001"), r#"1="" 3"#);
    let two = format!("saved_model.pb {v}.index {v}.data-00001-of-00002");
    check("m", &two, r#"1="" 3 is not complete: variables/variables.data-00000-of-00002 is missing"#);
    check("m", &format!("{two} {v}.data-00000-of-00002"), r#"1="" 4"#);
    let most = format!("saved_model.pb {v}.index {v}.data-00000-of-18446744073709551615");
    check("m", &most, r#"1="" 3 is not complete: variables/variables.data-00001-of-18446744073709551615 is missing"#);
}

#[test]
fn numbers_above_63_bits_are_none() {
    check(
        "m",
        "9223372036854775807/saved_model.pb 9223372036854775808/saved_model.pb",
        r#"9223372036854775807="9223372036854775807" 1"#,
    );
    check("9223372036854775808", "saved_model.pb", r#"1="" 1"#);
}

#[test]
fn strange_names_beside_versions_are_passed_over() {
    for path in
        ["../x", "/etc/passwd", "x//notes.txt", "1//x", "1//saved_model.pb", "1/./x", "1/../x", "a\\..\\b", "1\\x", "x/", ".."]
    {
        check("m", &format!("1/saved_model.pb {path}"), r#"1="1" 1"#);
        check("m", &format!("saved_model.pb {path}"), r#"1="" 1"#);
    }
}

#[test]
fn names_that_no_file_can_have_are_passed_over_within_a_version_too() {
    for path in ["assets/../x", "assets//x", "variables//x", "assets/./x", "variables/..", "assets/x/", "assets/a\0b"] {
        check("m", &format!("1/saved_model.pb 1/{path}"), r#"1="1" 1"#);
        check("m", &format!("saved_model.pb {path}"), r#"1="" 1"#);
    }
    assert!(["1/variables//", "1/assets/../", "assets/./"].iter().all(|directory| !is_walked(directory)));
}

#[test]
fn paths_of_a_version_that_lead_elsewhere_are_its_fault() {
    // A file can have such a name, and another system takes it for a way out.
    for path in ["assets/a\\..\\b", "variables/\\b"] {
        for (prefix, version) in [("2/", 2), ("", 1)] {
            let listing =
                Listing::new("place", None, files(&format!("1/saved_model.pb {prefix}saved_model.pb {prefix}{path}"))).unwrap();
            let fault = &listing.version(version).unwrap().fault;
            let fault = fault.as_ref().unwrap_or_else(|| panic!("{prefix}{path}"));
            assert!(
                fault.message.starts_with("not readable: `place`: ") && fault.message.contains("is refused"),
                "{path}: {fault}"
            );
            assert_eq!(listing.newest().map(|version| version.number), if version == 2 { Some(1) } else { None });
        }
    }
    assert!(check_path("place", "a/..b/c..").is_ok());
}

#[test]
fn only_directories_of_versions_are_walked() {
    for directory in ["1/", "007/", "1/variables/", "1/assets/a/b/", "assets.extra/"] {
        assert!(is_walked(directory), "{directory}");
    }
    for directory in
        ["x/", "lost+found/", "1/x/", "1/1/", "1//", "//", "../", "-1/", "9223372036854775808/", "1/x/assets/", "x/assets/"]
    {
        assert!(!is_walked(directory), "{directory}");
    }
}

#[test]
fn versions_beside_a_model_are_named() {
    let listing = |paths: &str| Listing::new("place", None, files(paths)).unwrap();
    assert_eq!(listing("saved_model.pb 2/saved_model.pb 3/assets/a 4/saved_model.pbtxt x/saved_model.pb").passed_over, ["2", "4"]);
    assert_eq!(listing("1/saved_model.pb 2/saved_model.pb").passed_over, [""; 0]);
}

#[test]
fn directories_kept_as_empty_files_are_no_files() {
    let mut listed = files("1/saved_model.pb 1/variables/variables.index");
    let mark = |path: &str| File { path: path.into(), size: 0, stamp: String::new() };
    listed.extend([mark("1"), mark("1/variables"), mark("1/assets")]);
    let paths: Vec<String> =
        Listing::new("place", None, listed).unwrap().versions.remove(0).files.into_iter().map(|file| file.path).collect();
    assert_eq!(paths, ["saved_model.pb", "variables/variables.index"]);
}

#[test]
fn fingerprint_changes_with_each_file() {
    let version = |paths: &str| Listing::new("place", None, files(paths)).unwrap().versions.remove(0);
    let one = version("saved_model.pb assets/a");
    assert_eq!(one.fingerprint(), version("assets/a saved_model.pb README").fingerprint(), "order and strangers do not count");
    assert_ne!(one.fingerprint(), version("saved_model.pb assets/b").fingerprint());
    let mut other = one.clone();
    other.files[0].stamp = "b".into();
    assert_ne!(one.fingerprint(), other.fingerprint());
    other.files[0] = File { size: 2, ..one.files[0].clone() };
    assert_ne!(one.fingerprint(), other.fingerprint());
}
