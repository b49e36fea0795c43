use super::*;

/// Reads a head whole and byte by byte. Gives the head that awc reads, and the bytes of the origin's head.
fn read(bytes: &[u8]) -> Result<(String, usize), Malformed> {
    let whole = head_end(bytes, 0);
    let mut pieces = (0..=bytes.len()).map(|count| head_end(&bytes[..count], count.saturating_sub(1)));
    let stepwise = pieces.find(|end| !matches!(end, Ok(None))).unwrap_or(Ok(None));
    match (&whole, &stepwise) {
        // The byte-wise reading refuses earlier and so quotes fewer bytes.
        (Err(_), Err(_)) => {}
        _ => assert_eq!(whole, stepwise),
    }
    let end = whole?.ok_or_else(|| Malformed::new("goes on"))?;
    let head = read_head(&bytes[..end])?;
    Ok((String::from_utf8_lossy(&head.for_awc()).replace("\r\n", "|"), end))
}

#[track_caller]
fn check(head: &str, expect: &str) {
    for (ends, behind) in [("\r\n", ""), ("\n", ""), ("\r\n", "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")] {
        let text = format!("{head}\n\n").replace('\n', ends);
        let expect = format!("{}|connection: close||", expect.replace("; ", "|"));
        assert_eq!(read(format!("{text}{behind}").as_bytes()), Ok((expect, text.len())), "{text:?}");
    }
}

#[track_caller]
fn check_malformed(head: &str, expect: &str) {
    let text = format!("{head}\n\n").replace('\n', "\r\n");
    let read = read(text.as_bytes());
    assert!(read.as_ref().is_err_and(|error| error.to_string().contains(expect)), "{text:?}: expected {expect:?}, got {read:?}");
}

#[test]
fn awc_is_shown_one_framing() {
    for (head, expect) in [
        ("HTTP/1.1 200 OK\nContent-Length: 5", "HTTP/1.1 200; content-length: 5"),
        ("HTTP/1.1 200\ncontent-LENGTH : 0", "HTTP/1.1 200; content-length: 0"),
        ("HTTP/1.1 200 OK\nContent-Length: 005\nContent-Length: 5, 05", "HTTP/1.1 200; content-length: 5"),
        ("HTTP/1.1 200 OK\nContent-Length: 18446744073709551615", "HTTP/1.1 200; content-length: 18446744073709551615"),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: Chunked", "HTTP/1.1 200; transfer-encoding: chunked"),
        ("HTTP/1.1 200 OK\nX: Content-Length: 3\nXContent-Length: 3", "HTTP/1.0 200"),
        ("HTTP/1.0 200 OK", "HTTP/1.0 200"),
        (
            "HTTP/1.1 200 OK\nContent-Encoding: gzip\nSet-Cookie: a\nContent-Length: 1",
            "HTTP/1.1 200; content-length: 1; content-encoding: gzip",
        ),
        (
            "HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Encoding: br\nContent-Length: 1",
            "HTTP/1.1 200; content-length: 1; content-encoding: gzip, br",
        ),
        ("HTTP/1.1 302 There\nContent-Length: 0\nLocation: /a\nLocation: /b", "HTTP/1.1 302; content-length: 0; location: /a"),
    ] {
        check(head, expect);
    }
}

#[test]
fn an_answer_of_any_version_and_status_ends_its_connection() {
    for (head, expect) in [
        ("HTTP/1.0 200 OK\nContent-Length: 5\nConnection: keep-alive", "HTTP/1.1 200; content-length: 5"),
        ("HTTP/1.1 200 OK\nContent-Length: 5\nConnection: keep-alive", "HTTP/1.1 200; content-length: 5"),
        ("HTTP/1.1 200 OK\nContent-Length: 5\nConnection: upgrade\nUpgrade: websocket", "HTTP/1.1 200; content-length: 5"),
        ("HTTP/1.1 200 OK\nContent-Length: 5\nTransfer-Encoding: chunked", "HTTP/1.1 200; transfer-encoding: chunked"),
        ("HTTP/1.1 404 Not Found\nContent-Length: 5", "HTTP/1.1 404; content-length: 0"),
        ("HTTP/1.1 404 Not Found\nTransfer-Encoding: chunked", "HTTP/1.1 404; content-length: 0"),
        ("HTTP/1.1 404 Not Found", "HTTP/1.1 404; content-length: 0"),
        ("HTTP/1.1 204 None", "HTTP/1.1 204; content-length: 0"),
        ("HTTP/1.1 101 Other\nContent-Length: 0", "HTTP/1.1 101; content-length: 0"),
    ] {
        check(head, expect);
    }
}

#[test]
fn interim_answers_are_all_below_200_but_101() {
    for (status, expect) in [(100, true), (101, false), (102, true), (103, true), (199, true), (200, false), (999, false)] {
        let head = read_head(format!("HTTP/1.1 {status} X\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(head.is_interim(), expect, "{status}");
    }
}

#[test]
fn what_leaves_its_end_open_is_malformed() {
    for (head, expect) in [
        ("", "it begins with \"\\r\\n\\r\\n\", expected \"HTTP/\""),
        ("\nHTTP/1.1 200 OK", "it begins with"),
        ("SSH-2.0-OpenSSH", "it begins with \"S"),
        ("http/1.1 200 OK", "it begins with \"h"),
        ("HTTP/0.9 200 OK", "version"),
        ("HTTP/2 200 OK", "version"),
        ("HTTP/1.1 20 OK", "status"),
        ("HTTP/1.1 2000 OK", "status"),
        ("HTTP/1.1 099 OK", "status is less than 100"),
        ("HTTP/1.1 200 OK\nA", "header name"),
        ("HTTP/1.1 200 OK\nA: b\n Content-Length: 3", "header name"),
        ("HTTP/1.1 200 OK\nContent-Length: 3\rX", "header value"),
        ("HTTP/1.1 200 OK\nContent-Length: +3", "Content-Length is \"+3\", expected digits"),
        ("HTTP/1.1 200 OK\nContent-Length: -3", "Content-Length is \"-3\""),
        ("HTTP/1.1 200 OK\nContent-Length: 0x3", "Content-Length is \"0x3\""),
        ("HTTP/1.1 200 OK\nContent-Length: 3 3", "Content-Length is \"3 3\""),
        ("HTTP/1.1 200 OK\nContent-Length:", "Content-Length is \"\""),
        ("HTTP/1.1 200 OK\nContent-Length: 3,", "Content-Length is \"\""),
        ("HTTP/1.1 200 OK\nContent-Length: 18446744073709551616", "Content-Length is \"18446744073709551616\""),
        ("HTTP/1.1 200 OK\nContent-Length: 3\nContent-Length: 4", "Content-Length is 3 and 4"),
        ("HTTP/1.1 200 OK\nContent-Length: 3, 4", "Content-Length is 3 and 4"),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked", "Transfer-Encoding in HTTP/1.1 is \"gzip, chunked\""),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked", "\"chunked, chunked\""),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: identity", "is \"identity\""),
        ("HTTP/1.1 200 OK\nTransfer-Encoding:", "is \"\""),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: xchunked", "is \"xchunked\""),
        ("HTTP/1.0 200 OK\nTransfer-Encoding: chunked", "Transfer-Encoding in HTTP/1.0 is \"chunked\""),
        (&format!("HTTP/1.1 200 OK{}", "\nA: b".repeat(FIELDS_MAX + 1)), "too many headers"),
    ] {
        check_malformed(head, expect);
    }
    assert_eq!(read(b"HTTP/1.1 200 OK\r\nA: b\r\n").unwrap_err(), Malformed::new("goes on"));
}

#[test]
fn a_body_ends_at_its_length() {
    for (body, bytes, expect) in [
        (Body::Length(0), "abc", (0, true)),
        (Body::Length(2), "abc", (2, true)),
        (Body::Length(3), "abc", (3, true)),
        (Body::Length(u64::MAX), "abc", (3, false)),
        (Body::ToEnd, "abc", (3, false)),
        (Body::Chunked(Chunks::default()), "1\r\na\r\n0\r\n\r\nabc", (11, true)),
    ] {
        for step in [1, bytes.len()] {
            let mut rest = body.clone();
            let count: usize = bytes.as_bytes().chunks(step).map(|piece| rest.follow(piece).unwrap()).sum();
            assert_eq!((count, rest.is_whole()), expect, "{body:?} by {step}");
        }
    }
}
