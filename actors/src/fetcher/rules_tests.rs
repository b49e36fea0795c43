use super::*;

fn rules(allow: &str, domains: &str) -> Rules {
    let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    Rules {
        allow: list(allow).iter().map(|text| text.parse().unwrap()).collect(),
        domains: list(domains).iter().map(|text| text.parse().unwrap()).collect(),
        redirects_max: 3,
    }
}

#[track_caller]
fn check(rules: &Rules, url: &str, expect: Result<&str, Refusal>) {
    match (rules.target(url), expect) {
        (Ok(Target::Web(url)), Ok(expect)) => assert_eq!(url.as_str(), expect),
        (Ok(Target::Data(data)), Ok(expect)) => assert_eq!(data, expect),
        (Err(refusal), Err(expect)) => assert_eq!(refusal, expect, "{url}"),
        (got, expect) => panic!("{url}: expected {expect:?}, got {got:?}"),
    }
}

fn address(text: &str) -> Refusal {
    Refusal::Address(text.parse().unwrap())
}

#[test]
fn public_urls_are_taken_as_browsers_read_them() {
    let rules = rules("", "");
    for (url, expect) in [
        ("https://example.org/cat.jpg", "https://example.org/cat.jpg"),
        ("HTTP://EXAMPLE.org:80/a b", "http://example.org/a%20b"),
        (" http://example.org/\n", "http://example.org/"),
        ("http://8.8.8.8/x?y=1#part", "http://8.8.8.8/x?y=1"),
        ("http://[2606:4700:4700::1111]/", "http://[2606:4700:4700::1111]/"),
        ("https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4"),
        ("data:,hello", "data:,hello"),
        ("DATA:text/plain;base64,aGk=", "DATA:text/plain;base64,aGk="),
    ] {
        check(&rules, url, Ok(expect));
    }
}

#[test]
fn private_addresses_are_refused_however_they_are_written() {
    let rules = rules("", "");
    for (url, expect) in [
        ("http://127.0.0.1/", "127.0.0.1"),
        ("http://127.0.0.1:8080/", "127.0.0.1"),
        ("http://2130706433/", "127.0.0.1"),
        ("http://0x7f.1/", "127.0.0.1"),
        ("http://017700000001/", "127.0.0.1"),
        ("http://127.1./", "127.0.0.1"),
        ("http://１２７.0.0.1/", "127.0.0.1"),
        ("http:127.0.0.1/", "127.0.0.1"),
        ("http:\\\\127.0.0.1\\", "127.0.0.1"),
        ("http://%31%32%37.0.0.1/", "127.0.0.1"),
        ("http://0/", "0.0.0.0"),
        ("http://10.0.0.1/", "10.0.0.1"),
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254"),
        ("http://[::1]/", "::1"),
        ("http://[::]/", "::"),
        ("http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1"),
        ("http://[64:ff9b::7f00:1]/", "64:ff9b::7f00:1"),
        ("http://[fe80::1]/", "fe80::1"),
    ] {
        check(&rules, url, Err(address(expect)));
    }
}

#[test]
fn other_refusals() {
    let rules = rules("", "");
    for url in ["file:///etc/passwd", "ftp:", "ftp://example.org/x", "gopher://x", "javascript:1", "blob:http://x/", "unix:/x"] {
        check(&rules, url, Err(Refusal::Scheme));
    }
    for url in ["http://user:pw@example.org/", "http://user@example.org/", "https://:pw@example.org/"] {
        check(&rules, url, Err(Refusal::Credentials));
    }
    for url in [
        "",
        "cat.jpg",
        "/etc/passwd",
        "//example.org/x",
        "http://",
        "http://./",
        "http://../",
        "http://1.1.1.1../",
        "http://.a/",
        "http://[::1/",
        "http://a b/",
        "http://x:99999/",
    ] {
        assert!(matches!(rules.target(url), Err(Refusal::Malformed(_))), "{url}: {:?}", rules.target(url));
    }
    check(&rules, &format!("http://example.org/{}", "x".repeat(URL_BYTES_MAX)), Err(Refusal::TooLong(URL_BYTES_MAX + 19)));
}

#[test]
fn a_text_before_a_colon_need_not_be_a_scheme() {
    let rules = rules("", "");
    for url in ["1http://example.org/", "a b://example.org/", ":x"] {
        assert!(matches!(rules.target(url), Err(Refusal::Malformed(_))), "{url}: {:?}", rules.target(url));
    }
    for url in ["a1+-.:x", "A:x"] {
        check(&rules, url, Err(Refusal::Scheme));
    }
}

#[test]
fn a_url_of_the_greatest_length_is_taken() {
    let (rules, start) = (rules("", ""), "http://example.org/");
    let of = |bytes: usize| format!("{start}{}", "x".repeat(bytes - start.len()));
    check(&rules, &of(URL_BYTES_MAX), Ok(&of(URL_BYTES_MAX)));
    check(&rules, &of(URL_BYTES_MAX + 1), Err(Refusal::TooLong(URL_BYTES_MAX + 1)));
    let redirect = |bytes: usize| rules.redirect(&Url::parse(start).unwrap(), &of(bytes), 0).map(String::from);
    assert_eq!(redirect(URL_BYTES_MAX), Ok(of(URL_BYTES_MAX)));
    assert_eq!(redirect(URL_BYTES_MAX + 1), Err(Refusal::TooLong(URL_BYTES_MAX + 1)));
}

#[test]
fn what_is_allowed_opens_just_that() {
    let open = rules("10.1.0.0/16 127.0.0.1:8000 fd00::/8 [::1]:8000 store minio.local:9000", "");
    for url in
        ["http://10.1.2.3/", "http://127.0.0.1:8000/", "http://[fd00::7]/", "http://[::1]:8000/", "http://[::ffff:10.1.0.1]/"]
    {
        check(&open, url, Ok(url.replace("[::ffff:10.1.0.1]", "[::ffff:a01:1]").as_str()));
    }
    for (url, expect) in [("http://10.2.0.1/", "10.2.0.1"), ("http://127.0.0.1/", "127.0.0.1"), ("http://[::1]/", "::1")] {
        check(&open, url, Err(address(expect)));
    }
    let private = ["192.168.0.9".parse().unwrap()];
    for (host, port, expect) in
        [("store", 80, true), ("store.", 1234, true), ("minio.local", 9000, true), ("minio.local", 80, false), ("other", 80, false)]
    {
        assert_eq!(open.check_addresses(host, port, &private).is_ok(), expect, "{host}:{port}");
    }
}

#[test]
fn names_below_one_and_addresses_in_brackets_are_allowed() {
    let open = rules("*.example.org *.minio.local:9000 [::1] [fd00::1]", "");
    let private = ["192.168.0.9".parse().unwrap()];
    for (host, port, expect) in [
        ("a.example.org", 80, true),
        ("a.b.example.org.", 81, true),
        ("example.org", 80, false),
        ("badexample.org", 80, false),
        ("a.minio.local", 9000, true),
        ("a.minio.local", 80, false),
    ] {
        assert_eq!(open.check_addresses(host, port, &private).is_ok(), expect, "{host}:{port}");
    }
    for url in ["http://[::1]/", "http://[::1]:8000/", "http://[fd00::1]/"] {
        check(&open, url, Ok(url));
    }
    check(&open, "http://[fd00::2]/", Err(address("fd00::2")));
}

#[test]
fn every_address_of_a_name_must_pass() {
    let rules = rules("", "");
    let addresses = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
    assert_eq!(rules.check_addresses("a.example", 80, &addresses(&["8.8.8.8", "2606:4700:4700::1111"])), Ok(()));
    assert_eq!(rules.check_addresses("a.example", 80, &addresses(&["8.8.8.8", "10.0.0.1"])), Err(address("10.0.0.1")));
    assert!(matches!(rules.check_addresses("a.example", 80, &[]), Err(Refusal::Unresolved(_))));
}

#[test]
fn only_the_domains_that_are_named() {
    let rules = rules("", "example.org *.example.com");
    for (host, expect) in [
        ("example.org", true),
        ("EXAMPLE.org.", true),
        ("www.example.org", false),
        ("a.b.example.com", true),
        ("example.com", false),
        ("badexample.com", false),
        ("8.8.8.8", false),
    ] {
        assert_eq!(rules.target(&format!("http://{host}/")).is_ok(), expect, "{host}");
    }
}

#[test]
fn an_address_may_be_the_only_domain() {
    let rules = rules("", "8.8.8.8 [2606:4700:4700::1111]");
    check(&rules, "http://8.8.8.8/", Ok("http://8.8.8.8/"));
    check(&rules, "http://[2606:4700:4700::1111]/", Ok("http://[2606:4700:4700::1111]/"));
    check(&rules, "http://8.8.4.4/", Err(Refusal::Domain));
}

#[test]
fn each_redirect_is_checked_anew() {
    let rules = rules("", "");
    let from = |url: &str| Url::parse(url).unwrap();
    let go = |url: &str, location: &str, taken| rules.redirect(&from(url), location, taken).map(String::from);
    assert_eq!(go("http://example.org/a/b", "../c", 0), Ok("http://example.org/c".into()));
    assert_eq!(go("http://example.org/", "https://example.com/", 2), Ok("https://example.com/".into()));
    assert_eq!(go("http://example.org/", "/again", 3), Err(Refusal::Redirects(3)));
    assert_eq!(go("https://example.org/", "http://example.org/", 0), Err(Refusal::Downgrade));
    assert_eq!(go("http://example.org/", "http://127.1/", 0), Err(address("127.0.0.1")));
    assert_eq!(go("http://example.org/", "//0x7f.1/", 0), Err(address("127.0.0.1")));
    let redirects = |refusal| Err(Refusal::Redirect(Box::new(refusal)));
    assert_eq!(go("http://example.org/", "file:///etc/passwd", 0), redirects(Refusal::Scheme));
    assert_eq!(go("http://example.org/", "data:,x", 0), redirects(Refusal::Scheme));
    assert_eq!(go("http://example.org/", "http://u:p@example.org/", 0), redirects(Refusal::Credentials));
    let text = Refusal::Redirect(Box::new(Refusal::Scheme)).tell();
    assert_eq!(text, "redirects to a URL that is not allowed; its scheme must be http, https or data");
}

#[test]
fn refusals_tell_what_the_urls_own_text_tells() {
    let rules = rules("", "example.org");
    let told = |url: &str| rules.target(url).unwrap_err().tell();
    for (url, expect) in [
        ("file:///etc/passwd", "its scheme must be http, https or data"),
        ("ftp://127.0.0.1/", "its scheme must be http, https or data"),
        ("http://user:pw@example.org/", "it must have no user and no password"),
        ("http://user:pw@127.0.0.1/", "it must have no user and no password"),
    ] {
        assert_eq!(told(url), format!("is not allowed; {expect}"), "{url}");
    }
}

#[test]
fn the_log_tells_each_refusal_with_its_reason() {
    for (refusal, expect) in [
        (Refusal::Scheme, "its scheme is not http, https or data"),
        (Refusal::Credentials, "it has a user or password"),
        (Refusal::Domain, "its host is not one of --url_domains"),
        (address("10.0.0.1"), "10.0.0.1 is not public, and not opened by --url_allow"),
        (Refusal::Unresolved("none found".into()), "its host has no address: none found"),
        (Refusal::Downgrade, "it redirects from https to http"),
        (Refusal::Redirect(Box::new(Refusal::Credentials)), "it redirects to a URL that is refused: it has a user or password"),
        (Refusal::Malformed("empty host".into()), "it is not a URL: empty host"),
        (Refusal::TooLong(9000), "it has 9000 bytes, limit 8192"),
        (Refusal::Redirects(3), "it redirects more than 3 times"),
    ] {
        assert_eq!(refusal.to_string(), expect);
    }
}

#[test]
fn all_refusals_of_hosts_sound_alike() {
    let told = |domains: &str, url: &str| rules("", domains).target(url).unwrap_err().tell();
    for (domains, url) in [("", "http://127.0.0.1/"), ("", "http://10.0.0.1:22/"), ("example.org", "http://example.com/")] {
        assert_eq!(told(domains, url), HOST_NOT_ALLOWED);
    }
    assert_eq!(Refusal::Unresolved("not known".into()).tell(), HOST_NOT_ALLOWED);
    assert_eq!(Refusal::Address([10, 0, 0, 1].into()).tell(), HOST_NOT_ALLOWED);
}

#[test]
fn wrong_exceptions_are_refused() {
    for text in ["", ":80", "a b", "10.0.0.0/33", "host:port", "host:99999", "http://host"] {
        assert!(text.parse::<Allow>().is_err(), "{text}");
    }
    for text in
        ["*", "a.*", "*.*.a", "*.10.0.0.1", "a..b", ".", "host:0", "[::1]:0", "[::1]x", "::ffff:10.0.0.0/104", "64:ff9b::/96"]
    {
        assert!(text.parse::<Allow>().is_err(), "{text}: it would match nothing");
    }
    for text in ["", "*.", "a b", "http://host", "*", "a.*", "*.*.a", "*.10.0.0.1", "*.[::1]", "a..b", "."] {
        assert!(text.parse::<Domain>().is_err(), "{text}");
    }
}

#[test]
fn secrets_stay_out() {
    for (url, query, expect) in [
        ("https://user:pw@example.org/a?token=1#x", false, "https://…@example.org/a"),
        ("https://user:pw@example.org/a?token=1", true, "https://…@example.org/a?token=1"),
        ("https://example.org/a@b?c@d", true, "https://example.org/a@b?c@d"),
        ("http://a@b@c", true, "http://…@c"),
        ("data:,a@b", true, "data:,a@b"),
    ] {
        assert_eq!(without_secrets(url, query), expect);
    }
}
