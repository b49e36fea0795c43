use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A connection and the server's end of it.
async fn pair() -> (OriginConnection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (OriginConnection::new(Link::Tcp(client.unwrap())), server.unwrap().0)
}

/// Sends a request, which the server answers with `answer`.
async fn exchange(connection: &mut OriginConnection, server: &mut TcpStream, answer: &str) {
    connection.write_all(b"GET").await.unwrap();
    server.read_exact(&mut [0; 3]).await.unwrap();
    server.write_all(answer.as_bytes()).await.unwrap();
}

/// Reads as many bytes as `expect` has, and expects these.
async fn read(connection: &mut OriginConnection, expect: &str) {
    let mut text = vec![0; expect.len()];
    connection.read_exact(&mut text).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&text), expect);
}

#[actix::test]
async fn behind_an_answer_nothing_is_handed_on_or_sent() {
    let body = "b".repeat(10_000);
    for beginning in ["HTTP/1.1", "HTTP/1.0", "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1"] {
        for late in ["", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate"] {
            let (mut connection, mut server) = pair().await;
            exchange(&mut connection, &mut server, &format!("{beginning} 200 OK\r\nContent-Length: 10000\r\n\r\n{body}{late}"))
                .await;
            let mut text = String::new();
            connection.read_to_string(&mut text).await.unwrap();
            let head = "HTTP/1.1 200\r\ncontent-length: 10000\r\nconnection: close\r\n\r\n";
            assert_eq!(text.replace(&body, "body"), format!("{head}body"));
            let _ = server.write_all(b"HTTP/1.1 408 Too Late\r\n\r\n").await;
            assert_eq!(connection.read(&mut [0; 2]).await.unwrap(), 0);
            assert_eq!(connection.write(b"GET").await.unwrap_err().kind(), ErrorKind::NotConnected);
        }
    }
}

#[actix::test]
async fn nothing_is_sent_within_an_answer() {
    let (mut connection, mut server) = pair().await;
    exchange(&mut connection, &mut server, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na").await;
    read(&mut connection, "HTTP/1.1 200\r\n").await;
    connection.write(b"GET").await.unwrap_err();
    read(&mut connection, "content-length: 3\r\nconnection: close\r\n\r\na").await;
    connection.write(b"GET").await.unwrap_err();
}

#[actix::test]
async fn an_end_tells_what_it_cut() {
    let head = "HTTP/1.1 200 OK\r\n";
    for (answer, kind, cause) in [
        ("".to_owned(), ErrorKind::UnexpectedEof, "unexpected end of file"),
        ("HTTP/1.1 1".to_owned(), ErrorKind::InvalidData, "the connection ended within its head"),
        ("HTTP/1.1 103 Early\r\n\r\n".to_owned(), ErrorKind::InvalidData, "the connection ended within its head"),
        (format!("{head}Content-Length: 3\r\n\r\nab"), ErrorKind::UnexpectedEof, "unexpected end of file"),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\nab"), ErrorKind::UnexpectedEof, "unexpected end of file"),
    ] {
        let (mut connection, mut server) = pair().await;
        exchange(&mut connection, &mut server, &answer).await;
        drop(server);
        let error = connection.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, cause), "{answer:?}");
    }
    let (mut connection, mut server) = pair().await;
    exchange(&mut connection, &mut server, &format!("{head}\r\nto the end")).await;
    drop(server);
    let mut text = String::new();
    connection.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "HTTP/1.0 200\r\nconnection: close\r\n\r\nto the end");
}
