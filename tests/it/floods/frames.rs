//! HTTP/2 frames by hand (RFC 9113, 4.1), and the little of HPACK (RFC 7541) that requests need.

use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::client::TlsStream;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// A frame's bytes.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header that no table knows.
pub(super) fn header(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    text(&mut bytes, name);
    text(&mut bytes, value);
    bytes
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    integer(bytes, 0, 127, text.len());
    bytes.extend(text.as_bytes());
}

/// RFC 7541, 5.1.
fn integer(bytes: &mut Vec<u8>, first: u8, most: usize, mut number: usize) {
    if number < most {
        bytes.push(first | u8::try_from(number).unwrap());
        return;
    }
    bytes.push(first | u8::try_from(most).unwrap());
    number -= most;
    while number >= 128 {
        bytes.push(u8::try_from(number % 128).unwrap() | 128);
        number /= 128;
    }
    bytes.push(u8::try_from(number).unwrap());
}

/// A header that goes into the dynamic table, as its newest entry.
pub(super) fn remembered(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = header(name, value);
    bytes[0] = 0x40;
    bytes
}

/// The block of a request's headers.
pub(super) fn request(method: &str, path: &str) -> Vec<u8> {
    [
        header(":method", method),
        header(":scheme", "https"),
        header(":authority", "headcount"),
        header(":path", path),
    ]
    .concat()
}

/// `GET` of a count on a stream.
pub(super) fn get(stream: u32) -> Vec<u8> {
    let block = request("GET", &format!("/api/v1{}", super::COUNT));
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block)
}

/// `PUT` of a count on a stream, whose body comes or doesn't.
pub(super) fn put(stream: u32) -> Vec<u8> {
    let mut block = request("PUT", &format!("/api/v1{}", super::COUNT));
    block.extend(header("content-type", "application/json"));
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// Begins HTTP/2 with these settings.
pub(super) async fn begin(stream: &mut TlsStream<TcpStream>, settings: &[(u16, u32)]) {
    let mut payload = Vec::new();
    for (name, value) in settings {
        payload.extend(name.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &payload));
    bytes.extend(frame(SETTINGS, ACK, 0, &[]));
    stream.write_all(&bytes).await.unwrap();
}

/// The error code of the last GOAWAY in what a server sent.
pub(super) fn go_away(mut sent: &[u8]) -> Option<u32> {
    let mut code = None;
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = sent {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let (payload, next) = rest.split_at_checked(length)?;
        if *kind == 7 {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        sent = next;
    }
    code
}
