//! Lines from a socket: a real server on this machine, and a recorded one.

// clippy's test exemption doesn't reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rivus_connectors::{Network, SocketSource};
use rivus_core::{Failure, ParallelInstance, ReadStatus, Source, SourceReader, UserError};

fn server() -> (TcpListener, String) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    (server, address)
}

fn connect(source: &SocketSource) -> <SocketSource as Source>::Reader {
    let mut reader = source.reader(ParallelInstance::ALONE).unwrap();
    for split in source.splits(3).unwrap() {
        reader.add_split(split).unwrap();
    }
    reader
}

/// Reads until there are so many lines, or no more will come.
fn read(
    reader: &mut impl SourceReader<Out = String>,
    count: usize,
) -> Result<Vec<String>, UserError> {
    let mut out = Vec::new();
    while out.len() < count {
        match reader.read(&mut out, 7, 1_000)? {
            ReadStatus::SplitsDone => break,
            ReadStatus::Later(at) => assert!(at > 1_000),
            ReadStatus::More => {}
        }
        thread::yield_now();
    }
    Ok(out.into_iter().map(|event| event.value).collect())
}

fn send(client: &mut TcpStream, text: &[u8]) {
    client.write_all(text).unwrap();
    client.flush().unwrap();
}

#[test]
fn lines_are_read_until_the_server_closes_the_last_one_without_its_end() {
    let (server, address) = server();
    let longest = SocketSource::lines(address.clone()).max_line_bytes(usize::MAX);
    let mut reader = connect(&longest.until_closed());
    let (mut client, _) = server.accept().unwrap();
    send(&mut client, b"one\r\n\ntw");
    assert_eq!(read(&mut reader, 2).unwrap(), ["one", ""]);
    assert_eq!(reader.snapshot().len(), 1);
    send(&mut client, b"o \xff\nlast");
    drop(client);
    assert_eq!(read(&mut reader, 9).unwrap(), ["two \u{fffd}", "last"]);
    assert_eq!(reader.snapshot(), []);
    assert_eq!(
        reader.position(),
        Some(format!("{address}, line 4 of this attempt"))
    );
}

#[test]
fn a_connection_that_is_lost_is_made_anew_and_half_a_line_is_dropped() {
    let (server, address) = server();
    let mut reader = connect(&SocketSource::lines(address));
    for round in ["1", "2"] {
        let (mut client, _) = server.accept().unwrap();
        send(&mut client, format!("a{round}\nhalf").as_bytes());
        assert_eq!(read(&mut reader, 1).unwrap(), [format!("a{round}")]);
    }
    // The server is not there yet when the reader is; the next one takes the port.
    assert_eq!(reader.snapshot().len(), 1);
}

#[test]
fn a_server_that_is_faster_than_the_stream_is_held_up_and_nothing_is_lost() {
    let (server, address) = server();
    let mut reader = connect(&SocketSource::lines(address).until_closed());
    let lines: Vec<String> = (0..50_000).map(|n| format!("line {n}")).collect();
    let text = lines.join("\n") + "\n";
    let sending = thread::spawn(move || {
        let (mut client, _) = server.accept().unwrap();
        client.write_all(text.as_bytes()).unwrap();
    });
    assert_eq!(read(&mut reader, usize::MAX).unwrap(), lines);
    sending.join().unwrap();
}

#[test]
fn what_is_no_address_and_what_is_no_line_is_said_in_one_line() {
    let message = |error: UserError| Failure::user(&error).message;
    let refused = SocketSource::lines("localhost").check().unwrap_err();
    assert_eq!(
        message(refused),
        "localhost is no address: give host:port, such as 127.0.0.1:9000"
    );
    let (server, address) = server();
    let mut reader = connect(&SocketSource::lines(address.clone()).max_line_bytes(10));
    let (mut client, _) = server.accept().unwrap();
    send(&mut client, b"0123456789\r\n");
    assert_eq!(read(&mut reader, 1).unwrap(), ["0123456789"]);
    send(&mut client, b"0123456789ab");
    let told = message(read(&mut reader, 1).unwrap_err());
    let expected = format!("{address} sent a line of more than 10 bytes: is it text?");
    assert!(told.starts_with(&expected), "{told}");
}

/// What one connection yields, read by read; "..." is nothing yet, "!" breaks it.
type Reads = VecDeque<&'static str>;

/// Connections one after the other; those that are none are refused.
#[derive(Debug)]
struct Recorded(Mutex<VecDeque<Option<Reads>>>);

impl Network for Recorded {
    fn connect(&self, _address: &str) -> io::Result<Box<dyn Read + Send>> {
        let next = self.0.lock().unwrap().pop_front().flatten();
        let reads = next.ok_or(io::ErrorKind::ConnectionRefused)?;
        Ok(Box::new(Played(reads)))
    }
}

struct Played(Reads);

impl Read for Played {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.pop_front() {
            None => Ok(0),
            Some("...") => Err(io::ErrorKind::WouldBlock.into()),
            Some("!") => Err(io::ErrorKind::ConnectionReset.into()),
            Some(text) => {
                buf[..text.len()].copy_from_slice(text.as_bytes());
                Ok(text.len())
            }
        }
    }
}

#[test]
fn over_another_network_it_is_read_in_turns_and_connects_again_after_longer_and_longer_waits() {
    let connections = [
        Some(["one\ntw", "...", "o\nhalf", "!"].into()),
        None,
        None,
        Some(["three\n", "last"].into()),
    ];
    let network = Arc::new(Recorded(Mutex::new(connections.into())));
    let source = SocketSource::lines("recorded:1")
        .over(network)
        .until_closed();
    let mut reader = connect(&source);
    let mut heard = Vec::new();
    for now in 0..1_000 {
        let mut out = Vec::new();
        let status = reader.read(&mut out, 9, now).unwrap();
        heard.extend(
            out.into_iter()
                .map(|event| format!("{} {now}", event.value)),
        );
        if status == ReadStatus::SplitsDone {
            break;
        }
    }
    // Broken at 1, refused after 100 and another 200 milliseconds.
    assert_eq!(heard, ["one 0", "two 1", "three 701", "last 701"]);
    assert_eq!(reader.snapshot(), []);
}
